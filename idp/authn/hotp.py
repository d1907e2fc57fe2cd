"""Codes from a counter (RFC 4226), as hardware devices show them: pure, on PyOTP.

The device counts each press of its button, the server each code that it accepted, so the server looks ahead.  A code
that was accepted, or that came before one that was, is never accepted again (OTP-03).
"""

from __future__ import annotations

import base64
import hmac
from fractions import Fraction
from typing import Final

import pyotp

from idp.authn import codes

DIGITS: Final = range(6, 9)
"""RFC 4226 5.3: six, seven or eight."""
SEED_OCTETS: Final = range(16, 65)
"""RFC 4226 4 (R6): 128 bits at least."""
MAX_COUNTER: Final = 2**48
"""Far above what a device comes to, and far below what the moving factor has room for."""


def next_counter(seed: bytes, digits: int, typed: str, counter: int, window: int) -> int | None:
    """The counter after the one whose code was typed; None: it is no code of the window.

    Every counter of the window is compared, whichever matches.

    :param counter: the next one that is expected.
    :param window: counters from it on that are accepted (RFC 4226 7.2 ``s``).
    """
    return _after(seed, digits, (typed,), counter, window)


def resynchronise(seed: bytes, digits: int, typed: tuple[str, str], counter: int, window: int) -> int | None:
    """The counter after two consecutive codes (RFC 4226 7.4); None: they are none of the window.

    A wider window than for one code costs nothing: both have to be guessed.
    """
    return _after(seed, digits, typed, counter, window)


def code_of(seed: bytes, digits: int, counter: int) -> str:
    """The code that a device shows."""
    return pyotp.HOTP(base64.b32encode(seed).decode(), digits=digits).at(counter)


def chance(digits: int, window: int) -> Fraction:
    """That one guess at a device's code is right."""
    return codes.chance(window, digits)


def _after(seed: bytes, digits: int, typed: tuple[str, ...], counter: int, window: int) -> int | None:
    wanted = [codes.digits_of(text) for text in typed]
    if any(code is None or len(code) != digits for code in wanted):
        return None
    generator = pyotp.HOTP(base64.b32encode(seed).decode(), digits=digits)
    found = None
    for first in range(counter, counter + window):
        right = True
        for place, code in enumerate(wanted):
            right &= hmac.compare_digest(generator.at(first + place), code or "")
        if right and found is None:
            found = first + len(wanted)
    return found
