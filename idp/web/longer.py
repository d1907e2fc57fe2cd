"""For whoever cannot go on because their password is too short to be the only factor: what they are told, and can do.

Nobody gets here who has not proved that password: its evidence alone says whether it is long enough.
"""

from __future__ import annotations

from dataclasses import dataclass

from idp.authn.need import lacks_length_only
from idp.policy.evidence import MIN_LENGTH_ALONE, PASSWORD
from idp.web import prospects
from idp.web.progress import Assessment
from idp.web.services import services


@dataclass(frozen=True, slots=True)
class Longer:
    """A longer password would be all that it takes."""

    number: int
    """Characters that it has at least."""
    changeable: bool
    """Whether the policy lets the person choose one themselves."""


def wanted(found: Assessment) -> Longer | None:
    """What to say of the password's length; None: it is not what is missing."""
    if not lacks_length_only(services().policy, found.facts, found.decision):
        return None
    number = max(MIN_LENGTH_ALONE, services().settings.password.min_length)
    changeable = PASSWORD in services().messaging.factors and prospects.can_replace(
        found.account, found.authenticators, PASSWORD, found.facts.evidence
    )
    return Longer(number, changeable)
