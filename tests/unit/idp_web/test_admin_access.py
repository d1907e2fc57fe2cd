"""Who gets into the administration's pages: every endpoint, every role, and the level that the policy demands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from idp.authn.roles import MATRIX, ROLES, Role, admits
from idp.storage import roles
from idp.storage.models import admin_roles
from tests.fakes.idp import POLICY, Idp
from tests.unit.idp_web.admin import add_client, administrator, chain, enter, make_admin_idp

ARGUMENTS = {
    "account_id": "none",
    "client_id": "example-contracts",
    "decision_id": "none",
    "digest": "0" * 64,
    "proposal_id": "none",
}


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_admin_idp(tmp_path)
    yield made
    made.engine.dispose()


def endpoints(idp: Idp) -> dict[str, tuple[str, str]]:
    """All endpoints of the administration: method and path, with made-up arguments."""
    found = {}
    with idp.app.test_request_context():
        adapter = idp.app.create_url_adapter(None) or idp.app.url_map.bind("idp.localhost")
        for rule in idp.app.url_map.iter_rules():
            if rule.rule.startswith("/admin"):
                method = "POST" if "POST" in (rule.methods or ()) else "GET"
                arguments = {name: ARGUMENTS[name] for name in rule.arguments}
                found[rule.endpoint] = (method, adapter.build(rule.endpoint, arguments, method))
    return found


def ask(idp: Idp, browser: FlaskClient, method: str, path: str) -> int:
    """The status of the answer; a form carries its token."""
    if method == "GET":
        return browser.get(path).status_code
    return browser.post(path, data={"csrf_token": idp.csrf(browser, "/admin/")}).status_code


def test_ADM_02_the_matrix_names_every_endpoint_that_there_is_and_no_other(idp: Idp) -> None:
    assert set(endpoints(idp)) == set(MATRIX)


@pytest.mark.parametrize("role", ROLES)
def test_ADM_02_each_role_gets_what_the_matrix_gives_it_and_nothing_else(idp: Idp, role: Role) -> None:
    add_client(idp)
    browser = administrator(idp, "alice", role)
    for endpoint, (method, path) in endpoints(idp).items():
        status = ask(idp, browser, method, path)
        if admits(endpoint, frozenset({role})):
            assert status in {200, 303, 400, 404, 409}, (endpoint, status)
        else:
            assert status == 403, (endpoint, status)
    refused = {fields["action"] for fields in chain(idp, "admin.refused")}
    assert refused == {access.action for endpoint, access in MATRIX.items() if not admits(endpoint, frozenset({role}))}


def test_ADM_02_somebody_without_a_role_gets_nothing(idp: Idp) -> None:
    browser = idp.client()
    path = browser.get("/account/").location
    idp.sign_in(browser, path)
    token = idp.csrf(browser, "/account/")
    for endpoint, (method, path) in endpoints(idp).items():
        answer = browser.get(path) if method == "GET" else browser.post(path, data={"csrf_token": token})
        assert answer.status_code == 403, endpoint
        assert "This page is not open to you" in answer.text
    assert len(chain(idp, "admin.refused")) == len(MATRIX)


def test_a_stranger_signs_in_first_and_lands_on_the_page_that_was_asked_for(idp: Idp) -> None:
    idp.give_roles(idp.alice, "policy")
    browser = idp.client()
    found = enter(idp, browser, "alice", "/admin/policy/explore?action=sign_in&used=password")
    assert found.location == "/admin/policy/explore?action=sign_in&used=password"
    assert browser.get(found.location).status_code == 200


@pytest.mark.parametrize(
    "query",
    ["next=https://evil.example.org", "destination=//evil.example.org", "%0d%0aLocation:%20https://evil.example.org"],
)
def test_SES_08_no_address_line_decides_where_a_visit_ends(idp: Idp, query: str) -> None:
    idp.give_roles(idp.alice, "policy")
    browser = idp.client()
    location = enter(idp, browser, "alice", f"/admin/policy?{query}").location
    assert location.startswith("/admin/policy?")
    assert "\r" not in location


def test_a_session_with_a_password_alone_is_stepped_up_before_a_page_is_shown(idp: Idp) -> None:
    idp.give_roles(idp.alice, "policy")
    browser = idp.client()
    idp.sign_in(browser, browser.get("/account/").location)
    begun = browser.get("/admin/policy")
    assert begun.status_code == 303
    assert "One more step" in browser.get(begun.location).text
    assert idp.pass_otp(browser, begun.location).location == "/admin/policy"
    assert browser.get("/admin/policy").status_code == 200


@pytest.mark.parametrize(
    ("path", "lands"),
    [
        ("/admin/roles/proposals", "/admin/roles"),
        ("/admin/roles/proposals/none/confirm", "/admin/roles"),
        ("/admin/roles/proposals/none/reject", "/admin/roles"),
        ("/admin/clients/none/change", "/admin/clients"),
        ("/admin/accounts/none/reset", "/admin/accounts"),
        ("/admin/resets/none/confirm", "/admin/accounts"),
        ("/admin/resets/none/reject", "/admin/accounts"),
    ],
)
def test_ADM_02_a_form_sent_with_a_password_alone_shows_nothing_of_the_page_behind_it(
    idp: Idp, path: str, lands: str
) -> None:
    idp.give_roles(idp.alice, "operators", "relying_parties", "helpdesk")
    browser = idp.client()
    idp.sign_in(browser, browser.get("/account/").location)
    token = idp.csrf(browser, "/account/")
    # What is wrong with it is said with the page, which a stolen password does not open.
    begun = browser.post(path, data={"csrf_token": token, "username": "nobody", "change": "grant"})
    assert begun.status_code == 303
    assert "operators" not in begun.text
    assert "One more step" in browser.get(begun.location).text
    assert idp.pass_otp(browser, begun.location).location == lands


def test_evidence_that_is_older_than_the_policy_allows_is_asked_for_again(idp: Idp) -> None:
    browser = administrator(idp, "alice", "policy")
    for _ in range(3):
        idp.clock.advance(20 * 60)
        assert browser.get("/admin/policy").status_code == 200
    idp.clock.advance(1)
    assert browser.get("/admin/policy").status_code == 303


def test_without_a_rule_about_it_the_administration_is_closed(tmp_path: Path) -> None:
    idp = make_admin_idp(tmp_path, POLICY)
    idp.give_roles(idp.alice, *ROLES)
    browser = idp.client()
    idp.sign_in(browser, browser.get("/account/").location)
    answer = browser.get("/admin/")
    assert answer.status_code == 403
    assert "The rules of this service do not allow it" in answer.text
    assert chain(idp, "admin.refused")[0]["cause"] == "no_rule"
    idp.engine.dispose()


def test_a_role_that_is_taken_away_opens_nothing_from_the_next_request_on(idp: Idp) -> None:
    browser = administrator(idp, "alice", "policy")
    assert browser.get("/admin/policy").status_code == 200
    with idp.engine.begin() as connection:
        roles.revoke(connection, idp.alice, "policy", idp.clock.now())
    assert browser.get("/admin/policy").status_code == 403


def test_ADM_01_a_role_that_was_written_into_the_database_opens_nothing(idp: Idp) -> None:
    browser = administrator(idp, "alice", "auditors")
    with idp.engine.begin() as connection:
        connection.execute(update(admin_roles).values(role="operators"))
    assert browser.get("/admin/roles").status_code == 403
    assert chain(idp, "record.altered")[0]["table"] == "admin_roles"


@pytest.mark.parametrize("path", ["/admin/policy/try", "/admin/roles/proposals", "/admin/clients/x/change"])
def test_SES_04_a_form_of_another_session_changes_nothing(idp: Idp, path: str) -> None:
    browser = administrator(idp, "alice", *ROLES)
    assert browser.post(path, data={"csrf_token": "made up"}).status_code == 400
    assert browser.post(path).status_code == 400


def test_pages_are_not_framed_not_cached_and_run_no_script(idp: Idp) -> None:
    browser = administrator(idp, "alice", *ROLES)
    for path in ("/admin/", "/admin/policy", "/admin/policy/explore", "/admin/policy/try", "/admin/roles"):
        answer = browser.get(path)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert "<script" not in answer.text
        assert " style=" not in answer.text
