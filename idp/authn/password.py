"""Passwords: argon2id (RFC 9106), the same work whether or not there is such an account."""

from __future__ import annotations

import unicodedata
from typing import Final

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from idp.errors import InputRefused
from idp.settings import PasswordSettings

MAX_LENGTH: Final = 256
"""Longer ones are refused unhashed: hashing is work that a stranger may ask for."""


def normalise(password: str) -> str:
    """NFC (NIST SP 800-63B r4 3.1.1.2): the same characters are the same password on every keyboard."""
    return unicodedata.normalize("NFC", password)


class Passwords:
    """Hashes and verifies with one set of costs; safe to share between threads."""

    def __init__(self, settings: PasswordSettings) -> None:
        self._settings = settings
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.iterations, memory_cost=settings.memory_kib, parallelism=settings.parallelism
        )
        # Verified in place of the hash of an account that does not exist, so that the work is the same (OTP-11).
        self._nobody = self._hasher.hash("a password that nobody has")

    def hash(self, password: str) -> str:
        """The encoded hash of a new password.

        :raises InputRefused: too short, too long, or with control characters.
        """
        text = normalise(password)
        if not self._settings.min_length <= len(text) <= MAX_LENGTH:
            raise InputRefused(f"a password has {self._settings.min_length} to {MAX_LENGTH} characters")
        if any(unicodedata.category(character) == "Cc" for character in text):
            raise InputRefused("a password has no control characters")
        return self._hasher.hash(text)

    def verify(self, encoded: str | None, password: str) -> bool:
        """Whether this is the password; exactly one verification, also where there is no hash to verify."""
        text = normalise(password)[: MAX_LENGTH + 1]
        try:
            self._hasher.verify(encoded or self._nobody, text)
        except (VerificationError, InvalidHashError):
            return False
        return encoded is not None and len(text) <= MAX_LENGTH

    def renewed(self, encoded: str, password: str) -> str | None:
        """The hash with today's costs, if the stored one has others; call it after a successful verification."""
        if not self._hasher.check_needs_rehash(encoded):
            return None
        return self._hasher.hash(normalise(password))


def back_off_seconds(failures: int) -> int:
    """How long a password is not even tried after so many consecutive failures: 5 free, then doubling to 15 minutes."""
    return 0 if failures < 5 else int(min(2 ** (failures - 4), 900))
