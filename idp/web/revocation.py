"""Ending what was given out in a person's name, and all that hangs from it, before its time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection

from idp.storage import grants, sessions
from idp.web.services import services

BY_PERSON: Final = "person"
"""Why a grant ended: its person took it back."""


def end_sessions(connection: Connection, account_id: str, session_ids: Iterable[str], cause: str) -> int:
    """End sessions of an account on the server, with everything that was granted in them (SES-03); returns how many.

    The signing side is told of every signature that was approved in them and may be under way, and every relying party
    that was given an ID token in them.

    :param cause: for the audit chain, such as ``revoked``.
    """
    now, ended = services().clock.now(), tuple(session_ids)
    # All sessions, then all grants, each in the database's order: so do all who end several.
    sessions.lock(connection, ended)
    grants.lock_sessions(connection, ended)
    for session_id in ended:
        services().outbox.session_ended(connection, session_id)
        sessions.revoke(connection, session_id, now)
    grants.revoke_sessions(connection, ended, now)
    # Once all rows are locked, in one order: whoever proves something in one of these sessions has its row before the
    # chain's head, and each would wait for the other.
    for session_id in ended:
        services().audit.record(
            connection, "session.ended", account_id=account_id, session_id=session_id, cause=cause
        )
    return len(ended)


def end_grants(connection: Connection, grant_ids: Iterable[str], client_id: str) -> None:
    """Take back what was granted to a relying party: its tokens, and the families of its refresh tokens, are dead."""
    now, ended = services().clock.now(), tuple(grant_ids)
    for grant_id in ended:
        services().outbox.transaction_withdrawn(connection, grant_id)
    grants.revoke_several(connection, ended, now, BY_PERSON)
    # As above: whoever is given a token by a grant has its row before the chain's head.
    for grant_id in ended:
        services().audit.record(connection, "grant.revoked", client_id=client_id, grant_id=grant_id, cause=BY_PERSON)
