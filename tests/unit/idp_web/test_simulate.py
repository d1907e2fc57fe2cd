"""Recorded sign-ins of a running identity provider, asked of another policy: from the browser to the words."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update

from idp.cli import administration
from idp.cli.policy import main, source
from idp.storage.models import decisions
from idp.web.interaction import BeginInteraction
from tests.fakes.idp import PASSWORD, POLICY, Idp, make_idp

CONFIG = """\
mode = "development"
issuer = "http://idp.localhost:8401"
database_url = "sqlite:///{directory}/idp.sqlite"
key_dir = "keys"
policy_file = "tests.yaml"
[signing]
csc_base = "http://sign.localhost:8402/csc/v2"
sam_id = "urn:privyseal:sam:test"
"""
STRICTER = POLICY.replace(b"action: sign_in\n    require: low", b"action: sign_in\n    require: substantial", 1)
LINE = STRICTER.decode().partition("- id: sign-in\n")[0].count("\n") + 1
SOURCE = ("--from-audit", "--config", "idp.toml")


@pytest.fixture(name="idp")
def _idp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Idp:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "idp.toml").write_text(CONFIG.format(directory=tmp_path))
    (tmp_path / "tests.yaml").write_bytes(POLICY)
    (tmp_path / "candidate.yaml").write_bytes(STRICTER)
    idp = make_idp(tmp_path)
    for client in ("shop", "shop", "strict"):
        browser = idp.client()
        path = idp.path(browser, BeginInteraction("test", "sign_in", client, {}))
        idp.sign_in(browser, path)
        if client == "strict":
            idp.pass_otp(browser, path)
    assert [outcome.error for outcome in idp.finished] == [None, None, None]
    return idp


@pytest.mark.usefixtures("idp")
def test_a_stricter_candidate_says_how_many_sign_ins_it_would_have_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("simulate", "candidate.yaml", *SOURCE)) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "3 recorded decisions of 2026-03-02 to 2026-03-02, asked of candidate.yaml (tests, sha256"
    )
    assert lines[1] == "2 of 3 recorded sign-ins would now need step-up"
    assert lines[2] == (
        f"  2 sign-ins at shop: allowed → step-up by e-mail code or SMS code, by rule 'sign-in' (candidate.yaml:{LINE})"
    )
    assert "[policy] Rule 'sign-in' asks for level 'substantial'." in lines[4]


@pytest.mark.usefixtures("idp")
def test_the_policy_in_force_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("simulate", "tests.yaml", *SOURCE)) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["none of 3 recorded decisions would come out otherwise"]


@pytest.mark.usefixtures("idp")
def test_two_files_are_compared_on_what_was_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("diff", "tests.yaml", "candidate.yaml", *SOURCE, "--json")) == 3
    value = json.loads(capsys.readouterr().out)
    assert [item["text"] for item in value["differences"]] == [
        "rule 'sign-in' now also needs level 'substantial'", "rule 'sign-in' no longer needs level 'low'",
    ]  # fmt: skip
    assert (value["decisions"]["from"], value["decisions"]["changed"]) == ("recorded", 2)
    assert main(("diff", "tests.yaml", "tests.yaml", *SOURCE)) == 0


@pytest.mark.usefixtures("idp")
def test_an_exported_file_says_the_same_as_the_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert administration.main(("decisions", "export", "--config", "idp.toml", "--out", "records.jsonl")) == 0
    assert "exported: 3" in capsys.readouterr().out
    assert stat.S_IMODE((tmp_path / "records.jsonl").stat().st_mode) == 0o600
    answers = []
    for origin in (SOURCE, ("--from-audit", "records.jsonl")):
        assert main(("simulate", "candidate.yaml", "--json", *origin)) == 3
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]
    assert administration.main(("decisions", "export", "--config", "idp.toml", "--out", "records.jsonl")) == 1
    assert "records.jsonl: cannot be made (File exists)" in capsys.readouterr().err


@pytest.mark.usefixtures("idp")
@pytest.mark.parametrize(
    ("options", "count"),
    [(("--limit", "2"), 2), (("--since", "2026-03-02"), 3), (("--since", "2026-03-02T10:00:01Z"), 0)],
)
def test_only_some_decisions_can_be_asked_about(
    options: tuple[str, ...], count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ("decisions", "export", "--config", "idp.toml", "--out", "records.jsonl", "--json")
    administration.main((*argv, *options))
    assert json.loads(capsys.readouterr().out)["exported"] == count
    for origin in (SOURCE, ("--from-audit", "records.jsonl", *options)):
        main(("simulate", "tests.yaml", "--json", *origin, *options))
        assert json.loads(capsys.readouterr().out)["records"] == count


def test_a_record_that_was_tampered_with_is_told_and_left_out(idp: Idp, capsys: pytest.CaptureFixture[str]) -> None:
    with idp.engine.begin() as connection:
        row = connection.execute(select(decisions.c.id, decisions.c.detail)).first()
        assert row is not None
        detail = {**row.detail, "account_id": "somebody-else"}
        connection.execute(update(decisions).where(decisions.c.id == row.id).values(detail=detail))
    assert main(("simulate", "tests.yaml", *SOURCE)) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("2 recorded decisions")
    words = "the table's record is not the one that the audit chain names"
    assert captured.err == f"warning: decision {row.id}: {words}\n"
    assert main(("simulate", "tests.yaml", *SOURCE, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["disagreements"] == [{"decision_id": row.id, "text": words}]
    assert administration.main(("decisions", "export", "--config", "idp.toml", "--out", "records.jsonl")) == 0
    assert f"disagreements: {row.id}: {words}" in capsys.readouterr().out


def test_of_many_disagreements_the_first_are_shown_and_the_rest_counted(
    idp: Idp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(source, "_SHOWN", 1)
    with idp.engine.begin() as connection:
        connection.execute(delete(decisions))
    assert main(("simulate", "tests.yaml", *SOURCE, "--json")) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["disagreements"]) == 3
    first, rest = captured.err.splitlines()
    assert first.endswith("the audit chain names this decision, and the table does not have it")
    assert rest == "warning: 2 more like these"


@pytest.mark.usefixtures("idp")
def test_long_work_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(source, "_STEP", 2)
    assert main(("simulate", "tests.yaml", *SOURCE)) == 0
    assert capsys.readouterr().err == "2 decisions so far\n"


def test_a_database_that_breaks_off_is_said_without_its_address(idp: Idp, capsys: pytest.CaptureFixture[str]) -> None:
    with idp.engine.begin() as connection:
        connection.execute(text("drop table decisions"))
    assert main(("simulate", "tests.yaml", *SOURCE)) == 1
    assert capsys.readouterr().err == "error: the database cannot be read: OperationalError\n"


def test_nothing_secret_and_no_address_is_in_an_exported_record(idp: Idp, tmp_path: Path) -> None:
    administration.main(("decisions", "export", "--config", "idp.toml", "--out", "records.jsonl"))
    exported = (tmp_path / "records.jsonl").read_text()
    for secret in (PASSWORD, idp.inbox.code, "+34600000001", "alice@example.org"):
        assert secret not in exported


@pytest.mark.usefixtures("idp")
@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("simulate", "candidate.yaml", "--from-audit"), 2, "--from-audit takes either a FILE or --config idp.toml"),
        (("simulate", "candidate.yaml", "--from-audit", "x", "--config", "y"), 2, "takes either a FILE or --config"),
        (("simulate", "candidate.yaml"), 2, "--from-audit"),
        (("simulate", "candidate.yaml", *SOURCE, "--limit", "0"), 2, "'0' is not a number of at least 1"),
        (
            ("simulate", "candidate.yaml", *SOURCE, "--since", "soon"),
            2,
            "'soon' is neither a day (2026-03-02)",
        ),
        (("simulate", "candidate.yaml", *SOURCE, "--since", "2026-03-02T10:00"), 2, "has no zone, such as Z for UTC"),
        (("simulate", "candidate.yaml", "--from-audit", "none.jsonl"), 1, "none.jsonl: cannot be read: No such file"),
        (("simulate", "candidate.yaml", "--from-audit", "bad.jsonl"), 1, "bad.jsonl:2: a record of a decision is an"),
        (("simulate", "candidate.yaml", "--from-audit", "candidate.yaml"), 1, "candidate.yaml:1: "),
        (("simulate", "candidate.yaml", "--from-audit", "long.jsonl"), 1, "long.jsonl:1: longer than any record"),
        (("simulate", "none.yaml", *SOURCE), 1, "none.yaml:1:1: cannot be read"),
        (("simulate", "candidate.yaml", "--from-audit", "--config", "none.toml"), 2, "none.toml"),
        (("diff", "tests.yaml", "none.yaml"), 1, "none.yaml:1:1: cannot be read"),
        (("diff", "tests.yaml", "candidate.yaml", "--limit", "1"), 2, "go with --from-audit"),
        (("diff", "tests.yaml", "candidate.yaml", *SOURCE, "--cases", "x"), 2, "exclude one another"),
    ],
)
def test_what_cannot_be_read_or_makes_no_sense_is_said(
    argv: tuple[str, ...], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "long.jsonl").write_text("x" * (1024 * 1024 + 1))
    (tmp_path / "bad.jsonl").write_text('\n{"format": 1}\n')
    assert main(argv) == code
    assert message in capsys.readouterr().err


def test_a_database_that_was_not_set_up_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "idp.toml").write_text(CONFIG.format(directory=tmp_path))
    (tmp_path / "tests.yaml").write_bytes(POLICY)
    argv: Any = ("simulate", str(tmp_path / "tests.yaml"), "--from-audit", "--config", str(tmp_path / "idp.toml"))
    assert main(argv) == 1
    assert "the database cannot be used" in capsys.readouterr().err


def test_without_records_the_cases_beside_the_files_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests.yaml").write_bytes(POLICY)
    (tmp_path / "candidate.yaml").write_bytes(STRICTER)
    assert main(("diff", "tests.yaml", "candidate.yaml", "--json")) == 3
    assert json.loads(capsys.readouterr().out)["decisions"] is None
    (tmp_path / "tests.test.yaml").write_text(
        "policy-test: 1\ncases: [{name: in, action: sign_in, evidence: [password], "
        "person: {proofing: substantial, enrolled: [password]}, expect: {outcome: allow, reasons: [sign-in]}}]\n"
    )
    assert main(("diff", "tests.yaml", "candidate.yaml")) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"candidate.yaml:{LINE}: rule 'sign-in' now also needs level 'substantial'"
    assert lines[3] == "1 of 1 tested sign-in would now be refused"
    assert lines[5] == "    for example 'in' of 2026-03-02 10:00:00Z"
    assert main(("diff", "tests.yaml", "tests.yaml")) == 0
    assert capsys.readouterr().out.splitlines() == [
        "the two policies say the same", "", "none of 1 tested decisions would come out otherwise",
    ]  # fmt: skip


def test_explain_takes_a_person_from_the_database_and_prints_no_address(
    idp: Idp, capsys: pytest.CaptureFixture[str]
) -> None:
    idp.add_account("bert", phone=None)
    base = ("explain", "tests.yaml", "--action", "sign_in", "--client", "strict", "--config", "idp.toml")
    assert main((*base, "--person", "alice", "--evidence", "password")) == 4
    assert "unreachable" in capsys.readouterr().out
    Path("idp.toml").write_text(Path("idp.toml").read_text() + '[messaging.sms]\nconnector = "twilio"\n')
    assert main((*base, "--person", "Alice", "--evidence", "password")) == 3
    out = capsys.readouterr().out
    assert "  SMS code: leads to substantial" in out
    assert "+34600000001" not in out
    assert "alice@example.org" not in out
    assert main((*base, "--person", "bert", "--evidence", "password")) == 4
    assert main((*base, "--person", "nobody")) == 1
    assert "there is no account of that user name" in capsys.readouterr().err
