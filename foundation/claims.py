"""Reading claims that somebody else wrote: each of the right type, within bounds, none unknown."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from foundation.clock import epoch
from foundation.errors import TokenClaimsInvalid, TokenExpired

MAX_TEXT: Final = 1024
MAX_EPOCH: Final = 253_402_300_799
"""9999-12-31T23:59:59Z."""


def check_members(claims: Mapping[str, Any], required: Collection[str], optional: Collection[str] = ()) -> None:
    """Every required member is there, and none that is neither required nor optional.

    :raises TokenClaimsInvalid: naming the first at fault.
    """
    for name in required:
        if name not in claims:
            raise TokenClaimsInvalid(f"claim {name} is missing")
    for name in claims:
        if name not in required and name not in optional:
            raise TokenClaimsInvalid("a claim is unknown")


def text(claims: Mapping[str, Any], name: str, *, max_length: int = MAX_TEXT) -> str:
    """A non-empty string of at most ``max_length`` characters.

    :raises TokenClaimsInvalid: anything else.
    """
    value = claims.get(name)
    if not isinstance(value, str) or not value or len(value) > max_length:
        raise TokenClaimsInvalid(f"claim {name} is not a string of 1 to {max_length} characters")
    return value


def texts(claims: Mapping[str, Any], name: str, *, max_items: int, max_length: int = MAX_TEXT) -> tuple[str, ...]:
    """A list of at most ``max_items`` non-empty strings; may be empty.

    :raises TokenClaimsInvalid: anything else.
    """
    value = claims.get(name)
    if not isinstance(value, list) or len(value) > max_items:
        raise TokenClaimsInvalid(f"claim {name} is not a list of at most {max_items}")
    if not all(isinstance(item, str) and 0 < len(item) <= max_length for item in value):
        raise TokenClaimsInvalid(f"claim {name} has an item that is not a string of 1 to {max_length} characters")
    return tuple(value)


def integer(claims: Mapping[str, Any], name: str, *, low: int, high: int) -> int:
    """An integer from ``low`` to ``high``; a boolean or a fraction is none.

    :raises TokenClaimsInvalid: anything else.
    """
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise TokenClaimsInvalid(f"claim {name} is not an integer from {low} to {high}")
    return value


def boolean(claims: Mapping[str, Any], name: str) -> bool:
    """``true`` or ``false``.

    :raises TokenClaimsInvalid: anything else.
    """
    value = claims.get(name)
    if not isinstance(value, bool):
        raise TokenClaimsInvalid(f"claim {name} is not a boolean")
    return value


def mapping(claims: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A JSON object.

    :raises TokenClaimsInvalid: anything else.
    """
    value = claims.get(name)
    if not isinstance(value, dict):
        raise TokenClaimsInvalid(f"claim {name} is not an object")
    return value


def numeric_date(claims: Mapping[str, Any], name: str) -> int:
    """A NumericDate in whole seconds (RFC 7519 2).

    :raises TokenClaimsInvalid: anything else.
    """
    return integer(claims, name, low=0, high=MAX_EPOCH)


def check_not_expired(exp: int, now: datetime) -> None:
    """``exp`` is the first second refused.

    :raises TokenExpired: it has been reached.
    """
    if epoch(now) >= exp:
        raise TokenExpired("the token has expired")


def check_issued(iat: int, now: datetime, *, leeway_seconds: int) -> None:
    """``iat`` is not further in the future than clocks may differ.

    :raises TokenClaimsInvalid: it is.
    """
    if iat > epoch(now) + leeway_seconds:
        raise TokenClaimsInvalid("the token was issued in the future")
