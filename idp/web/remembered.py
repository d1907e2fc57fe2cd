"""Keeps for each person what the audit chain records of their sign-ins and consents, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from flask import has_request_context, request
from sqlalchemy import Connection

from foundation.clock import Clock
from idp.storage import history
from idp.storage.history import Entry, Outcome
from idp.web.address import client_address
from idp.web.services import AuditTrail

_KEPT: Final[Mapping[str, Outcome]] = {
    "login.succeeded": "signed_in",
    "login.refused": "refused",
    "factor.accepted": "proved",
    "factor.refused": "refused",
    "otp.accepted": "proved",
    "otp.refused": "refused",
}


class RememberingTrail:
    """An audit trail that also writes people's own history.  Before the chain, whose record is the last statement."""

    def __init__(self, trail: AuditTrail, clock: Clock) -> None:
        self._trail = trail
        self._clock = clock

    def touch(self, connection: Connection) -> None:
        """The statements of a record that is kept for somebody, without any effect (OTP-11)."""
        history.add_nothing(connection)
        self._trail.touch(connection)

    def record(self, connection: Connection, event: str, **fields: Any) -> None:
        """Append a record, and keep for its person what concerns them."""
        outcome, account_id = _KEPT.get(event), fields.get("account_id")
        if outcome is not None and account_id is not None:
            history.add(connection, account_id, self._entry(outcome, fields))
        elif event == "transaction.approved":
            self._remember_consent(connection, fields)
        self._trail.record(connection, event, **fields)

    def _remember_consent(self, connection: Connection, fields: Mapping[str, Any]) -> None:
        consent = history.consent_to(str(fields["action"]))
        if consent is None:
            return
        entry = self._entry("approved", {**fields, "factor": consent})
        if not entry.session_id:
            # It came by way of another server: neither its name nor its network is the person's.
            entry = replace(entry, session_id=None, device="", network="")
        history.add(connection, str(fields["account_id"]), entry)

    def _entry(self, outcome: Outcome, fields: Mapping[str, Any]) -> Entry:
        here = has_request_context()
        return Entry(
            self._clock.now(),
            outcome,
            str(fields.get("factor", "")),
            str(fields.get("client_id", "")),
            fields.get("session_id"),
            request.user_agent.string if here else "",
            history.coarse(client_address()) if here else "",
        )
