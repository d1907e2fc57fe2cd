"""Who has a password from before that is too short to stand alone under revision 4: what they see, how they go on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Row, select

from idp.authn.password import Passwords, length_met
from idp.errors import PasswordRefused
from idp.storage import authenticators, models, seal, sessions
from idp.storage.engine import reading
from idp.storage.models import decisions
from idp.web import login
from idp.web.interaction import BeginInteraction
from tests.fakes.idp import Idp, make_idp
from tests.unit.idp_web.factors import ALONE, POLICY, approve

SHORT = "kxqw vzjt mfpb"
"""14 characters."""
LONG = "kxqw vzjt mfpb7"
SIGN_IN = BeginInteraction("test", "sign_in", "shop", {}, client_name="Shop", return_to="https://shop.example/cb")
SUSPENSION = BeginInteraction(
    "test", "credential.suspend", "shop", {}, client_name="Shop", detail={"credential_id": "cred-1"}
)
CHANGEABLE = ALONE.replace(b"account.reset_factor], require: substantial", b"account.reset_factor], require: low", 1)
"""The rules alone let somebody change their factors who has nothing but a password."""


@pytest.fixture
def making(tmp_path: Path) -> Iterator[Callable[[bytes], Idp]]:
    """Makes an identity provider in which alice has a second factor, bob has none, and both have short passwords."""
    made: list[Idp] = []

    def make(policy: bytes) -> Idp:
        idp = make_idp(tmp_path, policy=policy)
        idp.add_account("bob", phone=None)
        for name in ("alice", "bob"):
            give(idp, name, SHORT)
        made.append(idp)
        return idp

    yield make
    for idp in made:
        idp.engine.dispose()


def give(idp: Idp, username: str, password: str) -> None:
    """A password as it was chosen when nothing forbade it."""
    verifier: Passwords = idp.app.extensions["privyseal.passwords"].passwords
    with idp.engine.begin() as connection:
        authenticators.change_secret(connection, idp.seals, f"{username}-password", verifier._hashed(password))


def begin(idp: Idp, username: str, password: str = SHORT, asked: BeginInteraction = SIGN_IN) -> tuple[FlaskClient, str]:
    """Somebody types user name and password; the browser, and where it is then."""
    browser = idp.client()
    path = idp.path(browser, asked)
    assert idp.sign_in(browser, path, username, password).status_code in {302, 303}
    return browser, path


def change(idp: Idp, browser: FlaskClient, path: str) -> str:
    """Follow the page's own way to another password; returns the path of the page that asks for it."""
    page = browser.get(path).text
    form = page.partition('data-form="longer"')[2].partition("</form>")[0]
    action = page.partition('data-form="longer"')[2].partition('action="')[2].partition('"')[0]
    fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form))
    begun = browser.post(action, data=fields)
    return approve(idp, browser, begun.location).location


def test_a_right_password_that_is_too_short_is_told_in_words_and_replaced_on_the_way(
    making: Callable[[bytes], Idp],
) -> None:
    idp = making(CHANGEABLE)
    browser, path = begin(idp, "bob")
    page = browser.get(path)
    assert page.status_code == 403
    assert "<h1>Your password is too short</h1>" in page.text
    assert "that takes 15 characters or more" in page.text
    assert "Choose a longer one now" in page.text
    assert idp.finished == []
    new = change(idp, browser, path)
    assert 'minlength="15"' in browser.get(new).text
    assert idp.post(browser, new, password=SHORT + "!" * 3).location == path, "back to where it stopped"
    waiting = browser.get(path).text
    assert "needs your password once more" in waiting
    assert "too short" not in waiting
    assert idp.sign_in(browser, path, "bob", SHORT).status_code == 403
    assert idp.sign_in(browser, path, "bob", SHORT + "!" * 3).location == "http://rp.localhost:8405/callback?ok"
    approval = idp.finished[-1].approval
    assert approval is not None
    assert [item.min_length for item in approval.evidence] == [15]


def test_who_may_not_change_it_alone_is_told_whom_to_ask(making: Callable[[bytes], Idp]) -> None:
    idp = making(ALONE)
    browser, path = begin(idp, "bob")
    page = browser.get(path).text
    assert "Your password is too short" in page
    assert "ask whoever runs this service to reset it" in page
    assert 'data-form="longer"' not in page
    csrf = idp.csrf(browser, path)
    asked = browser.post("/account/factors/add", data={"csrf_token": csrf, "factor": "password"}).location
    assert browser.get(asked).status_code == 403


def test_a_factor_that_is_out_of_use_and_leads_nowhere_does_not_keep_a_short_password_from_being_replaced(
    making: Callable[[bytes], Idp],
) -> None:
    no_codes = b"      - all_of: [{factor: password}, {factor: %s}]\n        different_categories: 2\n"
    policy = CHANGEABLE.replace(no_codes % b"sms_otp", b"").replace(no_codes % b"email_otp", b"")
    idp = making(policy)
    for item in ("alice-sms_otp", "alice-email_otp"):
        with idp.engine.begin() as connection:
            most = idp.settings.otp.max_wrong_ever
            for _ in range(most):
                authenticators.failed(connection, item, idp.clock.now(), most=most, back_off=False)
    browser, path = begin(idp, "alice")
    new = change(idp, browser, path)
    assert idp.post(browser, new, password=LONG).location == path


def test_ENR_02_a_short_password_alone_replaces_itself_and_adds_nothing(making: Callable[[bytes], Idp]) -> None:
    idp = making(CHANGEABLE)
    browser, path = begin(idp, "bob")
    for kind in ("totp", "sms_otp", "recovery_code"):
        csrf = idp.csrf(browser, path)
        asked = browser.post("/account/factors/add", data={"csrf_token": csrf, "factor": kind}).location
        page = browser.get(asked)
        assert (page.status_code, 'name="binding"' in page.text) == (403, False)


def test_ENR_02_who_has_another_factor_shows_it_before_the_password_is_replaced(
    making: Callable[[bytes], Idp],
) -> None:
    idp = making(CHANGEABLE)
    browser, path = begin(idp, "alice")
    csrf = idp.csrf(browser, path)
    asked = browser.post("/account/factors/add", data={"csrf_token": csrf, "factor": "password"}).location
    page = browser.get(asked).text
    assert "One more step" in page
    assert 'name="binding"' not in page


@pytest.mark.parametrize("policy", [ALONE, CHANGEABLE])
def test_who_has_a_second_factor_is_asked_for_it_and_told_why(making: Callable[[bytes], Idp], policy: bytes) -> None:
    idp = making(policy)
    browser, path = begin(idp, "alice")
    page = browser.get(path)
    assert page.status_code == 200
    assert "needs a second factor of another kind" in page.text
    assert "By itself your password would have to be longer: 15 characters or more." in page.text
    assert "You can choose another one on your account page." in page.text
    assert idp.pass_otp(browser, path).location == "http://rp.localhost:8405/callback?ok"
    account = browser.get("/account/").text
    assert "Shorter than a new one may be: choose one of 15 characters or more." in account


def test_beside_a_second_factor_that_is_asked_for_anyway_nothing_is_said(making: Callable[[bytes], Idp]) -> None:
    idp = making(ALONE + b"  - {id: order, action: credential.suspend, require: substantial}\n")
    browser, path = begin(idp, "alice", asked=SUSPENSION)
    assert "needs a second factor of another kind" in browser.get(path).text
    assert "would have to be longer" not in browser.get(path).text
    assert idp.pass_otp(browser, path).location == path
    assert 'name="binding"' in browser.get(path).text


@pytest.mark.parametrize(
    "policy", [POLICY, POLICY.replace(b"eidas-2015-1502: low", b"eidas-2015-1502: low, nist-800-63b:r3: aal1", 1)]
)
def test_where_nothing_claims_revision_4_a_short_password_signs_in_as_before(
    making: Callable[[bytes], Idp], policy: bytes
) -> None:
    idp = making(policy)
    browser, _path = begin(idp, "bob")
    assert [outcome.error for outcome in idp.finished] == [None]
    assert "Shorter than" not in browser.get("/account/").text


def test_OTP_11_whoever_does_not_know_the_password_learns_nothing_of_its_length(
    making: Callable[[bytes], Idp], monkeypatch: pytest.MonkeyPatch
) -> None:
    idp = making(ALONE)
    looked: list[str] = []

    def counting(password: str) -> int:
        looked.append(password)
        return length_met(password)

    monkeypatch.setattr(login, "length_met", counting)
    answers = set()
    for username, password in (("bob", LONG), ("bob", "wrong"), ("nobody", SHORT), ("nobody", LONG)):
        browser = idp.client()
        path = idp.path(browser, SIGN_IN)
        refused = idp.sign_in(browser, path, username, password)
        answers.add((refused.status_code, "User name or password is not right" in refused.text))
        assert "too short" not in refused.text
        assert "characters or more" not in refused.text
    assert answers == {(403, True)}
    assert looked == [], "the length of what was not right was looked at"


def test_the_relying_party_is_told_what_it_is_told_of_anybody_who_cannot(making: Callable[[bytes], Idp]) -> None:
    idp = making(ALONE)
    browser, path = begin(idp, "bob")
    idp.post(browser, path, "/leave")
    outcome = idp.finished[-1]
    assert (outcome.error, outcome.cause) == ("access_denied", "unreachable")
    assert "password" not in (outcome.error_description or "")


def test_the_length_is_kept_nowhere_but_whether_it_is_enough(making: Callable[[bytes], Idp]) -> None:
    idp = making(ALONE)
    browser, path = begin(idp, "bob")
    idp.post(browser, path, "/leave")
    with reading(idp.engine) as connection:
        (record,) = connection.execute(select(decisions.c.detail)).scalars()
        (session,) = sessions.of_account(connection, idp.seals, "account-bob", idp.clock.now(), idp.settings.session)
    assert [item.min_length for item in session.evidence] == [0]
    assert [item["min_length"] for item in record["facts"]["evidence"]] == [0]
    assert any("fewer than 15 characters" in reason["text"] for reason in record["decision"]["reasons"])


def test_a_session_from_before_says_nothing_and_the_password_is_asked_for_once_more(
    making: Callable[[bytes], Idp],
) -> None:
    idp = making(CHANGEABLE)
    give(idp, "bob", LONG)
    browser, _path = begin(idp, "bob", LONG)
    assert browser.get("/account/").status_code == 200
    forget(idp)
    assert browser.get("/account/").status_code == 303, "what is not known does not count"
    path = idp.path(browser, SIGN_IN)
    assert browser.get(path).status_code == 200
    idp.post(browser, path, "/continue")
    assert "needs your password once more" in browser.get(path).text
    assert idp.sign_in(browser, path, "bob", LONG).location == "http://rp.localhost:8405/callback?ok"


def forget(idp: Idp) -> None:
    """Take from all sessions what an earlier version did not write."""

    def before(row: Row[Any]) -> dict[str, Any]:
        left = [{key: value for key, value in item.items() if key != "min_length"} for item in row.evidence]
        return {"evidence": left}

    signed_in = models.sessions.c.account_id.is_not(None)
    with idp.engine.begin() as connection:
        assert seal.change(connection, idp.seals, models.sessions, signed_in, before) == 1


def test_the_last_second_factor_of_somebody_with_a_short_password_is_not_removed(
    making: Callable[[bytes], Idp],
) -> None:
    """Without it nothing would be left to sign in with."""
    idp = making(CHANGEABLE)
    with idp.engine.begin() as connection:
        authenticators.remove(connection, "alice-email_otp", idp.clock.now())
    browser, path = begin(idp, "alice")
    idp.pass_otp(browser, path)
    csrf = idp.csrf(browser, "/account/")
    refused = browser.post("/account/factors/alice-sms_otp/remove", data={"csrf_token": csrf})
    assert (refused.status_code, "last way to sign in" in refused.text) == (409, True)


@pytest.mark.parametrize(
    ("password", "met"),
    [
        ("x" * 14, 0),
        ("x" * 15, 15),
        ("x" * 256, 15),
        # Code points after NFC: an accent that was typed apart is none of its own.
        ("a\u0308" * 14, 0),
        ("a\u0308" * 15, 15),
        # One character of four octets is one.
        ("\U0001f511" * 14, 0),
        ("\U0001f511" * 15, 15),
    ],
)
def test_the_length_is_counted_as_that_of_a_new_password(password: str, met: int) -> None:
    assert length_met(password) == met


def test_DOS_03_what_no_password_can_be_is_not_normalised_to_be_counted() -> None:
    with pytest.raises(PasswordRefused):
        length_met("a\u0308" * 1000)
