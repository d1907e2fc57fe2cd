"""PAdES B-B in two halves around a remote key: prepare what is to be signed, assemble what was.

Between the two, `Prepared` holds only bytes, so it can be kept in a file or a database while a person approves. What
the remote key signs is the digest of the DER signed attributes (RFC 5652 section 5.4), which contain the digest of
the document and that of the certificate (ETSI EN 319 142-1 clause 6.3, ETSI EN 319 122-1 clause 5.2.2).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp
from asn1crypto import algos, cms, pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import SigSeedSubFilter, enumerate_sig_fields
from pyhanko.sign.general import CMSExtractionError, CMSStructuralError, SigningError
from pyhanko.sign.signers import ExternalSigner, PdfSignatureMetadata, PdfSigner
from pyhanko.sign.signers.pdf_byterange import PreparedByteRangeDigest
from pyhanko.sign.signers.pdf_signer import PdfTBSDocument
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.errors import SignatureValidationError, ValidationInfoReadingError
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.fetchers.aiohttp_fetchers import AIOHttpFetcherBackend
from pyhanko_certvalidator.registry import SimpleCertificateStore

from examples.errors import PdfNotAcceptableError, SignatureValueError
from examples.http_local import LocalhostResolver
from examples.sample_contract import make_sample_pdf

__all__ = [
    "Prepared",
    "Verdict",
    "assemble",
    "check_acceptable",
    "load_certificates",
    "make_sample_pdf",
    "prepare",
    "verify",
]

# Room for the CMS object: a chain of three P-256 certificates needs about 3 KB. Always given, because pyHanko
# otherwise asks the signer for a dry-run signature, which a remote key bound to one digest cannot make.
BYTES_RESERVED = 16 * 1024

DIGEST_OID = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_CURVE_DIGEST = {"secp384r1": "sha384", "secp521r1": "sha512"}

# What pyHanko raises on a file that is no sound PDF: its own errors, and Python's where its parser trips over garbage.
_PDF_FAULTS = (PdfError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A PDF that lacks only its signature value. Every field is bytes, text or a number: store it as you like."""

    pdf: bytes = field(repr=False)
    """The PDF with an empty signature; the document part of what is signed is everything outside the gap."""
    gap_start: int
    gap_end: int
    document_digest: bytes
    """Digest of the PDF without the gap."""
    digest_algorithm: str
    """`sha256`, `sha384` or `sha512`."""
    signed_attributes: bytes = field(repr=False)
    """DER SET OF Attribute, as it is hashed and signed."""
    chain: tuple[bytes, ...] = field(repr=False)
    """DER certificates, the signer's first."""
    signature_algorithm: bytes
    """DER AlgorithmIdentifier of the signature to be made."""

    @property
    def dtbsr(self) -> bytes:
        """The digest that the person approves and the remote key signs."""
        return hashlib.new(self.digest_algorithm, self.signed_attributes).digest()

    @property
    def dtbsr_base64(self) -> str:
        return base64.b64encode(self.dtbsr).decode("ascii")

    @property
    def hash_algorithm_oid(self) -> str:
        return DIGEST_OID[self.digest_algorithm]

    @property
    def sign_algo(self) -> str:
        """OID for the CSC parameter `signAlgo`."""
        return str(self._mechanism()["algorithm"].dotted)

    @property
    def sign_algo_params(self) -> str | None:
        """Base64 DER for the CSC parameter `signAlgoParams`; only RSASSA-PSS has some."""
        if self._mechanism()["algorithm"].native != "rsassa_pss":
            return None
        return base64.b64encode(self._mechanism()["parameters"].dump()).decode("ascii")

    def _mechanism(self) -> Any:
        return algos.SignedDigestAlgorithm.load(self.signature_algorithm)


@dataclass(frozen=True, slots=True)
class Verdict:
    """pyHanko's judgement of the last signature in a PDF."""

    intact: bool
    """The digests in the signature are those of the document."""
    valid: bool
    """The signature value verifies with the signer's key."""
    trusted: bool
    """The certificate chains to one of the given roots and is not revoked, as far as that was asked."""
    bottom_line: bool
    """All of it together; the only field to decide on."""
    coverage: str
    """`ENTIRE_FILE` if nothing was appended after signing."""
    signer: str
    issuer: str
    serial_number: str
    digest_algorithm: str
    mechanism: str
    subfilter: str
    signed_at: datetime | None
    """The time that the signing application wrote into the PDF; nobody vouches for it at level B-B."""
    revocation_checked: bool
    problem: str = ""
    """Why not, in one line, when validation could not be carried through."""


def check_acceptable(pdf: bytes) -> None:
    """Refuse what cannot be signed, before anybody is bothered with it.

    :raises PdfNotAcceptableError: not a PDF, damaged, or encrypted.
    """
    if b"%PDF-" not in pdf[:1024]:
        message = "This file is not a PDF."
        raise PdfNotAcceptableError(message)
    try:
        reader = PdfFileReader(io.BytesIO(pdf))
        encrypted = bool(reader.encrypted)
        _ = None if encrypted else reader.root["/Pages"]["/Count"]
    except _PDF_FAULTS as e:
        message = "This PDF is damaged, or uses a form that cannot be signed safely."
        raise PdfNotAcceptableError(message) from e
    if encrypted:
        message = "This PDF is protected by a password. Save a copy without protection and try again."
        raise PdfNotAcceptableError(message)


def prepare(
    pdf: bytes,
    chain: Sequence[bytes],
    *,
    prefer_pss: bool = False,
    reason: str | None = None,
) -> Prepared:
    """Add an empty signature to the PDF as an incremental update and make the signed attributes for it.

    :param chain: DER certificates, the signer's first, as CSC `credentials/info` returns them.
    :param prefer_pss: for an RSA key, RSASSA-PSS in place of PKCS#1 v1.5.
    :raises PdfNotAcceptableError: see `check_acceptable`; also a PDF certified against further signatures.
    """
    check_acceptable(pdf)
    certificates = [asn1_x509.Certificate.load(der) for der in chain]
    digest_algorithm = _digest_for(certificates[0])
    try:
        return asyncio.run(_prepare(pdf, certificates, digest_algorithm, prefer_pss, reason))
    except (SigningError, *_PDF_FAULTS) as e:
        message = "This PDF does not take another signature."
        raise PdfNotAcceptableError(message) from e


def assemble(prepared: Prepared, signature_value: bytes) -> bytes:
    """Put the value that the remote key made into the PDF.

    :param signature_value: as CSC returns it: DER Ecdsa-Sig-Value, or the RSA signature's octets.
    :raises SignatureValueError: the value was not made by the certificate's key over these signed attributes.
    """
    _check_value(prepared, signature_value)
    return asyncio.run(_assemble(prepared, signature_value))


def verify(
    pdf: bytes,
    roots: Sequence[bytes],
    *,
    fetch_revocation: bool = False,
    hard_fail: bool = False,
) -> Verdict:
    """Have pyHanko validate the last signature of a PDF, difference analysis included.

    :param roots: DER certificates that are trusted.
    :param fetch_revocation: ask the OCSP responders and fetch the CRLs that the certificates name.
    :param hard_fail: ask as well, and without a sound answer do not trust the signature.
    :raises PdfNotAcceptableError: not a PDF, or without a signature.
    """
    check_acceptable(pdf)
    return asyncio.run(_verify(pdf, roots, fetch_revocation, hard_fail))


def load_certificates(data: bytes) -> list[bytes]:
    """DER certificates in a PEM file, or the one in a DER file.

    :raises ValueError: no certificate in it.
    """
    if pem.detect(data):
        found = [der for kind, _, der in pem.unarmor(data, multiple=True) if kind == "CERTIFICATE"]
    else:
        found = [data]
    for der in found:
        x509.load_der_x509_certificate(der)
    if not found:
        message = "no certificate in the file"
        raise ValueError(message)
    return found


def _is_rsa(certificate: Any) -> bool:
    return bool(certificate.public_key.algorithm == "rsa")


def _pss(digest_algorithm: str) -> Any:
    """RSASSA-PSS with a salt as long as the digest (RFC 8017 section 9.1); pyHanko's is the longest."""
    digest = {"algorithm": digest_algorithm}
    return algos.SignedDigestAlgorithm(
        {
            "algorithm": "rsassa_pss",
            "parameters": algos.RSASSAPSSParams(
                {
                    "hash_algorithm": digest,
                    "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": digest},
                    "salt_length": _HASHES[digest_algorithm].digest_size,
                }
            ),
        }
    )


def _digest_for(certificate: Any) -> str:
    """The digest that fits the key's strength (ETSI TS 119 312 clause 6)."""
    if certificate.public_key.algorithm != "ec":
        return "sha256"
    return _CURVE_DIGEST.get(certificate.public_key.curve[1], "sha256")


def _store(certificates: Sequence[Any]) -> Any:
    store = SimpleCertificateStore()  # type: ignore[no-untyped-call] # pyHanko leaves it without annotations
    store.register_multiple(certificates)
    return store


def _free_field_name(reader: Any) -> str:
    """`Signature1`, or the first number that no signature field has."""
    taken = {name for name, _, _ in enumerate_sig_fields(reader)}
    number = 1
    while f"Signature{number}" in taken:
        number += 1
    return f"Signature{number}"


async def _prepare(
    pdf: bytes, certificates: list[Any], digest_algorithm: str, prefer_pss: bool, reason: str | None
) -> Prepared:
    signer = ExternalSigner(
        signing_cert=certificates[0],
        cert_registry=_store(certificates),
        signature_mechanism=_pss(digest_algorithm) if prefer_pss and _is_rsa(certificates[0]) else None,
        embed_roots=False,
    )
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    metadata = PdfSignatureMetadata(
        field_name=_free_field_name(writer.prev),
        md_algorithm=digest_algorithm,
        subfilter=SigSeedSubFilter.PADES,
        reason=reason,
    )
    gap, _, output = await PdfSigner(metadata, signer=signer).async_digest_doc_for_signing(
        writer, bytes_reserved=BYTES_RESERVED
    )
    # use_pades leaves signingTime out of the CMS attributes: in PAdES the time stands in the dictionary's /M only.
    attributes = await signer.signed_attrs(gap.document_digest, digest_algorithm, use_pades=True)
    output.seek(0)
    return Prepared(
        pdf=output.read(),
        gap_start=gap.reserved_region_start,
        gap_end=gap.reserved_region_end,
        document_digest=gap.document_digest,
        digest_algorithm=digest_algorithm,
        signed_attributes=attributes.dump(),
        chain=tuple(certificate.dump() for certificate in certificates),
        signature_algorithm=signer.get_signature_mechanism_for_digest(digest_algorithm).dump(),
    )


async def _assemble(prepared: Prepared, signature_value: bytes) -> bytes:
    certificates = [asn1_x509.Certificate.load(der) for der in prepared.chain]
    signer = ExternalSigner(
        signing_cert=certificates[0],
        cert_registry=_store(certificates),
        signature_value=signature_value,
        signature_mechanism=algos.SignedDigestAlgorithm.load(prepared.signature_algorithm),
        embed_roots=False,
    )
    content = await signer.async_sign_prescribed_attributes(
        prepared.digest_algorithm, signed_attrs=cms.CMSAttributes.load(prepared.signed_attributes)
    )
    output = io.BytesIO(prepared.pdf)
    gap = PreparedByteRangeDigest(prepared.document_digest, prepared.gap_start, prepared.gap_end)
    await PdfTBSDocument.async_finish_signing(output, gap, content)
    return output.getvalue()


def _check_value(prepared: Prepared, signature_value: bytes) -> None:
    key = x509.load_der_x509_certificate(prepared.chain[0]).public_key()
    digest = _HASHES[prepared.digest_algorithm]
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature_value, prepared.signed_attributes, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey):
            scheme: padding.AsymmetricPadding = padding.PKCS1v15()
            if prepared.sign_algo_params is not None:
                scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
            key.verify(signature_value, prepared.signed_attributes, scheme, digest)
        else:
            message = "The certificate's key is of a kind that this example does not know."
            raise SignatureValueError(message)
    except InvalidSignature as e:
        message = "The signature value does not belong to this document and this certificate."
        raise SignatureValueError(message) from e


async def _verify(pdf: bytes, roots: Sequence[bytes], fetch_revocation: bool, hard_fail: bool) -> Verdict:
    reader = PdfFileReader(io.BytesIO(pdf))
    try:
        signatures = reader.embedded_regular_signatures
        embedded = signatures[-1] if signatures else None
    except (CMSExtractionError, CMSStructuralError, *_PDF_FAULTS) as e:
        message = "The signature in this PDF is damaged."
        raise PdfNotAcceptableError(message) from e
    if embedded is None:
        message = "There is no signature in this PDF."
        raise PdfNotAcceptableError(message)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=LocalhostResolver())) as session:
        return await _judge(embedded, roots, session, fetch_revocation, hard_fail)


async def _judge(
    embedded: Any, roots: Sequence[bytes], session: aiohttp.ClientSession, fetch_revocation: bool, hard_fail: bool
) -> Verdict:
    context = ValidationContext(
        fetcher_backend=AIOHttpFetcherBackend(session),
        trust_roots=[asn1_x509.Certificate.load(der) for der in roots],
        allow_fetching=fetch_revocation or hard_fail,
        revocation_mode="require" if hard_fail else "soft-fail",
    )
    certificate = embedded.signer_cert
    subject = {
        "signer": _common_name(certificate.subject),
        "issuer": _common_name(certificate.issuer),
        "serial_number": f"{certificate.serial_number:x}",
        "subfilter": str(embedded.sig_object.get("/SubFilter", "")),
        "signed_at": embedded.self_reported_timestamp,
        "revocation_checked": fetch_revocation or hard_fail,
    }
    try:
        status = await async_validate_pdf_signature(embedded, signer_validation_context=context)
    except (SignatureValidationError, ValidationInfoReadingError, CMSStructuralError, *_PDF_FAULTS) as e:
        return Verdict(
            intact=False, valid=False, trusted=False, bottom_line=False, coverage="UNCLEAR",
            digest_algorithm="", mechanism="", problem=str(e) or type(e).__name__, **subject,
        )  # fmt: skip
    problem = "" if status.bottom_line else _problem(status)
    return Verdict(
        intact=bool(status.intact), valid=bool(status.valid), trusted=bool(status.trusted),
        bottom_line=bool(status.bottom_line), coverage=status.coverage.name if status.coverage else "UNCLEAR",
        digest_algorithm=status.md_algorithm, mechanism=status.pkcs7_signature_mechanism,
        problem=problem, **subject,
    )  # fmt: skip


def _problem(status: Any) -> str:
    if not status.intact:
        return "The document was changed after signing."
    if not status.valid:
        return "The signature value is wrong."
    if not status.trusted:
        return f"The certificate is not trusted ({status.trust_problem_indic})."
    return "The changes after signing are not permitted."


def _common_name(name: Any) -> str:
    """The common name, or the whole name where there is none."""
    return str(name.native.get("common_name") or name.human_friendly)
