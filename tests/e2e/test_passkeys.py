"""A passkey in the running product: made on the account page, used for a real signature, and removed again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from examples.sample_contract import make_sample_pdf
from signing.sam.verify import LEEWAY_SECONDS
from tests.e2e.conftest import NewVisitor, Product
from tests.e2e.test_browser import DOCUMENT, assert_signed
from tests.e2e.visitor import Visitor, leaving

pytestmark = pytest.mark.browser

PROVE = "One more step to prove it is you|Use your passkey"


REFUSED_MILLISECONDS = (LEEWAY_SECONDS + 1) * 1000
"""The signing side takes back what may have been given out before an account's factors changed, and allows for two
clocks that differ: what is approved within the next seconds is refused, here and in the tests that follow."""


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    path = tmp_path / DOCUMENT
    path.write_bytes(make_sample_pdf())
    return path


@pytest.fixture
def alice(visitor: NewVisitor, product: Product) -> Iterator[Visitor]:
    """Somebody with a device that holds passkeys; what she bound is removed, as other tests meet the same account."""
    person = visitor()
    device = person.context.new_cdp_session(person.page)
    device.send("WebAuthn.enable", {"enableUI": False})
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield person
    person.page.goto(f"{product.ports.url('idp')}/account/")
    passkey = person.page.get_by_role("main").get_by_role("link", name="Passkey")
    if passkey.count():
        passkey.first.click()
        person.form("remove-factor").get_by_role("button").click()
        expect(person.heading).to_have_text(re.compile(f"Remove this way to prove who you are|{PROVE}"))
        if not person.form("consent").count():
            use(person)
        person.decide("approve")
        expect(passkey).to_have_count(0)
        person.page.wait_for_timeout(REFUSED_MILLISECONDS)


def use(person: Visitor) -> None:
    """Prove it with the passkey, whether there is a choice or not."""
    expect(person.heading).to_have_text(re.compile(PROVE))
    if person.form("choose").count():
        person.form("choose").get_by_role("button", name="Passkey").click()
    person.at("Use your passkey")
    person.page.get_by_role("button", name="Use passkey").click()


def test_a_passkey_is_made_signs_in_and_signs_a_contract(product: Product, alice: Visitor, contract: Path) -> None:
    alice.page.goto(f"{product.ports.url('idp')}/account/")
    alice.at("Sign in")
    alice.sign_in()
    alice.at("Alice Example")
    alice.form("add-factor").locator('button[value="passkey"]').click()
    alice.ask_for_code("Text message")
    alice.type_code(alice.read_code())
    alice.decide("approve")
    alice.at("Add a passkey")
    assert alice.barriers() == []
    alice.picture("passkey-add", everywhere=True)
    alice.page.get_by_label("What do you call it?").fill("my laptop")
    alice.page.get_by_role("button", name="Make a passkey").click()
    alice.at("Alice Example")
    expect(alice.page.locator("main")).to_contain_text("my laptop")

    alice.page.wait_for_timeout(REFUSED_MILLISECONDS)
    with leaving(alice.page):
        alice.form("sign-out").get_by_role("button").click()
    alice.open_site()
    alice.hand_in(contract)
    # Autofill finds the passkey: nobody types anything.
    alice.go_to_provider()
    use(alice)
    expect(alice.form("consent")).to_be_visible()
    alice.decide("approve")
    alice.at("Your document is signed")
    assert_signed(alice, product, contract)
