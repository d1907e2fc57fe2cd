"""What a browser keeps of a request whose transaction was rolled back; on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.fakes.idp import Idp, make_idp
from tests.unit.idp_web.interactions import plain, signature

COOKIE = "privyseal_session"


@pytest.fixture
def idp(tmp_path: Path, database_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, database_url)
    yield made
    made.engine.dispose()


def refuse_to_record(idp: Idp, what: str) -> None:
    """The database refuses an audit entry, as it does on a full disk, of one kind."""
    sqlite = (
        f"CREATE TRIGGER refuse BEFORE INSERT ON audit_entries WHEN NEW.event = '{what}' "
        "BEGIN SELECT RAISE(ABORT, 'refused'); END"
    )
    function = (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NEW.event = '{what}' THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$"
    )
    trigger = "CREATE TRIGGER refuse BEFORE INSERT ON audit_entries FOR EACH ROW EXECUTE FUNCTION refuse()"
    with idp.engine.begin() as connection:
        for statement in (sqlite,) if connection.dialect.name == "sqlite" else (function, trigger):
            connection.execute(text(statement))


def accept_again(idp: Idp) -> None:
    with idp.engine.begin() as connection:
        on = "" if connection.dialect.name == "sqlite" else " ON audit_entries"
        connection.execute(text(f"DROP TRIGGER refuse{on}"))


def test_OPS_04_AUD_07_a_code_whose_record_fails_is_not_used_up_and_signs_nobody_out(idp: Idp) -> None:
    idp.app.testing = False
    browser = idp.client()
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    refuse_to_record(idp, "otp.accepted")
    assert idp.post(browser, path, "/code", code=idp.inbox.code).status_code >= 500
    accept_again(idp)
    assert browser.get("/account/").status_code == 200
    assert 'data-form="consent"' not in browser.get(path).text
    assert idp.post(browser, path, "/code", code=idp.inbox.code).status_code == 303
    assert idp.approve(browser, path).location.endswith("?ok")


def test_OPS_04_AUD_07_a_wrong_code_whose_record_fails_is_not_judged(idp: Idp) -> None:
    idp.app.testing = False
    browser = idp.client()
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    refuse_to_record(idp, "otp.refused")
    wrong = f"{(int(idp.inbox.code) + 1) % 10**6:06d}"
    answers = [idp.post(browser, path, "/code", code=wrong) for _ in range(7)]
    assert all(answer.status_code >= 500 for answer in answers)
    accept_again(idp)
    assert idp.post(browser, path, "/code", code=idp.inbox.code).status_code == 303


def test_OPS_04_AUD_07_a_sign_in_whose_record_fails_leaves_the_browser_where_it_was(idp: Idp) -> None:
    idp.app.testing = False
    idp.add_account("bob")
    browser = idp.client()
    idp.sign_in(browser, idp.path(browser, plain()))
    before = browser.get_cookie(COOKIE)
    path = idp.path(browser, plain(prompt=("login",)))
    refuse_to_record(idp, "login.succeeded")
    assert idp.sign_in(browser, path, "bob").status_code >= 500
    accept_again(idp)
    assert before is not None
    assert browser.get_cookie(COOKIE) == before
    assert browser.get("/account/").status_code == 200
