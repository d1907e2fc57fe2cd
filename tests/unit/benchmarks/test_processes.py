"""Whose processor time it was."""

from __future__ import annotations

from benchmarks.processes import attribute, machine_seconds, owner_of

TABLE = {1: (0, 9.0), 10: (1, 1.0), 11: (10, 2.0), 12: (11, 4.0), 20: (1, 8.0), 30: (99, 16.0)}
"""Process id to parent and seconds."""


def test_children_count_for_their_nearest_named_ancestor() -> None:
    assert attribute(TABLE, {10: "sam", 12: "device"}) == {"sam": 3.0, "device": 4.0}


def test_a_process_of_somebody_else_counts_for_nobody() -> None:
    assert owner_of(20, TABLE, {10: "sam"}) is None
    assert owner_of(30, TABLE, {10: "sam"}) is None


def test_two_processes_of_one_name_are_added_up_and_one_that_has_ended_counts_nothing() -> None:
    assert attribute(TABLE, {11: "device", 20: "device", 77: "gone"}) == {"device": 14.0, "gone": 0.0}


def test_the_machine_was_busy_for_no_longer_than_it_has_run() -> None:
    busy, total = machine_seconds()
    assert 0 < busy <= total
