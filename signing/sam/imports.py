"""A key that was made elsewhere becomes a credential's: on two operators' word, and only wrapped by a KEK of the token.

Parameters of the operation ``credential.import``: ``issuer`` and ``owner`` (whose it is to be); ``profile``,
``subject`` and, where there is one, ``proof_key``, as an order of ``credential.create`` has them; ``public_key`` (DER
SubjectPublicKeyInfo, base64url); ``wrapped_key`` with ``blob`` (base64url), ``kek_id`` and ``mechanism``.

Nothing here ever sees the key.  That it fits the public key, it shows by its certification request, the one thing that
a new key signs anyway: those octets are the module's own, and can be nothing but a request.  What became of the key
before it was wrapped nobody here knows, and it stays marked for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from contract.errors import OrderInvalid
from contract.order import CreateParameters, create_parameters
from foundation import claims as read
from foundation.errors import JoseError
from foundation.jose import decode_base64url
from signing.sam.algorithms import KEY_PROFILES, KeyProfile
from signing.sam.credential import Profile
from signing.sam.errors import OperationRefused, ScdevUnavailable
from signing.sam.pkcs10 import certification_request, subject_name
from signing.sam.ports import (
    ON_TOKEN,
    GeneratedKey,
    OperationNotPermitted,
    SignatureDevice,
    WrappedKey,
    WrappedKeyRefused,
)
from signing.sam.proof_keys import check_key
from signing.sam.verify import SamPolicy

_OWN: Final = frozenset({"issuer", "owner", "public_key", "wrapped_key"})
_CREATE: Final = frozenset({"profile", "subject"})
_MAX_CHARACTERS: Final = 8192
_DOMAIN: Final = b"privyseal-import-1\n"
_MIN_EXPONENT: Final = 2**16
_MAX_EXPONENT: Final = 2**256
"""FIPS 186-5 A.1.1."""
_CURVES: Final = {256: "secp256r1", 384: "secp384r1"}


@dataclass(frozen=True, slots=True)
class ImportParameters:
    """What ``credential.import`` is asked for."""

    issuer: str
    """Identity provider whose SADs and orders are to be for it."""
    owner: str
    """Account id there."""
    create: CreateParameters
    public_key: bytes
    """DER SubjectPublicKeyInfo."""
    key: WrappedKey
    """Its profile is empty: that is the credential profile's."""


def parse_import(parameters: Mapping[str, Any]) -> ImportParameters:
    """The parameters of the operation.

    :raises OperationRefused: not in their form.
    """
    try:
        read.check_members(parameters, _OWN | _CREATE, {"proof_key"})
        wrapped = read.mapping(parameters, "wrapped_key")
        read.check_members(wrapped, {"blob", "kek_id", "mechanism"})
        return ImportParameters(
            issuer=read.text(parameters, "issuer", max_length=255),
            owner=read.text(parameters, "owner", max_length=255),
            create=create_parameters({name: parameters[name] for name in parameters if name not in _OWN}),
            public_key=_octets(parameters, "public_key"),
            key=WrappedKey(
                _octets(wrapped, "blob"),
                read.text(wrapped, "kek_id", max_length=128),
                "",
                read.text(wrapped, "mechanism", max_length=32),
            ),
        )
    except (JoseError, OrderInvalid) as error:
        raise OperationRefused(f"the parameters: {error}") from error


def accepting(wanted: ImportParameters, policy: SamPolicy) -> Profile:
    """The profile, where it takes such a key; asked before the device is.

    :raises OperationRefused: it takes none, or there is no such profile or issuer; the key is not wrapped, not written
        as DER writes it, or of another kind.
    :raises OrderRefused: a subject that no certificate can name, or a proof key that could prove nothing.
    """
    profile = policy.profiles.get(wanted.create.profile)
    if profile is None or not profile.accepts_imports:
        raise OperationRefused("the profile is not offered, or takes no keys from elsewhere")
    if wanted.issuer not in policy.issuers:
        raise OperationRefused("no such issuer is pinned: nobody could ever use the credential")
    if wanted.key.mechanism == ON_TOKEN or profile.custody == "token":
        raise OperationRefused("only wrapped keys are imported")
    _check_public_key(wanted.public_key, KEY_PROFILES[profile.key])
    subject_name(wanted.create.subject)
    if wanted.create.proof_key is not None:
        check_key(wanted.create.proof_key, policy.proof)
    return profile


def verified_key(wanted: ImportParameters, profile: Profile, device: SignatureDevice) -> tuple[GeneratedKey, bytes]:
    """The key as the device tells it, and the DER CertificationRequest by which it shows that it fits.

    :raises OperationRefused: it does not unwrap, is not as a user's key has to be, or is not the public key's.
    :raises DeviceError: the device's, for anything else.
    """
    kind = KEY_PROFILES[profile.key]
    wrapped = replace(wanted.key, profile=kind.name)
    try:
        key = GeneratedKey(wrapped, wanted.public_key, device.examine(wrapped))
        return key, certification_request(wanted.create.subject, key, kind, device)
    except (WrappedKeyRefused, OperationNotPermitted) as error:
        raise OperationRefused(f"the token makes no key of the profile of it ({error.code})") from error
    except ScdevUnavailable as error:
        raise OperationRefused("the wrapped key is not that of the public key") from error


def imported_id(realm: str, public_key: bytes) -> str:
    """Id of a key's credential: one key has one, whoever brings it, however often."""
    return hashlib.sha256(_DOMAIN + realm.encode() + b"\n" + public_key).hexdigest()[:32]


def _check_public_key(encoded: bytes, kind: KeyProfile) -> None:
    try:
        key = load_der_public_key(encoded)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise OperationRefused("the public key cannot be read") from error
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != encoded:
        # Two ways to write one key would be two keys to whoever compares them.
        raise OperationRefused("the public key is not written as DER writes it")
    if isinstance(key, ec.EllipticCurvePublicKey):
        fits = kind.kind == "EC" and key.curve.name == _CURVES.get(kind.bits)
    elif isinstance(key, rsa.RSAPublicKey):
        exponent = key.public_numbers().e
        fits = kind.kind == "RSA" and key.key_size == kind.bits and _MIN_EXPONENT < exponent < _MAX_EXPONENT
    else:
        fits = False
    if not fits:
        raise OperationRefused("the public key is not of the profile's kind")


def _octets(value: Mapping[str, Any], name: str) -> bytes:
    return decode_base64url(read.text(value, name, max_length=_MAX_CHARACTERS).encode())
