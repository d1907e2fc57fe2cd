"""``privyseal account show``: a person's state, and never a secret."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from idp.cli.common import account_of, add, transaction
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from idp.storage.authenticators import Authenticator

_SIGN_INS: Final = 5


def add_commands(commands: Any) -> None:
    """Add ``show``."""
    show = add(
        commands, "show", _show, "print a person's state, factors (masked), sessions, roles and last sign-ins"
    )
    show.add_argument("--username", required=True)


def factor_list(owned: Iterable[Authenticator], now: datetime) -> list[dict[str, Any]]:
    """Factors as an operator sees them: which one is meant, and whether it counts."""
    return [
        {
            "id": item.id,
            "factor": item.kind,
            "state": "disabled" if item.disabled else "usable" if item.usable(now) else "counts later",
            "address": item.recognised_by,
            "since": _time(item.created_at),
            "last_used": "never" if item.last_used is None else _time(item.last_used),
            "failures": item.failures,
        }
        for item in owned
    ]


def _show(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import activations, authenticators, roles, sessions

    now = options.clock.now()
    with transaction(settings) as (connection, seals):
        account = account_of(connection, options.username)
        owned = authenticators.of_account(connection, seals, account.id)
        live = sessions.of_account(connection, seals, account.id, now, settings.session)
        code = activations.waiting(connection, seals, account.id, now)
        held = roles.of_account(connection, seals, account.id)
        last = _sign_ins(connection, account.id)
    waiting = "none" if code is None else f"{'opened' if code.session_id else 'waiting'} until {_time(code.expires_at)}"
    return {
        "account_id": account.id,
        "username": account.username,
        "name": account.name,
        "status": account.status,
        "proofing": account.proofing,
        "locale": account.locale or "",
        "groups": sorted(account.groups),
        "attributes": sorted(account.attributes),
        "roles": sorted(held),
        "sessions": len(live),
        "activation": waiting,
        "factors": factor_list(owned, now),
        "sign_ins": last,
    }


def _sign_ins(connection: Connection, account_id: str) -> list[dict[str, Any]]:
    """The last ones, from the audit chain."""
    from idp.storage import trail

    found = trail.page(connection, event="login.succeeded", containing=account_id, limit=_SIGN_INS)
    own = [record for record in found if record.fields.get("account_id") == account_id]
    return [
        {"at": _time(record.at), "factor": record.fields["factor"], "client": record.fields.get("client_id", "")}
        for record in own
    ]


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
