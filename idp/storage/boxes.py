"""Secrets that have to be read again, encrypted: whoever has the database and no key has no seed.

AES-256-GCM (NIST SP 800-38D) under a key derived from the master secret, with a random nonce of 96 bits; what the box
is for is authenticated with it, so a box that was moved to another row does not open.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from foundation.errors import JoseError
from foundation.jose import decode_base64url, encode_base64url
from idp.errors import BoxBroken

_KEY: Final = "secret boxes"
_NONCE_OCTETS: Final = 12


def close(secret: Callable[[str], bytes], random: Callable[[int], bytes], about: tuple[str, ...], data: bytes) -> str:
    """Encrypt a secret.

    :param secret: derives 32 octets for a purpose, as :meth:`idp.storage.keys.KeyStore.secret` does.
    :param random: octets from the operating system's generator.
    :param about: what it belongs to, such as table, row, account and kind.
    :returns: base64url of nonce, ciphertext and tag.
    """
    nonce = random(_NONCE_OCTETS)
    return encode_base64url(nonce + AESGCM(secret(_KEY)).encrypt(nonce, data, _associated(about)))


def unlock(secret: Callable[[str], bytes], about: tuple[str, ...], box: str | None) -> bytes:
    """Decrypt what :func:`close` returned.

    :raises BoxBroken: it was altered, belongs to something else, or there is none.
    """
    try:
        raw = decode_base64url((box or "").encode())
        return AESGCM(secret(_KEY)).decrypt(raw[:_NONCE_OCTETS], raw[_NONCE_OCTETS:], _associated(about))
    except (InvalidTag, JoseError, ValueError) as error:
        raise BoxBroken("a secret in the database is not as this program wrote it") from error


def _associated(about: tuple[str, ...]) -> bytes:
    return json.dumps(["privyseal-box-1", *about], separators=(",", ":")).encode()
