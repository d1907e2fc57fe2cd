"""SignedData of CMS around signed attributes that the activation module built and signed (RFC 5652 5; CAdES, PAdES).

Written here and not by a library: the attributes are the module's, octet for octet, and no library takes them so
(``docs/adr/0047``).  One signer, DER throughout.  Sources: RFC 5652 clauses 5.1 to 5.4, RFC 6211 for where the
algorithms are read from, ETSI EN 319 122-1 clauses 4.4 and 5.3, EN 319 142-1 clause 6.3.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from asn1crypto import cms as asn1_cms
from asn1crypto import parser as asn1_parser
from asn1crypto import x509 as asn1_x509

from foundation.der import OCTET_STRING, SEQUENCE, SET, der, object_identifier, set_of
from signing.ades.errors import AttributesInvalid

_DATA: Final = object_identifier("1.2.840.113549.1.7.1")
_SIGNED_DATA: Final = object_identifier("1.2.840.113549.1.7.2")
_SIGNATURE_TIME_STAMP: Final = object_identifier("1.2.840.113549.1.9.16.2.14")
_ALGORITHM_PROTECTION: Final = object_identifier("1.2.840.113549.1.9.52")
_SIGNING_CERTIFICATE_V2: Final = object_identifier("1.2.840.113549.1.9.16.2.47")
_PARSE: Any = asn1_parser.parse
_PEEK: Any = asn1_parser.peek
"""Partly typed: met here alone."""
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
    unsigned = b""
    if timestamp is not None:
        unsigned = der(_IMPLICIT_1, der(SEQUENCE, _SIGNATURE_TIME_STAMP, der(SET, timestamp)))
    return der(
        SEQUENCE,
        _VERSION_1,
        _issuer_and_serial_number(signed.chain[0]),
        algorithms.digest,
        # RFC 5652 5.4: signed with the tag of a SET OF, kept with [0].
        bytes([_IMPLICIT_0]) + signed.attributes[1:],
        algorithms.signature,
        der(OCTET_STRING, signed.value),
        unsigned,
    )


# What follows is remembered by the very octets that it is read from, and nothing else goes into it: the same for all
# documents of a signer.
@lru_cache(maxsize=256)
def _issuer_and_serial_number(certificate: bytes) -> bytes:
    read = asn1_x509.Certificate.load(certificate)["tbs_certificate"]
    # The issuer as it stands in the certificate: written anew it could be encoded otherwise.
    return der(SEQUENCE, read["issuer"].dump(), read["serial_number"].dump())


def _algorithms_of(signed: SignedByModule) -> _Algorithms:
    """The algorithms that the attributes themselves protect (RFC 6211): so that nothing else can be written beside."""
    if signed.attributes[:1] != bytes([SET]):
        raise AttributesInvalid("not a SET OF")
    try:
        protection, reference = _attributes(signed.attributes)
        algorithms, named = _protected(protection), _named(reference)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise AttributesInvalid("not the attributes of a baseline signature") from error
    if not hmac.compare_digest(named, hashlib.sha256(signed.chain[0]).digest()):
        raise AttributesInvalid("of another certificate")
    return algorithms


def _attributes(attributes: bytes) -> tuple[bytes, bytes]:
    """The protection of the algorithms, and what names the certificate; each is there once (RFC 5652 5.3).

    :raises ValueError: :raises KeyError: they are not, or this is no DER.
    """
    found: dict[bytes, bytes] = {}
    for attribute in _elements(_PARSE(attributes, strict=True)[4]):
        content = _PARSE(attribute)[4]
        kind = content[: _PEEK(content)]
        if kind in found:
            raise ValueError("an attribute that is there twice")
        found[kind] = attribute
    return found[_ALGORITHM_PROTECTION], found[_SIGNING_CERTIFICATE_V2]


def _elements(octets: bytes) -> Iterator[bytes]:
    while octets:
        length = _PEEK(octets)
        yield octets[:length]
        octets = octets[length:]


@lru_cache(maxsize=64)
def _protected(attribute: bytes) -> _Algorithms:
    (protection,) = asn1_cms.CMSAttribute.load(attribute)["values"]
    return _Algorithms(protection["digest_algorithm"].dump(), protection["signature_algorithm"].untag().dump())


@lru_cache(maxsize=256)
def _named(attribute: bytes) -> bytes:
    """SHA-256 of the certificate."""
    (reference,) = asn1_cms.CMSAttribute.load(attribute)["values"]
    return bytes(reference["certs"][0]["cert_hash"].native)
