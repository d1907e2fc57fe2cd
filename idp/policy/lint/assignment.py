"""Whether everybody can have something of their own: a bipartite matching by augmenting paths (Kuhn)."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Generic, TypeVar

_Node = TypeVar("_Node", bound=Hashable)


def assignable(options: Sequence[Collection[_Node]]) -> bool:
    """Whether each row can have one of its options, no two the same.

    The time is at most the number of rows times the number of options in all.
    """
    matching = _Matching(options)
    return all(matching.place(row) for row in range(len(options)))


class _Matching(Generic[_Node]):
    """Rows to options; iterative, so that length costs no stack."""

    def __init__(self, options: Sequence[Collection[_Node]]) -> None:
        self._options = options
        self._held: dict[int, _Node] = {}
        self._holder: dict[_Node, int] = {}

    def place(self, start: int) -> bool:
        """Give one more row its option, moving others if that helps."""
        came: dict[_Node, int] = {}
        waiting = [start]
        while waiting:
            row = waiting.pop()
            for node in self._options[row]:
                if node in came:
                    continue
                came[node] = row
                if node not in self._holder:
                    self._flip(node, came, start)
                    return True
                waiting.append(self._holder[node])
        return False

    def _flip(self, node: _Node, came: dict[_Node, int], start: int) -> None:
        """Along the path by which the free option was found, each row takes what comes after it."""
        row = came[node]
        while row != start:
            left = self._held[row]
            self._held[row], self._holder[node] = node, row
            node, row = left, came[left]
        self._held[row], self._holder[node] = node, row
