"""``account_token``: an application's word, under its client secret, for which account is to sign in (CSC API 8.4.1).

A MAC under SHA-256 of the secret.  Of secrets only a salted hash is kept here, so a token can be verified where the
secret itself is at hand: in a pushed request of a client that authenticates with it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from foundation import claims as read
from foundation.clock import epoch
from foundation.errors import JoseError
from foundation.jose import decode_base64url, parse_json_object
from idp.oidc.assertion import AssertionUse
from idp.oidc.errors import RequestInvalid

MAX_AGE_SECONDS: Final = 300
LEEWAY_SECONDS: Final = 60
"""How far the application's clock may be off."""
_INVALID: Final = "Invalid parameter account_token"


@dataclass(frozen=True, slots=True)
class AccountToken:
    """A token that was verified."""

    subject: str
    """The account that has to be the one signed in: ``sub`` of our tokens."""
    use: AssertionUse
    """To be remembered, so that it is good once."""


def read_account_token(token: str, secret: str, client_id: str, now: datetime) -> AccountToken:
    """Verify a token: HS256 under SHA-256 of the client's secret, by this client, fresh.

    :raises RequestInvalid: it is anything else.
    """
    try:
        return _read(token, secret, client_id, now)
    except (JoseError, UnicodeEncodeError) as error:
        raise RequestInvalid(_INVALID) from error


def _read(token: str, secret: str, client_id: str, now: datetime) -> AccountToken:
    # 1. The form and the algorithm, which is not the token's to choose.
    parts = token.encode("ascii").split(b".")
    if len(parts) != 3 or parse_json_object(decode_base64url(parts[0])) != {"typ": "JWT", "alg": "HS256"}:
        raise RequestInvalid(_INVALID)
    # 2. Who made it.
    key = hashlib.sha256(secret.encode()).digest()
    mac = hmac.digest(key, parts[0] + b"." + parts[1], "sha256")
    if not hmac.compare_digest(mac, decode_base64url(parts[2])):
        raise RequestInvalid(_INVALID)
    # 3. What it says.
    return _judged(parse_json_object(decode_base64url(parts[1])), client_id, epoch(now))


def _judged(claims: Mapping[str, Any], client_id: str, now: int) -> AccountToken:
    read.check_members(claims, {"sub", "iat", "jti", "azp"}, {"iss"})
    issued = read.numeric_date(claims, "iat")
    fresh = now - MAX_AGE_SECONDS <= issued <= now + LEEWAY_SECONDS
    if read.text(claims, "azp", max_length=128) != client_id or not fresh:
        raise RequestInvalid(_INVALID)
    # Assertions have identifiers of the client's choice as well: what is remembered here is none of theirs.
    jti = f"account_token {read.text(claims, 'jti', max_length=255)}"
    use = AssertionUse(client_id, jti, issued + MAX_AGE_SECONDS + 1)
    return AccountToken(read.text(claims, "sub", max_length=255), use)
