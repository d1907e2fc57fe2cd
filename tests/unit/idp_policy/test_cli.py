"""``privyseal policy``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foundation.clock import FixedClock
from idp.cli.policy import main
from tests.unit.idp_policy.support import NOW, POLICY


@pytest.fixture(name="sound")
def _sound(tmp_path: Path) -> str:
    path = tmp_path / "sound.yaml"
    path.write_text(POLICY)
    return str(path)


@pytest.fixture(name="faulty")
def _faulty(tmp_path: Path) -> str:
    path = tmp_path / "faulty.yaml"
    path.write_text("policy: 1\nname: x\n")
    return str(path)


def run(*argv: str) -> int:
    """With the clock standing still."""
    return main(argv, FixedClock(NOW))


def test_check_tells_that_a_file_is_sound(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", sound) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{sound}: sound (sample, 5 levels, 10 rules, sha256 ")


def test_check_reports_faults_with_file_and_line(sound: str, faulty: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", faulty, sound) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        f"{faulty}:1:1: a policy has no 'levels'", f"{faulty}:1:1: a policy has no 'rules'",
    ]  # fmt: skip
    assert "sound" in captured.out


def test_check_writes_json(sound: str, faulty: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--json", sound, faulty) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["sound"], good["name"], len(good["sha256"])) == (True, "sample", 64)
    assert bad["faults"][0] == {"file": faulty, "line": 1, "column": 1, "message": "a policy has no 'levels'"}


@pytest.mark.parametrize(
    ("arguments", "code", "first"),
    [
        (("--action", "sign_in", "--evidence", "password"), 0, "sign_in: allowed"),
        (("--action", "sign_in", "--enrolled", "password"), 3, "sign_in: more is needed"),
        (("--action", "credential.create"), 4, "credential.create: refused (no_rule)"),
    ],
)
def test_the_exit_code_is_the_outcome(
    sound: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, first: str
) -> None:
    assert run("explain", sound, *arguments) == code
    assert capsys.readouterr().out.splitlines()[0] == first


def test_explain_takes_all_the_facts(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(
        "explain", sound, "--action", "signature.activate", "--json", "--proofing", "high",
        "--client", "example-contracts", "--group", "legal", "--transaction", "t1",
        "--credential", "key-9", "--scal", "2", "--qualifier", "eu_eidas_qes",
        "--evidence", "certificate,age=60,flags=user_verified+attested,for=t1",
        "--evidence", "upstream,category=knowledge,issuer=https://login.example.org",
        "--enrolled", "passkey,flags=user_verified", "--max-age", "100", "--acr", "urn:example:high",
    )  # fmt: skip
    value = json.loads(capsys.readouterr().out)
    assert code == 0
    assert value["decision"]["acr"] == "urn:example:high"
    assert value["decision"]["reached"] == ["low", "substantial", "high", "federated"]
    assert value["decision"]["auth_time"] == int(NOW.timestamp()) - 60


def test_explain_knows_essential_values_and_forced_authentication(
    sound: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("explain", sound, "--action", "sign_in", "--evidence", "password")
    assert run(*base, "--essential-acr", "urn:example:high") == 4
    assert "refused (unmet_request)" in capsys.readouterr().out
    assert run(*base, "--force", "--transaction", "t", "--enrolled", "password") == 3


WIDER = POLICY.replace(
    "when: {client: example-contracts}",
    "when: {attribute: {site: bonn}, network: 192.0.2.0/24, time: {from: '08:00', to: '12:00'}}",
    1,
).replace(
    "levels:\n",
    """\
upstream:
  - issuer: https://login.example.org
    cap: federated
    mappings:
      - when: {class: urn:strong, acr: urn:acr, amr: [pwd, otp], attribute: {loa: [high]}}
        evidence: [{category: possession}]
levels:
""",
    1,
)  # fmt: skip


@pytest.fixture(name="wider")
def _wider(tmp_path: Path) -> str:
    path = tmp_path / "wider.yaml"
    path.write_text(WIDER)
    return str(path)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 3),
        ({"--attribute": "site=rome"}, 0),
        ({"--attribute": "other=bonn"}, 0),
        ({"--network": "198.51.100.7"}, 0),
        ({"--at": "2026-03-02T12:00:00Z"}, 0),
        ({"--at": "2026-03-02T12:00:00+01:00"}, 3),
    ],
)
def test_explain_takes_attributes_networks_and_times(wider: str, changes: dict[str, str], code: int) -> None:
    situation = {"--attribute": "site=bonn", "--network": "192.0.2.7", "--at": "2026-03-02T11:59:59Z", **changes}
    options = [word for option in situation.items() for word in option]
    enrolled = ("--enrolled", "totp,channel=app,attestation=model-1", "--proofing", "low")
    assert run("explain", wider, "--action", "sign_in", "--evidence", "password", *enrolled, *options) == code


def test_explain_lets_the_policy_say_what_a_login_elsewhere_counts_as(
    wider: str, capsys: pytest.CaptureFixture[str]
) -> None:
    login = "https://login.example.org,class=urn:strong,acr=urn:acr,amr=pwd+otp,age=60,loa=high"
    assert run("explain", wider, "--action", "document.read", "--upstream", login, "--json") != 0
    assert "federated" in json.loads(capsys.readouterr().out)["decision"]["reached"]
    assert run("explain", wider, "--action", "document.read", "--upstream", login + ",age=3600", "--json") != 0
    assert "federated" not in json.loads(capsys.readouterr().out)["decision"]["reached"]
    assert run("explain", wider, "--action", "document.read", "--upstream", "https://other.example.org", "--json") != 0
    value = json.loads(capsys.readouterr().out)
    assert value["decision"]["reached"] == []
    text = "https://other.example.org is no identity provider of this policy: its login counts for nothing."
    assert value["logins"] == [text]
    run("explain", wider, "--action", "document.read", "--upstream", login)
    words = capsys.readouterr().out.partition("\nlogins elsewhere\n")[2]
    assert words.startswith(f"  {wider}:11 [upstream] The login at https://login.example.org of ")


def test_explain_takes_the_situation_of_a_case(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = f"{tmp_path}/small.test.yaml#a password  signs in"
    assert run("explain", small, "--case", case) == 0
    assert capsys.readouterr().out.startswith("sign_in: allowed\n")
    assert run("explain", small, "--case", f"{tmp_path}/none.yaml#x") == 1
    assert "none.yaml:1:1: cannot be read" in capsys.readouterr().err


def test_schema_prints_what_is_published(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema") == 0
    published = Path(__file__).parents[3] / "docs" / "policy.schema.json"
    assert capsys.readouterr().out == published.read_text()


def test_a_policy_with_faults_explains_nothing(faulty: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", faulty, "--action", "sign_in") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{faulty}:1:1: ")
    assert run("explain", faulty, "--action", "sign_in", "--json") == 1
    assert len(json.loads(capsys.readouterr().out)["faults"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--credential", "k"), "--credential needs --scal"),
        (("--scal", "2"), "--scal and --qualifier need --credential"),
        (("--qualifier", "q"), "--scal and --qualifier need --credential"),
        (("--evidence", "password,age=soon"), "'password,age=soon': age is a number of seconds"),
        (("--evidence", "password,age=" + "9" * 40), "age is a number of seconds"),
        (
            ("--evidence", "password,age"),
            "'age' is not one of age, attestation, category, channel, flags, for, issuer, min_length with",
        ),
        (("--evidence", "password,level=high"), "'level=high' is not one of"),
        (("--evidence", "password,age=1,age=2"), "each once"),
        (
            ("--enrolled", "password,age=1"),
            "'age=1' is not one of attestation, category, channel, flags, issuer, min_length with",
        ),
        (("--evidence", "password,min_length=long"), "min_length is a number of characters"),
        (("--evidence", "upstream"), "'upstream' needs category=knowledge|possession|inherence, or is unknown"),
        (("--evidence", "upstream,category=luck"), "'upstream' needs category="),
        (("--evidence", "charm"), "'charm' needs category="),
        (("--evidence", "charm,category=knowledge"), "unknown factor 'charm'"),
        (("--enrolled", "charm,category=knowledge"), "unknown factor 'charm'"),
        (("--max-age", "-1"), "max_age may not be negative"),
        (("--attribute", "site"), "'site': an attribute is NAME=VALUE"),
        (("--attribute", "=bonn"), "'=bonn': an attribute is NAME=VALUE"),
        (("--network", "192.0.2.0/24"), "'192.0.2.0/24' is not the address of one machine"),
        (("--at", "noon"), "--at noon: not a time, such as 2026-03-02T10:00:00Z"),
        (("--at", "2026-03-02T10:00:00"), "a time needs its zone, such as Z for UTC"),
        (("--upstream", "https://i,acr"), "'acr' is not NAME=VALUE"),
        (("--upstream", "https://i,age=soon"), "age is a number of seconds"),
        (("--upstream", "self"), "a login elsewhere has an issuer, not 'self'"),
        (("--case", "x#y"), "--case states the whole situation"),
        (("--person", "anna"), "--config and --person go together"),
        (("--config", "idp.toml"), "--config and --person go together"),
        (("--config", "idp.toml", "--person", "anna", "--group", "g"), "they are not given beside it"),
    ],
)
def test_wrong_usage_is_told_apart_from_a_refusal(
    sound: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run("explain", sound, "--action", "sign_in", *arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("privyseal policy: ")
    assert message in captured.err


CASES = """\
policy-test: 1
cases:
  - name: a password signs in
    action: sign_in
    evidence: [password]
    expect: {outcome: allow, reasons: [sign-in, "level:low"]}
"""


def test_test_runs_the_cases_beside_the_file_and_wants_every_rule_exercised(
    sound: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sound.test.yaml").write_text(CASES)
    assert run("test", sound) == 3
    out = capsys.readouterr().out
    assert out.startswith(f"{sound}: FAILED ({tmp_path}/sound.test.yaml: 1 case, 0 failed, 9 rules not exercised)")


@pytest.fixture(name="small")
def _small(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(POLICY.partition("  - id: partner")[0])
    (tmp_path / "small.test.yaml").write_text(CASES)
    return str(path)


def test_test_passes_where_every_case_comes_out_as_expected(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test", small) == 0
    assert ": passed (" in capsys.readouterr().out


def test_test_writes_json_and_junit_xml(
    small: str, faulty: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit = tmp_path / "results.xml"
    assert run("test", small, faulty, "--json", "--junit", str(junit)) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["passed"], [case["name"] for case in good["cases"]]) == (True, ["a password signs in"])
    assert (bad["file"], bad["passed"], bad["faults"][0]["line"]) == (faulty, False, 1)
    assert '<testsuites tests="2" failures="0" errors="1">' in junit.read_text()


def test_test_takes_cases_from_another_file(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(CASES.replace("allow", "step_up"))
    assert run("test", small, "--cases", str(other)) == 3
    assert f"  {other}:3: a password signs in\n    outcome  expected step_up" in capsys.readouterr().out


def test_a_failed_case_is_not_covered_up_by_a_file_that_passes_after_it(small: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(Path(small).read_text())
    (tmp_path / "bad.test.yaml").write_text(CASES.replace("allow", "step_up"))
    assert run("test", str(bad), small) == 3


def test_a_policy_without_cases_does_not_pass(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test", sound) == 1
    assert "sound.test.yaml:1:1: cannot be read: No such file or directory" in capsys.readouterr().err


def test_test_refuses_wrong_usage(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test", small, small, "--cases", small) == 2
    assert "--cases goes with one policy file" in capsys.readouterr().err
    assert run("test", small, "--junit", str(tmp_path / "no" / "results.xml")) == 1
    assert "results.xml: cannot be written: No such file or directory" in capsys.readouterr().err


UNTIDY = "name: x # why\npolicy:   1\n"
TIDY = "policy: 1\nname: x  # why\n"


@pytest.fixture(name="untidy")
def _untidy(tmp_path: Path) -> Path:
    path = tmp_path / "untidy.yaml"
    path.write_text(UNTIDY)
    path.chmod(0o640)
    return path


def test_fmt_prints_the_layout_and_changes_nothing(untidy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fmt", str(untidy)) == 0
    assert capsys.readouterr().out == TIDY
    assert untidy.read_text() == UNTIDY


def test_fmt_check_names_what_is_not_laid_out(untidy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tidy = tmp_path / "tidy.yaml"
    tidy.write_text(TIDY)
    assert run("fmt", "--check", str(untidy), str(tidy)) == 3
    assert capsys.readouterr().out == f"{untidy}: not laid out\n"
    assert untidy.read_text() == UNTIDY
    assert run("fmt", "--check", str(tidy)) == 0
    assert capsys.readouterr().out == ""


def test_fmt_write_replaces_the_file_and_keeps_its_mode(
    untidy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(untidy)
    assert run("fmt", "--write", str(link)) == 0
    assert capsys.readouterr().out == f"{link}: laid out\n"
    assert (untidy.read_text(), untidy.stat().st_mode & 0o777, link.is_symlink()) == (TIDY, 0o640, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "untidy.yaml"]
    assert run("fmt", "--write", str(link)) == 0
    assert capsys.readouterr().out == ""


def test_fmt_writes_json_and_goes_on_after_a_file_that_it_refuses(
    untidy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keeps = tmp_path / "keeps.yaml"
    keeps.write_text("description: |+\n  x\n\n")
    assert run("fmt", "--json", str(keeps), str(tmp_path / "none.yaml"), str(untidy)) == 1
    kept, none, good = json.loads(capsys.readouterr().out)
    assert "cannot be laid out" in kept["faults"][0]["message"]
    assert none["faults"][0]["message"].startswith("cannot be read")
    assert good == {"file": str(untidy), "changed": True, "text": TIDY}
    assert run("fmt", "--check", str(keeps), str(untidy)) == 1
    assert "cannot be laid out" in capsys.readouterr().err


def test_fmt_does_not_mix_several_files(untidy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fmt", str(untidy), str(untidy)) == 2
    assert "several files go with --check, --write or --json" in capsys.readouterr().err


def test_fmt_leaves_the_file_where_it_cannot_write(
    untidy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert run("fmt", "--write", str(untidy)) == 1
    assert "untidy.yaml: cannot be written: No space left on device" in capsys.readouterr().err
    assert untidy.read_text() == UNTIDY
    assert [path.name for path in tmp_path.iterdir()] == ["untidy.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--action is required unless there is --case"),
        (("--case", "file"), "FILE#NAME"),
        (("--case", "#name"), "cannot be read"),
        (("--case", "file#"), "FILE#NAME"),
        (("--case", "{directory}/small.test.yaml#another"), "has no case 'another'"),
        (("--case", "x#y", "--force"), "no other option of it goes with it"),
        (("--case", "x#y", "--max-age", "0"), "no other option of it goes with it"),
        (("--case", "x#y", "--group", "g"), "no other option of it goes with it"),
    ],
)
def test_a_situation_that_is_not_stated_is_wrong_usage(
    small: str, tmp_path: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("explain", small, *(word.format(directory=tmp_path) for word in arguments)) in {1, 2}
    assert message in capsys.readouterr().err


def test_help_documents_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (("--help",), ("check", "--help"), ("test", "--help"), ("explain", "--help")):
        assert main(argv) == 0
        assert "exit codes:" in capsys.readouterr().out


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(()) == 2
    assert "usage: privyseal policy" in capsys.readouterr().err


def test_the_machines_clock_is_used_unless_another_is_given(sound: str) -> None:
    assert main(("explain", sound, "--action", "sign_in", "--evidence", "password")) == 0
