"""What the commands say of a password that is too short to stand alone, and of one of which nobody knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foundation.clock import FixedClock
from idp.cli import people
from idp.cli.policy import main
from tests.fakes.idp import NOW, Idp, make_idp
from tests.unit.idp_web.factors import ALONE, POLICY
from tests.unit.idp_web.test_short_password import SHORT, begin, give
from tests.unit.idp_web.test_simulate import CONFIG

CLOCK = FixedClock(NOW)


@pytest.fixture
def idp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Idp]:
    """Under a policy that says nothing of revision 4, with one beside it that does; bob has nothing but a password."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "idp.toml").write_text(CONFIG.format(directory=tmp_path))
    (tmp_path / "tests.yaml").write_bytes(POLICY)
    (tmp_path / "candidate.yaml").write_bytes(ALONE)
    made = make_idp(tmp_path, policy=POLICY)
    made.add_account("bob", phone=None)
    give(made, "bob", SHORT)
    yield made
    made.engine.dispose()


def remark(capsys: pytest.CaptureFixture[str], username: str, command: str = "factors") -> str:
    """What a command says of somebody's password, on Monday."""
    capsys.readouterr()
    assert people.main((command, "--username", username, "--config", "idp.toml", "--json"), CLOCK) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    (said,) = (item["remark"] for item in found["factors"] if item["factor"] == "password")
    assert all(item["remark"] == "" for item in found["factors"] if item["factor"] != "password")
    return str(said)


@pytest.mark.parametrize("command", ["factors", "show"])
def test_a_persons_factors_are_listed_with_what_a_live_session_tells_of_the_password(
    idp: Idp, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert remark(capsys, "bob", command).startswith("no live session tells")
    begin(idp, "bob")
    assert remark(capsys, "bob", command).startswith("fewer than 15 characters: does not stand alone")
    begin(idp, "alice", "correct horse battery staple")
    assert remark(capsys, "alice", command) == "15 characters or more"


def test_explain_says_why_a_short_password_is_not_enough(idp: Idp, capsys: pytest.CaptureFixture[str]) -> None:
    begin(idp, "bob")
    asked = ("explain", "candidate.yaml", "--action", "sign_in", "--at", "2026-03-02T10:00:00Z")
    known = (*asked, "--config", "idp.toml", "--person", "bob")
    assert main((*known, "--evidence", "password,min_length=0"), CLOCK) == 4
    out = capsys.readouterr().out
    assert "(unreachable)" in out
    assert "has fewer than 15 characters, and does not stand alone" in out
    described = (*asked, "--proofing", "low")
    assert main((*described, "--evidence", "password,min_length=14", "--enrolled", "password"), CLOCK) == 3
    assert main((*described, "--evidence", "password"), CLOCK) == 0, "unless it is said, as long as a new one"


def test_simulate_tells_how_many_a_stricter_revision_would_stop(idp: Idp, capsys: pytest.CaptureFixture[str]) -> None:
    begin(idp, "bob")
    begin(idp, "alice", "correct horse battery staple")
    assert [outcome.error for outcome in idp.finished] == [None, None]
    assert main(("simulate", "candidate.yaml", "--from-audit", "--config", "idp.toml")) == 3
    assert "1 of 2 recorded sign-ins would now be refused" in capsys.readouterr().out
