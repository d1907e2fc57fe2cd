"""Enrolments of one account that end at one time: the second sees the first; on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest

from idp.storage import authenticators, notices
from idp.storage.accounts import Account
from idp.storage.authenticators import NewAuthenticator
from idp.storage.engine import reading
from idp.storage.enrolments import Enrolment
from idp.web.enrol import registry
from tests.fakes.idp import EMAIL, Idp, make_idp
from tests.unit.idp_web.factors import POLICY, enrolment

PATIENCE = 10
FIRST, SECOND = "+34600000071", "+34600000072"


@pytest.fixture
def idp(tmp_path: Path, database_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, database_url, policy=POLICY)
    yield made
    made.engine.dispose()


@pytest.mark.parametrize(
    ("kind", "by", "addresses"),
    [("sms_otp", "email_otp", (FIRST, SECOND)), ("email_otp", "sms_otp", ("one@example.org", "two@example.org"))],
)
def test_OTP_08_of_two_first_addresses_at_once_the_second_is_a_change(
    idp: Idp, kind: str, by: str, addresses: tuple[str, str]
) -> None:
    """It counts later, and the first one is told: whoever proves one first is not pushed aside by who comes next."""
    who = idp.add_account("bert", **({"phone": None, "email": EMAIL} if kind == "sms_otp" else {}))
    _let_judgements_meet(idp, kind)
    typed = []
    for address in addresses:
        idp.clock.advance(60)
        browser = idp.client()
        idp.sign_in(browser, browser.get("/account/").location, "bert")
        path = enrolment(idp, browser, kind, by=by)
        assert idp.post(browser, path, "/send", address=address).status_code == 303
        typed.append((browser, path, {"csrf_token": idp.csrf(browser, path), "code": idp.inbox.code}))
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda each: each[0].post(each[1], data=each[2]), typed))
    assert [answer.location for answer in answers] == ["/account/", "/account/"]
    with reading(idp.engine) as connection:
        owned = [item for item in authenticators.of_account(connection, idp.seals, who) if item.kind == kind]
        told = notices.due(connection, idp.seals, idp.clock.now() + timedelta(days=1), 10)
    (first,), (second,) = ([item for item in owned if item.disabled is gone] for gone in (True, False))
    assert first.not_before == idp.clock.now(), "the first counted at once"
    assert second.not_before == idp.clock.now() + timedelta(hours=72)
    assert (kind, first.address, "replaced") in {(note.channel, note.address, note.change) for note in told}


def _let_judgements_meet(idp: Idp, kind: str) -> None:
    """Both codes are found right before either of the two addresses is bound."""
    kinds = idp.app.extensions[registry._EXTENSION]
    meet, confirm = Barrier(2), kinds[kind].confirm

    def confirmed(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> NewAuthenticator:
        new: NewAuthenticator = confirm(enrolment, account, form)
        meet.wait(PATIENCE)
        return new

    kinds[kind] = replace(kinds[kind], confirm=confirmed)
