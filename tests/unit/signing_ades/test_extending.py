"""Signed PDFs lifted from each level to each higher one, and archives renewed, as two validators see it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.sign.ades.report import AdESPassed

from foundation.clock import FixedClock, SystemClock
from signing.ades.errors import DocumentNotReadable, EvidenceMissing, NotExtendable, NothingSigned
from signing.ades.extending import LEVELS, Extended, Means, extended
from signing.ades.pades import Wanted
from signing.ades.validate.policy import ValidationPolicy
from signing.ades.validate.report import Level
from signing.ades.validation_data import ValidationData
from signing.csc.certificate_status import CertificateStatus
from signing.settings import StatusSettings
from tests.documents import blank_pdf
from tests.trust import PLAIN, Trust, Unit, judged, signed_pdf

KEY = ec.generate_private_key(ec.SECP256R1())
SETTINGS = StatusSettings("played", (Path("root"),))


class Office:
    """Trust services and a signer; time goes on with each thing that is asked for."""

    def __init__(self, directory: Path) -> None:
        self.trust = Trust(directory, FixedClock(SystemClock().now() - timedelta(hours=1)))
        self.unit = self.trust.unit("unit")
        self.chain = self.trust.signer(KEY)
        self.trust.clock.advance(1)

    def signed(self, unit: Unit | None = None, document: bytes | None = None, wanted: Wanted = PLAIN) -> bytes:
        self.trust.clock.advance(1)
        return signed_pdf(document or blank_pdf(), KEY, self.chain, self.trust.clock.now(), unit, wanted)

    def extend(self, pdf: bytes, wished: Level, *, renew: bool = False) -> Extended:
        return extended(pdf, wished, self.means(), renew=renew)

    def means(self) -> Means:
        return Means(self._stamp, self._evidence, ValidationPolicy((self.trust.root,)), self.trust.clock)

    def _stamp(self, digest: bytes) -> bytes:
        self.trust.clock.advance(1)
        return self.unit.stamp(digest, "sha256").der

    def _evidence(self, chain: Sequence[bytes], since: datetime | None) -> ValidationData:
        self.trust.clock.advance(1)
        anchors = [x509.load_der_x509_certificate(self.trust.root)]
        return CertificateStatus(self.trust, anchors, self.trust.clock, SETTINGS).of(chain, since)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.mark.parametrize("stamped", [False, True], ids=["from B-B", "from B-T"])
@pytest.mark.parametrize("wished", LEVELS[1:])
def test_a_file_is_lifted_to_each_level_by_revisions_alone(office: Office, wished: Level, stamped: bool) -> None:
    pdf = office.signed(office.unit if stamped else None)
    found = office.extend(pdf, wished)
    assert (found.before, found.after) == ("B-T" if stamped else "B-B", wished)
    assert found.octets.startswith(pdf)
    assert found.changed is (found.before != wished)
    if stamped and wished != "B-T":
        # Of a signature that is stamped with the document alone pyHanko's own process says nothing.
        assert judged(found.octets, office.trust.root, office.trust.clock.now()) is AdESPassed.OK


def test_a_certification_that_lets_nothing_be_changed_takes_data_and_stamps(office: Office) -> None:
    archive = office.extend(office.signed(office.unit, wanted=Wanted(certify=True, permissions=1)), "B-LTA").octets
    assert judged(archive, office.trust.root, office.trust.clock.now()) is AdESPassed.OK
    assert office.extend(archive, "B-LTA", renew=True).changed


@pytest.mark.parametrize("form", ["--object-streams=generate", "--linearize"])
def test_SIG_10_every_form_of_pdf_takes_the_revisions(office: Office, tmp_path: Path, form: str) -> None:
    before, after = tmp_path / "before.pdf", tmp_path / "after.pdf"
    before.write_bytes(blank_pdf())
    subprocess.run(["qpdf", form, before, after], check=True)
    archive = office.extend(office.signed(office.unit, after.read_bytes()), "B-LTA").octets
    assert judged(archive, office.trust.root, office.trust.clock.now()) is AdESPassed.OK
    after.write_bytes(archive)
    said = subprocess.run(["qpdf", "--check", after], check=True, capture_output=True, text=True)
    assert "WARNING" not in said.stdout + said.stderr


def test_what_is_reached_is_not_done_again(office: Office) -> None:
    archive = office.extend(office.signed(), "B-LTA").octets
    for wished in ("B-T", "B-LTA"):
        again = office.extend(archive, wished)
        assert (again.octets, again.changed, again.after) == (archive, False, "B-LTA")


def test_SIG_12_archives_are_renewed_by_a_new_unit_and_outlive_signer_unit_and_authority(office: Office) -> None:
    trust = office.trust
    archive = office.extend(office.signed(office.unit), "B-LTA").octets
    # Time passes, and nobody renews: the unit's certificate has run out.
    trust.clock.advance(6 * 365 * 86_400)
    with pytest.raises(NotExtendable):
        office.extend(archive, "B-LTA", renew=True)
    trust.clock.advance(-2 * 365 * 86_400)
    office.unit = trust.unit("another unit")
    renewed = office.extend(archive, "B-LTA", renew=True)
    assert (renewed.changed, renewed.after) == (True, "B-LTA")
    assert renewed.octets.startswith(archive)
    trust.clock.advance(2 * 365 * 86_400)
    # Six years: of all who were there at first, the root alone is good still.
    for certificate in (office.chain[0], office.chain[1]):
        assert x509.load_der_x509_certificate(certificate).not_valid_after_utc < trust.clock.now()
    assert office.extend(renewed.octets, "B-LTA").after == "B-LTA"
    assert office.extend(renewed.octets, "B-LTA", renew=True).changed


def test_two_signatures_are_lifted_together(office: Office) -> None:
    both = office.signed(office.unit, office.signed())
    found = office.extend(both, "B-LTA")
    assert (found.before, found.after) == ("B-B", "B-LTA")
    third = office.signed(None, found.octets)
    again = office.extend(third, "B-LTA")
    assert (again.before, again.after, again.changed) == ("B-B", "B-LTA", True)


@pytest.mark.parametrize("wished", ["B-LT", "B-LTA"])
def test_SIG_06_what_lacks_revocation_data_is_not_written(office: Office, wished: Level) -> None:
    pdf = office.signed(office.unit)
    office.trust.silent = True
    with pytest.raises(NotExtendable, match="INDETERMINATE"):
        office.extend(pdf, wished)
    office.trust.silent, office.trust.delay = False, timedelta(minutes=5)
    with pytest.raises((NotExtendable, EvidenceMissing)):
        office.extend(pdf, wished)


def test_what_is_broken_is_not_kept_for_long(office: Office) -> None:
    pdf = bytearray(office.signed(office.unit))
    pdf[pdf.index(b"one page")] ^= 1
    with pytest.raises(NotExtendable, match="TOTAL_FAILED"):
        office.extend(bytes(pdf), "B-LTA")
    office.trust.ca.revoke(office.chain[0], "keyCompromise")
    office.trust.clock.advance(1)
    with pytest.raises(NotExtendable):
        office.extend(office.signed(), "B-T")


def test_a_certificate_that_is_revoked_after_the_stamp_takes_nothing_away(office: Office) -> None:
    pdf = office.signed(office.unit)
    office.trust.clock.advance(10)
    office.trust.ca.revoke(office.chain[0], "keyCompromise")
    office.trust.clock.advance(10)
    assert office.extend(pdf, "B-LTA").after == "B-LTA"


def test_a_level_that_is_not_there_in_the_end_is_not_claimed(office: Office) -> None:
    means = office.means()
    nothing = Means(means.stamp, lambda _chain, _since: ValidationData(), means.policy, means.clock)
    with pytest.raises(NotExtendable):
        extended(office.signed(office.unit), "B-LT", nothing)


def test_what_is_not_signed_is_not_lifted(office: Office) -> None:
    with pytest.raises(NothingSigned):
        office.extend(blank_pdf(), "B-T")
    with pytest.raises(DocumentNotReadable):
        office.extend(b"text", "B-T")
