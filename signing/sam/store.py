"""What the core needs from a database.

Every method may raise :class:`signing.sam.errors.StoreUnavailable` (nothing was committed), and those that write
:class:`signing.sam.errors.CommitUnknown`.  Each write is one transaction, its audit record included.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from auditlog.chain import Fields, Head
from signing.sam.credential import SealedCredential
from signing.sam.ledger import Redemption, Reservation, State
from signing.sam.revocation import Key, SealedRevocation


@dataclass(frozen=True, slots=True)
class Record:
    """An audit record, to be written in the transaction of what it tells."""

    event: str
    fields: Fields
    at: datetime


@dataclass(frozen=True, slots=True)
class Epoch:
    """The ledger's epoch: raised when a database was restored."""

    number: int
    not_before: int
    """NumericDate; SADs and orders with an earlier ``iat`` are refused."""


@dataclass(frozen=True, slots=True)
class SpentOrder:
    """An order that has been used, or is being."""

    issuer: str
    jti: str
    token_sha256: str
    """Of the order's octets, in hexadecimal: tells a retry from another order with the same ``jti``."""
    operation: str
    credential_id: str
    """For ``credential.create`` the id that the new credential will have."""
    used_at: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the database stands, within a transaction: for the anchor on the token."""

    epoch: Epoch
    head: Head
    """Of the audit chain."""
    hash_at: Callable[[int], str | None]
    """Hash of the chain's record of that sequence, or None."""
    versions: Callable[[], Iterator[tuple[str, int]]]
    """Id and version of every credential, deleted ones included: a look at all rows."""
    anchored: int
    """Number of the anchor that the last change or checkpoint before this one wrote; 0 where there was none."""
    keep: Callable[[int], None]
    """Make that the number of another anchor, where the audit head is locked."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Creations that stopped on their way; as the database says, for operators."""

    intents: int
    """Orders that were accepted and have no credential: the process died before it wrote the row."""
    oldest_intent: int | None
    """NumericDate; None where there is none."""
    pending: int
    """Credentials without a certificate."""
    oldest_pending: int | None
    """NumericDate; None where there is none."""


Anchoring = Callable[[Standing], int]
"""Gives the new anchor's number.  Called once all of a transaction is written, its audit record included, and before
the commit; the audit head is locked, so nobody else is there at the same time.  What it raises ends the transaction
without a trace."""


class Store(Protocol):
    """Credentials, orders, ledger and audit chain."""

    def epoch(self) -> Epoch:
        """The ledger's epoch."""
        ...

    def credential(self, credential_id: str) -> SealedCredential | None:
        """A credential's row, or None.

        :raises RowAltered: it cannot be read.
        """
        ...

    def for_signature(self, credential_id: str) -> tuple[SealedCredential | None, Epoch]:
        """Both in one, for the hot path.

        :raises RowAltered: the row cannot be read.
        """
        ...

    def credentials(self, owner: str | None, issuer: str | None = None) -> tuple[SealedCredential, ...]:
        """A person's rows, or everybody's; oldest first, without deleted ones.

        :param issuer: of the person's account; ``None`` where it is not known, and any serves.
        :raises RowAltered: one cannot be read.
        """
        ...

    def credential_rows(self, after: str = "", limit: int = 100) -> tuple[tuple[str, SealedCredential | None], ...]:
        """A page of everybody's rows by id, deleted ones too; ``None`` for one that cannot be read.

        :param after: the last id of the page before.
        """
        ...

    def standing(self, *, locked: bool) -> AbstractContextManager[Standing]:
        """Where the database stands.

        :param locked: nobody writes to the chain until the end; else it is one consistent look.
        """
        ...

    def raise_epoch(
        self,
        now: datetime,
        *,
        after: Epoch | None = None,
        order: SpentOrder | None = None,
        fields: Fields | None = None,
        anchoring: Anchoring | None = None,
    ) -> Epoch:
        """After a restore: refuse everything issued until now, by whatever clock.

        :param after: the epoch that the new one has to be later than; the database's own where it is left out.
        :param fields: of the audit record, besides the epoch's number.
        :raises OrderUsed: the order is spent.
        """
        ...

    def spend_order(self, order: SpentOrder, record: Record, anchoring: Anchoring | None = None) -> SpentOrder | None:
        """Insert the order; where its issuer and ``jti`` are there already, change nothing and give back what is."""
        ...

    def order(self, issuer: str, jti: str) -> SpentOrder | None:
        """An order that has been used, or None."""
        ...

    def has_key(self, public_key: bytes) -> bool:
        """Whether a credential has, or had, that key (DER SubjectPublicKeyInfo); a look at all rows."""
        ...

    def add_credential(
        self,
        row: SealedCredential,
        record: Record,
        anchoring: Anchoring | None = None,
        order: SpentOrder | None = None,
    ) -> bool:
        """Insert a row, and spend the order in the same transaction; False where one of that id is there already.

        :raises OrderUsed: the order is spent.
        """
        ...

    def replace_credential(
        self,
        row: SealedCredential,
        record: Record,
        order: SpentOrder | None = None,
        anchoring: Anchoring | None = None,
    ) -> bool:
        """Put the next version in place of the one before, and spend the order in the same transaction.

        :returns: False where the version before is not there any more.
        :raises OrderUsed: the order is spent.
        """
        ...

    def reserve(
        self,
        reservation: Reservation,
        assign: Callable[[Collection[int]], tuple[int, ...]],
        record: Callable[[tuple[int, ...]], Record],
    ) -> tuple[int, ...]:
        """Reserve positions and write the intent, in one committed transaction.

        :param assign: chooses positions, given those taken; what it raises ends the transaction without a trace.
        :param record: makes the intent once the approval is locked; its time is when the redemption counts from, and
            what it raises ends the transaction without a trace as well.
        :raises ChangedMeanwhile: the credential's version or the ledger's epoch is not the reservation's any more, or
            there is a revocation that refuses the SAD.
        :raises SadRefused: another SAD of the same ``txn`` had another allowance.
        :raises SadSpent: another request was faster, again and again.
        :raises SadSuperseded: another SAD of the same ``txn`` took its place.  Where it takes that of others itself,
            they are refused from this transaction on.
        :raises BindingRefused: the proof of possession was spent before, under whatever redemption.
        """
        ...

    def succeed(
        self,
        reservation: Reservation,
        assign: Callable[[Collection[int]], tuple[int, ...]],
        record: Callable[[tuple[int, ...]], Record],
    ) -> None:
        """The same, of a SAD that takes the place of others and redeems nothing yet.

        Changes and records nothing where it has taken it before.

        :param assign: gives no positions; it may raise, given those that are taken.
        """
        ...

    def conclude(self, redemption_id: str, state: State, reason: str, record: Record) -> State:
        """Write the outcome of a reserved redemption, once.

        :returns: the state it has now: another one than asked for where somebody else was first.
        """
        ...

    def overdue(self, reserved_before: int, limit: int, after: tuple[int, str] | None = None) -> tuple[Redemption, ...]:
        """Redemptions reserved before that second which have no outcome, oldest first.

        :param after: ``reserved_at`` and ``id`` of the last one of the page before.
        """
        ...

    def add_revocation(self, row: SealedRevocation, record: Record) -> SealedRevocation | None:
        """Insert a revocation; where its issuer and ``jti`` are there already, change nothing and give back what is.

        What :meth:`reserve` has begun is committed before this is, or finds the row.

        :raises RowAltered: what is there cannot be read.
        """
        ...

    def revocations(self, keys: Collection[Key] | None, received_after: int) -> tuple[SealedRevocation, ...]:
        """Revocations about one of the subjects, or all, that came after a second.

        :raises RowAltered: one cannot be read.
        """
        ...

    def note(self, record: Record) -> None:
        """Write an audit record on its own."""
        ...
