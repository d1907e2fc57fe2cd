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

from contract.errors import OrderInvalid
from foundation import claims as read
from foundation.errors import JoseError
from foundation.jose import SigningKey, VerificationKey, sign_compact, verify_compact

ORDER_TYPE: Final = "order+jwt"

Operation = Literal["credential.create", "credential.suspend", "credential.resume", "credential.delete"]
OPERATIONS: Final[tuple[Operation, ...]] = (
    "credential.create",
    "credential.suspend",
    "credential.resume",
    "credential.delete",
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


@dataclass(frozen=True, slots=True)
class CredentialParameters:
    """What the other operations act on."""

    credential_id: str


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
    parameters: CreateParameters | CredentialParameters
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


def _parameters_to_json(parameters: CreateParameters | CredentialParameters) -> dict[str, Any]:
    if isinstance(parameters, CredentialParameters):
        return {"credential_id": parameters.credential_id}
    subject = {name: getattr(parameters.subject, name) for name in SubjectClaim.__slots__}
    return {
        "profile": parameters.profile,
        "subject": {name: value for name, value in subject.items() if value is not None},
    }


def _from_claims(claims: Mapping[str, Any]) -> Order:
    try:
        return _read(claims)
    except JoseError as error:
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


def _parameters(operation: str, value: Mapping[str, Any]) -> CreateParameters | CredentialParameters:
    if operation != "credential.create":
        read.check_members(value, {"credential_id"})
        return CredentialParameters(read.text(value, "credential_id", max_length=128))
    read.check_members(value, {"profile", "subject"})
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
    )
