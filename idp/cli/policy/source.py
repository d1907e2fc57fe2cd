"""Where recorded decisions come from: the identity provider's database, or a file that was exported from it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from foundation.errors import PrivySealError, TokenMalformed
from foundation.jose import parse_json_object
from idp.cli.policy.common import Usage
from idp.cli.policy.database import opened
from idp.cli.times import count, since
from idp.policy.errors import RecordInvalid
from idp.policy.records import DecisionRecord, record_from_json

if TYPE_CHECKING:
    from idp.storage.decisions import Disagreement

_STEP: Final = 10_000
_SHOWN: Final = 10
_LONGEST_LINE: Final = 1024 * 1024
"""Octets; a record has some thousands."""


class SourceUnusable(PrivySealError):
    """Recorded decisions cannot be read."""

    code = "records_unusable"


class Told:
    """Collects where chain and table disagree; prints the first ones."""

    def __init__(self) -> None:
        self.all: list[dict[str, str]] = []

    def __call__(self, item: Disagreement) -> None:
        """Tell one more."""
        self.all.append({"decision_id": item.decision_id, "text": item.text})
        if len(self.all) <= _SHOWN:
            name = f"decision {item.decision_id}: " if item.decision_id else ""
            print(f"warning: {name}{item.text}", file=sys.stderr)

    def finish(self) -> None:
        """Say how many were not shown."""
        if len(self.all) > _SHOWN:
            print(f"warning: {len(self.all) - _SHOWN} more like these", file=sys.stderr)


def add_options(command: argparse.ArgumentParser, *, required: bool) -> None:
    """Options that say which recorded decisions to take."""
    command.add_argument(
        "--from-audit",
        nargs="?",
        const="",
        metavar="FILE",
        required=required,
        help="ask about recorded decisions: those of FILE (privyseal idp decisions export), or of the database",
    )
    command.add_argument("--config", type=Path, metavar="FILE", help="idp.toml, to read the database; only read")
    command.add_argument(
        "--since", type=since, metavar="TIME", help="only decisions from then on: 2026-03-02, or with T10:00:00Z"
    )
    command.add_argument("--limit", type=count, metavar="N", help="only the newest N (of a file: the first N)")


@contextmanager
def recorded(options: argparse.Namespace, told: Told) -> Iterator[Iterator[DecisionRecord]]:
    """The records, read as they are asked for, with progress on standard error.

    :raises Usage: the options do not say where from.
    :raises SourceUnusable: they cannot be read.
    :raises RecordInvalid: one of them does not have the form of a record.
    """
    if bool(options.from_audit) == (options.config is not None):
        raise Usage("--from-audit takes either a FILE or --config idp.toml")
    if options.config is None:
        yield _progress(_of_file(Path(options.from_audit), options.since, options.limit))
        return
    from idp.storage.decisions import audited

    with opened(options.config) as (_, connection):
        found = audited(connection, since=options.since, limit=options.limit, disagrees=told)
        yield _progress(record_from_json(item) for item in found)
    told.finish()


def _of_file(path: Path, since: datetime | None, limit: int | None) -> Iterator[DecisionRecord]:
    found = (item for item in _lines(path) if since is None or item.facts.now >= since)
    return found if limit is None else islice(found, limit)


def _lines(path: Path) -> Iterator[DecisionRecord]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LINE + 1), b""), 1):
                if len(line) > _LONGEST_LINE:
                    raise SourceUnusable(f"{path}:{number}: longer than any record")
                if line.strip():
                    yield _line(line, f"{path}:{number}")
    except OSError as error:
        raise SourceUnusable(f"{path}: cannot be read: {error.strerror}") from error


def _line(line: bytes, place: str) -> DecisionRecord:
    try:
        return record_from_json(parse_json_object(line))
    except (TokenMalformed, RecordInvalid) as error:
        raise RecordInvalid(f"{place}: {error}") from error


def _progress(records: Iterator[DecisionRecord]) -> Iterator[DecisionRecord]:
    for number, item in enumerate(records, 1):
        yield item
        if number % _STEP == 0:
            print(f"{number} decisions so far", file=sys.stderr, flush=True)


def show_json(value: object) -> None:
    """Print a result for programs."""
    print(json.dumps(value, indent=2))
