"""Seals on rows: whoever can write to the database, and has no key, can put nothing there that a decision rests on.

A seal is an HMAC-SHA-256 over the row's columns by name, under a key for its table alone.  It covers the row's
identifier and whom it belongs to, so a row that was copied, swapped or invented does not verify.  Two things it cannot
do: tell that a row has been put back to an older state of its own, and that a row is missing.

What ends a row (a revocation, the end of an interaction) takes its seal away.  That needs no key and cannot be undone
by clearing the column that says so.
"""

from __future__ import annotations

import functools
import hmac
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, Select, Table, bindparam, select, update

from foundation import json_text, log
from idp.errors import SealBroken
from idp.storage.statements import Statement

NO_SEAL: Final = ""
"""Of a row that has ended."""

_MOST_REMEMBERED: Final = 10_000
_KEY: Final = "key_of_row"
_DOMAIN: Final = b"privyseal-row-1\n"
_CANONICAL: Final = json_text.encoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_log = log.get(__name__)


def tag(key: bytes, parts: Mapping[str, Any]) -> str:
    """Hexadecimal HMAC-SHA-256 (RFC 2104) over canonical JSON of the named parts.

    :param parts: JSON values.
    """
    mac = _begun(key).copy()
    mac.update(_CANONICAL(parts).encode())
    return mac.hexdigest()


@functools.lru_cache(maxsize=256)
def _begun(key: bytes) -> hmac.HMAC:
    # To be copied: OpenSSL looks for its algorithm anew for each HMAC that begins, which takes longer than the rest.
    return hmac.new(key, _DOMAIN, "sha256")


def verify(key: bytes, parts: Mapping[str, Any], given: str) -> None:
    """Compare in constant time.

    :raises SealBroken: the tag is not that of these parts under this key.
    """
    if not hmac.compare_digest(tag(key, parts).encode(), given.encode("utf-8", "surrogatepass")):
        raise SealBroken("the row is not as it was written")


@dataclass(frozen=True, slots=True)
class Altered:
    """What somebody did who can write to the database."""

    table: str
    record: str
    """The row's identifier; of a row without one, the hash it is found by."""
    cause: Literal["seal", "binding"]
    """``binding``: the row's parts contradict each other although its seal holds, or before one was looked at."""


class Sealer:
    """Seals rows and remembers those that do not verify until they are recorded; safe to share between threads.

    :param secret: derives 32 octets for a purpose, as :meth:`idp.storage.keys.KeyStore.secret` does.
    """

    def __init__(self, secret: Callable[[str], bytes]) -> None:
        self._secret = secret
        self._lock = threading.Lock()
        self._reported: set[tuple[Altered, str]] = set()
        self._waiting: deque[Altered] = deque()

    def seal(self, table: Table, values: Mapping[str, Any]) -> str:
        """The seal of a row with these values.

        :raises KeyUnavailable: the master secret cannot be read.
        """
        return tag(self._key(table), _parts(table, values))

    def holds(self, table: Table, row: Row[Any]) -> bool:
        """Whether a row is as it was written.  One that is not counts as absent, and is reported.

        :raises KeyUnavailable: the master secret cannot be read.
        """
        values = _values(row)
        try:
            verify(self._key(table), _parts(table, values), values["seal"] or NO_SEAL)
        except SealBroken:
            record = str(values[next(iter(table.primary_key.columns)).name])
            self.report(Altered(table.name, record, "seal"), str(values["seal"]))
            return False
        return True

    def report(self, found: Altered, detail: str = "") -> None:
        """Say in the log, at once, that a row was altered, and keep it for the audit chain; each once."""
        with self._lock:
            if (found, detail) in self._reported:
                return
            if len(self._reported) >= _MOST_REMEMBERED:
                self._reported.clear()
            self._reported.add((found, detail))
            self._waiting.append(found)
        fields = {"table": found.table, "record": found.record, "cause": found.cause}
        _log.critical("the database was altered by somebody else", extra={"fields": fields})

    def take(self) -> Altered | None:
        """What the audit chain has to be told of next."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def give_back(self, found: Altered) -> None:
        """It could not be recorded now."""
        with self._lock:
            self._waiting.appendleft(found)

    def _key(self, table: Table) -> bytes:
        return self._secret(f"row seals {table.name}")


def change(
    connection: Connection,
    seals: Sealer,
    table: Table,
    condition: Any,
    changes: Callable[[Row[Any]], Mapping[str, Any]],
    **given: Any,
) -> int:
    """Change rows and seal them anew; returns how many.  What was altered is left as it is: no seal is put under it.

    :param condition: which rows; it leaves out those that have ended.  Or what :func:`locking` made of it.
    :param changes: the new values of a row.
    :param given: values of the condition's parameters.
    """
    kept = isinstance(condition, Statement)
    rows = condition(connection, given).all() if kept else connection.execute(_to_lock(table, condition), given).all()
    key = next(iter(table.primary_key.columns)).name
    written, done = _written(table), 0
    for row in rows:
        if not seals.holds(table, row):
            continue
        values = dict(changes(row))
        seal = seals.seal(table, {**_values(row), **values})
        # It is there, since it is locked; that it was written need not be waited for.
        written.put_off(connection, {**values, "seal": seal, _KEY: _values(row)[key]})
        done += 1
    return done


def locking(table: Table, condition: Any) -> Statement:
    """The statement by which :func:`change` reads rows: for a module to make once and keep."""
    return Statement(_to_lock(table, condition))


def _to_lock(table: Table, condition: Any) -> Select[Any]:
    key = next(iter(table.primary_key.columns))
    return select(table).where(condition).order_by(key).with_for_update()


@functools.cache
def _written(table: Table) -> Statement:
    key = next(iter(table.primary_key.columns))
    return Statement(update(table).where(key == bindparam(_KEY)))


def _values(row: Row[Any]) -> dict[str, Any]:
    return row._asdict()  # public, for all its name


def _parts(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    names: tuple[str, ...] = table.info["sealed"]
    return {name: values[name] for name in names}
