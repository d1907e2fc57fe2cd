"""Codes from clocks, counters and paper: what is accepted, once, and how often one may be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from idp.authn import codes, hotp, recovery, totp
from idp.authn.hotp_file import ImportedDevice, read_devices
from idp.authn.totp import NO_STEP, Judged, Timing, code_at, judge, timing
from idp.code_settings import CodeSettings
from idp.errors import InputRefused

SEED = b"12345678901234567890"
"""Of RFC 4226 appendix D and RFC 6238 appendix B."""
RFC_4226 = ("755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489")
NOW = datetime(2026, 3, 2, 10, 0, 15, tzinfo=UTC)
STEP = int(NOW.timestamp()) // 30
PLAIN = Timing()


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


# Clocks


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (20000000000, "65353130")],
)
def test_the_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    assert code_at(SEED, datetime.fromtimestamp(seconds, UTC)) == code[-6:]


@pytest.mark.parametrize(("drift", "accepted"), [(0, {0}), (1, {-1, 0, 1}), (2, {-2, -1, 0, 1, 2})])
def test_a_code_is_accepted_in_its_step_and_those_beside_it(drift: int, accepted: set[int]) -> None:
    clock = Timing(drift=drift)
    found = {steps for steps in range(-4, 5) if judge(SEED, code_at(SEED, at(30 * steps)), NOW, NO_STEP, clock).step}
    assert found == accepted
    assert clock.accepted == len(accepted)


def test_OTP_03_a_code_that_was_accepted_or_is_older_than_one_that_was_is_called_used() -> None:
    code = code_at(SEED, NOW)
    assert judge(SEED, code, NOW, STEP - 1, PLAIN) == Judged(step=STEP)
    assert judge(SEED, code, NOW, STEP, PLAIN) == Judged(used=True)
    assert judge(SEED, code_at(SEED, at(-30)), NOW, STEP, PLAIN) == Judged(used=True)
    assert judge(SEED, code_at(SEED, at(30)), NOW, STEP, PLAIN) == Judged(step=STEP + 1)


def test_OTP_02_a_slow_clock_is_told_and_a_fast_one_is_not_since_its_code_would_be_good_in_a_minute() -> None:
    assert judge(SEED, code_at(SEED, at(-300)), NOW, NO_STEP, PLAIN) == Judged(behind_seconds=300)
    assert judge(SEED, code_at(SEED, at(-3600)), NOW, NO_STEP, PLAIN) == Judged()
    for ahead in (60, 90, 300):
        assert judge(SEED, code_at(SEED, at(ahead)), NOW, NO_STEP, PLAIN) == Judged()


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "１２３４５６", "123456\n789012", "-12345"])
def test_what_is_no_code_is_never_compared(typed: str) -> None:
    assert judge(SEED, typed, NOW, NO_STEP, PLAIN) == Judged()


def test_blanks_between_digits_are_forgiven() -> None:
    code = code_at(SEED, NOW)
    assert judge(SEED, f" {code[:3]} {code[3:]} ", NOW, NO_STEP, PLAIN).step == STEP


@pytest.mark.parametrize(("step", "limit"), [(30, 30), (60, 60), (60, 30), (120, 30), (30, 15), (30, 60)])
def test_no_code_lives_longer_than_one_of_an_app_with_the_longest_step_that_is_allowed(step: int, limit: int) -> None:
    clock = Timing(step, 1, limit)
    start = (int(NOW.timestamp()) // step + 40) * step
    code = code_at(SEED, datetime.fromtimestamp(start, UTC), step)
    taken = [
        moment
        for moment in range(start - 4 * step, start + 6 * step)
        if judge(SEED, code, datetime.fromtimestamp(moment, UTC), NO_STEP, clock).step == start // step
    ]
    assert taken == list(range(taken[0], taken[0] + clock.life))
    assert clock.life == 3 * min(step, limit)
    # The first moment in which the app shows it is among them.
    assert start in taken


def test_an_apps_step_is_its_own_and_the_limit_is_everybodys() -> None:
    settings = CodeSettings(totp_step_seconds=30, totp_drift=0)
    assert timing({"step": 60}, settings) == Timing(60, 0, 30)
    assert timing({}, settings) == timing({"step": None}, settings) == Timing(30, 0, 30)


# Counters


def test_the_codes_are_those_of_rfc_4226() -> None:
    assert tuple(hotp.code_of(SEED, 6, counter) for counter in range(10)) == RFC_4226


@pytest.mark.parametrize(("counter", "found"), [(0, 5), (4, 5), (5, None)])
def test_OTP_03_a_code_moves_the_counter_past_it_and_is_not_accepted_again(counter: int, found: int | None) -> None:
    assert hotp.next_counter(SEED, 6, RFC_4226[4], counter, 10) == found


def test_a_device_that_ran_further_ahead_than_the_window_is_found_by_two_codes_in_a_row() -> None:
    ahead = [hotp.code_of(SEED, 6, counter) for counter in (50, 51, 53)]
    assert hotp.next_counter(SEED, 6, ahead[0], 0, 10) is None
    assert hotp.resynchronise(SEED, 6, (ahead[0], ahead[1]), 0, 100) == 52
    assert hotp.resynchronise(SEED, 6, (ahead[1], ahead[0]), 0, 100) is None
    assert hotp.resynchronise(SEED, 6, (ahead[1], ahead[2]), 0, 100) is None
    assert hotp.resynchronise(SEED, 6, (ahead[0], ahead[1]), 0, 50) is None
    assert hotp.resynchronise(SEED, 6, (ahead[0], "1"), 0, 100) is None


@pytest.mark.parametrize("digits", [6, 7, 8])
def test_a_code_of_another_length_is_none(digits: int) -> None:
    code = hotp.code_of(SEED, digits, 3)
    assert hotp.next_counter(SEED, digits, code, 0, 10) == 4
    for other in {6, 7, 8} - {digits}:
        assert hotp.next_counter(SEED, other, code, 0, 10) is None


# How often


def test_OTP_02_a_guesser_is_let_in_with_five_in_a_hundred_thousand_a_day_whatever_a_person_has() -> None:
    assert codes.wrong_a_day([totp.chance(PLAIN)], 50) == 16
    assert codes.wrong_a_day([totp.chance(PLAIN)] * 2, 50) == 8
    assert codes.wrong_a_day([totp.chance(PLAIN)] * 5, 50) == 3
    assert [codes.wrong_a_day([hotp.chance(digits, 10)], 50) for digits in (6, 7, 8)] == [5, 50, 50]
    assert codes.wrong_a_day([Fraction(0)], 50) == 50
    for drift in range(3):
        for apps in range(1, 8):
            chances = [totp.chance(Timing(drift=drift))] * apps
            allowed = codes.wrong_a_day(chances, 50)
            assert allowed == 1 or allowed * sum(chances) <= Fraction(5, 100_000)


# Paper


def test_OTP_06_ten_codes_of_80_bits_are_made_and_what_is_stored_needs_the_key() -> None:
    octets = iter([bytes(10), bytes(10), *(bytes([number] * 10) for number in range(1, 20))])
    made = recovery.make(lambda count: next(octets)[:count])
    assert len(set(made)) == 10
    assert made[0] == "0000-0000-0000-0000"
    assert all(len(code) == 19 and set(code) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ-") for code in made)
    code = recovery.read(made[3]) or ""
    stored = recovery.digest(bytes(32), "alice", "a", code)
    assert code not in stored
    others = {
        recovery.digest(bytes(31) + b"1", "alice", "a", code),
        recovery.digest(bytes(32), "bob", "a", code),
        recovery.digest(bytes(32), "alice", "b", code),
    }
    assert stored not in others
    assert len(others) == 3


@pytest.mark.parametrize(
    "typed",
    ["7K3M-Q0ZD-9WXA-41NB", "7k3m q0zd 9wxa 41nb", " 7K3M\u2011QOZD-9WXA-4INB ", "7k3mqozd9wxa4lnb"],
)
def test_a_code_is_read_as_people_write_it(typed: str) -> None:
    assert recovery.read(typed) == "7K3MQ0ZD9WXA41NB"


@pytest.mark.parametrize(
    "typed", ["", "7K3M", "7K3M-Q0ZD-9WXA-41NBX", "7K3M-Q0ZD-9WXA-41NU", "七K3MQ0ZD9WXA41N", "0" * 15]
)
def test_what_is_no_recovery_code_is_none(typed: str) -> None:
    assert recovery.read(typed) is None


# The file of devices


def test_devices_are_read_with_either_form_of_seed() -> None:
    assert read_devices("serial,seed_hex,counter,digits\nax-1,3132333435363738393031323334353637383930,7,8\n") == (
        ImportedDevice("AX-1", SEED, 8, 7),
    )
    base32 = "gezd gnbv gy3t qojq gezd gnbv gy3t qojq"
    assert read_devices(f"serial,seed_base32\r\nAX-2,{base32}\r\n") == (ImportedDevice("AX-2", SEED, 6, 0),)


GOOD = "ax-1,3132333435363738393031323334353637383930,0,6"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the header"),
        ("serial,counter\nax,0\n", "line 1: the header"),
        ("serial,seed_hex,pin\nax,00,1\n", "line 1: the header"),
        ("serial,seed_hex,counter,digits\n", "no device"),
        (f"serial,seed_hex,counter,digits\n{GOOD}\nax#1{GOOD[4:]}\n", "line 3: a serial"),
        (f"serial,seed_hex,counter,digits\n{GOOD}\n{GOOD.upper()}\n", "line 3: serial number AX-1 is there twice"),
        ("serial,seed_hex,counter,digits\n,31323334353637383930,0,6\n", "line 2: a serial"),
        (f"serial,seed_hex,counter,digits\n{GOOD[:-1]}9\n", "line 2: digits"),
        (f"serial,seed_hex,counter,digits\n{GOOD[:-3]}-1,6\n", "line 2: counter"),
        (f"serial,seed_hex,counter,digits\n{GOOD[:-3]}999999999999999,6\n", "line 2: counter"),
        (f"serial,seed_hex,counter,digits\n{GOOD},canary\n", "line 2: more values"),
        ("serial,seed_hex\nax-1,canary3132333435363738\n", "line 2: the seed cannot be read"),
        ("serial,seed_base32\nax-1,canary0189\n", "line 2: the seed cannot be read"),
        ("serial,seed_hex\nax-1,3132333435363738393031323334\n", "line 2: a seed has 16"),
        ('serial,seed_hex\n"ax-1,canary', "not CSV"),
    ],
)
def test_OTP_06_a_file_with_a_fault_is_refused_whole_and_the_error_quotes_no_seed(text: str, said: str) -> None:
    with pytest.raises(InputRefused) as refused:
        read_devices(text)
    assert said in str(refused.value)
    assert "canary" not in str(refused.value)
    assert "313233" not in str(refused.value)
