"""Authenticators: what an account can prove itself with, and how often that failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from foundation.clock import epoch, from_epoch
from idp.authn.methods import MESSAGES
from idp.authn.otp import mask
from idp.authn.password import back_off_seconds
from idp.errors import AlreadyExists, InputRefused, NoSuchFactor
from idp.storage.models import accounts, authenticators
from idp.storage.seal import NO_SEAL, Sealer, change
from idp.storage.statements import Statement

_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}\Z", re.ASCII)
# What RFC 5321 allows in a mailbox and nothing that means something in a header; no quoted local parts.
_MAIL: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z", re.ASCII
)
MAX_PASSWORD_FAILURES: Final = 100
"""Consecutive ones, after which an administrator has to set another password (NIST SP 800-63B r4 3.2.2).  Strangers do
not come so far: see :data:`idp.authn.device.MAX_STRANGERS_FAILURES`."""
_LABEL_MAX: Final = 64
_ENDED: Final[Mapping[str, Any]] = {"seal": NO_SEAL, "lookup": None, "secret_box": None}
# Made once: putting a statement together takes longer than the database's answer.
_OF_ACCOUNT: Final = Statement(
    select(authenticators)
    .where(authenticators.c.account_id == bindparam("owner"))
    .order_by(authenticators.c.created_at, authenticators.c.id)
)
_OF_USERNAME: Final = Statement(
    select(authenticators)
    .where(
        authenticators.c.account_id
        == select(accounts.c.id).where(accounts.c.username == bindparam("wanted_name")).scalar_subquery()
    )
    .order_by(authenticators.c.created_at, authenticators.c.id)
)
_TO_LOCK: Final = Statement(select(authenticators).where(authenticators.c.id == bindparam("wanted")).with_for_update())
_TO_COUNT: Final = Statement(update(authenticators).where(authenticators.c.id == bindparam("wanted")))
"""What an authenticator that is disabled no longer has."""
_SALT_AND_HASH: Final = 67
"""Characters of an encoded argon2id hash after its costs: ``$``, 16 octets, ``$``, 32 octets in base64."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """One authenticator of one account."""

    id: str
    account_id: str
    kind: str
    """One of :data:`idp.policy.evidence.FACTOR_CATEGORIES`."""
    address: str | None = field(repr=False)
    secret_hash: str | None = field(repr=False)
    failures: int
    """Consecutive ones."""
    blocked_until: datetime
    last_success_at: datetime
    disabled: bool
    not_before: datetime
    created_at: datetime
    label: str = ""
    """What the person calls it."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What is public about it, by its kind."""
    secret_box: str | None = field(default=None, repr=False)
    """A seed, encrypted: see :mod:`idp.storage.boxes`."""
    lookup: str | None = None
    """By what it is found before anybody has said who they are."""
    counter: int = 0
    """The last step of a clock, the next event of a counter, a passkey's signature counter."""

    def usable(self, now: datetime) -> bool:
        """Whether it counts: enabled, and not so new that it does not yet (OTP-08)."""
        return not self.disabled and self.not_before <= now

    @property
    def masked_address(self) -> str:
        """Enough of its address to recognise one's own; empty for kinds without one."""
        return mask(self.kind, self.address or "") if self.kind in MESSAGES else ""

    @property
    def recognised_by(self) -> str:
        """By what its person knows which one is meant: a masked address, or what they call it; may be empty."""
        return self.masked_address or self.label

    @property
    def last_used(self) -> datetime | None:
        """When it was last accepted; None: never."""
        return self.last_success_at if epoch(self.last_success_at) > 0 else None


@dataclass(frozen=True, slots=True)
class NewAuthenticator:
    """What is to be bound to an account."""

    id: str
    account_id: str
    kind: str
    address: str | None = None
    secret_hash: str | None = field(default=None, repr=False)
    not_before: datetime | None = None
    label: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    secret_box: str | None = field(default=None, repr=False)
    lookup: str | None = None
    counter: int = 0


def check_label(text: str) -> str:
    """A name that a person gives to an authenticator.

    :raises InputRefused: longer than 64 characters, or not printable.
    """
    label = " ".join(text.split())
    if len(label) > _LABEL_MAX or not label.isprintable():
        raise InputRefused(f"a name has at most {_LABEL_MAX} printable characters")
    return label


def check_address(kind: str, address: str) -> str:
    """An address in the form in which messages may be sent to it (OTP-10).

    :raises InputRefused: anything else.
    """
    text = address.strip()
    if kind == "sms_otp":
        text = re.sub(r"[ ()./-]", "", text)
        if not _PHONE.match(text):
            raise InputRefused("a phone number is a plus sign and 7 to 15 digits (E.164)")
        return text
    if not _MAIL.match(text) or ".." in text:
        raise InputRefused("that is not a mail address")
    return text


def add(
    connection: Connection,
    seals: Sealer,
    *,
    authenticator_id: str,
    account_id: str,
    kind: str,
    now: datetime,
    address: str | None = None,
    secret_hash: str | None = None,
    not_before: datetime | None = None,
) -> None:
    """Add an authenticator; a changed address is a new authenticator, with ``not_before`` in the future.

    :raises InputRefused: the address is of no form that messages may be sent to.
    """
    bind(
        connection,
        seals,
        NewAuthenticator(authenticator_id, account_id, kind, address, secret_hash, not_before),
        now,
    )


def bind(connection: Connection, seals: Sealer, new: NewAuthenticator, now: datetime) -> None:
    """Add an authenticator of any kind.

    :raises InputRefused: the address or the label is of no form that is accepted.
    :raises AlreadyExists: an enabled one with this ``lookup`` is there, whosever it is.
    """
    values: dict[str, Any] = {
        "id": new.id,
        "account_id": new.account_id,
        "kind": new.kind,
        "address": None if new.address is None else check_address(new.kind, new.address),
        "secret_hash": new.secret_hash,
        "label": check_label(new.label),
        "data": dict(new.data),
        "secret_box": new.secret_box,
        "lookup": new.lookup,
        "not_before": epoch(new.not_before or now),
        "created_at": epoch(now),
    }
    row = insert(authenticators).values(**values, counter=new.counter, seal=seals.seal(authenticators, values))
    try:
        with connection.begin_nested():
            connection.execute(row)
    except IntegrityError as error:
        raise AlreadyExists("this authenticator is bound to an account already") from error


def find_by_lookup(connection: Connection, seals: Sealer, lookup: str) -> Authenticator | None:
    """The enabled authenticator that is found by this, whosever it is."""
    query = select(authenticators).where(authenticators.c.lookup == lookup, authenticators.c.disabled_at.is_(None))
    row = connection.execute(query).one_or_none()
    return None if row is None or not seals.holds(authenticators, row) else _authenticator(row)


def move_counter(connection: Connection, authenticator_id: str, *, above: int, to: int) -> bool:
    """Move the counter on, if nobody has moved it further than ``above``: of two at once, one succeeds (OTP-04)."""
    moved = connection.execute(
        update(authenticators)
        .where(authenticators.c.id == authenticator_id, authenticators.c.counter <= above)
        .values(counter=to)
    )
    return moved.rowcount == 1


def rename(connection: Connection, seals: Sealer, authenticator_id: str, label: str) -> None:
    """Call it something else; nothing happens if it was disabled meanwhile.

    :raises InputRefused: longer than 64 characters, or not printable.
    """
    enabled = (authenticators.c.id == authenticator_id) & authenticators.c.disabled_at.is_(None)
    text = check_label(label)
    change(connection, seals, authenticators, enabled, lambda _: {"label": text})


def remove(connection: Connection, authenticator_id: str, now: datetime) -> bool:
    """Disable an authenticator for good and forget its seed; whether it was enabled."""
    removed = connection.execute(
        update(authenticators)
        .where(authenticators.c.id == authenticator_id, authenticators.c.disabled_at.is_(None))
        .values(disabled_at=epoch(now), **_ENDED)
    )
    return removed.rowcount == 1


def of_account(connection: Connection, seals: Sealer, account_id: str) -> tuple[Authenticator, ...]:
    """The account's authenticators in the order of their enrolment, disabled ones too."""
    return of_account_later(connection, seals, account_id)()


def of_account_later(
    connection: Connection, seals: Sealer, account_id: str
) -> Callable[[], tuple[Authenticator, ...]]:
    """The same, asked for with what comes next."""
    later = _OF_ACCOUNT.put_off(connection, {"owner": account_id})
    return lambda: _believed(seals, later().all())


def _believed(seals: Sealer, rows: Sequence[Row[Any]]) -> tuple[Authenticator, ...]:
    # One that is disabled has no seal any more, and nothing rests on it.
    return tuple(
        _authenticator(row) for row in rows if row.disabled_at is not None or seals.holds(authenticators, row)
    )


def of_username_later(
    connection: Connection, seals: Sealer, username: str, kind: str
) -> Callable[[str], Authenticator | None]:
    """As :func:`of_kind`, of the account of a user name, and asked for with what comes next.

    :returns: gives it for the account's identifier, once that is known.
    """
    later = _OF_USERNAME.put_off(connection, {"wanted_name": username})

    def found(account_id: str) -> Authenticator | None:
        rows = [row for row in later().all() if row.account_id == account_id]
        return _newest(_believed(seals, rows), kind)

    return found


def of_kind(connection: Connection, seals: Sealer, account_id: str, kind: str) -> Authenticator | None:
    """The account's newest authenticator of a kind that is not disabled."""
    return _newest(of_account(connection, seals, account_id), kind)


def _newest(owned: Sequence[Authenticator], kind: str) -> Authenticator | None:
    return next((item for item in reversed(owned) if item.kind == kind and not item.disabled), None)


def changed_since(connection: Connection, account_id: str, since: datetime) -> bool:
    """Whether any authenticator of the account was added, disabled or removed after that second."""
    table, at = authenticators.c, epoch(since)
    query = (
        select(table.id)
        .where(table.account_id == account_id, or_(table.created_at > at, table.disabled_at > at))
        .limit(1)
    )
    return connection.execute(query).first() is not None


def find_locked(connection: Connection, authenticator_id: str) -> Authenticator | None:
    """The authenticator, if there is one, with its row locked until the transaction ends: counting must not race.

    Its seal is not looked at: whoever relies on more than the counts has read it with :func:`of_account` before.
    """
    return locked_later(connection, authenticator_id)()


def locked_later(connection: Connection, authenticator_id: str) -> Callable[[], Authenticator | None]:
    """The same, asked for with what comes next in the transaction."""
    later = _TO_LOCK.put_off(connection, {"wanted": authenticator_id})

    def found() -> Authenticator | None:
        row = later().one_or_none()
        return None if row is None else _authenticator(row)

    return found


def lock(connection: Connection, authenticator_id: str) -> Authenticator:
    """The authenticator, which is there: see :func:`find_locked`."""
    found = find_locked(connection, authenticator_id)
    if found is None:
        raise NoSuchFactor("there is no such authenticator")
    return found


def succeeded(connection: Connection, authenticator_id: str, now: datetime) -> None:
    """A success: the count of consecutive failures begins anew, for this authenticator only."""
    values = {"failures": 0, "blocked_until": 0, "last_success_at": epoch(now)}
    _TO_COUNT.put_off(connection, {**values, "wanted": authenticator_id})


def failed(connection: Connection, authenticator_id: str, now: datetime, *, most: int, back_off: bool = False) -> int:
    """A failure; returns how many there were in a row, of which ``most`` disable the authenticator.

    :param back_off: also block it for a while, longer each time, for browsers that are not known.
    """
    failures = lock(connection, authenticator_id).failures + 1
    values: dict[str, Any] = {"failures": failures}
    if back_off:
        values["blocked_until"] = epoch(now) + back_off_seconds(failures)
    if failures >= most:
        values |= {"disabled_at": epoch(now), **_ENDED}
    connection.execute(update(authenticators).where(authenticators.c.id == authenticator_id).values(**values))
    return failures


def count_nothing(connection: Connection) -> None:
    """The statements of :func:`failed` for an authenticator that does not exist."""
    nobody = authenticators.c.id == ""
    _TO_LOCK(connection, {"wanted": ""})
    connection.execute(update(authenticators).where(nobody).values(failures=0, blocked_until=0))


def replace(
    connection: Connection,
    seals: Sealer,
    *,
    authenticator_id: str,
    account_id: str,
    kind: str,
    now: datetime,
    address: str | None = None,
    secret_hash: str | None = None,
    not_before: datetime | None = None,
) -> None:
    """Bind a new authenticator in place of those of its kind, which are disabled for good.

    :raises InputRefused: the address is of no form that messages may be sent to.
    """
    connection.execute(
        update(authenticators)
        .where(
            authenticators.c.account_id == account_id,
            authenticators.c.kind == kind,
            authenticators.c.disabled_at.is_(None),
        )
        .values(disabled_at=epoch(now), **_ENDED)
    )
    add(
        connection,
        seals,
        authenticator_id=authenticator_id,
        account_id=account_id,
        kind=kind,
        now=now,
        address=address,
        secret_hash=secret_hash,
        not_before=not_before,
    )


def change_secret(connection: Connection, seals: Sealer, authenticator_id: str, secret_hash: str) -> None:
    """Store the same password's hash with other costs; nothing happens if it was disabled meanwhile."""
    enabled = (authenticators.c.id == authenticator_id) & authenticators.c.disabled_at.is_(None)
    change(connection, seals, authenticators, enabled, lambda _: {"secret_hash": secret_hash})


def hashes_of_all_costs(connection: Connection) -> tuple[str, ...]:
    """Of each of the costs that people's passwords are hashed with, one hash."""
    hashes = authenticators.c.secret_hash
    costs = func.substr(hashes, 1, func.length(hashes) - _SALT_AND_HASH)
    query = (
        select(func.min(hashes)).where(hashes.is_not(None), authenticators.c.disabled_at.is_(None)).group_by(costs)
    )
    return tuple(connection.execute(query).scalars())


def _authenticator(row: Row[Any]) -> Authenticator:
    return Authenticator(
        id=row.id,
        account_id=row.account_id,
        kind=row.kind,
        address=row.address,
        secret_hash=row.secret_hash,
        failures=row.failures,
        blocked_until=from_epoch(row.blocked_until),
        last_success_at=from_epoch(row.last_success_at),
        disabled=row.disabled_at is not None,
        not_before=from_epoch(row.not_before),
        created_at=from_epoch(row.created_at),
        label=row.label,
        data=row.data,
        secret_box=row.secret_box,
        lookup=row.lookup,
        counter=row.counter,
    )


def kinds_of_everybody(connection: Connection) -> tuple[frozenset[str], ...]:
    """The kinds that each active person has and could use; for statistics, so seals are not looked at."""
    found: dict[str, set[str]] = {}
    rows = connection.execute(
        select(accounts.c.id, authenticators.c.kind)
        .join_from(accounts, authenticators, authenticators.c.account_id == accounts.c.id, isouter=True)
        .where(accounts.c.status == "active", authenticators.c.disabled_at.is_(None))
    )
    for account_id, kind in rows:
        found.setdefault(account_id, set()).update(() if kind is None else (kind,))
    return tuple(frozenset(kinds) for kinds in found.values())
