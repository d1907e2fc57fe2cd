"""Writes JSON: what :class:`json.JSONEncoder` writes, with less to be made for each text.

The standard encoder makes its writer anew for every text, which takes as long as to write a short one; here it is made
once.  The text is the same, character for character.
"""

from __future__ import annotations

import json
import json.encoder
from collections.abc import Callable
from typing import Any, Final

# The part of CPython that is written in C; other implementations have none.
_MAKE: Final[Callable[..., Callable[[Any, int], tuple[str, ...]]] | None] = getattr(
    json.encoder, "c_make_encoder", None
)


def encoder(
    *, sort_keys: bool = False, separators: tuple[str, str] = (", ", ": "), allow_nan: bool = True
) -> Callable[[Any], str]:
    """What writes a value as JSON in ASCII; for a module to make once and keep.  Safe to share between threads.

    :param separators: between members, and between a name and its value.
    :returns: raises ValueError for a number that is none, unless ``allow_nan``, TypeError for what is no JSON value,
        and RecursionError for what contains itself.
    """
    plain = json.JSONEncoder(check_circular=False, sort_keys=sort_keys, separators=separators, allow_nan=allow_nan)
    if _MAKE is None:
        return plain.encode
    escaped = json.encoder.encode_basestring_ascii
    # As JSONEncoder.iterencode calls it, without names: no memory of what it is within, since threads cannot share one,
    # what to ask about other values, escaping, no indent, the separators, order, no keys skipped, and numbers.
    colon, comma, skip_keys = plain.key_separator, plain.item_separator, plain.skipkeys
    write = _MAKE(None, plain.default, escaped, None, colon, comma, sort_keys, skip_keys, allow_nan)
    join = "".join
    return lambda value: join(write(value, 0))
