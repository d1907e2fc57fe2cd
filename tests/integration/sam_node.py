"""A module in a process of its own, on SoftHSM2, whose device counts what it signs and dies where a test says.

``python -m tests.integration.sam_node CONFIG COUNTER POINT``: CONFIG is a ``sam.toml``; one octet is appended to
COUNTER for each value that the device made; POINT is one of :data:`POINTS`, :data:`ANCHOR_POINTS` or
:data:`CUSTODY_POINTS`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NoReturn

from foundation.settings import load
from foundation.termination import Termination
from signing.sam.algorithms import KeyProfile, SignatureAlgorithm
from signing.sam.ledger import Reservation, State
from signing.sam.ports import GeneratedKey, SignatureDevice, WrappedKey
from signing.sam.store import Record
from signing.sam_app import parts
from signing.sam_app.process import SamProcess
from signing.sam_cli import device_settings
from signing.sam_settings import SamSettings
from signing.scdev.device import Pkcs11Device
from signing.storage.store import SqlStore

POINTS = ("none", "before_intent", "after_intent", "after_sign", "after_outcome")
ANCHOR_POINTS = ("before_anchor", "after_anchor", "after_change", "after_tidying")
"""Around the two writes to the token and the commit between them."""
CUSTODY_POINTS = ("after_generate", "before_destroy")
"""Between a key on the token and its row."""


def die() -> NoReturn:
    """As if the power had gone."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


class CountingDevice:
    """Another device, with a count on disk of the values that it made."""

    def __init__(self, inner: SignatureDevice, counter: Path, point: str) -> None:
        self._inner = inner
        self._counter = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._point = point

    def sign(self, key: WrappedKey, algorithm: SignatureAlgorithm, digests: Sequence[bytes]) -> tuple[bytes, ...]:
        """Sign, count, die if so told."""
        values = self._inner.sign(key, algorithm, digests)
        os.write(self._counter, b"." * len(values))
        if self._point == "after_sign":
            die()
        return values

    def generate(self, profile: KeyProfile, realm: str | None = None) -> GeneratedKey:
        """Make a key, of which nobody hears if so told."""
        made = self._inner.generate(profile, realm)
        self._die_at("after_generate")
        return made

    def destroy_kept(self, realm: str, blob: bytes) -> None:
        """Destroy a key; after its row says that it is gone."""
        self._die_at("before_destroy")
        self._inner.destroy_kept(realm, blob)

    def add_data(self, label: str, value: bytes) -> None:
        """Add the anchor beside the one that is there; before the commit."""
        self._die_at("before_anchor")
        self._inner.add_data(label, value)
        self._die_at("after_anchor")

    def remove_data(self, label: str, value: bytes) -> None:
        """Remove what was there; after the commit."""
        self._die_at("after_change")
        self._inner.remove_data(label, value)
        self._die_at("after_tidying")

    def _die_at(self, point: str) -> None:
        if self._point == point:
            die()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class DyingStore(SqlStore):
    """The store, dying before or after its commits."""

    point = "none"

    def reserve(
        self,
        reservation: Reservation,
        assign: Callable[[Collection[int]], tuple[int, ...]],
        record: Callable[[tuple[int, ...]], Record],
    ) -> tuple[int, ...]:
        """Reserve; before the intent is committed, or right after."""

        def last(chosen: tuple[int, ...]) -> Record:
            if self.point == "before_intent":
                die()
            return record(chosen)

        chosen = super().reserve(reservation, assign, last)
        if self.point == "after_intent":
            die()
        return chosen

    def conclude(self, redemption_id: str, state: State, reason: str, record: Record) -> State:
        """Conclude; right after the outcome is committed."""
        concluded = super().conclude(redemption_id, state, reason, record)
        if self.point == "after_outcome":
            die()
        return concluded


def main(config: str, counter: str, point: str) -> None:
    """Serve until SIGTERM."""
    stop = Termination()
    settings = load(SamSettings, Path(config), prefix="SAM")
    setattr(parts, "SqlStore", DyingStore)  # noqa: B010 - mypy: the name is not the module's to export
    DyingStore.point = point
    with Pkcs11Device(device_settings(settings.device)) as inner:
        device = CountingDevice(inner, Path(counter), point)
        process = SamProcess(parts.build(settings, device, device_available=lambda: True))  # type: ignore[arg-type] # all else is the inner one's
        process.start()
        print("ready", flush=True)  # noqa: T201 - what the test waits for
        stop.wait()
        process.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
