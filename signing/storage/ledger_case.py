"""Decides about the reservations of one transaction, one after another: what was found, and what those before took."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from foundation.clock import epoch
from signing.sam.credential import SealedCredential
from signing.sam.errors import BindingRefused, ChangedMeanwhile, DayExhausted, RowAltered, SadRefused, SadSuperseded
from signing.sam.ledger import Reservation
from signing.sam.store import Record
from signing.storage.rows import from_columns

DAY_SECONDS: Final = 24 * 60 * 60

Key = tuple[str, str]
"""Issuer and ``txn`` of an approval."""
Assign = Callable[[Collection[int]], tuple[int, ...]]
MakeRecord = Callable[[tuple[int, ...]], Record]


@dataclass(slots=True)
class Approval:
    """An approval that is locked."""

    allowance: str
    added: bool
    """Whether it was not there before."""
    before: str | None
    """``jti`` of the SAD that took the place of those before it, as it was found."""
    live: str | None
    """The same as it will be."""
    taken: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Held:
    """A credential's row and the ledger's epoch, neither of which changes before the commit."""

    epoch: int
    version: int
    columns: Sequence[Any]

    def is_as_verified(self, wanted: Reservation) -> bool:
        """Whether both are what the SAD was verified against."""
        if (self.version, self.epoch) != (wanted.credential_version, wanted.epoch):
            return False
        return wanted.row is None or self._sealed() == wanted.row

    def _sealed(self) -> SealedCredential | None:
        try:
            return from_columns(self.columns)
        except RowAltered:
            return None


@dataclass(frozen=True, slots=True)
class Found:
    """What a transaction found, all of it held until its end."""

    approvals: Mapping[Key, Approval]
    held: Mapping[str, Held]
    revoked: Collection[str]
    """Ids of reservations of whose SADs there is a revocation."""
    spent_proofs: set[str]


class Case:
    """One transaction's."""

    def __init__(self, found: Found, made: Callable[[str, int], int]) -> None:
        """:param made: how many positions of a credential were taken after a second, and not released."""
        self._made = made
        self._found = found
        self._made_here: list[tuple[str, int, int]] = []

    def decide(self, wanted: Reservation, assign: Assign, record: MakeRecord) -> tuple[tuple[int, ...], Record]:
        """Positions and intent; raises the refusal."""
        # 1. What was verified still holds.
        held = self._found.held.get(wanted.credential_id)
        if held is None or not held.is_as_verified(wanted):
            raise ChangedMeanwhile("the credential or the ledger's epoch was changed meanwhile")
        if wanted.id in self._found.revoked:
            raise ChangedMeanwhile("the SAD was revoked meanwhile")
        # 2. What is used once, and the approval's other requests; those before in this transaction included.
        if wanted.proof in self._found.spent_proofs:
            raise BindingRefused("the proof of possession was used before")
        approval = self._found.approvals[wanted.issuer, wanted.txn]
        if approval.allowance != wanted.allowance:
            raise SadRefused("another SAD of the same transaction had another allowance")
        if not wanted.may_follow(approval.live):
            raise SadSuperseded("another SAD of the same transaction took this one's place")
        chosen = assign(frozenset(approval.taken))
        # 3. Its time, which is now that nobody is waited for any more; then its day.
        intent = record(chosen)
        self._check_day(wanted, len(chosen), epoch(intent.at))
        return chosen, intent

    def is_live(self, wanted: Reservation) -> bool:
        """Whether the SAD has taken the place of those before it already."""
        return self._found.approvals[wanted.issuer, wanted.txn].live == wanted.sad_jti

    def accept(self, wanted: Reservation, chosen: tuple[int, ...], at: int) -> None:
        """Those that follow see it."""
        approval = self._found.approvals[wanted.issuer, wanted.txn]
        approval.taken.update(chosen)
        if wanted.predecessors:
            approval.live = wanted.sad_jti
        if wanted.proof is not None:
            self._found.spent_proofs.add(wanted.proof)
        self._made_here.append((wanted.credential_id, len(chosen), at))

    def _check_day(self, wanted: Reservation, count: int, now: int) -> None:
        """Positions that were released are not counted; those that nobody knows of are."""
        if not wanted.max_signatures_per_day:
            return
        since = now - DAY_SECONDS
        here = sum(number for each, number, at in self._made_here if each == wanted.credential_id and at > since)
        if self._made(wanted.credential_id, since) + here + count > wanted.max_signatures_per_day:
            raise DayExhausted("the credential has made as many signatures today as it may")
