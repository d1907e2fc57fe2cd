"""SAD-06 and SAD-11 through the running product: an end at the identity provider is one at the module, too.

Identity provider, web tier and module over their link, SQLite and SoftHSM2; events really go over HTTP.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from contract import event as security_events
from contract.event import SecurityEvent
from foundation.clock import epoch
from foundation.files import write_secret
from foundation.jose import generate_signing_key
from idp.cli.administration import main
from idp.delivery import Deliverer, Delivery
from idp.storage import outbox
from idp.storage.outbox import LIFE_SECONDS
from idp.web.policies import FixedPolicy
from idp.web.services import Services
from signing.scdev.device import Pkcs11Device
from tests.fakes.softhsm import make_token
from tests.integration.bola_requests import to_dialect
from tests.integration.bola_tables import DIALECTS
from tests.integration.oidc_world import ACCOUNT, ISSUER, PASSWORD, POLICY, RESOURCE, SAM, Browser, answer
from tests.integration.whole_world import Whole, sign_hash, whole

pytestmark = pytest.mark.hsm
AGAIN = 7
"""Seconds after which what is approved anew is not of the event's time any more."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("events")


@pytest.fixture(scope="module")
def line(directory: Path) -> Iterator[Whole]:
    with Pkcs11Device(make_token(directory / "token")) as device, whole(directory, device) as running:
        yield running


def services_of(line: Whole) -> Services:
    found = line.idp.app.extensions["privyseal"]
    assert isinstance(found, Services)
    return found


def post_to(line: Whole) -> Callable[..., requests.Response]:
    """The settings name the service by the name that browsers know; here it listens on a port of its own."""

    def post(_url: str, **options: Any) -> requests.Response:
        return requests.post(f"{line.web_url}/events", timeout=10, **options)

    return post


def deliver(line: Whole) -> None:
    assert Deliverer(services_of(line), post_to(line)).deliver()
    assert waiting(line) == 0


def waiting(line: Whole) -> int:
    with line.idp.engine.connect() as connection:
        return outbox.backlog(connection, 0).waiting


def approve(line: Whole, document: bytes, username: str = "alice") -> tuple[str, Browser]:
    """A SAD, and the browser in whose session it was approved."""
    rp, browser = line.idp.rp(), line.idp.browser()
    asked = rp.signing(document, credentialID=line.people[username].credential_id)
    page = line.sign_in(browser, browser.get(rp.pushed_url(asked)), username)
    response = rp.redeem(answer(browser.approve(browser.step_up(page)))["code"])
    return str(response.get_json()["access_token"]), browser


def redeem(
    line: Whole, sad: str, document: bytes, username: str = "alice", version: str = "v2"
) -> tuple[int, str]:
    body = to_dialect(DIALECTS[version], sign_hash(line.people[username].credential_id, document))
    response = line.call("signatures/signHash", body, sad, version)
    return response.status_code, response.get_json().get("error_description", "signed")


REFUSED = (400, "Invalid parameter SAD")
SIGNED = (200, "signed")


def command(line: Whole, directory: Path, *arguments: str) -> None:
    """An administrator's command, in what would be a process of its own."""
    config = directory / "idp.toml"
    config.write_text(
        f'mode = "development"\nissuer = "{ISSUER}"\ndatabase_url = "sqlite:///{directory / "idp" / "idp.sqlite"}"\n'
        f'key_dir = "{directory / "idp" / "keys"}"\npolicy_file = "{POLICY}"\n'
        f'[signing]\ncsc_base = "{RESOURCE}"\nsam_id = "{SAM}"\n'
    )
    assert main([*arguments, "--config", str(config), "--json"], clock=line.idp.clock) == 0


def test_SAD_11_a_sad_of_a_session_that_was_signed_out_is_refused_and_another_sessions_is_not(line: Whole) -> None:
    mine, browser = approve(line, b"one")
    elsewhere, _ = approve(line, b"two")
    browser.submit(browser.get("/account/"), "sign-out")
    deliver(line)
    assert redeem(line, mine, b"one") == REFUSED
    # The same person, at the same time, on another device.
    assert redeem(line, elsewhere, b"two") == SIGNED


def test_SAD_11_a_sad_of_a_session_that_the_person_ended_from_another_browser_is_refused(line: Whole) -> None:
    sad, _ = approve(line, b"one")
    other = line.idp.browser()
    page = line.sign_in(other, other.get("/account/"), "alice")
    while re.search('data-form="revoke-session"', page.text):
        page = other.submit(page, "revoke-session")
    deliver(line)
    assert redeem(line, sad, b"one") == REFUSED


def test_SAD_11_a_sad_of_a_session_that_a_relying_party_had_signed_out_is_refused(line: Whole) -> None:
    sad, browser = approve(line, b"one")
    browser.submit(browser.get("/oauth2/logout"), "sign-out")
    deliver(line)
    assert redeem(line, sad, b"one") == REFUSED


def test_SES_07_SAD_11_when_another_person_takes_over_the_browser_the_first_ones_sad_is_refused(line: Whole) -> None:
    sad, browser = approve(line, b"one")
    rp = line.idp.rp()
    page = browser.get(rp.url(prompt="login"))
    line.sign_in(browser, page, "bob")
    deliver(line)
    assert redeem(line, sad, b"one") == REFUSED


def test_SAD_11_a_sad_that_the_client_gave_back_is_refused(line: Whole) -> None:
    sad, _ = approve(line, b"one")
    assert line.idp.rp().post("/oauth2/revoke", {"token": sad}).status_code == 204
    deliver(line)
    assert redeem(line, sad, b"one") == REFUSED


def test_OAU_02_SAD_11_a_code_that_comes_again_takes_the_sad_of_the_first_time_along(line: Whole) -> None:
    rp, browser = line.idp.rp(), line.idp.browser()
    asked = rp.signing(b"one", credentialID=line.people["alice"].credential_id)
    page = line.sign_in(browser, browser.get(rp.pushed_url(asked)), "alice")
    code = answer(browser.approve(browser.step_up(page)))["code"]
    sad = rp.redeem(code).get_json()["access_token"]
    assert rp.redeem(code).status_code == 400
    deliver(line)
    assert redeem(line, sad, b"one") == REFUSED


@pytest.mark.parametrize("what", ["phone", "password"])
def test_SAD_06_a_sad_from_before_a_factor_was_replaced_is_refused_and_one_from_after_is_not(
    line: Whole, directory: Path, what: str
) -> None:
    before = {version: approve(line, version.encode())[0] for version in DIALECTS}
    others, _ = approve(line, b"two", "bob")
    options: tuple[str, ...]
    if what == "phone":
        options = ("set-address", "--username", "alice", "--phone", "+43660123457", "--wait-hours", "0")
    else:
        path = directory / "password"
        path.unlink(missing_ok=True)
        write_secret(path, PASSWORD.encode())
        options = ("set-password", "--username", "alice", "--password-file", str(path))
    command(line, directory, "account", *options)
    # In the very second of the change; by the clock nobody could tell which was first.
    deliver(line)
    for version, sad in before.items():
        assert redeem(line, sad, version.encode(), version=version) == REFUSED
    assert redeem(line, others, b"two", "bob") == SIGNED
    line.idp.clock.advance(AGAIN)
    for version in DIALECTS:
        after, _ = approve(line, b"three")
        assert redeem(line, after, b"three", version=version) == SIGNED


def test_SAD_11_a_sad_of_an_account_that_was_disabled_is_refused(line: Whole, directory: Path) -> None:
    sad, _ = approve(line, b"one", "bob")
    command(line, directory, "account", "disable", "--username", "bob")
    deliver(line)
    assert redeem(line, sad, b"one", "bob") == REFUSED
    command(line, directory, "account", "enable", "--username", "bob")
    line.idp.clock.advance(AGAIN)
    after, _ = approve(line, b"two", "bob")
    assert redeem(line, after, b"two", "bob") == SIGNED


@pytest.mark.parametrize("how", ["disable", "renew-secret"])
def test_SAD_11_a_sad_of_a_client_that_was_disabled_or_whose_secret_leaked_is_refused(
    line: Whole, directory: Path, how: str
) -> None:
    sad, _ = approve(line, b"one")
    more: tuple[str, ...] = ()
    if how == "renew-secret":
        (directory / "renewed").unlink(missing_ok=True)
        more = ("--secret-file", str(directory / "renewed"), "--revoke")
    command(line, directory, "client", how, "--client-id", "example-contracts", *more)
    deliver(line)
    assert redeem(line, sad, b"one") == REFUSED
    if how == "disable":
        command(line, directory, "client", "enable", "--client-id", "example-contracts")
    else:
        line.idp.secrets["example-contracts"] = (directory / "renewed").read_text()
    line.idp.clock.advance(AGAIN)
    after, _ = approve(line, b"two")
    assert redeem(line, after, b"two") == SIGNED


def test_SAD_11_an_event_that_the_web_tier_withholds_is_bounded_by_the_sads_life(line: Whole) -> None:
    """What the threat model states: whoever controls the web tier gains the minutes that the SAD has left."""
    sad, browser = approve(line, b"one")
    other, _ = approve(line, b"two")
    browser.submit(browser.get("/account/"), "sign-out")

    def withheld(_url: str, **_options: Any) -> requests.Response:
        raise requests.ConnectionError("dropped")

    deliverer = Deliverer(services_of(line), withheld)
    assert not deliverer.deliver()
    assert redeem(line, sad, b"one") == SIGNED
    line.idp.clock.advance(300)
    assert redeem(line, other, b"two") == (400, "SAD expired")
    assert waiting(line) == 1
    line.idp.clock.advance(LIFE_SECONDS - 300)
    deliverer.deliver()
    assert waiting(line) == 0
    assert [(item["notice"], item["attempts"]) for item in line.idp.events("event.dropped")] == [("session-ended", 1)]


@pytest.mark.parametrize(
    ("change", "status", "err"),
    [
        ({}, 202, None),
        ({"aud": "urn:privyseal:sam:other"}, 400, "invalid_audience"),
        ({"iss": "https://other.example.org"}, 400, "invalid_issuer"),
        ({"iat": 60, "not_before": 60}, 400, "invalid_request"),
        ({"iat": -7200, "not_before": -7200}, 400, "invalid_request"),
    ],
)
def test_an_event_from_the_wire_is_judged_by_the_module_alone(
    line: Whole, change: dict[str, Any], status: int, err: str | None
) -> None:
    now = epoch(line.idp.clock.now())
    times = {name: now + change.pop(name) for name in ("iat", "not_before") if name in change}
    event = SecurityEvent(ISSUER, SAM, f"jti-{status}-{now}-{err}", now, "client-disabled", "nobody", now)
    token = security_events.encode(replace(event, **change, **times), services_of(line).keys.activation_key())
    response = post_to(line)("", data=token, headers={"Content-Type": "application/secevent+jwt"})
    assert (response.status_code, response.content and response.json()["err"]) == (status, err or b"")


def test_an_event_under_the_token_key_or_a_made_up_one_revokes_nothing(line: Whole) -> None:
    sad, _ = approve(line, b"one")
    now = epoch(line.idp.clock.now())
    event = SecurityEvent(ISSUER, SAM, "jti-forged", now, "authenticator-changed", ACCOUNT, now)
    for key in (services_of(line).keys.token_key(), generate_signing_key()):
        token = security_events.encode(event, key)
        response = post_to(line)("", data=token, headers={"Content-Type": "application/secevent+jwt"})
        assert (response.status_code, response.json()["err"]) == (400, "invalid_request")
    response = post_to(line)("", data=sad, headers={"Content-Type": "application/secevent+jwt"})
    assert response.status_code == 400
    assert redeem(line, sad, b"one") == SIGNED


def test_two_processes_over_one_outbox_deliver_each_event_and_the_module_keeps_one(line: Whole) -> None:
    sad, browser = approve(line, b"one")
    browser.submit(browser.get("/account/"), "sign-out")
    deliverers = [Deliverer(services_of(line), post_to(line)) for _ in range(4)]
    threads = [threading.Thread(target=deliverer.deliver) for deliverer in deliverers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert waiting(line) == 0
    assert redeem(line, sad, b"one") == REFUSED


def test_the_server_delivers_by_itself_right_after_the_request_through_its_egress_guard(line: Whole) -> None:
    services = services_of(line)
    address = line.web_url.removeprefix("http://")
    signing = replace(services.settings.signing, events_endpoint=f"{line.web_url}/events")
    settings = replace(services.settings, signing=signing, egress_allow=(address,))
    pointed = replace(services, policies=FixedPolicy(settings, services.policy))
    delivery = Delivery(Deliverer(pointed), poll_seconds=30)
    delivery.start()
    try:
        sad, browser = approve(line, b"one")
        browser.submit(browser.get("/account/"), "sign-out")
        delivery.wake()
        for _ in range(1000):
            if waiting(line) == 0:
                break
            threading.Event().wait(0.05)
        assert redeem(line, sad, b"one") == REFUSED
    finally:
        delivery.stop()
