"""The issuance register: every certificate the development CA signed, its revocation, the CRL counters. SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devservices.errors import CertificateUnknown, IdempotencyConflict, StateUnusable

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS certificate (
    issuer TEXT NOT NULL,
    serial TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    der BLOB NOT NULL,
    profile TEXT NOT NULL,
    idempotency_key TEXT UNIQUE,
    request_digest BLOB,
    issued_at INTEGER NOT NULL,
    revoked_at INTEGER,
    reason TEXT,
    PRIMARY KEY (issuer, serial)
) STRICT;
CREATE TABLE IF NOT EXISTS crl_number (issuer TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT;
"""

BUSY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate as it goes into the register."""

    issuer: str
    serial: int
    digest: bytes
    """SHA-256 over ``der``."""
    der: bytes
    profile: str
    issued_at: int
    """Epoch seconds."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the register knows of a certificate: both fields are absent while it is good."""

    serial: int
    revoked_at: int | None
    reason: str | None


class Register:
    """Opens the file anew for each operation, so threads and processes share nothing but the file."""

    def __init__(self, path: Path) -> None:
        """Open or make the register.

        :raises StateUnusable: the file is not an SQLite database of this form.
        """
        self._path = path
        try:
            path.touch(mode=0o600, exist_ok=True)
            with self._open() as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StateUnusable(f"{path}: cannot be used as the issuance register ({error})") from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def meta(self, name: str) -> str | None:
        """A value set with :meth:`set_meta`."""
        with self._open() as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        """Keep a value, replacing an older one."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def add(self, entry: Entry) -> None:
        """Record a certificate that nobody asked for over the network (our own authorities and services)."""
        with self._transaction() as connection:
            _insert(connection, entry, None, None)

    def once(self, idempotency_key: str, request_digest: bytes, sign: Callable[[], Entry]) -> bytes:
        """The certificate issued under a key: signed and recorded now, or the one recorded earlier.

        Signing happens inside the transaction, so of two simultaneous requests one signs and the other finds the
        result; a certificate leaves the authority only after it was recorded.

        :raises IdempotencyConflict: the key belongs to another request.
        """
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT request_digest, der FROM certificate WHERE idempotency_key = ?", (idempotency_key,)
            ).fetchone()
            if row is None:
                entry = sign()
                _insert(connection, entry, idempotency_key, request_digest)
                return entry.der
            if row[0] != request_digest:
                raise IdempotencyConflict("this idempotency key was used for another request")
            return bytes(row[1])

    def revoke(self, digest: bytes, at: int, reason: str) -> Status:
        """Mark a certificate revoked; a second revocation changes nothing and answers the first.

        :raises CertificateUnknown: no certificate with this SHA-256 was issued here.
        """
        with self._transaction() as connection:
            connection.execute(
                "UPDATE certificate SET revoked_at = ?, reason = ? WHERE digest = ? AND revoked_at IS NULL",
                (at, reason, digest),
            )
            row = connection.execute(
                "SELECT serial, revoked_at, reason FROM certificate WHERE digest = ?", (digest,)
            ).fetchone()
        if row is None:
            raise CertificateUnknown("this certificate was not issued here")
        return _status(row)

    def status(self, issuer: str, serial: int) -> Status | None:
        """What is known of a serial number; nothing when the issuer never gave it out."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT serial, revoked_at, reason FROM certificate WHERE issuer = ? AND serial = ?",
                (issuer, format(serial, "x")),
            ).fetchone()
        return None if row is None else _status(row)

    def revoked(self, issuer: str) -> list[Status]:
        """All revoked certificates of an issuer, oldest revocation first."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT serial, revoked_at, reason FROM certificate"
                " WHERE issuer = ? AND revoked_at IS NOT NULL ORDER BY revoked_at, serial",
                (issuer,),
            ).fetchall()
        return [_status(row) for row in rows]

    def next_crl_number(self, issuer: str) -> int:
        """A number larger than all before it (RFC 5280 clause 5.2.3)."""
        with self._transaction() as connection:
            row = connection.execute(
                "INSERT INTO crl_number VALUES (?, 1)"
                " ON CONFLICT (issuer) DO UPDATE SET number = number + 1 RETURNING number",
                (issuer,),
            ).fetchone()
        return int(row[0])


def _insert(
    connection: sqlite3.Connection, entry: Entry, idempotency_key: str | None, request_digest: bytes | None
) -> None:
    connection.execute(
        "INSERT INTO certificate VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
        (
            entry.issuer, format(entry.serial, "x"), entry.digest, entry.der, entry.profile, idempotency_key,
            request_digest, entry.issued_at,
        ),
    )  # fmt: skip


def _status(row: tuple[str, int | None, str | None]) -> Status:
    return Status(serial=int(row[0], 16), revoked_at=row[1], reason=row[2])
