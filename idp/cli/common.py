"""What the commands of ``privyseal idp`` have in common: exit codes, options, output, the database, secret files."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from foundation.files import read_secret
from idp.errors import InputRefused, UnknownAccount
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from idp.storage.accounts import Account
    from idp.storage.seal import Sealer

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


@contextmanager
def database(settings: IdpSettings) -> Iterator[Engine]:
    """The identity provider's database, closed at the end.

    :raises PrivySealError: it cannot be used, or has other tables than this version.
    """
    from idp.app import open_database
    from idp.storage.engine import check_schema

    engine = open_database(settings)
    try:
        check_schema(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def transaction(settings: IdpSettings) -> Iterator[tuple[Connection, Sealer]]:
    """One transaction, committed at the end, and what seals its rows."""
    from idp.storage.keys import KeyStore
    from idp.storage.seal import Sealer

    with database(settings) as engine:
        seals = Sealer(KeyStore(engine, settings.key_dir).secret)
        with engine.begin() as connection:
            yield connection, seals


def account_of(connection: Connection, username: str) -> Account:
    """The person of a user name.

    :raises UnknownAccount: there is nobody of that name.
    """
    from idp.storage import accounts

    found = accounts.find_by_username(connection, username)
    if found is None:
        raise UnknownAccount("there is no account of that user name")
    return found


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
