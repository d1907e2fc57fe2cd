"""The command line of ``privyseal portal``.

Exit codes: 0 done; 1 refused or failed; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Sequence
from pathlib import Path

from foundation.clock import SystemClock, epoch
from foundation.files import write_secret
from foundation.settings import load
from portal.settings import PortalSettings

_KEY_OCTETS = 32


def main(argv: Sequence[str]) -> int:
    """Run ``privyseal portal <argv>``; returns the exit code."""
    chosen = parser().parse_args(argv)
    settings = load(PortalSettings, chosen.config, prefix="PORTAL")
    result: int = chosen.run(settings)
    return result


def parser() -> argparse.ArgumentParser:
    """All commands."""
    told = "set up the portal, and delete what has expired"
    made = argparse.ArgumentParser(prog="privyseal portal", description=told)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for name, run, told in (
        ("init", _init, "make the sealing key and the database's tables"),
        ("purge", _purge, "delete what has expired now; the running portal does so by itself"),
    ):
        command = commands.add_parser(name, help=told, description=told)
        command.add_argument("--config", type=Path, default=Path("/etc/privyseal/portal.toml"), help="portal.toml")
        command.set_defaults(run=run)
    return made


def _init(settings: PortalSettings) -> int:
    from portal.store.database import create_tables, open_engine

    if settings.key_file.exists():
        print(f"{settings.key_file}: there already")
    else:
        write_secret(settings.key_file, secrets.token_urlsafe(_KEY_OCTETS).encode())
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
