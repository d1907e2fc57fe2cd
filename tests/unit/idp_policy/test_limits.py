"""Limits of factors: the tighter of the settings and the file."""

from __future__ import annotations

from idp.policy.limits import failure_limit, otp_limits, password_limits
from idp.settings import OtpSettings, PasswordSettings
from tests.unit.idp_policy.support import policy
from tests.unit.idp_policy.test_load import SMALL


def limited(text: str) -> str:
    return SMALL.replace("levels:\n", f"factors: {text}\nlevels:\n")


TIGHT = policy(limited("{password: {min_length: 15, max_failures: 20}, sms_otp: {lifetime: 60s, max_failures: 3}}"))
LOOSE = policy(limited("{password: {min_length: 4, max_failures: 900}, sms_otp: {lifetime: 1h, max_failures: 900}}"))
SILENT = policy(limited("{password: {max_failures: 20}, sms_otp: {restricted_notice: true}}"))
NONE = policy(SMALL)


def test_the_tighter_limit_holds() -> None:
    ours = OtpSettings(lifetime_seconds=300, max_wrong=5, max_wrong_ever=100)
    tight = otp_limits(ours, TIGHT, "sms_otp")
    assert (tight.lifetime_seconds, tight.max_wrong, tight.max_wrong_ever) == (60, 3, 3)
    assert tight.max_sends == ours.max_sends
    assert password_limits(PasswordSettings(min_length=8), TIGHT).min_length == 15
    assert failure_limit(100, TIGHT, "password") == 20


def test_a_file_loosens_nothing() -> None:
    ours = OtpSettings()
    for loose in (LOOSE, SILENT, NONE):
        assert otp_limits(ours, loose, "sms_otp") == ours
        assert otp_limits(ours, loose, "email_otp") == ours
        assert password_limits(PasswordSettings(), loose) == PasswordSettings()
    assert failure_limit(100, LOOSE, "password") == failure_limit(100, NONE, "password") == 100


def test_a_limit_is_of_its_own_factor_only() -> None:
    assert otp_limits(OtpSettings(), TIGHT, "email_otp") == OtpSettings()
    assert failure_limit(100, TIGHT, "email_otp") == 100
