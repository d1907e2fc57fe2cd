"""Several time-stamping authorities as one: the next is asked where the former gave no stamp."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.ports.tsa import HashName, TimestampAuthority, TimestampToken, TsaError
from foundation.log import get
from signing.csc import errors

_PAUSE_SECONDS: Final = 60.0
"""For which an authority that failed is asked after the others."""
_DEADLINE_SECONDS: Final = 25.0
"""After which no further authority is asked."""
_log = get(__name__)


@dataclass(frozen=True, slots=True)
class TimestampRequest:
    """What is to be stamped."""

    imprint: bytes
    hash_name: HashName
    nonce: int | None


class Stamper:
    """Several authorities as one.  Thread-safe; the memory is the process's."""

    def __init__(
        self, authorities: Sequence[TimestampAuthority] = (), monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """:param authorities: in the order in which they are asked."""
        self._authorities = tuple(authorities)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failed_at: dict[int, float] = {}

    def stamp(self, request: TimestampRequest) -> TimestampToken:
        """The first authority's stamp, or that of the first that gives one.

        :raises errors.TemporarilyUnavailable: none does.
        """
        begun = self._monotonic()
        for place in self._order(begun):
            if self._monotonic() - begun > _DEADLINE_SECONDS:
                break
            try:
                return self._authorities[place].stamp(request.imprint, request.hash_name, request.nonce)
            except TsaError as error:
                fields = {"authority": place, "cause": error.code}
                _log.warning("a time-stamping authority gave no stamp", extra={"fields": fields})
                with self._lock:
                    self._failed_at[place] = self._monotonic()
        raise errors.TemporarilyUnavailable(errors.NO_STAMP)

    def _order(self, now: float) -> list[int]:
        with self._lock:
            failed = {place for place, at in self._failed_at.items() if now - at < _PAUSE_SECONDS}
        return sorted(range(len(self._authorities)), key=lambda place: (place in failed, place))
