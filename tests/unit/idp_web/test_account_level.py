"""The account's pages are opened by what the policy asks of somebody who signs in, not by the first thing proved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from tests.fakes.idp import POLICY, Idp, make_idp

Making = Callable[[str], AbstractContextManager[Idp]]

TWO_FACTORS = """\
  - id: own-pages
    action: sign_in
    when: {client: privyseal-account}
    require: substantial
"""
EACH_TIME = """\
  - id: own-pages
    action: sign_in
    when: {client: privyseal-account}
    require: low
    evidence:
      - {factor: sms_otp, per_transaction: true}
"""


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """Makes an identity provider with one rule more."""

    @contextmanager
    def made(rule: str) -> Iterator[Idp]:
        idp = make_idp(tmp_path, policy=POLICY + rule.encode())
        try:
            yield idp
        finally:
            idp.engine.dispose()

    return made


def pages(idp: Idp, method: str) -> Iterator[Rule]:
    """Those of the account; adding and removing factors are interactions of their own, and signing out is anybody's."""
    for rule in idp.app.url_map.iter_rules():
        own = rule.endpoint.startswith("account.") and rule.endpoint != "account.sign_out"
        if own and method in (rule.methods or ()):
            yield rule


def half_signed_in(idp: Idp) -> FlaskClient:
    """Somebody who has typed a password and not yet the code that has to follow, where they began."""
    browser = idp.client()
    path = browser.get("/account/").location
    assert idp.sign_in(browser, path).location == path, "one more factor"
    return browser


def test_SES_06_what_is_half_proved_in_one_tab_opens_no_page_in_another(making: Making) -> None:
    with making(TWO_FACTORS) as idp:
        browser = half_signed_in(idp)
        seen = list(pages(idp, "GET"))
        assert len(seen) >= 9
        for rule in seen:
            answer = browser.get(rule.rule.replace("<", "").replace(">", ""))
            assert answer.status_code == 303, rule.rule
            assert answer.location.startswith("/interaction/"), rule.rule


def test_SES_06_and_does_nothing_there(making: Making) -> None:
    with making(TWO_FACTORS) as idp:
        victim, browser = idp.client(), half_signed_in(idp)
        # The victim's own session, with both factors: nobody with the password alone ends it.
        path = victim.get("/account/").location
        idp.sign_in(victim, path)
        assert idp.pass_otp(victim, path).location == "/account/"
        token = idp.csrf(browser, browser.get("/account/").location)
        seen = list(pages(idp, "POST"))
        assert len(seen) >= 8
        for rule in seen:
            form = {"csrf_token": token, "language": "de"}
            answer = browser.post(rule.rule.replace("<", "").replace(">", ""), data=form)
            assert answer.status_code == 303, rule.rule
            assert answer.location.startswith("/interaction/"), rule.rule
        page = victim.get("/account/")
        assert (page.status_code, '<html lang="en">' in page.text) == (200, True), "still signed in, and in English"


def test_once_the_policy_is_content_the_pages_open(making: Making) -> None:
    with making(TWO_FACTORS) as idp:
        browser = half_signed_in(idp)
        path = browser.get("/account/history").location
        assert idp.pass_otp(browser, path).location == "/account/history"
        assert browser.get("/account/history").status_code == 200


def test_a_level_that_has_expired_is_proved_again_before_its_pages_are_seen(making: Making) -> None:
    """The session lives for twelve hours; the level, by its session_limit, for one."""
    with making(TWO_FACTORS) as idp:
        browser = half_signed_in(idp)
        idp.pass_otp(browser, browser.get("/account/").location)
        for _ in range(3):
            assert browser.get("/account/").status_code == 200
            idp.clock.advance(1201)
        expired = browser.get("/account/")
        assert (expired.status_code, expired.location[:13]) == (303, "/interaction/")
        assert 'data-form="sign-in"' in browser.get(expired.location + "?factor=password").text


def test_a_level_that_bears_no_pause_is_proved_again_after_one(making: Making) -> None:
    idle = POLICY.replace(b"    session_limit: 1h\n", b"    session_limit: 1h\n    idle_limit: 10m\n")
    assert idle != POLICY
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.unit.idp_web.test_account_level.POLICY", idle)
        with making(TWO_FACTORS) as idp:
            browser = half_signed_in(idp)
            idp.pass_otp(browser, browser.get("/account/").location)
            idp.clock.advance(599)
            assert browser.get("/account/").status_code == 200
            idp.clock.advance(600)
            assert browser.get("/account/").status_code == 303


def test_what_a_rule_asks_for_each_sign_in_is_asked_once_and_the_page_is_seen(making: Making) -> None:
    with making(EACH_TIME) as idp:
        browser = half_signed_in(idp)
        path = browser.get("/account/").location
        assert idp.pass_otp(browser, path).location == "/account/"
        assert browser.get("/account/").status_code == 200
