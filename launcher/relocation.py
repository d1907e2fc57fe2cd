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
    "anchoring", "archive", "auditlog", "clients", "connectors", "contract", "devservices", "documents", "examples",
    "foundation", "idp", "launcher", "operators", "policies", "portal", "signing",
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


def for_account(account: Account, say: Callable[[str], None], *, anew: bool = False) -> Code:
    """The code where a service user can read it, copied if need be (root only).

    :param anew: make a copy from nothing, whatever an earlier run has left in its place.
    :raises StateRefusedError: there is no checkout to run from, or not even a copy can be used, because the interpreter
        itself is out of reach.
    """
    code = here()
    if not (code.root / "examples").is_dir():
        raise StateRefusedError("the demo runs from a checkout: its relying party is no part of the installed package")
    if os.geteuid() != 0:
        return code
    if _readable(code, account):
        _compile(code)
        return code
    place = COPIES / hashlib.sha256(os.fsencode(code.root)).hexdigest()[:12]
    say(f"the service users cannot enter {code.root}: running from a copy in {place}")
    copied = Code(place / "code", place / "code" / ".venv" / "bin" / "python", place / "state")
    _copy(code, copied, anew=anew)
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
    except OSError:
        return False
    return done.returncode == 0


def _compile(code: Code) -> None:
    # The service users cannot write byte code; without it each of their processes would compile everything again.
    try:
        subprocess.run(
            [str(code.interpreter), "-I", "-m", "compileall", "-q",
             *PACKAGES, *(name for name in MODULES if name.endswith(".py"))],
            cwd=code.root, env={}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        raise StateRefusedError(f"{code.interpreter} cannot compile {code.root}: {error}") from error


def _copy(source: Code, target: Code, *, anew: bool) -> None:
    # An environment's folder is two above its interpreter.
    environment = source.interpreter.parents[1]
    if not (environment / "pyvenv.cfg").is_file():
        raise StateRefusedError(f"{source.interpreter} is in no virtual environment: start script/demo, it makes one")
    target.root.mkdir(parents=True, exist_ok=True)
    for folder in (COPIES, target.root.parent, target.root):
        if folder.is_symlink() or folder.stat().st_uid != 0:
            raise StateRefusedError(f"{folder} is not root's own: remove it")
        folder.chmod(0o755)
    if anew:
        shutil.rmtree(target.root)
        target.root.mkdir(mode=0o755)
    for name in (*PACKAGES, *MODULES):
        _replace(source.root / name, target.root / name)
    if not _current(environment, target):
        _copy_environment(environment, target.root / ".venv")


def _current(environment: Path, target: Code) -> bool:
    """Whether the copy of an environment is a whole one of what it is now; without stamps nobody can tell."""
    stamps = _stamps(environment)
    return bool(stamps) and target.interpreter.exists() and stamps == _stamps(target.root / ".venv")


def _copy_environment(source: Path, target: Path) -> None:
    # Under another name until it is whole: a copy that was interrupted may already have its stamps.
    draft = target.with_name(f"{target.name}.new")
    _replace(source, draft)
    for hook in draft.glob("lib/*/site-packages/__editable__*"):
        hook.unlink()  # it would lead back to the checkout
    if target.is_dir():
        shutil.rmtree(target)
    draft.rename(target)


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
