"""Proofs of possession at the application layer: DPoP (RFC 9449).  Pure.

A proof is a JWT that a client signs for one request with a key of its own, which stands in the proof's header.  A token
that is bound to that key's thumbprint (``cnf.jkt``) is worth nothing without one: whoever saw the token go by, a proxy,
a log, a resource server, cannot use it elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from foundation import claims as read
from foundation.clock import epoch
from foundation.errors import TokenClaimsInvalid, TokenExpired
from foundation.jose import SigningKey, encode_base64url, sign_embedded, verify_embedded

PROOF_TYPE: Final = "dpop+jwt"
MAX_PROOF_OCTETS: Final = 4096
"""Room for an RSA key of 4096 bits, its signature and the longest URI and identifier."""
PROOF_SECONDS: Final = 60
"""How long after ``iat`` a proof is taken: bounds how long a ``jti`` must be remembered."""
LEEWAY_SECONDS: Final = 5
"""How far the client's clock may be ahead of ours."""
_MAX_URI: Final = 1024
_MAX_JTI: Final = 256
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class DpopProof:
    """What a verified proof says."""

    jkt: str
    """RFC 7638 thumbprint of the key that signed it."""
    jti: str
    iat: int
    """NumericDate."""

    @property
    def use(self) -> str:
        """What must be remembered so that the proof is not used again: hexadecimal, of key and ``jti``.

        Not of the proof's octets: an ECDSA signature can be written in two ways, both of which verify.
        """
        return hashlib.sha256(f"{self.jkt}.{self.jti}".encode()).hexdigest()

    @property
    def memorable_until(self) -> int:
        """NumericDate of the first second in which it is refused for its age, and need not be remembered."""
        return self.iat + PROOF_SECONDS + 1


def verify_proof(
    proof: str, *, method: str, uris: Collection[str], now: datetime, token: str | None = None
) -> DpopProof:
    """Verify a proof (RFC 9449 4.3); that it is new, and whose key it is, is the caller's to establish.

    No nonces are given out (RFC 9449 8), so a ``nonce`` says nothing: single use and a minute's life do their work.

    :param method: of the request, in capitals.
    :param uris: under which the request may have been sent; the proof names one of them.
    :param token: the access token that came with the proof; ``None`` where there is none, as at a token endpoint.
    :raises JoseError: the subclass that says what the step which failed found.
    """
    # 1. Form, type, an asymmetric algorithm, and the signature by the key in the header, which is a public one.
    key, claims = verify_embedded(proof, PROOF_TYPE, max_octets=MAX_PROOF_OCTETS)
    # 2. For this request.
    if read.text(claims, "htm", max_length=16) != method:
        raise TokenClaimsInvalid("the proof is for another method")
    if _normal(read.text(claims, "htu", max_length=_MAX_URI)) not in {_normal(uri) for uri in uris}:
        raise TokenClaimsInvalid("the proof is for another URI")
    # 3. For this token.
    if token is not None:
        _check_token_hash(claims, token)
    # 4. Made now.
    iat = read.numeric_date(claims, "iat")
    read.check_issued(iat, now, leeway_seconds=LEEWAY_SECONDS)
    if epoch(now) > iat + PROOF_SECONDS:
        raise TokenExpired("the proof is stale")
    # 5. Something to recognise it by.
    return DpopProof(key.kid, read.text(claims, "jti", max_length=_MAX_JTI), iat)


def token_hash(token: str) -> str:
    """``ath``: the SHA-256 of an access token's octets (RFC 9449 4.2)."""
    return encode_base64url(hashlib.sha256(token.encode()).digest())


def make_proof(
    key: SigningKey, *, method: str, uri: str, jti: str, now: datetime, token: str | None = None
) -> str:
    """A proof, as a client makes it."""
    claims: dict[str, Any] = {"jti": jti, "htm": method, "htu": uri, "iat": epoch(now)}
    if token is not None:
        claims["ath"] = token_hash(token)
    return sign_embedded(claims, key, PROOF_TYPE)


def _check_token_hash(claims: dict[str, Any], token: str) -> None:
    stated = read.text(claims, "ath", max_length=64)
    if not hmac.compare_digest(stated.encode("utf-8", "surrogatepass"), token_hash(token).encode()):
        raise TokenClaimsInvalid("the proof is for another token")


def _normal(uri: str) -> str:
    """Scheme and host in small letters, no default port, a path (RFC 9449 4.3, RFC 3986 6.2.2 and 6.2.3).

    :raises TokenClaimsInvalid: not an absolute http or https URI, or one with user, query or fragment (RFC 9449 4.2).
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise TokenClaimsInvalid("htu is not a URI") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or {"@", "?", "#"} & set(uri) or not uri.isascii():
        raise TokenClaimsInvalid("htu is not a URI of http or https without user, query and fragment")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = host if port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{host}:{port}"
    return f"{parts.scheme}://{place}{parts.path or '/'}"
