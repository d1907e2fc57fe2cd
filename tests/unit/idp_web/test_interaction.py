"""The pages of an interaction, through HTTP and a real database: what people do, and what others try."""

from __future__ import annotations

import dataclasses
import html
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text

from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.errors import CredentialUnavailable, CredentialUnusable
from idp.storage.engine import reading
from idp.storage.models import decisions
from idp.web.interaction import BeginInteraction
from tests.fakes.idp import Idp
from tests.unit.idp_web.interactions import (
    SHA256,
    SUBSTANTIAL,
    at_consent,
    last,
    plain,
    signature,
)

# Why more is asked for, in the person's words

KIND = {
    "en": "needs a second factor of another kind.",
    "es": "requiere un segundo factor de otro tipo.",
    "de": "erfordert einen zweiten Faktor anderer Art.",
    "fr": "exige un second facteur d’une autre nature.",
}


def reason(page: str) -> str:
    """The sentence above the choice."""
    found = re.search(r'<p class="lacking">(.*?)</p>', page, re.DOTALL)
    return "" if found is None else html.unescape(found[1])


@pytest.mark.parametrize(
    ("language", "qualifier", "what"),
    [
        ("en", "eu_eidas_qes", "Signing with a qualified certificate"),
        ("es", "eu_eidas_qes", "La firma con un certificado cualificado"),
        ("de", "eu_eidas_qes", "Das Unterschreiben mit einem qualifizierten Zertifikat"),
        ("fr", "eu_eidas_qes", "La signature avec un certificat qualifié"),
        ("en", "eu_eidas_aes", "Signing documents"),
        ("de", "eu_eidas_aes", "Das Unterschreiben von Dokumenten"),
    ],
)
def test_the_page_says_in_words_why_a_signature_needs_more_and_what_is_proved(
    idp: Idp, browser: FlaskClient, language: str, qualifier: str, what: str
) -> None:
    idp.credentials.view = dataclasses.replace(idp.credentials.view, qualifier=qualifier)
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    page = browser.get(path, headers={"Accept-Language": language}).text
    assert reason(page) == f"{what} {KIND[language]}"
    proved = re.search(r'<ul class="proved".*?</ul>', page, re.DOTALL)
    assert proved is not None
    assert proved[0].count("<li>") == 1
    idp.post(browser, path, "/factor", factor="sms_otp")
    idp.post(browser, path, "/code", code=idp.inbox.code)
    assert reason(browser.get(path).text) == "", "nothing is missing any more"


def test_who_wanted_a_stronger_sign_in_is_named(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain(acr_values=(SUBSTANTIAL,)))
    idp.sign_in(browser, path)
    party = "<bdi>Example Contracts</bdi>"
    said = f"Your sign-in to {party} needs a second factor of another kind. {party} asks for it."
    assert reason(browser.get(path).text) == said


# What people do


def test_the_sign_in_page_says_which_rule_asks_for_it_and_what_is_missing(idp: Idp, browser: FlaskClient) -> None:
    shown = browser.get(idp.path(browser, signature())).text
    assert 'data-form="sign-in"' in shown
    rules = re.findall(r'data-reason data-rule="([^"]+)" data-file="tests.yaml" data-line="(\d+)">([^<]+)', shown)
    assert [rule for rule, _line, _text in rules] == ["sign", "level:substantial", "sign"]
    assert all(int(line) > 0 and text for _rule, line, text in rules)
    assert "Why am I asked for this?" in shown


def test_OTP_11_the_reasons_for_signing_in_are_the_same_whoever_is_named(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bob", phone=None, proofing="none")
    path = idp.path(browser, signature())
    pages = [idp.sign_in(browser, path, username, "wrong").text for username in ("alice", "bob", "nobody")]
    reasons = [re.findall(r"<li>.*?</li>", page, re.DOTALL) for page in pages]
    assert reasons[0]
    assert reasons[0] == reasons[1] == reasons[2]


def test_a_signature_takes_password_code_and_consent_and_yields_an_approval(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    assert 'data-form="sign-in"' in browser.get(path).text
    assert idp.sign_in(browser, path).location == path
    choose = browser.get(path).text
    assert 'data-form="choose"' in choose
    assert re.search(r'data-reason data-rule="sign" data-file="tests.yaml" data-line="\d+"', choose)
    assert "+34•••••••01" in choose
    assert "+34600000001" not in choose
    assert idp.pass_otp(browser, path).location == path
    assert idp.approve(browser, path).location == "http://rp.localhost:8405/callback?ok"
    approval = last(idp).approval
    assert approval is not None
    assert approval.account_id == idp.alice
    assert (approval.loa, approval.acr, approval.client_id) == ("substantial", SUBSTANTIAL, "example-contracts")
    assert [item.factor for item in approval.evidence] == ["password", "sms_otp"]
    assert last(idp).payload == {"state": "xyz"}
    with reading(idp.engine) as connection:
        decision = connection.execute(select(decisions).where(decisions.c.id == approval.decision_id)).one()
        events = connection.execute(text("select event from audit_entries order by sequence")).scalars().all()
    assert decision.detail["decision"]["reasons"][0]["rule"] == "sign"
    assert events == ["login.succeeded", "otp.sent", "otp.accepted", "transaction.approved"]


def test_the_consent_page_shows_who_asks_what_digests_and_which_credential(idp: Idp, browser: FlaskClient) -> None:
    shown = browser.get(at_consent(idp, browser)).text
    assert "<bdi>Example Contracts</bdi> asks for your signature" in shown
    assert "Name as stated by <bdi>Example Contracts</bdi>" in shown
    assert f'data-digest="{bytes(range(32)).hex()}"' in shown
    assert "<span>0001</span><span>0203</span>" in shown
    assert 'Digest of the data to be signed, <span class="whole">SHA-256</span>' in shown
    assert "C=ES,O=Example,CN=Alice Example" in shown
    assert "C=ES,CN=Example Issuing CA" in shown
    assert idp.credentials.asked == [(idp.alice, "example-contracts", "cred-1")]


def test_a_code_by_email_serves_as_well(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    idp.pass_otp(browser, path, "email_otp")
    assert idp.approve(browser, path).status_code == 302
    message = idp.inbox.messages[-1]
    assert (message.to, getattr(message, "subject", "")) == ("alice@example.org", "Your code for Example Contracts")


def test_the_message_says_who_asks_for_what_and_carries_the_pages_reference(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    said = idp.inbox.messages[-1].text
    assert "Example Contracts: sign 2 documents (Rental contract pdf, Annex pdf)" in said
    reference = re.search(r'class="reference">(\w{4})<', browser.get(path).text)
    assert reference is not None
    assert f"Reference {reference.group(1)}" in said


def test_a_sign_in_needs_no_consent_and_the_next_one_no_page(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain())
    assert idp.sign_in(browser, path).location.endswith("?ok")
    assert idp.begin(browser, plain(client_id="another")).location.endswith("?ok")
    assert [item.approval.client_id for item in idp.finished if item.approval] == ["example-contracts", "another"]


def test_prompt_consent_asks_even_for_a_sign_in(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain(prompt=("consent",)))
    assert idp.sign_in(browser, path).location == path
    assert "wants to know who you are" in browser.get(path).text
    assert idp.approve(browser, path).location.endswith("?ok")


def test_a_person_who_does_not_approve_gives_access_denied(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    assert idp.post(browser, path, "/consent", decision="deny").location.endswith("?access_denied")
    assert last(idp).approval is None
    assert browser.get(path).status_code == 400


def test_whoever_leaves_before_signing_in_is_taken_back(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, signature())
    assert idp.post(browser, path, "/leave").location.endswith("?access_denied")


@pytest.mark.parametrize(
    ("request_", "error"),
    [(plain(prompt=("none",)), "login_required"), (signature(prompt=("none",)), "login_required")],
)
def test_prompt_none_shows_no_page_to_strangers(
    idp: Idp, browser: FlaskClient, request_: BeginInteraction, error: str
) -> None:
    assert idp.begin(browser, request_).location.endswith(f"?{error}")


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (plain(prompt=("none",)), "ok"),
        (plain(prompt=("none", "consent")), "consent_required"),
        (plain(prompt=("none",), client_id="strict"), "interaction_required"),
        (signature(prompt=("none",)), "interaction_required"),
    ],
)
def test_prompt_none_says_what_would_be_needed(
    idp: Idp, browser: FlaskClient, request_: BeginInteraction, error: str
) -> None:
    idp.sign_in(browser, idp.path(browser, plain()))
    assert idp.begin(browser, request_).location.endswith(f"?{error}")


def test_OAU_12_an_essential_acr_that_cannot_be_reached_is_an_error_not_a_lower_level(
    idp: Idp, browser: FlaskClient
) -> None:
    path = idp.path(browser, plain(essential_acr=("http://eidas.europa.eu/NotNotified/LoA/high",)))
    assert idp.sign_in(browser, path).location.endswith("?unmet_authentication_requirements")
    assert last(idp).approval is None


def test_an_acr_that_was_asked_for_raises_a_sign_in(idp: Idp, browser: FlaskClient) -> None:
    path = idp.path(browser, plain(acr_values=(SUBSTANTIAL,)))
    assert idp.sign_in(browser, path).location == path
    assert idp.pass_otp(browser, path).location.endswith("?ok")
    approval = last(idp).approval
    assert approval is not None
    assert approval.acr == SUBSTANTIAL


@pytest.mark.parametrize("again", [{"prompt": ("login",)}, {"max_age": 0}, {"max_age": 60}])
def test_a_fresh_login_is_asked_for_when_the_request_wants_one(
    idp: Idp, browser: FlaskClient, again: dict[str, Any]
) -> None:
    idp.sign_in(browser, idp.path(browser, plain()))
    idp.clock.advance(61)
    path = idp.path(browser, plain(**again))
    assert 'data-form="sign-in"' in browser.get(path).text
    assert idp.sign_in(browser, path).location.endswith("?ok")
    approval = last(idp).approval
    assert approval is not None
    assert approval.auth_time == idp.clock.now()


def test_somebody_not_identified_well_enough_reads_so_and_goes_back(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bob", proofing="low")
    path = idp.path(browser, signature())
    idp.sign_in(browser, path, "bob")
    page = browser.get(path)
    assert page.status_code == 403
    assert "identified more thoroughly" in page.text
    assert idp.post(browser, path, "/leave").location.endswith("?access_denied")


# Consent


@pytest.mark.parametrize("binding", ["", "0" * 64])
def test_OAU_10_consent_to_something_else_than_was_shown_is_refused(
    idp: Idp, browser: FlaskClient, binding: str
) -> None:
    path = at_consent(idp, browser)
    response = idp.post(browser, path, "/consent", decision="approve", binding=binding)
    assert response.status_code == 400
    assert idp.finished == []


def test_OAU_10_the_consent_of_one_transaction_does_not_serve_another(idp: Idp, browser: FlaskClient) -> None:
    one = at_consent(idp, browser)
    other = idp.path(browser, signature())
    idp.pass_otp(browser, other)
    found = re.search(r'name="binding" value="([^"]+)"', browser.get(one).text)
    assert found is not None
    assert idp.post(browser, other, "/consent", decision="approve", binding=found.group(1)).status_code == 400


def test_OAU_10_a_request_that_changed_after_it_was_shown_is_not_approved(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    page = browser.get(path).text
    with idp.engine.begin() as connection:
        found = connection.execute(text("select request from interactions")).scalar_one()
        changed = found.replace("Annex.pdf", "Other.pdf")
        assert changed != found
        connection.execute(text("update interactions set request = :changed"), {"changed": changed})
    binding = re.search(r'name="binding" value="([^"]+)"', page)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert binding is not None
    assert token is not None
    data = {"csrf_token": token.group(1), "decision": "approve", "binding": binding.group(1)}
    assert browser.post(f"{path}/consent", data=data).status_code == 400
    assert idp.finished == []


def test_consent_comes_after_the_policy_whatever_is_posted(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    binding = re.search(r'name="binding" value="([^"]+)"', browser.get(path).text)
    assert binding is not None
    idp.clock.advance(11 * 60)
    response = idp.post(browser, path, "/consent", decision="approve", binding=binding.group(1))
    assert 'data-form="choose"' in response.text
    assert idp.finished == []


def test_an_approval_is_given_once(idp: Idp, browser: FlaskClient) -> None:
    path = at_consent(idp, browser)
    page = browser.get(path).text
    data = dict(re.findall(r'name="(csrf_token|binding)" value="([^"]+)"', page)) | {"decision": "approve"}
    assert browser.post(f"{path}/consent", data=data).status_code == 302
    assert browser.post(f"{path}/consent", data=data).status_code == 400
    assert len(idp.finished) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CredentialUnavailable("no answer"), "The signing service does not answer"),
        (CredentialUnusable("not hers"), "This credential cannot be used"),
    ],
)
def test_without_the_credential_nothing_goes_on(idp: Idp, browser: FlaskClient, error: Any, words: str) -> None:
    idp.credentials.error = error
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    page = browser.get(path)
    assert (page.status_code, words in page.text) == (503, True)
    assert idp.post(browser, path, "/factor", factor="sms_otp").status_code == 503
    assert idp.inbox.messages == []
    idp.credentials.error = None
    assert 'data-form="choose"' in browser.get(path).text


@pytest.mark.parametrize("change", [{"status": "disabled"}, {"credential_id": "cred-2"}])
def test_a_credential_that_is_disabled_or_another_one_is_not_used(
    idp: Idp, browser: FlaskClient, change: dict[str, Any]
) -> None:
    idp.credentials.view = dataclasses.replace(idp.credentials.view, **change)
    path = idp.path(browser, signature())
    idp.sign_in(browser, path)
    assert "This credential cannot be used" in browser.get(path).text
    assert idp.post(browser, path, "/leave").location.endswith("?access_denied")


def test_SES_09_names_from_outside_are_text(idp: Idp, browser: FlaskClient) -> None:
    evil = '<script>alert(1)</script>"'
    intent = SignatureIntent("cred-1", SHA256, (DocumentDigest(b"\x01" * 32, evil),), "dtbsr", 1)
    path = at_consent(idp, browser, signature(client_name=evil, intent=intent))
    page = browser.get(path).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
