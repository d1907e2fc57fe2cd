"""Proof key for code exchange (RFC 7636), S256 only and for every client (RFC 9700 2.1.1)."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from foundation.jose import encode_base64url
from idp.oidc.errors import GrantInvalid, RequestInvalid

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")
"""base64url of a SHA-256 value is 43 characters; RFC 7636 4.2 allows more for methods that are not accepted here."""
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z")
"""RFC 7636 4.1."""


def check_challenge(challenge: str | None, method: str | None) -> str:
    """The challenge of an authorization request.

    :raises RequestInvalid: none, not the form of a SHA-256 value, or another method; without a method the default
        of the standard is ``plain``, which is refused too.
    """
    if challenge is None:
        raise RequestInvalid("Missing parameter code_challenge")
    if method != "S256":
        raise RequestInvalid("code_challenge_method must be S256")
    if not _CHALLENGE.match(challenge):
        raise RequestInvalid("Invalid parameter code_challenge")
    return challenge


def check_verifier(verifier: str | None, challenge: str) -> None:
    """The verifier of a token request fits the challenge.

    :raises RequestInvalid: none, or not 43 to 128 unreserved characters.
    :raises GrantInvalid: of another challenge (RFC 7636 4.6).
    """
    if verifier is None:
        raise RequestInvalid("Missing parameter code_verifier")
    if not _VERIFIER.match(verifier):
        raise RequestInvalid("Invalid parameter code_verifier")
    computed = encode_base64url(hashlib.sha256(verifier.encode("ascii")).digest())
    if not hmac.compare_digest(computed, challenge):
        raise GrantInvalid("code_verifier does not match")
