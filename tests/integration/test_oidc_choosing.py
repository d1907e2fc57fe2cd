"""``signatureQualifier`` instead of ``credentialID`` (CSC API 2.0.0.2 8.4.2): the person says which credential."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from contract import sad
from idp.errors import CredentialUnavailable
from idp.web.services import CredentialView
from tests.integration.oidc_world import Browser, Credentials, RelyingParty, World, answer, error_of

QUALIFIER = "eu_eidas_aes"


class Several(Credentials):
    """What the signing service says of a person's credentials."""

    def __init__(self, *held: tuple[str, str | None, str]) -> None:
        self.held = held
        self.failing = False

    def of_account(self, account_id: str, client_id: str) -> tuple[CredentialView, ...]:
        """All of them."""
        if self.failing:
            raise CredentialUnavailable("it does not answer")
        return tuple(
            replace(self.read(account_id, client_id, name), qualifier=qualifier, status=status)
            for name, qualifier, status in self.held
        )


def holding(world: World, *held: tuple[str, str | None, str]) -> Several:
    found = Several(*held)
    world.app.extensions["privyseal"] = replace(world.app.extensions["privyseal"], credentials=found)
    return found


TWO = (("first", QUALIFIER, "enabled"), ("second", QUALIFIER, "enabled"))
OTHERS = (("a-seal", "eu_eidas_aeseal", "enabled"), ("none", None, "enabled"), ("off", QUALIFIER, "disabled"))


def asked(rp: RelyingParty, **changes: Any) -> dict[str, str]:
    parameters = rp.signing(**{"signatureQualifier": QUALIFIER, **changes})
    details = json.loads(parameters["authorization_details"])
    del details[0]["credentialID"]
    return {**parameters, "authorization_details": json.dumps(details)}


def begun(world: World, rp: RelyingParty) -> tuple[Browser, Any]:
    browser = world.browser()
    return browser, browser.sign_in(browser.get(rp.pushed_url(asked(rp))))


@pytest.mark.parametrize("named", ["first", "second"])
def test_the_person_chooses_and_the_sad_names_the_one(world: World, named: str) -> None:
    holding(world, *TWO, *OTHERS)
    rp = world.rp()
    browser, page = begun(world, rp)
    for credential_id in ("first", "second"):
        assert f'value="{credential_id}"' in page.text
    for credential_id in ("a-seal", "none", "off"):
        assert f'value="{credential_id}"' not in page.text
    page = browser.step_up(browser.submit(page, "choose-credential", credential_id=named))
    assert f'class="mono">{named}<' in page.text
    given = rp.redeem(answer(browser.approve(page))["code"]).get_json()
    key = world.app.extensions["privyseal"].keys.activation_key().verification_key()
    assert sad.decode(given["access_token"], [key]).credential_id == named
    assert given["credentialID"] == named
    (details,) = given["authorization_details"]
    assert details["credentialID"] == named
    assert "signatureQualifier" not in details
    assert world.events("sad.issued")[-1]["credential_id"] == named


def test_the_query_form_takes_a_qualifier_too(world: World) -> None:
    holding(world, *TWO)
    rp, browser = world.rp(), world.browser()
    parameters = rp.parameters(
        scope="credential",
        nonce=None,
        signatureQualifier=QUALIFIER,
        numSignatures="1",
        hashes="A" * 43,
        hashAlgorithmOID="2.16.840.1.101.3.4.2.1",
    )
    page = browser.sign_in(browser.get(rp.pushed_url(parameters)))
    page = browser.step_up(browser.submit(page, "choose-credential", credential_id="second"))
    assert rp.redeem(answer(browser.approve(page))["code"]).get_json()["credentialID"] == "second"


def test_nobody_is_asked_where_there_is_no_choice(world: World) -> None:
    holding(world, TWO[0], *OTHERS)
    rp = world.rp()
    browser, page = begun(world, rp)
    code = answer(browser.approve(browser.step_up(page)))["code"]
    assert rp.redeem(code).get_json()["credentialID"] == "first"


def test_OAU_17_nothing_else_can_be_chosen(world: World) -> None:
    holding(world, *TWO, *OTHERS)
    rp = world.rp()
    browser, page = begun(world, rp)
    for named in ("a-seal", "none", "off", "somebody-elses", ""):
        again = browser.submit(page, "choose-credential", credential_id=named)
        assert 'data-form="choose-credential"' in again.text
        assert 'data-form="choose"' not in again.text


def test_OAU_10_what_was_chosen_stays(world: World) -> None:
    holding(world, *TWO)
    rp = world.rp()
    browser, page = begun(world, rp)
    stepped = browser.step_up(browser.submit(page, "choose-credential", credential_id="first"))
    after = browser.submit(page, "choose-credential", credential_id="second")
    assert 'class="mono">first<' in after.text
    assert rp.redeem(answer(browser.approve(stepped))["code"]).get_json()["credentialID"] == "first"


def test_whoever_has_none_that_fits_is_told_and_goes_back(world: World) -> None:
    holding(world, *OTHERS)
    rp = world.rp()
    browser, page = begun(world, rp)
    assert "This credential cannot be used" in page.text
    action, token = (
        re.search(pattern, page.text) for pattern in (r'action="([^"]+/leave)"', r'name="csrf_token" value="([^"]+)"')
    )
    assert action is not None
    assert token is not None
    assert answer(browser.post(action[1], {"csrf_token": token[1]}))["error"] == "access_denied"


def test_a_service_that_does_not_answer_is_asked_again(world: World) -> None:
    found = holding(world, *TWO)
    found.failing = True
    rp = world.rp()
    browser, page = begun(world, rp)
    assert "The signing service does not answer" in page.text
    found.failing = False
    assert 'data-form="choose-credential"' in browser.get(page.request.path).text


def test_no_page_is_no_choice(world: World) -> None:
    holding(world, *TWO)
    rp, browser = world.rp(), world.browser()
    browser.sign_in(browser.get(rp.url()))
    silent = answer(browser.get(rp.pushed_url({**asked(rp), "prompt": "none"})))
    assert silent["error"] == "interaction_required"


def test_what_is_repeated_at_the_token_endpoint_is_what_was_asked_for(world: World) -> None:
    holding(world, *TWO)
    rp = world.rp()
    for repeated, error in ((asked(rp), None), (asked(rp, documentDigests=[{"hash": "A" * 43 + "="}]), "x")):
        browser, page = begun(world, rp)
        page = browser.step_up(browser.submit(page, "choose-credential", credential_id="second"))
        code = answer(browser.approve(page))["code"]
        response = rp.redeem(code, authorization_details=repeated["authorization_details"])
        if error is None:
            assert response.get_json()["credentialID"] == "second"
        else:
            assert error_of(response) == "invalid_authorization_details"


def test_a_qualifier_in_no_form_of_one_is_refused(world: World) -> None:
    rp = world.rp()
    for qualifier in ("", "x" * 65, "eu eidas", 1, None):
        assert error_of(rp.push(asked(rp, signatureQualifier=qualifier))) == "invalid_authorization_details"


def test_a_qualifier_beside_a_credential_is_refused(world: World) -> None:
    rp = world.rp()
    assert error_of(rp.push(rp.signing(signatureQualifier=QUALIFIER))) == "invalid_authorization_details"
