"""What people see and take back on their account pages; what of it is another's is like nothing."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from flask.testing import FlaskClient

from idp.authn.roles import AdminAction
from idp.cli.accounts import set_status
from idp.errors import CredentialUnavailable
from idp.oidc.request import AuthorizationRequest
from idp.policy.keys import ACTIONS
from idp.storage import accounts, authenticators, backchannel, enrolments, history, sessions
from idp.storage.authenticators import NewAuthenticator
from idp.storage.engine import reading
from tests.fakes.idp import NOW, PASSWORD, Idp, make_idp
from tests.unit.idp_web.factors import POLICY, account_post, enrolment
from tests.unit.idp_web.interactions import SUBSTANTIAL, plain, signature

FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path, policy=POLICY)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    return signed_in(idp)


def signed_in(idp: Idp, username: str = "alice") -> FlaskClient:
    browser = idp.client()
    idp.sign_in(browser, browser.get("/account/").location, username)
    return browser


def bind(idp: Idp, account_id: str, new_id: str) -> None:
    """An authenticator app, by another way than its person's."""
    with idp.engine.begin() as connection:
        authenticators.bind(connection, idp.seals, NewAuthenticator(new_id, account_id, "totp", label="app"), NOW)


# Ways to sign in


def test_a_way_has_a_page_with_its_name_its_use_and_what_its_removal_means(idp: Idp, browser: FlaskClient) -> None:
    bind(idp, idp.alice, "app-1")
    assert "/account/ways/app-1" in browser.get("/account/").text
    assert account_post(browser, "/account/ways/app-1/rename", label="  My   phone ").status_code == 303
    page = browser.get("/account/ways/app-1").text
    assert 'value="My phone"' in page
    assert "not yet" in page
    too_long = account_post(browser, "/account/ways/app-1/rename", label="x" * 65)
    assert (too_long.status_code, "at most 64 characters" in too_long.text) == (400, True)
    assert 'data-form="remove-factor"' in page
    assert "last way to sign in" in browser.get("/account/ways/alice-password").text
    assert 'data-form="remove-factor"' not in browser.get("/account/ways/alice-password").text


def test_each_way_has_its_picture_for_eyes_alone(idp: Idp, browser: FlaskClient) -> None:
    bind(idp, idp.alice, "app-1")
    listed = re.findall(r"<li>\s*(<svg[^>]*>).*?</svg>", browser.get("/account/").text, re.DOTALL)
    assert len(listed) == len(set(re.findall(r"/account/ways/([\w-]+)", browser.get("/account/").text)))
    assert all('aria-hidden="true"' in picture for picture in listed)


def test_what_a_person_has_one_of_is_replaced_where_they_look_at_it(idp: Idp, browser: FlaskClient) -> None:
    bind(idp, idp.alice, "app-1")
    offered = re.findall(r'aria-labelledby="(adding|replacing)">(.*?)</div>', browser.get("/account/").text, re.DOTALL)
    kinds = {group: re.findall(r'value="(\w+)"', buttons) for group, buttons in offered}
    assert kinds == {
        "adding": ["passkey", "totp", "hotp", "recovery_code"],
        "replacing": ["password", "sms_otp", "email_otp"],
    }
    assert 'value="password"' in browser.get("/account/ways/alice-password").text
    assert 'data-form="rename"' not in browser.get("/account/ways/alice-password").text, "nobody names a password"
    assert 'data-form="add-factor"' not in browser.get("/account/ways/app-1").text, "another one is added"


def test_whoever_would_no_longer_sign_is_warned_before(idp: Idp, browser: FlaskClient) -> None:
    with idp.engine.begin() as connection:
        authenticators.remove(connection, "alice-email_otp", NOW)
    page = browser.get("/account/ways/alice-sms_otp").text
    assert "you can no longer sign with" in page
    assert "CN=Alice Example" in page
    assert "only the help desk can" in page
    bind(idp, idp.alice, "app-1")
    assert "you can no longer sign with" not in browser.get("/account/ways/alice-sms_otp").text
    idp.credentials.error = CredentialUnavailable("down")
    assert "cannot say whether you need it" in browser.get("/account/ways/alice-sms_otp").text


def test_OTP_08_an_address_that_does_not_count_yet_says_until_when(idp: Idp, browser: FlaskClient) -> None:
    with idp.engine.begin() as connection:
        authenticators.replace(
            connection, idp.seals, authenticator_id="new", account_id=idp.alice, kind="sms_otp", now=NOW,
            address="+34600000009", not_before=NOW + timedelta(hours=72),
        )  # fmt: skip
    page = browser.get("/account/").text
    assert 'Not active until <time datetime="2026-03-05T10:00:00+00:00">5 Mar 2026, 10:00</time> UTC' in page
    assert "Times are given in UTC" in page


# Sessions


def test_SES_03_all_other_sessions_end_at_once_on_the_server(idp: Idp, browser: FlaskClient) -> None:
    others, bert = [signed_in(idp), signed_in(idp)], idp.add_account("bert")
    stranger = signed_in(idp, "bert")
    assert account_post(browser, "/account/sessions/revoke-others").status_code == 303
    assert [other.get("/account/").status_code for other in others] == [303, 303]
    assert (browser.get("/account/").status_code, stranger.get("/account/").status_code) == (200, 200)
    with reading(idp.engine) as connection:
        left = sessions.of_account(connection, idp.seals, idp.alice, NOW, idp.settings.session)
        assert len(sessions.of_account(connection, idp.seals, bert, NOW, idp.settings.session)) == 1
    assert len(left) == 1


def test_SES_03_all_other_sessions_are_listed_and_end_also_those_idle_for_too_long_for_a_browser(idp: Idp) -> None:
    """What was granted in them to relying parties is good all the same."""
    signed_in(idp)
    idp.clock.advance(idp.settings.session.idle_seconds)
    browser = signed_in(idp)
    page = browser.get("/account/").get_data(as_text=True)
    assert page.count('data-form="revoke-session"') == page.count('data-form="revoke-others"') == 1
    assert account_post(browser, "/account/sessions/revoke-others").status_code == 303
    with reading(idp.engine) as connection:
        assert len(sessions.lasting(connection, idp.seals, idp.alice, idp.clock.now())) == 1


def test_a_session_is_shown_with_its_browser_and_no_more_of_its_network_than_needed(
    idp: Idp, browser: FlaskClient
) -> None:
    other = idp.app.test_client()
    other.environ_base |= {"HTTP_USER_AGENT": FIREFOX["User-Agent"], "REMOTE_ADDR": "192.0.2.77"}
    idp.sign_in(other, other.get("/account/").location)
    page = browser.get("/account/").text
    assert "Firefox · Linux" in page
    assert "192.0.2.0/24" in page
    assert "192.0.2.77" not in page


def test_SES_03_a_locked_accounts_sessions_are_over_also_once_it_is_unlocked(idp: Idp, browser: FlaskClient) -> None:
    options = Namespace(username="alice", reason="taken over", clock=idp.clock)
    for status, ended in (("disabled", 1), ("active", 0)):
        options.status = status
        assert set_status(idp.settings, options)["sessions_ended"] == ended
        assert browser.get("/account/").status_code == 303
    assert signed_in(idp, "alice").get("/account/").status_code == 200


# History


def test_the_history_has_sign_ins_and_failures_and_forgets_after_ninety_days(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bert")
    stranger = idp.client()
    path = stranger.get("/account/").location
    idp.sign_in(stranger, path, "alice", "wrong")
    idp.sign_in(stranger, path, "nobody", "wrong")
    idp.sign_in(stranger, path, "bert", PASSWORD)
    page = browser.get("/account/history").text
    assert (page.count("Signed in"), page.count("Not accepted")) == (1, 1)
    idp.pass_otp(browser, idp.path(browser, plain(acr_values=(SUBSTANTIAL,))))
    assert "Proved</strong> · Text message" in browser.get("/account/history").text
    idp.clock.advance(91 * 24 * 60 * 60)
    signed_in(idp, "bert")
    with reading(idp.engine) as connection:
        assert history.of_account(connection, idp.alice, NOW) == (), "purged, not only hidden"


def test_the_history_names_the_device_where_there_was_one(idp: Idp, browser: FlaskClient) -> None:
    with idp.engine.begin() as connection:
        for outcome in ("approved", "refused"):
            factor = "signature" if outcome == "approved" else "password"
            entry = history.Entry(NOW, outcome, factor, "rp", None, "", "192.0.2.0/24")
            history.add(connection, idp.alice, entry)
    page = browser.get("/account/history").text
    assert '<span class="detail">network 192.0.2.0/24</span>' in page, "what came in band came from no browser"
    assert '<span class="detail">Unknown device · network 192.0.2.0/24</span>' in page


def test_the_history_has_what_the_person_consented_to_and_not_what_only_opened_pages(
    idp: Idp, browser: FlaskClient
) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    idp.pass_otp(browser, path)
    assert "Approved" not in browser.get("/account/history").text
    idp.approve(browser, path)
    page = browser.get("/account/history").text
    assert page.count("Approved</strong> · Your signature") == 1
    assert page.count("Approved") == 1, "signing in opened pages and needed no consent"
    asked = signature()
    assert f'<span class="detail"><bdi>{asked.client_id}</bdi></span>' in page
    enrolment(idp, browser, "totp")
    assert "Approved</strong> · Adding a way to prove who you are" in browser.get("/account/history").text
    # A signature that is denied was not consented to.
    denied = idp.path(browser, signature())
    idp.pass_otp(browser, denied)
    idp.post(browser, denied, "/consent", decision="deny")
    assert browser.get("/account/history").text.count("Your signature") == 1


@pytest.mark.parametrize(
    ("action", "sort"),
    [
        ("sign_in", None),
        ("admin.view", None),
        ("admin.roles.view", None),
        ("admin.roles.propose", "roles"),
        ("admin.accounts.reset.reject", "reset"),
        ("signature.activate_in_band", "signature"),
        ("account.enrol_factor", "enrol"),
    ],
)
def test_every_action_that_is_consented_to_is_remembered_by_its_sort(action: str, sort: str | None) -> None:
    assert history.consent_to(action) == sort


def test_every_action_of_an_interaction_is_one_that_opens_pages_or_is_remembered() -> None:
    for action in [*ACTIONS, *get_args(AdminAction)]:
        asked = signature(action=action)
        assert (history.consent_to(action) is None) == asked.opens_pages, action
    assert {len(sort) <= 16 for sort in history.CONSENTS} == {True}, "the column's width"


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.77", "192.0.2.0/24"), ("2001:db8:1:2:3::4", "2001:db8:1::/48"), (None, "")],
)
def test_of_an_address_its_network_is_kept(address: str | None, network: str) -> None:
    assert history.coarse(address) == network


# Credentials


def test_credentials_are_listed_and_nobody_types_an_identifier(idp: Idp, browser: FlaskClient) -> None:
    page = browser.get("/account/credentials").text
    assert 'name="credential_id" value="cred-1"' in page
    assert 'type="hidden" name="credential_id"' in page
    assert 'valid until <time datetime="2028-01-01T00:00:00+00:00">1 Jan 2028</time>' in page
    idp.credentials.error = CredentialUnavailable("down")
    assert "cannot be read now" in browser.get("/account/credentials").text


@pytest.mark.parametrize("language", ["en", "es", "de", "fr"])
@pytest.mark.parametrize("status", ["enabled", "disabled"])
def test_what_a_button_is_called_begins_with_what_is_written_on_it(
    idp: Idp, browser: FlaskClient, status: str, language: str
) -> None:
    # WCAG 2.2, 2.5.3: who speaks to the browser says what they read.
    idp.credentials.view = replace(idp.credentials.view, status=status)
    page = browser.get("/account/credentials", headers={"Accept-Language": language}).text
    named = re.findall(r'<button[^>]* aria-label="([^"]+)">([^<]+)</button>', page)
    assert len(named) == 3
    assert [pair for pair in named if pair[1].lower() not in pair[0].lower()] == []


# Language


def test_a_chosen_language_goes_before_the_browsers_and_after_the_relying_partys(
    idp: Idp, browser: FlaskClient
) -> None:
    assert account_post(browser, "/account/language", language="de").status_code == 303
    spanish = {"Accept-Language": "es"}
    assert '<html lang="de">' in browser.get("/account/", headers=spanish).text
    assert '<html lang="de">' in browser.get("/account/history", headers=spanish).text
    path = idp.path(browser, plain(acr_values=(SUBSTANTIAL,), ui_locales=("fr",)))
    assert '<html lang="fr">' in browser.get(path, headers=spanish).text
    assert '<html lang="es">' in signed_in_stranger(idp).get("/account/", headers=spanish).text
    assert account_post(browser, "/account/language", language="xx").status_code == 400
    assert account_post(browser, "/account/language", language="").status_code == 303
    assert '<html lang="es">' in browser.get("/account/", headers=spanish).text
    with reading(idp.engine) as connection:
        account = accounts.find(connection, idp.alice)
    assert account is not None
    assert account.locale is None


def signed_in_stranger(idp: Idp) -> FlaskClient:
    idp.add_account("carl")
    return signed_in(idp, "carl")


PAGES = ("", "applications", "approvals", "credentials", "history", "language", "ways/alice-password")


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_a_script_or_may_be_stored(browser: FlaskClient, path: str) -> None:
    page = browser.get(f"/account/{path}")
    assert page.status_code == 200
    assert "<script" not in page.text
    assert page.headers["Cache-Control"] == "no-store"


# Whose it is


def victims(idp: Idp, alice: FlaskClient) -> dict[str, str]:
    """Identifiers of everything that Alice has, by the name that addresses give them."""
    path = enrolment(idp, alice, "totp")
    bind(idp, idp.alice, "app-1")
    with reading(idp.engine) as connection:
        (session,) = sessions.of_account(connection, idp.seals, idp.alice, NOW, idp.settings.session)
    return {
        "authenticator_id": "app-1",
        "session_id": session.id,
        "enrolment_id": path.rpartition("/")[2],
        "client_id": "example-contracts",
        "request_id": waiting_request(idp),
    }


def waiting_request(idp: Idp) -> str:
    """A request that waits for Alice's approval."""
    asked = AuthorizationRequest("example-contracts", "", ("openid",), None, None, "", "http://idp.localhost:8401")
    new = backchannel.NewRequest("request-1", "handle-1", idp.alice, idp.alice, asked, 300)
    with idp.engine.begin() as connection:
        assert backchannel.put(connection, idp.seals, new, NOW, backchannel.Limits())
    return new.id


def seen(text: str) -> str:
    """A page without what differs by chance."""
    return re.sub(r'name="csrf_token" value="[^"]*"', "", text)


def test_OAU_17_what_is_another_accounts_is_refused_like_what_there_is_not(idp: Idp) -> None:
    """Every POST route of the account pages, and every page with an identifier, from the map of addresses."""
    owned = victims(idp, idp.client())
    idp.add_account("bert")
    bert = signed_in(idp, "bert")
    rules = [
        rule
        for rule in idp.app.url_map.iter_rules()
        if rule.endpoint.partition(".")[0] in {"account", "enrol"} and rule.arguments
    ]
    assert {name for rule in rules for name in rule.arguments} <= set(owned), "say what the new identifier names"
    tried = 0
    for rule in rules:
        for method in (rule.methods or set()) & {"GET", "POST"}:
            answers = []
            for values in (owned, dict.fromkeys(owned, "A" * 22)):
                target = rule.rule
                for name in rule.arguments:
                    target = target.replace(f"<{name}>", values[name])
                data = {"csrf_token": idp.csrf(bert, "/account/"), "label": "x", "code": "123456"}
                response = bert.open(target, method=method, data=data if method == "POST" else None)
                answers.append((response.status_code, seen(response.text)))
            assert answers[0] == answers[1], f"{method} {rule.rule} tells another's from nobody's"
            assert answers[0][0] == 400, f"{method} {rule.rule}"
            tried += 1
    assert tried >= 7
    with reading(idp.engine) as connection:
        mine = authenticators.of_account(connection, idp.seals, idp.alice)
        live = sessions.of_account(connection, idp.seals, idp.alice, NOW, idp.settings.session)
        kept = enrolments.find(connection, idp.seals, owned["enrolment_id"], owned["session_id"], NOW)
    assert not any(item.disabled for item in mine)
    assert next(item for item in mine if item.id == "app-1").label == "app"
    assert [item.id for item in live] == [owned["session_id"]]
    assert kept.failures == 0


def test_SES_07_a_form_of_the_person_before_does_nothing_for_the_next_one(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bert")
    token = idp.csrf(browser, "/account/")
    idp.sign_in(browser, idp.path(browser, plain(prompt=("login",))), "bert")
    refused = browser.post("/account/language", data={"csrf_token": token, "language": "de"})
    assert refused.status_code == 400
