"""How many messages went out of late: per address, person, network and in all, in the transaction of the challenge.

A row counts for one key in slices of its window, the oldest of which drop out, so a limit holds over every window and
not only over those that begin with the hour.  Keys are keyed hashes: the table holds no number and no address.  Rows
are locked in the order of their keys, those of everybody last, until the caller's transaction ends; so of many messages
at one time as many get through as may.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Column, Connection, String, Table, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from foundation.clock import epoch
from idp.storage.models import metadata
from idp.storage.statements import Statement

message_counts: Final = Table(
    "message_counts",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("slices", JSON, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

# What stopped messages, or gave an alarm, until when; one row a name.
message_stops: Final = Table(
    "message_stops",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("began_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
)

_T: Final = message_counts.c
_SLICES: Final = 30
"""A count outlives its window by a thirtieth of it at most, and never falls short of it."""


@functools.cache
def _counted(kind: str, keys: int) -> Statement:
    """Gives the rows of so many keys, made where there are none, and locks them in the order of the keys given.

    What is written is what locks a row that is there, and reads it as others left it.

    :param kind: of database.
    """
    adding, excluded = _adding(kind, keys)
    changed = {"expires_at": excluded.expires_at}
    return Statement(adding.on_conflict_do_update(index_elements=["key"], set_=changed).returning(_T.key, _T.slices))


@functools.cache
def _written(kind: str, keys: int) -> Statement:
    """Writes the slices of so many keys, whose rows are there."""
    adding, excluded = _adding(kind, keys)
    return Statement(adding.on_conflict_do_update(index_elements=["key"], set_={"slices": excluded.slices}))


def _adding(kind: str, keys: int) -> tuple[Any, Any]:
    """An insert of so many rows, and what it calls one that is there already."""
    given = [
        {column.name: bindparam(f"{column.name}_{number}", type_=column.type) for column in _T}
        for number in range(keys)
    ]
    adding: Any = (postgresql if kind == "postgresql" else sqlite).insert(message_counts).values(given)
    return adding, adding.excluded


def _asked(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{name}_{number}": value for number, row in enumerate(rows) for name, value in row.items()}


_STOPS: Final = Statement(select(message_stops).where(message_stops.c.until > bindparam("at")))


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit, and what it is of."""

    scope: str
    """``address``, ``account``, ``network``, ``notice``, or of everybody's messages ``prefix``, ``hour`` or ``day``, of
    everybody's notices ``notices_hour`` or ``notices_day``."""
    value: str
    limit: int
    window_seconds: int

    @property
    def everybodys(self) -> bool:
        """Whether it is shared by all."""
        return self.scope in {"prefix", "hour", "day", "notices_hour", "notices_day"}

    @property
    def name(self) -> str:
        """What a stop is called that it brings about: of a prefix's, with the digits, which are nobody's number."""
        return f"{self.scope}_{self.value}" if self.scope == "prefix" else self.scope

    def key(self, secret: bytes) -> str:
        """How the table knows it: those of everybody sort last."""
        digest = hmac.new(secret, f"{self.scope}:{self.value}".encode(), hashlib.sha256).hexdigest()
        return f"{'b' if self.everybodys else 'a'}{digest}"


@dataclass(frozen=True, slots=True)
class Reached:
    """A limit that leaves no room for a message."""

    cap: Cap
    seconds: int
    """Until there is room for one."""


def take(connection: Connection, secret: bytes, caps: Sequence[Cap], now: datetime) -> Reached | None:
    """Count one message under all caps, or none where one is reached: then the caller rolls back.

    :param secret: key of the hashes.
    """
    keyed = sorted(((cap.key(secret), cap) for cap in caps), key=lambda item: item[0])
    at = epoch(now)
    rows = _locked(connection, keyed, at)
    changes: list[dict[str, Any]] = []
    for key, cap in keyed:
        size = _slice(cap)
        slices = [(begin, count) for begin, count in rows[key] if begin + size + cap.window_seconds > at]
        if sum(count for _, count in slices) >= cap.limit:
            return Reached(cap, _until_room(slices, size, cap, at))
        held = dict(slices)
        begin = at - at % size
        held[begin] = held.get(begin, 0) + 1
        changes.append({"key": key, "slices": sorted(map(list, held.items())), "expires_at": _forgotten_at(cap, at)})
    _write(connection, changes)
    return None


def give_back(connection: Connection, secret: bytes, caps: Sequence[Cap], now: datetime) -> None:
    """A message that was counted certainly did not go out."""
    keyed = sorted(((cap.key(secret), cap) for cap in caps), key=lambda item: item[0])
    at = epoch(now)
    rows = _locked(connection, keyed, at)
    changes: list[dict[str, Any]] = []
    for key, cap in keyed:
        if slices := rows[key]:
            *earlier, (begin, count) = slices
            left = [*map(list, earlier), *([[begin, count - 1]] if count > 1 else [])]
            changes.append({"key": key, "slices": left, "expires_at": _forgotten_at(cap, at)})
    _write(connection, changes)


def _write(connection: Connection, changes: Sequence[Mapping[str, Any]]) -> None:
    if changes:
        _written(connection.dialect.name, len(changes)).put_off(connection, _asked(changes))


def _until_room(slices: list[tuple[int, int]], size: int, cap: Cap, at: int) -> int:
    left = sum(count for _, count in slices)
    for begin, count in sorted(slices):
        left -= count
        if left < cap.limit:
            return max(1, begin + size + cap.window_seconds - at)
    return cap.window_seconds


def _locked(connection: Connection, caps: Sequence[tuple[str, Cap]], at: int) -> dict[str, list[tuple[int, int]]]:
    """Rows by key, made where there are none, and locked until the transaction ends."""
    if not caps:
        return {}
    new = [{"key": key, "slices": [], "expires_at": _forgotten_at(cap, at)} for key, cap in caps]
    found = _counted(connection.dialect.name, len(new))(connection, _asked(new))
    return {row.key: [(int(begin), int(count)) for begin, count in row.slices] for row in found.all()}


def _forgotten_at(cap: Cap, at: int) -> int:
    """When no count that is made now matters any more.

    The same throughout a slice: PostgreSQL keeps a row's former versions out of its indexes, and clears them away at
    once, for as long as no indexed column changes.
    """
    size = _slice(cap)
    return at - at % size + size + cap.window_seconds


def _slice(cap: Cap) -> int:
    return max(1, cap.window_seconds // _SLICES)


def purge(connection: Connection, now: datetime) -> int:
    """Forget what no limit looks at any more; returns how many.  What another transaction holds is left for later."""
    old = message_counts.c.expires_at < epoch(now)
    if connection.dialect.name == "postgresql":
        idle = select(message_counts.c.key).where(old).with_for_update(skip_locked=True)
        return connection.execute(delete(message_counts).where(message_counts.c.key.in_(idle))).rowcount
    return connection.execute(delete(message_counts).where(old)).rowcount


def stop(connection: Connection, name: str, now: datetime, seconds: int) -> bool:
    """Stop messages, or give an alarm, for a while; False where it is so already."""
    at = epoch(now)
    connection.execute(delete(message_stops).where(message_stops.c.name == name, message_stops.c.until <= at))
    on_conflict = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {"name": name, "began_at": at, "until": at + seconds}
    adding = on_conflict(message_stops).values(values).on_conflict_do_nothing().returning(message_stops.c.name)
    return connection.execute(adding).first() is not None


def stops(connection: Connection, now: datetime) -> dict[str, int]:
    """What is stopped, or alarms, and for how many seconds more."""
    return stops_later(connection, now)()


def stops_later(connection: Connection, now: datetime) -> Callable[[], dict[str, int]]:
    """The same, asked for with what comes next."""
    at = epoch(now)
    later = _STOPS.put_off(connection, {"at": at})
    return lambda: {row.name: row.until - at for row in later().all()}


def clear(connection: Connection) -> int:
    """An operator takes back every stop and alarm; returns how many there were."""
    return connection.execute(delete(message_stops)).rowcount
