"""Administrators in a real browser: the policy in force, the explorer, a candidate, roles, the audit chain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import NewVisitor, Product
from tests.e2e.visitor import Visitor

pytestmark = pytest.mark.browser


def enter(product: Product, person: Visitor, path: str = "/admin/") -> None:
    """Sign in for a page of the administration, with a second factor."""
    person.page.goto(product.ports.url("idp") + path)
    person.at("Sign in")
    person.sign_in()
    person.ask_for_code("Text message")
    person.type_code(person.read_code())


def go(product: Product, person: Visitor, path: str, heading: str) -> None:
    """Open a page that the session is good for."""
    person.page.goto(product.ports.url("idp") + path)
    person.at(heading)


def change(person: Visitor, form: str, consent: str, picture: str = "") -> None:
    """Press a form's button, prove the second factor for this change, and approve what is shown."""
    person.form(form).get_by_role("button").first.click()
    person.ask_for_code("Text message")
    person.type_code(person.read_code())
    person.at(consent)
    if picture:
        person.picture(picture)
        assert person.barriers() == []
    person.decide("approve")


def test_an_administrator_sees_what_is_in_force_and_asks_what_it_decides(product: Product, visitor: NewVisitor) -> None:
    ada = visitor(username="ada")
    enter(product, ada)
    ada.at("Administration")
    ada.picture("admin-overview", everywhere=True)
    assert ada.barriers() == []

    ada.page.get_by_role("link", name="Show the file").click()
    ada.at("default")
    expect(ada.page.locator("#L1")).to_be_visible()
    ada.picture("admin-policy", everywhere=True)
    assert ada.barriers() == []
    ada.page.get_by_role("link", name="History").click()
    ada.at("History")
    expect(ada.page.locator("table")).to_contain_text("Put in force")
    ada.picture("admin-history", everywhere=True)
    assert ada.barriers() == []
    ada.page.get_by_role("link", name="default").first.click()
    ada.at("default")
    assert ada.barriers() == []

    go(product, ada, "/admin/policy/explore", "Explore the policy")
    ada.page.get_by_label("Person (user name)").fill("alice")
    ada.page.get_by_label("Action", exact=True).select_option("signature.activate")
    ada.page.get_by_label("Password: Used").check()
    ada.page.get_by_label("Password: Minutes ago").fill("5")
    ada.page.get_by_role("button", name="Decide").click()
    ada.at("Explore the policy")
    expect(ada.page.locator("[data-outcome]")).to_have_text(re.compile("More is needed"))
    reason = ada.page.locator('[data-reason][data-rule="sign"]').first
    line = reason.get_attribute("data-line")
    expect(ada.page.locator(f"#L{line}")).to_have_class("noted reason")
    reason.get_by_role("link").click()
    expect(ada.page.locator(f"#L{line}:target")).to_be_in_viewport()
    ada.picture("admin-explore", everywhere=True)
    assert ada.barriers() == []
    assert ada.seen.refused == []


def test_a_candidate_is_tried_before_anybody_approves_it(product: Product, visitor: NewVisitor, tmp_path: Path) -> None:
    ada = visitor(username="ada")
    enter(product, ada, "/admin/policy/try")
    ada.at("Try a file")
    text = ada.page.get_by_label("Policy file", exact=True).input_value()
    candidate = tmp_path / "stricter.yaml"
    candidate.write_text(text.replace("    require: low\n", "    require: substantial\n", 1))
    ada.page.get_by_label("or choose it").set_input_files(candidate)
    ada.page.get_by_role("button", name="Try it").click()
    expect(ada.page.locator('[data-acceptable="no"]')).to_be_visible()
    expect(ada.page.locator(".findings")).to_contain_text("outcome: expected allow, got step_up")
    assert ada.barriers() == []
    ada.page.get_by_label("Its cases").fill("")
    ada.page.get_by_label("Person (user name)").fill("alice")
    ada.page.get_by_label("Password: Used").check()
    ada.page.get_by_role("button", name="Try it").click()
    expect(ada.page.locator('[data-acceptable="yes"]')).to_be_visible()
    expect(ada.page.locator("[data-outcome]")).to_have_text(["Allowed", "More is needed"])
    expect(ada.page.locator("del")).to_have_text("    require: low")
    expect(ada.page.locator("#approve ~ .command")).to_contain_text("privyseal policy approve")
    ada.picture("admin-try", everywhere=True)
    assert ada.barriers() == []

    ada.page.get_by_label("Policy file", exact=True).fill("policy: 1\nname: &a x\n<script>alert(1)</script>: *a\n")
    ada.page.get_by_role("button", name="Try it").click()
    expect(ada.page.locator('[data-acceptable="no"]')).to_be_visible()
    expect(ada.page.locator("#C2.noted.error")).to_contain_text("anchors are not allowed")
    assert ada.barriers() == []
    go(product, ada, "/admin/policy", "default")
    assert ada.seen.refused == []


def test_two_operators_make_an_administrator_and_an_auditor_reads_of_it(product: Product, visitor: NewVisitor) -> None:
    ada, otto = visitor(username="ada"), visitor(username="otto")
    enter(product, ada, "/admin/roles")
    ada.at("Roles")
    ada.page.get_by_label("Person (user name)").fill("alice")
    ada.page.get_by_label("Role", exact=True).select_option("auditors")
    change(ada, "propose-role", "Propose this change of roles?")
    ada.at("Roles")
    expect(ada.form("confirm-role")).to_have_count(0)
    assert ada.barriers() == []

    enter(product, otto)
    otto.at("Administration")
    otto.page.get_by_role("link", name="Show the roles").click()
    otto.at("Roles")
    otto.picture("admin-roles", everywhere=True)
    change(otto, "confirm-role", "Confirm this change of roles?", picture="admin-role-consent")
    otto.at("Roles")
    expect(otto.page.get_by_role("row", name="alice Auditors")).to_be_visible()

    go(product, ada, "/admin/audit?event=role.", "Audit")
    expect(ada.page.locator(".records")).to_contain_text("role.proposed")
    ada.picture("admin-audit", everywhere=True)
    assert ada.barriers() == []
    ada.page.locator(".records a").first.click()
    ada.at("Decision")
    expect(ada.page.locator("[data-reason]").first).to_be_visible()
    ada.picture("admin-decision", everywhere=True)
    assert ada.barriers() == []
    with ada.page.expect_download() as exported:
        ada.page.goto(f"{product.ports.url('idp')}/admin/audit")
        ada.page.get_by_role("link", name="Export as lines of JSON").click()
    assert '"event":"role.granted"' in exported.value.path().read_text()


def test_a_relying_party_is_stopped_and_served_again(product: Product, visitor: NewVisitor) -> None:
    ada = visitor(username="ada")
    enter(product, ada, "/admin/clients")
    ada.at("Relying parties")
    assert ada.barriers() == []
    ada.page.get_by_role("link", name="example-contracts").click()
    ada.at("Example Contracts")
    assert ada.barriers() == []
    change(ada, "change-client", "Stop this relying party?")
    ada.at("Example Contracts")
    expect(ada.page.locator("dl.facts")).to_contain_text("Stopped")
    change(ada, "change-client", "Serve this relying party again?")
    ada.at("Example Contracts")
    expect(ada.page.locator("dl.facts")).to_contain_text("Served")


def test_the_pages_work_without_scripts_and_in_other_languages(product: Product, visitor: NewVisitor) -> None:
    ada = visitor(username="ada", scripts=False)
    enter(product, ada, "/admin/policy/explore")
    ada.at("Explore the policy")
    ada.page.get_by_role("button", name="Decide").click()
    expect(ada.page.locator('[data-outcome="deny"]')).to_be_visible()
    somebody = visitor(username="ada", language="de-AT")
    somebody.page.goto(f"{product.ports.url('idp')}/admin/")
    somebody.at("Anmelden")


def test_somebody_without_a_role_is_told_so(product: Product, visitor: NewVisitor) -> None:
    alice = visitor()
    alice.page.goto(f"{product.ports.url('idp')}/account/")
    alice.at("Sign in")
    alice.sign_in()
    alice.at("Alice Example")
    go(product, alice, "/admin/policy/try", "This page is not open to you")
    assert alice.barriers() == []
    assert alice.seen.refused == [403]
