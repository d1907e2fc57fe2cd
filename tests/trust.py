"""The development trust services without a network, on a clock that a test moves: for signatures that outlive it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESSubIndic
from pyhanko.sign.validation.ades import ades_lta_validation, ades_with_time_validation
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.policy_decl import (
    LocalKnowledge,
    PdfSignatureValidationSpec,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
)
from pyhanko.sign.validation.status import PdfSignatureStatus
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.ltv.types import ValidationTimingInfo
from pyhanko_certvalidator.policy_decl import CertRevTrustPolicy, RevocationCheckingPolicy
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.revinfo.archival import CRLContainer, OCSPContainer

from connectors.ports.status import RevocationEvidence, StatusUnavailable
from connectors.ports.tsa import HashName, TimestampToken
from connectors.tsa.verify import verify
from devservices import tsa
from devservices.ca import Issuance, UnsafeDevelopmentCertificateAuthority
from devservices.names import person_from_mapping
from devservices.ocsp import OcspResponder
from devservices.state import read_certificate
from foundation.clock import FixedClock
from signing.ades import pades
from signing.ades.cms import SignedByModule, room_for, signed_data
from signing.ades.pades import PreparedPdf, Wanted
from signing.ades.validation_data import ValidationData
from signing.link.documents import SignedDocument
from signing.sam.algorithms import SHA256, SignatureAlgorithm
from signing.sam.tbs.cms import PdfSignature
from signing.sam.tbs.common import Signer
from signing.sam.tbs.pdf import ByteRangeDigest, PdfClaim
from tests.documents import Hand
from tests.integration.devservices import ALICE, csr_for

URL = "http://ca.example"
NOTHING = ValidationData()
PLAIN = Wanted()
_READER: Any = PdfFileReader
"""Partly typed: met here alone."""
ECDSA = SignatureAlgorithm("ecdsa", SHA256)


@dataclass
class Unit:
    """A time-stamping unit: a :class:`connectors.ports.tsa.TimestampAuthority`."""

    unit: tsa.UnsafeDevelopmentTsa
    root: asn1_x509.Certificate
    certificate: bytes
    """DER."""

    def stamp(self, imprint: bytes, hash_name: HashName, nonce: int | None = None) -> TimestampToken:
        """See the port."""
        request = {
            "version": "v1",
            "message_imprint": {"hash_algorithm": {"algorithm": hash_name}, "hashed_message": imprint},
            "nonce": nonce or secrets.randbits(64),
            "cert_req": True,
        }
        answer = tsp.TimeStampResp.load(self.unit.answer(tsp.TimeStampReq(request).dump()))
        return verify(answer["time_stamp_token"].dump(), imprint, hash_name, [self.root])


@dataclass
class Trust:
    """One root, below it an issuing authority with an OCSP responder, and time-stamping units."""

    directory: Path
    clock: FixedClock
    ca: UnsafeDevelopmentCertificateAuthority = field(init=False)
    silent: bool = False
    """Whether nobody says anything about certificates."""
    delay: timedelta = timedelta()
    """By how much what the responder says is old."""

    def __post_init__(self) -> None:
        self.reopen()

    @property
    def root(self) -> bytes:
        """The trust anchor, DER."""
        return self.ca.certificate("root").public_bytes(Encoding.DER)

    def unit(self, name: str) -> Unit:
        """The time-stamping unit of that name; made when first asked for."""
        directory = self.directory / name
        tsa.prepare(directory, self.directory / "ca", self.clock)
        certificate = read_certificate(directory / "tsa.crt").public_bytes(Encoding.DER)
        unit = tsa.UnsafeDevelopmentTsa(directory, self.clock)
        return Unit(unit, asn1_x509.Certificate.load(self.root), certificate)

    def signer(self, key: ec.EllipticCurvePrivateKey) -> tuple[bytes, ...]:
        """A certificate for Alice with its chain, hers first."""
        request = Issuance(csr_for(ALICE, key), person_from_mapping(ALICE), secrets.token_hex(8))
        return self.ca.issue(request)

    def reopen(self) -> None:
        """After years: whoever answers for the authorities gets a new certificate."""
        self.ca = UnsafeDevelopmentCertificateAuthority(self.directory / "ca", URL, clock=self.clock)

    def answer(self, certificate: bytes, issuer: bytes) -> bytes:
        """An OCSPResponse about a certificate, made now."""
        parsed, above = x509.load_der_x509_certificate(certificate), x509.load_der_x509_certificate(issuer)
        request = ocsp.OCSPRequestBuilder().add_certificate(parsed, above, hashes.SHA256()).build()
        clock = FixedClock(self.clock.now() - self.delay)
        return OcspResponder(self.ca, clock).answer(request.public_bytes(Encoding.DER))

    def evidence(self, certificate: bytes, issuer: bytes, *, at_least: datetime | None) -> RevocationEvidence:
        """See :class:`connectors.ports.status.StatusSource`."""
        if self.silent:
            raise StatusUnavailable("nobody answers")
        # Of authorities and units a list, of signers an answer, so that both are in what is made.
        if issuer == self.root:
            made = self.ca.crl("root")
            crl = x509.load_der_x509_crl(made)
            found = RevocationEvidence("crl", made, (), crl.last_update_utc, crl.next_update_utc, "good")
        else:
            der = self.answer(certificate, issuer)
            answer = ocsp.load_der_ocsp_response(der)
            assert answer.this_update_utc is not None
            delegate = answer.certificates[0].public_bytes(Encoding.DER)
            status = "good" if answer.certificate_status is ocsp.OCSPCertStatus.GOOD else "revoked"
            found = RevocationEvidence(
                "ocsp",
                der,
                (delegate,),
                answer.this_update_utc,
                answer.next_update_utc,
                status,  # type: ignore[arg-type] # one of its words
                answer.revocation_time_utc,
            )
        if at_least is not None and found.this_update < at_least.replace(microsecond=0):
            raise StatusUnavailable("not fresh enough")
        return found


def signed_by_module(
    made: PreparedPdf, key: ec.EllipticCurvePrivateKey, certificate: bytes, at: datetime
) -> SignedDocument:
    """What the module does with a prepared PDF."""
    hand = Hand(key, x509.load_der_x509_certificate(certificate), ECDSA)
    digest = pades.digest(made.octets[: made.approved_octets], "sha256")
    measuring = ByteRangeDigest(PdfClaim(digest, made.approved_octets, made.byte_range), ECDSA.hash_alg)
    for chunk in made.chunks():
        measuring.feed(chunk)
    signer = Signer(certificate, ECDSA, key.key_size, int(at.timestamp()))
    built = PdfSignature(measuring.finish()).build(signer)
    return SignedDocument(hand.sign(hand.digest(built.tbs)), built.tbs, None)


def signed_pdf(
    document: bytes,
    key: ec.EllipticCurvePrivateKey,
    chain: tuple[bytes, ...],
    at: datetime,
    unit: Unit | None = None,
    wanted: Wanted = PLAIN,
) -> bytes:
    """As the web tier and the module make it; with a unit: level B-T."""
    room = room_for(chain, signature_octets=400, timestamp_octets=0 if unit is None else 16_384)
    made = pades.prepare(document, chain[0], hash_name="sha256", room=room, at=at, wanted=wanted)
    done = signed_by_module(made, key, chain[0], at)
    token = None if unit is None else unit.stamp(hashlib.sha256(done.value).digest(), "sha256").der
    return made.filled(signed_data(SignedByModule(done.tbs, done.value, chain), timestamp=token))


def gathered(trust: Trust, chain: tuple[bytes, ...], unit: Unit) -> ValidationData:
    """What validates a signature of that chain that the unit has stamped."""
    signer = trust.evidence(chain[0], chain[1], at_least=None)
    issuing = trust.evidence(chain[1], chain[2], at_least=None)
    return ValidationData((*chain, *signer.certificates, unit.certificate), (signer.der,), (issuing.der,))


def judged(pdf: bytes, root: bytes, at: datetime, told: ValidationData = NOTHING, place: int = 0) -> AdESSubIndic:
    """pyHanko's verdict by the process of the file's level (EN 319 102-1 5.5, 5.6.3), which fetches nothing.

    :param told: what is said today, beside what the file carries.
    :param place: of the signature.
    """
    policy = CertValidationPolicySpec(
        trust_manager=SimpleTrustManager.build([asn1_x509.Certificate.load(root)]),
        revinfo_policy=CertRevTrustPolicy(RevocationCheckingPolicy.from_legacy("hard-fail")),
    )
    reader = _READER(BytesIO(pdf))
    store = DocumentSecurityStore.read_dss(reader) if "/DSS" in reader.root else DocumentSecurityStore(None)
    lists = (*told.crls, *(each.get_object().data for each in store.crls))
    answers = (*told.ocsps, *(each.get_object().data for each in store.ocsps))
    spec = SignatureValidationSpec(
        cert_validation_policy=policy,
        revinfo_gathering_policy=RevocationInfoGatheringSpec(RevinfoOnlineFetchingRule.LOCAL_ONLY),
        local_knowledge=LocalKnowledge(
            known_crls=[CRLContainer(asn1_crl.CertificateList.load(each)) for each in lists],
            known_ocsps=[
                one for each in answers for one in OCSPContainer.load_multi(asn1_ocsp.OCSPResponse.load(each))
            ],
            known_certs=list(store.load_certs()),
        ),
    )
    timing = ValidationTimingInfo(validation_time=at, best_signature_time=at, point_in_time_validation=True)
    signature = reader.embedded_regular_signatures[place]
    if not reader.embedded_timestamp_signatures:
        signature.compute_integrity_info()
        digest, whole = signature.compute_digest(), signature.summarise_integrity_info()
        found = asyncio.run(
            ades_with_time_validation(
                signature.signed_data,
                spec,
                timing_info=timing,
                raw_digest=digest,
                extra_status_kwargs=whole,
                status_cls=PdfSignatureStatus,
            )
        )
    else:
        found = asyncio.run(ades_lta_validation(signature, PdfSignatureValidationSpec(spec), timing_info=timing))
    assert found.api_status is not None
    assert found.api_status.intact
    assert found.api_status.valid
    verdict: AdESSubIndic = found.ades_subindic
    return verdict
