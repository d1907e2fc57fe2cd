"""``privyseal idp decisions``: recorded decisions, to be asked of another policy elsewhere."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from idp.cli.common import add, database, group
from idp.cli.times import count, since
from idp.errors import InputRefused
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from idp.storage.decisions import Disagreement

_STEP: Final = 10_000


def add_commands(commands: Any) -> None:
    """Add ``decisions ...``."""
    exports = group(commands, "decisions", "recorded decisions")
    command = add(exports, "export", _export, "write recorded decisions to a file, for privyseal policy")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="new owner-only file of JSON Lines")
    command.add_argument(
        "--since", type=since, metavar="TIME", help="only decisions from then on: 2026-03-02, or with T10:00:00Z"
    )
    command.add_argument("--limit", type=count, metavar="N", help="only the newest N")


def _export(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage.decisions import audited
    from idp.storage.engine import reading

    disagreements: list[str] = []

    def disagrees(item: Disagreement) -> None:
        disagreements.append(f"{item.decision_id}: {item.text}" if item.decision_id else item.text)

    written = 0
    with database(settings) as engine, _new_file(options.out) as stream, reading(engine) as connection:
        for record in audited(connection, since=options.since, limit=options.limit, disagrees=disagrees):
            stream.write(json.dumps(record, sort_keys=True, separators=(",", ":")) + "\n")
            written += 1
            if written % _STEP == 0:
                print(f"{written} decisions so far", file=sys.stderr, flush=True)
    return {"exported": written, "out": str(options.out), "disagreements": disagreements or ["none"]}


def _new_file(path: Path) -> Any:
    """Owner-only: the records tell who did what, when and from which address."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8")
    except OSError as error:
        raise InputRefused(f"{path}: cannot be made ({error.strerror})") from error
