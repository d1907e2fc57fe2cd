"""Requests that a person decides on later and elsewhere (OpenID Connect CIBA Core 1.0), kept from ask to collection.

Only the SHA-256 of an ``auth_req_id`` is kept.  Every change of a state is one of the steps of
:mod:`idp.activation.backchannel`, made on a locked row that is where the step starts: of two that race, one finds it
gone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Integer,
    Row,
    String,
    Table,
    case,
    delete,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy import update as update_rows

from foundation.clock import epoch, from_epoch
from idp.activation.backchannel import (
    FIRST,
    INTERVAL_SECONDS,
    LIFE_SECONDS,
    OPEN,
    State,
    Step,
    after,
    before,
    slower,
    standing,
)
from idp.oidc.request import AuthorizationRequest
from idp.storage.accounts import normalise_username
from idp.storage.hashes import hash_token
from idp.storage.models import metadata
from idp.storage.seal import Sealer, change

backchannel_requests: Final = Table(
    "backchannel_requests",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("handle_hash", String(64), nullable=False, unique=True),
    Column("client_id", String(128), nullable=False, index=True),
    # Whoever was named, whether there is such a person or not: limits must not tell.
    Column("person", String(96), nullable=False, index=True),
    # None: there is no such person, and nobody will ever see it.
    Column("account_id", String(64), index=True),
    Column("request", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("grant_id", String(64)),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("decided_at", BigInteger),
    # How often the client asks: decides nothing but how it is answered while it waits.
    Column("interval", Integer, nullable=False),
    Column("polled_at", BigInteger),
    Column("seal", String(64), nullable=False, default=""),
    info={
        "sealed": (
            "id",
            "handle_hash",
            "client_id",
            "account_id",
            "request",
            "state",
            "grant_id",
            "created_at",
            "expires_at",
        )
    },
)
_B: Final = backchannel_requests.c

KEPT_SECONDS: Final = 60 * 60
"""After its time is over, so that client and person can be told what became of it."""
MAX_LISTED: Final = 50


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request as it is kept."""

    id: str
    """Its place in the address line of its person's pages; worth nothing to anybody else."""
    client_id: str
    account_id: str | None
    asked: AuthorizationRequest
    state: State
    """As it stands at the time of reading: ``expired`` also where nobody has written that yet."""
    grant_id: str | None
    """Of what was approved."""
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    interval: int
    """Seconds that the client has to wait between two questions."""
    polled_at: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """How many requests may be open, or have been left unanswered within :data:`LIFE_SECONDS` (DOS-04)."""

    everywhere: int = 10_000
    of_client: int = 1000
    for_person: int = 30
    of_client_for_person: int = 10


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request that is about to be kept."""

    id: str
    handle: str
    """The ``auth_req_id``."""
    person: str
    """Of :func:`person_of`."""
    account_id: str | None
    asked: AuthorizationRequest
    seconds: int


def person_of(account_id: str | None, hint: str) -> str:
    """By what requests for one person are counted, whether there is such a person or not."""
    if account_id is not None:
        return account_id
    return "?" + hashlib.sha256(normalise_username(hint).encode("utf-8", "surrogatepass")).hexdigest()


def put(connection: Connection, seals: Sealer, new: NewRequest, now: datetime, limits: Limits) -> bool:
    """Keep a request; False where too many are open already, or were a moment ago."""
    at = epoch(now)
    # Whoever asks for a second each time has none open, and is no less of a nuisance (PSH-01).
    unanswered = _B.state.in_(sorted(OPEN | {"expired"})) & or_(_B.expires_at > at, _B.created_at > at - LIFE_SECONDS)
    of_client, of_person = _B.client_id == new.asked.client_id, _B.person == new.person
    bounds = (
        ((), limits.everywhere),
        ((of_client,), limits.of_client),
        ((of_person,), limits.for_person),
        ((of_client, of_person), limits.of_client_for_person),
    )
    for conditions, limit in bounds:
        query = select(func.count()).select_from(backchannel_requests).where(unanswered, *conditions)
        if connection.execute(query).scalar_one() >= limit:
            return False
    values: dict[str, Any] = {
        "id": new.id,
        "handle_hash": hash_token(new.handle),
        "client_id": new.asked.client_id,
        "account_id": new.account_id,
        "request": new.asked.to_json(),
        "state": FIRST,
        "grant_id": None,
        "created_at": at,
        "expires_at": at + new.seconds,
    }
    seal = seals.seal(backchannel_requests, values)
    connection.execute(
        insert(backchannel_requests).values(**values, person=new.person, interval=INTERVAL_SECONDS, seal=seal)
    )
    return True


def find(connection: Connection, seals: Sealer, handle: str, now: datetime) -> StoredRequest | None:
    """The request of an ``auth_req_id``, whatever has become of it; None for one that was altered."""
    row = connection.execute(
        select(backchannel_requests).where(_B.handle_hash == hash_token(handle))
    ).one_or_none()
    return None if row is None or not seals.holds(backchannel_requests, row) else _stored(row, now)


def of_account(connection: Connection, seals: Sealer, account_id: str, now: datetime) -> tuple[StoredRequest, ...]:
    """A person's requests: those that wait, and the latest of the others; of either the latest first.

    What waits is not pushed out by what is over, however much of that there is (PSH-01).
    """
    over = case(((_B.expires_at > epoch(now)) & _open(), 0), else_=1)
    query = (
        select(backchannel_requests)
        .where(_B.account_id == account_id)
        .order_by(over, _B.created_at.desc(), _B.id)
        .limit(MAX_LISTED)
    )
    rows = connection.execute(query).all()
    return tuple(_stored(row, now) for row in rows if seals.holds(backchannel_requests, row))


def find_own(
    connection: Connection, seals: Sealer, request_id: str, account_id: str, now: datetime
) -> StoredRequest | None:
    """The request of that id, if it is this person's."""
    row = connection.execute(
        select(backchannel_requests).where(_B.id == request_id, _B.account_id == account_id)
    ).one_or_none()
    return None if row is None or not seals.holds(backchannel_requests, row) else _stored(row, now)


def waiting(connection: Connection, account_id: str, now: datetime) -> int:
    """How many requests wait for a person: a number to show, on which nothing rests."""
    query = (
        select(func.count())
        .select_from(backchannel_requests)
        .where(_B.account_id == account_id, _B.expires_at > epoch(now), _open())
    )
    return connection.execute(query).scalar_one()


def asked_since(connection: Connection, account_id: str, since: datetime) -> int:
    """How many requests a person got since then."""
    query = (
        select(func.count())
        .select_from(backchannel_requests)
        .where(_B.account_id == account_id, _B.created_at > epoch(since))
    )
    return connection.execute(query).scalar_one()


def take(
    connection: Connection,
    seals: Sealer,
    step: Step,
    request_id: str,
    now: datetime,
    *,
    account_id: str | None = None,
    **values: Any,
) -> bool:
    """Take a step, once: False where the request is not where it starts, its time is over, or it was altered.

    :param account_id: whose it must be, where a person takes it.
    :param values: other columns that change with it.
    """
    at = epoch(now)
    condition = (_B.id == request_id) & _B.state.in_(sorted(before(step)))
    condition &= (_B.expires_at <= at) if step == "expire" else (_B.expires_at > at)
    if account_id is not None:
        condition &= _B.account_id == account_id
    new = {"state": after(step), **values}
    return change(connection, seals, backchannel_requests, condition, lambda _row: new) == 1


def poll(connection: Connection, request_id: str, polled_at: int | None, now: datetime) -> None:
    """The client asked in time; of two that ask at once, both may have."""
    unchanged = _B.polled_at.is_(None) if polled_at is None else _B.polled_at == polled_at
    connection.execute(
        update_rows(backchannel_requests).where(_B.id == request_id, unchanged).values(polled_at=epoch(now))
    )


def slow_down(connection: Connection, found: StoredRequest) -> None:
    """The client asked too soon: it has to wait for longer from now on."""
    connection.execute(
        update_rows(backchannel_requests)
        .where(_B.id == found.id, _B.interval == found.interval)
        .values(interval=slower(found.interval))
    )


def purge(connection: Connection, now: datetime) -> int:
    """Forget what has been over for a while; returns how many rows."""
    return connection.execute(
        delete(backchannel_requests).where(_B.expires_at <= epoch(now) - KEPT_SECONDS)
    ).rowcount


def _open() -> Any:
    return _B.state.in_(sorted(OPEN))


def _stored(row: Row[Any], now: datetime) -> StoredRequest:
    return StoredRequest(
        id=row.id,
        client_id=row.client_id,
        account_id=row.account_id,
        asked=AuthorizationRequest.from_json(row.request),
        state=standing(cast("State", row.state), row.expires_at, now),
        grant_id=row.grant_id,
        created_at=from_epoch(row.created_at),
        expires_at=from_epoch(row.expires_at),
        decided_at=None if row.decided_at is None else from_epoch(row.decided_at),
        interval=row.interval,
        polled_at=row.polled_at,
    )
