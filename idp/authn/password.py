"""Passwords: argon2id (RFC 9106), the same work whether or not there is such an account."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import unicodedata
from collections.abc import Iterable
from typing import Final

import argon2
from argon2.exceptions import HashingError, InvalidHashError, VerificationError

from idp.authn import new_password
from idp.authn.new_password import MAX_LENGTH
from idp.errors import PasswordRefused
from idp.policy.evidence import MIN_LENGTH_ALONE
from idp.settings import PasswordSettings

_MAX_TYPED: Final = 4 * MAX_LENGTH
"""Characters that are normalised at all: no character is composed from more than four (UAX #15), and putting combining
marks in their order takes time that grows with the square of their number (DOS-03)."""

KEY: Final = "passwords"
"""For what the key is derived from the master secret."""
_KEYED: Final = "k1"
"""Before an encoded hash: what went into argon2id is an HMAC of the password."""

_Costs = tuple[int, int, int]
"""KiB, iterations, lanes."""


def normalise(password: str) -> str:
    """NFC (NIST SP 800-63B r4 3.1.1.2): the same characters are the same password on every keyboard.

    :raises PasswordRefused: there is more than any password has, and nothing is normalised.
    """
    if len(password) > _MAX_TYPED:
        raise PasswordRefused("too_long", f"a password has at most {MAX_LENGTH} characters")
    return unicodedata.normalize("NFC", password)


def length_met(password: str) -> int:
    """What a right password's evidence says of its length, counted as that of a new one is: code points in NFC.

    :raises PasswordRefused: there is more than any password has.
    """
    return MIN_LENGTH_ALONE if len(normalise(password)) >= MIN_LENGTH_ALONE else 0


class Passwords:
    """Hashes and verifies; safe to share between threads.

    :param stored: hashes of people's passwords, one for each of the costs that are in use.  As long as some hashes
        have other costs than the settings', every verification does the work of all of them: otherwise the time would
        tell who has an account until everybody's hash is renewed (OTP-11).
    :param key: 32 octets outside the database, with which passwords are hashed before argon2id (NIST SP 800-63B r4
        3.1.1.2, a SHOULD): whoever has the database alone has nothing to try passwords against.  None: only for a
        command that has no keys; the hash is renewed at the next login.
    """

    def __init__(self, settings: PasswordSettings, stored: Iterable[str] = (), key: bytes | None = None) -> None:
        self._settings = settings
        self._key = key
        self._hasher = argon2.PasswordHasher(
            time_cost=settings.iterations, memory_cost=settings.memory_kib, parallelism=settings.parallelism
        )
        self._lock = threading.Lock()
        # Verified in place of the hash of an account that does not exist, so that the work is the same (OTP-11).
        self._nobodys: dict[_Costs, str] = {}
        self._know((settings.memory_kib, settings.iterations, settings.parallelism))
        for encoded in stored:
            self._know(_costs_of(encoded))

    def hash(self, password: str, *, about: Iterable[str] = (), limits: PasswordSettings | None = None) -> str:
        """The encoded hash of a new password.

        :param about: what is not to be taken for a password here: names of the service and of the person.
        :param limits: the settings with the policy's limits, where they are not those of this object.
        :raises PasswordRefused: it is not accepted; see :mod:`idp.authn.new_password`.
        """
        text = normalise(password)
        new_password.check(text, limits or self._settings, about)
        return self._hashed(text)

    def verify(self, encoded: str | None, password: str) -> bool:
        """Whether this is the password; one verification for each of the costs in use, whoever it is.

        What is too long is as much work as any wrong password, and is never right.
        """
        try:
            text = normalise(password)
        except PasswordRefused:
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
        """The hash with today's costs and the key, if the stored one has others or none; lowered costs count too.

        Call it after a successful verification.
        """
        keyed, plain = _parted(encoded)
        if keyed == (self._key is not None) and not self._hasher.check_needs_rehash(plain):
            return None
        return self._hashed(normalise(password))

    def _hashed(self, text: str) -> str:
        keyed = self._key is not None
        return (_KEYED if keyed else "") + self._hasher.hash(self._input(text, keyed=keyed))

    def _input(self, text: str, *, keyed: bool) -> str:
        """What argon2id gets: for a keyed hash 256 bits that only whoever has the key can compute."""
        if not keyed or self._key is None:
            return text
        message = b"password\n" + text.encode("utf-8", "surrogatepass")
        return base64.b64encode(hmac.new(self._key, message, hashlib.sha256).digest()).decode()

    def _matches(self, encoded: str, text: str) -> bool:
        keyed, plain = _parted(encoded)
        try:
            # One that needs a key which is not there is as much work, and is never right.
            self._hasher.verify(plain, self._input(text, keyed=keyed))
        except (VerificationError, InvalidHashError):
            return False
        return not keyed or self._key is not None

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
        found = argon2.extract_parameters(_parted(encoded)[1])
    except InvalidHashError:
        return None
    return found.memory_cost, found.time_cost, found.parallelism


def _parted(encoded: str) -> tuple[bool, str]:
    """Whether a hash is keyed, and argon2's part of it."""
    return encoded.startswith(_KEYED), encoded.removeprefix(_KEYED)


def back_off_seconds(failures: int) -> int:
    """How long a password is not even tried after so many consecutive failures: 5 free, then doubling to 15 minutes."""
    return 0 if failures < 5 else int(min(2 ** (failures - 4), 900))
