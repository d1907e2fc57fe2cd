"""A candidate is asked, and decides nothing; whatever becomes of it, the answers are the same."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from idp.policy.evaluate import evaluate
from idp.policy.load import parse_policy
from idp.policy.model import Facts
from idp.settings import PolicySettings
from idp.storage import policies, shadow
from idp.storage.engine import reading
from idp.storage.models import decisions
from idp.web import services as composition
from idp.web.candidate import SLOW_SECONDS, STRIKES, Candidate
from idp.web.interaction import BeginInteraction
from tests.fakes.idp import NOW, POLICY, Idp, make_idp

STRICTER = POLICY.replace(b"client: strict", b"client: [strict, example]").replace(b"name: tests", b"name: next")


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.utime(path, (0, 0))


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    write(tmp_path / "policy.yaml", POLICY)
    write(tmp_path / "next.yaml", STRICTER)
    made = make_idp(
        tmp_path,
        policy=None,
        policy_file=tmp_path / "policy.yaml",
        policy_settings=PolicySettings(shadow_file=tmp_path / "next.yaml"),
    )
    yield made
    made.engine.dispose()


def sign_in(idp: Idp, client: str = "example") -> str:
    """Sign in; returns the decision's id."""
    browser = idp.client()
    path = idp.path(browser, BeginInteraction("test", "sign_in", client, {}))
    assert idp.sign_in(browser, path).location == "http://rp.localhost:8405/callback?ok"
    approval = idp.finished[-1].approval
    assert approval is not None
    return approval.decision_id


def candidate(idp: Idp) -> Candidate:
    found = composition.of(idp.app).view.candidate
    assert found is not None
    return found


def differences(idp: Idp) -> tuple[shadow.Difference, ...]:
    with reading(idp.engine) as connection:
        return shadow.differences(connection, candidate(idp).policy.sha256)


def events(idp: Idp, name: str) -> int:
    with reading(idp.engine) as connection:
        return int(
            connection.execute(text("select count(*) from audit_entries where event = :e"), {"e": name}).scalar_one()
        )


def test_what_the_candidate_would_have_decided_otherwise_is_kept_with_the_rules_and_changes_nothing(
    idp: Idp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    decision_id = sign_in(idp)
    (found,) = differences(idp)
    assert (found.decision_id, found.action, found.client_id) == (decision_id, "sign_in", "example")
    assert (found.kind, found.outcome, found.candidate_outcome) == ("step_up", "allow", "step_up")
    assert "sign-in" in found.rules
    assert [cause.rule for cause in found.causes] == ["strict-client"]
    assert found.sha256 == composition.of(idp.app).policy.sha256
    (said,) = [item for item in caplog.records if item.message == "a candidate decides otherwise"]
    assert said.__dict__["fields"]["decision_id"] == decision_id
    assert events(idp, "policy.shadow_differs") == 1
    with reading(idp.engine) as connection:
        row = connection.execute(select(decisions.c.effect, decisions.c.policy_sha256)).one()
        state = policies.state(connection, idp.seals, "shadow")
        assert state is not None
        summary = shadow.summary(connection, state.sha256, state.since)
    assert tuple(row) == ("allow", found.sha256)
    assert (summary.decisions, summary.changed) == (1, (("sign_in", "step_up", 1),))
    assert (candidate(idp).compared, candidate(idp).changed) == (1, 1)


def test_where_the_candidate_agrees_nothing_is_kept(idp: Idp) -> None:
    sign_in(idp, "another")
    assert differences(idp) == ()
    assert (candidate(idp).compared, candidate(idp).changed) == (1, 0)
    with reading(idp.engine) as connection:
        assert shadow.summary(connection, candidate(idp).policy.sha256, NOW) == shadow.Summary(1, ())


def test_a_refusal_is_compared_too(idp: Idp) -> None:
    write(idp.settings.policy_file.with_name("next.yaml"), STRICTER.replace(b"[strict, example]", b"stricter"))
    idp.clock.advance(10)
    idp.add_account("bob", proofing="low")
    browser = idp.client()
    path = idp.path(browser, BeginInteraction("test", "sign_in", "strict", {}))
    idp.sign_in(browser, path, "bob")
    assert idp.post(browser, path, "/leave").status_code == 302
    assert idp.finished[-1].error is not None
    (found,) = differences(idp)
    assert (found.outcome, found.candidate_outcome, found.kind) == ("deny", "allow", "allow")


def test_an_exception_in_the_candidate_fails_no_request(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    name = candidate(idp).policy.name

    def failing(policy: Any, facts: Facts) -> Any:
        if policy.name == name:
            raise RecursionError
        return evaluate(policy, facts)

    monkeypatch.setattr("idp.policy.replay.evaluate", failing)
    for _ in range(STRIKES):
        sign_in(idp)
    assert candidate(idp).stopped
    assert idp.client().get("/health/ready").json == {"status": "degraded", "warnings": ["policy_shadow_stopped"]}
    monkeypatch.undo()
    sign_in(idp)
    assert differences(idp) == (), "it is not asked any more"
    write(idp.settings.policy_file.with_name("next.yaml"), STRICTER + b"# repaired\n")
    idp.clock.advance(10)
    sign_in(idp)
    assert len(differences(idp)) == 1


def test_a_difference_that_cannot_be_recorded_fails_no_request(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "record", lambda *_args: 1 / 0)
    sign_in(idp)
    assert differences(idp) == ()
    assert events(idp, "policy.shadow_differs") == 0


def test_no_more_differences_are_kept_of_a_candidate_than_somebody_will_look_at(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "MAX_DIFFERENCES", 2)
    for _ in range(4):
        sign_in(idp)
    assert len(differences(idp)) == 2
    assert candidate(idp).changed == 4


def test_a_slow_candidate_is_not_asked_any_more() -> None:
    policy = parse_policy(POLICY, "p.yaml")
    times = iter([item for number in range(100) for item in (float(number), number + SLOW_SECONDS * 2)])
    made = Candidate(policy, lambda: next(times))
    facts = Facts("sign_in", (), NOW)
    decision = evaluate(policy, facts)
    for _ in range(STRIKES + 5):
        assert made.ask("d", facts, decision) is None
    assert (made.compared, made.stopped) == (STRIKES, True)


# Its file


def test_the_candidate_comes_and_goes_with_its_file(idp: Idp) -> None:
    path = idp.settings.policy_file.with_name("next.yaml")
    path.unlink()
    idp.clock.advance(10)
    sign_in(idp)
    assert composition.of(idp.app).view.candidate is None
    assert idp.client().get("/health/ready").json == {"status": "ok"}
    with reading(idp.engine) as connection:
        assert policies.state(connection, idp.seals, "shadow") is None
    write(path, STRICTER)
    idp.clock.advance(10)
    sign_in(idp)
    assert len(differences(idp)) == 1
    assert (events(idp, "policy.shadow_began"), events(idp, "policy.shadow_ended")) == (2, 1)


def test_a_bad_candidate_is_said_and_nobody_is_asked_but_the_one_before(idp: Idp) -> None:
    path = idp.settings.policy_file.with_name("next.yaml")
    write(path, b"policy: 2")
    idp.clock.advance(10)
    sign_in(idp)
    assert candidate(idp).policy.name == "next"
    assert idp.client().get("/health/ready").json == {"status": "degraded", "warnings": ["policy_shadow_faults"]}
    write(path, STRICTER)
    idp.clock.advance(10)
    assert idp.client().get("/health/ready").json == {"status": "ok"}


@pytest.mark.parametrize("data", [b"policy: 2", None])
def test_a_server_starts_with_a_bad_candidate_or_without_one(tmp_path: Path, data: bytes | None) -> None:
    write(tmp_path / "policy.yaml", POLICY)
    if data is not None:
        write(tmp_path / "next.yaml", data)
    made = make_idp(
        tmp_path,
        policy=None,
        policy_file=tmp_path / "policy.yaml",
        policy_settings=PolicySettings(shadow_file=tmp_path / "next.yaml"),
    )
    assert composition.of(made.app).view.candidate is None
    expected = () if data is None else ("policy_shadow_faults",)
    assert composition.of(made.app).policies.troubles == expected
    made.engine.dispose()


def test_the_policy_in_force_changes_under_the_candidate(idp: Idp) -> None:
    before = candidate(idp)
    write(idp.settings.policy_file, STRICTER)
    idp.clock.advance(10)
    idp.client().get("/health/live")
    assert composition.of(idp.app).policy.name == "next"
    assert candidate(idp) is before
    with reading(idp.engine) as connection:
        assert [entry.happening for entry in policies.history(connection)] == ["in_force", "shadow", "in_force"]
        assert policies.history(connection)[1].at == NOW
        assert policies.history(connection)[0].at == NOW + timedelta(seconds=10)
