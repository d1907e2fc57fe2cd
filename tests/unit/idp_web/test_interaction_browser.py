"""What holds an interaction to one browser and its pages together: sessions, form tokens, headers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select, update

from idp.errors import InteractionLost
from idp.storage import accounts
from idp.storage.engine import reading
from idp.storage.models import interactions, sessions
from idp.storage.sessions import KEPT_SECONDS, find_by_token
from idp.web import browser as idp_browser
from idp.web.interaction import load
from tests.fakes.idp import PASSWORD, Idp, make_idp
from tests.unit.idp_web.interactions import (
    SUBSTANTIAL,
    at_consent,
    cookie,
    plain,
    signature,
)

# Sessions


def test_SES_01_the_cookie_changes_at_login_and_at_step_up_and_the_old_one_is_dead(
    idp: Idp, browser: FlaskClient
) -> None:
    path = idp.path(browser, signature())
    seen = [cookie(browser)]
    idp.sign_in(browser, path)
    seen.append(cookie(browser))
    idp.pass_otp(browser, path)
    seen.append(cookie(browser))
    assert len(set(seen)) == 3
    for old in seen[:2]:
        thief = idp.client()
        thief.set_cookie("privyseal_session", old)
        assert thief.get(path).status_code == 400


def test_SES_01_a_cookie_that_was_planted_before_the_login_is_worth_nothing_after_it(idp: Idp) -> None:
    attacker, victim = idp.client(), idp.client()
    path = idp.path(attacker, signature())
    victim.set_cookie("privyseal_session", cookie(attacker))
    idp.sign_in(victim, path)
    assert attacker.get(path).status_code == 400
    assert 'data-form="choose"' in victim.get(path).text


def test_SES_02_the_cookie_of_production_is_bound_to_the_host(tmp_path: Path) -> None:
    idp = make_idp(tmp_path, issuer="https://idp.example.org")
    browser = idp.client()
    idp.waiting.append(plain())
    response = browser.get("/test/begin", base_url="https://idp.example.org")
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    header = response.headers["Set-Cookie"]
    assert header.startswith("__Host-privyseal=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(header.split("; "))
    assert "Domain" not in header
    idp.engine.dispose()


def test_SES_02_in_development_the_cookie_is_still_out_of_reach_of_scripts(idp: Idp, browser: FlaskClient) -> None:
    header = idp.begin(browser, plain()).headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(header.split("; "))
    assert cookie(browser) not in idp.path(browser, plain())


def test_SES_03_sign_out_ends_the_session_on_the_server(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    held = cookie(browser)
    page = idp.post(browser, "/account/", "sign-out").text
    assert browser.get_cookie("privyseal_session") is None
    assert re.search(r'href="/account/"[^>]*><span>Sign in<', page), "the page leads on"
    thief = idp.client()
    thief.set_cookie("privyseal_session", held)
    assert thief.get(path).status_code == 400
    assert thief.get("/account/").status_code == 303


def test_SES_07_somebody_else_in_the_same_browser_cannot_finish_what_the_first_began(
    idp: Idp, browser: FlaskClient
) -> None:
    idp.add_account("bob")
    path = at_consent(idp, browser)
    binding = re.search(r'name="binding" value="([^"]+)"', browser.get(path).text)
    assert binding is not None
    idp.sign_in(browser, idp.path(browser, plain(prompt=("login",))), "bob")
    mine = idp.path(browser, signature())
    response = browser.post(
        f"{path}/consent",
        data={"csrf_token": idp.csrf(browser, mine), "decision": "approve", "binding": binding.group(1)},
    )
    assert response.status_code == 400
    assert [item for item in idp.finished if item.approval and item.approval.action == "signature.activate"] == []


def test_SES_07_what_one_person_was_in_the_middle_of_is_told_to_no_other(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bob")
    idp.sign_in(browser, idp.path(browser, signature()))
    mine = browser.get("/account/").text
    assert 'class="unfinished"' in mine
    assert "15 min left" in mine
    idp.sign_in(browser, idp.path(browser, plain(prompt=("login",))), "bob")
    assert 'class="unfinished"' not in browser.get("/account/").text


def test_SES_07_bob_cannot_sign_in_to_what_alice_began(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bob")
    idp.sign_in(browser, idp.path(browser, plain()))
    idp.clock.advance(61)
    path = idp.path(browser, plain(max_age=60))
    assert idp.sign_in(browser, path, "bob").status_code == 403
    assert idp.sign_in(browser, path, "alice").location.endswith("?ok")


def test_another_browser_cannot_see_an_interaction(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    stranger = idp.client()
    assert stranger.get(path).status_code == 400
    idp.sign_in(stranger, idp.path(stranger, plain()))
    assert stranger.get(path).status_code == 400


def test_an_interaction_that_was_begun_in_another_tab_before_the_login_goes_on(idp: Idp, browser: FlaskClient) -> None:
    waiting = idp.path(browser, plain(client_id="another"))
    idp.sign_in(browser, idp.path(browser, plain()))
    assert "Continue as <bdi>Alice Example</bdi>?" in browser.get(waiting).text
    assert idp.post(browser, waiting, "/continue").location.endswith("?ok")


def test_an_account_that_is_disabled_is_out_at_once(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    with idp.engine.begin() as connection:
        accounts.set_status(connection, idp.alice, "disabled")
    page = browser.get(path)
    assert 'data-form="sign-in"' in page.text
    assert 'data-form="consent"' not in page.text


def test_past_the_policys_session_limit_the_password_is_asked_for_again(idp: Idp, browser: FlaskClient) -> None:
    idp.sign_in(browser, idp.path(browser, plain(acr_values=(SUBSTANTIAL,))))
    for _ in range(4):
        idp.clock.advance(15 * 60)
        browser.get("/account/")
    path = idp.path(browser, signature())
    idp.clock.advance(60)
    idp.pass_otp(browser, path)
    page = browser.get(path).text
    assert "type your password again" in page
    assert 'value="alice"' in page


def test_a_session_that_is_not_used_is_over(idp: Idp, browser: FlaskClient) -> None:
    idp.sign_in(browser, idp.path(browser, plain()))
    idp.clock.advance(idp.settings.session.idle_seconds)
    assert idp.begin(browser, plain(prompt=("none",))).location.endswith("?login_required")


# Forms


@pytest.mark.parametrize("change", ["used", "read anew", "stepped up", "signed in"])
def test_SES_06_what_was_read_with_the_session_stands_for_it_once_and_not_beyond_a_change(
    idp: Idp, browser: FlaskClient, change: str
) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    name = path.rpartition("/")[2]
    with idp.app.test_request_context(path, headers={"Cookie": f"privyseal_session={cookie(browser)}"}):
        session = idp_browser.current()
        assert session is not None
        with idp.engine.begin() as connection:
            connection.execute(update(interactions).values(state="ended"))
            if change == "stepped up":
                idp_browser.step_up(connection, session)
            account = accounts.find(connection, idp.alice)
            assert account is not None
            if change == "signed in":
                idp_browser.sign_in(connection, account, session.evidence[0], session.id)
        if change == "used":
            found = idp_browser.interaction_read(session, name)
            assert found is not None
            assert found.id == name
        if change == "read anew":
            idp_browser.reload()
        assert idp_browser.interaction_read(session, name) is None
        with pytest.raises(InteractionLost):
            load(name)


def test_SES_07_what_was_read_with_the_session_stands_for_no_other_interaction_and_no_other_session(
    idp: Idp, browser: FlaskClient
) -> None:
    path = idp.path(browser, signature())
    for name, session_id in (("another", None), (path.rpartition("/")[2], "another")):
        with idp.app.test_request_context(path, headers={"Cookie": f"privyseal_session={cookie(browser)}"}):
            session = idp_browser.current()
            assert session is not None
            asked = session if session_id is None else replace(session, id=session_id)
            assert idp_browser.interaction_read(asked, name) is None


POSTS = ("/password", "/continue", "/factor", "/code", "/consent", "/leave")


@pytest.mark.parametrize("action", POSTS)
@pytest.mark.parametrize("token", [None, "", "wrong", "é\udc80"])
def test_SES_04_a_form_without_its_sessions_token_changes_nothing(
    idp: Idp, browser: FlaskClient, action: str, token: str | None
) -> None:
    path = at_consent(idp, browser)
    data = {"username": "alice", "password": PASSWORD, "decision": "approve", "factor": "sms_otp"}
    if token is not None:
        data["csrf_token"] = token.encode("utf-8", "replace").decode()
    before = (len(idp.finished), len(idp.inbox.messages), cookie(browser))
    assert browser.post(f"{path}{action}", data=data).status_code == 400
    assert (len(idp.finished), len(idp.inbox.messages), cookie(browser)) == before


def test_SES_04_login_csrf_the_attackers_own_token_does_not_sign_a_victim_in(idp: Idp) -> None:
    attacker, victim = idp.client(), idp.client()
    theirs, mine = idp.path(attacker, plain()), idp.path(victim, plain())
    token = idp.csrf(attacker, theirs)
    data = {"csrf_token": token, "username": "alice", "password": PASSWORD}
    assert victim.post(f"{mine}/password", data=data).status_code == 400
    assert victim.post(f"{theirs}/password", data=data).status_code == 400
    assert idp.begin(victim, plain(prompt=("none",))).location.endswith("?login_required")


@pytest.mark.parametrize("path", ["/account/sign-out", "/account/credentials", "/account/sessions/x/revoke"])
def test_SES_04_the_account_pages_forms_need_the_token_too(idp: Idp, browser: FlaskClient, path: str) -> None:
    idp.sign_in(browser, idp.path(browser, plain()))
    assert browser.post(path, data={"profile": "default"}).status_code == 400
    assert idp.begin(browser, plain(prompt=("none",))).location.endswith("?ok")


# Headers and language


def test_SES_05_pages_cannot_be_framed_run_no_foreign_script_and_are_not_kept(idp: Idp, browser: FlaskClient) -> None:
    for path in (at_consent(idp, browser), "/account/", "/no/such/page"):
        headers = browser.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("http://rp.localhost:8405/callback?a=b", "form-action 'self' http://rp.localhost:8405"),
        ("https://rp.example.org/cb", "form-action 'self' https://rp.example.org"),
        ("org.example.app:/cb", "form-action 'self' org.example.app:"),
        ("https://user@rp.example.org/", "form-action 'self'"),
        ("javascript:alert(1)", "form-action 'self'"),
        ("", "form-action 'self'"),
    ],
)
def test_forms_may_end_at_the_relying_party_and_nowhere_else(
    idp: Idp, browser: FlaskClient, uri: str, target: str
) -> None:
    path = idp.path(browser, plain(return_to=uri))
    assert browser.get(path).headers["Content-Security-Policy"].endswith(target)


def test_pages_have_nothing_inline(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    pages = [browser.get(path).text]
    idp.sign_in(browser, path)
    pages.append(browser.get(path).text)
    idp.post(browser, path, "/factor", factor="sms_otp")
    pages.append(browser.get(path).text)
    for page in pages:
        assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=|javascript:", page)
        assert not re.search(r'(src|href)="(https?:)?//', page)


def test_sessions_without_a_person_are_kept_for_the_length_of_an_interaction_only(
    idp: Idp, browser: FlaskClient
) -> None:
    def live(begun: FlaskClient) -> bool:
        limits = idp.settings.session
        with reading(idp.engine) as connection:
            return find_by_token(connection, idp.seals, cookie(begun), idp.clock.now(), limits) is not None

    idp.begin(browser, plain())
    idp.clock.advance(idp.settings.session.interaction_seconds - 1)
    assert live(browser)
    idp.clock.advance(1)
    assert not live(browser)
    # An hour longer, so that its page can say that it came too late.
    idp.clock.advance(KEPT_SECONDS)
    idp.begin(idp.client(), plain())
    with reading(idp.engine) as connection:
        assert connection.execute(select(func.count()).select_from(sessions)).scalar_one() == 1


def test_a_session_without_a_person_lives_as_long_as_what_was_begun_in_it_last(
    idp: Idp, browser: FlaskClient
) -> None:
    first = idp.path(browser, signature())
    idp.clock.advance(600)
    second = idp.path(browser, signature())
    idp.clock.advance(600)
    assert browser.get(first).status_code == 410
    assert browser.get(second).status_code == 200


def test_a_form_that_comes_too_late_is_told_so_and_where_to_begin_again(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    token = idp.csrf(browser, path)
    idp.clock.advance(900)
    late = browser.post(f"{path}/password", data={"csrf_token": token, "username": "alice", "password": PASSWORD})
    assert late.status_code == 410
    assert 'href="http://rp.localhost:8405/"' in late.text
    assert "The time for this request is over" in late.text
    assert idp.client().get(path).status_code == 400, "to another browser it says nothing"


def test_SES_08_what_ran_out_of_time_in_a_session_that_was_ended_says_nothing(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    kept = cookie(browser)
    idp.post(browser, "/account/", "sign-out")
    idp.clock.advance(900)
    thief = idp.client()
    thief.set_cookie("privyseal_session", kept)
    assert thief.get(path).status_code == 400
