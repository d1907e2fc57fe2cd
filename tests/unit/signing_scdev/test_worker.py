"""The worker's operations on a scripted token: what is said when it fails half-way."""

from __future__ import annotations

from typing import Any

import pytest
from pkcs11 import exceptions

from signing.sam.algorithms import KEY_PROFILES, SHA256
from signing.scdev.worker import Device, _Refused

P256 = KEY_PROFILES["ec-p256"]


class Key:
    """Signs until the script's exceptions begin."""

    def __init__(self, *script: Exception | None) -> None:
        self._script = list(script)
        self.destroyed = 0

    def sign(self, _data: bytes, **_: Any) -> bytes:
        error = self._script.pop(0)
        if error is not None:
            raise error
        return b"\x01" * 64

    def destroy(self) -> None:
        self.destroyed += 1


class Kek:
    def __init__(self, key: Key | Exception) -> None:
        self._key = key

    def unwrap_key(self, *_: Any, **__: Any) -> Key:
        if isinstance(self._key, Exception):
            raise self._key
        return self._key


def device(key: Key | Exception, canary: Key | None = None) -> Device:
    made = Device.__new__(Device)
    vars(made).update(
        _usable=True, _wrap=None, _keks={"aa": Kek(key)}, _kek_id="aa", _canary_key=canary or Key(None, None)
    )
    return made


def sign(on: Device, digests: int) -> list[bytes]:
    return on.sign(P256, "ecdsa", SHA256, ("aa", b"blob"), [bytes(32)] * digests)


def test_OPS_03_a_permanent_refusal_of_the_first_digest_is_certain_not_to_have_signed() -> None:
    key = Key(exceptions.DataLenRange())
    with pytest.raises(_Refused) as refused:
        sign(device(key), 2)
    assert refused.value.kind == "operation_not_permitted"
    assert key.destroyed == 1


@pytest.mark.parametrize("error", [exceptions.DataLenRange(), exceptions.DeviceError()])
def test_OPS_03_any_refusal_after_a_value_was_made_is_a_loss(error: Exception) -> None:
    key = Key(None, error)
    with pytest.raises(_Refused) as refused:
        sign(device(key), 3)
    assert refused.value.kind == "device_lost"
    assert key.destroyed == 1


def test_a_lost_device_in_c_unwrap_is_told_from_an_altered_blob_by_the_canary() -> None:
    with pytest.raises(_Refused) as refused:
        sign(device(exceptions.GeneralError(), Key(None)), 1)
    assert refused.value.kind == "wrapped_key_refused"
    with pytest.raises(_Refused) as refused:
        sign(device(exceptions.GeneralError(), Key(exceptions.DeviceError())), 1)
    assert refused.value.kind == "device_unavailable"


def test_a_key_that_cannot_be_destroyed_makes_the_worker_unusable_and_the_value_stays_good() -> None:
    class Stuck(Key):
        def destroy(self) -> None:
            raise exceptions.FunctionFailed

    on = device(Stuck(None))
    assert len(sign(on, 1)) == 1
    assert not on.usable()
