"""Audit events about authenticators: how they are bound, used and taken away."""

from __future__ import annotations

from typing import Final

from auditlog.catalogue import Event

_WHO: Final = frozenset({"account_id", "session_id", "factor", "authenticator_id"})
_TRANSACTION: Final = frozenset({"txn", "client_id", "action"})

EVENTS: Final = (
    Event("factor.accepted", "A person proved a further factor.", _WHO, _TRANSACTION),
    Event(
        "factor.refused",
        "A further factor was not proved: wrong, used before, too late, or it is locked.",
        _WHO | {"cause"},
        _TRANSACTION | {"failures"},
    ),
    Event(
        "authenticator.added",
        "A person bound an authenticator to their account.",
        frozenset({"account_id", "session_id", "factor", "authenticator_id", "not_before"}),
        frozenset({"txn", "decision_id", "replaced"}),
    ),
    Event(
        "authenticator.removed",
        "A person removed an authenticator from their account.",
        frozenset({"account_id", "session_id", "factor", "authenticator_id"}),
        frozenset({"txn", "decision_id"}),
    ),
)
