"""What is kept of a secret that is random enough: a plain hash."""

from __future__ import annotations

import hashlib


def hash_token(token: str) -> str:
    """SHA-256, in hexadecimal, of a token, handle or code of 128 random bits or more.

    :param token: as it came: any text, a lone surrogate too, and is then of none.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
