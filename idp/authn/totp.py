"""Codes from a clock (RFC 6238) and how a seed gets into an app: pure, on PyOTP.

A code is good for its step and for the steps beside it that a drifting clock may show, and for none that is not later
than the last one that was accepted (RFC 6238 5.2): each code works once (OTP-03).
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

import pyotp

from foundation.clock import epoch
from idp.authn import codes
from idp.code_settings import CodeSettings

SEED_OCTETS: Final = 20
"""As many as HMAC-SHA-1 gives out (RFC 4226 4, R6)."""
STEP_SECONDS: Final = 30
"""Of an app that says nothing else: the default of RFC 6238 and of every app."""
DIGITS: Final = 6
NO_STEP: Final = -1
"""Before the first code."""
_BEHIND_SECONDS: Final = 600
"""How far back a code is recognised as one of a clock that is slow."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a code of one app is accepted."""

    step: int = STEP_SECONDS
    """Seconds of the app's time step (RFC 6238 X); fixed when it was bound."""
    drift: int = 1
    """Steps before and after the present one that are accepted (RFC 6238 5.2 recommends at most one)."""
    limit: int = STEP_SECONDS
    """Seconds of the longest step that settings and policy allow now."""

    @property
    def life(self) -> int:
        """Seconds for which one code is accepted.  An app with a longer step than is allowed now is bound still; its
        codes live no longer than anybody's."""
        return min(self.step, self.limit) * (2 * self.drift + 1)

    @property
    def accepted(self) -> int:
        """Codes that are accepted at one moment, at most."""
        return 2 * self.drift + 1

    def takes(self, step: int, at: int) -> bool:
        """Whether a step's code may be accepted at a time."""
        opens = step * self.step - max(0, self.life - self.step) // 2
        return opens <= at < opens + self.life


@dataclass(frozen=True, slots=True)
class Judged:
    """What a typed code is."""

    step: int | None = None
    """The step whose code it is; None: it may not be accepted now."""
    used: bool = False
    """It is of a step that was accepted before, or of an earlier one."""
    behind_seconds: int = 0
    """How far the app's clock is behind, if it is a code from a while ago."""


def timing(data: Mapping[str, Any], settings: CodeSettings) -> Timing:
    """Of an app as it was bound.

    :param data: the authenticator's; ``step`` in seconds.
    :param settings: with the policy's limits.
    """
    step = data.get("step")
    return Timing(step if isinstance(step, int) else STEP_SECONDS, settings.totp_drift, settings.totp_step_seconds)


def judge(seed: bytes, typed: str, now: datetime, last_step: int, clock: Timing) -> Judged:
    """What a typed code is; every step is compared, whichever matches.

    A person is told of a clock that is slow, never of one that is fast: a code from a while ago is worth nothing any
    more, while one that will be good in a minute would be a prize for whoever guesses.

    :param last_step: the last step that was accepted: neither it nor an earlier one is again.
    """
    code = codes.digits_of(typed)
    if code is None or len(code) != DIGITS:
        return Judged()
    at, generator = epoch(now), _generator(seed, clock.step)
    present = at // clock.step
    found, used, behind = None, False, 0
    for step in range(present - _BEHIND_SECONDS // clock.step, present + clock.drift + 1):
        if step < 0 or not hmac.compare_digest(generator.generate_otp(step), code):
            continue
        if step <= last_step:
            used = True
        elif clock.takes(step, at):
            found = step
        else:
            behind = (present - step) * clock.step
    return Judged(step=found) if found is not None else Judged(used=used, behind_seconds=0 if used else behind)


def chance(clock: Timing) -> Fraction:
    """That one guess at an app's code is right."""
    return codes.chance(clock.accepted, DIGITS)


def code_at(seed: bytes, now: datetime, step: int = STEP_SECONDS) -> str:
    """The code that an app with this seed shows."""
    return _generator(seed, step).generate_otp(epoch(now) // step)


def base32(seed: bytes) -> str:
    """The seed in the form that people type into an app (RFC 4648 6), in groups of four."""
    text = base64.b32encode(seed).decode().rstrip("=")
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def provisioning_uri(seed: bytes, *, account: str, issuer: str, step: int = STEP_SECONDS) -> str:
    """The ``otpauth://`` URI that a QR code carries: it is the seed, and is shown once to whom it belongs."""
    return _generator(seed, step).provisioning_uri(name=account, issuer_name=issuer)


def _generator(seed: bytes, step: int) -> pyotp.TOTP:
    return pyotp.TOTP(base64.b32encode(seed).decode(), digits=DIGITS, interval=step)
