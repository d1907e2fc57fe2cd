"""What the commands of ``privyseal idp`` have in common: exit codes, options, output, secrets from files."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from foundation.files import read_secret
from idp.errors import InputRefused

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_EXISTS: Final = 3

EXIT_CODES: Final = """exit codes:
  0  done
  1  refused or failed
  2  wrong usage, or settings that cannot be used
  3  an account or client of that name exists already
"""
_ID_OCTETS: Final = 16


def add(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    """Add a command with the options that every command has; ``run(settings, options)`` returns what to print."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="idp.toml")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=run)
    return command


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """For people: a line a value; of a list of things, a line each."""
    for name, value in result.items():
        if not isinstance(value, list):
            yield f"{name}: {value}"
        elif value and isinstance(value[0], dict):
            yield from ("\t".join(_word(item) for item in thing.values()) for thing in value)
        else:
            yield f"{name}: {_word(value)}"


def _word(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def secret_text(path: Path) -> str:
    """What an owner-only file holds.

    :raises InputRefused: it is not UTF-8.
    :raises SecretFileError: it cannot be read, or others could read it.
    """
    try:
        return read_secret(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputRefused(f"{path}: not UTF-8") from error


def new_id() -> str:
    """An identifier that nobody can guess, for a new row."""
    return secrets.token_hex(_ID_OCTETS)
