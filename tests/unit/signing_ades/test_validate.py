"""Reports on signed PDFs: what each level's validation finds, and what attackers are told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader

from foundation.clock import FixedClock, SystemClock
from signing.ades.long_term import with_document_timestamp, with_validation_data
from signing.ades.validate.certificates import common_name, qualified, reported
from signing.ades.validate.document import validate
from signing.ades.validate.parts import printable
from signing.ades.validate.policy import Circumstances, Revocation, ValidationPolicy
from signing.ades.validate.readable import lines
from signing.ades.validate.report import QualifiedStatements, Report, as_json
from signing.ades.validation_data import ValidationData
from tests import pki
from tests.documents import Hand, blank_pdf, cms_of, prepared_pdf, sign
from tests.trust import ECDSA, Trust, Unit, gathered, signed_pdf
from tests.unit.signing_ades.test_pades import encrypted

KEY = ec.generate_private_key(ec.SECP256R1())
START = SystemClock().now().replace(microsecond=0) - timedelta(hours=1)
_GENERIC: Any = generic
_READER: Any = PdfFileReader
"""Partly typed: met here alone."""


class World:
    """A document at each level, made one second after another, and its trust."""

    def __init__(self, directory: Path) -> None:
        self.trust = Trust(directory, FixedClock(START))
        self.unit: Unit = self.trust.unit("unit")
        self.chain = self.trust.signer(KEY)
        self.plain = signed_pdf(blank_pdf(), KEY, self.chain, self.tick())
        self.stamped = signed_pdf(blank_pdf(), KEY, self.chain, self.tick(), self.unit)
        self.tick()
        self.lasting = with_validation_data(self.stamped, self.gathered())
        self.tick()
        self.archived = self.stamp(self.lasting)
        self.tick()
        self.now = self.gathered()
        self.tick()

    def tick(self) -> Any:
        self.trust.clock.advance(1)
        return self.trust.clock.now()

    def gathered(self) -> ValidationData:
        return gathered(self.trust, self.chain, self.unit)

    def stamp(self, pdf: bytes) -> bytes:
        return with_document_timestamp(pdf, lambda digest: self.unit.stamp(digest, "sha256").der)

    def report(
        self, pdf: bytes, days: float = 0, outside: ValidationData | None = None, revocation: Revocation = "required"
    ) -> Report:
        """After so many days, with what the document has and no more."""
        at = self.trust.clock.now() + timedelta(days=days)
        policy = ValidationPolicy((self.trust.root,), revocation=revocation)
        return validate(pdf, policy, Circumstances(at, outside or ValidationData()))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def said(report: Report) -> tuple[str, str | None, str | None]:
    """Of the first signature."""
    first = report.signatures[0]
    return first.verdict.indication, first.verdict.sub_indication, first.level


@pytest.mark.parametrize(
    ("name", "level"),
    [("plain", "B-B"), ("stamped", "B-T"), ("lasting", "B-LT"), ("archived", "B-LTA")],
)
def test_SIG_01_every_level_passes_and_is_named(world: World, name: str, level: str) -> None:
    report = world.report(getattr(world, name), outside=world.now)
    assert report.verdict.indication == "TOTAL_PASSED", report.verdict
    assert said(report) == ("TOTAL_PASSED", None, level)
    (signature,) = report.signatures
    assert [each.trust_anchor for each in signature.chain] == [False, False, True]
    assert signature.signer == "Alice Example"
    assert signature.modifications is not None
    assert signature.modifications.level in {"none", "maintenance"}
    assert (signature.proven_time is None) == (level == "B-B")
    assert len(report.timestamps) == (1 if level == "B-LTA" else 0)
    sources = {each.source for each in signature.revocation}
    assert sources == ({"outside", "document"} if level in {"B-LT", "B-LTA"} else {"outside"})
    json.dumps(as_json(report))


def test_SIG_06_without_a_status_nothing_passes_and_the_long_term_level_is_not_claimed(world: World) -> None:
    for name, level in (("plain", "B-B"), ("stamped", "B-B")):
        indication, sub, reached = said(world.report(getattr(world, name)))
        assert (indication, reached) == ("INDETERMINATE", level)
        assert sub in {"CERTIFICATE_CHAIN_GENERAL_FAILURE", "TRY_LATER"}
    partly = replace(world.gathered(), ocsps=())
    assert said(world.report(with_validation_data(world.stamped, partly), outside=world.now)) == (
        "TOTAL_PASSED",
        None,
        "B-T",
    )
    bare = world.stamp(world.stamped)
    assert said(world.report(bare, outside=world.now))[2] == "B-T"


def test_a_status_that_was_told_after_the_proven_time_is_enough_later(world: World) -> None:
    """The OCSP answer is good for an hour; whoever was not revoked then was not when it was signed."""
    assert said(world.report(world.lasting, days=3)) == ("TOTAL_PASSED", None, "B-LT")
    assert said(world.report(world.archived, days=3)) == ("TOTAL_PASSED", None, "B-LTA")


def test_an_expired_certificate_is_only_believed_with_an_archive(world: World) -> None:
    later = 800
    assert said(world.report(world.archived, days=later)) == ("TOTAL_PASSED", None, "B-LTA")
    assert said(world.report(world.lasting, days=later))[0] == "INDETERMINATE"
    assert said(world.report(world.plain, days=later, outside=world.now))[0] == "INDETERMINATE"


def test_SIG_12_an_archive_that_was_renewed_in_time_outlives_all_its_certificates(tmp_path: Path) -> None:
    world = World(tmp_path)
    years = 4
    world.trust.clock.advance(years * 365 * 86_400)
    second, above = world.trust.unit("second"), world.trust.evidence(world.chain[1], world.trust.root, at_least=None)
    renewed = with_validation_data(world.archived, ValidationData((world.unit.certificate,), (), (above.der,)))
    renewed = with_document_timestamp(renewed, lambda digest: second.stamp(digest, "sha256").der)
    world.tick()
    for days in (1, 700):
        assert said(world.report(renewed, days=days)) == ("TOTAL_PASSED", None, "B-LTA")
    # The signer's, the authority's and the first time-stamp's certificates have ended by then.
    assert said(world.report(world.archived, days=700)) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE", "B-B")


def test_a_certificate_that_was_revoked_before_the_signature_does_not_pass(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.trust.ca.revoke(world.chain[0], "keyCompromise")
    told = world.gathered()
    before = world.report(world.stamped, outside=told)
    assert said(before)[:2] == ("TOTAL_PASSED", None)
    after = signed_pdf(blank_pdf(), KEY, world.chain, world.tick(), world.unit)
    assert said(world.report(after, outside=told))[:2] == ("INDETERMINATE", "REVOKED_NO_POE")
    assert said(world.report(world.plain, outside=told))[:2] == ("INDETERMINATE", "REVOKED_NO_POE")
    assert {each.status for each in before.signatures[0].revocation if each.kind == "ocsp"} == {"revoked"}


def test_another_root_is_not_trusted_whatever_the_document_carries(world: World, tmp_path: Path) -> None:
    other = Trust(tmp_path, FixedClock(START))
    report = validate(world.archived, ValidationPolicy((other.root,)), Circumstances(world.trust.clock.now()))
    assert said(report) == ("INDETERMINATE", "NO_CERTIFICATE_CHAIN_FOUND", "B-B")
    assert report.timestamps[0].verdict.indication == "INDETERMINATE"


def changed(pdf: bytes, how: Callable[[Any], None]) -> bytes:
    """A further revision."""
    writer: Any = IncrementalPdfFileWriter(BytesIO(pdf))
    how(writer)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def other_content(writer: Any) -> None:
    """A shadow attack: another page content in a further revision."""
    page = writer.root["/Pages"]["/Kids"][0]
    page["/Contents"] = writer.add_object(_GENERIC.StreamObject(stream_data=b"BT (Pay 1,000,000) Tj ET"))
    writer.update_container(page)


def overlay(writer: Any) -> None:
    """A shadow attack: an annotation over what was signed."""
    page = writer.root["/Pages"]["/Kids"][0]
    note = _GENERIC.DictionaryObject(
        {
            _GENERIC.pdf_name("/Type"): _GENERIC.pdf_name("/Annot"),
            _GENERIC.pdf_name("/Subtype"): _GENERIC.pdf_name("/FreeText"),
            _GENERIC.pdf_name("/Rect"): _GENERIC.ArrayObject([_GENERIC.NumberObject(n) for n in (0, 0, 595, 842)]),
        }
    )
    held = page.get("/Annots", _GENERIC.ArrayObject())
    page["/Annots"] = _GENERIC.ArrayObject([*held, writer.add_object(note)])
    writer.update_container(page)


@pytest.mark.parametrize("how", [other_content, overlay])
def test_SIG_02_what_was_put_over_a_signed_document_fails(world: World, how: Callable[[Any], None]) -> None:
    for name in ("plain", "archived"):
        report = world.report(changed(getattr(world, name), how), outside=world.now)
        assert said(report) == ("TOTAL_FAILED", "FORMAT_FAILURE", None)
        assert report.verdict.indication == "TOTAL_FAILED"
        modifications = report.signatures[0].modifications
        assert modifications is not None
        assert (modifications.allowed, modifications.level) == (False, "not_allowed")


def test_SIG_02_octets_that_the_signature_does_not_cover_fail(world: World) -> None:
    """Universal signature forgery: byte ranges that are not the ones of the file (CVE-2018-16042 and its like)."""
    pdf = world.plain
    start = pdf.rindex(b"/ByteRange")
    end = pdf.index(b"]", start)
    numbers = pdf[start + 12 : end].split()
    for forged in ([b"0", b"0", *numbers[2:]], [b"1", *numbers[1:]], [b"0", numbers[1], b"0", b"0"], [b"0", b"-1"]):
        field = b"/ByteRange [" + b" ".join(forged)
        altered = pdf[:start] + field.ljust(end - start) + pdf[end:]
        assert world.report(altered, outside=world.now).verdict.indication == "TOTAL_FAILED", forged


def test_a_changed_octet_fails_by_its_digest_and_a_changed_value_by_its_key(world: World) -> None:
    altered = world.plain.replace(b"(one page)", b"(two page)")
    assert said(world.report(altered, outside=world.now)) == ("TOTAL_FAILED", "HASH_FAILURE", None)
    (embedded,) = _READER(BytesIO(world.plain)).embedded_signatures
    value = embedded.signer_info["signature"].native.hex()
    flipped = world.plain.replace(value.encode(), other_digit(value).encode())
    assert flipped != world.plain
    assert said(world.report(flipped, outside=world.now)) == ("TOTAL_FAILED", "SIG_CRYPTO_FAILURE", None)


def other_digit(text: str) -> str:
    """With another last digit."""
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def test_SIG_04_a_signature_that_names_another_certificate_is_nobodys(world: World) -> None:
    named = hashlib.sha256(world.chain[0]).hexdigest()
    altered = world.plain.replace(named.encode(), other_digit(named).encode())
    assert altered != world.plain
    assert said(world.report(altered, outside=world.now)) == ("INDETERMINATE", "NO_SIGNING_CERTIFICATE_FOUND", None)


def test_SIG_04_a_signature_that_names_no_certificate_is_no_baseline_signature(world: World) -> None:
    """By another product's hand: its value verifies, and whose certificate it belongs to is not signed."""
    made = prepared_pdf(blank_pdf(), Hand(KEY, x509.load_der_x509_certificate(world.chain[0]), ECDSA))
    _, before, after, rest = made.byte_range
    digest = hashlib.sha256(made.octets[:before] + made.octets[after : after + rest]).digest()
    values = {"content_type": "data", "message_digest": digest}
    attributes = cms.CMSAttributes([{"type": name, "values": [value]} for name, value in values.items()]).dump()
    value = sign(KEY, ECDSA, hashlib.sha256(attributes).digest())
    bare = made.filled(cms_of(world.chain[0], ECDSA, attributes, value))
    issuers = ValidationData(world.chain[1:]) | world.now
    assert said(world.report(bare, outside=issuers)) == ("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE", None)


@pytest.mark.parametrize(
    "document",
    [b"", b"%PDF-1.7", b"plain text", b"%PDF-1.7\nstartxref\n99999999\n%%EOF", blank_pdf()[:200], encrypted()],
    ids=["empty", "header", "text", "nowhere", "cut", "encrypted"],
)
def test_SIG_10_what_is_no_sound_pdf_fails_in_words(world: World, document: bytes) -> None:
    report = world.report(document)
    assert (report.verdict.indication, report.verdict.sub_indication) == ("TOTAL_FAILED", "FORMAT_FAILURE")
    assert report.verdict.explanation
    assert report.signatures == ()


def test_a_document_without_a_signature_passes_nothing(world: World) -> None:
    assert world.report(blank_pdf()).verdict.indication == "INDETERMINATE"


def test_a_signature_of_a_kind_that_is_not_validated_is_not_passed_over(world: World) -> None:
    old = world.plain.replace(b"/ETSI.CAdES.detached", b"/adbe.x509.rsa_sha1 ")
    assert said(world.report(old, outside=world.now)) == ("TOTAL_FAILED", "FORMAT_FAILURE", None)


def test_a_forged_time_stamp_is_told_and_neither_counts_nor_is_passed_over(world: World) -> None:
    (embedded,) = _READER(BytesIO(world.stamped)).embedded_signatures
    (token,) = (
        each["values"][0]
        for each in embedded.signer_info["unsigned_attrs"]
        if each["type"].native == "signature_time_stamp_token"
    )
    value = token["content"]["signer_infos"][0]["signature"].native.hex()
    forged = world.stamped.replace(value.encode(), other_digit(value).encode())
    assert forged != world.stamped
    report = world.report(forged, outside=world.now)
    (stamp,) = report.signatures[0].timestamps
    assert (stamp.verdict.indication, stamp.verdict.sub_indication) == ("TOTAL_FAILED", "SIG_CRYPTO_FAILURE")
    assert said(report) == ("INDETERMINATE", "SIG_CONSTRAINTS_FAILURE", "B-B")
    assert report.signatures[0].proven_time is None


def test_a_stamp_of_another_signature_proves_nothing_of_this_one(world: World) -> None:
    """The tokens are alike in length: one file's is put in the place of another's."""
    others = signed_pdf(blank_pdf("(another)"), KEY, world.chain, world.tick(), world.unit)
    tokens = []
    for pdf in (world.stamped, others):
        (embedded,) = _READER(BytesIO(pdf)).embedded_signatures
        (attribute,) = embedded.signer_info["unsigned_attrs"]
        tokens.append(attribute["values"][0]["content"]["encap_content_info"]["content"].parsed)
    imprints = [each["message_imprint"]["hashed_message"].native.hex().encode() for each in tokens]
    swapped = world.stamped.replace(imprints[0], imprints[1])
    report = world.report(swapped, outside=world.now)
    assert report.signatures[0].proven_time is None
    assert report.verdict.indication != "TOTAL_PASSED"


def test_qualified_statements_are_reported_as_the_issuer_states_them() -> None:
    authority = pki.authority("Example CA")
    compliance = bytes.fromhex("3008060604008e460101")
    countries = bytes.fromhex("300e060604008e4601073004130243") + b"H"
    stated = pki.statements(compliance, pki.QC_SSCD, pki.QC_TYPE_ESIGN, countries)
    for more, expected in (
        ((), None),
        (((stated, False),), QualifiedStatements(compliance=True, sscd=True, types=("esign",), countries=("CH",))),
        (((pki.statements(bytes.fromhex("300b060604008e460106020105")), False),), None),
        (((pki.statements(pki.QC_SSCD), False),), QualifiedStatements(compliance=False, sscd=True, types=())),
    ):
        issued = authority.issue(pki.Leaf(more=more))
        assert qualified(asn1_x509.Certificate.load(issued.der)) == expected


def test_a_report_for_people_says_everything_in_lines(world: World) -> None:
    text = "\n".join(lines("contract.pdf", world.report(world.archived, outside=world.now)))
    for words in (
        "contract.pdf: TOTAL_PASSED", "Signature Signature1: TOTAL_PASSED", "level: B-LTA", "signer: Alice Example",
        "time, proven: not after", "changes since: validation data and time-stamps only", "trust anchor",
        "Signature time-stamp", "Document time-stamp", "good", "(OCSP of", "in the document", "from outside",
    ):  # fmt: skip
        assert words in text, text
    failed = "\n".join(lines("x.pdf", world.report(world.plain.replace(b"(one page)", b"(two page)"))))
    assert "TOTAL_FAILED/HASH_FAILURE: what was signed is not what is there" in failed


def test_two_signatures_are_each_reported(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    chain = world.trust.signer(key)
    twice = signed_pdf(world.lasting, key, chain, world.tick(), world.unit)
    report = world.report(twice, outside=gathered(world.trust, chain, world.unit) | world.now)
    assert [(each.verdict.indication, each.level) for each in report.signatures] == [
        ("TOTAL_PASSED", "B-LT"),
        ("TOTAL_PASSED", "B-T"),
    ]
    first = report.signatures[0].modifications
    assert first is not None
    assert (first.level, first.allowed, first.covers_whole_file) == ("forms_and_signatures", True, False)


def test_what_a_document_says_of_itself_cannot_steer_a_terminal() -> None:
    authority = pki.authority("Example\x1b[31m CA")
    issued = asn1_x509.Certificate.load(authority.issue(pki.Leaf(subject=pki.name("Eve\x1b[2J\u202e"))).der)
    (told,) = reported([issued], [])
    assert (common_name(issued), told.issuer) == ("Eve [2J ", "Common Name: Example [31m CA")
    assert told.subject == "Common Name: Eve [2J "
    assert printable("Ana\x1b[2J\u202eevil\n") == "Ana [2J evil "
