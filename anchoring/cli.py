"""`privyseal anchor`: run the anchor process, or look at what it made."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anchoring.errors import AnchorError, DatabaseUnusable
from anchoring.files import AnchorFile
from anchoring.settings import AnchorSettings
from auditlog.errors import AuditError, ChainBroken
from connectors.registry import load as load_connector
from foundation import log
from foundation.clock import SystemClock, epoch
from foundation.errors import PrivySealError
from foundation.files import read_secret
from foundation.settings import load
from foundation.termination import Termination

if TYPE_CHECKING:
    from anchoring.process import Anchorer

BROKEN: Final = 1
"""Exit code where the chain does not verify, or the last anchor is too old."""
UNUSABLE: Final = 2
_LATE_ROUNDS: Final = 3
_MICROSECONDS: Final = 1_000_000


def main(argv: Sequence[str]) -> int:
    """Run `privyseal anchor ARGV`; 0 = done, 1 = broken or too old, 2 = it could not be done."""
    arguments = _parser().parse_args(argv)
    try:
        settings = load(AnchorSettings, arguments.config, prefix="ANCHOR")
        done: int = arguments.run(settings, arguments)
        return done
    except ChainBroken as error:
        _print(arguments, {"ok": False, "record": error.sequence, "reason": error.reason, "error": error.code})
        return BROKEN
    except (AnchorError, AuditError, PrivySealError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="privyseal anchor", description="anchors of an audit chain")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("run", _run, "verify, export and timestamp the chain every interval_seconds, until SIGTERM"),
        ("once", _once, "one round"),
        ("status", _status, "how old the last anchor is; exit code 1 when three rounds were missed"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help="anchor.toml")
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(run=run)
    return parser


@contextmanager
def _anchorer(settings: AnchorSettings) -> Iterator[Anchorer]:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.pool import NullPool

    from anchoring.process import Anchorer

    url = settings.database_url or ""
    if settings.database_url_file is not None:
        url = read_secret(settings.database_url_file).decode()
    authorities = [
        load_connector("tsa", item.connector, item.settings, production=settings.production)
        for _name, item in sorted(settings.tsa.items())
    ]
    try:
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    except ArgumentError as error:
        raise DatabaseUnusable("the database's URL cannot be read") from error
    try:
        made = Anchorer(settings, engine, authorities, SystemClock())
        with made.alone():
            yield made
    finally:
        engine.dispose()


def _run(settings: AnchorSettings, _arguments: argparse.Namespace) -> int:
    log.configure("anchor", settings.log_level)
    stop = Termination()
    with _anchorer(settings) as made:
        made.run(stop)
    return 0


def _once(settings: AnchorSettings, arguments: argparse.Namespace) -> int:
    with _anchorer(settings) as made:
        _print(arguments, {"ok": True, **asdict(made.once())})
    return 0


def _status(settings: AnchorSettings, arguments: argparse.Namespace) -> int:
    anchors = AnchorFile(settings.anchors_file).read()
    now = SystemClock().now()
    if not anchors:
        _print(arguments, {"ok": False, "anchors": 0})
        return BROKEN
    last = anchors[-1].checkpoint
    age = max(0, epoch(now) - last.at // _MICROSECONDS)
    late = age > _LATE_ROUNDS * settings.interval_seconds
    _print(arguments, {"ok": not late, "anchors": len(anchors), "records": last.sequence, "age_seconds": age})
    return BROKEN if late else 0




def _print(arguments: argparse.Namespace, found: dict[str, Any]) -> None:
    if arguments.json:
        print(json.dumps(found))
        return
    print(", ".join(f"{name}: {value}" for name, value in found.items()))
