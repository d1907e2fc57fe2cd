"""Choosing another password: judged by the rules that hold now, hashed in one of the places there are for that.

The browser in which it is done stays signed in; every other one is signed out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from idp.errors import PasswordRefused
from idp.storage import authenticators
from idp.storage.accounts import Account
from idp.storage.authenticators import NewAuthenticator
from idp.storage.engine import reading
from idp.storage.enrolments import Enrolment
from idp.web import login
from idp.web.enrol.registry import Enroller, Prepared
from idp.web.services import services

KIND: Final = "password"


def _prepare(_enrolment_id: str, _account: Account) -> Prepared:
    return Prepared()


def _values(_enrolment: Enrolment, _account: Account) -> Mapping[str, Any]:
    return {"min_length": services().settings.password.min_length}


def _confirm(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> NewAuthenticator:
    """
    :raises PasswordRefused: it is not accepted; ``unchanged``: it is the one that the person has.
    :raises LoginBusy: too many passwords are being hashed.
    """
    with reading(services().engine) as connection:
        owned = authenticators.of_account(connection, services().seals, account.id)
    present = next((item.secret_hash for item in owned if item.kind == KIND and not item.disabled), None)
    about = (
        services().settings.service_name,
        account.username,
        account.name,
        *(item.address for item in owned if item.kind == "email_otp" and item.address),
    )
    encoded = login.hash_new(form.get("password", ""), about, present)
    if encoded is None:
        raise PasswordRefused("unchanged", "the password is the one that the person has")
    return NewAuthenticator(enrolment.id, account.id, KIND, secret_hash=encoded)


ENROLLER: Final = Enroller(KIND, "enrol_password.html", _prepare, _values, _confirm)
