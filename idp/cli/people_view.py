"""``privyseal account show``: a person's state, and never a secret."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from idp.cli.common import account_of, add, transaction
from idp.policy.evidence import MIN_LENGTH_ALONE, Evidence
from idp.settings import IdpSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from idp.storage.authenticators import Authenticator
    from idp.storage.sessions import StoredSession

_SIGN_INS: Final = 5


def add_commands(commands: Any) -> None:
    """Add ``show``."""
    show = add(
        commands, "show", _show, "print a person's state, factors (masked), sessions, roles and last sign-ins"
    )
    show.add_argument("--username", required=True)


def factor_list(
    owned: Iterable[Authenticator], now: datetime, proved: Collection[Evidence] = ()
) -> list[dict[str, Any]]:
    """Factors as an operator sees them: which one is meant, whether it counts, and what that may lack.

    :param proved: what the person's live sessions remember.
    """
    return [
        {
            "id": item.id,
            "factor": item.kind,
            "state": "disabled" if item.disabled else "usable" if item.usable(now) else "counts later",
            "address": item.recognised_by,
            "since": _time(item.created_at),
            "last_used": "never" if item.last_used is None else _time(item.last_used),
            "failures": item.failures,
            "remark": _length(item, proved) if item.kind == "password" and not item.disabled else "",
        }
        for item in owned
    ]


def _length(item: Authenticator, proved: Collection[Evidence]) -> str:
    """Of a password, what is known of its length, which is kept nowhere but with what a session proved."""
    from idp.authn.methods import known_length

    known = known_length(item.id, proved)
    if known is None:
        return "no live session tells whether it is long enough to stand alone under NIST SP 800-63B r4"
    if known < MIN_LENGTH_ALONE:
        return f"fewer than {MIN_LENGTH_ALONE} characters: does not stand alone under NIST SP 800-63B r4"
    return f"{MIN_LENGTH_ALONE} characters or more"


def proved_in(live: Iterable[StoredSession]) -> tuple[Evidence, ...]:
    """What some sessions remember."""
    return tuple(item for session in live for item in session.evidence)


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
        "factors": factor_list(owned, now, proved_in(live)),
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
