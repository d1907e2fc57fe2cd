"""SignedData of CMS around signed attributes that the activation module built and signed (RFC 5652 5; CAdES, PAdES).

Written here and not by a library: the attributes are the module's, octet for octet, and no library takes them so
(``docs/adr/0047``).  One signer, DER throughout.  Sources: RFC 5652 clauses 5.1 to 5.4, RFC 6211 for where the
algorithms are read from, ETSI EN 319 122-1 clauses 4.4 and 5.3, EN 319 142-1 clause 6.3.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from asn1crypto import cms as asn1_cms
from asn1crypto import x509 as asn1_x509

from foundation.der import OCTET_STRING, SEQUENCE, SET, der, object_identifier, set_of
from signing.ades.errors import AttributesInvalid

_DATA: Final = object_identifier("1.2.840.113549.1.7.1")
_SIGNED_DATA: Final = object_identifier("1.2.840.113549.1.7.2")
_SIGNATURE_TIME_STAMP: Final = object_identifier("1.2.840.113549.1.9.16.2.14")
_VERSION_1: Final = b"\x02\x01\x01"
_EXPLICIT_0: Final = 0xA0
_IMPLICIT_0: Final = 0xA0
_IMPLICIT_1: Final = 0xA1


@dataclass(frozen=True, slots=True)
class SignedByModule:
    """What the module gives out for one CMS signature, and whose it is."""

    attributes: bytes = field(repr=False)
    """SignedAttributes, DER with the tag of a SET OF: what was hashed and signed (RFC 5652 5.4)."""
    value: bytes = field(repr=False)
    """Of ``SignatureValue``."""
    chain: tuple[bytes, ...] = field(repr=False)
    """DER certificates, the signer's first."""


@dataclass(frozen=True, slots=True)
class _Algorithms:
    digest: bytes
    """DER AlgorithmIdentifier."""
    signature: bytes
    """The same."""


def signed_data(signed: SignedByModule, *, content: bytes | None = None, timestamp: bytes | None = None) -> bytes:
    """A ContentInfo with SignedData.

    :param content: the document, where it is to be in the signature; ``None``: detached.
    :param timestamp: DER TimeStampToken over the signature's value (EN 319 122-1 5.3).
    :raises AttributesInvalid: the attributes do not say which algorithms, or are of another certificate.
    """
    algorithms = _algorithms_of(signed)
    encapsulated = () if content is None else (der(_EXPLICIT_0, der(OCTET_STRING, content)),)
    return _content_info(
        _VERSION_1,
        der(SET, algorithms.digest),
        der(SEQUENCE, _DATA, *encapsulated),
        set_of(signed.chain, _IMPLICIT_0),
        der(SET, _signer_info(signed, algorithms, timestamp)),
    )


def room_for(chain: Sequence[bytes], *, signature_octets: int, timestamp_octets: int = 0) -> int:
    """Octets that a detached signature can have at most: to leave room in a document before it is signed.

    :param signature_octets: of the longest value of the key.
    :param timestamp_octets: of the largest token that is reckoned with; 0: none.
    """
    return sum(map(len, chain)) + len(chain[0]) + signature_octets + timestamp_octets + 1024


def _content_info(*parts: bytes) -> bytes:
    return der(SEQUENCE, _SIGNED_DATA, der(_EXPLICIT_0, der(SEQUENCE, *parts)))


def _signer_info(signed: SignedByModule, algorithms: _Algorithms, timestamp: bytes | None) -> bytes:
    certificate = asn1_x509.Certificate.load(signed.chain[0])["tbs_certificate"]
    unsigned = b""
    if timestamp is not None:
        unsigned = der(_IMPLICIT_1, der(SEQUENCE, _SIGNATURE_TIME_STAMP, der(SET, timestamp)))
    return der(
        SEQUENCE,
        _VERSION_1,
        # The issuer as it stands in the certificate: written anew it could be encoded otherwise.
        der(SEQUENCE, certificate["issuer"].dump(), certificate["serial_number"].dump()),
        algorithms.digest,
        # RFC 5652 5.4: signed with the tag of a SET OF, kept with [0].
        bytes([_IMPLICIT_0]) + signed.attributes[1:],
        algorithms.signature,
        der(OCTET_STRING, signed.value),
        unsigned,
    )


def _algorithms_of(signed: SignedByModule) -> _Algorithms:
    """The algorithms that the attributes themselves protect (RFC 6211): so that nothing else can be written beside."""
    if signed.attributes[:1] != bytes([SET]):
        raise AttributesInvalid("not a SET OF")
    try:
        attributes = {item["type"].native: item["values"] for item in asn1_cms.CMSAttributes.load(signed.attributes)}
        (protection,) = attributes["cms_algorithm_protection"]
        (reference,) = attributes["signing_certificate_v2"]
        named = reference["certs"][0]["cert_hash"].native
        signature = protection["signature_algorithm"].untag().dump()
        digest = protection["digest_algorithm"].dump()
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise AttributesInvalid("not the attributes of a baseline signature") from error
    if not hmac.compare_digest(named, asn1_x509.Certificate.load(signed.chain[0]).sha256):
        raise AttributesInvalid("of another certificate")
    return _Algorithms(digest, signature)
