"""Service users run code that they can read; a checkout they cannot enter is copied, never opened."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import relocation
from launcher.accounts import Account
from launcher.errors import StateRefusedError
from launcher.relocation import Code, for_account, here
from tests.architecture.source import PACKAGES

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs processes as other users")
NOBODY = pwd.getpwnam("nobody")
STRANGER = Account("nobody", NOBODY.pw_uid, NOBODY.pw_gid)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # below /var/tmp, because pytest's own directories are closed to others
    place = Path("/var/tmp") / f"privyseal-copies-{os.getpid()}"
    monkeypatch.setattr(relocation, "COPIES", place)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Code:
    """A checkout below a closed directory, with an environment of its own that is nearly empty."""
    root = tmp_path / "closed" / "checkout"
    root.parent.mkdir(mode=0o700)
    for package in relocation.PACKAGES:
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").write_text("")
        (root / package / "__init__.py").chmod(0o600)
    (root / "wsgi.py").write_text("")
    (root / "setup.cfg").write_text("")
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(root / ".venv")], check=True)
    (root / ".venv" / ".stamp-demo").write_text("1")
    site = next((root / ".venv").glob("lib/*/site-packages"))
    (site / "__editable__.privyseal.pth").write_text(str(root))
    for name in ("sqlalchemy", "flask"):
        (site / f"{name}.py").write_text("")
    code = Code(root, root / ".venv" / "bin" / "python", root / "var" / "demo")
    monkeypatch.setattr(relocation, "here", lambda: code)
    return code


def test_a_copy_leaves_no_package_behind_that_processes_of_the_demo_import() -> None:
    assert set(relocation.PACKAGES) == set(PACKAGES) - {"benchmarks"}


@needs_root
def test_a_closed_checkout_is_copied_to_where_the_service_users_can_read_it(private: Code, copies: Path) -> None:
    said: list[str] = []
    code = for_account(STRANGER, said.append)
    assert copies in code.root.parents
    assert code.default_state.parent == code.root.parent
    assert len(said) == 1
    assert str(private.root) in said[0]
    assert private.root.parent.stat().st_mode & 0o077 == 0
    assert list(code.root.glob(".venv/lib/*/site-packages/__editable__*")) == []
    done = subprocess.run(
        [str(code.interpreter), "-c", "import contract; print(contract.__file__)"], cwd=code.root, capture_output=True,
        text=True, check=True, user=STRANGER.uid, group=STRANGER.gid, extra_groups=[], env={},
    )  # fmt: skip
    assert done.stdout.strip() == str(code.root / "contract" / "__init__.py")


@needs_root
def test_a_changed_source_and_a_changed_environment_reach_the_copy(private: Code, copies: Path) -> None:
    first = for_account(STRANGER, lambda text: None)
    (private.root / "contract" / "new.py").write_text("VALUE = 2")
    (private.root / "idp" / "__init__.py").unlink()
    kept = first.root / ".venv" / "kept"
    kept.write_text("")
    again = for_account(STRANGER, lambda text: None)
    assert again == first
    assert (again.root / "contract" / "new.py").read_text() == "VALUE = 2"
    assert not (again.root / "idp" / "__init__.py").exists()
    assert kept.exists()
    (private.root / ".venv" / ".stamp-demo").write_text("2")
    for_account(STRANGER, lambda text: None)
    assert not kept.exists()


@needs_root
def test_an_environment_without_stamps_is_copied_each_time(private: Code, copies: Path) -> None:
    (private.root / ".venv" / ".stamp-demo").unlink()
    left = for_account(STRANGER, lambda text: None).root / ".venv" / "left"
    left.write_text("")
    for_account(STRANGER, lambda text: None)
    assert not left.exists()


@needs_root
def test_a_copy_that_was_interrupted_is_made_again(private: Code, copies: Path) -> None:
    first = for_account(STRANGER, lambda text: None)
    shutil.rmtree(first.root / ".venv" / "bin")
    (first.root / ".venv.new").mkdir()
    again = for_account(STRANGER, lambda text: None)
    assert again.interpreter.exists()
    assert not (again.root / ".venv.new").exists()


@needs_root
def test_a_reset_leaves_nothing_of_the_former_copy(private: Code, copies: Path) -> None:
    left = for_account(STRANGER, lambda text: None).root / "left"
    left.write_text("")
    for_account(STRANGER, lambda text: None)
    assert left.exists()
    assert for_account(STRANGER, lambda text: None, anew=True).interpreter.exists()
    assert not left.exists()


@needs_root
@pytest.mark.parametrize("interpreter", ["/usr/bin/python3", "/nonexistent/bin/python"])
def test_an_interpreter_outside_of_an_environment_is_refused_and_nothing_copied(
    private: Code, copies: Path, monkeypatch: pytest.MonkeyPatch, interpreter: str
) -> None:
    bare = Code(private.root, Path(interpreter), private.default_state)
    monkeypatch.setattr(relocation, "here", lambda: bare)
    with pytest.raises(StateRefusedError, match="in no virtual environment: start script/demo"):
        for_account(STRANGER, lambda text: None)
    assert not copies.exists()


@needs_root
def test_sources_that_cannot_be_compiled_are_refused_without_a_trace(private: Code, copies: Path) -> None:
    (private.root / "idp" / "broken.py").write_text("def")
    with pytest.raises(StateRefusedError, match="cannot compile"):
        for_account(STRANGER, lambda text: None)


def test_without_a_checkout_there_is_no_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relocation, "here", lambda: Code(tmp_path, Path(sys.executable), tmp_path / "var"))
    with pytest.raises(StateRefusedError, match="runs from a checkout"):
        for_account(STRANGER, lambda text: None)


@needs_root
def test_a_place_for_copies_that_somebody_else_prepared_is_refused(private: Code, copies: Path) -> None:
    copies.mkdir()
    os.chown(copies, STRANGER.uid, STRANGER.gid)
    with pytest.raises(StateRefusedError, match="not root's own"):
        for_account(STRANGER, lambda text: None)


@needs_root
def test_an_interpreter_that_the_service_users_cannot_reach_is_refused_with_the_remedy(
    private: Code, copies: Path, tmp_path: Path
) -> None:
    hidden = tmp_path / "closed" / "python"
    shutil.copy(private.interpreter.resolve(), hidden)
    for name in ("python", "python3"):
        link = private.root / ".venv" / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(hidden)
    with pytest.raises(StateRefusedError, match=r"apt-get install python3\.11"):
        for_account(STRANGER, lambda text: None)


def test_without_root_the_checkout_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code = for_account(STRANGER, lambda text: None)
    assert code == here()
    assert code.interpreter == Path(sys.executable)
    assert (code.root / "setup.cfg").is_file()
