"""A person signs a PDF in a real browser: with a code by text message, with one by e-mail, with and without scripts.

`script/screenshots` runs these tests with `--pictures docs/images`; otherwise the pictures go to pytest's folder.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Error as PlaywrightError

from examples.pdf_signing import Verdict, load_certificates, verify
from examples.sample_contract import make_sample_pdf
from tests.e2e.conftest import NewVisitor, Product
from tests.e2e.visitor import DESK, Album, Visitor

pytestmark = pytest.mark.browser

DOCUMENT = "lease-2026.pdf"
CHOOSE = "One more step to prove it is you"
OTP = "Type the code we sent you"
CONSENT = "Example Contracts asks for your signature"
SIGNED = "Your document is signed"


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    path = tmp_path / DOCUMENT
    path.write_bytes(make_sample_pdf())
    return path


def verdict(pdf: bytes, product: Product) -> Verdict:
    """pyHanko's, in a thread of its own: it runs an event loop, and playwright holds this thread's."""
    roots = load_certificates(product.root_certificate.read_bytes())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(verify, pdf, roots, fetch_revocation=True, hard_fail=True).result()


def assert_signed(person: Visitor, product: Product, original: Path) -> None:
    """What was downloaded is the document, signed by the person, and nothing else."""
    pdf = person.download()
    assert pdf.startswith(original.read_bytes()), "the signature is an addition to the document"
    found = verdict(pdf, product)
    assert found.bottom_line, found
    # What validates it later is appended behind the signature's own revision.
    assert (found.signer, found.level, found.coverage) == ("Alice Example", "B-LT", "ENTIRE_REVISION")


def test_a_person_signs_with_a_code_by_text_message(product: Product, visitor: NewVisitor, contract: Path) -> None:
    alice = visitor()
    alice.open_site()
    alice.picture("start", everywhere=True)
    alice.drop(DOCUMENT, contract.read_bytes())
    expect(alice.form("hand-in")).to_contain_text(DOCUMENT)
    alice.picture("dropped")
    alice.form("hand-in").get_by_role("button", name="Continue").click()

    alice.at("Sign in")
    expect(alice.page.get_by_label("User name")).to_be_focused()
    alice.picture("sign-in-of-the-demo", everywhere=True)
    alice.sign_in()

    alice.at("Review and sign")
    stated = alice.page.locator("[data-digest]").get_attribute("data-digest")
    alice.picture("review", everywhere=True)
    alice.go_to_provider()

    alice.at(CHOOSE)
    alice.page.get_by_text("Why am I asked for this?").click()
    expect(alice.page.locator(".because")).to_contain_text("the second factor now")
    reason = alice.page.locator('[data-reason][data-rule="sign"]').first
    expect(reason).to_be_visible()
    assert re.fullmatch(r"\d+", reason.get_attribute("data-line") or "")
    alice.picture("step-up-of-the-demo", everywhere=True)
    alice.ask_for_code("Text message")
    code = alice.read_code(picture="inbox")
    expect(alice.page.get_by_label("Six-digit code")).to_be_focused()
    alice.picture("code", everywhere=True)
    alice.type_code(code)

    alice.at(CONSENT)
    shown = alice.page.locator("main")
    expect(shown).to_contain_text("Signed in as Alice Example")
    documents = re.compile(f"{DOCUMENT}.*Name as stated by Example Contracts", re.DOTALL)
    expect(shown.locator(".documents")).to_contain_text(documents)
    expect(shown.locator(".documents")).to_contain_text("The document was fetched from Example Contracts")
    expect(shown.locator(".documents")).to_contain_text("Page 1 of 1")
    expect(shown.locator(".documents")).to_contain_text("Digest of the document, SHA-256")
    assert shown.locator("[data-digest]").get_attribute("data-digest") == stated, "both sites show the same digest"
    assert re.sub(r"\s", "", shown.locator("[data-digest]").inner_text()) == stated, "what is marked is what is shown"
    expect(shown).to_contain_text("Privy Seal Development Issuing CA")
    expect(shown).to_contain_text(f"Afterwards you return to rp.localhost:{product.ports.of('rp')}.")
    alice.picture("consent", everywhere=True)
    alice.decide("approve")

    alice.at(SIGNED)
    expect(alice.page.locator('[data-verdict="valid"]')).to_be_visible()
    alice.picture("signed", everywhere=True)
    assert_signed(alice, product, contract)
    alice.page.goto(f"{product.ports.url('idp')}/account/")
    alice.at("Alice Example")
    alice.picture("account", everywhere=True)
    assert alice.seen.refused == []


def test_a_person_signs_with_a_code_by_email(product: Product, visitor: NewVisitor, contract: Path) -> None:
    alice = visitor()
    alice.open_site()
    alice.hand_in(contract)
    alice.sign_in()
    alice.go_to_provider()
    alice.ask_for_code("E-mail")
    expect(alice.page.locator("main")).to_contain_text("a••••@example.org")
    alice.type_code(alice.read_code())
    alice.at(CONSENT)
    alice.decide("approve")
    alice.at(SIGNED)
    assert_signed(alice, product, contract)


def test_everything_works_without_scripts(product: Product, visitor: NewVisitor, contract: Path) -> None:
    alice = visitor(scripts=False)
    alice.open_site()
    alice.picture("start-without-scripts")
    alice.hand_in(contract)
    alice.at("Sign in")
    alice.sign_in()
    alice.go_to_provider()
    alice.ask_for_code("Text message")
    expect(alice.page.locator("main")).to_contain_text(re.compile(r"ask for the same code again in \d+ seconds"))
    alice.type_code("12345")
    expect(alice.heading).to_have_text(OTP)
    alice.type_code(alice.read_code())
    alice.at(CONSENT)
    alice.decide("approve")
    alice.at(SIGNED)
    assert_signed(alice, product, contract)


def test_everything_works_from_the_keyboard(product: Product, visitor: NewVisitor, contract: Path) -> None:
    alice = visitor()
    keys = alice.page.keyboard

    def tab_to(name: str) -> None:
        """As many tabs as it takes; whatever has the focus shows it."""
        for _ in range(12):
            keys.press("Tab")
            focused = alice.page.locator(":focus")
            width = focused.evaluate("element => getComputedStyle(element).outlineWidth")
            zone = focused.evaluate("element => getComputedStyle(element.parentElement).outlineWidth")
            assert "3px" in (width, zone), f"no focus ring: {focused.evaluate('element => element.outerHTML')}"
            if name in (focused.inner_text() or ""):
                return
        raise LookupError(name)

    alice.open_site()
    alice.choose(contract)
    tab_to("Continue")
    keys.press("Enter")
    alice.at("Sign in")
    keys.type("alice")
    keys.press("Tab")
    keys.type(product.password_file.read_text().strip())
    keys.press("Enter")
    alice.at("Review and sign")
    tab_to("Continue to idp.localhost")
    keys.press("Enter")
    alice.at(CHOOSE)
    tab_to("Text message")
    alice.picture("focus")
    alice.expect_message()
    keys.press("Enter")
    alice.at(OTP)
    keys.type(alice.read_code())
    keys.press("Enter")
    alice.at(CONSENT)
    tab_to("Approve and sign")
    keys.press("Enter")
    alice.at(SIGNED)
    tab_to("Download the signed PDF")
    assert_signed(alice, product, contract)


def test_a_person_who_does_not_approve_is_told_kindly_and_can_go_on(
    product: Product, visitor: NewVisitor, contract: Path
) -> None:
    alice = visitor()
    alice.open_site()
    alice.hand_in(contract)
    alice.sign_in()
    alice.go_to_provider()
    alice.ask_for_code("Text message")
    alice.type_code(alice.read_code())
    alice.at(CONSENT)
    alice.decide("deny")

    alice.at("The signature was not approved")
    expect(alice.alert()).to_contain_text("Nothing was signed and your document is unchanged.")
    alice.picture("not-approved", everywhere=True)
    assert alice.barriers() == []
    alice.page.get_by_role("link", name=f"Back to {DOCUMENT}").click()
    alice.go_to_provider()
    alice.at(CHOOSE)
    alice.form("leave").get_by_role("button").click()
    alice.at("The signature was not approved")


def test_mistakes_are_said_plainly_at_the_field_and_can_be_mended(
    product: Product, visitor: NewVisitor, contract: Path, tmp_path: Path
) -> None:
    alice = visitor()
    alice.open_site()
    notes = tmp_path / "notes.pdf"
    notes.write_text("not a PDF")
    alice.hand_in(notes)
    expect(alice.alert()).to_have_text("This file is not a PDF.")
    alice.picture("not-a-pdf")
    alice.hand_in(contract)

    alice.at("Sign in")
    alice.sign_in("correct horse battery")
    expect(alice.alert()).to_be_visible()
    expect(alice.page.get_by_label("User name")).to_have_value("alice")
    expect(alice.page.get_by_label("Password")).to_have_accessible_description(alice.alert().inner_text())
    alice.picture("sign-in-wrong", everywhere=True)
    alice.sign_in()

    alice.go_to_provider()
    alice.ask_for_code("Text message")
    code = alice.read_code()
    alice.type_code(f"{(int(code) + 1) % 1_000_000:06}")
    expect(alice.alert()).to_contain_text("That is not the right code.")
    expect(alice.page.get_by_label("Six-digit code")).to_have_accessible_description(alice.alert().inner_text())
    alice.picture("code-wrong", everywhere=True)
    alice.type_code(code)
    alice.at(CONSENT)
    assert alice.seen.refused == [400, 403, 403]


def test_a_person_signs_out_everywhere(product: Product, visitor: NewVisitor, contract: Path) -> None:
    alice = visitor()
    alice.open_site()
    alice.hand_in(contract)
    alice.sign_in()
    alice.at("Review and sign")
    before = {cookie["value"] for cookie in alice.context.cookies()}
    alice.page.get_by_role("button", name="Sign out").click()
    alice.at("Sign out of Privy Seal?")
    alice.picture("sign-out")
    alice.form("sign-out").get_by_role("button").click()
    alice.at("Sign a contract, from anywhere")
    expect(alice.page.get_by_role("button", name="Sign out")).to_have_count(0)

    alice.page.goto(f"{product.ports.url('idp')}/account/")
    alice.at("Sign in")
    # The mark of a browser that has signed in before stays (ADR 8): it opens nothing.
    assert before.isdisjoint(
        cookie["value"]
        for cookie in alice.context.cookies()
        if cookie["domain"] == "idp.localhost" and not cookie["name"].endswith("device")
    )


def test_the_account_pages_show_factors_and_sessions_and_end_one(product: Product, visitor: NewVisitor) -> None:
    alice, elsewhere = visitor(), visitor()
    for person in (alice, elsewhere):
        person.page.goto(f"{product.ports.url('idp')}/account/")
        person.at("Sign in")
        person.sign_in()
        person.at("Alice Example")
    alice.page.reload()
    expect(alice.page.locator("main")).to_contain_text("+15••••00")
    others = alice.form("revoke-session")
    count = others.count()
    assert count >= 1
    others.first.get_by_role("button").click()
    expect(others).to_have_count(count - 1)

    alice.page.goto(f"{product.ports.url('idp')}/account/credentials")
    alice.at("Your signing credentials")
    alice.picture("order")
    alice.form("order-credential").get_by_role("button").click()
    alice.ask_for_code("E-mail")
    alice.type_code(alice.read_code())
    alice.at("Order a signing credential?")
    alice.picture("order-consent", everywhere=True)
    assert alice.barriers() == []
    with alice.page.expect_download() as order:
        alice.decide("approve")
    assert order.value.path().read_text().count(".") == 2, "an order is a signed statement in compact form"


def test_pages_that_do_not_exist_say_so(product: Product, visitor: NewVisitor) -> None:
    alice = visitor()
    for url, heading in (
        (f"{product.ports.url('idp')}/nowhere", "There is no such page"),
        (f"{product.ports.url('idp')}/interaction/{'A' * 22}", "This request is over"),
        (f"{product.ports.url('idp')}/oauth2/authorize?client_id=nobody", "The application's request cannot be used"),
        (f"{product.ports.url('rp')}/nowhere", "This page does not exist"),
    ):
        alice.page.goto(url)
        alice.at(heading)
        assert alice.barriers() == []
    assert alice.seen.refused == [404, 400, 400, 404]


@pytest.mark.parametrize(
    ("language", "words"), [("de-AT", "Anmelden"), ("es-ES", "Iniciar sesión"), ("fr-BE", "Se connecter")]
)
def test_the_providers_pages_speak_the_browsers_language(visitor: NewVisitor, language: str, words: str) -> None:
    somebody = visitor(language=language)
    somebody.page.goto(f"{somebody.ports.url('idp')}/account/")
    somebody.at(words)
    assert somebody.page.locator("html").get_attribute("lang") == language[:2]
    somebody.picture(f"sign-in-{language[:2]}", everywhere=True)


def test_no_page_puts_a_barrier_before_anybody(product: Product, visitor: NewVisitor, contract: Path) -> None:
    alice = visitor()
    found: list[str] = []

    def look() -> None:
        found.extend(alice.barriers())

    alice.open_site()
    look()
    alice.hand_in(contract)
    alice.at("Sign in")
    look()
    alice.sign_in()
    alice.at("Review and sign")
    look()
    alice.go_to_provider()
    alice.at(CHOOSE)
    alice.page.get_by_text("Why am I asked for this?").click()
    look()
    alice.ask_for_code("Text message")
    code = alice.read_code()
    look()
    alice.type_code(f"{(int(code) + 1) % 1_000_000:06}")
    expect(alice.alert()).to_be_visible()
    look()
    alice.type_code(code)
    alice.at(CONSENT)
    look()
    alice.decide("approve")
    alice.at(SIGNED)
    look()
    sections = ("applications", "credentials", "history", "language")
    for path in ("/account/", *(f"/account/{name}" for name in sections), "/oauth2/logout"):
        alice.page.goto(product.ports.url("idp") + path)
        expect(alice.heading).to_be_visible()
        look()
    alice.page.goto(f"{product.ports.url('idp')}/account/")
    alice.page.get_by_role("link", name="Password").click()
    alice.at("Password")
    look()
    alice.page.goto(product.ports.url("inbox"))
    look()
    assert found == []


def test_the_watch_over_the_browser_sees_what_it_is_for(product: Product, chromium: Browser, tmp_path: Path) -> None:
    context = chromium.new_context(viewport=DESK)
    with closing(context):
        person = Visitor(context, product.ports, "a secret", Album(tmp_path))
        person.open_site()
        assert (person.seen.complaints, person.foreign_hosts(), person.leaks()) == ([], set(), [])
        site = product.ports.url("rp")
        with person.page.expect_console_message(lambda message: "Content Security Policy" in message.text):
            person.page.evaluate("fetch('http://other.localhost:9/').catch(() => null)")
        assert any("Content Security Policy" in complaint for complaint in person.seen.complaints)
        for query in ("query=a+secret", "query=eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "code=once"):
            before = len(person.leaks())
            person.page.goto(f"{site}/?{query}")
            person.at("Sign a contract, from anywhere")
            assert len(person.leaks()) > before, query
        with pytest.raises(PlaywrightError, match="ERR_"):
            person.page.goto("http://other.localhost:9/")
        assert person.foreign_hosts() == {"other.localhost:9"}


def test_the_check_for_barriers_finds_one(visitor: NewVisitor) -> None:
    # else a check that finds nothing would prove nothing
    somebody = visitor()
    somebody.open_site()
    somebody.page.locator("h1").evaluate("h1 => h1.append(document.createElement('img'))")
    assert {fault.split(": ")[1] for fault in somebody.barriers()} == {"image-alt"}
