"""What becomes of the session that a browser had before somebody signed in (SES-01, SES-07)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from idp.storage.models import interactions, sessions
from idp.web.interaction import BeginInteraction
from tests.fakes.idp import Idp, make_idp

PLAIN = BeginInteraction("test", "sign_in", "example-contracts", {})
FRESH = BeginInteraction("test", "sign_in", "example-contracts", {}, prompt=("login",))
COOKIE = "privyseal_session"


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path)
    yield made
    made.engine.dispose()


def cookie(browser: FlaskClient) -> str:
    found = browser.get_cookie(COOKIE)
    assert found is not None
    return str(found.value)


def with_cookie(idp: Idp, value: str) -> FlaskClient:
    """Another browser that got hold of a cookie."""
    made = idp.client()
    made.set_cookie(COOKIE, value)
    return made


def live_sessions(idp: Idp) -> list[str | None]:
    with idp.engine.connect() as connection:
        return list(connection.execute(select(sessions.c.account_id).where(sessions.c.revoked_at.is_(None))).scalars())


def test_SES_01_the_session_from_before_the_login_is_over_on_the_server(idp: Idp) -> None:
    browser = idp.client()
    path, other_tab = idp.path(browser, PLAIN), idp.path(browser, PLAIN)
    planted = cookie(browser)
    assert idp.sign_in(browser, path).status_code in {302, 303}
    assert cookie(browser) != planted
    assert live_sessions(idp) == [idp.alice], "the session that an attacker may have planted is revoked"
    attacker = with_cookie(idp, planted)
    for address in (path, other_tab):
        assert attacker.get(address).status_code == 400
    assert attacker.get("/account/").status_code == 303
    assert browser.get(other_tab).status_code == 200, "what the person had begun in another tab goes on"


def test_SES_01_the_session_of_whoever_was_signed_in_before_is_over_too(idp: Idp) -> None:
    bob = idp.add_account("bob", phone=None)
    browser = idp.client()
    idp.sign_in(browser, idp.path(browser, PLAIN))
    of_alice = cookie(browser)
    idp.sign_in(browser, idp.path(browser, FRESH), username="bob")
    assert live_sessions(idp) == [bob]
    assert with_cookie(idp, of_alice).get("/account/").status_code == 303
    assert browser.get("/account/").status_code == 200


def test_SES_07_what_one_person_had_begun_does_not_follow_the_browser_to_the_next(idp: Idp) -> None:
    bob = idp.add_account("bob", phone=None)
    browser = idp.client()
    idp.sign_in(browser, idp.path(browser, PLAIN))
    # Nobody has proved anything in it, since it asks for a new login; it was begun in alice's session all the same.
    begun_by_alice = idp.path(browser, FRESH)
    with idp.engine.connect() as connection:
        identifier = begun_by_alice.rpartition("/")[2]
        query = select(interactions.c.account_id, interactions.c.session_id).where(interactions.c.id == identifier)
        before = connection.execute(query).one()
        assert before.account_id is None
    idp.sign_in(browser, idp.path(browser, FRESH), username="bob")
    assert live_sessions(idp) == [bob]
    assert browser.get(begun_by_alice).status_code == 400
    assert idp.finished[-1].approval is not None
    with idp.engine.connect() as connection:
        assert connection.execute(query).one() == before, "it stays where it was, and ends with that session"
