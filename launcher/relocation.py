"""Code that the service users can read: the checkout where they can enter it, else a copy of it.

A checkout below /root or in a private temporary directory is closed to the system users that the services run as.
Opening it for them would be the wrong cure, so sources and environment are copied to a place of their own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher.accounts import Account
from launcher.errors import StateRefusedError

COPIES = Path("/opt/privyseal-demo")
PACKAGES = (
    "auditlog", "connectors", "contract", "devservices", "examples", "foundation", "idp", "launcher", "policies",
    "signing",
)  # fmt: skip
MODULES = ("wsgi.py", "setup.cfg")

_PROBE = """
import os, pathlib, sys
root = pathlib.Path(sys.argv[1])
import sqlalchemy, flask
def refuse(error): raise error
for package in sys.argv[2:]:
    for folder, _, files in os.walk(root / package, onerror=refuse):
        for name in files:
            if not name.endswith('.pyc'):
                os.close(os.open(os.path.join(folder, name), os.O_RDONLY))
"""


@dataclass(frozen=True, slots=True)
class Code:
    """Where the code runs from, with which interpreter, and where its state lies unless told otherwise."""

    root: Path
    interpreter: Path
    default_state: Path


def here() -> Code:
    """The checkout that this process runs from."""
    root = Path(__file__).resolve().parents[1]
    return Code(root, Path(sys.executable), root / "var" / "demo")


def for_account(account: Account, say: Callable[[str], None]) -> Code:
    """The code where a service user can read it, copied if need be (root only).

    :raises StateRefusedError: not even a copy can be used, because the interpreter itself is out of reach.
    """
    code = here()
    if os.geteuid() != 0:
        return code
    if _readable(code, account):
        _compile(code)
        return code
    place = COPIES / hashlib.sha256(os.fsencode(code.root)).hexdigest()[:12]
    say(f"the service users cannot enter {code.root}: running from a copy in {place}")
    copied = Code(place / "code", place / "code" / ".venv" / "bin" / "python", place / "state")
    _copy(code, copied)
    _compile(copied)
    if not _readable(copied, account):
        raise StateRefusedError(
            f"the service users cannot run {code.interpreter.resolve()}: make .venv with a Python that all users can "
            "reach (Debian: apt-get install python3.11 python3-venv, remove .venv, start again)"
        )
    return copied


def _readable(code: Code, account: Account) -> bool:
    try:
        done = subprocess.run(
            [str(code.interpreter), "-I", "-c", _PROBE, str(code.root), *PACKAGES],
            cwd="/", env={}, user=account.uid, group=account.gid, extra_groups=[],
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
    except PermissionError:
        return False
    return done.returncode == 0


def _compile(code: Code) -> None:
    # The service users cannot write byte code; without it each of their processes would compile everything again.
    subprocess.run(
        [str(code.interpreter), "-I", "-m", "compileall", "-q", *PACKAGES, *(m for m in MODULES if m.endswith(".py"))],
        cwd=code.root, env={}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def _copy(source: Code, target: Code) -> None:
    target.root.mkdir(parents=True, exist_ok=True)
    for folder in (COPIES, target.root.parent, target.root):
        if folder.is_symlink() or folder.stat().st_uid != 0:
            raise StateRefusedError(f"{folder} is not root's own: remove it")
        folder.chmod(0o755)
    for name in (*PACKAGES, *MODULES):
        _replace(source.root / name, target.root / name)
    # An environment's folder is two above its interpreter; its stamps tell whether the copy is current.
    environment = source.interpreter.parents[1]
    if _stamps(environment) != _stamps(target.root / ".venv"):
        _replace(environment, target.root / ".venv")
        for hook in (target.root / ".venv").glob("lib/*/site-packages/__editable__*"):
            hook.unlink()  # it would lead back to the checkout


def _replace(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, copy_function=_copy_file)
        for folder, _, _ in os.walk(target):
            Path(folder).chmod(0o755)
    elif source.exists():
        _copy_file(str(source), str(target))


def _copy_file(source: str, target: str) -> str:
    shutil.copy2(source, target, follow_symlinks=False)  # with its time: byte code is checked against it
    if not os.path.islink(target):
        Path(target).chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    return target


def _stamps(environment: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in environment.glob(".stamp-*")}
