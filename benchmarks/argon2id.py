"""The peer of ``login``: how fast this machine verifies the product's own argon2id hashes, and at what cost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

from benchmarks.measure import Peer
from idp.authn.password import Passwords
from idp.settings import PasswordSettings

_PASSWORD = "correct horse battery staple"


def rate(settings: PasswordSettings, seconds: float = 3.0) -> float:
    """Verifications a second, on one thread."""
    passwords = Passwords(settings)
    encoded = passwords.hash(_PASSWORD)
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        passwords.verify(encoded, _PASSWORD)
        count += 1
    return count / spent


def cpu_milliseconds(settings: PasswordSettings, seconds: float = 3.0) -> float:
    """Processor time of one verification with all processors at it, as they are while people sign in: what shares a
    core's caches and memory with another one takes longer."""
    passwords = Passwords(settings)
    encoded = passwords.hash(_PASSWORD)
    until = time.perf_counter() + seconds
    found: list[tuple[float, int]] = []

    def work() -> None:
        began, count = time.thread_time(), 0
        while time.perf_counter() < until:
            passwords.verify(encoded, _PASSWORD)
            count += 1
        found.append((time.thread_time() - began, count))

    threads = [threading.Thread(target=work) for _ in os.sched_getaffinity(0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(spent for spent, _ in found) / sum(count for _, count in found) * 1000


def peer(settings: PasswordSettings, before: float, after: float) -> Peer:
    """The mean of two rates, as a figure's peer."""
    how = (
        f"m={settings.memory_kib} KiB, t={settings.iterations}, p={settings.parallelism}, one thread; "
        f"{before:.1f} before, {after:.1f} after"
    )
    return Peer("argon2id verification", round((before + after) / 2, 2), "verifications/s", how)


def cost(milliseconds: Sequence[float]) -> Peer:
    """The mean of what :func:`cpu_milliseconds` gave."""
    how = f"processor time, all processors at it; {', '.join(f'{each:.1f}' for each in milliseconds)}"
    return Peer("argon2id cost", round(sum(milliseconds) / len(milliseconds), 2), "ms a verification", how)


def cost_in_server(case: str, milliseconds: float) -> Peer:
    """What a verification took of the server's threads during a window, beside all else that is done for logins."""
    how = f"processor time of the server's threads around each verification; {case}"
    return Peer("argon2id in the server", round(milliseconds, 2), "ms a verification", how)
