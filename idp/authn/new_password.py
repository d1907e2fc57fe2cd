"""What a new password must not be: too short, one that guessers try first, or the person's own name.  Pure.

There are no rules of composition, and no password gets too old (NIST SP 800-63B r4 3.1.1.2, both a SHALL NOT): a
sentence, one kind of letters, or what a manager made are all right.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from idp.authn import blocklist
from idp.errors import PasswordRefused
from idp.settings import PasswordSettings

MAX_LENGTH: Final = 256
"""Longer ones are refused unhashed: hashing is work that a stranger may ask for."""
_FEW: Final = 4
"""Characters more that make a common word no better: a year, an exclamation mark."""
_SHORTEST_WORD: Final = 3
_ROWS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn")
"""Rows of keyboards, in the layouts of the languages of the pages."""
_EDGES: Final = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_SEPARATORS: Final = re.compile(r"[\W_]+")


def check(password: str, limits: PasswordSettings, about: Iterable[str] = ()) -> None:
    """Let a new password pass, or say what is wrong with it.

    :param password: in NFC.
    :param about: names of the service and of the person; mail addresses count with what is before the ``@``.
    :raises PasswordRefused: ``too_short``, ``too_long``, ``control``, ``common``, ``about_you`` or ``pattern``.
    :raises SettingsError: the operator's list cannot be read.
    """
    if not limits.min_length <= len(password) <= MAX_LENGTH:
        cause = "too_long" if len(password) > MAX_LENGTH else "too_short"
        raise PasswordRefused(cause, f"a password has {limits.min_length} to {MAX_LENGTH} characters")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in password):
        raise PasswordRefused("control", "a password has no control characters")
    text = blocklist.folded(password)
    lists = [blocklist.shipped()]
    if limits.blocklist_file is not None:
        lists.append(blocklist.read(limits.blocklist_file))
    forms = _forms(text)
    if any(form in known for known in lists for form in forms):
        raise PasswordRefused("common", "the password is one that guessers try first")
    if forms & _words((*limits.blocked_words, *about)):
        raise PasswordRefused("about_you", "the password is a name of the service or the person")
    if _is_pattern(text):
        raise PasswordRefused("pattern", "the password is a sequence or a repetition")


def _forms(text: str) -> frozenset[str]:
    """A password, and what it is a thin disguise of: few characters more at its ends, separators, itself twice."""
    found = {text, _SEPARATORS.sub("", text)}
    core = _EDGES.sub("", text)
    if len(text) - len(core) <= _FEW:
        found |= {core, _SEPARATORS.sub("", core)}
    return frozenset(found | {_unit(form) for form in found if form})


def _words(names: Iterable[str]) -> frozenset[str]:
    """Names as a password is compared with them."""
    found: set[str] = set()
    for name in names:
        text = blocklist.folded(name.partition("@")[0])
        found |= {text, _SEPARATORS.sub("", text), *_SEPARATORS.split(text)}
    return frozenset(word for word in found if len(word) >= _SHORTEST_WORD)


def _unit(text: str) -> str:
    """The shortest text of which a text is the repetition; itself if there is none."""
    again = (text + text).find(text, 1)
    return text[:again]


def _is_pattern(text: str) -> bool:
    if len(_unit(text)) <= _FEW:
        return True
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    # Digits go on after nine.
    if steps <= {1} or steps <= {-1} or (text.isdigit() and (steps <= {1, -9} or steps <= {-1, 9})):
        return True
    rows = "".join(_ROWS[:3]), "".join((_ROWS[3], _ROWS[1], _ROWS[4])), "".join(_ROWS[5:])
    return any(text in row * 2 or text in (row * 2)[::-1] for row in rows)
