"""Codes from a clock (RFC 6238) and how a seed gets into an app: pure, on PyOTP.

A code is good for its step and for the steps beside it that a drifting clock may show, and for none that is not later
than the last one that was accepted (RFC 6238 5.2): each code works once (OTP-03).
"""

from __future__ import annotations

import base64
import hmac
import re
from datetime import datetime
from typing import Final

import pyotp

from foundation.clock import epoch

SEED_OCTETS: Final = 20
"""As many as HMAC-SHA-1 gives out (RFC 4226 4, R6)."""
STEP_SECONDS: Final = 30
"""NIST SP 800-63B 5.1.4.2 allows up to two minutes."""
DIGITS: Final = 6
DRIFT_STEPS: Final = 1
"""Steps before and after the present one that are accepted (RFC 6238 5.2 recommends at most one)."""
_CODE: Final = re.compile(r"[0-9]{6}\Z", re.ASCII)


def matching_step(seed: bytes, typed: str, now: datetime, last_step: int) -> int | None:
    """The step whose code was typed; None: it is no code that may be accepted now.

    Every step of the window is compared, whichever matches.

    :param last_step: the last step that was accepted: neither it nor an earlier one is again.
    """
    code = "".join(typed.split())
    if not _CODE.match(code):
        return None
    present = epoch(now) // STEP_SECONDS
    generator = _generator(seed)
    found = None
    for step in range(present - DRIFT_STEPS, present + DRIFT_STEPS + 1):
        right = hmac.compare_digest(generator.generate_otp(step), code)
        if right and step > last_step:
            found = step
    return found


def code_at(seed: bytes, now: datetime) -> str:
    """The code that an app with this seed shows."""
    return _generator(seed).generate_otp(epoch(now) // STEP_SECONDS)


def base32(seed: bytes) -> str:
    """The seed in the form that people type into an app (RFC 4648 6), in groups of four."""
    text = base64.b32encode(seed).decode().rstrip("=")
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def provisioning_uri(seed: bytes, *, account: str, issuer: str) -> str:
    """The ``otpauth://`` URI that a QR code carries: it is the seed, and is shown once to whom it belongs."""
    return _generator(seed).provisioning_uri(name=account, issuer_name=issuer)


def _generator(seed: bytes) -> pyotp.TOTP:
    return pyotp.TOTP(base64.b32encode(seed).decode(), digits=DIGITS, interval=STEP_SECONDS)
