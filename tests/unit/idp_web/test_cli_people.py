"""`privyseal account`: adding, importing, activating, locking, and what an operator may see of people."""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from auditlog.sql import read_entries
from foundation.clock import FixedClock
from idp.authn.activation import read_code
from idp.cli import administration, people, people_csv
from idp.cli.common import EXIT_DONE, EXIT_EXISTS, EXIT_FAILED, EXIT_SOME_REFUSED, EXIT_USAGE
from idp.cli.people_csv import Person, Refused
from idp.cli.progress import Progress
from idp.errors import InputRefused
from idp.storage import accounts, activations, authenticators
from idp.storage.audit import TABLES
from idp.storage.engine import open_engine, reading
from idp.storage.keys import KeyStore
from idp.storage.models import accounts as account_table
from idp.storage.outbox import event_outbox
from idp.storage.seal import Sealer
from tests.fakes.idp import NOW, PASSWORD, POLICY
from tests.unit.idp_web.test_cli import CONFIG

PHONE = "+34600000001"


@pytest.fixture
def state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    (tmp_path / "idp.toml").write_text(CONFIG.format(directory=tmp_path))
    (tmp_path / "policy.yaml").write_bytes(POLICY)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    assert administration.main(("init", "--config", str(tmp_path / "idp.toml"))) == EXIT_DONE
    capsys.readouterr()
    return tmp_path


@pytest.fixture
def engine(state: Path) -> Iterator[Engine]:
    made = open_engine(f"sqlite:///{state / 'idp.sqlite'}")
    yield made
    made.dispose()


def run(state: Path, *argv: str) -> int:
    return people.main((*argv, "--config", str(state / "idp.toml")), FixedClock(NOW))


def said(state: Path, capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert run(state, *argv, "--json") == EXIT_DONE
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def create(state: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    return said(state, capsys, "create", "--username", "alice", "--name", "Alice Example", "--phone", PHONE, *more)


def keys_of(state: Path, engine: Engine) -> KeyStore:
    return KeyStore(engine, state / "keys")


def test_ENR_01_somebody_without_a_password_begins_with_a_code_that_is_shown_once(
    state: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create(state, capsys)["authenticators"] == ["sms_otp"]
    made = said(state, capsys, "activate", "--username", "alice")
    assert made["purpose"] == "bootstrap"
    assert made["expires_at"] == "2026-03-05T10:00:00+00:00"
    code = read_code(made["code"])
    shown = said(state, capsys, "show", "--username", "alice")
    assert shown["activation"] == "waiting until 2026-03-05T10:00:00Z"
    assert code.letters[4:8] not in json.dumps(shown)
    again = said(state, capsys, "activate", "--username", "alice", "--hours", "1")
    seals = Sealer(keys_of(state, engine).secret)
    with reading(engine) as connection:
        table = activations.activations
        (waiting,) = connection.execute(select(table).where(table.c.seal != "")).all()
        assert activations.waiting(connection, seals, made["account_id"], NOW) is not None
    assert waiting.locator == read_code(again["code"]).locator
    with_password = create_with_password(state, capsys)
    assert said(state, capsys, "activate", "--username", with_password)["purpose"] == "reset"


def create_with_password(state: Path, capsys: pytest.CaptureFixture[str]) -> str:
    argv = ("create", "--username", "bob", "--name", "Bob", "--password-file", str(state / "password"))
    return str(said(state, capsys, *argv)["username"])


def test_a_code_goes_to_a_new_owner_only_file_or_is_not_made(
    state: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    create(state, capsys)
    file = state / "code"
    made = said(state, capsys, "activate", "--username", "alice", "--code-file", str(file))
    assert "code" not in made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code = read_code(file.read_text().strip())
    assert run(state, "activate", "--username", "alice", "--code-file", str(file)) == EXIT_FAILED
    with reading(engine) as connection:
        rows = connection.execute(select(activations.activations.c.locator)).scalars().all()
    assert rows == [code.locator], "the former one still counts"


def test_ENR_01_a_code_does_not_outlast_that_its_account_is_locked(
    state: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody took the code: the operator locks the account, and unlocks it once the person has been spoken to."""
    create(state, capsys)
    said(state, capsys, "activate", "--username", "alice")
    said(state, capsys, "lock", "--username", "alice", "--reason", "the code was taken")
    said(state, capsys, "unlock", "--username", "alice", "--reason", "spoken to")
    assert said(state, capsys, "show", "--username", "alice")["activation"] == "none"
    with engine.connect() as connection:
        entries = [entry for entry in read_entries(connection, TABLES.entries) if entry.event == "activation.revoked"]
    assert [json.loads(entry.fields)["cause"] for entry in entries] == ["disabled"]


def test_lock_and_unlock_say_why_and_enable_no_factor_again(
    state: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    made = create(state, capsys, "--password-file", str(state / "password"))
    with engine.begin() as connection:
        (password,) = [
            item.id
            for item in authenticators.of_account(connection, Sealer(keys_of(state, engine).secret), made["account_id"])
            if item.kind == "password"
        ]
        authenticators.failed(connection, password, NOW, most=1)
    assert said(state, capsys, "lock", "--username", "alice", "--reason", "on leave")["status"] == "disabled"
    assert run(state, "activate", "--username", "alice") == EXIT_FAILED
    assert "unlock it first" in capsys.readouterr().err
    unlocked = said(state, capsys, "unlock", "--username", "alice", "--reason", "back")
    assert (unlocked["status"], unlocked["to_be_bound_anew"]) == ("active", ["password"])
    assert run(state, "lock", "--username", "alice") == EXIT_USAGE
    assert run(state, "lock", "--username", "alice", "--reason", "x" * 201) == EXIT_USAGE
    assert run(state, "lock", "--username", "nobody", "--reason", "x") == EXIT_FAILED
    with reading(engine) as connection:
        told = connection.execute(select(event_outbox.c.event)).scalars().all()
    assert told == ["account-disabled"], "SAD-11"


def test_factors_are_listed_masked_and_removed_for_good(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(state, capsys, "--email", "alice@example.org", "--password-file", str(state / "password"))
    listed = said(state, capsys, "factors", "--username", "alice")["factors"]
    assert [item["factor"] for item in sorted(listed, key=lambda item: str(item["factor"]))] == [
        "email_otp",
        "password",
        "sms_otp",
    ]
    text = json.dumps(listed)
    for secret in (PHONE, "alice@example.org", "argon2", PASSWORD):
        assert secret not in text
    phone = next(item["id"] for item in listed if item["factor"] == "sms_otp")
    assert said(state, capsys, "factors", "--username", "alice", "--remove", phone)["removed"] == [phone]
    assert run(state, "factors", "--username", "alice", "--remove", phone) == EXIT_FAILED
    shown = said(state, capsys, "show", "--username", "alice")
    assert next(item["state"] for item in shown["factors"] if item["id"] == phone) == "disabled"
    assert PHONE not in json.dumps(shown)


def test_the_old_name_of_the_command_stays(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("account", "create", "--username", "alice", "--name", "Alice", "--config", str(state / "idp.toml"))
    assert administration.main(argv) == EXIT_DONE
    assert run(state, "create", "--username", "alice", "--name", "Alice") == EXIT_EXISTS
    assert run(state, "--help") == EXIT_DONE
    assert "exit codes:" in capsys.readouterr().out


# Import


FILE = """\
username,name,phone,email,proofing,groups,attributes
ann,Ann Example,+34600000011,ann@example.org,substantial,staff;legal,department=legal;site=madrid
"be n",Ben,,,,,
cara,Cara,12,,,,
dora,Dora,,not an address,,,
eve,Eve,,,very,,
ANN,Ann again,,,,,
finn,,,,,,
gus,"Gus, the ""second"" one",,,low,,
"""


def load(state: Path, text: str, *more: str) -> int:
    (state / "people.csv").write_text(text, encoding="utf-8")
    return run(state, "import", str(state / "people.csv"), *more)


def rows_of(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(), newline="")))


def test_an_import_takes_what_is_right_and_reports_the_rest(
    state: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("--codes-file", str(state / "codes.csv"), "--report", str(state / "report.csv"))
    assert load(state, FILE, *files, "--json") == EXIT_SOME_REFUSED
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert (result["rows"], result["added"], result["existing"], result["refused"]) == (8, 2, 0, 6)
    assert "rows" in output.err
    report = rows_of(state / "report.csv")
    assert [row[:2] for row in report[1:]] == [
        ["3", "username"],
        ["4", "phone"],
        ["5", "email"],
        ["6", "proofing"],
        ["7", "username"],
        ["8", "name"],
    ]
    codes = rows_of(state / "codes.csv")
    assert [row[0] for row in codes] == ["username", "ann", "gus"]
    assert stat.S_IMODE((state / "codes.csv").stat().st_mode) == 0o600
    assert codes[1][1] not in output.out + output.err
    assert read_code(codes[1][1]).shown == codes[1][1]
    with reading(engine) as connection:
        ann = accounts.find_by_username(connection, "ann")
        gus = accounts.find_by_username(connection, "gus")
    assert ann is not None
    assert ann.groups == {"staff", "legal"}
    assert dict(ann.attributes) == {"department": ("legal",), "site": ("madrid",)}
    assert gus is not None
    assert gus.name == 'Gus, the "second" one'


def test_OTP_07_a_row_with_a_number_that_no_messages_go_to_is_refused_by_itself(
    state: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "username,name,phone\nann,Ann,+8816123456789\nben,Ben,+34600000012\n"
    assert load(state, text, "--no-codes", "--report", str(state / "report.csv")) == EXIT_SOME_REFUSED
    assert [row[:2] for row in rows_of(state / "report.csv")[1:]] == [["2", "phone"]]
    with reading(engine) as connection:
        assert accounts.find_by_username(connection, "ann") is None
        assert accounts.find_by_username(connection, "ben") is not None


def test_an_import_is_run_again_and_overwrites_nobody(
    state: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "username,name\nann,Ann\n"
    assert load(state, text, "--no-codes") == EXIT_DONE
    capsys.readouterr()
    assert load(state, "username,name\nann,Other\nben,Ben\n", "--no-codes", "--json") == EXIT_DONE
    result = json.loads(capsys.readouterr().out)
    assert (result["added"], result["existing_usernames"]) == (1, ["ann"])
    with reading(engine) as connection:
        ann = accounts.find_by_username(connection, "ann")
    assert ann is not None
    assert ann.name == "Ann"
    assert load(state, text, "--codes-file", str(state / "password")) == EXIT_FAILED, "no file is replaced"


def test_a_dry_run_adds_nobody_and_makes_no_file(
    state: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load(state, FILE, "--dry-run", "--codes-file", str(state / "codes.csv"), "--json") == EXIT_SOME_REFUSED
    assert json.loads(capsys.readouterr().out)["added"] == 2
    assert not (state / "codes.csv").exists()
    with reading(engine) as connection:
        assert connection.execute(select(account_table)).all() == []


def test_an_import_says_where_the_codes_go(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(state, "username,name\nann,Ann\n") == EXIT_FAILED
    assert "--codes-file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "said_of_it"),
    [
        (b"", "empty"),
        (b"username,name,password\nann,Ann,x\n", "no secret comes from a file"),
        (b"username,name,shoe\nann,Ann,43\n", "unknown"),
        (b"username,name,name\nann,Ann,Ann\n", "twice"),
        (b"username\nann\n", "no column name"),
        (b"username,name\nann,\xff\n", "not UTF-8"),
        (b"username,name\nann,A\0n\n", "NUL"),
        (b'username,name\nann,"Ann\n', "not CSV"),
        (b'username,name\nann,"Ann"x\n', "not CSV"),
        (b"username,name\n" + b"a,b\n" * (people_csv.MAX_ROWS + 1), "rows"),
        (b"x" * (people_csv.MAX_OCTETS + 1), "octets"),
    ],
)
def test_a_file_that_is_not_of_the_form_is_refused_whole(data: bytes, said_of_it: str) -> None:
    with pytest.raises(InputRefused, match=said_of_it):
        people_csv.read(data)


def test_rows_of_other_widths_and_cells_without_end_are_refused_by_themselves() -> None:
    text = f"username,name\nann\nben,Ben,x\ncara,{'x' * 5000}\n\n\ufeffdora,D\n".encode()
    found = people_csv.read(b"\xef\xbb\xbf" + text + b"eve,Eve\n")
    assert [item.line for item in found] == [2, 3, 4, 6, 7]
    assert [isinstance(item, Refused) for item in found] == [True, True, True, True, False]
    assert isinstance(found[-1], Person)


def test_what_is_written_for_a_spreadsheet_is_no_formula() -> None:
    written = people_csv.write([("=cmd|' /C calc'!A0", "+1", "-1", "@x", "\tx", "plain")])
    assert list(csv.reader(io.StringIO(written, newline=""))) == [
        ["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@x", "'\tx", "plain"]
    ]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_for_people_and_lines_for_others() -> None:
    terminal, pipe = _Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        progress = Progress(1000, "rows", stream)
        for done in range(50, 1001, 50):
            progress.at(done)
    assert terminal.getvalue().count("\r") == 20
    assert terminal.getvalue().endswith(f"\r[{'#' * 30}] 1000/1000 rows\n")
    assert pipe.getvalue().splitlines()[0] == "100/1000 rows"
    assert len(pipe.getvalue().splitlines()) == 10
