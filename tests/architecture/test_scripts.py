"""The scripts: strict, and honest when they may not install what is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

SCRIPTS = [*sorted((ROOT / "script").iterdir()), ROOT / ".ci" / "run"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses_and_stops_at_the_first_error(script: Path) -> None:
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text or 'source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"' in text


def run_in(place: Path, *programs: tuple[str, str]) -> subprocess.CompletedProcess[str]:
    """Run script/demo in a copy where some programs are replaced."""
    shutil.copytree(ROOT / "script", place / "script")
    (place / "bin").mkdir()
    for name, body in programs:
        (place / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (place / "bin" / name).chmod(0o755)
    return subprocess.run(
        [str(place / "script" / "demo"), "--once"], capture_output=True, text=True, check=False,
        env={"PATH": f"{place / 'bin'}:/usr/bin:/bin"}, stdin=subprocess.DEVNULL,
    )  # fmt: skip


NOTHING_INSTALLED = ("dpkg-query", "exit 1")
NOT_ROOT = ("id", "echo 1000")


def test_without_the_right_to_install_the_exact_line_is_printed_and_the_exit_code_is_3(tmp_path: Path) -> None:
    done = run_in(tmp_path, NOTHING_INSTALLED, NOT_ROOT, ("sudo", "exit 1"))
    assert done.returncode == 3
    assert "  sudo apt-get install --no-install-recommends -y softhsm2 python3-venv\n" in done.stderr


def test_with_sudo_that_asks_nothing_the_packages_are_installed_through_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    sudo = ("sudo", f'shift; [[ $1 == true ]] || echo "$@" >>{log}; [[ $* != *install* ]] || exit 100')
    done = run_in(tmp_path, NOTHING_INSTALLED, NOT_ROOT, sudo)
    assert done.returncode == 100, "a failing installation must end the script"
    assert "softhsm2 python3-venv" in log.read_text().splitlines()[-1]


def test_on_another_system_the_packages_are_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "script", tmp_path / "script")
    (tmp_path / "bin").mkdir()
    for name in ("bash", "dirname", "printf", "env"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    done = subprocess.run(
        ["/usr/bin/bash", str(tmp_path / "script" / "demo")], capture_output=True, text=True, check=False,
        env={"PATH": str(tmp_path / "bin")},
    )  # fmt: skip
    assert done.returncode == 3
    assert "softhsm2 python3-venv" in done.stderr


def test_continuous_integration_runs_what_a_developer_runs_and_ends_with_pytest() -> None:
    assert 'exec "$(dirname -- "${BASH_SOURCE[0]}")/../script/test"' in (ROOT / ".ci/run").read_text(encoding="utf-8")
    last = (ROOT / "script/test").read_text(encoding="utf-8").strip().splitlines()[-1]
    assert last.startswith('exec "$VENV/bin/python" -m pytest')
