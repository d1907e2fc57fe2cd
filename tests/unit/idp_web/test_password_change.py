"""Choosing another password on the account's pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from idp.errors import LoginBusy, LoginCrowded
from idp.settings import PasswordSettings
from idp.storage import authenticators
from idp.storage.engine import reading
from idp.web import login
from tests.fakes.idp import PASSWORD, Idp, make_idp
from tests.unit.idp_web.factors import ALONE, POLICY, enrolment

NEW = "ein Käfer im Klee, zweimal"


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    listed = tmp_path / "blocked.txt"
    listed.write_text("a sentence of ours\n")
    costs = PasswordSettings(memory_kib=64, iterations=1, blocklist_file=listed, blocked_words=("Musterbank",))
    made = make_idp(tmp_path, policy=POLICY, password=costs)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    return idp.client()


def sign_in(idp: Idp, browser: FlaskClient, password: str) -> TestResponse:
    """Sign in to the account page."""
    return idp.sign_in(browser, browser.get("/account/").location, password=password)


def test_the_form_lets_managers_paste_and_generate_and_limits_nothing_but_the_least_length(
    idp: Idp, browser: FlaskClient
) -> None:
    page = browser.get(enrolment(idp, browser, "password")).text
    field = page.partition('<input id="password"')[2].partition(">")[0]
    assert 'autocomplete="new-password"' in field
    assert 'minlength="8"' in field
    assert not {"maxlength", "pattern", "onpaste", "readonly"} & set(field.replace("=", " ").split())
    assert 'autocomplete="username"' in page


def test_under_revision_4_a_password_that_stands_alone_has_fifteen_characters_whatever_the_settings_say(
    tmp_path: Path,
) -> None:
    """NIST SP 800-63B r4 3.1.1.2."""
    idp = make_idp(tmp_path, policy=ALONE)
    browser = idp.client()
    path = enrolment(idp, browser, "password")
    page = browser.get(path).text
    assert 'minlength="15"' in page
    assert "At least 15 characters" in page
    refused = idp.post(browser, path, password="kxqw vzjt mfpb")
    assert (refused.status_code, "at least 15 characters" in refused.text) == (400, True)
    assert idp.post(browser, path, password="kxqw vzjt mfpb7").status_code == 303
    idp.engine.dispose()


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("sh0rt", "It needs at least 8 characters."),
        ("a quiet river " * 20, "It may have up to 256 characters."),
        ("x" * 2000, "It may have up to 256 characters."),
        ("with a\nline break", "a character that cannot be typed everywhere"),
        ("Password123", "Many people use this password"),
        ("A Sentence of Ours", "Many people use this password"),
        ("alice.example", "your name or ours"),
        ("MusterBank2026", "your name or ours"),
        ("abababababab", "repeats itself or follows a row of keys"),
        (PASSWORD, "the password that you have now"),
    ],
)
def test_a_password_that_is_refused_is_refused_with_its_reason_and_another_one_may_be_typed(
    idp: Idp, browser: FlaskClient, password: str, why: str
) -> None:
    path = enrolment(idp, browser, "password")
    for _ in range(6):
        refused = idp.post(browser, path, password=password)
    assert refused.status_code == 400
    assert why in refused.text
    assert password not in refused.text
    assert idp.post(browser, path, password=NEW).status_code == 303


def test_SES_03_a_changed_password_ends_every_other_session_and_the_former_one_is_worth_nothing(
    idp: Idp, browser: FlaskClient
) -> None:
    elsewhere = idp.client()
    sign_in(idp, elsewhere, PASSWORD)
    assert elsewhere.get("/account/").status_code == 200
    path = enrolment(idp, browser, "password")
    assert idp.post(browser, path, password=NEW).location == "/account/"
    assert browser.get("/account/").status_code == 200
    assert elsewhere.get("/account/").status_code == 303
    assert sign_in(idp, idp.client(), PASSWORD).status_code == 403
    # The same characters from a keyboard that keeps accents apart.
    assert sign_in(idp, idp.client(), NEW.replace("ä", "a\u0308")).status_code == 303
    with reading(idp.engine) as connection:
        owned = authenticators.of_kind(connection, idp.seals, idp.alice, "password")
    assert owned is not None
    assert (owned.secret_hash or "").startswith("k1$argon2id$")


@pytest.mark.parametrize(("error", "status"), [(LoginBusy, 503), (LoginCrowded, 429)])
def test_DOS_03_where_all_places_are_taken_the_change_is_put_off_and_nothing_is_lost(
    idp: Idp, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch, error: type[LoginBusy], status: int
) -> None:
    path = enrolment(idp, browser, "password")

    def busy(*_values: object) -> str | None:
        raise error("no place")

    with monkeypatch.context() as patch:
        patch.setattr(login, "hash_new", busy)
        put_off = idp.post(browser, path, password=NEW)
    assert (put_off.status_code, put_off.headers["Retry-After"]) == (status, "5")
    assert idp.post(browser, path, password=NEW).status_code == 303
