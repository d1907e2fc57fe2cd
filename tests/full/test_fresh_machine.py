"""The first of the two commands on a machine that has nothing: Debian 12 in a chroot with git, Python 3.11 and root.

Needs root, debootstrap and this machine's own ways to Debian's and Python's packages, which the chroot is given.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.settings import process_environment
from tests.e2e.conftest import free_ports

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
GIVEN = ("/etc/apt", "/etc/pip.conf", "/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")
"""How this machine reaches packages: copied, because a fresh machine in the same place would have the same."""

IN_CHROOT = """
set -eu
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/dev/shm"
exec chroot "$1" /bin/bash -c 'cd /srv/privy-seal && exec script/demo --once --base-port "$0"' "$2"
"""


def surroundings() -> dict[str, str]:
    """Of our environment only what says how packages are reached."""
    ours = process_environment()
    kept = {name: value for name, value in ours.items() if name.startswith("PIP_") or name.endswith("_proxy")}
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", **kept}


def mirror() -> str:
    """The address from which this machine's Debian packages come."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {SUITE}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()[0]


@pytest.fixture(scope="module")
def machine() -> Iterator[Path]:
    """A minimal Debian 12 with a clone of this repository, its files as committed."""
    assert os.geteuid() == 0, "making a machine needs root"
    path = Path(tempfile.mkdtemp(prefix="privyseal-fresh-", dir="/var/tmp"))
    path.chmod(0o755)  # it becomes the root directory, which everybody may enter
    try:
        subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=git,python3.11,ca-certificates,passwd", SUITE, str(path),
             mirror()],
            check=True, env=surroundings(), stdout=sys.stderr,
        )  # fmt: skip
        (path / "etc/apt/sources.list").unlink()
        for name in filter(os.path.exists, GIVEN):
            target = str((path / name.lstrip("/")).parent)
            subprocess.run(["cp", "-a", "--remove-destination", "--", os.path.realpath(name), target], check=True)
        subprocess.run(["git", "clone", "--quiet", "--no-local", str(ROOT), str(path / "srv/privy-seal")], check=True)
        yield path
    finally:
        # only what lies on this file system, should a mount have outlived its namespace
        subprocess.run(["rm", "-rf", "--one-file-system", "--", str(path)], check=True)


def demo(machine: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--mount", "bash", "-c", IN_CHROOT, "fresh", str(machine), str(free_ports().base)],
        env=surroundings(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=1800,
    )  # fmt: skip


def test_the_demo_needs_nothing_but_debian_git_python_and_root(machine: Path) -> None:
    done = demo(machine)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "installing Debian packages: softhsm2 python3-venv" in done.stdout
    assert "done: the PDF is signed and verified" in done.stdout
    signed = list((machine / "srv/privy-seal/var/demo/signed").glob("*.pdf"))
    assert len(signed) == 1


def test_without_the_right_to_install_the_exact_line_is_printed(machine: Path) -> None:
    remove = ["chroot", str(machine), "apt-get", "-q", "-q", "remove", "-y", "softhsm2"]
    subprocess.run(remove, check=True, env=surroundings(), stdout=sys.stderr)
    done = subprocess.run(
        ["chroot", "--userspec=nobody:nogroup", str(machine), "/srv/privy-seal/script/demo", "--once"],
        env=surroundings(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "sudo apt-get install --no-install-recommends -y softhsm2" in done.stderr
