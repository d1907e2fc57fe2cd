"""One piece of evidence for each requirement of a set, each by another authenticator."""

from __future__ import annotations

from typing import Final

from idp.policy.evidence import Evidence
from idp.policy.matching import authenticator, categories

FREE_TRIES: Final = 100
"""Beginnings of a selection that are tried without being counted: policies for people need a handful."""
MAX_TRIES: Final = 5_000
"""Beginnings that one evaluation tries beyond those.  Sets of requirements made to be slow count as not met then, which
asks for more and never for less (DOS-06)."""


class Search:
    """One candidate for each requirement, all of them different; tries in order, depth at most the set's length."""

    def __init__(self, candidates: list[tuple[Evidence, ...]], different: int, most: int) -> None:
        """:param most: so many beginnings are tried, then none is found."""
        self._candidates = candidates
        self._different = different
        self._most = most
        self._dead: set[object] = set()
        self.tried = 0

    def find(self) -> tuple[Evidence, ...] | None:
        """The first selection; None if there is none."""
        if all(self._candidates) and len(self._candidates) <= self._most:
            # Mostly the first of each will do: what is tried first.
            chosen = tuple([candidates[0] for candidates in self._candidates])
            if len({authenticator(item) for item in chosen}) == len(chosen) and categories(chosen) >= self._different:
                self.tried = len(chosen)
                return chosen
        return self._find(())

    def _find(self, chosen: tuple[Evidence, ...]) -> tuple[Evidence, ...] | None:
        """The first selection that begins with these; None if there is none."""
        if len(chosen) == len(self._candidates):
            return chosen if categories(chosen) >= self._different else None
        used = frozenset([authenticator(item) for item in chosen])
        # Whatever order they came in: what is left to choose from, and what it has to bring, is the same.
        beginning = (
            used,
            frozenset([item.category for item in chosen]),
            any(item.has("user_verified") for item in chosen),
        )
        if beginning in self._dead or self.tried >= self._most:
            return None
        self.tried += 1
        for item in self._candidates[len(chosen)]:
            if authenticator(item) not in used:
                found = self._find((*chosen, item))
                if found is not None:
                    return found
        self._dead.add(beginning)
        return None
