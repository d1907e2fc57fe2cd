"""Audit events about authenticators: how they are bound, used and taken away."""

from __future__ import annotations

from typing import Final

from auditlog.catalogue import Event

_WHO: Final = frozenset({"account_id", "session_id", "factor", "authenticator_id"})
_TRANSACTION: Final = frozenset({"txn", "client_id", "action"})
_ACTIVATION: Final = frozenset({"account_id", "activation_id", "purpose"})

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
        "authenticator.reset",
        "Administrators disabled an authenticator of a person.",
        frozenset({"account_id", "factor", "authenticator_id", "by", "sessions_ended"}),
        frozenset({"request_id", "proposed_by", "decision_id"}),
    ),
    Event(
        "activation.issued",
        "An activation code was made for a person; the one before it no longer counts.",
        _ACTIVATION | {"by", "expires_at"},
        frozenset({"request_id", "proposed_by", "decision_id"}),
    ),
    Event("activation.opened", "The right activation code came, once.", _ACTIVATION | {"session_id"}),
    Event("activation.refused", "A wrong activation code came.", _ACTIVATION | {"failures"}),
    Event(
        "activation.used",
        "A person bound an authenticator by an activation; with the last one it is over.",
        frozenset({"account_id", "session_id", "activation_id", "factor", "authenticator_id", "finished"}),
    ),
    Event(
        "authenticator.removed",
        "A person removed an authenticator from their account.",
        frozenset({"account_id", "session_id", "factor", "authenticator_id"}),
        frozenset({"txn", "decision_id"}),
    ),
)
