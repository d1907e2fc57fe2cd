"""The portal in a real browser: documents brought, signed with one approval, found again, deleted."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from pyhanko.pdf_utils.reader import PdfFileReader

from examples.sample_contract import make_sample_pdf
from tests.documents import blank_pdf
from tests.e2e.conftest import NewVisitor, Product
from tests.e2e.test_browser import verdict
from tests.e2e.visitor import Visitor

pytestmark = pytest.mark.browser

NAMES = ("lease-2026.pdf", "annex.pdf")


@pytest.fixture
def contracts(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in NAMES]
    for path, content in zip(paths, (make_sample_pdf(), blank_pdf()), strict=True):
        path.write_bytes(content)
    return paths


def arrive(person: Visitor) -> None:
    """From the first page, by way of the identity provider, to the list."""
    person.page.goto(person.ports.url("portal"))
    person.at("Sign documents")
    person.form("sign-in").get_by_role("button").click()
    person.at("Sign in")
    person.sign_in()
    person.at("Your documents")


def bring(person: Visitor, *files: Path) -> None:
    """Choose files and send them."""
    with person.page.expect_navigation():
        person.page.get_by_label("Upload PDFs").set_input_files(files)
        person.form("bring").get_by_role("button", name="Upload", exact=True).click()


def approve(person: Visitor) -> None:
    """From the review to the approval, and back."""
    person.form("sign").get_by_role("button", name="Continue to the approval").click()
    person.ask_for_code("Text message")
    person.type_code(person.read_code())
    person.at("Privy Seal Documents asks for your signature")
    person.decide("approve")
    person.at("Your documents")


def place(person: Visitor, *, scripts: bool) -> None:
    """Choose where the signatures show: from a list; with scripts then with mouse and keyboard, on the page."""
    chosen = person.page.get_by_label("Place", exact=True)
    chosen.select_option("bottom right")
    stamp = person.page.get_by_role("button", name="Your signature")
    expect(stamp).to_be_visible(visible=scripts)
    if not scripts:
        return
    stamp.scroll_into_view_if_needed()
    before = stamp.bounding_box()
    assert before is not None
    person.page.mouse.move(before["x"] + 20, before["y"] + 10)
    person.page.mouse.down()
    person.page.mouse.move(before["x"] - 30, before["y"] - 60, steps=4)
    person.page.mouse.up()
    expect(chosen).to_have_value("custom")
    dragged = stamp.bounding_box()
    assert dragged is not None
    assert (dragged["x"], dragged["y"]) == pytest.approx((before["x"] - 50, before["y"] - 70), abs=2)
    width = float(person.page.get_by_label("Width, mm").input_value())
    expect(chosen).to_have_value("custom")
    stamp.focus()
    person.page.keyboard.press("Shift+ArrowLeft")
    expect(person.page.get_by_label("Width, mm")).to_have_value(f"{width - 2:g}")
    top = float(person.page.get_by_label("From the top, mm").input_value())
    person.page.keyboard.press("ArrowUp")
    moved = float(person.page.get_by_label("From the top, mm").input_value())
    assert moved == pytest.approx(top - 2, abs=0.2)


def check(person: Visitor, signed: Path, *, scripts: bool) -> None:
    """Have a signed document validated, and the same with a changed octet."""
    changed = signed.with_name("changed.pdf")
    content = signed.read_bytes()
    place_of_text = content.index(b"stream\n") + 12
    changed.write_bytes(content[:place_of_text] + bytes([content[place_of_text] ^ 1]) + content[place_of_text + 1 :])
    person.page.get_by_role("link", name="Check a signature").click()
    for path, indication in ((changed, "TOTAL_FAILED"), (signed, "TOTAL_PASSED")):
        person.at("Check a signature")
        with person.page.expect_navigation():
            person.page.get_by_label("Signed PDF").set_input_files(path)
            person.form("validate").get_by_role("button", name="Check", exact=True).click()
        expect(person.page.locator("[data-indication]")).to_have_attribute("data-indication", indication)
    expect(person.page.locator("main")).to_contain_text("PAdES B-LT")
    if scripts:
        person.picture("portal-validate", everywhere=True)
        assert person.barriers() == []


def row(person: Visitor, name: str) -> str:
    """The identifier of a document in the list, by its name."""
    found = person.page.locator("[data-document]").filter(has_text=name)
    expect(found).to_have_count(1)
    return str(found.get_attribute("data-document"))


def shown_box(pdf: bytes) -> tuple[float, ...] | None:
    """The rectangle of the first signature's field, where it has a size."""
    reader: Any = PdfFileReader
    (signature,) = reader(BytesIO(pdf)).embedded_regular_signatures
    box = tuple(float(each) for each in signature.sig_field["/Rect"])
    return box if box[2] > box[0] and box[3] > box[1] else None


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_person_signs_two_documents_with_one_approval_and_finds_them_again(
    product: Product, visitor: NewVisitor, contracts: list[Path], tmp_path: Path, scripts: bool
) -> None:
    alice = visitor(scripts=scripts)
    arrive(alice)
    bring(alice, *contracts)
    expect(alice.page.locator("[data-document]")).to_have_count(2)
    alice.page.get_by_role("button", name="Sign the chosen documents").click()
    alice.at("Review and sign")
    for path in contracts:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        expect(alice.page.locator(f'[data-digest="{digest}"]')).to_be_visible()
    place(alice, scripts=scripts)
    if scripts:
        alice.picture("portal-review", everywhere=True)
        assert alice.barriers() == []
    approve(alice)
    expect(alice.page.get_by_role("status")).to_have_text("Signed: 2")
    expect(alice.page.locator("[data-document] .tag")).to_have_text(["PAdES B-LT", "PAdES B-LT"])
    if scripts:
        alice.picture("portal-documents", everywhere=True)
        assert alice.barriers() == []
    for path in contracts:
        with alice.page.expect_download() as waiting:
            alice.page.get_by_role("link", name=f"Download signed {path.name}").click()
        assert waiting.value.suggested_filename == f"{path.stem}-signed.pdf"
        pdf = Path(waiting.value.path()).read_bytes()
        assert pdf.startswith(path.read_bytes()), "the signature is an addition to the document"
        found = verdict(pdf, product)
        assert found.bottom_line, found
        # Validation data is a revision of its own, after the one that is signed.
        assert (found.signer, found.coverage) == ("Alice Example", "ENTIRE_REVISION")
        assert b"/DSS" in pdf
        assert shown_box(pdf) is not None, "the signature shows"

        (tmp_path / f"{path.stem}-signed.pdf").write_bytes(pdf)
    check(alice, tmp_path / "lease-2026-signed.pdf", scripts=scripts)

    alice.form("sign-out").get_by_role("button").click()
    alice.at("Sign out of Privy Seal?")
    alice.page.get_by_role("button", name="Sign out").click()
    alice.at("Sign documents")
    alice.page.goto(f"{alice.ports.url('portal')}/documents")
    alice.at("Please sign in")
    alice.seen.refused.clear()
    arrive(alice)
    for name in NAMES:
        identifier = row(alice, name)
        with alice.page.expect_navigation():
            alice.page.locator(f'[data-document="{identifier}"]').get_by_role("button", name=f"Delete {name}").click()
        expect(alice.page.locator(f'[data-document="{identifier}"]')).to_have_count(0)
    expect(alice.page.locator("main")).to_contain_text("There is nothing here yet.")
