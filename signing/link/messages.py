"""What goes over the link, as dataclasses with their JSON.

Reading is strict on both sides: every member is required, none is unknown, octets are canonical base64url.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, cast

from contract import proof_key
from contract.errors import ProofInvalid
from contract.order import SubjectClaim
from contract.proof_key import DeviceKey
from foundation import claims as read
from foundation.dpop import MAX_PROOF_OCTETS
from foundation.errors import JoseError
from foundation.jose import decode_base64url, encode_base64url
from signing.link.errors import MessageInvalid

MAX_TOKEN_CHARACTERS: Final = 24 * 1024
MAX_ITEM_CHARACTERS: Final = 32 * 1024
"""One certificate, request or signature, in base64url."""
MAX_CHAIN: Final = 8
MAX_OID_CHARACTERS: Final = 64
"""Of an object identifier in dotted form."""
MAX_PARAMETERS_CHARACTERS: Final = 1024
"""Of an algorithm's parameters, in base64 or base64url."""
CREDENTIAL_ID: Final = re.compile(r"[A-Za-z0-9._~:-]{1,128}\Z")
"""The form of a credential's identifier; what has another one is not looked for."""
MAX_DIGESTS_IN_REQUEST: Final = 1000
"""Only a bound for the parser: what may be signed at a time is the credential's business."""

Status = Literal["pending", "active", "suspended", "revoked", "deleted"]
_STATUSES: Final = ("pending", "active", "suspended", "revoked", "deleted")
_KINDS: Final = ("EC", "RSA")
_SCALS: Final = ("1", "2")
_ORIGINS: Final = ("generated", "imported")
_MOST_PROOF_KEYS: Final = 16


@dataclass(frozen=True, slots=True)
class SignRequest:
    """Signatures wanted: the SAD, and what the web tier says about the request."""

    sad: str = field(repr=False)
    client_id: str | None
    """The relying party that presented the SAD; ``None`` where the SAD itself was its authentication."""
    credential_id: str
    hash_alg: str | None
    """OID; needed where ``sign_algo`` names no hash function."""
    digests: tuple[bytes, ...]
    """In the order in which the values are wanted."""
    sign_algo: str
    """OID of a signature algorithm."""
    sign_algo_params: bytes | None = None
    """DER parameters, for RSASSA-PSS."""
    dpop: str | None = field(default=None, repr=False)
    """The request's DPoP proof, as it came (RFC 9449 4.1)."""
    certificate: str | None = None
    """``x5t#S256`` of the client's TLS certificate, as the web tier was told (RFC 8705 3.1)."""

    def to_json(self) -> dict[str, Any]:
        """The request's members."""
        return {
            "sad": self.sad,
            "client_id": self.client_id,
            "credential_id": self.credential_id,
            "hash_alg": self.hash_alg,
            "digests": octets_to_json(self.digests),
            "sign_algo": self.sign_algo,
            "sign_algo_params": None if self.sign_algo_params is None else encode_base64url(self.sign_algo_params),
            "dpop": self.dpop,
            "certificate": self.certificate,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SignRequest:
        """:raises MessageInvalid: not such a request."""
        try:
            read.check_members(value, cls.__slots__)
            return cls(
                sad=read.text(value, "sad", max_length=MAX_TOKEN_CHARACTERS),
                client_id=optional_text(value, "client_id", 255),
                credential_id=credential_id(value),
                hash_alg=optional_text(value, "hash_alg", MAX_OID_CHARACTERS),
                digests=octets_from_json(value, "digests", MAX_DIGESTS_IN_REQUEST, 128),
                sign_algo=read.text(value, "sign_algo", max_length=MAX_OID_CHARACTERS),
                sign_algo_params=optional_octets(value, "sign_algo_params", MAX_PARAMETERS_CHARACTERS),
                dpop=optional_text(value, "dpop", MAX_PROOF_OCTETS),
                certificate=optional_text(value, "certificate", 43),
            )
        except JoseError as error:
            raise MessageInvalid("not a request for signatures") from error


@dataclass(frozen=True, slots=True)
class ExtendRequest:
    """A SAD that is to take the place of those before it."""

    sad: str = field(repr=False)
    client_id: str | None
    """The relying party that asked for it, as far as is known."""

    def to_json(self) -> dict[str, Any]:
        """The request's members."""
        return {"sad": self.sad, "client_id": self.client_id}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ExtendRequest:
        """:raises MessageInvalid: not such a request."""
        try:
            read.check_members(value, cls.__slots__)
            return cls(
                sad=read.text(value, "sad", max_length=MAX_TOKEN_CHARACTERS),
                client_id=optional_text(value, "client_id", 255),
            )
        except JoseError as error:
            raise MessageInvalid("not a request to extend a transaction") from error


@dataclass(frozen=True, slots=True)
class CredentialView:
    """What the web tier may know of a credential."""

    credential_id: str
    owner: str
    status: Status
    profile: str
    key_kind: Literal["EC", "RSA"]
    key_bits: int
    curve: str | None
    """OID of the named curve, for EC."""
    schemes: tuple[str, ...]
    """Names of :data:`SCHEMES`."""
    certificates: tuple[bytes, ...]
    """DER, the signer's first; empty while pending."""
    scal: Literal["1", "2"]
    signature_qualifier: str | None
    multisign: int
    """Signatures that one SAD may authorise."""
    created_at: int
    """NumericDate."""
    proof_required: bool = False
    """Whether nothing is signed without a proof by the signer's own device."""
    proof_keys: tuple[DeviceKey, ...] = ()
    """The signer's devices; all of it is public."""
    origin: Literal["generated", "imported"] = "generated"
    """Whether the key was made in the device, or came from elsewhere."""

    def to_json(self) -> dict[str, Any]:
        """The view's members."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "schemes": list(self.schemes),
            "certificates": octets_to_json(self.certificates),
            "proof_keys": [proof_key.to_json(key) for key in self.proof_keys],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CredentialView:
        """:raises MessageInvalid: not such a view."""
        try:
            read.check_members(value, cls.__slots__)
            return cls(
                credential_id=credential_id(value),
                owner=read.text(value, "owner", max_length=255),
                status=cast("Status", _choice(value, "status", _STATUSES)),
                profile=read.text(value, "profile", max_length=64),
                key_kind=cast("Literal['EC', 'RSA']", _choice(value, "key_kind", _KINDS)),
                key_bits=read.integer(value, "key_bits", low=1, high=65536),
                curve=optional_text(value, "curve", 64),
                schemes=read.texts(value, "schemes", max_items=8, max_length=32),
                certificates=octets_from_json(value, "certificates", MAX_CHAIN, MAX_ITEM_CHARACTERS),
                scal=cast("Literal['1', '2']", _choice(value, "scal", _SCALS)),
                signature_qualifier=optional_text(value, "signature_qualifier", 64),
                multisign=read.integer(value, "multisign", low=1, high=1_000_000),
                created_at=read.numeric_date(value, "created_at"),
                proof_required=read.boolean(value, "proof_required"),
                proof_keys=_proof_keys(value),
                origin=cast("Literal['generated', 'imported']", _choice(value, "origin", _ORIGINS)),
            )
        except JoseError as error:
            raise MessageInvalid("not a credential's view") from error


@dataclass(frozen=True, slots=True)
class OfferedKey:
    """A kind of key that the module's profiles have."""

    key_bits: int
    """Curve size (EC) or modulus length (RSA)."""
    schemes: tuple[str, ...]
    """Names of :data:`SCHEMES`."""

    def to_json(self) -> dict[str, Any]:
        """The members."""
        return {"key_bits": self.key_bits, "schemes": list(self.schemes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> OfferedKey:
        """:raises MessageInvalid: not such a kind of key."""
        try:
            read.check_members(value, cls.__slots__)
            return cls(
                key_bits=read.integer(value, "key_bits", low=1, high=65536),
                schemes=read.texts(value, "schemes", max_items=8, max_length=32),
            )
        except JoseError as error:
            raise MessageInvalid("not a kind of key") from error


def _proof_keys(value: Mapping[str, Any]) -> tuple[DeviceKey, ...]:
    found = value["proof_keys"]
    if not isinstance(found, list) or len(found) > _MOST_PROOF_KEYS or any(not isinstance(key, dict) for key in found):
        raise MessageInvalid("proof_keys is not a list of keys")
    try:
        return tuple(proof_key.from_json(item) for item in found)
    except ProofInvalid as error:
        raise MessageInvalid("proof_keys has something else than keys") from error


SCHEMES: Final = ("ecdsa", "rsa-pss", "rsa-pkcs1-v1_5")
"""Signature schemes a key may serve."""


@dataclass(frozen=True, slots=True)
class CreatedCredential:
    """A credential that waits for its certificate."""

    credential: CredentialView
    pkcs10: bytes
    """DER CertificationRequest (RFC 2986), signed with the credential's key."""
    subject: SubjectClaim
    """Whom the certificate has to name, from the order."""

    def to_json(self) -> dict[str, Any]:
        """The members."""
        return {
            "credential": self.credential.to_json(),
            "pkcs10": encode_base64url(self.pkcs10),
            "subject": asdict(self.subject),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CreatedCredential:
        """:raises MessageInvalid: not such an answer."""
        try:
            read.check_members(value, cls.__slots__)
            subject = read.mapping(value, "subject")
            read.check_members(subject, SubjectClaim.__slots__)
            return cls(
                credential=CredentialView.from_json(read.mapping(value, "credential")),
                pkcs10=octets(value, "pkcs10", MAX_ITEM_CHARACTERS),
                subject=SubjectClaim(
                    common_name=read.text(subject, "common_name", max_length=64),
                    given_name=optional_text(subject, "given_name", 64),
                    surname=optional_text(subject, "surname", 64),
                    serial_number=optional_text(subject, "serial_number", 64),
                    country=optional_text(subject, "country", 2),
                ),
            )
        except JoseError as error:
            raise MessageInvalid("not a created credential") from error


def octets_to_json(items: Sequence[bytes]) -> list[str]:
    """Octet strings as base64url; an empty one is the empty string, which a reader refuses."""
    return [encode_base64url(item) for item in items]


def credential_id(value: Mapping[str, Any]) -> str:
    """The member ``credential_id``.

    :raises MessageInvalid: not in the form of :data:`CREDENTIAL_ID`.
    """
    found = value.get("credential_id")
    if not isinstance(found, str) or not CREDENTIAL_ID.match(found):
        raise MessageInvalid("member credential_id has not the form of an identifier")
    return found


def octets(value: Mapping[str, Any], name: str, max_characters: int) -> bytes:
    """A member that is one octet string.

    :raises MessageInvalid: anything else.
    """
    try:
        return decode_base64url(read.text(value, name, max_length=max_characters).encode())
    except (JoseError, UnicodeEncodeError) as error:
        raise MessageInvalid(f"member {name} is not base64url") from error


def octets_from_json(value: Mapping[str, Any], name: str, max_items: int, max_characters: int) -> tuple[bytes, ...]:
    """A member that is a list of octet strings.

    :raises MessageInvalid: anything else.
    """
    try:
        items = read.texts(value, name, max_items=max_items, max_length=max_characters)
        return tuple(decode_base64url(item.encode()) for item in items)
    except (JoseError, UnicodeEncodeError) as error:
        raise MessageInvalid(f"member {name} is not a list of base64url") from error


def optional_text(value: Mapping[str, Any], name: str, max_length: int) -> str | None:
    return None if value[name] is None else read.text(value, name, max_length=max_length)


def optional_octets(value: Mapping[str, Any], name: str, max_characters: int) -> bytes | None:
    return None if value[name] is None else octets(value, name, max_characters)


def _choice(value: Mapping[str, Any], name: str, allowed: Sequence[str]) -> str:
    found = read.text(value, name, max_length=32)
    if found not in allowed:
        raise MessageInvalid(f"member {name} has a value that is not accepted")
    return found
