"""What is known of the device without asking it."""

from __future__ import annotations

from signing.scdev.vitals import OTHERS, Vitals


def test_OPS_02_what_was_right_long_ago_says_nothing_of_now() -> None:
    vitals = Vitals()
    assert not vitals.fresh(100.0)
    assert vitals.canary_age(100.0) is None
    vitals.canary_verified(100.0)
    assert vitals.fresh(104.0)
    assert not vitals.fresh(104.1)
    vitals.answered(103.0)
    assert vitals.fresh(107.0)
    assert not vitals.fresh(107.1)
    # Other answers say that it works; the canary's age is its own.
    assert vitals.canary_age(107.0) == 7.0


def test_return_codes_are_counted_by_their_names_and_there_is_an_end_to_them() -> None:
    vitals = Vitals()
    vitals.failed(0)
    assert vitals.return_codes() == {}
    for code in (0x30, 0x30, 0x80000001):
        vitals.failed(code)
    assert vitals.return_codes() == {"0x80000001": 1, "CKR_DEVICE_ERROR": 2}
    for code in range(0x80000002, 0x80000202):
        vitals.failed(code)
    vitals.failed(0x30)
    found = vitals.return_codes()
    assert len(found) == 65
    assert found["CKR_DEVICE_ERROR"] == 3
    assert sum(found.values()) == 516
    assert found[OTHERS] == 450
