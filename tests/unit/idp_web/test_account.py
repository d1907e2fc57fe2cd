"""The person's own pages, and the order for a signing credential."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from contract import order as orders
from contract.order import CreateParameters, CredentialParameters
from foundation.clock import epoch
from idp.errors import CredentialUnusable
from idp.storage.engine import reading
from tests.fakes.idp import Idp, make_idp


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def browser(idp: Idp) -> FlaskClient:
    return idp.client()


def signed_in(idp: Idp, browser: FlaskClient, username: str = "alice") -> None:
    path = browser.get("/account/").location
    assert idp.sign_in(browser, path, username).location == "/account/"


def test_a_stranger_signs_in_first_and_lands_where_they_wanted_to(idp: Idp, browser: FlaskClient) -> None:
    path = browser.get("/account/credentials").location
    assert idp.sign_in(browser, path).location == "/account/credentials"


@pytest.mark.parametrize(
    "query",
    [
        "next=https://evil.example.org",
        "next=//evil.example.org",
        "next=/\\evil.example.org",
        "destination=https:evil.example.org",
        "return_to=%0d%0aLocation:%20https://evil.example.org",
        "next=https://idp.localhost@evil.example.org",
        "next=https://xn--vil-8la.example.org",
    ],
)
def test_SES_08_no_address_line_decides_where_a_sign_in_ends(idp: Idp, browser: FlaskClient, query: str) -> None:
    path = browser.get(f"/account/?{query}").location
    assert path.startswith("/interaction/")
    assert "evil" not in path
    assert idp.sign_in(browser, f"{path}").location == "/account/"


def test_the_account_page_shows_factors_masked(idp: Idp, browser: FlaskClient) -> None:
    signed_in(idp, browser)
    page = browser.get("/account/").text
    assert "a••••@example.org" in page
    assert "alice@example.org" not in page
    assert "+34600000001" not in page


def test_a_person_ends_another_of_their_sessions_and_nobody_elses(idp: Idp, browser: FlaskClient) -> None:
    idp.add_account("bob")
    other, bob = idp.client(), idp.client()
    signed_in(idp, browser)
    signed_in(idp, other)
    signed_in(idp, bob, "bob")
    with reading(idp.engine) as connection:
        rows = connection.execute(text("select id, account_id from sessions where account_id is not null")).all()
    mine = browser.get("/account/").text
    for session_id, account_id in rows:
        if f"/account/sessions/{session_id}/revoke" in mine or account_id != idp.alice:
            idp.post(browser, "/account/", f"sessions/{session_id}/revoke")
    assert browser.get("/account/").status_code == 200
    assert other.get("/account/").status_code == 303
    assert bob.get("/account/").status_code == 200


def test_signing_out_without_a_session_needs_a_token_like_any_form(browser: FlaskClient) -> None:
    assert browser.post("/account/sign-out").status_code == 400


def order(idp: Idp, browser: FlaskClient) -> str:
    signed_in(idp, browser)
    return str(idp.post(browser, "/account/credentials", profile="default").location)


def test_an_order_takes_a_step_up_and_an_approval_and_names_the_accounts_person(
    idp: Idp, browser: FlaskClient
) -> None:
    path = order(idp, browser)
    assert idp.post(browser, path, "/consent", decision="approve").status_code == 400
    idp.pass_otp(browser, path)
    page = browser.get(path).text
    assert "The certificate will name" in page
    response = idp.approve(browser, path)
    assert response.headers["Content-Type"] == "application/jose"
    assert "attachment" in response.headers["Content-Disposition"]
    key = idp.app.extensions["privyseal"].keys.activation_key().verification_key()
    made = orders.decode(response.text, [key])
    assert (made.operation, made.sub, made.aud) == ("credential.create", idp.alice, "urn:privyseal:sam:test")
    assert (made.iss, made.iat, made.exp - made.iat) == (idp.settings.issuer, epoch(idp.clock.now()), 600)
    assert isinstance(made.parameters, CreateParameters)
    assert made.parameters.subject.common_name == "Alice Example"
    with reading(idp.engine) as connection:
        events = connection.execute(text("select event from audit_entries order by sequence")).scalars().all()
        decided = connection.execute(text("select effect from decisions where id = :id"), {"id": made.policy})
        assert decided.scalar_one() == "allow"
    assert events[-2:] == ["transaction.approved", "order.issued"]


def test_a_form_cannot_choose_whom_the_certificate_names(idp: Idp, browser: FlaskClient) -> None:
    signed_in(idp, browser)
    path = idp.post(
        browser, "/account/credentials", profile="default", common_name="Mallory", subject="Mallory"
    ).location
    idp.pass_otp(browser, path)
    assert "Mallory" not in browser.get(path).text


def test_a_profile_that_is_not_offered_is_refused(idp: Idp, browser: FlaskClient) -> None:
    signed_in(idp, browser)
    assert idp.post(browser, "/account/credentials", profile="qscd").status_code == 400


def test_an_order_that_is_not_approved_is_none(idp: Idp, browser: FlaskClient) -> None:
    path = order(idp, browser)
    idp.pass_otp(browser, path)
    response = idp.post(browser, path, "/consent", decision="deny")
    assert response.status_code == 403
    assert "You did not approve the request." in response.text
    assert "eyJ" not in response.text


@pytest.mark.parametrize("operation", ["suspend", "resume", "delete"])
def test_an_order_about_a_credential_shows_whose_it_is_and_takes_an_approval(
    idp: Idp, browser: FlaskClient, operation: str
) -> None:
    signed_in(idp, browser)
    idp.credentials.view = replace(idp.credentials.view, status="disabled")
    path = idp.post(
        browser, "/account/credentials", "/operation", operation=operation, credential_id="cred-1"
    ).location
    idp.pass_otp(browser, path)
    assert f"{operation} a signing credential" in idp.inbox.messages[-1].text
    assert "C=ES,O=Example,CN=Alice Example" in browser.get(path).text
    response = idp.approve(browser, path)
    key = idp.app.extensions["privyseal"].keys.activation_key().verification_key()
    made = orders.decode(response.text, [key])
    assert (made.operation, made.parameters) == (f"credential.{operation}", CredentialParameters("cred-1"))


@pytest.mark.parametrize("operation", ["suspend", "resume", "delete"])
def test_a_credential_of_somebody_else_is_not_ordered_about(idp: Idp, browser: FlaskClient, operation: str) -> None:
    signed_in(idp, browser)
    idp.credentials.error = CredentialUnusable("not hers")
    path = idp.post(
        browser, "/account/credentials", "/operation", operation=operation, credential_id="cred-2"
    ).location
    assert "This credential cannot be used" in browser.get(path).text
    assert idp.post(browser, path, "/consent", decision="approve", binding="x").status_code == 400


@pytest.mark.parametrize(
    ("operation", "credential_id"),
    [("renew", "c"), ("", "c"), ("delete", ""), ("delete", "a b"), ("delete", "../x"), ("delete", "a" * 129)],
)
def test_an_operation_that_is_none_is_refused(
    idp: Idp, browser: FlaskClient, operation: str, credential_id: str
) -> None:
    signed_in(idp, browser)
    response = idp.post(
        browser, "/account/credentials", "/operation", operation=operation, credential_id=credential_id
    )
    assert response.status_code == 400


def test_the_code_for_an_order_says_so(idp: Idp, browser: FlaskClient) -> None:
    path = order(idp, browser)
    idp.post(browser, path, "/factor", factor="sms_otp")
    assert "order a signing credential" in idp.inbox.messages[-1].text


def test_who_suspended_a_credential_resumes_it_by_an_order_of_its_own(idp: Idp, browser: FlaskClient) -> None:
    signed_in(idp, browser)
    issued = {}
    for operation, status in (("suspend", "enabled"), ("resume", "disabled")):
        idp.credentials.view = replace(idp.credentials.view, status=status)
        path = idp.post(
            browser, "/account/credentials", "/operation", operation=operation, credential_id="cred-1"
        ).location
        # A step-up of its own each: the code for the one does not serve for the other (SES-06).
        assert 'data-form="choose"' in browser.get(path).text
        idp.pass_otp(browser, path)
        assert f"{operation.capitalize()} this credential?" in browser.get(path).text
        issued[operation] = idp.approve(browser, path).text
        idp.clock.advance(60)
    key = idp.app.extensions["privyseal"].keys.activation_key().verification_key()
    suspended, resumed = (orders.decode(issued[name], [key]) for name in ("suspend", "resume"))
    assert (suspended.operation, resumed.operation) == ("credential.suspend", "credential.resume")
    assert suspended.parameters == resumed.parameters == CredentialParameters("cred-1")
    assert (suspended.jti, suspended.policy) != (resumed.jti, resumed.policy)
