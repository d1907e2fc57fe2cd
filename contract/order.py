"""Orders: what a credential's operations other than signing are done on.

A socket connection authorises nothing; the module does what a signed, single-use order says.  An order is a compact
JWS of type ``order+jwt`` under the same pinned keys as the SAD: the explicit type keeps the one from serving as the
other (RFC 8725 3.11).  The parameters stand in the order itself, so its signature covers them without a second hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from contract import proof, proof_key
from contract.errors import OrderInvalid, ProofInvalid
from contract.proof import Proof
from contract.proof_key import DeviceKey
from foundation import claims as read
from foundation.errors import JoseError
from foundation.jose import SigningKey, VerificationKey, sign_compact, verify_compact

ORDER_TYPE: Final = "order+jwt"

Operation = Literal[
    "credential.create",
    "credential.suspend",
    "credential.resume",
    "credential.revoke",
    "credential.delete",
    "credential.bind_proof_key",
    "credential.remove_proof_key",
]
OPERATIONS: Final[tuple[Operation, ...]] = (
    "credential.create",
    "credential.suspend",
    "credential.resume",
    "credential.revoke",
    "credential.delete",
    "credential.bind_proof_key",
    "credential.remove_proof_key",
)
_COUNTRY: Final = re.compile(r"[A-Z]{2}\Z")
_REQUIRED: Final = frozenset({"iss", "aud", "sub", "jti", "iat", "exp", "operation", "parameters", "policy"})


@dataclass(frozen=True, slots=True)
class SubjectClaim:
    """The person a certificate is to name (ETSI EN 319 412-2 4.2.4)."""

    common_name: str
    given_name: str | None
    surname: str | None
    serial_number: str | None
    country: str | None
    """ISO 3166-1 alpha-2."""


@dataclass(frozen=True, slots=True)
class CreateParameters:
    """What ``credential.create`` makes."""

    profile: str
    """Name of a credential profile that the module's operator defined: key kind, SCAL, qualifier, floor."""
    subject: SubjectClaim
    proof_key: DeviceKey | None = None
    """The signer's device: a credential that demands proofs has its key from birth."""


@dataclass(frozen=True, slots=True)
class CredentialParameters:
    """What the other operations act on."""

    credential_id: str


@dataclass(frozen=True, slots=True)
class ProofKeyParameters:
    """What becomes of a credential's proof keys."""

    credential_id: str
    added: DeviceKey | None
    """The new key; None where one is only removed."""
    removed: str | None = None
    """Thumbprint of the key that goes."""
    proof: Proof | None = None
    """By a key that is there, over the change (:mod:`contract.proof_key`); None: for a credential's first key."""


Parameters = CreateParameters | CredentialParameters | ProofKeyParameters


@dataclass(frozen=True, slots=True)
class Order:
    """The content of an order.  Times are NumericDates in whole seconds."""

    iss: str
    aud: str
    sub: str
    """Account id of the credential's owner."""
    jti: str
    iat: int
    exp: int
    operation: Operation
    parameters: Parameters
    policy: str
    """Decision id in the issuer's audit chain."""


def encode(order: Order, key: SigningKey) -> str:
    """Sign an order.

    :raises OrderInvalid: the content breaks a rule that :func:`decode` would refuse.
    """
    claims = _to_claims(order)
    _from_claims(claims)
    return sign_compact(claims, key, ORDER_TYPE)


def decode(token: str, keys: Iterable[VerificationKey]) -> Order:
    """Verify the signature with the pinned keys, then read every claim; time and audience are the caller's.

    :raises OrderInvalid: form, signature, type, or a claim missing, unknown or out of bounds.
    """
    try:
        return _from_claims(verify_compact(token, keys, {ORDER_TYPE}))
    except JoseError as error:
        raise OrderInvalid(str(error)) from error


def _to_claims(order: Order) -> dict[str, Any]:
    return {
        "iss": order.iss,
        "aud": order.aud,
        "sub": order.sub,
        "jti": order.jti,
        "iat": order.iat,
        "exp": order.exp,
        "operation": order.operation,
        "parameters": _parameters_to_json(order.parameters),
        "policy": order.policy,
    }


def _parameters_to_json(parameters: Parameters) -> dict[str, Any]:
    if isinstance(parameters, CredentialParameters):
        return {"credential_id": parameters.credential_id}
    if isinstance(parameters, ProofKeyParameters):
        return _proof_key_to_json(parameters)
    subject = {name: getattr(parameters.subject, name) for name in SubjectClaim.__slots__}
    value: dict[str, Any] = {
        "profile": parameters.profile,
        "subject": {name: value for name, value in subject.items() if value is not None},
    }
    return value if parameters.proof_key is None else {**value, "proof_key": proof_key.to_json(parameters.proof_key)}


def _proof_key_to_json(parameters: ProofKeyParameters) -> dict[str, Any]:
    value: dict[str, Any] = {"credential_id": parameters.credential_id}
    if parameters.added is not None:
        value["proof_key"] = proof_key.to_json(parameters.added)
    if parameters.removed is not None:
        value["removed"] = parameters.removed
    if parameters.proof is not None:
        value["proof"] = proof.to_claim(parameters.proof)
    return value


def _from_claims(claims: Mapping[str, Any]) -> Order:
    try:
        return _read(claims)
    except (JoseError, ProofInvalid) as error:
        raise OrderInvalid(str(error)) from error


def _read(claims: Mapping[str, Any]) -> Order:
    read.check_members(claims, _REQUIRED)
    operation = read.text(claims, "operation", max_length=64)
    if operation not in OPERATIONS:
        raise OrderInvalid("claim operation names no operation")
    order = Order(
        iss=read.text(claims, "iss", max_length=255),
        aud=read.text(claims, "aud", max_length=255),
        sub=read.text(claims, "sub", max_length=255),
        jti=read.text(claims, "jti", max_length=128),
        iat=read.numeric_date(claims, "iat"),
        exp=read.numeric_date(claims, "exp"),
        operation=operation,
        parameters=_parameters(operation, read.mapping(claims, "parameters")),
        policy=read.text(claims, "policy", max_length=128),
    )
    if order.exp <= order.iat:
        raise OrderInvalid("exp is not after iat")
    return order


def _parameters(operation: str, value: Mapping[str, Any]) -> Parameters:
    if operation == "credential.bind_proof_key":
        read.check_members(value, {"credential_id", "proof_key"}, {"removed", "proof"})
        return _proof_key(value)
    if operation == "credential.remove_proof_key":
        read.check_members(value, {"credential_id", "removed", "proof"})
        return _proof_key(value)
    if operation != "credential.create":
        read.check_members(value, {"credential_id"})
        return CredentialParameters(read.text(value, "credential_id", max_length=128))
    return _create(value)


def create_parameters(value: Mapping[str, Any]) -> CreateParameters:
    """The parameters of ``credential.create``, for whoever has them from elsewhere.

    :raises OrderInvalid: not in their form.
    """
    try:
        return _create(value)
    except (JoseError, ProofInvalid) as error:
        raise OrderInvalid(str(error)) from error


def _create(value: Mapping[str, Any]) -> CreateParameters:
    read.check_members(value, {"profile", "subject"}, {"proof_key"})
    subject = read.mapping(value, "subject")
    optional = {"given_name", "surname", "serial_number", "country"}
    read.check_members(subject, {"common_name"}, optional)
    parts = {name: read.text(subject, name, max_length=64) if name in subject else None for name in optional}
    country = parts["country"]
    if country is not None and not _COUNTRY.match(country):
        raise OrderInvalid("claim subject has a country that is not an ISO 3166-1 alpha-2 code")
    return CreateParameters(
        profile=read.text(value, "profile", max_length=64),
        subject=SubjectClaim(common_name=read.text(subject, "common_name", max_length=64), **parts),
        proof_key=_added(value),
    )


def _proof_key(value: Mapping[str, Any]) -> ProofKeyParameters:
    return ProofKeyParameters(
        credential_id=read.text(value, "credential_id", max_length=128),
        added=_added(value),
        removed=read.text(value, "removed", max_length=64) if "removed" in value else None,
        proof=proof.from_claim(read.mapping(value, "proof")) if "proof" in value else None,
    )


def _added(value: Mapping[str, Any]) -> DeviceKey | None:
    return proof_key.from_json(read.mapping(value, "proof_key")) if "proof_key" in value else None
