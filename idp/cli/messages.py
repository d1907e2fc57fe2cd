"""``privyseal idp messages``: what became of messages with codes, and what stops them."""

from __future__ import annotations

import argparse
from typing import Any, Final

from foundation.clock import epoch
from idp.cli.common import account_of, add, group, transaction
from idp.settings import IdpSettings

_MOST: Final = 1000


def add_commands(commands: Any) -> None:
    """Add ``messages ...``."""
    messages = group(commands, "messages", "messages with one-time codes")
    status = add(messages, "status", _status, "what became of a person's last messages, and what stops or alarms now")
    status.add_argument("--username", help="of this person; nobody: only what stops or alarms")
    status.add_argument("--limit", type=int, choices=range(1, _MOST + 1), default=20, metavar="N", help="newest first")
    add(messages, "resume", _resume, "take back what stopped messages, and alarms; what was counted stays")


def _status(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import caps, messages

    now = options.clock.now()
    with transaction(settings) as (connection, _seals):
        stopped = caps.stops(connection, now)
        ended, used = messages.conversion(connection, now, 60 * 60)
        result: dict[str, Any] = {
            "stopped": [{"name": name, "seconds": seconds} for name, seconds in sorted(stopped.items())],
            "codes_ended_last_hour": ended,
            "codes_used_last_hour": used,
        }
        if options.username is not None:
            account = account_of(connection, options.username)
            result["messages"] = [
                {
                    "sent_at": epoch(sent.sent_at),
                    "factor": kind,
                    "gateway": sent.delivery.gateway or "-",
                    "state": sent.state,
                    "changed_at": epoch(sent.changed_at),
                    "reference": sent.delivery.reference or "-",
                    "challenge_id": sent.challenge_id,
                }
                for sent, kind in messages.of_account(connection, account.id, options.limit)
            ]
    return result


def _resume(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import caps
    from idp.storage.audit import DatabaseAudit

    with transaction(settings) as (connection, _seals):
        stops = caps.clear(connection)
        if stops:
            DatabaseAudit(options.clock).record(connection, "messages.resumed", stops=stops)
    return {"stops": stops}
