"""The limits of a factor that hold: the tighter of the deployment's settings and the policy's file.

What a file may say of factors that this identity provider does not have itself (``transfer``), and
``reset_on_resend``, which it never does, changes nothing here; the linter judges them.
"""

from __future__ import annotations

from dataclasses import replace

from idp.code_settings import CodeSettings
from idp.policy.evidence import MIN_LENGTH_ALONE
from idp.policy.lint.limits import lone_password
from idp.policy.model import Policy
from idp.settings import OtpSettings, PasswordSettings


def password_limits(settings: PasswordSettings, policy: Policy) -> PasswordSettings:
    """For new passwords: the longest of the least lengths.

    They are those of the settings and of the file, and 15 characters where a level that claims NIST SP 800-63B r4 is
    reached by a password alone (3.1.1.2), whether or not the file says so.
    """
    limits = policy.factors.get("password")
    stated = 0 if limits is None or limits.min_length is None else limits.min_length
    needed = MIN_LENGTH_ALONE if stated < MIN_LENGTH_ALONE and lone_password(policy) else stated
    return replace(settings, min_length=max(settings.min_length, needed))


def code_limits(settings: CodeSettings, policy: Policy) -> CodeSettings:
    """For codes of a clock: the shorter step."""
    limits = policy.factors.get("totp")
    step = _least(settings.totp_step_seconds, None if limits is None else limits.step)
    return replace(settings, totp_step_seconds=step)


def otp_limits(settings: OtpSettings, policy: Policy, factor: str) -> OtpSettings:
    """For codes of one factor: the shorter life and the fewer failures, for one code too."""
    limits = policy.factors.get(factor)
    if limits is None:
        return settings
    return replace(
        settings,
        lifetime_seconds=_least(settings.lifetime_seconds, limits.lifetime),
        max_wrong=_least(settings.max_wrong, limits.max_failures),
        max_wrong_ever=_least(settings.max_wrong_ever, limits.max_failures),
    )


def failure_limit(settings: int, policy: Policy, factor: str) -> int:
    """Failures in a row after which an authenticator of this factor is disabled."""
    limits = policy.factors.get(factor)
    return settings if limits is None else _least(settings, limits.max_failures)


def _least(settings: int, limit: int | None) -> int:
    return settings if limit is None else min(settings, limit)
