"""Recovery codes: look-up secrets (NIST SP 800-63B 5.1.2, r4 3.1.2) for whoever lost what they sign in with.  Pure.

A code has 80 random bits in the 32 letters and digits that nobody takes for one another, so it cannot be guessed and
need not be slow to verify: what is stored is an HMAC under a key outside the database, over the account and the
authenticator too (OTP-06).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Final

CODES: Final = 10
LOW: Final = 3
"""So many left or fewer: the person is asked to make new ones."""
_OCTETS: Final = 10
_GROUP: Final = 4
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without I, L, O and U: what is read as one of them is the digit that it looks like."""
_READ: Final = str.maketrans({"O": "0", "I": "1", "L": "1", " ": None, "-": None, "\u2011": None, "\u2013": None})
_CODE: Final = re.compile(rf"[{_ALPHABET}]{{16}}\Z", re.ASCII)


def make(random: Callable[[int], bytes]) -> tuple[str, ...]:
    """Ten different codes as people are shown them, such as ``7K3M-Q0ZD-9WXA-4TNB``.

    :param random: octets from the operating system's generator.
    """
    made: dict[str, None] = {}
    while len(made) < CODES:
        made[_written(int.from_bytes(random(_OCTETS), "big"))] = None
    return tuple(made)


def read(typed: str) -> str | None:
    """A code as it was typed, in either case, with or without hyphens; None: it is none."""
    code = typed.strip().upper().translate(_READ)
    return code if _CODE.match(code) else None


def digest(key: bytes, account_id: str, authenticator_id: str, code: str) -> str:
    """What is stored of a code: hexadecimal HMAC-SHA-256.

    :param key: 32 octets, for this purpose only.
    :param code: what :func:`read` returned.
    """
    message = json.dumps(["recovery code", account_id, authenticator_id, code], separators=(",", ":")).encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _written(value: int) -> str:
    digits = [_ALPHABET[value >> 5 * place & 31] for place in reversed(range(_OCTETS * 8 // 5))]
    return "-".join("".join(digits[at : at + _GROUP]) for at in range(0, len(digits), _GROUP))
