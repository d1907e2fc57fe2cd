"""What signatures carry to be validated for long: whole, verified, and refused where somebody was revoked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID

from connectors.ports.status import StatusInvalid, StatusUnavailable
from foundation.certificates import ocsp
from foundation.certificates.reading import identity
from signing.ades.errors import CertificateRevoked, ChainNotTrusted, TokenUnreadable
from signing.ades.validation_data import ValidationData, certificates_of, gather
from tests import pki
from tests.fakes.status import UPDATED, FakeStatus
from tests.pki import DAY, NOW, Authority, Issued, Leaf

ROOT = pki.authority("Root")
ISSUING = ROOT.authority("Issuing", path_length=0)
ANA = ISSUING.issue(Leaf(uses=("content_commitment",), extended=None))
TSA = ROOT.issue(Leaf(subject=pki.name("TSA"), extended=(ExtendedKeyUsageOID.TIME_STAMPING,)))
CHAIN = (ANA.der, ISSUING.der, ROOT.der)
ANCHORS = (ROOT.certificate,)


def status(**changes: Any) -> FakeStatus:
    return FakeStatus((ROOT, ISSUING), **changes)


@dataclass
class Shelf:
    """Hands out issuers' certificates, as told."""

    above: dict[bytes, tuple[bytes, ...]]
    asked: list[bytes] = field(default_factory=list)

    def issuers(self, certificate: bytes) -> tuple[bytes, ...]:
        self.asked.append(certificate)
        return self.above.get(certificate, ())


def test_a_chain_comes_with_an_answer_about_each_certificate_below_the_anchor() -> None:
    data = gather(CHAIN, status(), ANCHORS, NOW)
    assert data.certificates == CHAIN
    assert data.crls == ()
    for answer, (issued, issuer) in zip(data.ocsps, ((ANA, ISSUING), (ISSUING, ROOT)), strict=True):
        asked = ocsp.Asked(issued.certificate, issuer.certificate, None)
        assert ocsp.judge(answer, asked, NOW) > NOW


def test_the_responders_certificate_is_kept_beside() -> None:
    delegate = ROOT.responder()
    data = gather((TSA.der, ROOT.der), status(delegate=delegate), ANCHORS, NOW)
    assert data.certificates == (TSA.der, ROOT.der, delegate.der)


def test_both_together_have_each_once() -> None:
    signer, stamp = gather(CHAIN, status(), ANCHORS, NOW), gather((TSA.der,), status(), ANCHORS, NOW)
    both = signer | stamp
    assert both.certificates == (*CHAIN, TSA.der)
    assert len(both.ocsps) == 3
    assert both | signer == both
    assert ValidationData() | both == both


def test_what_a_chain_lacks_is_fetched_and_verified_all_the_same() -> None:
    shelf = Shelf({ANA.der: (ISSUING.der,)})
    assert gather((ANA.der,), status(), ANCHORS, NOW, issuers=shelf).certificates == CHAIN
    assert shelf.asked == [ANA.der]
    twin = pki.authority("Root").authority("Issuing", path_length=0)
    with pytest.raises(ChainNotTrusted):
        gather((ANA.der,), status(), ANCHORS, NOW, issuers=Shelf({ANA.der: (twin.der,)}))


def test_a_place_that_names_itself_as_its_issuer_is_not_asked_for_ever() -> None:
    lost = pki.authority("Elsewhere").issue()
    shelf = Shelf({lost.der: (lost.der,)})
    with pytest.raises(ChainNotTrusted):
        gather((lost.der,), status(), ANCHORS, NOW, issuers=shelf)
    assert len(shelf.asked) <= 4


@pytest.mark.parametrize("oid", ["2.5.29.56", "0.4.0.194121.2.1"])
def test_of_a_short_lived_certificate_that_is_never_revoked_nobody_is_asked(oid: str) -> None:
    mark = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x05\x00")
    brief = ISSUING.issue(Leaf(more=((mark, False),)))
    source = status()
    data = gather((brief.der, ISSUING.der), source, ANCHORS, NOW)
    assert data.certificates == (brief.der, ISSUING.der, ROOT.der)
    assert [asked for asked, _ in source.asked] == [identity(ISSUING.certificate)]


def test_an_authority_that_says_it_is_never_revoked_is_asked_about_all_the_same() -> None:
    mark = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x05\x00")
    bold = ROOT.authority("Bold", mark)
    source = FakeStatus((ROOT, bold), revoked={identity(bold.certificate): None})
    with pytest.raises(CertificateRevoked):
        gather((bold.issue().der, bold.der), source, ANCHORS, NOW)


LATER = NOW + 400 * DAY
BELOW: Authority = ISSUING.authority("Below")
REFUSED: dict[str, tuple[tuple[bytes, ...], Any, str]] = {
    "another root": ((ANA.der, ISSUING.der), (pki.authority("Root").certificate,), "path"),
    "no anchor": (CHAIN, (), "unknown_issuer"),
    "the authority is missing": ((ANA.der,), ANCHORS, "unknown_issuer"),
    "below the path's length": ((BELOW.issue().der, BELOW.der, ISSUING.der), ANCHORS, "path"),
    "issued by a person": ((Authority(ANA.certificate, ANA.key).issue().der, *CHAIN), ANCHORS, "path"),
    "no certificate": ((b"\x30\x00",), ANCHORS, "malformed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_chain_that_does_not_lead_to_an_anchor_is_refused(case: str) -> None:
    chain, anchors, cause = REFUSED[case]
    source = status()
    with pytest.raises(ChainNotTrusted) as refused:
        gather(chain, source, anchors, NOW)
    assert (refused.value.cause, source.asked) == (cause, []), "and nobody is asked about it"


def test_an_expired_certificate_is_refused() -> None:
    with pytest.raises(ChainNotTrusted) as refused:
        gather(CHAIN, status(), ANCHORS, LATER)
    assert refused.value.cause == "expired"


@pytest.mark.parametrize("gone", [ANA, ISSUING], ids=["person", "authority"])
@pytest.mark.parametrize("reason", [None, x509.ReasonFlags.certificate_hold], ids=["revoked", "suspended"])
def test_a_revoked_or_suspended_certificate_gets_no_validation_data(
    gone: Issued, reason: x509.ReasonFlags | None
) -> None:
    with pytest.raises(CertificateRevoked):
        gather(CHAIN, status(revoked={identity(gone.certificate): reason}), ANCHORS, NOW)


def test_a_certificate_that_was_revoked_after_its_use_still_counts() -> None:
    source = status(revoked={identity(ANA.certificate): None})
    revoked_at = NOW - DAY
    data = gather(CHAIN, source, ANCHORS, NOW, valid_at=revoked_at - timedelta(seconds=1))
    assert len(data.ocsps) == 2
    with pytest.raises(CertificateRevoked):
        gather(CHAIN, source, ANCHORS, NOW, valid_at=revoked_at)


def test_only_what_is_said_of_the_end_entity_has_to_be_fresh() -> None:
    source = status()
    gather(CHAIN, source, ANCHORS, NOW, at_least=UPDATED)
    assert [at_least for _, at_least in source.asked] == [UPDATED, None]
    with pytest.raises(StatusUnavailable):
        gather(CHAIN, source, ANCHORS, NOW, at_least=UPDATED + timedelta(seconds=1))


@pytest.mark.parametrize("failure", [StatusUnavailable("down"), StatusInvalid("nobody to ask")])
def test_without_one_of_the_answers_there_is_nothing(failure: StatusUnavailable | StatusInvalid) -> None:
    with pytest.raises(type(failure)):
        gather(CHAIN, status(failure=failure), ANCHORS, NOW)


def signed_data(*more: x509.Certificate) -> bytes:
    builder = pkcs7.PKCS7SignatureBuilder().set_data(b"data")
    builder = builder.add_signer(TSA.certificate, TSA.key, hashes.SHA256())
    for each in more:
        builder = builder.add_certificate(each)
    return builder.sign(Encoding.DER, [])


def by_key(token: bytes) -> bytes:
    """The same, its signer named by the identifier of a key that none of its certificates has."""
    loaded = cms.ContentInfo.load(token)
    signer = loaded["content"]["signer_infos"][0]
    signer["sid"] = cms.SignerIdentifier("subject_key_identifier", b"none of them")
    return bytes(loaded.dump(force=True))


def without_certificates(token: bytes) -> bytes:
    loaded = cms.ContentInfo.load(token)
    loaded["content"]["certificates"] = []
    return bytes(loaded.dump(force=True))


def test_a_tokens_certificates_come_with_the_signers_first() -> None:
    found = certificates_of(signed_data(ROOT.certificate, ISSUING.certificate))
    assert found[0] == TSA.der
    assert set(found) == {TSA.der, ROOT.der, ISSUING.der}


@pytest.mark.parametrize("spoil", [by_key, without_certificates, lambda _: b"\x30\x00", lambda token: token[:40]])
def test_a_token_without_its_signers_certificate_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(TokenUnreadable):
        certificates_of(spoil(signed_data()))
