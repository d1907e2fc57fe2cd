"""PDFs with a baseline signature, in two halves around the activation module (ETSI EN 319 142-1 clauses 5 and 6.3).

A revision is appended whose signature is empty; the module digests the whole file itself and signs attributes that it
made; then the empty place is filled.  What was there before stays as it was, octet for octet: the module compares it
with the digest that the signer approved.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final

from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter, enumerate_sig_fields
from pyhanko.sign.general import SigningError as PyHankoSigningError
from pyhanko.sign.signers import ExternalSigner, PdfSignatureMetadata, PdfSigner
from pyhanko_certvalidator.registry import SimpleCertificateStore

from foundation.jose import encode_base64url
from signing.ades.errors import DocumentNotAcceptable, SignatureTooLarge

_HEADER: Final = b"%PDF-"
_HEADER_WITHIN: Final = 1024
"""Octets: where readers look for the header (ISO 32000-2 7.5.2, annex I)."""
_CHUNK: Final = 64 * 1024
_PLACEHOLDER_OCTETS: Final = 256
_STORE: Any = SimpleCertificateStore
"""Partly typed: met here alone."""
_FAULTS: Final = (
    PdfError,
    PyHankoSigningError,
    # What its parser trips over in files that are none.
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RecursionError,
    OverflowError,
)


@dataclass(frozen=True, slots=True)
class Stated:
    """What the signature dictionary says; nobody vouches for it (ISO 32000-2 table 255)."""

    reason: str | None = None
    location: str | None = None
    contact: str | None = None


@dataclass(frozen=True, slots=True)
class PreparedPdf:
    """A PDF whose last revision has an empty signature."""

    octets: bytes = field(repr=False)
    """The whole file, the hole filled with zeros."""
    approved_octets: int
    """Length of the document without that revision."""
    byte_range: tuple[int, int, int, int]

    def claim(self, digest: bytes) -> dict[str, Any]:
        """What the activation module is told of it.

        :param digest: of the document without that revision, as approved.
        """
        return {
            "document": encode_base64url(digest),
            "approved_octets": self.approved_octets,
            "byte_range": list(self.byte_range),
        }

    def __len__(self) -> int:
        """Octets of the whole file."""
        return len(self.octets)

    def chunks(self) -> Iterator[bytes]:
        """The file, in pieces."""
        view = memoryview(self.octets)
        for start in range(0, len(view), _CHUNK):
            yield bytes(view[start : start + _CHUNK])

    def filled(self, signature: bytes) -> bytes:
        """The signed file.

        :param signature: DER ContentInfo.
        :raises SignatureTooLarge: it has no room.
        """
        _, before, after, _ = self.byte_range
        room = after - before - 2
        text = signature.hex().encode()
        if len(text) > room:
            raise SignatureTooLarge("the signature does not fit into the place that was left for it")
        # Between angle brackets, which the byte range leaves out as well (EN 319 142-1 5.3).
        return b"".join((self.octets[: before + 1], text, b"0" * (room - len(text)), self.octets[after - 1 :]))


def prepare(
    document: bytes, certificate: bytes, *, hash_name: str, room: int, stated: Stated = Stated(), certify: bool = False
) -> PreparedPdf:
    """Append a revision with an empty signature in a new invisible field.

    :param certificate: DER, the signer's: only its subject is looked at.
    :param hash_name: of :mod:`hashlib`.
    :param room: octets for the signature.
    :param certify: as a certification signature that lets forms be filled in and signed (ISO 32000-2 12.8.2.2).
    :raises DocumentNotAcceptable: no PDF, damaged, encrypted, or certified against further signatures.
    """
    if _HEADER not in document[:_HEADER_WITHIN]:
        raise DocumentNotAcceptable("the document is not a PDF")
    try:
        writer = IncrementalPdfFileWriter(BytesIO(document))
        if writer.prev.encrypted:
            raise DocumentNotAcceptable("the PDF is encrypted")
        return asyncio.run(_prepare(writer, document, certificate, hash_name, room, stated, certify))
    except _FAULTS as error:
        raise DocumentNotAcceptable("the PDF is damaged, or does not take another signature") from error


def digest(document: bytes, hash_name: str) -> bytes:
    """What the signer approves: the digest of the document as it came.

    :param hash_name: of :mod:`hashlib`.
    """
    return hashlib.new(hash_name, document).digest()


async def _prepare(  # noqa: PLR0917 - one revision's description, which nobody else makes
    writer: IncrementalPdfFileWriter,
    document: bytes,
    certificate: bytes,
    hash_name: str,
    room: int,
    stated: Stated,
    certify: bool,
) -> PreparedPdf:
    signer = ExternalSigner(
        signing_cert=asn1_x509.Certificate.load(certificate),
        cert_registry=_STORE(),
        signature_value=_PLACEHOLDER_OCTETS,
    )
    metadata = PdfSignatureMetadata(
        field_name=_free_field_name(writer.prev),
        md_algorithm=hash_name,
        subfilter=SigSeedSubFilter.PADES,
        reason=stated.reason,
        location=stated.location,
        contact_info=stated.contact,
        certify=certify,
        docmdp_permissions=MDPPerm.FILL_FORMS,
    )
    output = BytesIO()
    hole, _, _ = await PdfSigner(metadata, signer=signer).async_digest_doc_for_signing(
        writer, bytes_reserved=2 * room, output=output
    )
    octets = output.getvalue()
    before, after = hole.reserved_region_start, hole.reserved_region_end
    return PreparedPdf(octets, len(document), (0, before, after, len(octets) - after))


def _free_field_name(reader: Any) -> str:
    """``Signature1``, or the first number that no signature field has."""
    taken = {name for name, _, _ in enumerate_sig_fields(reader)}
    number = 1
    while f"Signature{number}" in taken:
        number += 1
    return f"Signature{number}"
