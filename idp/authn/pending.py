"""A code on its way to an address that is to be bound: when one may be sent, and for how long it serves.  Pure.

The same code is sent again while it is valid; another address ends it, and there is never a second one that is live.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from foundation.clock import epoch, from_epoch
from idp.authn.otp import Binding, Sent
from idp.errors import OtpCoolDown
from idp.settings import OtpSettings

MOST_ADDRESSES: Final = 3
"""To which one enrolment sends codes: whoever mistypes may correct it, and nobody sends messages to a list."""


@dataclass(frozen=True, slots=True)
class PendingCode:
    """What was sent; times are seconds since the epoch."""

    address: str
    challenge_id: str
    sent_at: int
    sends: int
    """Messages with this code."""
    expires_at: int
    addresses: int = 1
    """How many there were in this enrolment, this one among them."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which :meth:`from_json` makes the same."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PendingCode | None:
        """What :meth:`to_json` wrote; None where nothing was sent yet."""
        return cls(**value) if value else None

    def live(self, now: datetime) -> bool:
        """Whether the code may still be typed."""
        return epoch(now) < self.expires_at

    def sent(self) -> Sent:
        """The same, as of any code."""
        return Sent(self.sends, from_epoch(self.sent_at), from_epoch(self.expires_at))

    def binding(self, enrolment_id: str, session_id: str, txn: str) -> Binding:
        """What the code is derived from: it serves this enrolment, in this session, for this address."""
        about = hashlib.sha256(f"bind:{self.address}".encode()).hexdigest()
        return Binding(self.challenge_id, enrolment_id, session_id, txn, about)


def asked(
    before: PendingCode | None, address: str, now: datetime, limits: OtpSettings, new_id: str
) -> PendingCode:
    """What is pending once a message went out to this address.

    :param new_id: of the challenge, where another one begins.
    :raises OtpCoolDown: no message may go out yet.
    """
    at = epoch(now)
    if before is not None and at < before.sent_at + limits.cool_down_seconds:
        raise OtpCoolDown(before.sent_at + limits.cool_down_seconds - at)
    if before is not None and before.address == address and before.live(now):
        if before.sends >= limits.max_sends:
            raise OtpCoolDown(before.expires_at - at)
        return replace(before, sent_at=at, sends=before.sends + 1)
    addresses = 1 if before is None else before.addresses + 1
    if addresses > MOST_ADDRESSES:
        raise OtpCoolDown(limits.lifetime_seconds)
    return PendingCode(address, new_id, at, 1, at + limits.lifetime_seconds, addresses)


def not_sent(pending: PendingCode) -> PendingCode:
    """The gateway refused the message: another try need not wait, and carries the same code (OTP-09)."""
    return replace(pending, sent_at=0, sends=pending.sends - 1)
