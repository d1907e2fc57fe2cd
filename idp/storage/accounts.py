"""Accounts: who there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, cast

from sqlalchemy import Connection, Row, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from foundation.clock import epoch
from idp.errors import AlreadyExists, InputRefused, UnknownAccount
from idp.policy.keys import ATTRIBUTE, ATTRIBUTE_FORM
from idp.policy.model import PROOFING, Proofing
from idp.storage.models import accounts
from idp.storage.statements import Later, Statement

_USERNAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,126}[a-z0-9])?\Z", re.ASCII)
_COUNTRY: Final = re.compile(r"[A-Z]{2}\Z", re.ASCII)
_NAME_MAX: Final = 64
_DESCRIBED_MAX: Final = 255
_BY_ID: Final = Statement(select(accounts).where(accounts.c.id == bindparam("account_id")))
_BY_USERNAME: Final = Statement(select(accounts).where(accounts.c.username == bindparam("wanted")))


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an administrator states about a person."""

    username: str
    name: str
    """As a certificate's common name is to read."""
    given_name: str | None = None
    surname: str | None = None
    country: str | None = None
    """ISO 3166-1 alpha-2."""
    serial_number: str | None = None
    """ETSI EN 319 412-1 5.1.3, such as ``PNOES-12345678``; goes into the certificate."""
    locale: str | None = None
    proofing: Proofing = "none"
    groups: tuple[str, ...] = ()
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For the policy's conditions."""


@dataclass(frozen=True, slots=True)
class Account:
    """A person as this identity provider knows them."""

    id: str
    username: str
    status: str
    """``active`` or ``disabled``."""
    name: str
    given_name: str | None
    surname: str | None
    country: str | None
    serial_number: str | None
    locale: str | None
    proofing: Proofing
    groups: frozenset[str]
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether the person may sign in."""
        return self.status == "active"


def normalise_username(text: str) -> str:
    """User names do not tell upper from lower case, nor surrounding blanks."""
    return text.strip().lower()


def create(connection: Connection, account_id: str, new: NewAccount, now: datetime) -> Account:
    """Add an account.

    :raises InputRefused: a field is not of its form.
    :raises AlreadyExists: the user name is taken.
    """
    check_new(new)
    values = {
        "id": account_id,
        "username": normalise_username(new.username),
        "status": "active",
        "name": new.name,
        "given_name": new.given_name,
        "surname": new.surname,
        "country": new.country,
        "serial_number": new.serial_number,
        "locale": new.locale,
        "proofing": new.proofing,
        "groups": sorted(new.groups),
        "attributes": _attributes_json(new.attributes),
        "created_at": epoch(now),
    }
    try:
        with connection.begin_nested():
            connection.execute(insert(accounts).values(**values))
    except IntegrityError as error:
        raise AlreadyExists(f"there is an account with the user name {values['username']!r}") from error
    found = find(connection, account_id)
    if found is None:
        raise UnknownAccount("the account vanished while it was being made")
    return found


def check_new(new: NewAccount) -> None:
    """What is stated about a person is of its form.

    :raises InputRefused: something is not.
    """
    if not _USERNAME.match(normalise_username(new.username)):
        raise InputRefused("a user name is 1 to 128 of a-z, 0-9 and . _ @ + -, a letter or digit first and last")
    for label, text in (("name", new.name), ("given name", new.given_name), ("surname", new.surname)):
        if text is not None and (not 1 <= len(text) <= _NAME_MAX or not text.isprintable() or text != text.strip()):
            raise InputRefused(f"a {label} is 1 to {_NAME_MAX} printable characters")
    if new.country is not None and not _COUNTRY.match(new.country):
        raise InputRefused("a country is two capital letters (ISO 3166-1 alpha-2)")
    if new.proofing not in PROOFING:
        raise InputRefused(f"proofing is one of {', '.join(PROOFING)}")
    _check_described(new.groups, new.attributes)


def _check_described(groups: Collection[str], attributes: Mapping[str, tuple[str, ...]]) -> None:
    """What a policy's file could name, so that its conditions can be met."""
    for name in attributes:
        if not ATTRIBUTE.fullmatch(name):
            raise InputRefused(f"the name of an attribute is {ATTRIBUTE_FORM}")
    for text in (*groups, *(value for values in attributes.values() for value in values)):
        if not 1 <= len(text) <= _DESCRIBED_MAX or not text.isprintable() or text != text.strip():
            raise InputRefused(f"a group or the value of an attribute is 1 to {_DESCRIBED_MAX} printable characters")


def _attributes_json(attributes: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(dict.fromkeys(values)) for name, values in sorted(attributes.items())}


def find(connection: Connection, account_id: str) -> Account | None:
    """The account, or None."""
    row = _BY_ID(connection, {"account_id": account_id}).one_or_none()
    return None if row is None else _account(row)


def later(connection: Connection, account_id: str) -> Callable[[], Account | None]:
    """The same, asked for with what comes next in the transaction."""
    return _later(_BY_ID.put_off(connection, {"account_id": account_id}))


def lock(connection: Connection, account_id: str) -> None:
    """Nobody else changes what belongs to the account until the transaction ends.

    Rows that only name the account may be added meanwhile: whoever proves something writes such, and has locked what
    the holder of this lock waits for.
    """
    connection.execute(select(accounts.c.id).where(accounts.c.id == account_id).with_for_update(key_share=True))


def find_by_username(connection: Connection, username: str) -> Account | None:
    """The account of that user name, or None."""
    return by_username_later(connection, username)()


def by_username_later(connection: Connection, username: str) -> Callable[[], Account | None]:
    """The same, asked for with what comes next."""
    return _later(_BY_USERNAME.put_off(connection, {"wanted": normalise_username(username)}))


def _later(asked: Later) -> Callable[[], Account | None]:
    def found() -> Account | None:
        row = asked().one_or_none()
        return None if row is None else _account(row)

    return found


def having(connection: Connection, column: Literal["username", "serial_number"], value: str) -> tuple[Account, ...]:
    """The accounts with this very value; two at most, since two are as good as none."""
    rows = connection.execute(select(accounts).where(accounts.c[column] == value).order_by(accounts.c.id).limit(2))
    return tuple(_account(row) for row in rows.all())


def set_status(connection: Connection, account_id: str, status: str) -> None:
    """Disable or enable an account.

    :raises UnknownAccount: there is none of that id.
    """
    changed = connection.execute(update(accounts).where(accounts.c.id == account_id).values(status=status))
    if changed.rowcount != 1:
        raise UnknownAccount("there is no such account")


def set_locale(connection: Connection, account_id: str, locale: str | None) -> None:
    """The language in which the person is spoken to; None: whatever their browser asks for."""
    connection.execute(update(accounts).where(accounts.c.id == account_id).values(locale=locale))


def describe(
    connection: Connection,
    account: Account,
    *,
    groups: tuple[str, ...] | None = None,
    attributes: Mapping[str, tuple[str, ...]] | None = None,
) -> Account:
    """Replace the groups or the attributes; None leaves them.

    :raises InputRefused: one is not of its form.
    """
    _check_described(groups or (), attributes or {})
    values: dict[str, Any] = {}
    if groups is not None:
        values["groups"] = sorted(set(groups))
    if attributes is not None:
        values["attributes"] = _attributes_json(attributes)
    connection.execute(update(accounts).where(accounts.c.id == account.id).values(**values))
    found = find(connection, account.id)
    if found is None:
        raise UnknownAccount("there is no such account")
    return found


def _account(row: Row[Any]) -> Account:
    groups = cast("Collection[str]", row.groups)
    attributes = cast("Mapping[str, list[str]]", row.attributes)
    return Account(
        id=row.id,
        username=row.username,
        status=row.status,
        name=row.name,
        given_name=row.given_name,
        surname=row.surname,
        country=row.country,
        serial_number=row.serial_number,
        locale=row.locale,
        proofing=row.proofing,
        groups=frozenset(groups),
        attributes={name: tuple(values) for name, values in attributes.items()},
    )
