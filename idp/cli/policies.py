"""``privyseal idp policy``: which policies were in force, what was in them, and what a candidate would decide."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from idp.cli.common import add, database, group
from idp.cli.times import count
from idp.errors import InputRefused, UnknownPolicy
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from idp.storage.policies import HistoryEntry

_LIMIT: Final = 100


def add_commands(commands: Any) -> None:
    """Add ``policy ...``."""
    policy = group(commands, "policy", "policies of the past and the present")
    history = add(policy, "history", _history, "print what happened to the policy, the latest first")
    history.add_argument("--limit", type=count, default=_LIMIT, metavar="N", help="only the newest N (default: 100)")
    show = add(policy, "show", _show, "write the policy of a hash, as decisions and SADs name it, to files")
    show.add_argument("--sha256", required=True, metavar="HEX", help="of the policy")
    show.add_argument("--out", type=Path, required=True, metavar="FILE", help="new file for the policy")
    show.add_argument("--cases-out", type=Path, metavar="FILE", help="new file for its cases, if it has some")
    add(policy, "shadow", _shadow, "print what the candidate would have decided otherwise")


def _history(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import policies
    from idp.storage.engine import reading

    with database(settings) as engine, reading(engine) as connection:
        found = policies.history(connection, options.limit)
    return {"history": [_entry(item) for item in found]}


def _entry(item: HistoryEntry) -> dict[str, Any]:
    return {
        "at": item.at.isoformat(),
        "happening": item.happening,
        "name": item.name,
        "sha256": item.sha256,
        "cases_sha256": item.cases_sha256,
        "cause": item.cause,
        "faults": [str(fault) for fault in item.faults],
        "operators": [] if item.approval is None else list(item.approval.operators),
    }


def _show(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import policies
    from idp.storage.engine import reading

    with database(settings) as engine, reading(engine) as connection:
        found = policies.by_sha256(connection, options.sha256.lower())
    if found is None:
        raise UnknownPolicy("no policy of that hash was ever used here")
    _write(options.out, found.content)
    if options.cases_out is not None and found.cases is not None:
        _write(options.cases_out, found.cases)
    return {
        "name": found.name,
        "sha256": found.sha256,
        "first_seen": found.first_seen_at.isoformat(),
        "out": str(options.out),
    }


def _shadow(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import policies, shadow
    from idp.storage.engine import reading
    from idp.storage.keys import KeyStore
    from idp.storage.seal import Sealer

    with database(settings) as engine, reading(engine) as connection:
        state = policies.state(connection, Sealer(KeyStore(engine, settings.key_dir).secret), "shadow")
        if state is None:
            raise UnknownPolicy("no candidate is asked")
        found = shadow.summary(connection, state.sha256, state.since)
    return {
        "candidate_sha256": state.sha256,
        "since": state.since.isoformat(),
        "decisions": found.decisions,
        "changed": [{"action": action, "kind": kind, "count": many} for action, kind, many in found.changed],
    }


def _write(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as stream:
            stream.write(data)
    except OSError as error:
        raise InputRefused(f"{path}: cannot be written ({error.strerror})") from error
