"""What the jobs' database holds, it holds encrypted: alone it tells neither what was signed nor for whom.

Each job has a key of its own, by HKDF (RFC 5869) with SHA-256 from the web tier's key file and the job's identifier;
AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits.  What a box is for, and whose, is authenticated with it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from foundation.errors import SettingsError
from foundation.files import read_secret
from signing.jobs.errors import BoxBroken

MIN_KEY_OCTETS: Final = 32
_NONCE_OCTETS: Final = 12
_KEY_OCTETS: Final = 32


class JobSeals:
    """Closes and opens what belongs to jobs."""

    def __init__(self, master: bytes, random: Callable[[int], bytes]) -> None:
        """:param random: octets from the operating system's generator."""
        self._master = master
        self._random = random
        self._names = self._derived("names")

    def close(self, job: str, owner: str, purpose: str, data: bytes) -> bytes:
        """Nonce, ciphertext and tag.

        :param owner: by :meth:`name`: whoever writes in the database gives nobody's job to somebody else.
        """
        nonce = self._random(_NONCE_OCTETS)
        return nonce + AESGCM(self._derived(f"job {job}")).encrypt(nonce, data, _about(job, owner, purpose))

    def open(self, job: str, owner: str, purpose: str, box: bytes) -> bytes:
        """What :meth:`close` was given.

        :raises BoxBroken: it was altered, or is another job's or owner's or for something else.
        """
        try:
            key = AESGCM(self._derived(f"job {job}"))
            return key.decrypt(box[:_NONCE_OCTETS], box[_NONCE_OCTETS:], _about(job, owner, purpose))
        except (InvalidTag, ValueError) as error:
            raise BoxBroken("a job in the database is not as this program wrote it") from error

    def name(self, *parts: str) -> str:
        """A stand-in for a client, or a client's person, by which a row is found and nobody is recognised."""
        return hmac.new(self._names, json.dumps(parts).encode(), hashlib.sha256).hexdigest()

    def _derived(self, purpose: str) -> bytes:
        info = f"privyseal jobs 1: {purpose}".encode()
        return HKDF(hashes.SHA256(), _KEY_OCTETS, salt=None, info=info).derive(self._master)


def read_key(path: Path) -> bytes:
    """The key file's octets.

    :raises SecretFileError: it cannot be read, or others can.
    :raises SettingsError: it is too short.
    """
    key = read_secret(path)
    if len(key) < MIN_KEY_OCTETS:
        raise SettingsError((f"{path}: has fewer than {MIN_KEY_OCTETS} octets",))
    return key


def _about(job: str, owner: str, purpose: str) -> bytes:
    return json.dumps(["privyseal-job-1", job, owner, purpose], separators=(",", ":")).encode()
