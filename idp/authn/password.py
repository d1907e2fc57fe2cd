"""Passwords: argon2id (RFC 9106), the same work whether or not there is such an account."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterable
from typing import Final

import argon2
from argon2.exceptions import HashingError, InvalidHashError, VerificationError

from idp.errors import InputRefused
from idp.settings import PasswordSettings

MAX_LENGTH: Final = 256
"""Longer ones are refused unhashed: hashing is work that a stranger may ask for."""
_MAX_TYPED: Final = 4 * MAX_LENGTH
"""Characters that are normalised at all: no character is composed from more than four (UAX #15), and putting combining
marks in their order takes time that grows with the square of their number (DOS-03)."""

_Costs = tuple[int, int, int]
"""KiB, iterations, lanes."""


def normalise(password: str) -> str:
    """NFC (NIST SP 800-63B r4 3.1.1.2): the same characters are the same password on every keyboard.

    :raises InputRefused: there is more than any password has, and nothing is normalised.
    """
    if len(password) > _MAX_TYPED:
        raise InputRefused(f"a password has at most {MAX_LENGTH} characters")
    return unicodedata.normalize("NFC", password)


class Passwords:
    """Hashes and verifies; safe to share between threads.

    :param stored: hashes of people's passwords, one for each of the costs that are in use.  As long as some hashes
        have other costs than the settings', every verification does the work of all of them: otherwise the time would
        tell who has an account until everybody's hash is renewed (OTP-11).
    """

    def __init__(self, settings: PasswordSettings, stored: Iterable[str] = ()) -> None:
        self._settings = settings
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.iterations, memory_cost=settings.memory_kib, parallelism=settings.parallelism
        )
        self._lock = threading.Lock()
        # Verified in place of the hash of an account that does not exist, so that the work is the same (OTP-11).
        self._nobodys: dict[_Costs, str] = {}
        self._know((settings.memory_kib, settings.iterations, settings.parallelism))
        for encoded in stored:
            self._know(_costs_of(encoded))

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
        """Whether this is the password; one verification for each of the costs in use, whoever it is.

        What is too long is as much work as any wrong password, and is never right.
        """
        try:
            text = normalise(password)
        except InputRefused:
            encoded, text = None, ""
        if len(text) > MAX_LENGTH:
            encoded, text = None, text[:MAX_LENGTH]
        own = None if encoded is None else _costs_of(encoded)
        self._know(own)
        right = False
        for costs, nobodys in tuple(self._nobodys.items()):
            if encoded is not None and costs == own:
                right = self._matches(encoded, text)
            else:
                self._matches(nobodys, text)
        return right

    def renewed(self, encoded: str, password: str) -> str | None:
        """The hash with today's costs, if the stored one has others; call it after a successful verification."""
        if not self._hasher.check_needs_rehash(encoded):
            return None
        return self._hasher.hash(normalise(password))

    def _matches(self, encoded: str, text: str) -> bool:
        try:
            return self._hasher.verify(encoded, text)
        except (VerificationError, InvalidHashError):
            return False

    def _know(self, costs: _Costs | None) -> None:
        """From now on every verification does the work of these costs too."""
        if costs is None or costs in self._nobodys:
            return
        memory, iterations, parallelism = costs
        hasher = argon2.PasswordHasher(time_cost=iterations, memory_cost=memory, parallelism=parallelism)
        try:
            made = hasher.hash("a password that nobody has")
        except HashingError:
            # Costs that argon2 does not have: nothing can be verified against such a hash either.
            return
        with self._lock:
            self._nobodys = {**self._nobodys, costs: made}


def _costs_of(encoded: str) -> _Costs | None:
    """The costs of a hash; None: it is damaged."""
    try:
        found = argon2.extract_parameters(encoded)
    except InvalidHashError:
        return None
    return found.memory_cost, found.time_cost, found.parallelism


def back_off_seconds(failures: int) -> int:
    """How long a password is not even tried after so many consecutive failures: 5 free, then doubling to 15 minutes."""
    return 0 if failures < 5 else int(min(2 ** (failures - 4), 900))
