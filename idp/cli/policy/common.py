"""What the commands of ``privyseal policy`` have in common: exit codes, files, and faults as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from foundation.errors import PrivySealError
from idp.policy.cases import Cases, parse_cases
from idp.policy.errors import PolicyLoadError, PolicyRejected
from idp.policy.load import read_file
from idp.policy.model import Policy

EXIT_OK: Final = 0
EXIT_UNUSABLE: Final = 1
EXIT_USAGE: Final = 2
EXIT_FOUND: Final = 3
"""There is something to tell; what, depends on the command."""
EXIT_DENY: Final = 4

EXIT_CODES: Final = """exit codes:
  0  all is well: sound, no error found, cases passed, nothing changed, laid out, allowed
  1  a file cannot be used or written, or the recorded decisions cannot be read
  2  wrong usage
  3  lint: an error is found; test: a case fails, or a rule is not exercised; diff, simulate: something changes;
     fmt --check: not laid out; explain: the person has to step up;
     approve: the linter or a case is against it
  4  explain: the action is refused; approve: not confirmed, nothing was signed
"""


class Usage(Exception):
    """An argument that argparse cannot judge by itself."""


class NotWritten(PrivySealError):
    """A file cannot be written."""

    code = "not_written"

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path}: cannot be written: {error.strerror}")


def add(commands: Any, name: str, text: str, *, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """Add a command with its ``--json``; the description ends with the exit codes."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=description,
        epilog=f"{epilog}\n{EXIT_CODES}" if epilog else EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="write JSON")
    return command


def replace_file(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write the whole file or none of it, since somebody may read it at any time; a link stays one.

    :param mode: None: the one it has.
    :raises NotWritten: it cannot be written; what was there before still is.
    """
    target = path.resolve()
    name = ""
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), target.stat().st_mode & 0o777 if mode is None else mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, target)
    except OSError as error:
        with suppress(OSError):
            os.unlink(name)
        raise NotWritten(path, error) from error


def load_cases(path: Path) -> Cases:
    """Read a cases file.

    :raises PolicyLoadError: it cannot be read, or has faults.
    """
    return parse_cases(read_file(path), str(path))


def unusable(error: PolicyLoadError, *, as_json: bool) -> int:
    """Tell what is wrong with a file, where that is all that can be told; returns the exit code."""
    if as_json:
        print(json.dumps({"faults": faults_json(error)}, indent=2))
    else:
        print(error, file=sys.stderr)
    return EXIT_UNUSABLE


def describe(policy: Policy) -> dict[str, Any]:
    """Which policy it is, as JSON values."""
    return {"name": policy.name, "file": policy.file, "sha256": policy.sha256}


def faults_json(error: PolicyLoadError | PolicyRejected) -> list[dict[str, Any]]:
    """What is wrong with a file, as JSON values."""
    return [
        {"file": fault.file, "line": fault.line, "column": fault.column, "message": fault.message}
        for fault in error.faults
    ]
