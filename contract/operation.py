"""Operations: what operators sign with their own keys, one for what only narrows, two for what weakens something.

A JWS in General JSON Serialization (RFC 7515 7.2.1): one payload, a signature an operator.  Each signature has a
protected header of exactly ``alg``, ``typ`` (``operation+jws``) and ``kid``, the key's RFC 7638 thumbprint; there is no
unprotected header.  What counts are distinct keys, by thumbprint: the same key twice is not two operators, and is
refused rather than counted once, because somebody tried.

The parameters are an opaque JSON object here.  Whoever carries the operation out reads them strictly, knows how many
operators it takes, and sees to its single use by ``jti``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from contract.errors import OperationExpired, OperationInvalid, OperationUnderSigned
from foundation import claims as read
from foundation.clock import epoch
from foundation.errors import JoseError
from foundation.jose import (
    SigningKey,
    VerificationKey,
    decode_base64url,
    encode_base64url,
    import_verification_key,
    parse_json_object,
    sign_payload,
    verify_compact,
)

OPERATION_TYPE: Final = "operation+jws"

MAX_OPERATION_OCTETS: Final = 16 * 1024
"""Of the whole bundle: an operation names what it acts on, it does not carry it."""

MAX_SIGNATURES: Final = 8
"""More than anything needs, and few enough to verify before anybody is known."""

LEEWAY_SECONDS: Final = 5
"""How far an operator's clock may be ahead."""

_ALGORITHMS: Final = frozenset({"ES256", "Ed25519"})
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z")
_CLAIMS: Final = frozenset({"aud", "operation", "parameters", "jti", "iat", "exp"})
_HEADER: Final = frozenset({"alg", "typ", "kid"})


@dataclass(frozen=True, slots=True)
class Operation:
    """The content of an operation.  Times are NumericDates in whole seconds."""

    aud: str
    """The module or service it is for; the same operators may serve several."""
    operation: str
    """Dotted name, such as ``credential.delete``."""
    parameters: Mapping[str, Any]
    """A JSON object; its members are the operation's own."""
    jti: str
    iat: int
    exp: int
    """The first second in which it is refused."""
    signers: tuple[str, ...] = ()
    """Thumbprints of the keys that signed, in the bundle's order; no claim, and empty before signing."""


class _Part(NamedTuple):
    protected: str
    signature: str
    kid: str


def operator_key(data: bytes | Mapping[str, Any]) -> VerificationKey:
    """An operator's public key from PEM or a JWK; its ``kid`` is the thumbprint, whatever the JWK says.

    However a JWK is written, one key has one thumbprint, and nothing of it but the key is kept: else an operator whose
    coordinates have a leading zero would be two (ADM-01).

    :raises OperationInvalid: not a P-256 or Ed25519 public key.
    """
    try:
        key = import_verification_key(import_verification_key(data).key.as_pem(private=False))
    except JoseError as error:
        raise OperationInvalid(str(error)) from error
    if key.algorithm not in _ALGORITHMS:
        raise OperationInvalid("an operator's key must be on P-256 or Ed25519")
    return replace(key, kid=key.key.thumbprint())


def operator_key_from(file: bytes) -> VerificationKey:
    """An operator's public key from a file's content: PEM, or a JWK as JSON.

    :raises OperationInvalid: neither, or not a P-256 or Ed25519 public key.
    """
    try:
        return operator_key(parse_json_object(file) if file.lstrip().startswith(b"{") else file)
    except JoseError as error:
        raise OperationInvalid(str(error)) from error


def sign(operation: Operation, key: SigningKey) -> str:
    """A bundle with one signature.

    :raises OperationInvalid: the content breaks a rule that :func:`verify` would refuse, or the key is no operator's.
    """
    claims = {name: getattr(operation, name) for name in ("aud", "operation", "parameters", "jti", "iat", "exp")}
    try:
        payload = json.dumps(claims, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise OperationInvalid("the parameters are not JSON") from error
    _content(payload)
    return _bundle(payload, [_signature(payload, key)])


def add_signature(bundle: str, key: SigningKey) -> str:
    """The bundle with one more signature, over the very octets that the others signed.

    The signatures that are there are not verified: an operator need not know the others' keys.

    :raises OperationInvalid: not an operation in the strict form, full, or signed by this key already.
    """
    payload, parts = _split(bundle)
    _content(payload)
    added = _signature(payload, key)
    if any(part.kid == added.kid for part in parts):
        raise OperationInvalid("this key has signed the operation already")
    made = _bundle(payload, [*parts, added])
    _split(made)
    return made


def peek(bundle: str) -> Operation:
    """The content of an operation whose signatures nobody has verified: to show it to who may sign it.

    :raises OperationInvalid: not in the strict form.
    """
    payload, parts = _split(bundle)
    return replace(_content(payload), signers=tuple(part.kid for part in parts))


def verify(bundle: str, operators: Iterable[VerificationKey], needed: int) -> Operation:
    """Verify every signature, then read every claim; time, audience, single use and parameters are the caller's.

    :param operators: the enrolled operators' keys, as :func:`operator_key` gives them.
    :param needed: how many of them must have signed, at least one.
    :raises OperationInvalid: form, type, a claim, a signature by an unknown key, one that does not verify, or two by
        the same key: one wrong signature spoils the bundle, however many right ones there are.
    :raises OperationUnderSigned: all is right, and too few have signed.
    """
    if needed < 1:
        raise ValueError("an operation that nobody signed is nobody's")
    # 1. The form; each key signs once.
    payload, parts = _split(bundle)
    # 2. Each signature is by an operator, whose key is known by its thumbprint and not by the name it was given.
    known = {key.key.thumbprint(): key for key in operators if key.algorithm in _ALGORITHMS}
    for part in parts:
        if part.kid not in known:
            raise OperationInvalid("a key that is no operator's has signed")
        _verify_part(payload, part, known[part.kid])
    # 3. What they signed.
    operation = _content(payload)
    # 4. How many they are.
    if len(parts) < needed:
        raise OperationUnderSigned(f"{len(parts)} operators have signed, and it takes {needed}")
    return replace(operation, signers=tuple(part.kid for part in parts))


def check_time(operation: Operation, now: datetime, max_seconds: int) -> None:
    """Whether an operation is in its time.

    :param max_seconds: how long it may live at most.
    :raises OperationExpired: ``exp`` has been reached: it is the first second refused.
    :raises OperationInvalid: issued in the future, or it lives too long.
    """
    if epoch(now) >= operation.exp:
        raise OperationExpired("the operation has expired")
    if operation.iat > epoch(now) + LEEWAY_SECONDS:
        raise OperationInvalid("the operation was issued in the future")
    if operation.exp - operation.iat > max_seconds:
        raise OperationInvalid("the operation lives longer than is allowed")


def _signature(payload: bytes, key: SigningKey) -> _Part:
    if key.algorithm not in _ALGORITHMS:
        raise OperationInvalid("an operator's key must be on P-256 or Ed25519")
    kid = key.key.thumbprint()
    protected, _payload, signature = sign_payload(payload, replace(key, kid=kid), OPERATION_TYPE).split(".")
    return _Part(protected, signature, kid)


def _bundle(payload: bytes, parts: Iterable[_Part]) -> str:
    signatures = [{"protected": part.protected, "signature": part.signature} for part in parts]
    return json.dumps({"payload": encode_base64url(payload), "signatures": signatures}, separators=(",", ":"))


def _split(bundle: str) -> tuple[bytes, list[_Part]]:
    if len(bundle) > MAX_OPERATION_OCTETS or len(bundle.encode("utf-8", "replace")) > MAX_OPERATION_OCTETS:
        raise OperationInvalid(f"longer than {MAX_OPERATION_OCTETS} octets")
    try:
        value = parse_json_object(bundle)
        read.check_members(value, {"payload", "signatures"})
        payload = decode_base64url(_ascii(value["payload"]))
        signatures = value["signatures"]
        if not isinstance(signatures, list) or not 1 <= len(signatures) <= MAX_SIGNATURES:
            raise OperationInvalid(f"not 1 to {MAX_SIGNATURES} signatures")
        parts = [_part(item) for item in signatures]
    except JoseError as error:
        raise OperationInvalid(str(error)) from error
    if len({part.kid for part in parts}) != len(parts):
        raise OperationInvalid("a key has signed twice")
    return payload, parts


def _part(item: Any) -> _Part:
    if not isinstance(item, dict):
        raise OperationInvalid("a signature is not an object")
    # An unprotected `header` is a member like any other here: unknown.
    read.check_members(item, {"protected", "signature"})
    header = parse_json_object(decode_base64url(_ascii(item["protected"])))
    decode_base64url(_ascii(item["signature"]))
    read.check_members(header, _HEADER)
    return _Part(item["protected"], item["signature"], read.text(header, "kid", max_length=128))


def _ascii(value: Any) -> bytes:
    if not isinstance(value, str) or not value.isascii():
        raise OperationInvalid("a member is not base64url")
    return value.encode()


def _verify_part(payload: bytes, part: _Part, key: VerificationKey) -> None:
    """A signature of the General Serialization is the compact one of the same header and payload (RFC 7515 7.2.1)."""
    compact = f"{part.protected}.{encode_base64url(payload)}.{part.signature}"
    try:
        verify_compact(compact, [replace(key, kid=part.kid)], {OPERATION_TYPE})
    except JoseError as error:
        raise OperationInvalid(str(error)) from error


def _content(payload: bytes) -> Operation:
    try:
        claims = parse_json_object(payload)
        read.check_members(claims, _CLAIMS)
        operation = Operation(
            aud=read.text(claims, "aud", max_length=255),
            operation=read.text(claims, "operation", max_length=64),
            parameters=read.mapping(claims, "parameters"),
            jti=read.text(claims, "jti", max_length=128),
            iat=read.numeric_date(claims, "iat"),
            exp=read.numeric_date(claims, "exp"),
        )
    except JoseError as error:
        raise OperationInvalid(str(error)) from error
    if not _NAME.match(operation.operation):
        raise OperationInvalid("claim operation is not a dotted name")
    if operation.exp <= operation.iat:
        raise OperationInvalid("exp is not after iat")
    return operation
