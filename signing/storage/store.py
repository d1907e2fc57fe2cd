"""The core's store, over SQLAlchemy Core.  Any number of processes may share one PostgreSQL database."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Engine,
    Row,
    and_,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from auditlog.chain import EMPTY, Entry, Fields, Head
from auditlog.errors import ChainNotReady
from auditlog.sql import AuditLog
from foundation import log
from signing.sam import events
from signing.sam.credential import SealedCredential
from signing.sam.errors import (
    OrderUsed,
    RowAltered,
    StoreUnavailable,
)
from signing.sam.ledger import Redemption, Reservation, State
from signing.sam.ports import ON_TOKEN
from signing.sam.revocation import Key, SealedRevocation
from signing.sam.store import Anchoring, Epoch, Record, SpentOrder, Standing, Unfinished
from signing.sam.verify import first_second_after
from signing.storage import schema
from signing.storage.ledger import Ledger
from signing.storage.rows import COLUMNS, from_columns, from_row, revocation_from_row, revocation_to_row, to_row
from signing.storage.statements import key_names, order_query, overdue, revoked
from signing.storage.tables import (
    anchored,
    audit,
    credentials,
    orders,
    outcomes,
    redemptions,
    revocations,
    state,
)
from signing.storage.transactions import Transactions

_RESERVE_ATTEMPTS: Final = 3
_PAGE: Final = 1000
_DAY_SECONDS: Final = 24 * 60 * 60
_SUBJECTS_OF_A_SAD: Final = 3
"""What can be revoked under one (:func:`signing.sam.revocation.keys_of`): that read is made for each signature."""
_ROW_AND_EPOCH: Final = (
    f"SELECT {', '.join(f'c.{name}' for name in COLUMNS)}, s.epoch, s.epoch_not_before"  # noqa: S608 - columns' names
    " FROM sam_state s LEFT JOIN credentials c ON c.id = $1"
)
"""The row of a credential, NULL where there is none, and the ledger's epoch: of one moment."""

_log = log.get(__name__)


class SqlStore:
    """:class:`signing.sam.store.Store` on SQLite or PostgreSQL.  Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._transactions = Transactions(engine)
        self._audit = AuditLog(audit, events.CATALOGUE)
        on_conflict = postgresql.insert if self._transactions.postgresql else sqlite.insert
        # Statements of the hot path, built once: SQLAlchemy then finds their compiled form by identity.
        self._add_order = on_conflict(orders).on_conflict_do_nothing().returning(orders.c.jti)
        self._add_credential = on_conflict(credentials).on_conflict_do_nothing().returning(credentials.c.id)
        self._for_signature = select(credentials, state.c.epoch, state.c.epoch_not_before).select_from(
            state.outerjoin(credentials, credentials.c.id == bindparam("credential_id"))
        )
        self._add_revocation = on_conflict(revocations).on_conflict_do_nothing().returning(revocations.c.jti)
        self._revoked = revoked(_SUBJECTS_OF_A_SAD)
        self._ledger = Ledger(self._transactions, self._audit)

    @property
    def engine(self) -> Engine:
        """For whoever ends the process, and has to let go of its connections."""
        return self._transactions.engine

    # Setting up

    def initialise(self, realm: str, now: datetime) -> None:
        """See :func:`signing.storage.schema.initialise`."""
        schema.initialise(self._transactions, self._audit, realm, now)

    def check(self, realm: str) -> None:
        """See :func:`signing.storage.schema.check`."""
        schema.check(self._transactions, realm)

    def check_durability(self) -> None:
        """See :func:`signing.storage.schema.check_durability`."""
        schema.check_durability(self._transactions)

    def raise_epoch(
        self,
        now: datetime,
        *,
        after: Epoch | None = None,
        order: SpentOrder | None = None,
        fields: Fields | None = None,
        anchoring: Anchoring | None = None,
    ) -> Epoch:
        """After a restore: everything issued until now is refused from now on, by whatever clock it was issued.

        Never lowered, also by a clock that was set back (AUD-09).  What the database says counts for nothing where the
        token's word is there: somebody else may have written it, and what is anchored is never lowered again.
        """
        with self._transactions.writing() as connection:
            row = connection.execute(select(state.c.epoch, state.c.epoch_not_before).with_for_update()).one()
            known = Epoch(row.epoch, row.epoch_not_before) if after is None else after
            raised = Epoch(known.number + 1, max(known.not_before, first_second_after(now)))
            connection.execute(update(state).values(epoch=raised.number, epoch_not_before=raised.not_before))
            if order is not None:
                self._spend(connection, order)
            record = Record(events.EPOCH_RAISED, {**(fields or {}), "epoch": raised.number}, now)
            self._append(connection, record, anchoring)
        return raised

    # Reading

    def epoch(self) -> Epoch:
        (row,) = self._transactions.rows(select(state.c.epoch, state.c.epoch_not_before))
        return Epoch(row.epoch, row.epoch_not_before)

    def credential(self, credential_id: str) -> SealedCredential | None:
        return self.for_signature(credential_id)[0]

    def for_signature(self, credential_id: str) -> tuple[SealedCredential | None, Epoch]:
        quick = self._transactions.quick(_ROW_AND_EPOCH, (credential_id,)) if self._transactions.postgresql else None
        if quick is not None:
            ((*columns, number, not_before),) = quick
            return None if columns[0] is None else from_columns(columns), Epoch(number, not_before)
        (row,) = self._transactions.rows(self._for_signature, {"credential_id": credential_id})
        found = row._mapping
        sealed = None if found[credentials.c.id] is None else from_row(found)
        return sealed, Epoch(found["epoch"], found["epoch_not_before"])

    def credentials(self, owner: str | None, issuer: str | None = None) -> tuple[SealedCredential, ...]:
        wanted = select(credentials).where(credentials.c.status != "deleted")
        if owner is not None:
            wanted = wanted.where(credentials.c.owner == owner)
        if issuer is not None:
            wanted = wanted.where(credentials.c.issuer == issuer)
        rows = self._transactions.rows(wanted.order_by(credentials.c.created, credentials.c.id))
        return tuple(from_row(row._mapping) for row in rows)

    def credential_rows(self, after: str = "", limit: int = 100) -> tuple[tuple[str, SealedCredential | None], ...]:
        """A page of everybody's rows by id, deleted and unreadable ones too: for operators.

        Whoever alters a row may also write that it is deleted.

        :param after: the last id of the page before.
        :returns: id and row; ``None`` for a row that cannot be read.
        """
        wanted = select(credentials).where(credentials.c.id > after).order_by(credentials.c.id).limit(limit)
        rows = self._transactions.rows(wanted)
        return tuple((row.id, _readable(row)) for row in rows)

    def kept_keys(self) -> frozenset[bytes]:
        """``blob`` of every row whose key stays on the token."""
        kept = and_(credentials.c.key_mechanism == ON_TOKEN, credentials.c.wrapped_key.is_not(None))
        found = self._transactions.rows(select(credentials.c.wrapped_key).where(kept))
        return frozenset(bytes(row.wrapped_key) for row in found)

    def wrapped(self) -> dict[tuple[str, str], int]:
        """Rows that hold a key, by its KEK and mechanism: as the database says, for operators.

        Empty in the place of a KEK for keys that stay on the token.
        """
        by_kek = (
            select(credentials.c.kek_id, credentials.c.key_mechanism, func.count())
            .where(credentials.c.wrapped_key.is_not(None))
            .group_by(credentials.c.kek_id, credentials.c.key_mechanism)
        )
        return {(str(row[0] or ""), str(row[1] or "")): row[2] for row in self._transactions.rows(by_kek)}

    def has_key(self, public_key: bytes) -> bool:
        wanted = select(credentials.c.id).where(credentials.c.public_key == public_key).limit(1)
        return bool(self._transactions.rows(wanted))

    def order(self, issuer: str, jti: str) -> SpentOrder | None:
        return _order(self._transactions.rows(order_query(issuer, jti)))

    def overdue(self, reserved_before: int, limit: int, after: tuple[int, str] | None = None) -> tuple[Redemption, ...]:
        wanted = overdue(after is not None)
        parameters: dict[str, object] = {"reserved_before": reserved_before, "most": limit}
        if after is not None:
            parameters |= {"after_second": after[0], "after_id": after[1]}
        return tuple(
            Redemption(
                id=row.id,
                issuer=row.issuer,
                txn=row.txn,
                credential_id=row.credential_id,
                reserved_at=row.reserved_at,
                positions=_positions(row.positions),
                state=State.RESERVED,
            )
            for row in self._transactions.rows(wanted, parameters)
        )

    def revocations(self, keys: Collection[Key] | None, received_after: int) -> tuple[SealedRevocation, ...]:
        parameters: dict[str, object] = {"received_after": received_after}
        if keys is None:
            wanted = select(revocations).where(revocations.c.received_at > bindparam("received_after"))
        else:
            wanted = self._revoked if len(keys) == _SUBJECTS_OF_A_SAD else revoked(len(keys))
            for number, key in enumerate(keys):
                parameters |= zip(key_names(number), key, strict=True)
        return tuple(revocation_from_row(row._mapping) for row in self._transactions.rows(wanted, parameters))

    def head(self) -> Head:
        """Where the audit chain ends."""
        with self._transactions.reading() as connection:
            return self._audit.head(connection)

    @contextmanager
    def standing(self, *, locked: bool) -> Iterator[Standing]:
        with self._transactions.writing() if locked else self._transactions.snapshot() as connection:
            try:
                head = self._audit.lock(connection) if locked else self._audit.head(connection)
            except ChainNotReady as error:
                raise StoreUnavailable("the audit chain has no head") from error
            yield self._standing(connection, head)

    def counts(self) -> dict[str, int]:
        """Redemptions by state, for operators."""
        current = func.coalesce(outcomes.c.state, str(State.RESERVED))
        by_state = (
            select(current, func.count())
            .select_from(redemptions.outerjoin(outcomes, outcomes.c.redemption_id == redemptions.c.id))
            .group_by(current)
        )
        found = {row[0]: row[1] for row in self._transactions.rows(by_state)}
        return {str(name): found.get(str(name), 0) for name in State}

    def unfinished(self) -> Unfinished:
        """Creations that nobody finished, for operators."""
        lost = orders.outerjoin(credentials, credentials.c.id == orders.c.credential_id)
        intents = (
            select(func.count(), func.min(orders.c.used_at))
            .select_from(lost)
            .where(orders.c.operation == "credential.create", credentials.c.id.is_(None))
        )
        pending = select(func.count(), func.min(credentials.c.created)).where(credentials.c.status == "pending")
        (begun,), (waiting,) = self._transactions.rows(intents), self._transactions.rows(pending)
        return Unfinished(begun[0], begun[1], waiting[0], waiting[1])

    # Writing

    def spend_order(self, order: SpentOrder, record: Record, anchoring: Anchoring | None = None) -> SpentOrder | None:
        with self._transactions.writing() as connection:
            if connection.execute(self._add_order, _order_row(order)).first() is None:
                return _order(connection.execute(order_query(order.issuer, order.jti)).all())
            self._append(connection, record, anchoring)
        return None

    def add_credential(
        self,
        row: SealedCredential,
        record: Record,
        anchoring: Anchoring | None = None,
        order: SpentOrder | None = None,
    ) -> bool:
        with self._transactions.writing() as connection:
            if connection.execute(self._add_credential, to_row(row)).first() is None:
                return False
            if order is not None:
                self._spend(connection, order)
            self._append(connection, record, anchoring)
        return True

    def replace_credential(
        self,
        row: SealedCredential,
        record: Record,
        order: SpentOrder | None = None,
        anchoring: Anchoring | None = None,
    ) -> bool:
        values = to_row(row)
        with self._transactions.writing() as connection:
            replaced = connection.execute(
                update(credentials)
                .where(credentials.c.id == values["id"], credentials.c.version == values["version"] - 1)
                .values(**values)
            )
            if replaced.rowcount != 1:
                return False
            if order is not None:
                self._spend(connection, order)
            self._append(connection, record, anchoring)
        return True

    def reserve(
        self,
        reservation: Reservation,
        assign: Callable[[Collection[int]], tuple[int, ...]],
        record: Callable[[tuple[int, ...]], Record],
    ) -> tuple[int, ...]:
        return self._ledger.reserve(reservation, assign, record)

    def succeed(
        self,
        reservation: Reservation,
        assign: Callable[[Collection[int]], tuple[int, ...]],
        record: Callable[[tuple[int, ...]], Record],
    ) -> None:
        self._ledger.succeed(reservation, assign, record)

    def conclude(self, redemption_id: str, state: State, reason: str, record: Record) -> State:
        return self._ledger.conclude(redemption_id, state, reason, record)

    def add_revocation(self, row: SealedRevocation, record: Record) -> SealedRevocation | None:
        values = revocation_to_row(row)
        with self._transactions.writing() as connection:
            if connection.execute(self._add_revocation, values).first() is None:
                same = and_(revocations.c.issuer == values["issuer"], revocations.c.jti == values["jti"])
                there = connection.execute(select(revocations).where(same)).first()
                if there is None:
                    raise StoreUnavailable("a revocation that was there is gone")
                return revocation_from_row(there._mapping)
            self._append(connection, record)
        return None

    def note(self, record: Record) -> None:
        self._ledger.note(record)

    # Inside

    def _spend(self, connection: Connection, order: SpentOrder) -> None:
        if connection.execute(self._add_order, _order_row(order)).first() is None:
            raise OrderUsed("the order has been carried out")

    def _standing(self, connection: Connection, head: Head) -> Standing:
        row = connection.execute(select(state.c.epoch, state.c.epoch_not_before)).one()

        def hash_at(sequence: int) -> str | None:
            if sequence == EMPTY.sequence:
                return EMPTY.hash
            found = select(audit.entries.c.hash).where(audit.entries.c.sequence == sequence)
            value: str | None = connection.execute(found).scalar_one_or_none()
            return value

        def versions() -> Iterator[tuple[str, int]]:
            wanted = select(credentials.c.id, credentials.c.version)
            for page in connection.execute(wanted, execution_options={"yield_per": _PAGE}).partitions():
                yield from ((found[0], found[1]) for found in page)

        def keep(number: int) -> None:
            connection.execute(update(anchored).values(number=number))

        number = connection.execute(select(anchored.c.number)).scalar_one()
        return Standing(Epoch(row.epoch, row.epoch_not_before), head, hash_at, versions, number, keep)

    def _append(self, connection: Connection, record: Record, anchoring: Anchoring | None = None) -> None:
        entry = self._appended(connection, record)
        if anchoring is not None:
            standing = self._standing(connection, Head(entry.sequence, entry.hash))
            standing.keep(anchoring(standing))

    def _appended(self, connection: Connection, record: Record) -> Entry:
        try:
            return self._audit.append(connection, record.event, events.recordable(record.fields), record.at)
        except ChainNotReady as error:
            raise StoreUnavailable("the audit chain cannot be written") from error
        except IntegrityError as error:
            # The head is locked: a record that is there already stands after a head that somebody set back (AUD-04).
            _log.critical("the audit chain's head was set back")
            raise StoreUnavailable("the audit chain's head was set back") from error


def _readable(row: Row[*tuple[Any, ...]]) -> SealedCredential | None:
    try:
        return from_row(row._mapping)
    except RowAltered:
        return None


def _positions(text: str) -> tuple[int, ...]:
    """Positions of a redemption; none where somebody else wrote the row, so that it keeps no other one open."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(type(item) is int for item in found):
        _log.critical("a redemption's positions cannot be read")
        return ()
    return tuple(found)


def _order(rows: Sequence[Row[*tuple[Any, ...]]]) -> SpentOrder | None:
    return SpentOrder(**rows[0]._mapping) if rows else None


def _order_row(order: SpentOrder) -> dict[str, object]:
    return {name: getattr(order, name) for name in SpentOrder.__slots__}
