"""The command line of ``privyseal portal``.

Exit codes: 0 done; 1 refused or failed; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from foundation.clock import SystemClock, epoch
from foundation.errors import PrivySealError
from foundation.settings import load
from portal.settings import PortalSettings


def main(argv: Sequence[str]) -> int:
    """Run ``privyseal portal <argv>``; returns the exit code."""
    chosen = parser().parse_args(argv)
    settings = load(PortalSettings, chosen.config, prefix="PORTAL")
    try:
        result: int = chosen.run(settings)
    except PrivySealError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return result


def parser() -> argparse.ArgumentParser:
    """All commands."""
    told = "set up the portal, delete what has expired, exchange the sealing key"
    made = argparse.ArgumentParser(prog="privyseal portal", description=told)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, "init", _init, "make the sealing key and the database's tables")
    _add(commands, "purge", _purge, "delete what has expired now; the running portal does so by itself")
    group = commands.add_parser("keys", help="the sealing key", description="the sealing key")
    keys = group.add_subparsers(required=True, metavar="COMMAND")
    _add(keys, "rotate", _rotate, "put a new sealing key in its place; restart every process of the portal then")
    _add(keys, "retire", _retire, "delete former sealing keys that no document needs; restart every process before")
    return made


def _add(commands: Any, name: str, run: Callable[[PortalSettings], int], told: str) -> None:
    command = commands.add_parser(name, help=told, description=told)
    command.add_argument("--config", type=Path, default=Path("/etc/privyseal/portal.toml"), help="portal.toml")
    command.set_defaults(run=run)


def _init(settings: PortalSettings) -> int:
    from portal.store.database import create_tables, open_engine
    from portal.store.keys import make

    if settings.key_file.exists():
        print(f"{settings.key_file}: there already")
    else:
        make(settings.key_file)
        print(f"{settings.key_file}: made")
    made = create_tables(open_engine(settings))
    print("database: tables made" if made else "database: there already")
    return 0


def _purge(settings: PortalSettings) -> int:
    from portal.purger import purge
    from portal.store.database import check_schema, open_engine

    engine = open_engine(settings)
    check_schema(engine)
    documents, others = purge(engine, epoch(SystemClock().now()), settings.keeping)
    print(f"deleted: {documents} documents, {others} sessions and requests")
    return 0


def _rotate(settings: PortalSettings) -> int:
    from portal.store.keys import rotate

    former = rotate(settings.key_file, SystemClock().now())
    print(f"{settings.key_file}: a new key; the former one opens what it sealed: {former}")
    print("restart every process of the portal: people sign in again")
    return 0


def _retire(settings: PortalSettings) -> int:
    from portal.store.database import check_schema, open_engine
    from portal.store.keys import retire

    engine = open_engine(settings)
    check_schema(engine)
    done = retire(settings.key_file, engine)
    for each in done.gone:
        print(f"{each}: deleted")
    for each in done.kept:
        print(f"{each}: a document still needs it")
    if not done.gone and not done.kept:
        print("there is no former key")
    return 0
