"""Signatures in fields that are there, with what these demand and what earlier signatures forbid."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.fields import (
    FieldMDPAction,
    FieldMDPSpec,
    MDPPerm,
    SeedSignatureType,
    SigFieldSpec,
    SigSeedSubFilter,
    SigSeedValFlags,
    SigSeedValueSpec,
    append_signature_field,
)
from pyhanko.sign.validation import SignatureCoverageLevel

from signing.ades.appearance import Look
from signing.ades.errors import AdesError, AppearanceNotAcceptable, DocumentNotAcceptable, FieldNotAcceptable
from signing.ades.fields import Place
from signing.ades.pades import Stated
from tests.documents import Hand, blank_pdf, hand
from tests.unit.signing_ades.test_pades import ECDSA, prepared, signed, verdicts

_READER: Any = PdfFileReader
_WRITER: Any = IncrementalPdfFileWriter
_APPEND: Any = append_signature_field
_SEED: Any = SigSeedValueSpec
_MDP: Any = SeedSignatureType
BOX = (50, 700, 300, 780)


@pytest.fixture(scope="module")
def signer() -> Hand:
    return hand(ec.generate_private_key(ec.SECP256R1()), ECDSA)


@pytest.fixture(scope="module")
def other() -> Hand:
    return hand(ec.generate_private_key(ec.SECP256R1()), ECDSA)


def with_fields(*fields: SigFieldSpec) -> bytes:
    """A form with empty signature fields."""
    writer = _WRITER(BytesIO(blank_pdf()))
    for each in fields:
        _APPEND(writer, each)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def field(pdf: bytes, name: str) -> Any:
    (found,) = [each for each in _READER(BytesIO(pdf)).root["/AcroForm"]["/Fields"] if each.get_object()["/T"] == name]
    return found.get_object()


def test_an_empty_field_is_signed_where_it_is_and_shows_something(signer: Hand) -> None:
    form = with_fields(SigFieldSpec("Buyer", box=BOX), SigFieldSpec("Seller", box=(50, 600, 300, 680)))
    pdf = signed(form, signer, place=Place("Seller"))
    (verdict,) = verdicts(pdf, signer)
    assert verdict.bottom_line
    assert _READER(BytesIO(pdf)).embedded_signatures[0].field_name == "Seller"
    assert "/V" not in field(pdf, "Buyer")
    assert field(pdf, "Seller")["/AP"]["/N"]["/BBox"] == [0, 0, 250, 80]


def test_SIG_09_two_people_sign_one_form_and_both_signatures_hold(signer: Hand, other: Hand) -> None:
    form = with_fields(SigFieldSpec("Buyer", box=BOX), SigFieldSpec("Seller", box=(50, 600, 300, 680)))
    once = signed(form, signer, place=Place("Buyer"), look=Look("{name}", qr="x"))
    twice = signed(once, other, place=Place("Seller"))
    thrice = signed(twice, signer, place=Place("Witness", box=(50, 500, 300, 580)))
    assert thrice.startswith(twice)
    assert twice.startswith(once)
    found = verdicts(thrice, signer, other)
    assert [verdict.bottom_line for verdict in found] == [True] * 3
    assert [verdict.modification_level for verdict in found[:2]] == [ModificationLevel.FORM_FILLING] * 2
    assert found[2].coverage is SignatureCoverageLevel.ENTIRE_FILE


@pytest.mark.parametrize("permissions", [1, 2, 3])
def test_a_certification_says_what_may_come_after_it(signer: Hand, other: Hand, permissions: int) -> None:
    pdf = signed(blank_pdf(), signer, certify=True, permissions=permissions)
    (embedded,) = _READER(BytesIO(pdf)).embedded_signatures
    assert embedded.docmdp_level is MDPPerm(permissions)
    if permissions == 1:
        with pytest.raises(AdesError):
            prepared(pdf, other)
        return
    assert all(verdict.bottom_line for verdict in verdicts(signed(pdf, other), signer, other))


def test_a_document_that_is_signed_is_not_certified_any_more(signer: Hand, other: Hand) -> None:
    with pytest.raises(DocumentNotAcceptable):
        prepared(signed(blank_pdf(), signer), other, certify=True)


REFUSED = {
    "signed already": (Place("Buyer"), True),
    "with a box of its own": (Place("Seller", box=BOX), False),
    "with a page of its own": (Place("Seller", page=1), False),
    "no such name to be made": (Place("a.b"), False),
    "a name of controls": (Place("a\x00b"), False),
    "no name": (Place(""), False),
    "a name without an end": (Place("a" * 128), False),
    "a page without a box": (Place(page=1), False),
    "a page that is not there": (Place(page=2, box=BOX), False),
    "a page before the first": (Place(page=-2, box=BOX), False),
    "page none": (Place(page=0, box=BOX), False),
    "beside the page": (Place(box=(500, 700, 700, 780)), False),
    "below the page": (Place(box=(50, -1, 100, 50)), False),
    "a box the wrong way round": (Place(box=(300, 700, 50, 780)), False),
    "a box without an area": (Place(box=(50, 700, 50, 780)), False),
    "a box of no numbers": (Place(box=(float("nan"), 0, 10, 10)), False),
}


@pytest.mark.parametrize(("place", "once"), REFUSED.values(), ids=REFUSED)
def test_SIG_11_a_place_that_is_none_is_refused(signer: Hand, place: Place, once: bool) -> None:
    form = with_fields(SigFieldSpec("Buyer", box=BOX), SigFieldSpec("Seller", box=(50, 600, 300, 680)))
    if once:
        form = signed(form, signer, place=Place("Buyer"))
    with pytest.raises(FieldNotAcceptable) as refused:
        prepared(form, signer, place=place)
    assert str(refused.value)


def test_a_field_for_text_is_not_signed_over(signer: Hand) -> None:
    writer = _WRITER(BytesIO(with_fields(SigFieldSpec("Buyer"))))
    fields = writer.root["/AcroForm"]["/Fields"]
    text = generic.DictionaryObject({generic.pdf_name("/FT"): generic.pdf_name("/Tx")})  # type: ignore[no-untyped-call] # partly typed
    text["/T"] = generic.pdf_string("Name")
    fields.append(writer.add_object(text))
    writer.update_container(fields)
    out = BytesIO()
    writer.write(out)
    with pytest.raises(FieldNotAcceptable):
        prepared(out.getvalue(), signer, place=Place("Name"))


def test_in_a_field_without_a_place_nothing_can_be_shown(signer: Hand) -> None:
    form = with_fields(SigFieldSpec("Hidden"))
    assert verdicts(signed(form, signer, place=Place("Hidden")), signer)[0].bottom_line
    with pytest.raises(AppearanceNotAcceptable):
        prepared(form, signer, place=Place("Hidden"), look=Look("seen"))
    with pytest.raises(AppearanceNotAcceptable):
        prepared(blank_pdf(), signer, look=Look("seen"))


DEMANDS = {
    "another digest": {"flags": SigSeedValFlags.DIGEST_METHOD, "digest_methods": ["sha512"]},
    "another kind": {"flags": SigSeedValFlags.SUBFILTER, "subfilters": [SigSeedSubFilter.ADOBE_PKCS7_DETACHED]},
    "another reason": {"flags": SigSeedValFlags.REASONS, "reasons": ["Agreed"]},
    "no reason": {"flags": SigSeedValFlags.REASONS, "reasons": ["."]},
    "a certification": {"seed_signature_type": _MDP(MDPPerm.NO_CHANGES)},
    "a time-stamp": {"timestamp_server_url": "http://stamp.example/", "timestamp_required": True},
    "a named appearance": {"flags": SigSeedValFlags.APPEARANCE_FILTER, "appearance": "Corporate"},
}


@pytest.mark.parametrize("demands", DEMANDS.values(), ids=DEMANDS)
def test_what_a_field_demands_and_the_signature_would_not_have_is_refused(
    signer: Hand, demands: dict[str, Any]
) -> None:
    form = with_fields(SigFieldSpec("Buyer", box=BOX, seed_value_dict=_SEED(**demands)))
    with pytest.raises(AdesError):
        prepared(form, signer, stated=Stated("Because"), place=Place("Buyer"))


def test_what_a_field_demands_and_the_signature_has_is_no_hindrance(signer: Hand) -> None:
    seed = _SEED(
        flags=SigSeedValFlags.DIGEST_METHOD | SigSeedValFlags.REASONS | SigSeedValFlags.SUBFILTER,
        digest_methods=["sha256"],
        reasons=["Agreed"],
        subfilters=[SigSeedSubFilter.PADES],
        timestamp_server_url="http://stamp.example/",
        timestamp_required=True,
    )
    form = with_fields(SigFieldSpec("Buyer", box=BOX, seed_value_dict=seed))
    pdf = signed(form, signer, stated=Stated("Agreed"), place=Place("Buyer"), timestamped=True)
    assert verdicts(pdf, signer)[0].intact


def test_a_fields_lock_goes_into_its_signature_and_later_ones_are_held_to_it(signer: Hand, other: Hand) -> None:
    lock = FieldMDPSpec(FieldMDPAction.INCLUDE, fields=["Seller"])
    form = with_fields(
        SigFieldSpec("Buyer", box=BOX, field_mdp_spec=lock),
        SigFieldSpec("Seller", box=(50, 600, 300, 680)),
        SigFieldSpec("Witness", box=(50, 500, 300, 580)),
    )
    once = signed(form, signer, place=Place("Buyer"))
    assert _READER(BytesIO(once)).embedded_signatures[0].fieldmdp.is_locked("Seller")
    with pytest.raises(FieldNotAcceptable):
        prepared(once, other, place=Place("Seller"))
    assert all(each.bottom_line for each in verdicts(signed(once, other, place=Place("Witness")), signer, other))


def test_a_field_that_closes_the_document_is_the_last_to_be_signed(signer: Hand, other: Hand) -> None:
    lock = FieldMDPSpec(FieldMDPAction.ALL)
    form = with_fields(
        SigFieldSpec("Last", box=BOX, field_mdp_spec=lock, doc_mdp_update_value=MDPPerm.NO_CHANGES),
        SigFieldSpec("Later", box=(50, 600, 300, 680)),
    )
    once = signed(form, signer, place=Place("Last"))
    for place in (Place("Later"), Place(), Place("New", box=(50, 500, 300, 580))):
        with pytest.raises(FieldNotAcceptable):
            prepared(once, other, place=place)
