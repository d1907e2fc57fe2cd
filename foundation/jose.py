"""Compact JWS in one strict form, over joserfc.

joserfc does the cryptography.  Around it stands what a verifier of legal consequence must not leave to chance: a length
cap before anything is parsed, canonical base64url, an allow-list of header members, the algorithm fixed by the key and
never by the token, an explicit type (RFC 8725 3.1, 3.11), no duplicate member anywhere.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from joserfc import jws
from joserfc.errors import JoseError as LibraryError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from foundation.errors import JoseError, TokenMalformed, TokenUntrusted

Algorithm = Literal["ES256", "PS256", "Ed25519"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("ES256", "PS256", "Ed25519")
"""Public-key algorithms only: with no HMAC there is nothing that a public key could be mistaken for."""

MAX_TOKEN_OCTETS: Final = 24 * 1024
"""Room for a SAD over 100 SHA-512 digests; anything longer is refused unread."""

_SEGMENT: Final = re.compile(rb"[A-Za-z0-9_-]+\Z")
_LAST: Final = {2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
"""What canonical base64url ends with where so many characters are left over: four, or two, bits that are zero."""
_TO_BASE64: Final = bytes.maketrans(b"-_", b"+/")
_TO_BASE64URL: Final = bytes.maketrans(b"+/", b"-_")
_KID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}\Z")
_NO_TEXT: Final = re.compile(r"[\x00\ud800-\udfff]")
_HEADER_MEMBERS: Final = frozenset({"alg", "typ", "kid"})
_EMBEDDED_MEMBERS: Final = frozenset({"alg", "typ", "jwk"})
_PUBLIC_MEMBERS: Final[dict[str, frozenset[str]]] = {
    "EC": frozenset({"kty", "crv", "x", "y"}),
    "RSA": frozenset({"kty", "n", "e"}),
    "OKP": frozenset({"kty", "crv", "x"}),
}
"""What makes a public key (RFC 7638 3.2)."""
_IDLE_MEMBERS: Final = frozenset({"kid", "alg", "use", "key_ops", "ext"})
"""What may stand beside it in a header, and says nothing there: browsers' keys come with some."""
_MAX_RSA_BITS: Final = 4096
"""Of a key that a stranger chose: what it costs to verify with it grows with its length."""
_MAX_EXPONENT_BITS: Final = 64
"""Of its exponent, with whose length the cost grows as well; everybody's is 65537."""

_ED25519_PRIME: Final = 2**255 - 19
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _ED25519_PRIME - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
"""y of the eight points of Ed25519 whose order divides the cofactor: under such a key anybody's signature verifies."""

Key = ECKey | RSAKey | OKPKey
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the one algorithm it is for."""

    kid: str
    algorithm: Algorithm
    key: Key = field(repr=False)

    def verification_key(self) -> VerificationKey:
        """The public half."""
        public = type(self.key).import_key(self.key.as_dict(private=False))
        return VerificationKey(self.kid, self.algorithm, public)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key with the one algorithm it verifies."""

    kid: str
    algorithm: Algorithm
    # Compared, but no part of the hash: the library's keys have none.
    key: Key = field(repr=False, hash=False)

    def as_jwk(self) -> JsonObject:
        """A public JWK with ``kid``, ``alg`` and ``use`` (RFC 7517 4)."""
        return {**self.key.as_dict(private=False), "kid": self.kid, "alg": self.algorithm, "use": "sig"}


def generate_signing_key(algorithm: Algorithm = "ES256") -> SigningKey:
    """A new key; its ``kid`` is the RFC 7638 thumbprint."""
    key: Key
    if algorithm == "ES256":
        key = ECKey.generate_key("P-256")
    elif algorithm == "Ed25519":
        key = OKPKey.generate_key("Ed25519")
    else:
        key = RSAKey.generate_key(3072)
    return SigningKey(key.thumbprint(), algorithm, key)


def import_signing_key(pem: bytes) -> SigningKey:
    """Load a private key from PKCS#8 PEM.

    :raises TokenUntrusted: not a P-256, RSA (2048 bits or more) or Ed25519 private key.
    """
    key, algorithm = _import(pem)
    if not key.is_private:
        raise TokenUntrusted("a private key was expected")
    return SigningKey(key.thumbprint(), algorithm, key)


def export_signing_key(key: SigningKey) -> bytes:
    """PKCS#8 PEM, for an owner-only file."""
    return key.key.as_pem(private=True)


def import_verification_key(data: bytes | Mapping[str, Any]) -> VerificationKey:
    """Load a public key from SubjectPublicKeyInfo PEM or a JWK; the key kind fixes the algorithm.

    :raises TokenUntrusted: another kind of key, or a private one.
    """
    key, algorithm = _import(data)
    if key.is_private:
        raise TokenUntrusted("a public key was expected, and a private one was given")
    kid = data.get("kid") if isinstance(data, Mapping) else None
    return VerificationKey(kid if isinstance(kid, str) and _KID.match(kid) else key.thumbprint(), algorithm, key)


def _import(data: bytes | Mapping[str, Any]) -> tuple[Key, Algorithm]:
    value: Any = dict(data) if isinstance(data, Mapping) else data
    kinds: tuple[tuple[type[Key], Algorithm], ...] = ((ECKey, "ES256"), (RSAKey, "PS256"), (OKPKey, "Ed25519"))
    for kind, algorithm in kinds:
        try:
            key = kind.import_key(value)
        except (LibraryError, ValueError, TypeError, KeyError):
            continue
        _check_strength(key)
        return key, algorithm
    raise TokenUntrusted("the key is of no kind that is accepted here")


def _check_strength(key: Key) -> None:
    if isinstance(key, ECKey) and key.curve_name != "P-256":
        raise TokenUntrusted("EC keys must be on P-256")
    if isinstance(key, OKPKey) and key.curve_name != "Ed25519":
        raise TokenUntrusted("OKP keys must be on Ed25519")
    if isinstance(key, OKPKey) and _ed25519_y(key) in _SMALL_ORDER:
        raise TokenUntrusted("the key is none that somebody could have made")
    if isinstance(key, RSAKey) and key.public_key.key_size < 2048:
        raise TokenUntrusted("RSA keys must have 2048 bits or more")


def _ed25519_y(key: OKPKey) -> int:
    octets = decode_base64url(str(key.as_dict(private=False)["x"]).encode())
    return (int.from_bytes(octets, "little") & (2**255 - 1)) % _ED25519_PRIME


def sign_compact(claims: Mapping[str, Any], key: SigningKey, typ: str) -> str:
    """Sign claims; the header holds ``alg``, ``typ`` and ``kid`` and nothing else."""
    payload = json.dumps(claims, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return sign_payload(payload, key, typ)


def sign_payload(payload: bytes, key: SigningKey, typ: str) -> str:
    """Sign octets as they are, under the header of :func:`sign_compact`: what somebody else has signed already."""
    header = {"alg": key.algorithm, "typ": typ, "kid": key.kid}
    return jws.serialize_compact(header, payload, key.key, algorithms=[key.algorithm])


def sign_embedded(claims: Mapping[str, Any], key: SigningKey, typ: str) -> str:
    """Sign claims under a header with ``alg``, ``typ`` and the public key: what :func:`verify_embedded` takes."""
    payload = json.dumps(claims, separators=(",", ":"), allow_nan=False).encode()
    header = {"alg": key.algorithm, "typ": typ, "jwk": key.key.as_dict(private=False)}
    return jws.serialize_compact(header, payload, key.key, algorithms=[key.algorithm])


def verify_compact(
    token: str,
    keys: Iterable[VerificationKey],
    types: Collection[str | None],
    *,
    max_octets: int = MAX_TOKEN_OCTETS,
    kid_required: bool = True,
) -> JsonObject:
    """Verify a compact JWS and give back its claims, of which nothing is checked but that they are a JSON object.

    :param types: the ``typ`` values accepted, compared without regard to case and to an ``application/`` prefix
        (RFC 7515 4.1.9); ``None`` among them accepts a token without one.
    :param kid_required: only for client assertions, whose ``kid`` RFC 7523 leaves optional: without one, each key
        is tried.
    :raises TokenMalformed: not in the strict form.
    :raises TokenUntrusted: no key, algorithm or type fits, or the signature does not verify.
    """
    parts = _split(token, max_octets)
    _check_header(parts.header, types, kid_required=kid_required)
    _check_signature(parts, keys)
    return parse_json_object(parts.payload)


def verify_issued(
    token: str,
    keys_of: Callable[[JsonObject], Iterable[VerificationKey]],
    types: Collection[str | None],
    *,
    max_octets: int = MAX_TOKEN_OCTETS,
) -> JsonObject:
    """As :func:`verify_compact`, where the token itself says whose keys to verify it with.

    :param keys_of: the keys of whoever the claims, as yet unverified, name as the issuer; none of somebody who is not
        trusted.  The signature then shows that it was the one.
    :raises TokenMalformed: :raises TokenUntrusted: as :func:`verify_compact`.
    """
    parts = _split(token, max_octets)
    claims = parse_json_object(parts.payload)
    keys = keys_of(claims)
    _check_header(parts.header, types, kid_required=True)
    _check_signature(parts, keys)
    return claims


def _check_signature(parts: _Parts, keys: Iterable[VerificationKey]) -> None:
    """By a key that is chosen among those given, and fixes the algorithm."""
    kid = parts.header.get("kid")
    candidates = [key for key in keys if kid is None or key.kid == kid]
    candidates = [key for key in candidates if key.algorithm == parts.header["alg"]]
    if not candidates:
        raise TokenUntrusted("no trusted key fits the token")
    if not any(_is_signed(parts, key) for key in candidates):
        raise TokenUntrusted("the signature does not verify")


def _is_signed(parts: _Parts, key: VerificationKey) -> bool:
    # The library's cryptography alone: what else it does for a token, from splitting to its header, has been done here,
    # and more strictly.
    algorithm = jws.JWSRegistry.algorithms[key.algorithm]
    try:
        key.key.check_use("sig")
        key.key.check_alg(key.algorithm)
        algorithm.check_key(key.key)
        return algorithm.verify(parts.signed, parts.signature, key.key)
    except (LibraryError, ValueError):
        return False


def verify_embedded(token: str, typ: str, *, max_octets: int) -> tuple[VerificationKey, JsonObject]:
    """Verify a compact JWS with the public key in its own header (``jwk``, RFC 7515 4.1.3).

    It proves possession of that key and nothing else: whether the key is anybody's is the caller's to compare.

    :returns: the key, whose ``kid`` is its RFC 7638 thumbprint, and the claims.
    :raises TokenMalformed: not in the strict form, a member of the header or of its key that is not accepted.
    :raises TokenUntrusted: another type, a key of no accepted kind, another algorithm than the key's, or the signature
        does not verify.
    """
    parts = _split(token, max_octets)
    header = parts.header
    if header.keys() != _EMBEDDED_MEMBERS:
        raise TokenMalformed("the token's header does not have the members alg, typ and jwk alone")
    if not isinstance(header["typ"], str) or _normal_type(header["typ"]) != typ:
        raise TokenUntrusted("the token is of another type")
    key = _embedded_key(header["jwk"])
    if header["alg"] != key.algorithm:
        raise TokenUntrusted("the token's algorithm is not accepted, or not its key's")
    try:
        jws.deserialize_compact(token, key.key, registry=_with_key_in_header(key.algorithm))
    except (LibraryError, ValueError) as error:
        raise TokenUntrusted("the signature does not verify") from error
    return key, parse_json_object(parts.payload)


def _with_key_in_header(algorithm: Algorithm) -> jws.JWSRegistry:
    registry = jws.JWSRegistry(algorithms=[algorithm])
    # The library's own bound has no room for an RSA key; the whole token's length is bounded before this.
    registry.max_header_length = MAX_TOKEN_OCTETS
    return registry


def _embedded_key(jwk: object) -> VerificationKey:
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kty"), str):
        raise TokenMalformed("the token's header has no key")
    public = _PUBLIC_MEMBERS.get(jwk["kty"])
    # A private key in a header is one that its owner has lost; a symmetric one never was anybody's alone.
    if public is None or not public <= jwk.keys() <= public | _IDLE_MEMBERS:
        raise TokenMalformed("the key in the token's header is not a public key in the accepted form")
    if not all(isinstance(jwk[name], str) for name in public):
        raise TokenMalformed("the key in the token's header is not a public key in the accepted form")
    numbers = {name: decode_base64url(jwk[name].encode()) for name in public - {"kty", "crv"}}
    if "n" in numbers and not 2048 <= int.from_bytes(numbers["n"], "big").bit_length() <= _MAX_RSA_BITS:
        raise TokenUntrusted(f"RSA keys in headers have 2048 to {_MAX_RSA_BITS} bits")
    if "e" in numbers and int.from_bytes(numbers["e"], "big").bit_length() > _MAX_EXPONENT_BITS:
        raise TokenUntrusted(f"RSA keys in headers have exponents of at most {_MAX_EXPONENT_BITS} bits")
    key, algorithm = _import({name: jwk[name] for name in public})
    return VerificationKey(key.thumbprint(), algorithm, key)


def peek_claims(token: str, *, max_octets: int = MAX_TOKEN_OCTETS) -> JsonObject:
    """Claims of a token that nobody has verified: only to find out whose keys to verify it with.

    :raises TokenMalformed: not in the strict form.
    """
    return parse_json_object(_split(token, max_octets).payload)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A token taken apart."""

    header: JsonObject
    payload: bytes
    signed: bytes
    """What the signature is over: the first two segments and the dot between them."""
    signature: bytes


def _split(token: str, max_octets: int) -> _Parts:
    if len(token) > max_octets:
        raise TokenMalformed(f"the token is longer than {max_octets} octets")
    try:
        raw = token.encode("ascii")
    except UnicodeEncodeError as error:
        raise TokenMalformed("the token is not ASCII") from error
    segments = raw.split(b".")
    if len(segments) != 3:
        raise TokenMalformed("the token does not have three segments")
    header, payload, signature = (decode_base64url(segment) for segment in segments)
    return _Parts(parse_json_object(header), payload, raw.rpartition(b".")[0], signature)


def _check_header(header: JsonObject, types: Collection[str | None], *, kid_required: bool) -> None:
    unknown = header.keys() - _HEADER_MEMBERS
    if unknown:
        raise TokenMalformed("the token's header has members that are not accepted")
    if header.get("alg") not in ALGORITHMS:
        raise TokenUntrusted("the token's algorithm is not accepted")
    kid = header.get("kid")
    if kid is None:
        if kid_required:
            raise TokenMalformed("the token's header lacks kid")
    elif not isinstance(kid, str) or not _KID.match(kid):
        raise TokenMalformed("the token's kid is not in the accepted form")
    typ = header.get("typ")
    if typ is not None and not isinstance(typ, str):
        raise TokenMalformed("the token's typ is not a string")
    if _normal_type(typ) not in {_normal_type(accepted) for accepted in types}:
        raise TokenUntrusted("the token is of another type")


def _normal_type(typ: str | None) -> str | None:
    return None if typ is None else typ.lower().removeprefix("application/")


def decode_base64url(segment: bytes) -> bytes:
    """Decode canonical base64url without padding (RFC 7515 2).

    :raises TokenMalformed: padding, another alphabet, or bits left over that are not zero.
    """
    left = len(segment) % 4
    if not _SEGMENT.match(segment) or left == 1:
        raise TokenMalformed("not base64url without padding")
    # Of the alphabet and of a length that there is, so that only the last character can hold bits that are no octet's.
    if left and segment[-1] not in _LAST[left]:
        raise TokenMalformed("not canonical base64url")
    return binascii.a2b_base64(segment.translate(_TO_BASE64) + b"=" * (-left % 4))


def encode_base64url(data: bytes) -> str:
    """Encode base64url without padding (RFC 7515 2)."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_BASE64URL).decode()


def parse_json_object(data: bytes | str) -> JsonObject:
    """Parse a JSON object as strictly as :func:`parse_json` does.

    :raises TokenMalformed: anything else, another value at the top included.
    """
    value = parse_json(data)
    if not isinstance(value, dict):
        raise TokenMalformed("not a JSON object")
    return value


def parse_json(data: bytes | str) -> Any:
    """Parse any JSON value strictly: UTF-8, no duplicate member, no NaN or Infinity.

    Texts are such as every database, log and certificate can take: no lone surrogate (RFC 7493 2.1), no NUL.

    :raises TokenMalformed: anything else.
    """
    try:
        text = data if isinstance(data, str) else str(data, "utf-8")
        if not text.isascii():
            # Of a text that nobody decoded from UTF-8.
            text.encode("utf-8")
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise TokenMalformed("not JSON in the strict form") from error
    # Neither comes in but by an escape: UTF-8 has no surrogates, and JSON's strings no control characters.
    if "\\u" in text:
        _check_texts(value)
    return value


def _check_texts(value: Any) -> None:
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and _NO_TEXT.search(item):
            raise TokenMalformed("a text has a character that cannot be stored")


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate member")
    return value


def _no_constant(_name: str) -> None:
    raise ValueError("not a JSON number")


# Once: json.loads with hooks makes one for each text, which takes as long as to read a short one.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant)


__all__ = [
    "ALGORITHMS",
    "MAX_TOKEN_OCTETS",
    "Algorithm",
    "JoseError",
    "SigningKey",
    "VerificationKey",
    "decode_base64url",
    "encode_base64url",
    "export_signing_key",
    "generate_signing_key",
    "import_signing_key",
    "import_verification_key",
    "parse_json",
    "parse_json_object",
    "peek_claims",
    "sign_compact",
    "sign_embedded",
    "sign_payload",
    "verify_compact",
    "verify_embedded",
    "verify_issued",
]
