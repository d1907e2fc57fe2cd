"""From a decision to the next thing to ask a person for.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from idp.policy.model import Decision, Refusal

_REFUSALS: Final[dict[str, str]] = {"unmet_request": "unmet_authentication_requirements"}
"""Refusals that have a name of their own in OpenID Connect; the others are ``access_denied``."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Everything is proved; what remains is the person's consent."""


@dataclass(frozen=True, slots=True)
class AskPassword:
    """The password is to be typed, again or for the first time."""


@dataclass(frozen=True, slots=True)
class AskFactor:
    """One of these factors is to be proved next, the policy's preference first; the password may be among them."""

    factors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing that the person has leads to the goal."""

    refusal: Refusal
    error: str
    """The OAuth error for the relying party."""


Step = Allowed | AskPassword | AskFactor | Refused


def next_step(decision: Decision) -> Step:
    """What to do about a decision.

    A password comes before a code: a message is sent to nobody who has not proved something first (OTP-07).
    """
    if decision.outcome == "allow":
        return Allowed()
    first = tuple(dict.fromkeys(option.missing[0] for option in decision.options if option.missing))
    if decision.outcome == "deny" or not first:
        refusal = decision.refusal or "unreachable"
        return Refused(refusal, _REFUSALS.get(refusal, "access_denied"))
    return AskPassword() if first == ("password",) else AskFactor(first)
