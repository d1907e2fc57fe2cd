"""What the enrolment of one kind of authenticator consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from flask import Flask, current_app
from sqlalchemy import Connection

from idp.storage.accounts import Account
from idp.storage.authenticators import NewAuthenticator
from idp.storage.enrolments import Enrolment

_EXTENSION: Final = "privyseal.enrol"


def _nothing(_connection: Connection, _enrolment: Enrolment, _new: NewAuthenticator) -> None:
    pass


def _as_it_is(_connection: Connection, _enrolment: Enrolment, new: NewAuthenticator) -> NewAuthenticator:
    return new


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an enrolment begins with, made in the POST that ends its approval."""

    secret_box: str | None = field(default=None, repr=False)
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Enroller:
    """The enrolment of one kind."""

    kind: str
    template: str
    prepare: Callable[[str, Account], Prepared]
    """Of the enrolment's id and the account: makes the seed or the challenge."""
    values: Callable[[Enrolment, Account], Mapping[str, Any]]
    """What the template is told; it only reads."""
    confirm: Callable[[Enrolment, Account, Mapping[str, str]], NewAuthenticator]
    """Of the form: the authenticator to bind.

    :raises EnrolmentRefused: the proof is wrong; it counts as a failure.
    :raises InputRefused: something typed is of no form that is accepted; it does not.
    """
    bound: Callable[[Connection, Enrolment, NewAuthenticator], None] = _nothing
    """What belongs to the binding besides, in its transaction and after it.

    :raises AlreadyExists: somebody else was faster, and nothing is bound.
    """
    settled: Callable[[Connection, Enrolment, NewAuthenticator], NewAuthenticator] = _as_it_is
    """What is bound, where that follows from what the account has: in the transaction of the binding and before it,
    once the account is locked, so that of two at once the second sees the first."""
    send: Callable[[Enrolment, Account, Mapping[str, str]], None] | None = None
    """Of the form: sends a code, where the proof is one that is sent.

    :raises OtpRefused: no message went out.
    :raises AddressRefused: :raises InputRefused: not to this address.
    """


def register(app: Flask, enroller: Enroller) -> None:
    """Add a kind.

    :raises ValueError: it is there already.
    """
    known = cast("dict[str, Enroller]", app.extensions.setdefault(_EXTENSION, {}))
    if enroller.kind in known:
        raise ValueError(f"two enrolments of {enroller.kind}")
    known[enroller.kind] = enroller


def enroller_of(kind: str) -> Enroller | None:
    """How a kind is enrolled; None: not by the person."""
    return cast("dict[str, Enroller]", current_app.extensions[_EXTENSION]).get(kind)


def kinds() -> tuple[str, ...]:
    """Kinds that people enrol themselves."""
    return tuple(cast("dict[str, Enroller]", current_app.extensions[_EXTENSION]))
