"""The peer of ``login``: how fast this machine verifies the product's own argon2id hashes, on one thread."""

from __future__ import annotations

import time

from benchmarks.measure import Peer
from idp.authn.password import Passwords
from idp.settings import PasswordSettings

_PASSWORD = "correct horse battery staple"


def rate(settings: PasswordSettings, seconds: float = 3.0) -> float:
    """Verifications a second."""
    passwords = Passwords(settings)
    encoded = passwords.hash(_PASSWORD)
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        passwords.verify(encoded, _PASSWORD)
        count += 1
    return count / spent


def peer(settings: PasswordSettings, before: float, after: float) -> Peer:
    """The mean of two rates, as a figure's peer."""
    how = (
        f"m={settings.memory_kib} KiB, t={settings.iterations}, p={settings.parallelism}, one thread; "
        f"{before:.1f} before, {after:.1f} after"
    )
    return Peer("argon2id verification", round((before + after) / 2, 2), "verifications/s", how)
