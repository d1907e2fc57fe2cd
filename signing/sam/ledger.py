"""The ledger of redemptions: which positions of an approval are spent.  Pure; tables are in :mod:`signing.storage`.

An approval (``txn``) has one position for each authorised digest occurrence.  A *redemption* is one request's use of
some of them; it goes through the states below as a whole, and each position belongs to at most one redemption that was
not released: that is the database's constraint, not only this module's word.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import threading
from base64 import b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contract.sad import Sad
from signing.sam.credential import SealedCredential
from signing.sam.errors import DigestNotAuthorized, SadSpent, TransitionRefused


class State(StrEnum):
    """Where a redemption stands."""

    RESERVED = "reserved"
    """Intent committed; the device may be asked."""
    CONSUMED = "consumed"
    """Outcome committed; the values may be released."""
    RELEASED = "released"
    """It is certain that C_Sign was never sent; the positions are free again."""
    INDETERMINATE = "indeterminate"
    """Nobody knows, or a value was refused: spent for good, with an alarm."""


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.RESERVED: frozenset({State.CONSUMED, State.RELEASED, State.INDETERMINATE}),
    State.CONSUMED: frozenset(),
    State.RELEASED: frozenset(),
    State.INDETERMINATE: frozenset(),
}


def check_transition(before: State, after: State) -> None:
    """:raises TransitionRefused: a redemption does not go from the one to the other."""
    if after not in TRANSITIONS[before]:
        raise TransitionRefused(f"a redemption does not go from {before} to {after}")


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is to be reserved."""

    id: str
    """Random; names the redemption in ledger and audit."""
    issuer: str
    txn: str
    allowance: str
    """:func:`allowance_of` the SAD."""
    sad_jti: str
    credential_id: str
    credential_version: int
    epoch: int
    """Number of the ledger's epoch.  A credential or an epoch that is another one by now is not reserved for."""
    client_id: str
    account: str
    """``sub`` of the SAD."""
    sad_since: int
    """When the transaction's first SAD was issued: with ``txn``, client and account it says which revocations refuse
    this one."""
    predecessors: frozenset[str] = frozenset()
    """``jti`` of all SADs whose place this one takes."""
    max_signatures_per_day: int = 0
    """The credential's floor: signatures in any 24 hours; 0: no limit."""
    proof: str | None = None
    """The proof of possession that it spends (:func:`signing.sam.binding.verify_binding`)."""
    row: SealedCredential | None = None
    """The credential's row that was verified: any other one, in whatever column, is not reserved for."""

    def may_follow(self, live: str | None) -> bool:
        """Whether the SAD serves while that one is the live one of its approval.

        Before any took another's place, all that were minted for the approval serve, and share its allowance.  After
        that the live one does, and whichever says that it comes after it: so of two successors of one SAD only the one
        that came first ever serves, and none that was skipped serves later.

        :param live: ``jti`` of the SAD that took the place of those before it; ``None`` as long as none has.
        """
        return live is None or live == self.sad_jti or live in self.predecessors


@dataclass(frozen=True, slots=True)
class Redemption:
    """A redemption as it is found in the ledger."""

    id: str
    issuer: str
    txn: str
    credential_id: str
    reserved_at: int
    """NumericDate."""
    positions: tuple[int, ...]
    """Empty where the row cannot be read."""
    state: State


def allowance_of(sad: Sad) -> str:
    """Fingerprint of what an approval allows, in hexadecimal.

    All SADs of one ``txn`` have to agree in it: otherwise position 0 of one would be another digest than position 0 of
    the next, and the two together would allow more than either.
    """
    content = [
        sad.sub,
        sad.client_id,
        sad.credential_id,
        sad.hash_alg,
        sad.hash_type,
        sad.sign_count,
        [b64encode(digest).decode() for digest in sad.dtbsr],
        None if sad.cnf is None else sad.cnf.to_json(),
    ]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def assign(sad: Sad, digests: Sequence[bytes], taken: Collection[int]) -> tuple[int, ...]:
    """The positions that a request takes, one a digest in the request's order.

    Deterministic: each digest gets the lowest position of its own that is free.  With no digests in the SAD (SCAL1)
    these are the lowest free ones below ``sign_count``.

    :param taken: positions that are reserved or spent.
    :raises DigestNotAuthorized: a digest is not among those authorised, or wanted more often than it is.
    :raises SadSpent: it is, and is not free.
    """
    free = [position for position in range(sad.sign_count) if position not in taken]
    chosen: list[int] = []
    for digest in digests:
        fitting = (position for position in free if not sad.dtbsr or sad.dtbsr[position] == digest)
        position = next(fitting, None)
        if position is None:
            if sad.dtbsr and list(digests).count(digest) > sad.dtbsr.count(digest):
                raise DigestNotAuthorized("a digest is not authorised, or not so often")
            raise SadSpent("what the SAD authorised has been spent")
        free.remove(position)
        chosen.append(position)
    return tuple(chosen)


class SpentMemory:
    """What this process has sent to the device, until the SAD expires: finds a ledger that was set back.

    Thread-safe.  What has expired is dropped whenever something is remembered, so it holds what can still be redeemed.
    """

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], dict[int, int]] = {}
        """Of each approval, by position: the second in which it may be forgotten."""
        self._by_expiry: list[tuple[int, tuple[str, str]]] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Positions remembered."""
        with self._lock:
            return sum(len(positions) for positions in self._spent.values())

    def knows_any(self, issuer: str, txn: str, positions: Collection[int]) -> bool:
        """Whether any of the positions was spent through this process."""
        with self._lock:
            known = self._spent.get((issuer, txn))
            return known is not None and any(position in known for position in positions)

    def claim(self, issuer: str, txn: str, positions: Collection[int], expires: int, now: int) -> bool:
        """As :meth:`remember`, unless any of the positions is known: False then, and nothing is remembered.

        Look and entry are one step: of two requests that a ledger which is being set back lets through at the same
        time, one is sent to the device.
        """
        with self._lock:
            known = self._spent.get((issuer, txn), {})
            if any(position in known for position in positions):
                return False
            self._remember((issuer, txn), positions, expires, now)
            return True

    def remember(self, issuer: str, txn: str, positions: Collection[int], expires: int, now: int) -> None:
        """Remember until the second ``expires``."""
        with self._lock:
            self._remember((issuer, txn), positions, expires, now)

    def forget(self, issuer: str, txn: str, positions: Collection[int]) -> None:
        """The device did nothing for these."""
        with self._lock:
            known = self._spent.get((issuer, txn), {})
            for position in positions:
                known.pop(position, None)

    def _remember(self, key: tuple[str, str], positions: Collection[int], expires: int, now: int) -> None:
        self._drop(now)
        self._spent.setdefault(key, {}).update(dict.fromkeys(positions, expires))
        heapq.heappush(self._by_expiry, (expires, key))

    def _drop(self, now: int) -> None:
        while self._by_expiry and self._by_expiry[0][0] <= now:
            _at, key = heapq.heappop(self._by_expiry)
            kept = {position: at for position, at in self._spent.get(key, {}).items() if at > now}
            if kept:
                self._spent[key] = kept
            else:
                self._spent.pop(key, None)
