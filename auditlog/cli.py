"""`privyseal audit`: verify a chain, take a checkpoint of it, export it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import Connection, MetaData, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from auditlog.chain import Checkpoint, Entry, Head, verify
from auditlog.errors import (
    AuditError,
    ChainBroken,
    ChainNotReady,
    ChainTruncated,
    CheckpointInvalid,
    CheckpointNotSigned,
)
from auditlog.kept import read_notes
from auditlog.merkle import Frontier
from auditlog.notes import Point, compared, key_from_pem, open_note, read_note
from auditlog.sql import AuditTables, audit_tables, checkpoint, read_entries, read_head
from foundation.clock import SystemClock
from foundation.files import read_secret

BROKEN = 1
"""Exit code where the chain does not verify."""


def main(argv: Sequence[str]) -> int:
    """Run `privyseal audit ARGV`; 0 = done, 1 = the chain is broken, 2 = it could not be read."""
    arguments = _parser().parse_args(argv)
    try:
        with _connection(arguments) as connection:
            done: int = arguments.run(connection, arguments)
            return done
    except ChainBroken as error:
        _report_broken(error, as_json=arguments.json)
        return BROKEN
    except CheckpointNotSigned as error:
        if arguments.json:
            print(json.dumps({"ok": False, "reason": str(error), "error": error.code}))
        else:
            print(f"broken: {error}", file=sys.stderr)
        return BROKEN
    except (AuditError, SQLAlchemyError, ArgumentError) as error:
        # A driver's message may quote the URL with its password: only the kind of error is shown.
        text = str(error) if isinstance(error, AuditError) else type(error).__name__
        print(f"error: the audit chain cannot be read: {text}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="privyseal audit", description="the tamper-evident audit chain")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("verify", _verify, "verify the whole chain; names the first bad record"),
        ("checkpoint", _checkpoint, "verify, then print where the chain ends; keep it outside the database"),
        ("export", _export, "print every record as a line of JSON"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        source = command.add_mutually_exclusive_group(required=True)
        source.add_argument("--database-url-file", type=Path, metavar="FILE", help="owner-only file with the URL")
        source.add_argument("--database-url", metavar="URL", help="SQLite only: other URLs may hold a password")
        command.add_argument("--checkpoint", type=Path, metavar="FILE", help="checkpoints, one JSON object a line")
        if run is not _export:
            command.add_argument(
                "--checkpoint-key", type=Path, action="append", default=[], metavar="FILE",
                help="public key that signed the database's own checkpoints, PEM; without, signatures are not verified",
            )  # fmt: skip
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(run=run)
    return parser


@contextmanager
def _connection(arguments: argparse.Namespace) -> Iterator[Connection]:
    engine = create_engine(_url(arguments), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _url(arguments: argparse.Namespace) -> URL:
    if arguments.database_url_file is not None:
        return make_url(read_secret(arguments.database_url_file).decode())
    url = make_url(arguments.database_url)
    if url.get_backend_name() != "sqlite":
        raise ChainNotReady("--database-url takes SQLite only; put the URL into an owner-only --database-url-file")
    if url.database is None or not Path(url.database).exists():
        raise ChainNotReady("there is no such database")
    return url


def _tables() -> AuditTables:
    return audit_tables(MetaData())


def _checkpoints(path: Path | None) -> tuple[Checkpoint, ...]:
    if path is None:
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointInvalid("the checkpoints cannot be read") from error
    return tuple(Checkpoint.from_json(line) for line in lines if line.strip())


def _points(connection: Connection, tables: AuditTables, keys: Sequence[bytes]) -> tuple[Point, ...]:
    """The database's own checkpoints; without keys as they are, which compares them with the chain all the same."""
    notes = tuple(read_notes(connection, tables.checkpoints))
    points = tuple(open_note(note, keys) if keys else read_note(note) for _, note in notes)
    if len({point.origin for point in points}) > 1:
        raise CheckpointInvalid("the signed checkpoints are of several chains")
    if [point.size for point in points] != [size for size, _ in notes]:
        raise CheckpointInvalid("a signed checkpoint stands in the place of another")
    return points


def _keys(paths: Sequence[Path]) -> tuple[bytes, ...]:
    try:
        return tuple(key_from_pem(path.read_bytes()) for path in paths)
    except OSError as error:
        raise CheckpointInvalid("a key for checkpoints cannot be read") from error


def _verified(connection: Connection, arguments: argparse.Namespace) -> tuple[Head, int]:
    """Where the chain ends, and how many signed checkpoints it has."""
    tables = _tables()
    # The checkpoints before the head row, for the same reason as below.
    points = _points(connection, tables, _keys(arguments.checkpoint_key))
    # The head row first: records that are written meanwhile only make the chain longer.
    known = read_head(connection, tables.head)
    entries = compared(_until(connection, tables, known), points, Frontier.empty())
    found = verify(entries, _checkpoints(arguments.checkpoint))
    if found.sequence < known.sequence:
        raise ChainTruncated(found.sequence + 1, f"missing; the head row knows of {known.sequence} records")
    if found.hash != known.hash:
        raise ChainBroken(known.sequence, "is not the one of the head row")
    return found, len(points)


def _until(connection: Connection, tables: AuditTables, known: Head) -> Iterator[Entry]:
    """Records up to the head row: on a live database others follow; but a head set back must not hide any."""
    last = read_head(connection, tables.head)
    for entry in read_entries(connection, tables.entries):
        if entry.sequence > last.sequence:
            last = read_head(connection, tables.head)
            if entry.sequence > last.sequence:
                raise ChainBroken(entry.sequence, "stands after the head row")
        if entry.sequence <= known.sequence:
            yield entry


def _verify(connection: Connection, arguments: argparse.Namespace) -> int:
    head, points = _verified(connection, arguments)
    signed = bool(arguments.checkpoint_key)
    if arguments.json:
        found = {"records": head.sequence, "hash": head.hash, "signed_checkpoints": points, "signatures": signed}
        print(json.dumps({"ok": True, **found}))
    else:
        told = "their signatures verified" if signed else "their signatures not looked at"
        print(f"ok: {head.sequence} records, head {head.hash}, {points} signed checkpoints, {told}")
    return 0


def _checkpoint(connection: Connection, arguments: argparse.Namespace) -> int:
    head, _ = _verified(connection, arguments)
    print(checkpoint(head, SystemClock().now()).to_json())
    return 0


def _export(connection: Connection, _arguments: argparse.Namespace) -> int:
    for entry in read_entries(connection, _tables().entries):
        print(json.dumps(asdict(entry), separators=(",", ":")))
    return 0


def _report_broken(error: ChainBroken, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ok": False, "record": error.sequence, "reason": error.reason, "error": error.code}))
    else:
        print(f"broken: {error}", file=sys.stderr)
