"""Audit events about authenticators: how they are bound, used and taken away."""

from __future__ import annotations

from typing import Final

from auditlog.catalogue import Event

_WHO: Final = frozenset({"account_id", "session_id", "factor", "authenticator_id"})
_TRANSACTION: Final = frozenset({"txn", "client_id", "action"})
_ACTIVATION: Final = frozenset({"account_id", "activation_id", "purpose"})
_RESET: Final = frozenset({"account_id", "by", "request_id"})

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
        "reset.proposed",
        "An administrator proposed that a person's factors be reset.",
        _RESET | {"decision_id", "reason", "factors", "expires_at"},
    ),
    Event(
        "reset.confirmed",
        "Another administrator confirmed it; the factors are disabled, and the person gets a code.",
        _RESET | {"decision_id", "reason", "factors", "proposed_by", "sessions_ended", "activation_id"},
    ),
    Event("reset.rejected", "An administrator rejected, or withdrew, a proposed reset.", _RESET | {"decision_id"}),
    Event(
        "reset.refused",
        "A reset was not proposed, or not confirmed.",
        frozenset({"account_id", "by", "cause"}),
        frozenset({"request_id"}),
    ),
    Event(
        "activation.sent",
        "The code of a reset was handed to a gateway, for a channel that the person still has.",
        _ACTIVATION | {"channel"},
    ),
    Event(
        "activation.revoked",
        "An activation code no longer counts: it could not be sent, or the account was disabled.",
        _ACTIVATION | {"cause"},
        frozenset({"channel"}),
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
    Event(
        "certificate.refused",
        "A certificate was presented and not accepted: what is wrong with it, or whose it is.",
        frozenset({"session_id", "purpose", "cause"}),
        _TRANSACTION | {"account_id", "certificate", "detail"},
    ),
    Event(
        "certificate.header_ignored",
        "Headers about a certificate came from somebody who is no proxy of ours: from another address, or without the "
        "proxy's secret.",
        frozenset({"session_id", "peer", "cause"}),
    ),
    Event(
        "hotp.imported",
        "An operator added code devices that nobody carries yet.",
        frozenset({"devices"}),
        frozenset(),
    ),
    Event(
        "hotp.assigned",
        "An operator gave a code device to a person.",
        frozenset({"account_id", "authenticator_id", "serial", "not_before"}),
        frozenset(),
    ),
)
