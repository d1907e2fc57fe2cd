"""The client by itself: built from its own packaging, without the product; and the examples of its README."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.unit.clients.scripted import Scripted
from tests.unit.clients.world import World
from tests.unit.examples.certificates import Signer as Key

pytestmark = pytest.mark.loopback
SOURCE = ROOT / "clients" / "csc"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as its wheel unpacks."""
    place = tmp_path_factory.mktemp("standalone")
    shutil.copytree(SOURCE, place / "source", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(place)], cwd=place / "source", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def python(installed: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -S and the packages by hand: the editable product is not importable in there
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    start = f"import sys; sys.path[1:1] = [{str(installed)!r}, {packages!r}]\n"
    return subprocess.run(
        [sys.executable, "-S", "-c", start + code, *arguments],
        cwd=installed, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_package_stands_alone_and_is_typed(installed: Path) -> None:
    assert (installed / "privyseal_csc" / "py.typed").is_file()
    wanted = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py")}
    assert {str(path.relative_to(installed / "privyseal_csc")) for path in installed.rglob("*.py")} == wanted
    done = python(
        installed,
        "import privyseal_csc.sign.cli as cli, sys\n"
        "ours = {'clients', 'foundation', 'contract', 'idp', 'signing', 'connectors', 'launcher'}\n"
        "assert not ours & set(sys.modules), ours & set(sys.modules)\n"
        "cli.main(['--help'])",
    )
    assert done.returncode == 0, done.stderr
    assert "one approval for all of them" in done.stdout


def examples() -> list[str]:
    """The README's Python, in order."""
    return re.findall(r"^```python\n(.*?)^```", (SOURCE / "README.md").read_text(encoding="utf-8"), re.M | re.S)


def test_the_examples_of_the_readme_run_one_after_the_other(
    installed: Path, server: Scripted, key: Key, tmp_path: Path
) -> None:
    World(server, key)
    server.on("/csc/v2/signatures/timestamp", {"timestamp": "dg=="})
    secret = tmp_path / "client-secret"
    secret.touch(0o600)
    secret.write_text("secret")
    (tmp_path / "contract.pdf").write_bytes(_sample())
    blocks = examples()
    assert len(blocks) >= 4
    replaced = (
        "\n".join(blocks)
        .replace("https://sign.example.org", server.url)
        .replace("/etc/my-app/", f"{tmp_path}/")
        .replace('"contract', f'"{tmp_path}/contract')
    )
    done = python(installed, BROWSER.format(uri="http://127.0.0.1:8407/callback", server=server.url) + replaced)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "contract-signed.pdf").read_bytes().startswith(b"%PDF-")


def _sample() -> bytes:
    from examples.sample_contract import make_sample_pdf

    return make_sample_pdf()


BROWSER = """
import privyseal_csc.receiver, urllib.request
class LoopbackReceiver:
    def __init__(self, redirect_uri, **_): assert redirect_uri == "{uri}"
    def __enter__(self): return lambda pending: {{"code": "c", "state": pending.state, "iss": "{server}/as"}}
    def __exit__(self, *_): pass
privyseal_csc.receiver.LoopbackReceiver = privyseal_csc.LoopbackReceiver = LoopbackReceiver
"""
