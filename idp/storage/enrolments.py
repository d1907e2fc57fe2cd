"""Enrolments: an authenticator that a person was allowed to bind and has not bound yet.

Each belongs to one browser's session and to what allowed it, ends once, and grants nothing by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Row,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
)
from sqlalchemy import update as update_rows

from foundation.clock import epoch, from_epoch
from idp.errors import EnrolmentLost
from idp.storage.models import metadata
from idp.storage.seal import NO_SEAL, Sealer, change

Origin = Literal["approval", "activation"]
"""What allowed an enrolment: the policy's approval of somebody who is signed in, or an activation code."""

LIFE_SECONDS: Final = 600
MAX_OPEN: Final = 5
"""Of one account; the oldest go (DOS-04)."""
MAX_FAILURES: Final = 5
"""Wrong proofs after which an enrolment is over."""

enrolments: Final = Table(
    "enrolments",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", String(64), ForeignKey("accounts.id"), nullable=False, index=True),
    Column("session_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("origin", String(16), nullable=False),
    # The transaction whose approval allowed it, and the policy's decision about that; or the activation, and nothing.
    Column("txn", String(64), nullable=False),
    Column("decision_id", String(64), nullable=False),
    Column("secret_box", Text),
    Column("data", JSON, nullable=False),
    Column("failures", BigInteger, nullable=False, default=0),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("seal", String(64), nullable=False, default=""),
    info={
        "sealed": (
            "id",
            "account_id",
            "session_id",
            "kind",
            "origin",
            "txn",
            "decision_id",
            "secret_box",
            "data",
            "created_at",
            "expires_at",
        )
    },
)
_E: Final = enrolments.c


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An open enrolment."""

    id: str
    account_id: str
    session_id: str
    kind: str
    txn: str
    decision_id: str
    secret_box: str | None = field(repr=False)
    data: Mapping[str, Any]
    """What its kind remembers between the page and the proof."""
    failures: int
    created_at: datetime
    expires_at: datetime
    origin: Origin = "approval"


@dataclass(frozen=True, slots=True)
class NewEnrolment:
    """What an approval, or an activation, allowed."""

    id: str
    account_id: str
    session_id: str
    kind: str
    txn: str
    decision_id: str
    secret_box: str | None = field(default=None, repr=False)
    data: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin = "approval"


def about(enrolment_id: str, account_id: str, kind: str) -> tuple[str, ...]:
    """What an enrolment's secret belongs to: see :mod:`idp.storage.boxes`."""
    return ("enrolment", enrolment_id, account_id, kind)


def begin(connection: Connection, seals: Sealer, new: NewEnrolment, now: datetime) -> None:
    """Remember an enrolment; of those that the account has open, only the latest :data:`MAX_OPEN` stay."""
    latest = (
        select(_E.id).where(_E.account_id == new.account_id).order_by(_E.created_at.desc(), _E.id).limit(MAX_OPEN - 1)
    )
    kept = tuple(connection.execute(latest).scalars())
    connection.execute(delete(enrolments).where(_E.account_id == new.account_id, _E.id.not_in(kept)))
    values: dict[str, Any] = {
        "id": new.id,
        "account_id": new.account_id,
        "session_id": new.session_id,
        "kind": new.kind,
        "origin": new.origin,
        "txn": new.txn,
        "decision_id": new.decision_id,
        "secret_box": new.secret_box,
        "data": dict(new.data),
        "created_at": epoch(now),
        "expires_at": epoch(now) + LIFE_SECONDS,
    }
    connection.execute(insert(enrolments).values(**values, seal=seals.seal(enrolments, values)))


def find(connection: Connection, seals: Sealer, enrolment_id: str, session_id: str, now: datetime) -> Enrolment:
    """The open enrolment of this id in this session.

    :raises EnrolmentLost: there is none: it ended, expired, met too many wrong proofs, or is another session's.
    """
    row = connection.execute(
        select(enrolments).where(
            _E.id == enrolment_id,
            _E.session_id == session_id,
            _E.seal != NO_SEAL,
            _E.expires_at > epoch(now),
            _E.failures < MAX_FAILURES,
        )
    ).one_or_none()
    if row is None or not seals.holds(enrolments, row):
        raise EnrolmentLost("no open enrolment of that id belongs to this session")
    return _enrolment(row)


def remember(connection: Connection, seals: Sealer, enrolment_id: str, data: Mapping[str, Any]) -> None:
    """Replace what its kind remembers; nothing happens if it has ended."""
    still = (_E.id == enrolment_id) & (_E.seal != NO_SEAL)
    change(connection, seals, enrolments, still, lambda _: {"data": dict(data)})


def advance(
    connection: Connection, seals: Sealer, enrolment_id: str, step: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> dict[str, Any]:
    """Replace what its kind remembers by what follows from it; its row is locked meanwhile.

    :param step: may raise, and nothing is changed.
    :raises EnrolmentLost: it has ended.
    """
    made: dict[str, Any] = {}

    def stepped(row: Row[Any]) -> dict[str, Any]:
        made.update(step(row.data))
        return {"data": dict(made)}

    still = (_E.id == enrolment_id) & (_E.seal != NO_SEAL) & (_E.failures < MAX_FAILURES)
    if change(connection, seals, enrolments, still, stepped) != 1:
        raise EnrolmentLost("the enrolment has ended")
    return made


def spend(connection: Connection, enrolment_id: str) -> None:
    """Use up one of the tries, before it is judged: of many at once no more are judged than may be.

    :raises EnrolmentLost: none is left, or it has ended.
    """
    spent = connection.execute(
        update_rows(enrolments)
        .where(_E.id == enrolment_id, _E.seal != NO_SEAL, _E.failures < MAX_FAILURES)
        .values(failures=_E.failures + 1)
    )
    if spent.rowcount != 1:
        raise EnrolmentLost("the enrolment has ended")


def give_back(connection: Connection, enrolment_id: str) -> None:
    """The try was right."""
    connection.execute(update_rows(enrolments).where(_E.id == enrolment_id).values(failures=_E.failures - 1))


def failed(connection: Connection, enrolment_id: str) -> None:
    """A wrong proof: after :data:`MAX_FAILURES` it is over."""
    connection.execute(update_rows(enrolments).where(_E.id == enrolment_id).values(failures=_E.failures + 1))


def close(connection: Connection, enrolment_id: str) -> None:
    """End an enrolment with its proof: of two at once, one succeeds.

    :raises EnrolmentLost: it has ended.
    """
    closed = connection.execute(
        update_rows(enrolments)
        .where(_E.id == enrolment_id, _E.seal != NO_SEAL, _E.failures < MAX_FAILURES)
        .values(seal=NO_SEAL, secret_box=None)
    )
    if closed.rowcount != 1:
        raise EnrolmentLost("the enrolment has ended")


def purge(connection: Connection, now: datetime) -> int:
    """Forget what has expired; returns how many."""
    return connection.execute(delete(enrolments).where(_E.expires_at <= epoch(now))).rowcount


def _enrolment(row: Row[Any]) -> Enrolment:
    return Enrolment(
        row.id,
        row.account_id,
        row.session_id,
        row.kind,
        row.txn,
        row.decision_id,
        row.secret_box,
        row.data,
        row.failures,
        from_epoch(row.created_at),
        from_epoch(row.expires_at),
        "activation" if row.origin == "activation" else "approval",
    )
