"""PKCS#11 return codes: what the port says of each, and whether the worker goes on."""

from __future__ import annotations

import pytest
from pkcs11 import exceptions

from signing.scdev.refused import code_of
from signing.scdev.returncodes import (
    down_for_all,
    ends_worker,
    kind_of,
    may_be_the_blob,
    name_of_code,
    worth_another_try,
)

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
        (exceptions.DeviceRemoved(), 0x32),
        (exceptions.NoSuchToken(), 0xE0),
        (exceptions.MultipleTokensReturned(), 0x05),
    ],
)
def test_the_librarys_exceptions_become_codes_and_the_unknown_ones_a_loss(
    error: exceptions.PKCS11Error, code: int
) -> None:
    assert code_of(error) == code


@pytest.mark.parametrize("name", LOST)
def test_OPS_03_a_lost_device_is_down_for_all_and_not_tried_again(name: str) -> None:
    assert down_for_all(LOST[name])
    assert not worth_another_try(LOST[name])


@pytest.mark.parametrize("name", RESTART)
def test_OPS_03_what_a_new_process_may_cure_costs_nobody_else_theirs(name: str) -> None:
    assert not down_for_all(RESTART[name])
    assert worth_another_try(RESTART[name]) is (name not in {"OPERATION_ACTIVE", "VENDOR_DEFINED"})


@pytest.mark.parametrize("code", [*PERMANENT.values(), 0xA0, 0xA4])
def test_OPS_03_what_is_permanent_is_not_tried_again(code: int) -> None:
    assert not down_for_all(code)
    assert not worth_another_try(code)


def test_only_codes_that_say_nothing_may_mean_the_blob() -> None:
    assert [code for code in (0x05, 0x06, 0x80000001) if not may_be_the_blob(code)] == []
    assert [code for code in (0x30, 0x60, 0x70, 0x90, 0xF0, 0x101, 0x190) if may_be_the_blob(code)] == []


@pytest.mark.parametrize(("name", "code"), [*LOST.items(), *PERMANENT.items()])
def test_codes_have_the_names_of_the_standard(name: str, code: int) -> None:
    assert name_of_code(code) == f"CKR_{name}"
    assert name_of_code(0x80000001) == "0x80000001"
