"""What a request may say about the authentication it wants, pushed and plain, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from foundation.clock import epoch
from foundation.jose import peek_claims
from tests.integration import oidc_world
from tests.integration.oidc_world import (
    NOW,
    Browser,
    RelyingParty,
    Seed,
    World,
    answer,
    start_copy,
    with_query,
)

LOW, SUBSTANTIAL, HIGH = (f"http://eidas.europa.eu/NotNotified/LoA/{name}" for name in ("low", "substantial", "high"))
UNKNOWN = "urn:example:unheard-of"

FLOOR = """
  - id: another-partys-floor
    action: sign_in
    when: {client: other}
    require: substantial
"""


@pytest.fixture
def world(seeded: Seed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The client ``other`` has a floor of its own."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(oidc_world.POLICY.read_text() + FLOOR)
    monkeypatch.setattr(oidc_world, "POLICY", policy)
    made = start_copy(seeded, tmp_path / "idp")
    yield made
    made.engine.dispose()


@pytest.fixture(params=["plain", "pushed"])
def ask(request: pytest.FixtureRequest) -> Any:
    """Send a browser with a request of a relying party's, in either way."""

    def send(rp: RelyingParty, browser: Browser, **changes: str | None) -> TestResponse:
        pushed = request.param == "pushed"
        return browser.get(rp.pushed_url(rp.parameters(**changes)) if pushed else rp.url(**changes))

    return send


def essential(*values: str) -> str:
    """The ``claims`` parameter that insists on one of these."""
    asked: dict[str, Any] = {"essential": True, **({"value": values[0]} if len(values) == 1 else {"values": values})}
    return json.dumps({"id_token": {"acr": asked}})


def said(rp: RelyingParty, response: TestResponse) -> dict[str, Any]:
    """The claims of the ID token; the access token and its introspection say the same."""
    tokens = rp.redeem(answer(response)["code"]).get_json()
    claims = dict(peek_claims(tokens["id_token"]))
    access, seen = peek_claims(tokens["access_token"]), rp.world.rp("csc").introspect(tokens["access_token"])
    for name in ("acr", "auth_time"):
        assert claims[name] == access[name] == seen[name]
    assert claims["amr"] == access["amr"]
    return claims


# acr_values


def test_the_first_value_that_can_be_had_is_stepped_up_to_and_echoed(world: World, ask: Any) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.sign_in(ask(rp, browser, acr_values=f"{UNKNOWN} {HIGH} {SUBSTANTIAL} {LOW}"))
    world.clock.advance(30)
    claims = said(rp, browser.step_up(page))
    assert claims["acr"] == SUBSTANTIAL
    assert {"pwd", "otp", "sms", "mfa"} == set(claims["amr"])
    assert claims["auth_time"] == epoch(NOW), "the oldest of what it rests on"


def test_the_order_is_the_clients_not_the_levels(world: World, ask: Any) -> None:
    rp, browser = world.rp(), world.browser()
    claims = said(rp, browser.sign_in(ask(rp, browser, acr_values=f"{LOW} {SUBSTANTIAL}")))
    assert claims["acr"] == LOW
    assert world.phone.texts == []


def test_values_that_are_in_no_policy_are_passed_over(world: World, ask: Any) -> None:
    rp, browser = world.rp(), world.browser()
    claims = said(rp, browser.sign_in(ask(rp, browser, acr_values=f"{UNKNOWN} 0 {LOW}x")))
    assert claims["acr"] == LOW


def test_OAU_12_an_acr_value_in_the_address_lowers_no_floor(world: World, ask: Any) -> None:
    rp, browser = world.rp("other"), world.browser()
    page = browser.sign_in(ask(rp, browser, acr_values=LOW))
    assert 'data-form="choose"' in page.text
    assert said(rp, browser.step_up(page))["acr"] == SUBSTANTIAL


def test_OAU_12_nor_does_one_that_stands_beside_a_pushed_request(world: World) -> None:
    rp = world.rp("other")
    url = rp.pushed_url(rp.parameters(acr_values=SUBSTANTIAL)) + "&acr_values=" + LOW
    response = world.browser().get(url)
    assert response.status_code == 400
    assert "Location" not in response.headers


def test_OAU_12_two_lists_of_values_are_refused(world: World) -> None:
    rp = world.rp()
    response = world.browser().get(
        with_query("/oauth2/authorize", rp.parameters(acr_values=HIGH)) + f"&acr_values={LOW}"
    )
    assert response.status_code == 400
    assert "Location" not in response.headers


# The essential claim


def test_OAU_12_an_essential_acr_out_of_reach_is_an_error_and_no_lower_level(world: World, ask: Any) -> None:
    rp, browser = world.rp(), world.browser()
    got = answer(browser.sign_in(ask(rp, browser, claims=essential(HIGH, UNKNOWN), acr_values=LOW)))
    assert got["error"] == "unmet_authentication_requirements"
    assert "code" not in got
    # with a session, and in silence, too
    rp.code(browser)
    for prompt in (None, "none"):
        got = answer(ask(rp, browser, claims=essential(HIGH), prompt=prompt))
        assert got["error"] == "unmet_authentication_requirements"
    assert world.phone.texts == [], "nobody is troubled for what cannot be"


@pytest.mark.parametrize("values", [(SUBSTANTIAL,), (UNKNOWN, SUBSTANTIAL), (HIGH, SUBSTANTIAL, LOW)])
def test_an_essential_acr_is_stepped_up_to_and_displaces_the_wishes(
    world: World, ask: Any, values: tuple[str, ...]
) -> None:
    rp, browser = world.rp(), world.browser()
    page = browser.sign_in(ask(rp, browser, claims=essential(*values), acr_values=LOW))
    assert said(rp, browser.step_up(page))["acr"] == SUBSTANTIAL


def test_OAU_12_an_essential_acr_below_the_floor_is_told_truly_and_lowers_nothing(world: World, ask: Any) -> None:
    rp, browser = world.rp("other"), world.browser()
    page = browser.sign_in(ask(rp, browser, claims=essential(LOW)))
    assert 'data-form="choose"' in page.text
    claims = said(rp, browser.step_up(page))
    assert claims["acr"] == LOW
    assert {"pwd", "sms"} <= set(claims["amr"])


def test_a_claim_that_is_only_wished_for_is_a_wish(world: World, ask: Any) -> None:
    rp, browser = world.rp(), world.browser()
    wished = json.dumps({"id_token": {"acr": {"values": [HIGH, LOW]}, "auth_time": {"essential": True}}})
    assert said(rp, browser.sign_in(ask(rp, browser, claims=wished)))["acr"] == LOW


@pytest.mark.parametrize(
    "claims",
    [
        "{" + '"id_token":' * 300,
        '{"id_token":{"acr":{"essential":true,"values":[' + ",".join(['"urn:a"'] * 11) + "]}}}",
        '{"id_token":{"acr":{"essential":true,"value":"' + "a" * 256 + '"}}}',
        '{"id_token":{"acr":{"essential":true,"value":""}}}',
        '{"id_token":{"acr":{"essential":1,"value":"urn:a"}}}',
        '{"id_token":{"acr":{"essential":true,"value":"urn:a","value":"urn:b"}}}',
    ],
)
def test_OAU_12_claims_that_cannot_be_read_are_refused_not_ignored(world: World, claims: str) -> None:
    rp = world.rp()
    pushed = rp.push(rp.parameters(claims=claims))
    assert (pushed.status_code, pushed.get_json()["error"]) == (400, "invalid_request")
    assert answer(world.browser().get(rp.url(claims=claims)))["error"] == "invalid_request"


# max_age


def test_max_age_0_asks_again_whoever_signed_in_this_second(world: World, ask: Any) -> None:
    rp, browser = world.rp(), world.browser()
    rp.code(browser)
    page = ask(rp, browser, max_age="0")
    assert 'data-form="sign-in"' in page.text
    assert said(rp, browser.sign_in(page))["auth_time"] == epoch(NOW)


def test_max_age_is_kept_to_the_second(world: World, ask: Any) -> None:
    rp, browser = world.rp(), world.browser()
    rp.code(browser)
    world.clock.advance(60)
    assert said(rp, ask(rp, browser, max_age="60"))["auth_time"] == epoch(NOW)
    world.clock.advance(1)
    page = ask(rp, browser, max_age="60")
    assert 'data-form="sign-in"' in page.text
    assert said(rp, browser.sign_in(page))["auth_time"] == epoch(NOW) + 61


def test_max_age_is_about_every_factor_that_the_level_rests_on(world: World, ask: Any) -> None:
    rp, browser = world.rp("other"), world.browser()
    browser.step_up(browser.sign_in(ask(rp, browser)))
    world.clock.advance(100)
    page = browser.sign_in(ask(rp, browser, max_age="60"))
    assert 'data-form="choose"' in page.text, "an old code does not go with a new password"
    assert said(rp, browser.step_up(page))["auth_time"] == epoch(NOW) + 100


@pytest.mark.parametrize("max_age", ["0", "60"])
def test_who_would_have_to_sign_in_again_is_login_required_in_silence(world: World, ask: Any, max_age: str) -> None:
    rp, browser = world.rp(), world.browser()
    rp.code(browser)
    world.clock.advance(61)
    assert answer(ask(rp, browser, prompt="none", max_age=max_age))["error"] == "login_required"
    assert answer(ask(rp, browser, prompt="none", max_age="61"))["code"]


# prompt


@pytest.mark.parametrize("prompt", ["login", "select_account", "login select_account"])
def test_a_prompt_to_sign_in_asks_whoever_is_signed_in(world: World, ask: Any, prompt: str) -> None:
    rp, browser = world.rp(), world.browser()
    rp.code(browser)
    world.clock.advance(10)
    page = ask(rp, browser, prompt=prompt)
    assert 'data-form="sign-in"' in page.text
    assert said(rp, browser.sign_in(page))["auth_time"] == epoch(NOW) + 10


def test_prompt_consent_asks_for_an_approval(world: World, ask: Any) -> None:
    rp, browser = world.rp(), world.browser()
    rp.code(browser)
    page = ask(rp, browser, prompt="consent")
    assert 'data-form="consent"' in page.text
    assert said(rp, browser.approve(page))["acr"] == LOW
    page = browser.sign_in(ask(rp, browser, prompt="login consent"))
    assert 'data-form="consent"' in page.text


def test_prompt_none_goes_through_where_nothing_is_to_be_asked(world: World, ask: Any) -> None:
    rp, browser = world.rp(), world.browser()
    rp.code(browser)
    assert said(rp, ask(rp, browser, prompt="none"))["acr"] == LOW
    assert answer(ask(world.rp("other"), browser, prompt="none"))["error"] == "interaction_required"
    # a wish that would need a page is a wish, and what is asked for by the way is not granted in silence
    assert answer(ask(rp, browser, prompt="none", acr_values=SUBSTANTIAL))["error"] == "interaction_required"


@pytest.mark.parametrize(
    "prompt", ["none login", "login none", "none consent", "none select_account", "None", "create"]
)
def test_OAU_12_prompts_that_contradict_one_another_or_are_unknown_are_refused(world: World, prompt: str) -> None:
    rp, browser = world.rp(), world.browser()
    rp.code(browser)
    assert answer(browser.get(rp.url(prompt=prompt)))["error"] == "invalid_request"
    pushed = rp.push(rp.parameters(prompt=prompt))
    assert (pushed.status_code, pushed.get_json()["error"]) == (400, "invalid_request")


# response_type and response_mode


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_type": "CODE"}, "unsupported_response_type"),
        ({"response_type": "code code"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"response_mode": "query.jwt"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "1e3"}, "invalid_request"),
        ({"max_age": "9" * 10}, "invalid_request"),
        ({"acr_values": " ".join(["urn:a"] * 11)}, "invalid_request"),
        ({"acr_values": "urn:a\x7f"}, "invalid_request"),
    ],
)
def test_OAU_12_the_same_abuse_is_refused_in_both_ways_and_answered_in_the_query(
    world: World, changes: dict[str, str | None], error: str
) -> None:
    rp = world.rp()
    got = answer(world.browser().get(rp.url(**changes)))
    assert (got["error"], got["state"]) == (error, "some-state")
    pushed = rp.push(rp.parameters(**changes))
    assert (pushed.status_code, pushed.get_json()["error"]) == (400, error)


def test_what_can_be_asked_for_is_published(world: World) -> None:
    metadata = world.app.test_client().get("/.well-known/openid-configuration").get_json()
    assert metadata["acr_values_supported"] == [LOW, SUBSTANTIAL]
    assert metadata["prompt_values_supported"] == ["none", "login", "consent", "select_account"]
    assert (metadata["response_types_supported"], metadata["response_modes_supported"]) == (["code"], ["query"])
    assert metadata["claims_parameter_supported"] is True
