"""Sealing: nothing that a person brought lies in the database in clear.

AES-256-GCM (NIST SP 800-38D) under keys derived from the key file by HKDF-SHA-256 (RFC 5869), one for each purpose.
What a value is and whose goes in as associated data, so that a row's value opens in that row only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from foundation.files import read_secret
from portal.errors import KeyFileUnusable, SealBroken

_NONCE_OCTETS: Final = 12
_KEY_OCTETS: Final = 32


class Sealer:
    """Seals and opens; makes the keyed hashes that stand where a value itself must not.

    :param secret: at least 32 octets.
    :param random: so many random octets.
    """

    def __init__(self, secret: bytes, random: Callable[[int], bytes]) -> None:
        if len(secret) < _KEY_OCTETS:
            raise KeyFileUnusable(f"the sealing key has fewer than {_KEY_OCTETS} octets")
        self._cipher = AESGCM(_derive(secret, b"privyseal portal: sealing"))
        self._marks = _derive(secret, b"privyseal portal: marks")
        self._random = random

    @classmethod
    def from_file(cls, path: Path, random: Callable[[int], bytes]) -> Sealer:
        """:raises SecretFileError: :raises KeyFileUnusable: the file cannot be used."""
        return cls(read_secret(path), random)

    def seal(self, value: bytes, *about: str) -> bytes:
        """Nonce, ciphertext and tag.

        :param about: what the value is and whose; needed again to open it.
        """
        nonce = self._random(_NONCE_OCTETS)
        return nonce + self._cipher.encrypt(nonce, value, _associated(about))

    def open(self, sealed: bytes, *about: str) -> bytes:
        """:raises SealBroken: sealed with another key or about something else, or changed."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:], _associated(about))
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"a sealed value does not open ({about[0]})") from error

    def seal_json(self, value: Any, *about: str) -> bytes:
        """:meth:`seal` of a value's JSON."""
        return self.seal(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), *about)

    def open_json(self, sealed: bytes, *about: str) -> Any:
        """Back from :meth:`seal_json`."""
        return json.loads(self.open(sealed, *about))

    def mark(self, purpose: str, text: str) -> str:
        """HMAC-SHA-256 in hexadecimal: the same text has the same mark, and nobody without the key can make it."""
        return hmac.new(self._marks, _associated((purpose, text)), hashlib.sha256).hexdigest()


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY_OCTETS, salt=None, info=purpose).derive(secret)


def _associated(parts: tuple[str, ...]) -> bytes:
    """No two lists of texts give the same octets."""
    return json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()
