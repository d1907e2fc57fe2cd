"""Activations: a code that opens an enrolment for somebody who has nothing to prove who they are with (ENR-01).

Of the code only a keyed hash is kept, under a key outside the database, over the activation, the account and the
purpose too.  There is one live activation an account; a code opens it once, in one browser's session, and what was
opened lasts a few minutes.  It is evidence of nothing, and signs nobody in.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, ForeignKey, Integer, String, Table, delete, insert, select
from sqlalchemy import update as update_rows
from sqlalchemy.exc import IntegrityError

from foundation.clock import epoch, from_epoch
from idp.authn.activation import LOCATOR, MAX_FAILURES, PURPOSES, Code, Purpose
from idp.errors import ActivationLost, AlreadyExists
from idp.storage.models import metadata
from idp.storage.seal import NO_SEAL, Sealer, tag

_KEY: Final = "activation codes"
_KEPT: Final = timedelta(days=1)
"""How long after its end a row stays, for whoever asks what became of a code."""

activations: Final = Table(
    "activations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", String(64), ForeignKey("accounts.id"), nullable=False, index=True),
    Column("purpose", String(16), nullable=False),
    # The account while it is live, null afterwards: there is one an account.
    Column("live_slot", String(64), unique=True),
    Column("locator", String(8), nullable=False),
    Column("code_hash", String(64), nullable=False),
    Column("issued_by", String(64), nullable=False),
    # The browser's session in which the code was typed; null until then.
    Column("session_id", String(64)),
    Column("failures", Integer, nullable=False, default=0),
    Column("created_at", BigInteger, nullable=False),
    # Of the code; once it was typed, of what it opened.
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("seal", String(64), nullable=False, default=""),
    info={
        "sealed": (
            "id",
            "account_id",
            "purpose",
            "live_slot",
            "locator",
            "code_hash",
            "issued_by",
            "session_id",
            "created_at",
            "expires_at",
        )
    },
)
_A: Final = activations.c
_ENDED: Final[Mapping[str, Any]] = {"live_slot": None, "code_hash": "", "seal": NO_SEAL}


@dataclass(frozen=True, slots=True)
class Activation:
    """A live activation."""

    id: str
    account_id: str
    purpose: Purpose
    locator: str
    issued_by: str
    """An account, or :data:`idp.storage.roles.COMMAND_LINE`."""
    session_id: str | None
    """Whose browser typed the code; None: nobody has."""
    failures: int
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NewActivation:
    """What is to be issued."""

    id: str
    account_id: str
    purpose: Purpose
    issued_by: str
    life: timedelta


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a code that somebody typed."""

    found: Activation | None
    """The activation that it is about, right or wrong; None: none is."""
    opened: bool
    failures: int = 0


def issue(
    connection: Connection,
    seals: Sealer,
    secret: Callable[[str], bytes],
    new: NewActivation,
    *,
    code: Code,
    now: datetime,
) -> Activation:
    """Keep the hash of a new code; the account's former activation ends, opened or not.

    :param secret: derives 32 octets for a purpose, as :meth:`idp.storage.keys.KeyStore.secret` does.
    :raises AlreadyExists: somebody else issues one at the same moment.
    """
    revoke(connection, new.account_id)
    connection.execute(delete(activations).where(_A.expires_at <= epoch(now - _KEPT)))
    values: dict[str, Any] = {
        "id": new.id,
        "account_id": new.account_id,
        "purpose": new.purpose,
        "live_slot": new.account_id,
        "locator": code.locator,
        "code_hash": _hash(secret, (new.id, new.account_id, new.purpose), code),
        "issued_by": new.issued_by,
        "session_id": None,
        "created_at": epoch(now),
        "expires_at": epoch(now + new.life),
    }
    row = insert(activations).values(**values, failures=0, seal=seals.seal(activations, values))
    try:
        with connection.begin_nested():
            connection.execute(row)
    except IntegrityError as error:
        raise AlreadyExists("another activation of that account was issued at the same moment") from error
    return _activation(values | {"failures": 0})


def revoke(connection: Connection, account_id: str) -> bool:
    """End the account's activation; False where there is none."""
    ended = connection.execute(update_rows(activations).where(_A.live_slot == account_id).values(**_ENDED))
    return ended.rowcount > 0


def waiting(connection: Connection, seals: Sealer, account_id: str, now: datetime) -> Activation | None:
    """The account's live activation, whether its code was typed or not."""
    row = connection.execute(select(activations).where(_A.live_slot == account_id, _live(now))).one_or_none()
    return None if row is None or not seals.holds(activations, row) else _activation(row._mapping)


def open_with(
    connection: Connection,
    seals: Sealer,
    secret: Callable[[str], bytes],
    *,
    account_id: str,
    code: Code,
    session_id: str,
    life: timedelta,
    now: datetime,
) -> Tried:
    """Try a code for an account.  What is asked of the database does not depend on what there is (OTP-11).

    1. The activation that the code finds, with its row locked.  2. The code, in constant time.  3. Once, by a
    conditional update: of two that type it at once, one has it.

    :param account_id: empty where there is no such account, or it may not sign in.
    :param session_id: the browser's session that what is opened belongs to.
    :param life: of what is opened.
    """
    query = select(activations).where(_A.live_slot == account_id, _A.locator == code.locator, _unopened(now))
    row = connection.execute(query.with_for_update()).one_or_none()
    found = row if row is not None and seals.holds(activations, row) else None
    about = ("", "", "") if found is None else (found.id, found.account_id, found.purpose)
    kept = "" if found is None else found.code_hash
    right = hmac.compare_digest(_hash(secret, about, code).encode(), kept.encode())
    values = {"session_id": session_id, "expires_at": epoch(now + life), "code_hash": ""}
    if found is None or not right:
        connection.execute(update_rows(activations).where(_A.id == about[0]).values(failures=_A.failures + 1))
        failures = 0 if found is None else found.failures + 1
        return Tried(None if found is None else _activation(found._mapping), opened=False, failures=failures)
    after = {**found._mapping, **values}
    opened = connection.execute(
        update_rows(activations)
        .where(_A.id == found.id, _unopened(now))
        .values(**values, seal=seals.seal(activations, after))
    )
    return Tried(_activation(after), opened=opened.rowcount == 1, failures=found.failures)


def of_session(connection: Connection, seals: Sealer, session_id: str, now: datetime) -> Activation | None:
    """What a code opened in this browser's session and is not over."""
    live = (_A.session_id == session_id, _A.live_slot.is_not(None), _A.seal != NO_SEAL, _A.expires_at > epoch(now))
    rows = [row for row in connection.execute(select(activations).where(*live)).all() if seals.holds(activations, row)]
    return _activation(rows[-1]._mapping) if rows else None


def proceed(connection: Connection, activation_id: str, session_id: str, now: datetime, *, last: bool) -> None:
    """Something is bound to the account by it: it still is open, in this session.  Call it in that transaction.

    :param last: and that was all; it ends.
    :raises ActivationLost: it is over, or another session's.
    """
    still = (_A.id == activation_id, _A.session_id == session_id, _A.seal != NO_SEAL, _A.expires_at > epoch(now))
    changed = connection.execute(
        update_rows(activations).where(*still).values(**(_ENDED if last else {"failures": _A.failures}))
    )
    if changed.rowcount != 1:
        raise ActivationLost("the activation is over")


def _live(now: datetime) -> Any:
    return (_A.expires_at > epoch(now)) & (_A.seal != NO_SEAL) & (_A.failures < MAX_FAILURES)


def _unopened(now: datetime) -> Any:
    return _live(now) & _A.session_id.is_(None)


def _hash(secret: Callable[[str], bytes], about: tuple[str, str, str], code: Code) -> str:
    """Of the secret part of a code.

    :param about: the activation, the account, the purpose.
    """
    return tag(secret(_KEY), {"about": list(about), "code": code.letters[LOCATOR:]})


def _activation(row: Mapping[Any, Any]) -> Activation:
    return Activation(
        row["id"],
        row["account_id"],
        next(purpose for purpose in PURPOSES if purpose == row["purpose"]),
        row["locator"],
        row["issued_by"],
        row["session_id"],
        row["failures"],
        from_epoch(row["created_at"]),
        from_epoch(row["expires_at"]),
    )
