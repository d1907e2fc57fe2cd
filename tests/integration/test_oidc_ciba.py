"""Approval elsewhere and later: a client asks and polls (CIBA Core 1.0), the person decides on their own pages."""

from __future__ import annotations

import re
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from werkzeug.test import TestResponse

from clients.csc import ClientSecret, OAuth, Transport
from clients.csc.discovery import _from_metadata
from clients.csc.errors import AuthorizationRefusedError, TimedOutError
from foundation.jose import peek_claims
from idp.oidc.client import BACKCHANNEL_GRANT
from idp.storage import accounts, authenticators, notices
from idp.storage.authenticators import NewAuthenticator
from idp.storage.backchannel import Limits, backchannel_requests
from idp.storage.seal import change
from idp.web import notice_texts, oidc_ciba
from idp.web import services as composition
from tests.integration.oidc_world import ACCOUNT, ISSUER, Browser, RelyingParty, Seed, World, error_of, serve, start

MESSAGE = "Order 4711"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def ask(rp: RelyingParty, **changes: str | None) -> TestResponse:
    """A request for one signature of Alice's; None removes a parameter."""
    values: dict[str, str | None] = {
        "scope": "credential",
        "login_hint": "alice",
        "binding_message": MESSAGE,
        "authorization_details": rp.signing()["authorization_details"],
        **changes,
    }
    return rp.post("/oauth2/bc-authorize", {name: value for name, value in values.items() if value is not None})


def asked(rp: RelyingParty, **changes: str | None) -> str:
    response = ask(rp, **changes)
    assert response.status_code == 200, response.text
    return str(response.get_json()["auth_req_id"])


def collect(rp: RelyingParty, handle: str, **more: str) -> TestResponse:
    return rp.token(grant_type=BACKCHANNEL_GRANT, auth_req_id=handle, **more)


def at_home(world: World) -> Browser:
    """A browser in which Alice is signed in on her own pages."""
    browser = world.browser()
    browser.sign_in(browser.get("/account/"))
    return browser


def waiting(browser: Browser) -> list[str]:
    """The pages of the requests that are listed, the open ones first."""
    return list(dict.fromkeys(re.findall(r'href="(/account/approvals/[^"]+)"', browser.get("/account/approvals").text)))


def opened(browser: Browser, path: str) -> TestResponse:
    """From the list to the consent page, with a step-up on the way where one is asked for."""
    page = browser.submit(browser.get(path), "open")
    return browser.step_up(page) if 'data-form="choose"' in page.text else page


def approve(world: World, browser: Browser | None = None) -> TestResponse:
    browser = browser or at_home(world)
    return browser.approve(opened(browser, waiting(browser)[0]))


def test_a_person_approves_what_a_client_asked_for_without_a_browser(world: World) -> None:
    rp, browser = world.rp("caller"), at_home(world)
    answer = ask(rp).get_json()
    assert {name: answer[name] for name in answer.keys() - {"auth_req_id"}} == {"expires_in": 300, "interval": 5}
    assert error_of(collect(rp, answer["auth_req_id"])) == "authorization_pending"
    assert "(1 waits for you)" in browser.get("/account/").text
    path = waiting(browser)[0]
    assert "<title>Calling Party asks for your signature" in browser.get(path).text
    page = opened(browser, path)
    for shown in (
        "<bdi>Calling Party</bdi> asks for your signature",
        MESSAGE,
        "contract.pdf",
        "Digest of the data to be signed",
    ):
        assert shown in page.text
    done = browser.approve(page)
    assert done.request.path == path
    assert "the application has not fetched it yet" in done.text
    world.clock.advance(5)
    token = collect(rp, answer["auth_req_id"]).get_json()
    claims = peek_claims(token["access_token"])
    assert (claims["client_id"], claims["sub"], claims["sign_count"]) == ("caller", ACCOUNT, 1)
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 300, "credential")
    assert token["authorization_details"][0]["documentDigests"][0]["label"] == "contract.pdf"
    assert "the application has fetched it" in browser.get(path).text
    assert "waits for you" not in browser.get("/account/").text
    told = world.rp("csc")
    assert told.introspect(token["access_token"])["active"]
    (one,) = world.events("backchannel.asked")
    (two,) = world.events("backchannel.approved")
    assert one["request_id"] == two["request_id"]
    assert two["txn"] == claims["txn"]
    assert world.events("sad.issued")[-1]["grant_id"] == two["grant_id"]
    assert world.events("token.refused") == [], "whoever waits fills no chain"


def test_SES_08_who_has_to_sign_in_first_is_led_to_the_list(world: World) -> None:
    asked(world.rp("caller"))
    path = waiting(at_home(world))[0]
    for wanted in (path, f"/account/approvals/{'A' * 22}", "/account/approvals"):
        browser = world.browser()
        assert browser.sign_in(browser.get(wanted)).request.path == "/account/approvals"


def test_PSH_03_what_was_approved_is_collected_once(world: World) -> None:
    rp = world.rp("caller")
    handle = asked(rp)
    approve(world)
    assert collect(rp, handle).status_code == 200
    assert error_of(collect(rp, handle)) == "invalid_grant"
    assert len(world.events("sad.issued")) == 1


def test_SAD_02_of_eight_that_collect_at_once_one_gets_a_sad(world: World) -> None:
    handle, answers = asked(world.rp("caller")), []
    approve(world)
    barrier = threading.Barrier(8)

    def run() -> None:
        rp = RelyingParty(world, "caller", world.app.test_client())
        barrier.wait()
        answers.append(collect(rp, handle).status_code)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [400] * 7
    assert len(world.events("sad.issued")) == 1


def test_PSH_03_what_is_refused_stays_refused(world: World) -> None:
    rp, browser = world.rp("caller"), at_home(world)
    handle, path = asked(rp), waiting(browser)[0]
    consent = opened(browser, path)
    other = at_home(world)
    assert "Not approved" in other.submit(other.get(path), "refuse").text
    assert browser.approve(consent).status_code == 400, "decided in another browser meanwhile"
    assert error_of(collect(rp, handle)) == "access_denied"
    assert world.events("sad.issued") == []
    actions = {record["action"] for record in world.events("transaction.approved")}
    assert actions == {"sign_in"}, "the approval was undone with what came too late"
    assert "data-form" not in re.sub(r"(?s)<header.*?</nav>", "", browser.get(path).text)
    (record,) = world.events("backchannel.refused")
    assert record["cause"] == "denied"


def test_PSH_03_no_on_the_consent_page_is_the_answer(world: World) -> None:
    rp, browser = world.rp("caller"), at_home(world)
    handle = asked(rp)
    page = browser.submit(opened(browser, waiting(browser)[0]), "consent", decision="deny")
    assert "Not approved" in page.text
    assert error_of(collect(rp, handle)) == "access_denied"


def test_PSH_03_nothing_is_approved_by_time_and_what_was_is_not_kept(world: World) -> None:
    rp, browser = world.rp("caller"), at_home(world)
    left, late = asked(rp, requested_expiry="60"), asked(rp, requested_expiry="3600")
    page = opened(browser, waiting(browser)[0])
    world.clock.advance(59)
    assert error_of(collect(rp, left)) == "authorization_pending"
    world.clock.advance(1)
    assert error_of(collect(rp, left)) == "expired_token"
    approve(world)
    world.clock.advance(119)
    world.clock.advance(1)
    assert error_of(collect(rp, late)) == "expired_token", "approved, and not fetched in two minutes"
    assert browser.approve(page).status_code in {400, 410}
    assert world.events("sad.issued") == []
    assert len(world.events("backchannel.expired")) == 2
    assert error_of(collect(rp, left)) == "expired_token"
    assert len(world.events("backchannel.expired")) == 2, "once"


def test_DOS_04_who_asks_too_often_waits_for_longer(world: World) -> None:
    rp = world.rp("caller")
    handle = asked(rp)
    errors = []
    for _ in range(3):
        errors.append(error_of(collect(rp, handle)))
        world.clock.advance(1)
    assert errors == ["authorization_pending", "slow_down", "slow_down"]
    world.clock.advance(10)
    assert error_of(collect(rp, handle)) == "slow_down", "13 of 15 seconds, of which one is forgiven"
    world.clock.advance(11)
    assert error_of(collect(rp, handle)) == "authorization_pending"
    approve(world)
    assert collect(rp, handle).status_code == 200, "nobody waits for what is there"


def test_OTP_11_who_is_nobody_is_answered_like_somebody(world: World) -> None:
    rp = world.rp("caller")
    with world.engine.begin() as connection:
        new = accounts.NewAccount("carol", "Carol Example", proofing="high")
        accounts.create(connection, "account-of-carol", new, world.clock.now())
        accounts.set_status(connection, "account-of-carol", "disabled")
    answers = []
    for hint in ("alice", "nobody", "carol", "NOBODY ", "x\ny" * 20):
        first = ask(rp, login_hint=hint)
        if "\n" in hint:
            assert error_of(first) == "invalid_request"
            continue
        body = first.get_json()
        handle = body.pop("auth_req_id")
        polls = [collect(rp, handle).get_json() for _ in range(2)]
        answers.append((first.status_code, sorted(first.headers.keys()), len(handle), body, polls))
    assert all(answer == answers[0] for answer in answers)
    assert len(waiting(at_home(world))) == 1


def test_PSH_01_DOS_04_open_requests_are_bounded_whoever_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp = world.rp("caller")
    for hint in ("alice", "nobody"):
        for _ in range(oidc_ciba.LIMITS.of_client_for_person):
            asked(rp, login_hint=hint)
        assert error_of(ask(rp, login_hint=hint)) == "temporarily_unavailable"
    for field in ("for_person", "of_client", "everywhere"):
        monkeypatch.setattr(oidc_ciba, "LIMITS", Limits(**{field: 10}))
        assert error_of(ask(rp, login_hint="alice")) == "temporarily_unavailable", field
    monkeypatch.undo()
    browser = at_home(world)
    browser.submit(browser.get(waiting(browser)[0]), "refuse")
    asked(rp, login_hint="alice")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"login_hint": None}, "invalid_request"),
        ({"id_token_hint": "x"}, "invalid_request"),
        ({"login_hint": None, "id_token_hint": "x"}, "invalid_request"),
        ({"login_hint": None, "login_hint_token": "x"}, "invalid_request"),
        ({"user_code": "1234"}, "invalid_request"),
        ({"request": "x"}, "request_not_supported"),
        ({"redirect_uri": "https://evil.example/"}, "invalid_request"),
        ({"binding_message": "two\nlines"}, "invalid_binding_message"),
        ({"binding_message": "turned \u202e round"}, "invalid_binding_message"),
        ({"binding_message": "x" * 501}, "invalid_binding_message"),
        ({"requested_expiry": "0"}, "invalid_request"),
        ({"requested_expiry": "-5"}, "invalid_request"),
        ({"requested_expiry": "soon"}, "invalid_request"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"authorization_details": "[]"}, "invalid_authorization_details"),
        ({"authorization_details": None}, "invalid_scope"),
        ({"subject_token": "x"}, "invalid_request"),
        ({"subject_token": "x", "subject_token_type": ACCESS_TOKEN}, "invalid_grant"),
    ],
)
def test_OAU_10_what_is_not_understood_is_refused(world: World, changes: dict[str, Any], error: str) -> None:
    assert error_of(ask(world.rp("caller"), **changes)) == error


def test_OAU_03_only_the_client_that_asked_collects(world: World) -> None:
    handle = asked(world.rp("caller"))
    assert error_of(ask(world.rp("other"))) == "unauthorized_client"
    assert error_of(collect(world.rp("other"), handle)) == "unauthorized_client"
    approve(world)
    with world.engine.begin() as connection:
        table = backchannel_requests
        connection.execute(update(table).values(client_id="csc"))
    assert error_of(collect(world.rp("csc"), handle)) == "invalid_grant", "the row was altered"
    with world.engine.begin() as connection:
        connection.execute(update(table).values(client_id="caller"))
    assert error_of(collect(world.rp("csc"), handle)) == "invalid_grant"
    assert error_of(collect(world.rp("caller"), handle + "x")) == "invalid_grant"
    assert error_of(world.rp("caller").token(grant_type=BACKCHANNEL_GRANT)) == "invalid_request"
    response = world.rp("app").post(
        "/oauth2/bc-authorize", {"client_id": "app", "login_hint": "alice", "scope": "openid"}, Accept="*/*"
    )
    assert error_of(response) == "invalid_client"
    assert collect(world.rp("caller"), handle).status_code == 200


def test_SES_07_nobody_decides_for_another_person(world: World) -> None:
    handle, hers = asked(world.rp("caller")), at_home(world)
    path = waiting(hers)[0]
    with world.engine.begin() as connection:
        connection.execute(update(backchannel_requests).values(account_id="account-of-bob"))
    assert waiting(hers) == [], "a row of another's, or one that was altered, is like none"
    for form in ("", "/open", "/refuse"):
        token = re.search(r'name="csrf_token" value="([^"]+)"', hers.get("/account/").text)
        assert token is not None
        named = [path + form, f"/account/approvals/{'A' * 22}{form}"]
        answers = [hers.post(each, {"csrf_token": token[1]}) if form else hers.get(each) for each in named]
        assert [answer.status_code for answer in answers] == [400, 400]
        assert answers[0].text == answers[1].text
    assert error_of(collect(world.rp("caller"), handle)) == "invalid_grant"


def test_SES_06_a_step_up_for_one_request_is_none_for_another(world: World) -> None:
    rp, browser = world.rp("caller"), at_home(world)
    asked(rp)
    approve(world, browser)
    asked(rp)
    page = browser.submit(browser.get(waiting(browser)[0]), "open")
    assert 'data-form="choose"' in page.text, "the code that was typed for the first one counts for that one"


def test_who_signs_out_before_it_is_fetched_gives_nothing(world: World) -> None:
    rp, browser = world.rp("caller"), at_home(world)
    handle = asked(rp)
    approve(world, browser)
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/account/").text)
    assert token is not None
    browser.post("/account/sign-out", {"csrf_token": token[1]})
    assert error_of(collect(rp, handle)) == "invalid_grant"


def test_a_sign_in_can_be_approved_elsewhere(world: World) -> None:
    rp, browser = world.rp("caller"), at_home(world)
    handle = asked(rp, scope="openid service", authorization_details=None)
    path = waiting(browser)[0]
    page = browser.submit(browser.get(path), "open")
    assert "<bdi>Calling Party</bdi> wants to know who you are" in page.text
    assert MESSAGE in page.text
    browser.approve(page)
    tokens = collect(rp, handle).get_json()
    assert peek_claims(tokens["id_token"])["sub"] == ACCOUNT
    assert tokens["scope"] == "openid service"
    assert rp.refresh(tokens["refresh_token"]).status_code == 200
    hinted = asked(rp, login_hint=None, id_token_hint=tokens["id_token"])
    approve(world, browser)
    assert collect(rp, hinted).status_code == 200
    assert error_of(collect(rp, handle)) == "invalid_grant"


def test_the_resource_server_asks_and_collects_for_a_client_whose_token_it_holds(world: World) -> None:
    rp, facade = world.rp("caller"), world.rp("csc")
    theirs = {"subject_token_type": ACCESS_TOKEN, "subject_token": rp.tokens()["access_token"]}
    foreign = {**theirs, "subject_token": world.rp().tokens()["access_token"]}
    assert error_of(ask(facade, **theirs)) == "invalid_request", "a hint beside it"
    assert error_of(ask(facade, login_hint=None, **foreign)) == "unauthorized_client"
    assert error_of(ask(facade)) == "invalid_scope", "for itself it asks for nothing"
    handle = asked(facade, login_hint=None, **theirs)
    assert world.events("backchannel.asked")[-1]["asked_by"] == "csc"
    approve(world)
    assert error_of(collect(facade, handle)) == "invalid_grant"
    assert error_of(collect(facade, handle, **foreign)) == "invalid_grant"
    token = collect(facade, handle, **theirs).get_json()
    assert peek_claims(token["access_token"])["client_id"] == "caller"


def test_PSH_01_a_notice_goes_out_by_mail_without_a_link_and_rarely(world: World) -> None:
    rp, made = world.rp("caller"), composition.of(world.app)
    asked(rp)
    assert pending(world) == [], "a text message costs money"
    with world.engine.begin() as connection:
        new = NewAuthenticator("mail-of-alice", ACCOUNT, "email_otp", address="alice@example.com")
        authenticators.bind(connection, made.seals, new, world.clock.now())
    asked(rp)
    asked(rp, login_hint="nobody")
    assert pending(world) == [], "there was one a moment ago"
    for _ in range(20):
        world.clock.advance(61)
        asked(rp, requested_expiry="60")
    notices_of = pending(world)
    assert len(notices_of) == oidc_ciba.BUSY_HOUR - 2, "and the page says how many wait"
    with world.app.test_request_context():
        written = notice_texts.write(notices_of[0])
    assert "Approvals" in written.text
    assert "http" not in written.text
    assert MESSAGE not in written.text, "nothing that somebody else could have written"


def pending(world: World) -> list[notices.Pending]:
    made = composition.of(world.app)
    with world.engine.begin() as connection:
        return list(notices.due(connection, made.seals, world.clock.now(), 100))


def test_PSH_04_another_request_than_the_one_that_was_shown_is_not_approved(world: World) -> None:
    rp, browser = world.rp("caller"), at_home(world)
    handle = asked(rp)
    page = opened(browser, waiting(browser)[0])
    made = composition.of(world.app)
    with world.engine.begin() as connection:
        table = backchannel_requests

        def altered(row: Any) -> dict[str, Any]:
            return {"request": {**row.request, "binding_message": "another order"}}

        assert change(connection, made.seals, table, table.c.state == "seen", altered) == 1, "with the key of seals"
    assert browser.approve(page).status_code == 400
    assert error_of(collect(rp, handle)) == "authorization_pending"


def test_a_request_outlives_the_process_that_took_it(world: World, tmp_path: Path) -> None:
    rp, browser = world.rp("caller"), at_home(world)
    handle = asked(rp)
    page = opened(browser, waiting(browser)[0])
    cookie = browser.http.get_cookie("privyseal_session", domain="idp.localhost")
    assert cookie is not None
    url = str(world.engine.url)
    world.engine.dispose()
    again = start(Seed(tmp_path, world.secrets, world.client_key), tmp_path, url, clock=world.clock)
    after = again.browser()
    after.http.set_cookie("privyseal_session", cookie.value, domain="idp.localhost")
    after.approve(page)
    again.engine.dispose()
    once_more = start(Seed(tmp_path, world.secrets, world.client_key), tmp_path, url, clock=world.clock)
    assert collect(once_more.rp("caller"), handle).status_code == 200
    assert error_of(collect(once_more.rp("caller"), handle)) == "invalid_grant"
    once_more.engine.dispose()


def test_our_own_client_asks_waits_and_collects(tmp_path: Path) -> None:
    """The package clients/csc over HTTP, which reads the metadata; its pauses are the person's time to decide."""
    with serve(tmp_path) as (world, issuer), closing(Transport()) as transport:
        document = transport.get(f"{issuer}/.well-known/openid-configuration").json()
        server = _from_metadata(document, issuer)
        client = OAuth(transport, server, ClientSecret("caller", world.secrets["caller"]))
        details = {"authorization_details": world.rp("caller").signing()["authorization_details"]}
        waited = client.ask_elsewhere("credential", details, login_hint="alice", message=MESSAGE)
        pauses: list[float] = []

        def decide(seconds: float) -> None:
            pauses.append(seconds)
            approve(world)

        tokens = client.collect(waited, pause=decide)
        assert pauses == [5]
        assert peek_claims(tokens.access_token)["client_id"] == "caller"
        with pytest.raises(AuthorizationRefusedError, match="invalid_grant"):
            client.collect(waited, pause=decide)
        refused = client.ask_elsewhere("credential", details, login_hint="nobody")
        with pytest.raises(TimedOutError):
            client.collect(refused, wait=0, pause=decide)


def test_it_is_in_the_metadata(world: World) -> None:
    found = world.app.test_client().get("/.well-known/openid-configuration", base_url=ISSUER).get_json()
    assert found["backchannel_authentication_endpoint"] == f"{ISSUER}/oauth2/bc-authorize"
    assert found["backchannel_token_delivery_modes_supported"] == ["poll"]
    assert found["backchannel_user_code_parameter_supported"] is False
    assert BACKCHANNEL_GRANT in found["grant_types_supported"]
