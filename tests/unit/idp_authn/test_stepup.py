"""From a decision to the next step, and what a session amounts to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from idp.authn import session
from idp.authn.methods import evidence_of
from idp.authn.session import context_of, decide
from idp.authn.stepup import Allowed, AskFactor, AskPassword, Refused, Step, next_step
from idp.policy.evaluate import evaluate
from idp.policy.evidence import Evidence
from idp.policy.load import parse_policy
from idp.policy.model import Decision, Facts, StepUpOption
from idp.storage.authenticators import NewAuthenticator

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def decision(outcome: Any, *missing: tuple[str, ...], refusal: Any = None) -> Decision:
    return Decision(
        outcome=outcome,
        required=("substantial",),
        reached=(),
        acr="0",
        loa=None,
        amr=(),
        relied_on=(),
        auth_time=None,
        session_limit=None,
        idle_limit=None,
        options=tuple(StepUpOption("substantial", names) for names in missing),
        reasons=(),
        refusal=refusal,
    )


@pytest.mark.parametrize(
    ("given", "step"),
    [
        (decision("allow"), Allowed()),
        (decision("step_up", ("password",)), AskPassword()),
        (decision("step_up", ("password", "sms_otp"), ("password", "email_otp")), AskPassword()),
        (decision("step_up", ("email_otp",), ("sms_otp",)), AskFactor(("email_otp", "sms_otp"))),
        (decision("step_up", ("sms_otp",), ("password", "email_otp")), AskFactor(("sms_otp", "password"))),
        (decision("deny", refusal="no_rule"), Refused("no_rule", "access_denied")),
        (decision("deny", refusal="proofing"), Refused("proofing", "access_denied")),
        (decision("deny", refusal="unmet_request"), Refused("unmet_request", "unmet_authentication_requirements")),
        # A step-up without a way to do it must never be taken for an approval.
        (decision("step_up"), Refused("unreachable", "access_denied")),
    ],
)
def test_each_decision_has_its_step(given: Decision, step: Step) -> None:
    assert next_step(given) == step


def context(*items: Evidence, own: tuple[Evidence, ...] = (), limit: int | None = None) -> tuple[Evidence, ...]:
    return context_of(
        account_id="a",
        session_id="s",
        session_evidence=items,
        transaction_evidence=own,
        txn="this",
        now=NOW,
        session_limit=limit,
    ).evidence


def test_SES_06_evidence_bound_to_another_transaction_does_not_count() -> None:
    other = evidence_of(NewAuthenticator("phone", "a", "sms_otp"), NOW, "other", bound=True)
    own = evidence_of(NewAuthenticator("phone", "a", "sms_otp"), NOW, "this", bound=True)
    assert context(other) == ()
    assert context(other, own=(own,)) == (own,)


def test_evidence_from_the_future_does_not_count() -> None:
    assert context(Evidence("password", "p", "knowledge", NOW + timedelta(seconds=1))) == ()


def test_past_the_session_limit_only_what_was_proved_for_this_transaction_counts() -> None:
    old = Evidence("password", "p", "knowledge", NOW - timedelta(seconds=61))
    again = Evidence("password", "p", "knowledge", NOW - timedelta(seconds=61), transaction="this")
    assert context(old, limit=60) == ()
    assert context(old, limit=61) == (old,)
    assert context(old, again, limit=60) == (again,)


LIMITED = b"""\
policy: 1
name: limited
levels:
  - name: low
    session_limit: 1h
    any_of: [{all_of: [{factor: password}]}]
  - name: other
    implies: low
    session_limit: 10m
    any_of: [{all_of: [{factor: sms_otp}]}]
rules:
  - {id: sign-in, action: sign_in, require: low}
"""


@pytest.mark.parametrize(("minutes", "outcome"), [(10, "allow"), (11, "deny"), (30, "deny")])
def test_SAD_08_the_session_limit_of_the_way_that_is_left_holds_as_well(minutes: int, outcome: str) -> None:
    """The level's own limit leaves the password out; what is left reaches it by a level that remembers less."""
    password = Evidence("password", "p", "knowledge", NOW - timedelta(hours=2))
    code = Evidence("sms_otp", "s", "possession", NOW - timedelta(minutes=minutes))
    policy, facts = parse_policy(LIMITED, "limited.yaml"), Facts("sign_in", (password, code), NOW)

    facts, found = decide(policy, facts, lambda limit: context(password, code, limit=limit))

    assert found.outcome == outcome
    assert facts.evidence == ((code,) if outcome == "allow" else ())


def test_a_limit_that_leaves_nothing_out_decides_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    password = Evidence("password", "p", "knowledge", NOW - timedelta(minutes=5))
    policy, given, seen = parse_policy(LIMITED, "limited.yaml"), Facts("sign_in", (password,), NOW), []

    def counted(*arguments: Any) -> Decision:
        seen.append(arguments)
        return evaluate(*arguments)

    monkeypatch.setattr(session, "evaluate", counted)
    facts, found = decide(policy, given, lambda limit: context(password, limit=limit))

    assert (found.outcome, facts, len(seen)) == ("allow", given, 1)
    assert found == evaluate(policy, facts), "the decision about the facts that are returned"
