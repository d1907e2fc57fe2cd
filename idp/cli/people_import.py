"""``privyseal account import``: people from a CSV file, with an activation code each.

Rows are all or nothing, each for itself.  It may be interrupted and run again: whoever is there already is left as
they are, and told of.  Codes are written before the rows that they are of are committed, so that none is lost; after
an interruption a file may hold codes of people who were not made, and those open nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from foundation.files import write_secret
from idp.cli import people_csv
from idp.cli.accounts import check_number
from idp.cli.common import EXIT_SOME_REFUSED, add, database, desk_of, new_id
from idp.cli.people_csv import Person, Refused
from idp.cli.progress import Progress
from idp.errors import AlreadyExists, InputRefused
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from idp.desk import Desk

_BATCH: Final = 50
"""Rows in one transaction: whoever signs in meanwhile waits no longer than for these."""
_SHOWN: Final = 20
"""Refused rows that are printed; the report has them all."""


def add_command(commands: Any) -> None:
    """Add ``import``."""
    command = add(
        commands,
        "import",
        _import,
        "add people from a CSV file, with an activation code each; whoever is there already is left as they are",
    )
    command.add_argument("file", type=Path, metavar="FILE", help="CSV, UTF-8; the columns are in the documentation")
    command.add_argument("--dry-run", action="store_true", help="look at every row and add nobody")
    command.add_argument("--report", type=Path, metavar="FILE", help="new CSV file of the refused rows")
    codes = command.add_mutually_exclusive_group()
    codes.add_argument("--codes-file", type=Path, metavar="FILE", help="new owner-only CSV file of the codes")
    codes.add_argument("--no-codes", action="store_true", help="make no codes now: `activate` does, one by one")


def _import(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    if not (options.dry_run or options.no_codes or options.codes_file):
        raise InputRefused("say where the codes go (--codes-file FILE), or that none are made (--no-codes)")
    rows = people_csv.read(_data(options.file))
    people = [row for row in rows if isinstance(row, Person)]
    refused = [row for row in rows if isinstance(row, Refused)]
    progress = Progress(len(people), "rows", sys.stderr)
    with _codes_file(None if options.dry_run else options.codes_file) as codes:
        added, existing, late = _add_all(settings, options, people, codes, progress)
    refused = sorted([*refused, *late], key=lambda item: item.line)
    if options.report is not None:
        write_secret(options.report, _report(refused).encode())
    if refused:
        options.exit_code = EXIT_SOME_REFUSED
    return {
        "rows": len(rows),
        "added": added,
        "existing": len(existing),
        "refused": len(refused),
        "dry_run": options.dry_run,
        "existing_usernames": existing[:_SHOWN] if not options.json else existing,
        "refused_rows": [
            {"line": item.line, "column": item.column, "reason": item.reason}
            for item in (refused if options.json else refused[:_SHOWN])
        ],
        **({"codes_file": str(options.codes_file)} if codes is not None else {}),
    }


def _data(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(people_csv.MAX_OCTETS + 1)
    except OSError as error:
        raise InputRefused(f"{path}: cannot be read ({error.strerror})") from error


@contextmanager
def _codes_file(path: Path | None) -> Iterator[BinaryIO | None]:
    """A new owner-only file with a header, to be written to as codes are made."""
    if path is None:
        yield None
        return
    write_secret(path, people_csv.write([("username", "code", "expires_at")]).encode())
    with path.open("ab") as file:
        yield file


def _add_all(
    settings: IdpSettings,
    options: argparse.Namespace,
    people: Sequence[Person],
    codes: BinaryIO | None,
    progress: Progress,
) -> tuple[int, list[str], list[Refused]]:
    """How many were added, who was there, and which rows were refused when they were written."""
    from idp.storage.keys import KeyStore
    from idp.storage.seal import Sealer

    added, existing, refused = 0, [], []
    with database(settings) as engine:
        seals = Sealer(KeyStore(engine, settings.key_dir).secret)
        for at in range(0, len(people), _BATCH):
            batch = people[at : at + _BATCH]
            with engine.connect() as connection, connection.begin() as transaction:
                desk = desk_of(settings, seals, connection, options.clock)
                lines = []
                for person in batch:
                    done = _add_one(connection, desk, settings, person, codes=not options.no_codes)
                    if isinstance(done, Refused):
                        refused.append(done)
                    elif done is None:
                        existing.append(person.account.username)
                    else:
                        added += 1
                        lines.append(done)
                if codes is not None:
                    _write_through(codes, lines)
                if options.dry_run:
                    transaction.rollback()
            progress.at(at + len(batch))
    return added, existing, refused


def _write_through(codes: BinaryIO, lines: Sequence[Sequence[str]]) -> None:
    """To the disk, before what they are codes of is committed."""
    codes.write(people_csv.write(lines).encode())
    codes.flush()
    os.fsync(codes.fileno())


def _add_one(
    connection: Connection, desk: Desk, settings: IdpSettings, person: Person, *, codes: bool
) -> Sequence[str] | Refused | None:
    """The line for the file of codes; None: somebody of that user name is there already."""
    from idp.desk import issue_code
    from idp.storage import accounts, authenticators
    from idp.storage.roles import COMMAND_LINE

    if accounts.find_by_username(connection, person.account.username) is not None:
        return None
    try:
        check_number(settings, person.phone)
    except InputRefused as error:
        return Refused(person.line, "phone", str(error))
    try:
        with connection.begin_nested():
            account = accounts.create(connection, new_id(), person.account, desk.now)
            bound = []
            for kind, address in (("sms_otp", person.phone), ("email_otp", person.email)):
                if address is not None:
                    authenticators.add(
                        connection,
                        desk.seals,
                        authenticator_id=new_id(),
                        account_id=account.id,
                        kind=kind,
                        now=desk.now,
                        address=address,
                    )
                    bound.append(kind)
            desk.audit.record(
                connection, "account.created", account_id=account.id, proofing=account.proofing, authenticators=bound
            )
            if not codes:
                return (account.username, "", "")
            life = timedelta(hours=settings.activation.life_hours)
            issued = issue_code(connection, desk, account.id, purpose="bootstrap", by=COMMAND_LINE, life=life)
    except AlreadyExists:
        return None
    except InputRefused as error:
        return Refused(person.line, "", str(error))
    return (account.username, issued.code.shown, issued.activation.expires_at.isoformat())


def _report(refused: Sequence[Refused]) -> str:
    return people_csv.write(
        [("line", "column", "reason"), *((item.line, item.column, item.reason) for item in refused)]
    )
