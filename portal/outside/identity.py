"""Who signed in: the ID token, verified (OpenID Connect Core 3.1.3.7)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any, Final

from clients.csc import Tokens, Transport
from foundation.errors import JoseError
from foundation.jose import VerificationKey, encode_base64url, import_verification_key, verify_compact
from portal.errors import IdTokenInvalid

LEEWAY_SECONDS: Final = 60
_TYPES: Final = ("JWT", None)
_MAX_SUBJECT: Final = 255
"""Characters of ``sub`` (OpenID Connect Core 2)."""
_HALF_HASHES: Final = {"ES256": "sha256", "PS256": "sha256", "Ed25519": "sha512"}
"""Hash function of ``at_hash`` by the algorithm that signs."""


def keys_at(transport: Transport, jwks_uri: str) -> tuple[VerificationKey, ...]:
    """The keys that an issuer publishes (RFC 7517 5); those of a kind that we do not know are left out.

    :raises ClientError: they cannot be fetched.
    """
    found = transport.get(jwks_uri).json().get("keys")
    keys = []
    for each in found if isinstance(found, list) else []:
        try:
            keys.append(import_verification_key(each))
        except (JoseError, TypeError, AttributeError):
            continue
    return tuple(keys)


def subject_of(  # noqa: PLR0917 - what the standard compares
    tokens: Tokens, keys: Iterable[VerificationKey], issuer: str, client_id: str, nonce: str, now: int
) -> str:
    """``sub`` of a verified ID token.

    1. A key of the issuer's signed it.
    2. ``iss`` is the issuer.
    3. ``aud`` is this client and nobody else, and so is ``azp`` where there is one.
    4. ``exp`` has not come, ``iat`` has.
    5. ``nonce`` is the request's.
    6. ``at_hash``, where there is one, is the access token's (3.1.3.8).

    :raises IdTokenInvalid: one of them does not hold; there is no ID token; or ``sub`` is none.
    """
    if tokens.id_token is None:
        raise IdTokenInvalid("the token response has no ID token")
    # 1.
    keys = tuple(keys)
    try:
        claims = verify_compact(tokens.id_token, keys, _TYPES)
    except JoseError as error:
        raise IdTokenInvalid(f"the ID token does not verify ({error})") from error
    # 2.
    if claims.get("iss") != issuer:
        raise IdTokenInvalid("the ID token is another issuer's")
    # 3.
    if claims.get("aud") not in (client_id, [client_id]) or claims.get("azp", client_id) != client_id:
        raise IdTokenInvalid("the ID token is for somebody else")
    # 4.
    if _time(claims, "exp") + LEEWAY_SECONDS <= now or _time(claims, "iat") - LEEWAY_SECONDS > now:
        raise IdTokenInvalid("the ID token has expired, or is of the future")
    # 5.
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise IdTokenInvalid("the ID token answers another request")
    # 6.
    if "at_hash" in claims and claims["at_hash"] not in _half_hashes(tokens.access_token, keys):
        raise IdTokenInvalid("the ID token is about another access token")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT:
        raise IdTokenInvalid("the ID token names nobody")
    return subject


def _time(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise IdTokenInvalid(f"the ID token has no {name}")
    return value


def _half_hashes(access_token: str, keys: Iterable[VerificationKey]) -> set[str]:
    """What ``at_hash`` may be: which of the keys signed is not told apart, all of them are the issuer's."""
    names = {_HALF_HASHES.get(key.algorithm, "sha256") for key in keys}
    digests = [hashlib.new(name, access_token.encode("ascii")).digest() for name in names]
    return {encode_base64url(digest[: len(digest) // 2]) for digest in digests}
