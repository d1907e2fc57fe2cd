"""``privyseal policy approve``: what operators sign, and what they are not asked to."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from contract.operation import peek, verify
from foundation.clock import FixedClock
from foundation.files import write_secret
from foundation.jose import Algorithm, SigningKey, export_signing_key, generate_signing_key
from idp.cli.policy import main
from idp.policy.approval import check_approval
from idp.policy.prepare import sha256
from tests.fakes.policies import ISSUER, NOW
from tests.unit.idp_policy.test_prepare import CASES, POLICY, WEAK

Run = Callable[..., int]


def operator(directory: Path, name: str, algorithm: Algorithm = "ES256") -> SigningKey:
    key = generate_signing_key(algorithm)
    write_secret(directory / f"{name}.pem", export_signing_key(key))
    return key


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def run(tmp_path: Path, clock: FixedClock) -> Run:
    (tmp_path / "p.yaml").write_bytes(POLICY)
    (tmp_path / "p.test.yaml").write_bytes(CASES)

    def call(name: str, *arguments: str) -> int:
        argv = ("approve", str(tmp_path / "p.yaml"), "--issuer", ISSUER, "--key", str(tmp_path / f"{name}.pem"))
        return main((*argv, *arguments), clock)

    return call


def check(directory: Path, *keys: SigningKey, needed: int, **changes: Any) -> tuple[str, ...]:
    """Who approved the files as they are now."""
    given = {
        "issuer": ISSUER,
        "file": "p.approval.json",
        "sha256": sha256((directory / "p.yaml").read_bytes()),
        "cases_sha256": sha256((directory / "p.test.yaml").read_bytes()),
        "now": NOW,
        **changes,
    }
    bundle = (directory / "p.approval.json").read_bytes()
    return check_approval(bundle, [key.verification_key() for key in keys], needed, **given).operators


def test_two_operators_approve_one_after_the_other(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anna, bernd = operator(tmp_path, "anna"), operator(tmp_path, "bernd", "Ed25519")
    assert run("anna", "--yes", "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["signers"] == [anna.kid]
    assert "1 passed" in said.err
    assert run("bernd", "--yes") == 0
    assert "(by its own word)" in capsys.readouterr().err
    assert check(tmp_path, anna, bernd, needed=2) == (anna.kid, bernd.kid)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert (tmp_path / "p.approval.json").stat().st_mode & 0o777 == 0o644


def test_ADM_01_nobody_is_two_operators(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    operator(tmp_path, "anna")
    assert run("anna", "--yes") == 0
    before = (tmp_path / "p.approval.json").read_bytes()
    assert run("anna", "--yes") == 2
    assert "signed the operation already" in capsys.readouterr().err
    assert (tmp_path / "p.approval.json").read_bytes() == before
    assert run("anna", "--yes", "--again") == 0
    assert (tmp_path / "p.approval.json").read_bytes() != before


@pytest.mark.parametrize("name", ["p.yaml", "p.test.yaml"])
def test_an_approval_of_other_files_is_not_signed_by_the_next_operator(run: Run, tmp_path: Path, name: str) -> None:
    operator(tmp_path, "anna")
    bernd = operator(tmp_path, "bernd")
    assert run("anna", "--yes") == 0
    path = tmp_path / name
    path.write_bytes(path.read_bytes() + b"# another one\n")
    assert run("bernd", "--yes") == 0
    assert check(tmp_path, bernd, needed=1) == (bernd.kid,)


def test_an_approval_that_has_expired_is_not_signed_again(run: Run, tmp_path: Path, clock: FixedClock) -> None:
    operator(tmp_path, "anna")
    bernd = operator(tmp_path, "bernd")
    assert run("anna", "--yes", "--days", "1") == 0
    clock.advance(86_400)
    assert run("bernd", "--yes") == 0
    assert check(tmp_path, bernd, needed=1, now=clock.now()) == (bernd.kid,)


@pytest.mark.parametrize(
    ("name", "data", "code", "words"),
    [
        ("p.yaml", WEAK, 3, "L1"),
        ("p.yaml", b"policy: 1", 1, "name"),
        ("p.test.yaml", CASES.replace(b"allow", b"deny"), 3, "refusal"),
        ("p.test.yaml", CASES.replace(b"level:low", b"level:high"), 3, "was expected"),
    ],
    ids=["lint", "faults", "faulty-cases", "failing-cases"],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_what_a_server_would_refuse_nobody_is_asked_to_approve(
    run: Run,
    tmp_path: Path,
    name: str,
    data: bytes,
    code: int,
    words: str,
    as_json: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    operator(tmp_path, "anna")
    (tmp_path / name).write_bytes(data)
    assert run("anna", "--yes", *(["--json"] if as_json else [])) == code
    said = capsys.readouterr()
    assert words in (said.out if as_json else said.err)
    assert not (tmp_path / "p.approval.json").exists()


def test_a_policy_that_cannot_be_read_is_not_approved(run: Run, tmp_path: Path) -> None:
    operator(tmp_path, "anna")
    assert run("anna", "--yes", "--cases", str(tmp_path / "none.yaml")) == 1
    (tmp_path / "p.yaml").unlink()
    assert run("anna", "--yes") == 1


def test_nothing_is_signed_unless_somebody_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    operator(tmp_path, "anna")
    assert run("anna") == 2
    assert "--yes" in capsys.readouterr().err

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert run("anna") == 4
    assert not (tmp_path / "p.approval.json").exists()
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert run("anna") == 0
    assert (tmp_path / "p.approval.json").exists()


def test_a_policy_without_cases_can_be_approved_and_the_approval_says_so(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anna = operator(tmp_path, "anna")
    (tmp_path / "p.test.yaml").unlink()
    out = tmp_path / "elsewhere.json"
    assert run("anna", "--yes", "--out", str(out)) == 0
    assert "cases:   none" in capsys.readouterr().err
    found = verify(out.read_text(), [anna.verification_key()], 1)
    assert found.parameters["cases_sha256"] == ""


def test_a_key_that_others_can_read_is_locked_or_is_no_operators_does_not_sign(run: Run, tmp_path: Path) -> None:
    operator(tmp_path, "open")
    (tmp_path / "open.pem").chmod(0o644)
    assert run("open", "--yes") == 2
    operator(tmp_path, "rsa", "PS256")
    assert run("rsa", "--yes") == 2
    assert run("nobody", "--yes") == 2
    key = operator(tmp_path, "plain")
    private = load_pem_private_key(export_signing_key(key), None)
    locked = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame"))
    write_secret(tmp_path / "locked.pem", locked)
    write_secret(tmp_path / "passphrase", b"open sesame")
    assert run("locked", "--yes") == 2
    assert run("locked", "--yes", "--passphrase-file", str(tmp_path / "passphrase")) == 0
    assert peek((tmp_path / "p.approval.json").read_text()).signers == (key.kid,)


def test_an_approval_that_cannot_be_written_leaves_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator(tmp_path, "anna")
    assert run("anna", "--yes", "--out", str(tmp_path / "no" / "such" / "place")) == 1
    (tmp_path / "taken").mkdir()
    assert run("anna", "--yes", "--out", str(tmp_path / "taken")) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
