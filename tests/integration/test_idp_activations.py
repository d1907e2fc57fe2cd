"""Activations and resets on SQLite and on PostgreSQL, also when several come at one time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from idp.authn.activation import Code, new_code
from idp.authn.resets import ResetFactor
from idp.errors import AlreadyExists, ResetRefused
from idp.storage import accounts, activations, authenticators, resets
from idp.storage.activations import NewActivation
from idp.storage.engine import reading
from idp.storage.resets import NewReset
from idp.web import services as composition
from tests.fakes.idp import NOW, Idp, make_idp
from tests.integration.test_idp_flow import at_once
from tests.unit.idp_web.admin import chain
from tests.unit.idp_web.factors import POLICY

NAME = "newcomer"
CHOSEN = "a long password of her own"
DAY = timedelta(days=1)


@pytest.fixture
def idp(tmp_path: Path, database_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, database_url, policy=POLICY)
    with made.engine.begin() as connection:
        accounts.create(connection, NAME, accounts.NewAccount(NAME, "New Comer"), NOW)
    yield made
    made.engine.dispose()


def issue(idp: Idp, number: int = 1) -> Code:
    code = new_code(lambda count: bytes([number * 7 + at for at in range(count)]))
    with idp.engine.begin() as connection:
        activations.issue(
            connection,
            idp.seals,
            composition.of(idp.app).keys.secret,
            NewActivation(f"a{number}", NAME, "bootstrap", "command_line", DAY),
            code=code,
            now=NOW,
        )
    return code


def ready(idp: Idp, code: Code) -> tuple[FlaskClient, dict[str, str]]:
    browser = idp.client()
    return browser, {"csrf_token": idp.csrf(browser, "/activate"), "username": NAME, "code": code.shown}


def test_ENR_01_of_eight_browsers_that_type_the_right_code_at_once_one_has_it(idp: Idp) -> None:
    code = issue(idp)
    browsers = [ready(idp, code) for _ in range(8)]

    def type_it() -> int:
        browser, fields = browsers.pop()
        return browser.post("/activate", data=fields).status_code

    assert at_once(8, type_it) == {303: 1, 403: 7}
    assert len(chain(idp, "activation.opened")) == 1


def test_ENR_01_one_form_that_is_sent_several_times_at_once_sets_one_password(idp: Idp) -> None:
    browser, fields = ready(idp, issue(idp))
    browser.post("/activate", data=fields)
    page = idp.post(browser, "/activate", "/factors", factor="password").location
    form = {"csrf_token": idp.csrf(browser, page), "password": CHOSEN}
    cookie = browser.get_cookie("privyseal_session")
    assert cookie is not None
    twins = [idp.client() for _ in range(4)]
    for twin in twins:
        twin.set_cookie("privyseal_session", cookie.value)

    def send() -> int:
        return twins.pop().post(page, data=form).status_code

    results = at_once(4, send)
    assert results[303] == 1
    with reading(idp.engine) as connection:
        owned = authenticators.of_account(connection, idp.seals, NAME)
    assert [item.kind for item in owned] == ["password"]
    assert len(chain(idp, "activation.used")) == 1


def test_ENR_01_of_several_that_are_issued_at_once_one_is_live(idp: Idp) -> None:
    numbers = list(range(1, 7))

    def make() -> str:
        try:
            issue(idp, numbers.pop())
        except AlreadyExists:
            return "refused"
        return "issued"

    results = at_once(6, make)
    assert results["issued"] >= 1
    table = activations.activations
    with reading(idp.engine) as connection:
        assert len(connection.execute(select(table.c.id).where(table.c.live_slot == NAME)).all()) == 1
        assert activations.waiting(connection, idp.seals, NAME, NOW) is not None


def test_ENR_03_a_reset_is_decided_on_once_and_one_is_open_at_a_time(idp: Idp) -> None:
    def make(number: int) -> None:
        new = NewReset(f"r{number}", NAME, (ResetFactor("f1", "totp"),), "lost it", idp.alice)
        with idp.engine.begin() as connection:
            resets.propose(connection, idp.seals, new, NOW)

    make(1)
    with pytest.raises(ResetRefused):
        make(2)

    def decide() -> bool:
        with idp.engine.begin() as connection:
            return resets.decide(connection, "r1", "confirmed", idp.alice, NOW)

    assert at_once(6, decide) == {True: 1, False: 5}
    make(3)
    with reading(idp.engine) as connection:
        found = resets.find(connection, idp.seals, "r3")
        assert resets.find(connection, idp.seals, "r1") is None
        assert resets.waiting(connection, idp.seals, NOW + DAY) == ()
    assert found is not None
    assert found.factors == (ResetFactor("f1", "totp"),)
    assert found.expires_at == NOW + DAY
