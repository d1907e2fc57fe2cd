"""What both kinds of answer about revocation have in common: how long they are worth something."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from idp.authn.certificate.errors import NotChecked

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
