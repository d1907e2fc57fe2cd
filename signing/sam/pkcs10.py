"""The certification request that a new key signs, once, as proof of possession (RFC 2986, ETSI EN 319 411-1 REG-6.3).

The module builds what is signed from the order's subject and the key that the device has just made; it signs no
caller's octets here, and there is no way to have a second one signed.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from contract.order import SubjectClaim
from foundation.der import SEQUENCE, der
from signing.sam.algorithms import (
    SHA256,
    SHA384,
    KeyProfile,
    SignatureAlgorithm,
    algorithm_identifier,
)
from signing.sam.errors import OrderRefused, ScdevUnavailable
from signing.sam.ports import GeneratedKey, SignatureDevice

_NO_ATTRIBUTES: Final = b"\xa0\x00"
_VERSION_1: Final = b"\x02\x01\x00"
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]+\Z")
"""PrintableString (X.680 41.4)."""
_PRINTABLE_ONLY: Final = frozenset({NameOID.COUNTRY_NAME, NameOID.SERIAL_NUMBER})
"""Attributes that RFC 5280 A.1 gives no other type."""
_JOINERS: Final = frozenset("\u200c\u200d")
"""Format characters that some languages' names need."""
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""General categories of what is not seen, or makes something else be seen: controls, directions, line ends, nothing."""


def subject_attributes(subject: SubjectClaim) -> tuple[tuple[ObjectIdentifier, str], ...]:
    """The attributes of the name, in the order in which they stand in it."""
    named = (
        (NameOID.COUNTRY_NAME, subject.country),
        (NameOID.COMMON_NAME, subject.common_name),
        (NameOID.GIVEN_NAME, subject.given_name),
        (NameOID.SURNAME, subject.surname),
        (NameOID.SERIAL_NUMBER, subject.serial_number),
    )
    return tuple((oid, value) for oid, value in named if value is not None)


def subject_name(subject: SubjectClaim) -> x509.Name:
    """The distinguished name (ETSI EN 319 412-2 4.2.4).

    :raises OrderRefused: an attribute cannot stand in a name, or would not be read there as it is.
    """
    attributes = subject_attributes(subject)
    for oid, value in attributes:
        _check_characters(oid, value)
    try:
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    except ValueError as error:
        raise OrderRefused("the ordered subject cannot stand in a certificate") from error


def _check_characters(oid: ObjectIdentifier, value: str) -> None:
    # The library encodes whatever it is given; a reader, or the authority, would refuse it after the key was made.
    if oid in _PRINTABLE_ONLY and not _PRINTABLE.match(value):
        raise OrderRefused("the ordered subject has a character that its attribute cannot have")
    if any(unicodedata.category(each) in _INVISIBLE and each not in _JOINERS for each in value):
        raise OrderRefused("the ordered subject has a character that cannot be seen")


def request_algorithm(profile: KeyProfile) -> SignatureAlgorithm:
    """With which algorithm a key of that profile signs its own request."""
    hash_alg = SHA384 if profile.kind == "EC" and profile.bits == 384 else SHA256
    salt = hashlib.sha256().digest_size if profile.schemes[0] == "rsa-pss" else None
    return SignatureAlgorithm(profile.schemes[0], hash_alg, salt)


def certification_request(
    subject: SubjectClaim, key: GeneratedKey, profile: KeyProfile, device: SignatureDevice
) -> bytes:
    """A DER CertificationRequest, signed with the key that it is for.

    :raises OrderRefused: the subject cannot stand in a name.
    :raises ScdevUnavailable: what the device made does not verify.
    :raises DeviceError: the device's.
    """
    algorithm = request_algorithm(profile)
    info = der(SEQUENCE, _VERSION_1, subject_name(subject).public_bytes(), key.public_key, _NO_ATTRIBUTES)
    digest = hashlib.new("sha384" if algorithm.hash_alg == SHA384 else "sha256", info).digest()
    (value,) = device.sign(key.wrapped, algorithm, (digest,))
    request = der(SEQUENCE, info, algorithm_identifier(algorithm), der(0x03, b"\x00", value))
    try:
        valid = x509.load_der_x509_csr(request).is_signature_valid
    except ValueError as error:
        raise ScdevUnavailable("the request that the device signed cannot be read") from error
    if not valid:
        raise ScdevUnavailable("the request that the device signed does not verify")
    return request
