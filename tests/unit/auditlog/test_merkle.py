"""The tree of a chain's leaves: RFC 6962 2.1, against its own recursive definition."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.errors import ProofInvalid
from auditlog.merkle import EMPTY_ROOT, Frontier, proofs, root_of, verify_inclusion


def leaf(number: int) -> bytes:
    return hashlib.sha256(b"\0%d" % number).digest()


def recursive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 2.1, over leaves that are hashed already."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + recursive_root(leaves[:k]) + recursive_root(leaves[k:])).digest()


def recursive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if index < k:
        return [*recursive_path(index, leaves[:k]), recursive_root(leaves[k:])]
    return [*recursive_path(index - k, leaves[k:]), recursive_root(leaves[:k])]


def test_roots_and_paths_are_those_of_the_definition() -> None:
    for size in range(34):
        leaves = [leaf(number) for number in range(size)]
        root = recursive_root(leaves)
        assert root_of(leaves) == root
        for index, path in proofs(leaves, range(size)).items():
            assert list(path) == recursive_path(index, leaves)
            verify_inclusion(leaves[index], index, size, path, root)


def test_an_empty_tree_has_a_root() -> None:
    assert Frontier.empty().root() == EMPTY_ROOT
    with pytest.raises(ProofInvalid):
        proofs([], [0])


@given(st.integers(1, 70), st.data())
def test_whatever_is_changed_the_leaf_is_not_in_the_tree(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = [leaf(number) for number in range(size)]
    path, root = list(proofs(leaves, [index])[index]), root_of(leaves)
    refused = [
        (leaf(999), index, size, path, root),
        (leaves[index], index, size, path, leaf(999)),
        (leaves[index], index, size, [*path, leaf(999)], root),
        (leaves[index], size, size, path, root),
        (leaves[index], -1, size, path, root),
    ]
    if path:
        other = data.draw(st.integers(0, len(path) - 1))
        refused += [
            (leaves[index], index, size, path[:-1], root),
            (leaves[index], index, size, [*path[:other], leaf(999), *path[other + 1 :]], root),
            (leaves[index], (index + 1) % size, size, path, root),
        ]
    for arguments in refused:
        with pytest.raises(ProofInvalid):
            verify_inclusion(*arguments)


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_tree_is_gone_on_with_from_what_was_remembered(first: int, more: int) -> None:
    frontier = Frontier.empty()
    for number in range(first):
        frontier.add(leaf(number))
    again = Frontier.from_text(frontier.to_text())
    for number in range(first, first + more):
        again.add(leaf(number))
    assert (again.size, again.root()) == (first + more, root_of(leaf(number) for number in range(first + more)))


@pytest.mark.parametrize("text", ["", "x", "1", "0 " + "00" * 32, "-1", "3 00 00", "1 zz", "3 " + "00" * 32])
def test_what_is_no_frontier_is_refused(text: str) -> None:
    with pytest.raises(ProofInvalid):
        Frontier.from_text(text)
