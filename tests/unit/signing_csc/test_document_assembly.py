"""The levels of ``signDoc`` on the development authorities: reached, or said not to be; and what is kept where not."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESPassed

from connectors.ports.tsa import HashName, TimestampToken, TsaUnavailable
from foundation.clock import FixedClock, SystemClock
from signing.ades import pades
from signing.ades.validation_data import ValidationData
from signing.csc import document_assembly, errors
from signing.csc.certificate_status import CertificateStatus
from signing.csc.document_assembly import Assembled, Assembly, Signed, prepare, validation_info
from signing.csc.document_requests import ARCHIVED, BASIC, STAMPED, VALIDATABLE, Wish
from signing.csc.stamper import Stamper
from signing.csc.unfinished import Unfinished, name_of
from signing.settings import StatusSettings
from tests.documents import blank_pdf
from tests.trust import Trust, Unit, judged, signed_by_module

_READER: Any = PdfFileReader
KEY = ec.generate_private_key(ec.SECP256R1())
DOCUMENT = blank_pdf()
SETTINGS = StatusSettings("played", (Path("root"),))


@dataclass
class Desk:
    """What signatures are assembled with; each part can be made to fail."""

    trust: Trust
    unit: Unit
    chain: tuple[bytes, ...]
    stamps: int = 100
    """How many more there are."""
    since: list[datetime | None] = field(default_factory=list)

    def stamp(self, imprint: bytes, hash_name: HashName, nonce: int | None = None) -> TimestampToken:
        """A :class:`connectors.ports.tsa.TimestampAuthority`'s."""
        self.stamps -= 1
        if self.stamps < 0:
            raise TsaUnavailable("no more")
        self.trust.clock.advance(1)
        return self.unit.stamp(imprint, hash_name, nonce)

    def assembly(self) -> Assembly:
        return Assembly(Stamper([self]), self, self.chain)

    def of(self, certificates: Sequence[bytes], since: datetime | None) -> ValidationData:
        """As the product asks, seen from aside."""
        self.since.append(since)
        anchors = [x509.load_der_x509_certificate(self.trust.root)]
        return CertificateStatus(self.trust, anchors, self.trust.clock, SETTINGS).of(certificates, since)

    def signed(self, level: str, *, lower: bool = False) -> Signed:
        digest = pades.digest(DOCUMENT, "sha256")
        wish = Wish("P", "Revision", level, digest, "sha256", DOCUMENT, lower=lower)
        prepared = prepare(wish, self.chain, self.trust.clock.now())
        assert prepared.pdf is not None
        return Signed(prepared, signed_by_module(prepared.pdf, KEY, self.chain[0], self.trust.clock.now()))

    def assemble(self, level: str, *, lower: bool = False) -> Assembled:
        (made,) = self.assembly().assemble([self.signed(level, lower=lower)])
        return made


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    trust = Trust(tmp_path, FixedClock(SystemClock().now() - timedelta(hours=1)))
    unit, chain = trust.unit("unit"), trust.signer(KEY)
    trust.clock.advance(1)
    return Desk(trust, unit, chain)


def time_of(token: bytes) -> datetime:
    """``genTime``."""
    at: datetime = cms.ContentInfo.load(token)["content"]["encap_content_info"]["content"].parsed["gen_time"].native
    return at


def parts(pdf: bytes) -> tuple[int, bool]:
    """How many document time-stamps there are, and whether there is a document security store."""
    reader = _READER(BytesIO(pdf))
    return len(reader.embedded_timestamp_signatures), "/DSS" in reader.root


@pytest.mark.parametrize(
    ("level", "found"), [(BASIC, (0, False)), (STAMPED, (0, False)), (VALIDATABLE, (0, True)), (ARCHIVED, (1, True))]
)
def test_a_level_that_is_wished_for_is_reached(desk: Desk, level: str, found: tuple[int, bool]) -> None:
    made = desk.assemble(level)
    assert (made.level, made.is_pdf, parts(made.octets)) == (level, True, found)
    assert made.octets.startswith(DOCUMENT)
    if found[1]:
        assert judged(made.octets, desk.trust.root, desk.trust.clock.now()) is AdESPassed.OK
        assert desk.chain[0] in made.validation_data.certificates


def test_where_no_authority_is_asked_nobody_waits_side_by_side(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    signed = [desk.signed(BASIC) for _ in range(3)]
    with monkeypatch.context() as patch:
        patch.delattr(document_assembly, "ThreadPoolExecutor")
        assert [each.level for each in desk.assembly().assemble(signed)] == [BASIC] * 3
        mixed = desk.assembly().assemble([*signed, desk.signed(STAMPED)])
    assert [each.level for each in mixed] == [BASIC] * 3 + [STAMPED]


def test_SIG_06_what_is_said_of_the_signer_is_not_older_than_any_stamp_of_the_request(desk: Desk) -> None:
    signed = [desk.signed(VALIDATABLE), desk.signed(STAMPED), desk.signed(ARCHIVED)]
    made = desk.assembly().assemble(signed)
    assert [each.level for each in made] == [VALIDATABLE, STAMPED, ARCHIVED]
    # One question for all of them, about the signer; one about the unit, of whatever age.
    tokens = [each.token for each in made if each.level != STAMPED and each.token is not None]
    assert desk.since == [max(map(time_of, tokens)), None]
    assert made[0].validation_data == made[2].validation_data
    assert made[1].validation_data == ValidationData()


@pytest.mark.parametrize("what", ["silent", "stale"])
def test_SIG_06_without_fresh_revocation_data_no_lasting_signature_is_claimed(desk: Desk, what: str) -> None:
    desk.trust.silent, desk.trust.delay = what == "silent", timedelta(minutes=5 if what == "stale" else 0)
    for level in (VALIDATABLE, ARCHIVED):
        with pytest.raises(errors.TemporarilyUnavailable, match="No revocation data is available that is fresh enough"):
            desk.assemble(level)
        made = desk.assemble(level, lower=True)
        assert (made.level, parts(made.octets)) == (STAMPED, (0, False))
        assert made.validation_data == ValidationData()


@pytest.mark.parametrize(("stamps", "level"), [(0, BASIC), (1, VALIDATABLE)])
def test_PKI_05_without_a_stamp_the_level_is_an_error_or_a_lower_one_that_is_named(
    desk: Desk, stamps: int, level: str
) -> None:
    desk.stamps = stamps
    with pytest.raises(errors.TemporarilyUnavailable, match="time-stamping"):
        desk.assemble(ARCHIVED)
    desk.stamps = stamps
    assert desk.assemble(ARCHIVED, lower=True).level == level


def test_PKI_05_where_nobody_stamps_the_next_signature_does_not_wait_for_the_same(desk: Desk) -> None:
    desk.stamps = 0
    made = desk.assembly().assemble([desk.signed(ARCHIVED, lower=True) for _ in range(12)])
    assert [each.level for each in made] == [BASIC] * 12
    # As many as are asked for at one time may be under way.
    assert -4 <= desk.stamps <= -1


def test_one_item_may_be_lowered_and_another_may_not(desk: Desk) -> None:
    desk.trust.silent = True
    signed = [desk.signed(VALIDATABLE, lower=True), desk.signed(STAMPED)]
    assert [each.level for each in desk.assembly().assemble(signed)] == [STAMPED, STAMPED]
    with pytest.raises(errors.TemporarilyUnavailable):
        desk.assembly().assemble([*signed, desk.signed(VALIDATABLE)])


def test_without_a_source_of_revocation_data_nothing_lasts(desk: Desk) -> None:
    assembly = replace(desk.assembly(), evidence=None)
    with pytest.raises(errors.TemporarilyUnavailable):
        assembly.assemble([desk.signed(VALIDATABLE)])


def test_what_was_signed_is_finished_later_at_the_same_level_or_a_lower_one(desk: Desk) -> None:
    desk.trust.silent, kept, signed = True, Unfinished(), desk.signed(VALIDATABLE)
    kept.keep(b"name", [signed], 100)
    wish = signed.prepared.wish
    for level, reached in ((STAMPED, STAMPED), (VALIDATABLE, VALIDATABLE)):
        desk.trust.silent = level == STAMPED
        found = kept.of(b"name", [replace(wish, level=level)], 99)
        assert found is not None
        assert found[0].prepared.pdf == signed.prepared.pdf
        (made,) = desk.assembly().assemble(found)
        assert made.level == reached
    kept.forget(b"name")
    assert kept.of(b"name", [wish], 99) is None


def test_a_stamp_for_which_no_room_was_left_is_none_that_is_to_be_had(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document_assembly, "_room", lambda _wish, chain: sum(map(len, chain)) + 900)
    kept, signed = Unfinished(), desk.signed(BASIC)
    kept.keep(b"name", [signed], 100)
    wish = replace(signed.prepared.wish, level=STAMPED)
    found = kept.of(b"name", [wish], 99)
    assert found is not None
    with pytest.raises(errors.TemporarilyUnavailable, match="time-stamping"):
        desk.assembly().assemble(found)
    content = kept.of(b"name", [replace(wish, lower=True)], 99)
    assert content is not None
    (made,) = desk.assembly().assemble(content)
    assert (made.level, made.token) == (BASIC, None)


def test_what_is_kept_ends_with_its_sad_and_has_a_bound(desk: Desk) -> None:
    signed = desk.signed(STAMPED)
    kept = Unfinished()
    kept.keep(b"one", [signed], 100)
    assert kept.of(b"one", [signed.prepared.wish], 100) is None
    assert len(kept) == 0
    assert signed.prepared.pdf is not None
    # The document itself is not kept: it comes again.
    octets = len(signed.prepared.pdf.octets) - len(DOCUMENT) + len(signed.document.tbs) + len(signed.document.value)
    kept = Unfinished(2 * octets)
    for name in (b"one", b"two", b"two", b"three"):
        kept.keep(name, [signed], 100)
    assert [kept.of(name, [signed.prepared.wish], 0) is not None for name in (b"one", b"two", b"three")] == [
        False, True, True,
    ]  # fmt: skip
    kept = Unfinished(octets - 1)
    kept.keep(b"one", [signed], 100)
    assert len(kept) == 0


def test_only_the_same_request_is_finished() -> None:
    item = {"document": "QQ==", "signature_format": "P", "conformance_level": "Ades-B-LT"}
    body: dict[str, Any] = {"credentialID": "c", "documents": [item]}

    def named(sad: str, client: str | None, body: dict[str, Any]) -> bytes:
        documents = [base64.b64decode(each["document"]) for each in body["documents"]]
        wishes = [Wish("P", "Revision", BASIC, pades.digest(each, "sha256"), "sha256", each) for each in documents]
        return name_of(sad, client, body, wishes)

    name = named("sad", "client", body)
    lowered = item | {"conformance_level": None, "allow_lower_level": True}
    same: dict[str, Any] = {"credentialID": "c", "SAD": "sad", "documents": [lowered], "clientData": "x"}
    assert named("sad", "client", same) == name
    for sad, client, changed in (
        ("other", "client", body),
        ("sad", "other", body),
        ("sad", None, body),
        ("sad", "client", body | {"credentialID": "d"}),
        ("sad", "client", body | {"documents": [item | {"document": "Qg=="}]}),
        ("sad", "client", body | {"documents": [item | {"signed_props": []}]}),
        ("sad", "client", body | {"documents": [item, item]}),
    ):
        assert named(sad, client, changed) != name


@pytest.mark.parametrize("level", [BASIC, STAMPED, VALIDATABLE, ARCHIVED])
def test_what_validates_a_signature_is_given_out_at_every_level(desk: Desk, level: str) -> None:
    info = validation_info(desk, desk.chain, [desk.assemble(level)])
    # The signer, her authority and the root; the unit; responders.
    wanted = {*desk.chain, desk.trust.root} | ({desk.unit.certificate} if level != BASIC else set())
    assert wanted <= set(info.certificates)
    assert len(info.ocsps) + len(info.crls) >= (2 if level == BASIC else 3)


def test_without_a_word_about_certificates_there_is_no_validation_info(desk: Desk) -> None:
    made = desk.assemble(STAMPED)
    desk.trust.silent = True
    with pytest.raises(errors.TemporarilyUnavailable, match="No revocation data"):
        validation_info(desk, desk.chain, [made])
