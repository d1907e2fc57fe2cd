"""The ways that are open to a person now, as the page of the choice shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from idp.authn.ways import ways
from idp.web.progress import Assessment

_THEN: Final = "+"


@dataclass(frozen=True, slots=True)
class Part:
    """One factor of a way."""

    kind: str
    recognised: str
    """By what the person knows which one is meant: a masked address, or what they call it; may be empty."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One whole way: what is asked for first, and what follows."""

    parts: tuple[Part, ...]
    usual: bool
    """The way that was taken last."""

    @property
    def value(self) -> str:
        """What the form sends; :func:`parted` reads it."""
        return _THEN.join(part.kind for part in self.parts)


def parted(value: str) -> tuple[str, str]:
    """The first factor of a way that a form or an address names, and the one that follows; empty if there is none.

    Neither is believed: whoever uses them looks whether the policy asks for them.
    """
    first, _, then = value.partition(_THEN)
    return first, then.partition(_THEN)[0]


def offers(found: Assessment) -> tuple[Offer, ...]:
    """Every way that the policy leaves, of which the person has all parts."""
    owned = {item.kind: item for item in found.authenticators if item.usable(found.context.now)}
    used: dict[str, datetime] = {}
    for item in found.authenticators:
        if item.last_used is not None and item.kind in owned:
            used[item.kind] = max(item.last_used, used.get(item.kind, item.last_used))
    return tuple(
        Offer(tuple(Part(kind, owned[kind].recognised_by) for kind in way.factors), way.usual)
        for way in ways(found.decision, used)
        if all(kind in owned for kind in way.factors)
    )
