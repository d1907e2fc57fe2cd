"""PKCS#11 return codes: what the port says of each, and whether the worker goes on."""

from __future__ import annotations

import pytest
from pkcs11 import exceptions

from signing.scdev.refused import code_of
from signing.scdev.returncodes import ends_worker, kind_of

LOST = {
    "DEVICE_ERROR": 0x30,
    "DEVICE_REMOVED": 0x32,
    "TOKEN_NOT_PRESENT": 0xE0,
    "CRYPTOKI_NOT_INITIALIZED": 0x190,
    "SESSION_HANDLE_INVALID": 0xB3,
    "SESSION_CLOSED": 0xB0,
    "GENERAL_ERROR": 0x05,
}
RESTART = {
    "USER_NOT_LOGGED_IN": 0x101,
    "OPERATION_ACTIVE": 0x90,
    "KEY_HANDLE_INVALID": 0x60,
    "OBJECT_HANDLE_INVALID": 0x82,
    "DEVICE_MEMORY": 0x31,
    "HOST_MEMORY": 0x02,
    "SESSION_COUNT": 0xB1,
    "FUNCTION_FAILED": 0x06,
    "VENDOR_DEFINED": 0x80000001,
}
PERMANENT = {
    "MECHANISM_INVALID": 0x70,
    "MECHANISM_PARAM_INVALID": 0x71,
    "KEY_FUNCTION_NOT_PERMITTED": 0x68,
    "DATA_LEN_RANGE": 0x21,
    "KEY_TYPE_INCONSISTENT": 0x63,
}


@pytest.mark.parametrize("code", [*LOST.values(), *RESTART.values()])
def test_OPS_03_a_loss_is_certain_not_to_have_signed_only_before_c_sign(code: int) -> None:
    assert kind_of(code, sent=True) == "device_lost"
    assert kind_of(code, sent=False) == "device_unavailable"
    assert ends_worker(kind_of(code, sent=True))
    assert ends_worker(kind_of(code, sent=False))


@pytest.mark.parametrize("code", PERMANENT.values())
@pytest.mark.parametrize("sent", [True, False])
def test_OPS_03_a_request_that_cannot_be_is_permanent_and_the_worker_goes_on(code: int, sent: bool) -> None:
    assert kind_of(code, sent=sent) == "operation_not_permitted"
    assert not ends_worker(kind_of(code, sent=sent))


@pytest.mark.parametrize("code", [0xA0, 0xA1, 0xA2, 0xA3, 0xA4])
def test_KEY_09_every_answer_about_the_pin_stops(code: int) -> None:
    assert kind_of(code, sent=False) == "pin_refused"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exceptions.PinIncorrect(), 0xA0),
        (exceptions.PinLocked(), 0xA4),
        (exceptions.MechanismInvalid(), 0x70),
        (exceptions.WrappedKeyInvalid(), 0x110),
        (exceptions.PKCS11Error("Unmapped error code 0x68"), 0x68),
        (exceptions.PKCS11Error("anything else"), 0x05),
        (exceptions.DeviceRemoved(), 0x05),
        (exceptions.NoSuchToken(), 0x05),
    ],
)
def test_the_librarys_exceptions_become_codes_and_the_unknown_ones_a_loss(
    error: exceptions.PKCS11Error, code: int
) -> None:
    assert code_of(error) == code
