"""How often a code that is read off something and typed may be wrong in a day: pure.

A wrong code costs a guesser one try at every code that would have been accepted just then: for an app those of its
step and of the steps beside it, for a counter those of its window.  What is limited is the sum, so a person with
three apps, or a device with a wide window, is no easier to guess than anybody else (OTP-02).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Final

CHANCE_A_DAY: Final = Fraction(5, 100_000)
"""At which somebody who only guesses is let in within a day: what ten challenges with five tries at six digits give."""
DAY_SECONDS: Final = 24 * 60 * 60
_DIGITS: Final = re.compile(r"[0-9]{6,8}\Z", re.ASCII)


def digits_of(typed: str) -> str | None:
    """The digits of a code as people type it, with blanks between them; None: it is no code."""
    code = "".join(typed.split())
    return code if _DIGITS.match(code) else None


def chance(accepted: int, digits: int) -> Fraction:
    """That one guess is right.

    :param accepted: codes that are accepted at one moment.
    """
    return Fraction(accepted, 10**digits)


def wrong_a_day(chances: Iterable[Fraction], most: int) -> int:
    """Wrong codes within 24 hours after which none is tried any more; at least one.

    :param chances: of each authenticator of the kind that the account has.
    :param most: whatever the chances.
    """
    total = sum(chances, Fraction(0))
    return most if total == 0 else max(1, min(most, int(CHANCE_A_DAY / total)))
