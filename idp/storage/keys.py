"""The identity provider's keys: private halves in owner-only files, their states in the database.

Token keys sign what relying parties verify through the JWKS; there is a *next* one, published before it is used, a
*current* one and *retired* ones that still verify.  The activation key signs SADs, orders and security events and is
published nowhere: the operator of the signature activation module pins it.  The checkpoint key signs where the audit
chain stands, and is pinned by whoever verifies that.  The master secret derives what must be
secret but signs nothing: one-time codes and form tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import threading
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, Connection, Engine, delete, insert, not_, or_, select, update

from foundation.clock import epoch
from foundation.errors import JoseError, SecretFileError
from foundation.files import read_secret, write_secret
from foundation.jose import (
    SigningKey,
    VerificationKey,
    export_signing_key,
    generate_signing_key,
    import_signing_key,
    import_verification_key,
)
from idp.errors import KeyUnavailable
from idp.storage.engine import reading
from idp.storage.models import token_keys

RETIRED_SECONDS: Final = 24 * 60 * 60
"""How long a retired key stays published: longer than any token that it may have signed lives."""

_MASTER: Final = "master.key"
_ACTIVATION: Final = "activation.pem"
_CHECKPOINT: Final = "checkpoint.pem"
_MASTER_OCTETS: Final = 32


class KeyStore:
    """The keys as a running server uses them; safe to share between threads."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._directory = directory
        self._lock = threading.Lock()
        self._loaded: dict[str, SigningKey] = {}
        self._master: bytes | None = None
        self._derived: dict[str, bytes] = {}

    def activation_key(self) -> SigningKey:
        """The key that signs SADs, orders and security events, and nothing else.

        :raises KeyUnavailable: its file is missing or unusable.
        """
        return self._load(_ACTIVATION)

    def checkpoint_key(self) -> SigningKey:
        """The key, on P-256, that signs checkpoints of the audit chain, and nothing else.

        :raises KeyUnavailable: its file is missing or unusable.
        """
        return self._load(_CHECKPOINT)

    def token_key(self) -> SigningKey:
        """The token key that is current now; another node may have rotated it a moment ago.

        :raises KeyUnavailable: there is none, or its file is missing or another key's.
        """
        with reading(self._engine) as connection:
            kid = connection.execute(select(token_keys.c.kid).where(token_keys.c.state == "current")).scalar()
        if kid is None:
            raise KeyUnavailable("there is no current token key: run `privyseal idp init`")
        key = self._load(_token_file(kid))
        if key.kid != kid:
            raise KeyUnavailable(f"{_token_file(kid)} holds another key")
        return key

    def token_verification_keys(self, now: datetime) -> tuple[VerificationKey, ...]:
        """The public halves to publish and to verify with: next, current, and retired for :data:`RETIRED_SECONDS`.

        A key that retired earlier counts no more, although its row stays until the next rotation.
        """
        query = (
            select(token_keys.c.public_jwk)
            .where(or_(token_keys.c.state != "retired", not_(_outlived(epoch(now)))))
            .order_by(token_keys.c.created_at.desc())
        )
        with reading(self._engine) as connection:
            return tuple(import_verification_key(json.loads(jwk)) for (jwk,) in connection.execute(query))

    def secret(self, purpose: str) -> bytes:
        """32 octets for one purpose, derived from the master secret; the same in every process.

        :param purpose: one of few, named in the program and never by a request: what is derived is kept.
        :raises KeyUnavailable: the master secret's file is missing or too short.
        """
        found = self._derived.get(purpose)
        if found is None:
            found = self._derived[purpose] = self._derive(purpose)
        return found

    def _derive(self, purpose: str) -> bytes:
        with self._lock:
            if self._master is None:
                _check_directory(self._directory)
                self._master = _read_master(self._directory / _MASTER)
            return hmac.new(self._master, f"privyseal idp {purpose}".encode(), hashlib.sha256).digest()

    def _load(self, name: str) -> SigningKey:
        with self._lock:
            if name not in self._loaded:
                _check_directory(self._directory)
                try:
                    self._loaded[name] = import_signing_key(read_secret(self._directory / name))
                except (SecretFileError, JoseError) as error:
                    raise KeyUnavailable(f"key file {name} cannot be used: {error}") from error
            return self._loaded[name]


def _check_directory(directory: Path) -> None:
    """Whoever may write in it can put one key's file in another's place; whoever may list it sees the keys' names."""
    try:
        status = directory.stat()
    except OSError as error:
        raise KeyUnavailable(f"key_dir cannot be used ({error.strerror}): run `privyseal idp init`") from error
    if status.st_mode & 0o077:
        raise KeyUnavailable(f"key_dir has mode {stat.S_IMODE(status.st_mode):04o}, which lets others in: make it 0700")
    if status.st_uid not in {os.geteuid(), 0}:
        raise KeyUnavailable(f"key_dir belongs to user {status.st_uid}")


def _read_master(path: Path) -> bytes:
    try:
        master = bytes.fromhex(read_secret(path).decode("ascii"))
    except (SecretFileError, ValueError) as error:
        raise KeyUnavailable(f"key file {path.name} cannot be used") from error
    if len(master) < _MASTER_OCTETS:
        raise KeyUnavailable(f"key file {path.name} is shorter than {_MASTER_OCTETS} octets")
    return master


def create_keys(engine: Engine, directory: Path, *, now: datetime, random: bytes) -> tuple[str, ...]:
    """Make what is missing; returns the names of what was made.

    :param random: 32 octets for the master secret, should it be missing.
    :raises KeyUnavailable: the directory is there, and not its owner's only.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_directory(directory)
    made: list[str] = []
    if not (directory / _MASTER).exists():
        write_secret(directory / _MASTER, random[:_MASTER_OCTETS].hex().encode())
        made.append("master")
    for name in (_ACTIVATION, _CHECKPOINT):
        if not (directory / name).exists():
            write_secret(directory / name, export_signing_key(generate_signing_key()))
            made.append(name.removesuffix(".pem"))
    with engine.begin() as connection:
        states = set(connection.execute(select(token_keys.c.state)).scalars())
        for state in ("current", "next"):
            if state not in states:
                _add_token_key(connection, directory, state, now)
                made.append(f"token ({state})")
    return tuple(made)


def rotate_token_keys(engine: Engine, directory: Path, *, now: datetime) -> str:
    """Next becomes current, current becomes retired, a new next is made; returns the ``kid`` now current.

    :raises KeyUnavailable: there is no next key, or the directory is not its owner's only.
    """
    at = epoch(now)
    _check_directory(directory)
    with engine.begin() as connection:
        waiting = select(token_keys.c.kid).where(token_keys.c.state == "next")
        following: str | None = connection.execute(waiting).scalar()
        if following is None:
            raise KeyUnavailable("there is no next token key: run `privyseal idp init`")
        old = select(token_keys.c.kid).where(token_keys.c.state == "retired", _outlived(at))
        forgotten = list(connection.execute(old).scalars())
        connection.execute(delete(token_keys).where(token_keys.c.kid.in_(forgotten)))
        _move(connection, "current", "retired", at)
        _move(connection, "next", "current", at)
        _add_token_key(connection, directory, "next", now)
    for kid in forgotten:
        (directory / _token_file(kid)).unlink(missing_ok=True)
    return following


def _outlived(at: int) -> ColumnElement[bool]:
    """Of a retired key: whether no token that it signed can be alive."""
    return token_keys.c.changed_at < at - RETIRED_SECONDS


def _move(connection: Connection, old: str, new: str, at: int) -> None:
    slot = None if new == "retired" else new
    connection.execute(
        update(token_keys).where(token_keys.c.state == old).values(state=new, slot=slot, changed_at=at)
    )


def _add_token_key(connection: Connection, directory: Path, state: str, now: datetime) -> None:
    key = generate_signing_key()
    # The file first: a row whose file is missing would be published and could not sign.
    write_secret(directory / _token_file(key.kid), export_signing_key(key))
    jwk = json.dumps(key.verification_key().as_jwk(), sort_keys=True)
    at = epoch(now)
    connection.execute(
        insert(token_keys).values(
            kid=key.kid, state=state, slot=state, public_jwk=jwk, created_at=at, changed_at=at
        )
    )


def _token_file(kid: str) -> str:
    return f"token-{kid}.pem"
