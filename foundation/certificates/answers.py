"""What both kinds of answer about revocation have in common: what they say, and how long it is worth something."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from cryptography import x509

from foundation.certificates.errors import NotChecked, Revoked

SKEW: Final = timedelta(minutes=2)
"""By how much an authority's clock may be ahead of ours."""
NO_NEXT_UPDATE: Final = timedelta(minutes=30)
"""How long an answer lives that does not say it: newer information is always to be had then (RFC 6960, 4.2.2.1)."""


@dataclass(frozen=True, slots=True)
class Window:
    """When an answer was true, and until when it serves."""

    this_update: datetime
    next_update: datetime | None

    def check(self, now: datetime, max_age: timedelta) -> datetime:
        """The first moment at which the answer does not serve any more.

        :raises NotChecked: it is from the future, has expired, or is older than ``max_age``.
        """
        if self.this_update > now + SKEW:
            raise NotChecked("from_the_future", "an answer about revocation is from the future")
        end = self.next_update or self.this_update + NO_NEXT_UPDATE
        end = min(end, self.this_update + max_age)
        if now >= end:
            raise NotChecked("stale", "an answer about revocation is out of date")
        return end


@dataclass(frozen=True, slots=True)
class Finding:
    """What an answer that can be relied on says about a certificate."""

    status: Literal["good", "revoked", "suspended"]
    window: Window
    revoked_at: datetime | None = None
    reason: x509.ReasonFlags | None = None
    """As it stands there; None: not told."""
    produced_at: datetime | None = None
    """When an OCSP responder signed; None: a list."""
    responder: x509.Certificate | None = None
    """Of a delegated OCSP responder; None: the issuer itself signed."""

    def end(self, now: datetime, max_age: timedelta) -> datetime:
        """Until when it says that the certificate is good.

        :raises Revoked: it says that the certificate is revoked or suspended.
        :raises NotChecked: it is not of a time that counts.
        """
        if self.status != "good":
            raise Revoked("the certificate's authority revoked or suspended it")
        return self.window.check(now, max_age)


def revoked(
    window: Window,
    at: datetime | None,
    reason: x509.ReasonFlags | None,
    produced_at: datetime | None = None,
    responder: x509.Certificate | None = None,
) -> Finding:
    """The finding that a certificate is revoked, or suspended: a hold may be lifted (RFC 5280, 5.3.1)."""
    held = reason is x509.ReasonFlags.certificate_hold
    return Finding("suspended" if held else "revoked", window, at, reason, produced_at, responder)
