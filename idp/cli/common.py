"""What the commands of ``privyseal idp`` have in common: exit codes, options, output, the database, secret files."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from foundation.clock import Clock, SystemClock
from foundation.errors import PrivySealError, SettingsError
from foundation.files import read_secret
from foundation.settings import load
from idp.errors import AlreadyExists, InputRefused, UnknownAccount
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from idp.desk import Desk
    from idp.storage.accounts import Account
    from idp.storage.seal import Sealer

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_EXISTS: Final = 3
EXIT_SOME_REFUSED: Final = 4

EXIT_CODES: Final = """exit codes:
  0  done
  1  refused or failed
  2  wrong usage, or settings that cannot be used
  3  an account or client of that name exists already
  4  account import: some rows were refused, the others are done
"""
_ID_OCTETS: Final = 16


def run_command(parser: argparse.ArgumentParser, argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run a command line whose commands were added with :func:`add`; returns the exit code."""
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:
        return EXIT_DONE if stop.code in {None, 0} else EXIT_USAGE
    options.clock = clock or SystemClock()
    options.exit_code = EXIT_DONE
    try:
        settings = load(IdpSettings, options.config, prefix="IDP")
        result: dict[str, Any] = options.run(settings, options)
    except SettingsError as error:
        return _failed(error, EXIT_USAGE)
    except AlreadyExists as error:
        return _failed(error, EXIT_EXISTS)
    except PrivySealError as error:
        return _failed(error, EXIT_FAILED)
    if options.json:
        print(json.dumps(result, indent=2, sort_keys=True))
    else:
        for line in lines(result):
            print(line)
    done: int = options.exit_code
    return done


def _failed(error: PrivySealError, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


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


def group(commands: Any, name: str, text: str) -> Any:
    """Add a command that has commands of its own; returns what they are added to."""
    return commands.add_parser(name, help=text, description=text).add_subparsers(required=True, metavar="COMMAND")


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


def desk_of(settings: IdpSettings, seals: Sealer, connection: Connection, clock: Clock) -> Desk:
    """What it takes to change a person's factors."""
    from idp.desk import Desk
    from idp.storage.audit import DatabaseAudit
    from idp.storage.keys import KeyStore
    from idp.storage.outbox import Outbox

    keys = KeyStore(connection.engine, settings.key_dir)
    outbox = Outbox(seals, clock, secrets.token_bytes)
    return Desk(seals, DatabaseAudit(clock), outbox, keys.secret, secrets.token_bytes, clock.now())


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
