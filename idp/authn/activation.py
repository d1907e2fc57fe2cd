"""Activation codes: how somebody who has nothing yet to prove who they are with begins (ENR-01).  Pure.

A code has two parts.  The first four letters find it; the other sixteen are 80 random bits, of which only a keyed hash
is stored.  A wrong code counts against an activation only where it found it: a stranger who knows a user name cannot
use up the tries of a code that they know nothing of (OTP-12).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from idp.errors import ActivationRefused

Purpose = Literal["bootstrap", "reset"]
"""``bootstrap``: the person never had a factor.  ``reset``: theirs were taken away, or they lost them."""

PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)
MAX_FAILURES: Final = 5
"""Wrong codes after which an activation is over."""
LOCATOR: Final = 4
"""Letters by which a code is found."""

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Base 32 without I, L, O and U: nobody takes one of its letters for another one."""
_LETTERS: Final = 20
_GROUP: Final = 4
_BITS: Final = 5
_OCTETS: Final = 13
_MAX_TYPED: Final = 64
_ALIKE: Final = str.maketrans({"O": "0", "I": "1", "L": "1"})
_FORM: Final = re.compile(rf"[{_ALPHABET}]{{{_LETTERS}}}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Code:
    """An activation code in the form in which it is compared: 20 letters without groups."""

    letters: str = field(repr=False)

    @property
    def locator(self) -> str:
        """By what it is found; not secret."""
        return self.letters[:LOCATOR]

    @property
    def shown(self) -> str:
        """In groups of four, as people copy it."""
        return "-".join(self.letters[at : at + _GROUP] for at in range(0, _LETTERS, _GROUP))


def new_code(random: Callable[[int], bytes]) -> Code:
    """A code that nobody has seen.

    :param random: octets from the operating system's generator; 100 bits of them are used, 80 of them secret.
    """
    number = int.from_bytes(random(_OCTETS), "big")
    return Code("".join(_ALPHABET[(number >> (_BITS * at)) & 31] for at in range(_LETTERS)))


def read_code(text: str) -> Code:
    """What somebody typed, upper or lower case, with or without groups; O is taken for 0, I and L for 1.

    :raises ActivationRefused: it has not the form of a code.
    """
    letters = re.sub(r"[\s-]", "", text[:_MAX_TYPED]).upper().translate(_ALIKE)
    if len(text) > _MAX_TYPED or not _FORM.match(letters):
        raise ActivationRefused("form", "that has not the form of an activation code")
    return Code(letters)
