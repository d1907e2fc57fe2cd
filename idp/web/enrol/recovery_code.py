"""Making recovery codes: shown once, to be printed or written down; new ones take the place of all earlier ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from idp.authn import recovery
from idp.errors import InputRefused
from idp.storage import boxes
from idp.storage import recovery as codes
from idp.storage.accounts import Account
from idp.storage.authenticators import NewAuthenticator
from idp.storage.enrolments import Enrolment, about
from idp.web.enrol.registry import Enroller, Prepared
from idp.web.prove.recovery_code import KIND, key
from idp.web.services import services


def _prepare(enrolment_id: str, account: Account) -> Prepared:
    made = json.dumps(recovery.make(services().random)).encode()
    owner = about(enrolment_id, account.id, KIND)
    return Prepared(boxes.close(services().keys.secret, services().random, owner, made))


def _values(enrolment: Enrolment, _account: Account) -> Mapping[str, Any]:
    return {"codes": _made(enrolment), "made_at": enrolment.created_at}


def _confirm(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> NewAuthenticator:
    if form.get("kept") != "yes":
        raise InputRefused("the person does not say that the codes are kept")
    return NewAuthenticator(enrolment.id, account.id, KIND)


def _bound(connection: Connection, enrolment: Enrolment, new: NewAuthenticator) -> None:
    read = (recovery.read(code) or "" for code in _made(enrolment))
    digests = [recovery.digest(key(), new.account_id, new.id, code) for code in read]
    codes.keep(connection, new.account_id, new.id, digests, services().clock.now())


def _made(enrolment: Enrolment) -> tuple[str, ...]:
    owner = about(enrolment.id, enrolment.account_id, KIND)
    return tuple(json.loads(boxes.unlock(services().keys.secret, owner, enrolment.secret_box)))


ENROLLER: Final = Enroller(KIND, "enrol_recovery_code.html", _prepare, _values, _confirm, _bound)
