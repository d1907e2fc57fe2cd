"""The states of a request that a person decides on later: which steps there are, of which time takes only one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.clock import from_epoch
from idp.activation.backchannel import (
    COLLECT_SECONDS,
    FIRST,
    LIFE_SECONDS,
    MAX_INTERVAL_SECONDS,
    MAX_LIFE_SECONDS,
    OPEN,
    STEPS,
    State,
    Step,
    after,
    before,
    collect_until,
    seconds_for,
    slower,
    standing,
    too_soon,
)

END = 1_000_000
LAST = from_epoch(END - 1)
OVER = from_epoch(END)
ALLOWED = {
    ("asked", "see", "seen"),
    ("seen", "see", "seen"),
    ("seen", "approve", "approved"),
    ("asked", "refuse", "refused"),
    ("seen", "refuse", "refused"),
    ("asked", "expire", "expired"),
    ("seen", "expire", "expired"),
    ("approved", "expire", "expired"),
    ("approved", "collect", "collected"),
}


def test_these_are_all_the_steps_there_are() -> None:
    found = {(state, step, after(step)) for step in STEPS for state in before(step)}
    assert found == ALLOWED


def test_PSH_03_what_has_ended_leads_nowhere_and_only_a_person_who_looked_approves() -> None:
    ended = {"refused", "expired", "collected"}
    assert not [step for step in STEPS if before(step) & ended]
    assert [step for step in STEPS if after(step) == "approved"] == ["approve"]
    assert before("approve") == {"seen"}
    assert [step for step in STEPS if after(step) == "collected"] == ["collect"]
    assert {FIRST, "seen"} == OPEN


@given(st.lists(st.sampled_from(STEPS)))
def test_PSH_03_no_sequence_of_steps_collects_twice_or_after_a_refusal(steps: list[Step]) -> None:
    state: State = FIRST
    taken: list[Step] = []
    for step in steps:
        if state in before(step):
            state = after(step)
            taken.append(step)
    assert taken.count("collect") <= 1
    assert taken.count("approve") <= 1
    if "collect" in taken:
        assert "refuse" not in taken
        assert "expire" not in taken
        assert taken.index("see") < taken.index("approve") < taken.index("collect")


@pytest.mark.parametrize("state", get_args(State))
def test_time_takes_the_open_and_the_uncollected_and_nothing_else(state: State) -> None:
    assert standing(state, END, LAST) == state
    over = standing(state, END, OVER)
    assert over == ("expired" if state in {"asked", "seen", "approved"} else state)
    assert over != "approved"


def test_a_client_waits_no_longer_than_it_was_told_and_what_was_approved_not_for_long() -> None:
    assert (seconds_for(None), seconds_for(1), seconds_for(10**8)) == (LIFE_SECONDS, 1, MAX_LIFE_SECONDS)
    now = datetime(2026, 3, 4, tzinfo=UTC)
    at = int(now.timestamp())
    assert collect_until(at + 10, now) == at + 10
    assert collect_until(at + 900, now) == at + COLLECT_SECONDS


def test_an_interval_is_kept_to_the_second_but_one_and_grows_to_a_minute() -> None:
    asked = END - 100
    assert not too_soon(None, 5, LAST)
    assert too_soon(asked, 5, from_epoch(asked + 3))
    assert not too_soon(asked, 5, from_epoch(asked + 4))
    interval = 5
    for _ in range(100):
        assert interval <= (interval := slower(interval)) <= MAX_INTERVAL_SECONDS
    assert interval == MAX_INTERVAL_SECONDS
