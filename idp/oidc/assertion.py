"""Client authentication by a signed assertion: ``private_key_jwt`` (OIDC Core 9, RFC 7523 2.2 and 3)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from foundation import claims as read
from foundation.clock import epoch
from foundation.errors import JoseError
from foundation.jose import peek_claims, verify_compact
from idp.oidc.client import Client
from idp.oidc.errors import ClientAuthenticationFailed

MAX_ASSERTION_OCTETS: Final = 4096
MAX_SECONDS_AHEAD: Final = 300
"""How far ``exp`` may lie ahead: bounds how long a ``jti`` must be remembered."""
LEEWAY_SECONDS: Final = 10
_TYPES: Final = frozenset({None, "JWT", "client-authentication+jwt"})
"""RFC 7523 names no type; draft-ietf-oauth-rfc7523bis does.  A SAD, an order or an access token has another."""


@dataclass(frozen=True, slots=True)
class AssertionUse:
    """What must be remembered of an assertion so that it is not used again."""

    client_id: str
    jti: str
    exp: int


def stated_client_id(assertion: str) -> str:
    """Whose assertion it says it is; nothing is verified yet.

    :raises ClientAuthenticationFailed: not the form of an assertion.
    """
    try:
        return read.text(peek_claims(assertion, max_octets=MAX_ASSERTION_OCTETS), "sub", max_length=128)
    except JoseError as error:
        raise ClientAuthenticationFailed(f"assertion: {error}") from error


def verify_assertion(assertion: str, client: Client, audiences: Collection[str], now: datetime) -> AssertionUse:
    """Verify an assertion; that its ``jti`` is new is the caller's to establish.

    :param audiences: the issuer identifier and the token endpoint, compared exactly.
    :raises ClientAuthenticationFailed: any step fails.
    """
    try:
        return _verify(assertion, client, audiences, now)
    except JoseError as error:
        raise ClientAuthenticationFailed(f"assertion: {error}") from error


def _verify(assertion: str, client: Client, audiences: Collection[str], now: datetime) -> AssertionUse:
    # 1. Registered for this method; a client with a secret cannot be impersonated by whoever plants a key.
    if client.registration.auth_method != "private_key_jwt":
        raise ClientAuthenticationFailed("assertion from a client registered for another method")
    # 2. Signature by a registered key, whose kind fixes the algorithm.
    claims = verify_compact(assertion, client.keys, _TYPES, max_octets=MAX_ASSERTION_OCTETS, kid_required=False)
    # 3. The client speaks of itself.
    if read.text(claims, "iss") != client.client_id or read.text(claims, "sub") != client.client_id:
        raise ClientAuthenticationFailed("assertion: iss and sub are not the client")
    # 4. Addressed to this server alone: one string.  A list could name another server that then replays it here.
    if read.text(claims, "aud") not in audiences:
        raise ClientAuthenticationFailed("assertion: aud is not this server")
    # 5. Time.
    exp = _check_times(claims, now)
    # 6. Something to recognise it by.
    jti = read.text(claims, "jti", max_length=256)
    if not jti.isascii():
        raise ClientAuthenticationFailed("assertion: jti is not ASCII")
    return AssertionUse(client.client_id, jti, exp)


def _check_times(claims: dict[str, Any], now: datetime) -> int:
    exp = read.numeric_date(claims, "exp")
    read.check_not_expired(exp, now)
    if exp > epoch(now) + MAX_SECONDS_AHEAD:
        raise ClientAuthenticationFailed("assertion: exp is too far ahead")
    read.check_issued(read.numeric_date(claims, "iat"), now, leeway_seconds=LEEWAY_SECONDS)
    if "nbf" in claims:
        read.check_issued(read.numeric_date(claims, "nbf"), now, leeway_seconds=LEEWAY_SECONDS)
    return exp
