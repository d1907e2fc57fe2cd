"""Requests of the API, parsed from JSON bodies that already have their v2 names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from contract.digests import HASH_LENGTHS, MAX_DIGESTS
from signing.csc import errors, parameters
from signing.link.messages import CREDENTIAL_ID, MAX_PARAMETERS_CHARACTERS

Certificates = Literal["none", "single", "chain"]
CERTIFICATES: Final = ("none", "single", "chain")


@dataclass(frozen=True, slots=True)
class Detail:
    """How much of a credential is asked for (CSC API 2.0.0.2 11.4)."""

    certificates: Certificates = "single"
    cert_info: bool = False
    auth_info: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for (CSC API 1.0.4.0 11.3)."""

    most: int | None = None
    """How many credentials; None: all."""
    token: str | None = None
    """Where to go on."""


@dataclass(frozen=True, slots=True)
class CredentialsListRequest:
    """``credentials/list`` (11.4)."""

    user_id: str | None
    credential_info: bool
    only_valid: bool
    detail: Detail
    page: Page


@dataclass(frozen=True, slots=True)
class CredentialsInfoRequest:
    """``credentials/info`` (11.5)."""

    credential_id: str
    detail: Detail


@dataclass(frozen=True, slots=True)
class Later:
    """Asynchronous operation (11.10)."""

    validity_period: int | None
    """Milliseconds for which the outcome is to be kept."""
    response_uri: str | None


@dataclass(frozen=True, slots=True)
class SignHashRequest:
    """``signatures/signHash`` (11.10)."""

    credential_id: str
    sad: str | None = field(repr=False)
    digests: tuple[bytes, ...]
    hash_algorithm: str | None
    sign_algorithm: str
    sign_algorithm_parameters: bytes | None
    later: Later | None = None
    """None: whoever asks waits."""


@dataclass(frozen=True, slots=True)
class ExtendTransactionRequest:
    """``credentials/extendTransaction`` (11.9)."""

    credential_id: str
    sad: str | None = field(repr=False)
    digests: tuple[bytes, ...]
    """What is still to be signed; may be left out."""
    hash_algorithm: str | None


def parse_credentials_list(body: Mapping[str, Any]) -> CredentialsListRequest:
    """:raises errors.InvalidRequest: with the specification's description."""
    user_id = body.get("userID")
    if user_id is not None and (not isinstance(user_id, str) or not 0 < len(user_id) <= 255):
        raise errors.invalid("userID")
    return CredentialsListRequest(
        user_id=user_id,
        credential_info=parameters.flag(body, "credentialInfo"),
        only_valid=parameters.flag(body, "onlyValid"),
        detail=parse_detail(body),
        page=Page(parameters.optional_integer(body, "maxResults"), parameters.optional_text(body, "pageToken")),
    )


def parse_credentials_info(body: Mapping[str, Any]) -> CredentialsInfoRequest:
    """:raises errors.InvalidRequest: with the specification's description."""
    return CredentialsInfoRequest(parse_credential_id(body), parse_detail(body))


def parse_credential_id(body: Mapping[str, Any]) -> str:
    """:raises errors.InvalidRequest: missing, or in a form that no credential's identifier has."""
    value = parameters.required_text(body, "credentialID")
    if not CREDENTIAL_ID.match(value):
        raise errors.invalid("credentialID")
    return value


def parse_sign_hash(body: Mapping[str, Any]) -> SignHashRequest:
    """Parse ``signHash``; which algorithm a key may be used with is the activation module's to judge.

    :raises errors.InvalidRequest: with the specification's description.
    """
    credential_id = parse_credential_id(body)
    sad = parameters.optional_text(body, "SAD")
    digests = _digests(body)
    sign_algorithm = parameters.oid(body, "signAlgo")
    hash_algorithm = parameters.optional_oid(body, "hashAlgorithmOID")
    if hash_algorithm is not None:
        length = HASH_LENGTHS.get(hash_algorithm)
        if length is None:
            raise errors.invalid("hashAlgorithmOID")
        if any(len(digest) != length for digest in digests):
            raise errors.InvalidRequest(errors.INVALID_LENGTH)
    later = parse_later(body)
    parameters_of_it = sign_algorithm_parameters(body)
    return SignHashRequest(credential_id, sad, digests, hash_algorithm, sign_algorithm, parameters_of_it, later)


def parse_extend_transaction(body: Mapping[str, Any]) -> ExtendTransactionRequest:
    """:raises errors.InvalidRequest: with the specification's description."""
    hash_algorithm = parameters.optional_oid(body, "hashAlgorithmOID")
    if hash_algorithm is not None and hash_algorithm not in HASH_LENGTHS:
        raise errors.invalid("hashAlgorithmOID")
    return ExtendTransactionRequest(
        credential_id=parse_credential_id(body),
        sad=parameters.optional_text(body, "SAD"),
        digests=() if body.get("hashes") is None else _digests(body),
        hash_algorithm=hash_algorithm,
    )


def parse_detail(body: Mapping[str, Any]) -> Detail:
    """How much of a credential is asked for.

    :raises errors.InvalidRequest: with the specification's description.
    """
    return Detail(
        certificates=cast("Certificates", parameters.choice(body, "certificates", CERTIFICATES, "single")),
        cert_info=parameters.flag(body, "certInfo"),
        auth_info=parameters.flag(body, "authInfo"),
    )


def _digests(body: Mapping[str, Any]) -> tuple[bytes, ...]:
    values = body.get("hashes")
    if not isinstance(values, list):
        raise errors.missing_array("hash")
    if not values:
        raise errors.InvalidRequest(errors.EMPTY_HASHES)
    if len(values) > MAX_DIGESTS:
        raise errors.invalid("hash")
    try:
        return tuple(parameters.base64_octets(_text_item(value)) for value in values)
    except ValueError as error:
        raise errors.InvalidRequest(errors.INVALID_BASE64) from error


def _text_item(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 128:
        raise ValueError("not a digest")
    return value


def sign_algorithm_parameters(body: Mapping[str, Any]) -> bytes | None:
    """DER of a signature algorithm's parameters.

    :raises errors.InvalidRequest: not base64, or too long.
    """
    text = parameters.optional_text(body, "signAlgoParams", MAX_PARAMETERS_CHARACTERS)
    try:
        return None if text is None else parameters.base64_octets(text)
    except ValueError as error:
        raise errors.invalid("signAlgoParams") from error


def parse_later(body: Mapping[str, Any]) -> Later | None:
    """Whether whoever asks fetches the outcome later.

    :raises errors.InvalidRequest: with the specification's description.
    """
    validity_period, response_uri = body.get("validity_period"), body.get("response_uri")
    if parameters.choice(body, "operationMode", ("S", "A"), "S") == "A":
        if validity_period is not None and (not isinstance(validity_period, int) or isinstance(validity_period, bool)):
            raise errors.invalid("validity_period")
        if response_uri is not None and not isinstance(response_uri, str):
            raise errors.invalid("response_uri")
        return Later(validity_period, response_uri)
    # A synchronous answer to a client that waits to be told would be lost on it.
    if response_uri is not None:
        raise errors.invalid("response_uri")
    if validity_period is not None:
        raise errors.invalid("validity_period")
    return None
