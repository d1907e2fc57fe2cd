"""The claims of the tokens for relying parties.  SADs are made in ``idp.activation`` and share nothing with these."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from contract.confirmation import Confirmation
from foundation import claims as read
from foundation.clock import epoch
from foundation.errors import JoseError
from foundation.jose import Algorithm, VerificationKey, encode_base64url, verify_compact
from idp.authn.approval import Approval
from idp.oidc.backchannel_logout import sid_of
from idp.oidc.errors import RequestInvalid

ACCESS_TOKEN_TYPE: Final = "at+jwt"
"""RFC 9068 2.1."""
ID_TOKEN_TYPE: Final = "JWT"
MAX_ID_TOKEN_OCTETS: Final = 8192


def id_token_claims(
    approval: Approval,
    *,
    issuer: str,
    nonce: str | None,
    access_token: str,
    algorithm: Algorithm,
    now: datetime,
    lifetime_seconds: int,
) -> dict[str, Any]:
    """OIDC Core 2 and 3.1.3.6; ``sid`` is OIDC Front-Channel Logout 3's."""
    iat = epoch(now)
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": approval.account_id,
        "aud": approval.client_id,
        "exp": iat + lifetime_seconds,
        "iat": iat,
        "auth_time": epoch(approval.auth_time),
        "acr": approval.acr,
        "amr": list(approval.amr),
        "sid": sid_of(approval.session_id, approval.client_id),
        "at_hash": half_hash(access_token, algorithm),
    }
    if nonce is not None:
        claims["nonce"] = nonce
    return claims


def half_hash(value: str, algorithm: Algorithm) -> str:
    """``at_hash`` (OIDC Core 3.1.3.6): the left half of the hash that the signature's algorithm uses."""
    digest = hashlib.sha512(value.encode()) if algorithm == "Ed25519" else hashlib.sha256(value.encode())
    return encode_base64url(digest.digest()[: digest.digest_size // 2])


def access_token_claims(
    *,
    issuer: str,
    audience: str,
    client_id: str,
    jti: str,
    scopes: Sequence[str],
    now: datetime,
    lifetime_seconds: int,
    subject: str,
    approval: Approval | None,
    actor: str | None = None,
    confirmation: Confirmation | None = None,
) -> dict[str, Any]:
    """RFC 9068 2.2.

    :param subject: account id; the client id itself if no person stands behind the token.
    :param approval: None if nobody signed in for this very token: ``auth_time``, ``acr``, ``amr``, ``sid`` are absent.
    :param confirmation: the key that whoever uses the token has to show (RFC 9449 6.1).
    :param actor: who acts for the subject, if it is not the client (RFC 8693 4.1, ``act``).
    """
    iat = epoch(now)
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "client_id": client_id,
        "iat": iat,
        "exp": iat + lifetime_seconds,
        "jti": jti,
        "scope": " ".join(scopes),
    }
    if approval is not None:
        claims["auth_time"] = epoch(approval.auth_time)
        claims["acr"] = approval.acr
        claims["amr"] = list(approval.amr)
        if approval.session_id:
            claims["sid"] = sid_of(approval.session_id, client_id)
    if actor is not None:
        claims["act"] = {"sub": actor}
    if confirmation is not None:
        claims["cnf"] = confirmation.to_json()
    return claims


def read_id_token_hint(
    token: str, keys: Sequence[VerificationKey], *, issuer: str, client_id: str | None
) -> Mapping[str, Any]:
    """Claims of an ID token of ours given back as a hint.  It may have expired (OIDC RP-Initiated Logout 2).

    :param client_id: whose it must be; None accepts any client's.
    :raises RequestInvalid: not an ID token of this issuer for the client.
    """
    try:
        claims = verify_compact(token, keys, {ID_TOKEN_TYPE}, max_octets=MAX_ID_TOKEN_OCTETS)
        names = {name: read.text(claims, name) for name in ("iss", "aud", "sub", "sid")}
    except JoseError as error:
        raise RequestInvalid("Invalid parameter id_token_hint") from error
    if names["iss"] != issuer or (client_id is not None and names["aud"] != client_id):
        raise RequestInvalid("Invalid parameter id_token_hint")
    return names
