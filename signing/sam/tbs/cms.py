"""SignedAttributes of CMS: CAdES baseline, and PAdES baseline over a measured PDF.

The DER of the SET OF itself is what is signed (RFC 5652 5.4); in a SignerInfo the same octets stand with the tag
``[0]``.  Sources: ETSI EN 319 122-1 V1.3.1 clauses 5.1, 5.2 and 6.3, EN 319 142-1 V1.2.1 clause 6.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from foundation.der import OCTET_STRING, SEQUENCE, SET, der, object_identifier, set_of
from signing.sam.algorithms import algorithm_identifier
from signing.sam.errors import TemplateRefused
from signing.sam.tbs.common import (
    COMMITMENTS,
    Built,
    SignaturePolicy,
    Signer,
    check_commitment,
    check_digest,
    check_mime_type,
    check_text,
)
from signing.sam.tbs.pdf import MeasuredPdf

_UTF8_STRING: Final = 0x0C
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_IMPLICIT_1: Final = 0xA1

_DATA: Final = "1.2.840.113549.1.7.1"
_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
_SIGNING_TIME: Final = "1.2.840.113549.1.9.5"
_ALGORITHM_PROTECTION: Final = "1.2.840.113549.1.9.52"
_CONTENT_HINTS: Final = "1.2.840.113549.1.9.16.2.4"
_POLICY: Final = "1.2.840.113549.1.9.16.2.15"
_COMMITMENT: Final = "1.2.840.113549.1.9.16.2.16"
_SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"
_MIME_TYPE: Final = "0.4.0.1733.2.1"
_COMMITMENT_TYPES: Final = "1.2.840.113549.1.9.16.6"

_LAST_UTC_YEAR: Final = 2049
"""RFC 5652 11.3: until the end of it a signing time is a UTCTime."""


@dataclass(frozen=True, slots=True)
class CmsSignature:
    """CAdES baseline over one detached or encapsulated document of type id-data."""

    document: bytes
    """Authorised digest."""
    mime_type: str | None = None
    description: str | None = None
    """In content-hints; not together with ``mime_type``, which says the same (EN 319 122-1 5.2.4)."""
    commitment: str | None = None
    policy: SignaturePolicy | None = None

    def __post_init__(self) -> None:
        """:raises TemplateRefused: a parameter is not one that the template takes."""
        if self.mime_type is not None and self.description is not None:
            raise TemplateRefused("a media type and a description are not given together")
        if self.mime_type is not None:
            check_mime_type(self.mime_type)
        if self.description is not None:
            check_text(self.description)
        check_commitment(self.commitment)

    @property
    def documents(self) -> tuple[bytes, ...]:
        """Digests that have to be authorised."""
        return (self.document,)

    def build(self, signer: Signer) -> Built:
        """SignedAttributes with a signing-time, which CAdES demands.

        :raises TemplateRefused: the document's digest is not one of the signer's hash function.
        """
        attributes = [*_always(self.document, signer), *_optional(self.commitment, self.policy)]
        attributes.append(_attribute(_SIGNING_TIME, _time(signer.at)))
        if self.mime_type is not None:
            attributes.append(_attribute(_MIME_TYPE, der(_UTF8_STRING, self.mime_type.encode())))
        if self.description is not None:
            hints = der(SEQUENCE, der(_UTF8_STRING, self.description.encode()), object_identifier(_DATA))
            attributes.append(_attribute(_CONTENT_HINTS, hints))
        return Built(set_of(attributes))


@dataclass(frozen=True, slots=True)
class PdfSignature:
    """PAdES baseline over a PDF that this module has read to its end."""

    pdf: MeasuredPdf
    commitment: str | None = None
    policy: SignaturePolicy | None = None

    def __post_init__(self) -> None:
        """:raises TemplateRefused: a parameter is not one that the template takes."""
        check_commitment(self.commitment)

    @property
    def documents(self) -> tuple[bytes, ...]:
        """Digests that have to be authorised: that of the PDF as it was approved."""
        return (self.pdf.document,)

    def build(self, signer: Signer) -> Built:
        """SignedAttributes without a signing-time, which PAdES forbids (EN 319 142-1 6.3).

        :raises TemplateRefused: the PDF was measured with another hash function.
        """
        if self.pdf.hash_alg != signer.algorithm.hash_alg:
            raise TemplateRefused("the document was measured with another hash function")
        return Built(set_of([*_always(self.pdf.message_digest, signer), *_optional(self.commitment, self.policy)]))


def _always(message_digest: bytes, signer: Signer) -> list[bytes]:
    hash_alg = signer.algorithm.hash_alg
    check_digest(message_digest, hash_alg)
    # RFC 5035: hashAlgorithm is DEFAULT SHA-256, which DER leaves out; issuerSerial would add nothing to the digest.
    certificate = der(SEQUENCE, der(OCTET_STRING, signer.certificate_sha256()))
    # RFC 6211: digestAlgorithm, and signatureAlgorithm as [1] IMPLICIT; RFC 5754 2: SHA-2 without parameters.
    signature_algorithm = der(_IMPLICIT_1, _content(algorithm_identifier(signer.algorithm)))
    protection = der(SEQUENCE, der(SEQUENCE, object_identifier(hash_alg)), signature_algorithm)
    return [
        _attribute(_CONTENT_TYPE, object_identifier(_DATA)),
        _attribute(_MESSAGE_DIGEST, der(OCTET_STRING, message_digest)),
        _attribute(_SIGNING_CERTIFICATE_V2, der(SEQUENCE, der(SEQUENCE, certificate))),
        _attribute(_ALGORITHM_PROTECTION, protection),
    ]


def _optional(commitment: str | None, policy: SignaturePolicy | None) -> list[bytes]:
    attributes: list[bytes] = []
    if commitment is not None:
        kind = object_identifier(f"{_COMMITMENT_TYPES}.{COMMITMENTS[commitment]}")
        attributes.append(_attribute(_COMMITMENT, der(SEQUENCE, kind)))
    if policy is not None:
        algorithm = der(SEQUENCE, object_identifier(policy.hash_alg))
        hashed = der(SEQUENCE, algorithm, der(OCTET_STRING, policy.digest))
        attributes.append(_attribute(_POLICY, der(SEQUENCE, object_identifier(policy.oid), hashed)))
    return attributes


def _attribute(oid: str, value: bytes) -> bytes:
    return der(SEQUENCE, object_identifier(oid), der(SET, value))


def _content(element: bytes) -> bytes:
    """Contents of a DER element that :func:`der` made."""
    octets = element[1] & 0x7F if element[1] & 0x80 else 0
    return element[2 + octets :]


def _time(at: int) -> bytes:
    moment = datetime.fromtimestamp(at, UTC)
    if moment.year <= _LAST_UTC_YEAR:
        return der(_UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
    return der(_GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode())
