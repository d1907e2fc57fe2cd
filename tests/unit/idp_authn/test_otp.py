"""One-time codes: what they are bound to, and when one may be sent or tried."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.authn.methods import evidence_of
from idp.authn.otp import (
    Binding,
    Sent,
    Standing,
    check_may_send,
    check_usable,
    derive_code,
    mask,
    matches,
    seconds_until_resend,
)
from idp.errors import OtpCoolDown, OtpLocked
from idp.settings import OtpSettings
from idp.storage.authenticators import NewAuthenticator

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
KEY = bytes(32)
BINDING = Binding("challenge", "authenticator", "session", "txn", "digest")
FRESH = Standing(disabled=False, not_before=NOW, wrong_ever=0, wrong_today=0, messages_this_hour=0)
LIMITS = OtpSettings()


def test_a_code_is_six_digits_and_the_same_each_time() -> None:
    code = derive_code(KEY, BINDING)
    assert len(code) == 6
    assert code.isdigit()
    assert derive_code(KEY, BINDING) == code


@pytest.mark.parametrize(
    "other",
    [
        replace(BINDING, challenge_id="another"),
        replace(BINDING, authenticator_id="another"),
        replace(BINDING, session_id="another"),
        replace(BINDING, txn="another"),
        replace(BINDING, intent_sha256="another"),
        # Fields that only read the same when written one after the other.
        replace(BINDING, session_id="sessiontxn", txn=""),
    ],
)
def test_OTP_05_a_code_is_wrong_for_anything_else(other: Binding) -> None:
    # One in a million would match by chance; these do not.
    assert not matches(KEY, other, derive_code(KEY, BINDING))


def test_another_key_gives_another_code() -> None:
    assert derive_code(bytes([1]) * 32, BINDING) != derive_code(KEY, BINDING)


@given(st.text(max_size=20))
def test_whatever_is_typed_only_the_code_matches(typed: str) -> None:
    assert matches(KEY, BINDING, typed) == ("".join(typed.split()) == derive_code(KEY, BINDING))


def test_digits_of_other_scripts_are_not_the_code() -> None:
    code = derive_code(KEY, BINDING)
    arabic = "".join(chr(0x660 + int(digit)) for digit in code)
    assert matches(KEY, BINDING, f" {code[:3]} {code[3:]} ")
    assert not matches(KEY, BINDING, arabic)


@pytest.mark.parametrize(
    "standing",
    [
        replace(FRESH, disabled=True),
        replace(FRESH, wrong_ever=100),
        replace(FRESH, wrong_today=50),
        replace(FRESH, not_before=NOW + timedelta(seconds=1)),
    ],
)
def test_OTP_02_08_an_authenticator_that_is_locked_is_neither_sent_to_nor_tried(standing: Standing) -> None:
    with pytest.raises(OtpLocked):
        check_usable(standing, NOW, LIMITS)
    with pytest.raises(OtpLocked):
        check_may_send(standing, None, NOW, LIMITS)


def test_one_wrong_code_below_the_limits_is_still_allowed() -> None:
    check_usable(replace(FRESH, wrong_ever=99, wrong_today=49), NOW, LIMITS)
    assert LIMITS.max_failed_challenges_a_day * LIMITS.max_wrong == 50


@pytest.mark.parametrize(("age", "wait"), [(0, 30), (29, 1), (30, 0)])
def test_a_message_waits_for_the_cool_down(age: int, wait: int) -> None:
    live = Sent(1, NOW - timedelta(seconds=age), NOW + timedelta(seconds=200))
    assert seconds_until_resend(live, NOW, LIMITS) == wait
    if wait:
        with pytest.raises(OtpCoolDown) as refused:
            check_may_send(FRESH, live, NOW, LIMITS)
        assert refused.value.seconds == wait
    else:
        check_may_send(FRESH, live, NOW, LIMITS)


def test_OTP_07_the_same_code_is_not_sent_without_end() -> None:
    live = Sent(LIMITS.max_sends, NOW - timedelta(seconds=100), NOW + timedelta(seconds=200))
    with pytest.raises(OtpCoolDown) as refused:
        check_may_send(FRESH, live, NOW, LIMITS)
    assert refused.value.seconds == 200
    assert seconds_until_resend(live, NOW, LIMITS) == 200


def test_OTP_07_one_address_gets_only_so_many_messages_an_hour() -> None:
    with pytest.raises(OtpCoolDown):
        check_may_send(replace(FRESH, messages_this_hour=LIMITS.max_messages_an_hour), None, NOW, LIMITS)


def test_sms_is_restricted_and_evidence_for_a_signature_is_bound() -> None:
    sms = evidence_of(NewAuthenticator("id", "a", "sms_otp"), NOW, "txn", bound=True)
    mail = evidence_of(NewAuthenticator("id", "a", "email_otp"), NOW, "txn", bound=False)
    assert (sms.flags, sms.channel, sms.transaction) == (frozenset({"restricted", "transaction_bound"}), "sms", "txn")
    assert (mail.flags, mail.channel, mail.category) == (frozenset(), "email", "possession")


@pytest.mark.parametrize(
    ("factor", "address", "shown"),
    [
        ("sms_otp", "+34600000001", "+34•••••••01"),
        ("email_otp", "alice@example.org", "a••••@example.org"),
        ("email_otp", "a@example.org", "a••@example.org"),
    ],
)
def test_addresses_are_shown_masked(factor: str, address: str, shown: str) -> None:
    assert mask(factor, address) == shown
