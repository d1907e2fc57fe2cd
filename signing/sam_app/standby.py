"""A device that may be away when the module starts: it answers that it is, and comes back without a restart.

Once it was there, the supervisor of :mod:`signing.scdev` keeps it; this is about the first time.  A refused PIN is
not tried again: a second try brings the token closer to being locked (KEY-09).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from foundation import log
from signing.sam.algorithms import KeyProfile, SignatureAlgorithm
from signing.sam.ports import DeviceError, DeviceUnavailable, GeneratedKey, PinRefused, WrappedKey, WrappingKey
from signing.scdev.device import Pkcs11Device
from signing.scdev.settings import DeviceHealth

_RETRY_SECONDS: Final = (0.5, 1.0, 2.0)
"""Between two tries; the last for ever, so that whoever waits for the device need not wait for long when it is back."""

_log = log.get(__name__)


def report_of(health: DeviceHealth) -> dict[str, Any]:
    """A device's health as JSON; ages in seconds, to the millisecond."""
    age = health.canary_age_seconds
    return {
        "available": health.available,
        "failure": health.failure,
        "pin_refused": health.pin_refused,
        "canary_age_seconds": None if age is None else round(age, 3),
        "workers_ready": health.workers_ready,
        "workers": health.workers,
        "restarts": health.restarts,
        "losses": health.losses,
        "return_codes": dict(health.return_codes),
        "processes": [
            {
                "process": each.process,
                "slot": each.slot,
                "token_serial": each.serial,
                "operations": each.operations,
                "busy": each.busy,
                "proved_seconds_ago": round(each.proved_seconds_ago, 3),
            }
            for each in health.processes
        ],
    }


class StandbyDevice:
    """:class:`signing.sam.ports.SignatureDevice` that is opened in the background."""

    def __init__(self, open_device: Callable[[Callable[[], bool]], Pkcs11Device]) -> None:
        """Try once at once; where that fails, again and again, unless the PIN was refused.

        :param open_device: is given what says whether this is being closed, so that opening is not waited for.
        """
        self._open = open_device
        self._device: Pkcs11Device | None = None
        self._failure: DeviceError = DeviceUnavailable("the device has not been opened yet")
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        if not self._try():
            self._thread = threading.Thread(target=self._retry, name="device-open", daemon=True)
            self._thread.start()

    def available(self) -> bool:
        """Whether a call has a chance."""
        return self._device is not None and self._device.health().available

    def report(self) -> dict[str, Any]:
        """What the operator sees of it (JSON), found out without asking it."""
        if self._device is None:
            return {
                "available": False,
                "failure": str(self._failure),
                "pin_refused": isinstance(self._failure, PinRefused),
                "canary_age_seconds": None,
                "workers_ready": 0,
                "processes": [],
            }
        return report_of(self._device.health())

    def generate(self, profile: KeyProfile, realm: str | None = None) -> GeneratedKey:
        """See the port."""
        return self._there().generate(profile, realm)

    def rewrap(self, key: WrappedKey) -> WrappedKey:
        """See the port."""
        return self._there().rewrap(key)

    def examine(self, key: WrappedKey) -> tuple[str, ...]:
        """See the port."""
        return self._there().examine(key)

    def wrapping_keys(self) -> tuple[WrappingKey, ...]:
        """See the port."""
        return self._there().wrapping_keys()

    def kept(self, realm: str) -> frozenset[bytes]:
        """See the port."""
        return self._there().kept(realm)

    def destroy_kept(self, realm: str, blob: bytes) -> None:
        """See the port."""
        self._there().destroy_kept(realm, blob)

    def sign(self, key: WrappedKey, algorithm: SignatureAlgorithm, digests: Sequence[bytes]) -> tuple[bytes, ...]:
        """See the port."""
        return self._there().sign(key, algorithm, digests)

    def mac(self, message: bytes) -> bytes:
        """See the port."""
        return self._there().mac(message)

    def verify_mac(self, message: bytes, tag: bytes) -> None:
        """See the port."""
        self._there().verify_mac(message, tag)

    def checkpoint_key(self) -> bytes:
        """See the port."""
        return self._there().checkpoint_key()

    def sign_checkpoint(self, text: bytes) -> bytes:
        """See the port."""
        return self._there().sign_checkpoint(text)

    def read_data(self, label: str) -> tuple[bytes, ...]:
        """See the port."""
        return self._there().read_data(label)

    def add_data(self, label: str, value: bytes) -> None:
        """See the port."""
        self._there().add_data(label, value)

    def remove_data(self, label: str, value: bytes) -> None:
        """See the port."""
        self._there().remove_data(label, value)

    def canary(self) -> None:
        """See the port."""
        self._there().canary()

    def close(self) -> None:
        """Stop trying; end the device's processes."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        if self._device is not None:
            self._device.close()

    def _there(self) -> Pkcs11Device:
        if self._device is None:
            if isinstance(self._failure, PinRefused):
                raise PinRefused("the token refused the PIN")
            raise DeviceUnavailable("the device is not there")
        return self._device

    def _try(self) -> bool:
        try:
            self._device = self._open(self._closing.is_set)
        except DeviceError as error:
            self._failure = error
            _log.critical("the device cannot be opened", extra={"fields": {"error": error.code}})
            return isinstance(error, PinRefused)
        return True

    def _retry(self) -> None:
        waits = iter(_RETRY_SECONDS)
        seconds = _RETRY_SECONDS[0]
        while not self._closing.is_set():
            with suppress(StopIteration):
                seconds = next(waits)
            if self._closing.wait(seconds) or self._try():
                return
