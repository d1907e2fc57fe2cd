"""What a remote key signs for a PDF or any other file, in two halves: prepare, and assemble with the value that came.

A PDF gets a PAdES B-B signature inside (ETSI EN 319 142-1 clause 6.3), any other file a detached CMS signature with the
same attributes beside it (CAdES B-B, ETSI EN 319 122-1).  What is signed is the digest of the DER signed attributes
(RFC 5652 section 5.4).  Between the halves there are only bytes, which can be kept while a person approves.

Needs pyHanko (`pip install privyseal-csc[files]`); nothing else in this package does.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asn1crypto import algos, cms
from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import SigSeedSubFilter, enumerate_sig_fields
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers import ExternalSigner, PdfSignatureMetadata, PdfSigner
from pyhanko.sign.signers.pdf_byterange import PreparedByteRangeDigest
from pyhanko.sign.signers.pdf_signer import PdfTBSDocument
from pyhanko_certvalidator.registry import SimpleCertificateStore

from .algorithms import RSA_ENCRYPTION, Scheme
from .errors import ClientError

# Room for the CMS object: a chain of three P-256 certificates needs about 3 KB.  Always given, because pyHanko
# otherwise asks the signer for a dry-run signature, which a remote key bound to one digest cannot make.
BYTES_RESERVED: Final = 16 * 1024

# What pyHanko raises on a file that is no sound PDF: its own errors, and Python's where its parser trips over garbage.
PDF_FAULTS: Final = (
    PdfError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError,
    zlib.error, struct.error,
)  # fmt: skip
_RSA_WITH: Final = {"sha256": "sha256_rsa", "sha384": "sha384_rsa", "sha512": "sha512_rsa"}


class PdfRefusedError(ClientError):
    """The file is not a PDF that can be signed: damaged, encrypted, certified against changes."""

    code = "pdf_refused"


@dataclass(frozen=True, slots=True)
class PreparedCms:
    """A CMS signature that lacks only its value.  Every field is bytes or text."""

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
        """The same, as the API has it."""
        return base64.b64encode(self.dtbsr).decode("ascii")

    def assemble(self, value: bytes) -> bytes:
        """The DER ContentInfo, detached, with a value that `algorithms.verify` has seen."""
        return bytes(asyncio.run(self.content_info(value)).dump())

    async def content_info(self, value: bytes) -> Any:
        """As asn1crypto's object."""
        certificates = [asn1_x509.Certificate.load(der) for der in self.chain]
        signer = ExternalSigner(
            signing_cert=certificates[0],
            cert_registry=_store(certificates),
            signature_value=value,
            signature_mechanism=algos.SignedDigestAlgorithm.load(self.signature_algorithm),
            embed_roots=False,
        )
        return await signer.async_sign_prescribed_attributes(
            self.digest_algorithm, signed_attrs=cms.CMSAttributes.load(self.signed_attributes)
        )


@dataclass(frozen=True, slots=True)
class PreparedPdf:
    """A PDF that lacks only its signature value."""

    pdf: bytes = field(repr=False)
    """With an empty signature; the document part of what is signed is everything outside the gap."""
    gap_start: int
    gap_end: int
    document_digest: bytes
    """Of the PDF without the gap."""
    cms: PreparedCms

    def assemble(self, value: bytes) -> bytes:
        """The signed PDF, with a value that `algorithms.verify` has seen."""
        return asyncio.run(self._assemble(value))

    async def _assemble(self, value: bytes) -> bytes:
        output = io.BytesIO(self.pdf)
        gap = PreparedByteRangeDigest(self.document_digest, self.gap_start, self.gap_end)
        await PdfTBSDocument.async_finish_signing(output, gap, await self.cms.content_info(value))
        return output.getvalue()


def check_acceptable(pdf: bytes) -> None:
    """Refuse what cannot be signed, before anybody is bothered with it.

    :raises PdfRefusedError: not a PDF, damaged, or encrypted.
    """
    if b"%PDF-" not in pdf[:1024]:
        raise PdfRefusedError("This file is not a PDF.")
    try:
        reader = PdfFileReader(io.BytesIO(pdf))
        encrypted = bool(reader.encrypted)
        _ = None if encrypted else reader.root["/Pages"]["/Count"]
    except PDF_FAULTS as e:
        raise PdfRefusedError("This PDF is damaged, or uses a form that cannot be signed safely.") from e
    if encrypted:
        raise PdfRefusedError("This PDF is protected by a password. Save a copy without protection and try again.")


def prepare_pdf(pdf: bytes, chain: Sequence[bytes], scheme: Scheme, *, reason: str | None = None) -> PreparedPdf:
    """Add an empty signature as an incremental update, and make the signed attributes for it.

    :param chain: DER certificates, the signer's first, as `credentials/info` returns them.
    :raises PdfRefusedError: see `check_acceptable`; also a PDF certified against further signatures.
    """
    check_acceptable(pdf)
    try:
        return asyncio.run(_prepare_pdf(pdf, tuple(chain), scheme, reason))
    except (SigningError, *PDF_FAULTS) as e:
        raise PdfRefusedError("This PDF does not take another signature.") from e


def prepare_cms(content: bytes, chain: Sequence[bytes], scheme: Scheme) -> PreparedCms:
    """The signed attributes for a detached signature of any content."""
    digest = hashlib.new(scheme.hash_name, content).digest()
    return asyncio.run(_prepare_cms(digest, tuple(chain), scheme, in_pdf=False))


async def _prepare_pdf(pdf: bytes, chain: tuple[bytes, ...], scheme: Scheme, reason: str | None) -> PreparedPdf:
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    metadata = PdfSignatureMetadata(
        field_name=_free_field_name(writer.prev),
        md_algorithm=scheme.hash_name,
        subfilter=SigSeedSubFilter.PADES,
        reason=reason,
    )
    gap, _, output = await PdfSigner(metadata, signer=_signer(chain, scheme)).async_digest_doc_for_signing(
        writer, bytes_reserved=BYTES_RESERVED
    )
    output.seek(0)
    return PreparedPdf(
        pdf=output.read(),
        gap_start=gap.reserved_region_start,
        gap_end=gap.reserved_region_end,
        document_digest=gap.document_digest,
        cms=await _prepare_cms(gap.document_digest, chain, scheme, in_pdf=True),
    )


async def _prepare_cms(digest: bytes, chain: tuple[bytes, ...], scheme: Scheme, *, in_pdf: bool) -> PreparedCms:
    signer = _signer(chain, scheme)
    # use_pades leaves signingTime out of the CMS attributes: in PAdES the time stands in the dictionary's /M only.
    attributes = await signer.signed_attrs(digest, scheme.hash_name, use_pades=in_pdf)
    return PreparedCms(scheme.hash_name, attributes.dump(), chain, _mechanism(scheme).dump())


def _signer(chain: tuple[bytes, ...], scheme: Scheme) -> Any:
    certificates = [asn1_x509.Certificate.load(der) for der in chain]
    return ExternalSigner(
        signing_cert=certificates[0],
        cert_registry=_store(certificates),
        signature_mechanism=_mechanism(scheme),
        embed_roots=False,
    )


def _mechanism(scheme: Scheme) -> Any:
    if scheme.sign_algo_params is not None:
        parameters = algos.RSASSAPSSParams.load(scheme.sign_algo_params)
        return algos.SignedDigestAlgorithm({"algorithm": "rsassa_pss", "parameters": parameters})
    if scheme.sign_algo == RSA_ENCRYPTION:
        return algos.SignedDigestAlgorithm({"algorithm": _RSA_WITH[scheme.hash_name]})
    return algos.SignedDigestAlgorithm({"algorithm": scheme.sign_algo})


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
