"""Telephone numbers to which no message goes: by country code and prefix (OTP-07).  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

ASSIGNED: Final = frozenset(map(str, (
    1, 7, 20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67), 81, 82, 84, 86,
    *range(90, 96), 98, 211, 212, 213, 216, 218, *range(220, 259), *range(260, 270), 290, 291, 297, 298, 299,
    *range(350, 360), *range(370, 384), 385, 386, 387, 389, 420, 421, 423, *range(500, 510), *range(590, 600), 670,
    *range(672, 684), *range(685, 693), 850, 852, 853, 855, 856, 880, 886, *range(960, 969), *range(970, 978),
    *range(992, 997), 998,
)))  # fmt: skip
"""Country codes of countries and territories (ITU-T, List of country codes assigned under E.164).

What belongs to no country is not there: satellites (870, 881), networks of their own (882, 883), free and premium
numbers of all countries (800, 808, 979).  Pumping is done with these.
"""


def refused(number: str, *, allowed: Collection[str], denied: Collection[str]) -> bool:
    """Whether no message may go to a number.

    :param number: E.164, with the plus sign.
    :param allowed: prefixes without the plus sign, of which it has to have one; empty: any assigned country code.
    :param denied: prefixes that it may not have, whatever is allowed.
    """
    digits = number.removeprefix("+")
    if any(digits.startswith(prefix) for prefix in denied):
        return True
    return not any(digits.startswith(prefix) for prefix in (allowed or ASSIGNED))


_UNASSIGNED: Final = 3
"""Digits that stand for a country code where there is none: no code is longer."""


def prefix_of(number: str, own: Iterable[str] = ()) -> str:
    """With which prefix a number is counted: the longest of ``own`` that it has, else its country's code.

    :param number: E.164, with the plus sign.
    :param own: prefixes without the plus sign.
    """
    digits = number.removeprefix("+")
    for prefixes in (own, ASSIGNED):
        found = [prefix for prefix in prefixes if digits.startswith(prefix)]
        if found:
            return max(found, key=len)
    return digits[:_UNASSIGNED]
