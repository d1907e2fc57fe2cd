"""How a person must have authenticated for a method, and the challenge where they did not (RFC 9470).

Which level is more than another this resource server does not know: the operator lists every ``acr`` that is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from foundation import claims as read
from foundation.clock import epoch
from signing.csc import errors
from signing.settings import AuthenticationDemand


@dataclass(frozen=True, slots=True)
class Authentication:
    """What a token says of how its person authenticated (RFC 9470 6)."""

    acr: str | None = None
    auth_time: int | None = None
    """NumericDate."""


def authentication_of(claims: Mapping[str, Any]) -> Authentication:
    """From a token's claims; either may be absent.

    :raises TokenClaimsInvalid: one is there and malformed.
    """
    return Authentication(
        acr=read.text(claims, "acr", max_length=255) if "acr" in claims else None,
        auth_time=read.numeric_date(claims, "auth_time") if "auth_time" in claims else None,
    )


def check_authentication(made: Authentication, demand: AuthenticationDemand, now: datetime) -> None:
    """A token that does not say it does not meet a demand; an age of exactly the limit still does.

    :raises errors.InsufficientUserAuthentication: with everything that a new authorization request has to ask for.
    """
    age = demand.max_authentication_age
    if demand.required_acr and made.acr not in demand.required_acr:
        raise errors.InsufficientUserAuthentication(errors.OTHER_LEVEL, demand.required_acr, age)
    if age is not None and (made.auth_time is None or epoch(now) - made.auth_time > age):
        raise errors.InsufficientUserAuthentication(errors.MORE_RECENT, demand.required_acr, age)
