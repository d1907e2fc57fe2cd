"""A password, by its owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from idp.authn.password import Passwords
from idp.errors import EnrolmentRefused
from idp.storage.accounts import Account
from idp.storage.authenticators import NewAuthenticator
from idp.storage.enrolments import Enrolment
from idp.web.enrol.registry import Enroller, Prepared
from idp.web.services import services

KIND: Final = "password"


def _prepare(_enrolment_id: str, _account: Account) -> Prepared:
    return Prepared()


def _values(_enrolment: Enrolment, _account: Account) -> Mapping[str, Any]:
    return {"least": services().settings.password.min_length}


def _confirm(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> NewAuthenticator:
    text = form.get("password", "")
    if text != form.get("again", ""):
        raise EnrolmentRefused("the two are not the same")
    encoded = Passwords(services().settings.password).hash(text)
    return NewAuthenticator(enrolment.id, account.id, KIND, secret_hash=encoded)


ENROLLER: Final = Enroller(KIND, "enrol_password.html", _prepare, _values, _confirm)
