"""PAdES B-B in two halves around a remote key: prepare what is to be signed, assemble what was.

Between the two, `Prepared` holds only bytes, so it can be kept in a file or a database while a person approves. The
halves are those of `clients.csc.cms`; here they have the examples' errors, and a verdict is added.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp
from asn1crypto import pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.general import CMSExtractionError, CMSStructuralError
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.errors import SignatureValidationError, ValidationInfoReadingError
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.fetchers.aiohttp_fetchers import AIOHttpFetcherBackend

from clients.csc import Scheme, SignatureWrongError, algorithms, cms, scheme_for
from clients.csc.cms import BYTES_RESERVED, PDF_FAULTS, PdfRefusedError, PreparedPdf
from examples.errors import PdfNotAcceptableError, SignatureValueError
from examples.http_local import LocalhostResolver
from examples.sample_contract import make_sample_pdf

__all__ = [
    "BYTES_RESERVED",
    "Prepared",
    "Verdict",
    "assemble",
    "check_acceptable",
    "load_certificates",
    "make_sample_pdf",
    "prepare",
    "verify",
]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A PDF that lacks only its signature value. Every field is bytes, text or a number: store it as you like."""

    document: PreparedPdf = field(repr=False)
    scheme: Scheme

    @property
    def dtbsr(self) -> bytes:
        """The digest that the person approves and the remote key signs."""
        return self.document.cms.dtbsr

    @property
    def dtbsr_base64(self) -> str:
        return self.document.cms.dtbsr_base64

    @property
    def signed_attributes(self) -> bytes:
        """DER SET OF Attribute, as it is hashed and signed."""
        return self.document.cms.signed_attributes

    @property
    def digest_algorithm(self) -> str:
        """`sha256`, `sha384` or `sha512`."""
        return self.scheme.hash_name

    @property
    def hash_algorithm_oid(self) -> str:
        return self.scheme.hash_oid

    @property
    def sign_algo(self) -> str:
        """OID for the CSC parameter `signAlgo`."""
        return self.scheme.sign_algo

    @property
    def sign_algo_params(self) -> str | None:
        """Base64 DER for the CSC parameter `signAlgoParams`; only RSASSA-PSS has some."""
        return self.scheme.params_base64


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
    level: str = "B-B"
    """PAdES level by what is in the file (ETSI EN 319 142-1): B-B, B-T, B-LT, B-LTA."""
    stamped_at: datetime | None = None
    """The time to which a time-stamping authority put its name; none at level B-B."""
    problem: str = ""
    """Why not, in one line, when validation could not be carried through."""


def check_acceptable(pdf: bytes) -> None:
    """Refuse what cannot be signed, before anybody is bothered with it.

    :raises PdfNotAcceptableError: not a PDF, damaged, or encrypted.
    """
    with _in_our_words():
        cms.check_acceptable(pdf)


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
    with _in_our_words():
        cms.check_acceptable(pdf)
        scheme = choose_scheme(chain[0], prefer_pss=prefer_pss)
        return Prepared(cms.prepare_pdf(pdf, chain, scheme, reason=reason), scheme)


def choose_scheme(certificate: bytes, *, prefer_pss: bool = False) -> Scheme:
    """The signature algorithm for a key.

    :param certificate: DER, the signer's.
    :param prefer_pss: for an RSA key, RSASSA-PSS in place of PKCS#1 v1.5.
    """
    is_rsa = isinstance(x509.load_der_x509_certificate(certificate).public_key(), rsa.RSAPublicKey)
    return scheme_for(certificate, (algorithms.RSASSA_PSS,) if prefer_pss and is_rsa else ())


def assemble(prepared: Prepared, signature_value: bytes) -> bytes:
    """Put the value that the remote key made into the PDF.

    :param signature_value: as CSC returns it: DER Ecdsa-Sig-Value, or the RSA signature's octets.
    :raises SignatureValueError: the value was not made by the certificate's key over these signed attributes.
    """
    try:
        algorithms.verify(prepared.document.cms.chain[0], prepared.scheme, prepared.dtbsr, signature_value)
    except SignatureWrongError as e:
        message = "The signature value does not belong to this document and this certificate."
        raise SignatureValueError(message) from e
    return prepared.document.assemble(signature_value)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except PdfRefusedError as e:
        raise PdfNotAcceptableError(str(e)) from e


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


async def _verify(pdf: bytes, roots: Sequence[bytes], fetch_revocation: bool, hard_fail: bool) -> Verdict:
    reader = PdfFileReader(io.BytesIO(pdf))
    try:
        signatures = reader.embedded_regular_signatures
        embedded = signatures[-1] if signatures else None
        level = "" if embedded is None else _level(reader, embedded)
    except (CMSExtractionError, CMSStructuralError, *PDF_FAULTS) as e:
        message = "The signature in this PDF is damaged."
        raise PdfNotAcceptableError(message) from e
    if embedded is None:
        message = "There is no signature in this PDF."
        raise PdfNotAcceptableError(message)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=LocalhostResolver())) as session:
        return await _judge(reader, embedded, level, roots, session, fetch_revocation, hard_fail)


async def _judge(  # noqa: PLR0917 - private, and each said once
    reader: PdfFileReader,
    embedded: Any,
    level: str,
    roots: Sequence[bytes],
    session: aiohttp.ClientSession,
    fetch_revocation: bool,
    hard_fail: bool,
) -> Verdict:
    anchors = [asn1_x509.Certificate.load(der) for der in roots]
    lasts = level in {"B-LT", "B-LTA"}
    certificate = embedded.signer_cert
    subject = {
        "signer": _common_name(certificate.subject),
        "issuer": _common_name(certificate.issuer),
        "serial_number": f"{certificate.serial_number:x}",
        "subfilter": str(embedded.sig_object.get("/SubFilter", "")),
        "signed_at": embedded.self_reported_timestamp,
        "revocation_checked": fetch_revocation or hard_fail or lasts,
        "level": level,
    }
    try:
        if lasts:
            context = _by_the_file_alone(reader, embedded, anchors)
        else:
            context = ValidationContext(
                fetcher_backend=AIOHttpFetcherBackend(session),
                trust_roots=anchors,
                allow_fetching=fetch_revocation or hard_fail,
                revocation_mode="require" if hard_fail else "soft-fail",
            )
        status = await async_validate_pdf_signature(embedded, signer_validation_context=context)
    except (SignatureValidationError, ValidationInfoReadingError, CMSStructuralError, *PDF_FAULTS) as e:
        return Verdict(
            intact=False, valid=False, trusted=False, bottom_line=False, coverage="UNCLEAR",
            digest_algorithm="", mechanism="", problem=str(e) or type(e).__name__, **subject,
        )  # fmt: skip
    problem = "" if status.bottom_line else _problem(status)
    return Verdict(
        intact=bool(status.intact), valid=bool(status.valid), trusted=bool(status.trusted),
        bottom_line=bool(status.bottom_line), coverage=status.coverage.name if status.coverage else "UNCLEAR",
        digest_algorithm=status.md_algorithm, mechanism=status.pkcs7_signature_mechanism,
        stamped_at=status.timestamp_validity.timestamp if status.timestamp_validity else None,
        problem=problem, **subject,
    )  # fmt: skip


def _by_the_file_alone(reader: PdfFileReader, embedded: Any, anchors: Sequence[Any]) -> ValidationContext:
    """What the file carries validates it as of its time-stamp, which the same context validates: nobody is asked."""
    store: Any = DocumentSecurityStore.read_dss(reader)
    context: ValidationContext = store.as_validation_context(
        {
            "trust_roots": anchors,
            "allow_fetching": False,
            "revocation_mode": "require",
            "moment": _stamped_at(embedded),
            "retroactive_revinfo": True,
        }
    )
    return context


def _stamped_at(embedded: Any) -> datetime | None:
    """The time in the time-stamp over the signature, if there is one; unverified."""
    for attribute in embedded.signer_info["unsigned_attrs"]:
        if attribute["type"].native == "signature_time_stamp_token":
            info = attribute["values"][0]["content"]["encap_content_info"]["content"].parsed
            at: datetime = info["gen_time"].native
            return at
    return None


def _level(reader: PdfFileReader, embedded: Any) -> str:
    if _stamped_at(embedded) is None:
        return "B-B"
    if "/DSS" not in reader.root:
        return "B-T"
    return "B-LTA" if reader.embedded_timestamp_signatures else "B-LT"


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
