"""Answers that were made and may not have arrived: the identical request gets the same one, and nothing is signed.

An answer is *released* once the link has taken the whole of it from this process while its peer was there.  Until then
it is kept here, in memory only, at most until its SAD expires.  What is not kept here is answered by the ledger: what
was spent is spent.  So a process that died, or another node, refuses such a request as used.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from foundation import claims as read
from foundation.clock import Clock, epoch
from foundation.errors import JoseError
from foundation.jose import peek_claims
from signing.link.server import Handed
from signing.sam.errors import StillInProgress

_NOT_COMPARED: Final = frozenset({"dpop"})
"""Another proof of the same key: the SAD says of which, and each proof is verified."""
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Mapping[str, Any]
    octets: int
    until: int
    """``exp`` of the SAD."""


class Answers:
    """The answers of one process.  Thread-safe.

    Of identical requests one is carried out at a time; the others wait for what becomes of it.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        most_octets: int = 16 * 1024 * 1024,
        wait_seconds: float = 10.0,
    ) -> None:
        """Keep nothing yet.

        :param most_octets: of JSON; beyond it the answers that were kept first are forgotten: spent, and lost.
        :param wait_seconds: for an identical request that is in progress.
        """
        self._clock = clock
        self._most = most_octets
        self._seconds = wait_seconds
        self._changed = threading.Condition()
        self._busy: set[bytes] = set()
        self._waiting = 0
        self._kept: dict[bytes, _Kept] = {}
        self._octets = 0

    def __len__(self) -> int:
        """Answers that are kept."""
        with self._changed:
            return len(self._kept)

    def forget(self) -> None:
        """What is kept of SADs that have expired, though nobody asks any more."""
        with self._changed:
            self._drop()

    def once(
        self, body: Mapping[str, Any], make: Callable[[], Mapping[str, Any]], allow_again: Callable[[], None]
    ) -> Handed:
        """The answer to a request: made now, or the one that was made for it and not released.

        :param body: the request, as it came over the link.
        :param allow_again: raises where what was made may not be given to whoever asks now.
        :raises StillInProgress: an identical request is being carried out, and does not come to an end.
        """
        name = _name(body)
        kept = self._enter(name)
        try:
            if kept is None:
                answer = make()
            else:
                allow_again()
                answer = kept.answer
        except BaseException:
            self._leave(name, kept)
            raise

        def become(written: bool) -> None:
            self._leave(name, None if written else kept or self._keeping(body, answer))

        return Handed(answer, become)

    def _enter(self, name: bytes) -> _Kept | None:
        with self._changed:
            if name in self._busy:
                self._waiting += 1
                try:
                    self._changed.wait_for(lambda: name not in self._busy, self._seconds)
                finally:
                    self._waiting -= 1
                if name in self._busy:
                    raise StillInProgress("the same request is in progress")
            self._busy.add(name)
            if self._kept:
                self._drop()
            return self._take(name)

    def _leave(self, name: bytes, kept: _Kept | None) -> None:
        with self._changed:
            self._busy.discard(name)
            if kept is not None and kept.octets <= self._most:
                self._kept[name] = kept
                self._octets += kept.octets
                while self._octets > self._most:
                    self._take(next(iter(self._kept)))
            if self._waiting:
                self._changed.notify_all()

    def _take(self, name: bytes) -> _Kept | None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._octets -= kept.octets
        return kept

    def _drop(self) -> None:
        now = epoch(self._clock.now())
        for name in [name for name, kept in self._kept.items() if kept.until <= now]:
            self._take(name)

    def _keeping(self, body: Mapping[str, Any], answer: Mapping[str, Any]) -> _Kept | None:
        with suppress(JoseError):
            # It was verified before anything was made.
            until = read.numeric_date(peek_claims(read.text(body, "sad", max_length=len(str(body["sad"])))), "exp")
            return _Kept(answer, len(json.dumps(answer)), until)
        return None


def _name(body: Mapping[str, Any]) -> bytes:
    compared = {member: value for member, value in body.items() if member not in _NOT_COMPARED}
    return hashlib.sha256(_CANONICAL(compared).encode()).digest()
