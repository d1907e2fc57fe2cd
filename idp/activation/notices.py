"""What the signing side has to be told of, as a security event.  Pure: signing and sending it is the caller's."""

from __future__ import annotations

from dataclasses import dataclass

from contract.event import EventName, SecurityEvent


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened, because of which SADs no longer serve.  Times are NumericDates."""

    jti: str
    event: EventName
    subject: str
    """A ``txn``, a client or an account, as the event has it (:data:`contract.event.SCOPES`)."""
    at: int
    """When it happened."""


def event_for(notice: Notice, *, issuer: str, audience: str) -> SecurityEvent:
    """The same event, however often it is sent: nothing in it depends on when that is.

    :param audience: the module's identifier.
    """
    return SecurityEvent(
        iss=issuer,
        aud=audience,
        jti=notice.jti,
        iat=notice.at,
        event=notice.event,
        subject=notice.subject,
        not_before=notice.at,
    )
