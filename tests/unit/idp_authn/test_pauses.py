"""A level bears a pause or it does not; what was proved goes on counting towards the levels that do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.clock import epoch
from idp.authn.session import MOST_PAUSES, Pause, context_of, with_pause
from idp.policy.evaluate import evaluate
from idp.policy.evidence import Evidence
from idp.policy.facts import EnrolledFactor
from idp.policy.load import parse_policy
from idp.policy.model import Facts

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
POLICY = parse_policy(
    b"""\
policy: 1
name: idle
levels:
  - name: one
    acr: urn:example:one
    idle_limit: 1h
    any_of:
      - all_of: [{factor: password}]
      - all_of: [{factor: passkey}]
  - name: two
    acr: urn:example:two
    implies: one
    idle_limit: 30m
    any_of:
      - all_of: [{factor: passkey, flags: user_verified}]
      - all_of: [{factor: password}, {factor: totp}]
        different_categories: 2
rules:
  - {id: sign-in, action: sign_in, require: one}
  - {id: sign, action: signature.activate, require: two}
""",
    "idle.yaml",
)
PASSWORD = Evidence("password", "a-password", "knowledge", NOW)
TOTP = Evidence("totp", "a-totp", "possession", NOW)
PASSKEY = Evidence("passkey", "a-passkey", "possession", NOW, flags=frozenset({"user_verified"}))
ENROLLED = (EnrolledFactor("password", "knowledge"), EnrolledFactor("totp", "possession"))


def after(seconds: int, action: str, *evidence: Evidence, pauses: tuple[Pause, ...] | None = None) -> Facts:
    now = NOW + timedelta(seconds=seconds)
    pauses = with_pause((), epoch(now), seconds) if pauses is None else pauses
    context = context_of(
        account_id="a",
        session_id="s",
        session_evidence=evidence,
        transaction_evidence=(),
        txn="t",
        now=now,
        pauses=pauses,
    )
    return Facts(action=action, evidence=context.evidence, now=now, transaction="t", enrolled=ENROLLED)


@pytest.mark.parametrize("evidence", [(PASSWORD, TOTP), (PASSKEY,)])
def test_a_pause_lowers_the_session_and_does_not_end_it(evidence: tuple[Evidence, ...]) -> None:
    just = evaluate(POLICY, after(1799, "sign_in", *evidence))
    assert (just.outcome, just.acr) == ("allow", "urn:example:two")
    longer = evaluate(POLICY, after(1800, "sign_in", *evidence))
    assert (longer.outcome, longer.acr, longer.reached) == ("allow", "urn:example:one", ("one",))
    assert evaluate(POLICY, after(1800, "signature.activate", *evidence)).outcome == "step_up"
    assert evaluate(POLICY, after(3600, "sign_in", *evidence)).outcome == "step_up"


def test_what_is_proved_after_the_pause_counts_and_the_rest_is_asked_for_again() -> None:
    end = NOW + timedelta(seconds=1800)
    fresh = Evidence("totp", "a-totp", "possession", end)
    decision = evaluate(POLICY, after(1800, "signature.activate", PASSWORD, fresh))
    assert [option.missing for option in decision.options] == [("password",)], "one that was left alone does not help"
    assert any("was left alone for longer than the level bears" in reason.text for reason in decision.reasons)
    both = (Evidence("password", "a-password", "knowledge", end), fresh)
    assert evaluate(POLICY, after(1800, "signature.activate", *both)).outcome == "allow"


def test_activity_after_a_pause_does_not_bring_the_level_back() -> None:
    ended = epoch(NOW) + 1800
    pauses = with_pause(with_pause((), ended, 1800), ended + 60, 60)
    assert evaluate(POLICY, after(1860, "signature.activate", PASSKEY, pauses=pauses)).outcome == "step_up"


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 4000)), max_size=40), st.integers(0, 40))
def test_no_pause_is_ever_told_shorter_than_it_was(steps: list[tuple[int, int]], proved_at: int) -> None:
    at = proved = epoch(NOW)
    pauses: tuple[Pause, ...] = ()
    real: list[Pause] = []
    for index, (active, idle) in enumerate(steps):
        if index == proved_at:
            proved = at
        at += active + idle
        pauses = with_pause(pauses, at, idle)
        real.append((at, idle))
    assert len(pauses) <= MOST_PAUSES
    longest = max((idle for ended, idle in real if ended > proved and idle >= 60), default=0)
    told = max((idle for ended, idle in pauses if ended > proved), default=0)
    assert told >= longest
    assert len(pauses) == MOST_PAUSES or told == longest
