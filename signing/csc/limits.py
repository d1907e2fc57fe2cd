"""How much may be asked for in a time: by a client, for a person, with a credential, and by strangers (DOS-05).

Token buckets, in the memory of one process.  Only who has shown a good token gets a bucket of their own, so strangers,
who share one, make no memory grow; of the others, those longest unused make room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, Literal

from foundation.buckets import MOST, Buckets
from signing.csc.errors import TooManyRequests
from signing.settings import LimitsSettings, Rate

Kind = Literal["client", "user", "credential"]
Whose = tuple[Kind, str]
STRANGERS: Final = ""


def buckets_of(rate: Rate, monotonic: Callable[[], float], most: int = MOST) -> Buckets:
    """Buckets of a rate of the settings."""
    return Buckets(burst=rate.burst, per_second=rate.per_second, monotonic=monotonic, most=most)


class Limits:
    """The limits of one web process."""

    def __init__(self, settings: LimitsSettings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._own: dict[Kind, Buckets] = {
            "client": buckets_of(settings.client, monotonic),
            "user": buckets_of(settings.user, monotonic),
            "credential": buckets_of(settings.credential, monotonic),
        }
        self._strangers = buckets_of(settings.strangers, monotonic, most=1)

    def check(self, whose: Iterable[Whose]) -> None:
        """Whether anything is left, of those who are not known yet to be who they say.

        :raises TooManyRequests: for one of them nothing is.
        """
        wait = 0
        for kind, key in whose:
            wait = max(wait, self._own[kind].wait(key))
        if wait:
            raise TooManyRequests(wait)

    def take(self, whose: Iterable[Whose]) -> None:
        """One request, of those who have shown a good token.

        :raises TooManyRequests: one of them has made too many.
        """
        for kind, key in whose:
            wait = self._own[kind].take(key)
            if wait:
                raise TooManyRequests(wait)

    def charge(self, whose: Iterable[Whose]) -> None:
        """The same, where it has been carried out already: those that follow are refused."""
        for kind, key in whose:
            self._own[kind].take(key)

    def stranger(self) -> None:
        """One request without a good token, whoever's.

        :raises TooManyRequests: strangers together have made too many.
        """
        wait = self._strangers.take(STRANGERS)
        if wait:
            raise TooManyRequests(wait)
