"""RFC 9470 on the whole line: a challenge of the API is followed at the identity provider; the call goes through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from requests.utils import parse_dict_header
from werkzeug.test import TestResponse

from foundation.jose import peek_claims
from signing.scdev.device import Pkcs11Device
from signing.settings import AuthenticationDemand, AuthenticationSettings
from tests.fakes.softhsm import make_token
from tests.integration.oidc_world import answer
from tests.integration.whole_world import Whole, sign_hash, whole

pytestmark = pytest.mark.hsm

LOW, SUBSTANTIAL = (f"http://eidas.europa.eu/NotNotified/LoA/{name}" for name in ("low", "substantial"))
DEMAND = AuthenticationDemand((SUBSTANTIAL,), 300)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    directory: Path = tmp_path_factory.mktemp("challenge")
    demands = AuthenticationSettings(credentials=DEMAND, signatures=DEMAND)
    with (
        Pkcs11Device(make_token(directory / "token")) as device,
        whole(directory, device, authentication=demands) as running,
    ):
        yield running


def challenge_of(response: TestResponse) -> dict[str, Any]:
    """What a client reads: the parameters for its next request."""
    assert response.status_code == 401
    assert response.get_json()["error"] == "insufficient_user_authentication"
    scheme, _, rest = response.headers["WWW-Authenticate"].partition(" ")
    parameters = parse_dict_header(rest)  # type: ignore[no-untyped-call] # requests has none
    assert (scheme, parameters["error"]) == ("Bearer", "insufficient_user_authentication")
    return {name: parameters[name] for name in ("acr_values", "max_age") if name in parameters}


def test_a_challenge_is_followed_and_the_call_goes_through(line: Whole) -> None:
    rp, browser = line.idp.rp(), line.idp.browser()
    metadata = rp.http.get("/.well-known/openid-configuration").get_json()
    asked = {"credentialID": line.people["alice"].credential_id}
    tokens = rp.redeem(answer(browser.sign_in(browser.get(rp.url())))["code"]).get_json()
    assert peek_claims(tokens["access_token"])["acr"] == LOW
    # challenged: for what is too little
    challenge = challenge_of(line.call("credentials/info", asked, tokens["access_token"]))
    assert challenge == {"acr_values": SUBSTANTIAL, "max_age": "300"}
    assert set(challenge["acr_values"].split()) <= set(metadata["acr_values_supported"])
    # followed: only the second factor is missing
    page = browser.get(rp.pushed_url(rp.parameters(**challenge)))
    tokens = rp.redeem(answer(browser.step_up(page))["code"]).get_json()
    for method, body in (("credentials/info", asked), ("credentials/list", {})):
        assert line.call(method, body, tokens["access_token"]).status_code == 200
    # a refreshed token says of when the person signed in, not of when it was refreshed
    line.idp.clock.advance(301)
    tokens = rp.refresh(tokens["refresh_token"]).get_json()
    assert challenge_of(line.call("credentials/info", asked, tokens["access_token"])) == challenge
    # followed again: everything anew, since all of it is too old
    page = browser.sign_in(browser.get(rp.url(**challenge)))
    tokens = rp.redeem(answer(browser.step_up(page))["code"]).get_json()
    assert line.call("credentials/info", asked, tokens["access_token"]).status_code == 200


@pytest.mark.parametrize("beside", [False, True])
def test_an_approval_on_an_old_sign_in_is_challenged_and_made_anew(line: Whole, beside: bool) -> None:
    rp, browser, alice = line.idp.rp(), line.idp.browser(), line.people["alice"]
    service = rp.redeem(answer(browser.sign_in(browser.get(rp.url())))["code"]).get_json()["access_token"]
    line.idp.clock.advance(301)

    def call(sad: str) -> TestResponse:
        body = sign_hash(alice.credential_id, b"a document", **({"SAD": sad} if beside else {}))
        return line.call("signatures/signHash", body, service if beside else sad)

    def approved(**asked: str) -> str:
        url = rp.pushed_url({**rp.signing(b"a document", credentialID=alice.credential_id), **asked})
        page = browser.get(url)
        if 'data-form="sign-in"' in page.text:
            page = browser.sign_in(page)
        return str(rp.redeem(answer(browser.approve(browser.step_up(page)))["code"]).get_json()["access_token"])

    # the password is five minutes old, the code is not: the approval rests on both
    challenge = challenge_of(call(approved()))
    assert challenge == {"acr_values": SUBSTANTIAL, "max_age": "300"}
    answered = call(approved(**challenge))
    assert answered.status_code == 200, answered.text
    assert len(answered.get_json()["signatures"]) == 1


def test_a_clients_own_token_is_not_sent_to_a_person_that_it_has_not(line: Whole) -> None:
    own = line.idp.rp().token(grant_type="client_credentials").get_json()["access_token"]
    response = line.call("credentials/list", {"userID": line.people["alice"].account_id}, own)
    assert (response.status_code, response.get_json()["error"]) == (403, "unauthorized_client")
    asked = {"credentialID": line.people["alice"].credential_id}
    assert line.call("credentials/info", asked, own).status_code == 400
