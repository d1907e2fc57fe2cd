"""Which frameworks' levels a claim includes: the weaker ones of its own framework, and those that edges lead to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idp.policy.model import Claim, Edge


def closed(
    claims: Iterable[Claim], frameworks: Mapping[str, tuple[str, ...]], edges: Iterable[Edge]
) -> frozenset[Claim]:
    """The claims and all that they include over any number of steps; ends on a cycle."""
    onward: dict[Claim, list[Claim]] = {}
    for edge in edges:
        onward.setdefault(edge.stronger, []).append(edge.weaker)
    found: set[Claim] = set()
    waiting = list(claims)
    while waiting:
        claim = waiting.pop()
        if claim not in found:
            found.add(claim)
            waiting.extend(_next_weaker(claim, frameworks))
            waiting.extend(onward.get(claim, ()))
    return frozenset(found)


def _next_weaker(claim: Claim, frameworks: Mapping[str, tuple[str, ...]]) -> Iterator[Claim]:
    levels = frameworks.get(claim.framework, ())
    if claim.level in levels[1:]:
        yield replace(claim, level=levels[levels.index(claim.level) - 1])
