"""``privyseal idp policy``: what auditors ask about the policies of the past."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idp.cli.administration import main
from idp.settings import PolicySettings
from tests.fakes.idp import POLICY, make_idp
from tests.unit.idp_web.test_cli import CONFIG
from tests.unit.idp_web.test_shadow import STRICTER, sign_in, write

NEXT = '[policy]\nshadow_file = "next.yaml"\n'


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A server with a candidate, whose file was once refused."""
    (tmp_path / "idp.toml").write_text(CONFIG.format(directory=tmp_path) + NEXT)
    write(tmp_path / "policy.yaml", POLICY)
    write(tmp_path / "next.yaml", STRICTER)
    made = make_idp(
        tmp_path,
        policy=None,
        policy_file=tmp_path / "policy.yaml",
        policy_settings=PolicySettings(shadow_file=tmp_path / "next.yaml"),
    )
    write(tmp_path / "policy.yaml", b"policy: 1")
    made.clock.advance(10)
    sign_in(made)
    made.engine.dispose()
    return tmp_path


def run(state: Path, *argv: str) -> int:
    return main(("policy", *argv, "--config", str(state / "idp.toml")))


def test_the_history_says_what_was_in_force_and_what_was_refused(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "history", "--json") == 0
    found = json.loads(capsys.readouterr().out)["history"]
    assert [item["happening"] for item in found] == ["refused", "shadow", "in_force"]
    assert found[0]["cause"] == "faults"
    assert any("'levels'" in fault for fault in found[0]["faults"])
    assert run(state, "history", "--limit", "1") == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_the_policy_that_a_sad_names_is_found_years_later(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(state, "history", "--json")
    digest = json.loads(capsys.readouterr().out)["history"][2]["sha256"]
    out = ("--out", str(state / "found.yaml"), "--cases-out", str(state / "found.test.yaml"))
    assert run(state, "show", "--sha256", digest.upper(), *out) == 0
    assert (state / "found.yaml").read_bytes() == POLICY
    assert not (state / "found.test.yaml").exists(), "it had none"
    assert run(state, "show", "--sha256", digest, *out) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert run(state, "show", "--sha256", "0" * 64, *out) == 1


def test_what_the_candidate_would_change_is_counted(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(state, "shadow", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["decisions"] == 1
    assert found["changed"] == [{"action": "sign_in", "kind": "step_up", "count": 1}]


def test_without_a_candidate_there_is_nothing_to_count(tmp_path: Path) -> None:
    (tmp_path / "idp.toml").write_text(CONFIG.format(directory=tmp_path))
    make_idp(tmp_path).engine.dispose()
    assert run(tmp_path, "shadow") == 1


def test_a_policy_that_a_server_would_refuse_is_told_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "idp.toml").write_text(CONFIG.format(directory=tmp_path))
    write(tmp_path / "policy.yaml", POLICY)
    write(tmp_path / "policy.test.yaml", b"policy-test: 1\ncases: []\n")
    assert main(("init", "--config", str(tmp_path / "idp.toml"))) == 1
    assert "policy.test.yaml:2" in capsys.readouterr().err
    assert not (tmp_path / "idp.sqlite").exists()
    assert not (tmp_path / "keys").exists()
