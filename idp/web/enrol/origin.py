"""What allowed an enrolment, and what that means for it: the policy's approval, or an activation code.

An approval is of somebody who is signed in.  An activation (:mod:`idp.web.activate`) is of somebody who is not: it
lets them bind what they have not, never replaces what they have, and signs nobody in (ENR-01, ENR-02).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import url_for
from flask_login import current_user
from sqlalchemy import Connection

from idp.authn.methods import SINGLE
from idp.errors import EnrolmentLost
from idp.policy.evidence import MIN_LENGTH_ALONE
from idp.storage import accounts, activations, authenticators, interactions, sessions
from idp.storage.accounts import Account
from idp.storage.activations import Activation
from idp.storage.authenticators import NewAuthenticator
from idp.storage.engine import reading
from idp.storage.enrolments import Enrolment
from idp.web import browser
from idp.web.services import services

FIRST = "password"
"""What an activation begins with; whoever has one goes on with a further factor, and that is all."""
BACKUP = "recovery_code"
"""No way to begin with: it is for whoever loses what they began with."""


@dataclass(frozen=True, slots=True)
class Activated:
    """Somebody whose code opened an activation in this browser."""

    account: Account
    activation: Activation


def activated() -> Activated | None:
    """Whoever is in the middle of an activation in this browser; nobody, where somebody is signed in."""
    session = browser.current()
    if session is None or session.account_id is not None:
        return None
    with reading(services().engine) as connection:
        found = activations.of_session(connection, services().seals, session.id, services().clock.now())
        account = None if found is None else accounts.find(connection, found.account_id)
    return None if found is None or account is None or not account.active else Activated(account, found)


def whose(enrolment: Enrolment) -> Account:
    """The person who may go on with an enrolment of this browser's session.

    :raises EnrolmentLost: it is another person's, nobody is signed in, or the activation is over.
    """
    if enrolment.origin == "activation":
        begun = activated()
        if begun is not None and (begun.activation.id, begun.account.id) == (enrolment.txn, enrolment.account_id):
            return begun.account
    elif current_user.is_authenticated and current_user.account.id == enrolment.account_id:
        account: Account = current_user.account
        return account
    raise EnrolmentLost("the enrolment is another person's")


def proceed(connection: Connection, enrolment: Enrolment, new: NewAuthenticator) -> None:
    """Before an authenticator is bound, in its transaction: what allowed it allows it still.

    The proof may have taken a while.  Whoever was signed out meanwhile, or had what they sign in with reset, does not
    bind another one behind that.  An activation ends with the last one.

    :raises EnrolmentLost: the account or the session has ended, or the person has got one of the kind meanwhile.
    :raises ActivationLost: the activation is over.
    """
    accounts.lock(connection, enrolment.account_id)
    account, now = accounts.find(connection, enrolment.account_id), services().clock.now()
    if account is None or not account.active:
        raise EnrolmentLost("the account was disabled meanwhile")
    if enrolment.origin != "activation":
        _check_session(connection, enrolment, now)
        return
    last = new.kind != FIRST
    activations.proceed(connection, enrolment.txn, enrolment.session_id, now, last=last)
    if not allows(held(connection, enrolment.account_id), new.kind):
        raise EnrolmentLost("an activation replaces nothing")


def _check_session(connection: Connection, enrolment: Enrolment, now: datetime) -> None:
    """:raises EnrolmentLost: the person was signed out meanwhile."""
    limits = services().settings.session
    session = sessions.find_by_id(connection, services().seals, enrolment.session_id, now, limits)
    if session is None or session.account_id != enrolment.account_id:
        raise EnrolmentLost("the session has ended meanwhile")


def bound(connection: Connection, enrolment: Enrolment, new: NewAuthenticator) -> None:
    """Record that an activation bound an authenticator, after it did, in its transaction."""
    if enrolment.origin != "activation":
        return
    services().audit.record(
        connection,
        "activation.used",
        account_id=enrolment.account_id,
        session_id=enrolment.session_id,
        activation_id=enrolment.txn,
        factor=new.kind,
        authenticator_id=new.id,
        finished=new.kind != FIRST,
    )


def held(connection: Connection, account_id: str) -> frozenset[str]:
    """Kinds of authenticators that an account has, and are not disabled."""
    owned = authenticators.of_account(connection, services().seals, account_id)
    return frozenset(item.kind for item in owned if not item.disabled)


def allows(having: frozenset[str], kind: str) -> bool:
    """Whether somebody with these kinds may bind one of another kind by an activation."""
    if FIRST not in having:
        return kind == FIRST
    return kind not in {FIRST, BACKUP} and not (kind in SINGLE and kind in having)


def after(enrolment: Enrolment) -> str:
    """Where the person goes on once it is done: if a password that is too short stopped them, where it did."""
    if enrolment.origin == "approval":
        stopped = _stopped_by_length(enrolment) if enrolment.kind == FIRST else None
        return url_for("account.overview") if stopped is None else url_for("interaction.show", interaction_id=stopped)
    return url_for("activate.show" if enrolment.kind == FIRST else "activate.done")


def _stopped_by_length(enrolment: Enrolment) -> str | None:
    """The latest interaction that waits for a longer password in this browser."""
    session = browser.current()
    typed = [] if session is None else [item for item in session.evidence if item.factor == FIRST]
    if session is None or not typed or typed[-1].min_length is None or typed[-1].min_length >= MIN_LENGTH_ALONE:
        return None
    with reading(services().engine) as connection:
        found = interactions.of_session(connection, services().seals, session.id, services().clock.now())
    return next((item.id for item in found if item.account_id == enrolment.account_id), None)


def back(enrolment: Enrolment) -> str:
    """Where a person goes who does not go on with it."""
    return url_for("activate.show" if enrolment.origin == "activation" else "account.overview")
