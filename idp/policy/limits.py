"""The limits of a factor that hold: the tighter of the deployment's settings and the policy's file.

What a file may say of factors that this identity provider does not have itself (``step``, ``transfer``), and
``reset_on_resend``, which it never does, changes nothing here; the linter judges them.
"""

from __future__ import annotations

from dataclasses import replace

from idp.policy.model import Policy
from idp.settings import OtpSettings, PasswordSettings


def password_limits(settings: PasswordSettings, policy: Policy) -> PasswordSettings:
    """For new passwords: the longer of the two least lengths."""
    limits = policy.factors.get("password")
    if limits is None or limits.min_length is None:
        return settings
    return replace(settings, min_length=max(settings.min_length, limits.min_length))


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
