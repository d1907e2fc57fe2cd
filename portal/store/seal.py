"""Sealing: nothing that a person brought lies in the database in clear.

AES-256-GCM (NIST SP 800-38D) under keys derived from the key file by HKDF-SHA-256 (RFC 5869), one for each purpose.
What a value is and whose goes in as associated data, so that a row's value opens in that row only.  After an exchange
of the key the former ones open what they sealed, and seal nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portal.errors import KeyFileUnusable, SealBroken

_NONCE_OCTETS: Final = 12
_KEY_OCTETS: Final = 32


class Sealer:
    """Seals and opens; makes the keyed hashes that stand where a value itself must not.

    :param secret: at least 32 octets.
    :param random: so many random octets.
    :param former: secrets from before, the newest first.
    :raises KeyFileUnusable: one is shorter than that.
    """

    def __init__(self, secret: bytes, random: Callable[[int], bytes], former: Sequence[bytes] = ()) -> None:
        every = (secret, *former)
        if any(len(each) < _KEY_OCTETS for each in every):
            raise KeyFileUnusable(f"the sealing key has fewer than {_KEY_OCTETS} octets")
        self._ciphers = tuple(AESGCM(_derive(each, b"privyseal portal: sealing")) for each in every)
        self._marks = tuple(_derive(each, b"privyseal portal: marks") for each in every)
        self._random = random

    def seal(self, value: bytes, *about: str) -> bytes:
        """Nonce, ciphertext and tag.

        :param about: what the value is and whose; needed again to open it.
        """
        nonce = self._random(_NONCE_OCTETS)
        return nonce + self._ciphers[0].encrypt(nonce, value, _associated(about))

    def open(self, sealed: bytes, *about: str) -> bytes:
        """:raises SealBroken: sealed with another key or about something else, or changed."""
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:], _associated(about))
            except (InvalidTag, ValueError):
                continue
        raise SealBroken(f"a sealed value does not open ({about[0]})")

    def seal_json(self, value: Any, *about: str) -> bytes:
        """:meth:`seal` of a value's JSON."""
        return self.seal(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), *about)

    def open_json(self, sealed: bytes, *about: str) -> Any:
        """Back from :meth:`seal_json`."""
        return json.loads(self.open(sealed, *about))

    def mark(self, purpose: str, text: str) -> str:
        """HMAC-SHA-256 in hexadecimal: the same text has the same mark, and nobody without the key can make it."""
        return self.marks(purpose, text)[0]

    def marks(self, purpose: str, text: str) -> tuple[str, ...]:
        """:meth:`mark`, and behind it what it was under the former keys, the newest first."""
        told = _associated((purpose, text))
        return tuple(hmac.new(each, told, hashlib.sha256).hexdigest() for each in self._marks)


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY_OCTETS, salt=None, info=purpose).derive(secret)


def _associated(parts: tuple[str, ...]) -> bytes:
    """No two lists of texts give the same octets."""
    return json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()
