"""The Merkle tree of a chain's leaves (RFC 6962 2.1): one record is shown to be in it without the others.

Pure.  The chain's own hash needs every record before; a tree of n leaves needs log2(n) hashes.  A leaf has the index of
its record's sequence number, less one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from auditlog.chain import NODE
from auditlog.errors import ProofInvalid

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Of a tree without leaves."""
MAX_PATH: Final = 63
"""Hashes of a proof: no tree has 2**63 leaves."""
_HASH: Final = 32


@dataclass(slots=True)
class Frontier:
    """What has to be remembered of a tree to go on with it: the roots of its whole subtrees, the greatest first."""

    size: int
    """How many leaves."""
    hashes: list[bytes]

    @classmethod
    def empty(cls) -> Frontier:
        """Of a tree without leaves."""
        return cls(0, [])

    def add(self, leaf: bytes) -> None:
        """Go on with a leaf."""
        self.hashes.append(leaf)
        size = self.size
        while size & 1:
            right = self.hashes.pop()
            self.hashes[-1] = node(self.hashes[-1], right)
            size >>= 1
        self.size += 1

    def root(self) -> bytes:
        """The tree's root, 32 octets."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node(left, root)
        return root

    def to_text(self) -> str:
        """For a column of a table."""
        return " ".join((str(self.size), *(each.hex() for each in self.hashes)))

    @classmethod
    def from_text(cls, text: str) -> Frontier:
        """Read what :meth:`to_text` wrote; whether it is the tree's is for whoever knows the root.

        :raises ProofInvalid: anything else.
        """
        try:
            size, *hashes = text.split(" ")
            made = cls(int(size), [bytes.fromhex(each) for each in hashes])
        except ValueError as error:
            raise ProofInvalid("a tree's frontier cannot be read") from error
        if made.size < 0 or len(hashes) != made.size.bit_count() or any(len(each) != _HASH for each in made.hashes):
            raise ProofInvalid("a tree's frontier has another shape than its size says")
        return made


def node(left: bytes, right: bytes) -> bytes:
    """A node over two."""
    return hashlib.sha256(NODE + left + right).digest()


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root of a tree with these leaves."""
    frontier = Frontier.empty()
    for leaf in leaves:
        frontier.add(leaf)
    return frontier.root()


def proofs(leaves: Iterable[bytes], indices: Iterable[int]) -> dict[int, tuple[bytes, ...]]:
    """Audit paths (RFC 6962 2.1.1) of several leaves, from one pass over all of them.

    Kept at a time: one level of the tree.

    :returns: for each index the siblings, from the leaf's up.
    :raises ProofInvalid: there is no leaf of that index.
    """
    level: Sequence[bytes] = tuple(leaves)
    at = {index: index for index in indices}
    if any(not 0 <= index < len(level) for index in at):
        raise ProofInvalid("the tree has no such leaf")
    paths: dict[int, list[bytes]] = {index: [] for index in at}
    while len(level) > 1:
        for index, place in at.items():
            sibling = place ^ 1
            # The last of an odd level has none: it goes up as it is.
            if sibling < len(level):
                paths[index].append(level[sibling])
            at[index] = place >> 1
        pairs = [node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
    return {index: tuple(path) for index, path in paths.items()}


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Whether a leaf is in the tree (RFC 9162 2.1.3.2).

    :raises ProofInvalid: it is not, by this path.
    """
    if not 0 <= index < size:
        raise ProofInvalid("the tree has no such leaf")
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofInvalid("the proof is too long")
        if place & 1 or place == last:
            found = node(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node(found, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or found != root:
        raise ProofInvalid("the record is not in the tree")
