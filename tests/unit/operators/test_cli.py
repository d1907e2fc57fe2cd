"""The operators' command: keys, first and second signature, what is shown and what is asked."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.operation import operator_key, verify
from foundation.clock import FixedClock, from_epoch
from foundation.files import write_secret
from foundation.jose import export_signing_key, generate_signing_key
from operators.cli import EXIT_DECLINED, EXIT_NOT_VERIFIED, EXIT_OK, EXIT_USAGE, main

NOW = 1_772_366_400
CLOCK = FixedClock(from_epoch(NOW))


def run(*argv: object) -> int:
    return main([str(item) for item in argv], CLOCK)


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Two operators, with their public keys in files beside."""
    found = []
    for name in ("one", "two"):
        assert run("keygen", "--out", tmp_path / name, "--public-out", tmp_path / f"{name}.jwk", "--json") == EXIT_OK
        found.append(json.loads(capsys.readouterr().out))
    return found


def signed(tmp_path: Path, *more: object) -> int:
    return run(
        "sign", "--key", tmp_path / "one", "--audience", "urn:sam", "--operation", "credential.delete",
        "--parameter", "credential_id=credential-1", "--out", tmp_path / "first", "--yes", *more,
    )  # fmt: skip


def test_two_operators_sign_one_operation(tmp_path: Path, keys: list[dict[str, Any]]) -> None:
    assert signed(tmp_path, "--valid-seconds", 60) == EXIT_OK
    done = run("cosign", tmp_path / "first", "--key", tmp_path / "two", "--out", tmp_path / "both", "--yes")
    assert done == EXIT_OK
    bundle = (tmp_path / "both").read_text().strip()
    found = verify(bundle, [operator_key(item["jwk"]) for item in keys], 2)
    assert (found.aud, found.operation) == ("urn:sam", "credential.delete")
    assert found.parameters == {"credential_id": "credential-1"}
    assert (found.iat, found.exp) == (NOW, NOW + 60)
    assert found.signers == tuple(item["thumbprint"] for item in keys)


def test_ADM_01_who_signs_that_somebody_becomes_an_operator_is_shown_the_thumbprint_of_the_key(
    tmp_path: Path, keys: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = tmp_path / "parameters"
    for jwk, shown in ((keys[1]["jwk"], keys[1]["thumbprint"]), ({"kty": "EC"}, "none, this is no operator's key")):
        parameters.write_text(json.dumps({"jwk": jwk}))
        (tmp_path / "enrol").unlink(missing_ok=True)
        done = run(
            "sign", "--key", tmp_path / "one", "--audience", "urn:sam", "--operation", "operator.enrol",
            "--parameters", parameters, "--out", tmp_path / "enrol", "--yes",
        )  # fmt: skip
        assert done == EXIT_OK
        assert f"thumbprint: {shown}" in capsys.readouterr().err


def test_the_private_key_is_its_owners_alone_and_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("keygen", "--out", tmp_path / "key") == EXIT_OK
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    out = capsys.readouterr().out
    assert "thumbprint: " in out
    assert '"d"' not in out
    assert run("keygen", "--out", tmp_path / "key") == EXIT_USAGE
    (tmp_path / "key").chmod(0o640)
    assert signed(tmp_path, "--key", tmp_path / "key") == EXIT_USAGE


def test_a_public_key_that_is_there_is_not_replaced(tmp_path: Path, keys: list[dict[str, Any]]) -> None:
    assert run("keygen", "--out", tmp_path / "new", "--public-out", tmp_path / "one.jwk") == EXIT_USAGE
    assert not (tmp_path / "new").exists()
    assert json.loads((tmp_path / "one.jwk").read_text()) == keys[0]["jwk"]


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_a_passphrase_opens_the_key_and_another_does_not(tmp_path: Path, algorithm: str) -> None:
    write_secret(tmp_path / "pass", b"correct horse")
    write_secret(tmp_path / "other", b"battery staple")
    made = run("keygen", "--out", tmp_path / "one", "--algorithm", algorithm, "--passphrase-file", tmp_path / "pass")
    assert made == EXIT_OK
    assert b"ENCRYPTED" in (tmp_path / "one").read_bytes()
    assert signed(tmp_path) == EXIT_USAGE
    assert signed(tmp_path, "--passphrase-file", tmp_path / "other") == EXIT_USAGE
    assert signed(tmp_path, "--passphrase-file", tmp_path / "pass") == EXIT_OK


def test_an_rsa_key_is_no_operators(tmp_path: Path) -> None:
    write_secret(tmp_path / "one", export_signing_key(generate_signing_key("PS256")))
    assert signed(tmp_path) == EXIT_USAGE


def test_what_is_signed_is_shown_and_nothing_is_signed_unasked(
    tmp_path: Path, keys: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    asked = ["sign", "--key", tmp_path / "one", "--audience", "urn:sam", "--operation", "ledger.restore"]
    asked += ["--parameter", "reason=\x1b[2Jcleared", "--out", tmp_path / "first"]
    for answer, code in (("n\n", EXIT_DECLINED), ("\n", EXIT_DECLINED), ("y\n", EXIT_OK)):
        assert not (tmp_path / "first").exists()
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert run(*asked) == code
        shown = capsys.readouterr().err
        assert "ledger.restore" in shown
        assert "urn:sam" in shown
        assert "\\u001b[2Jcleared" in shown
        assert "\x1b" not in shown
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert run("cosign", tmp_path / "first", "--key", tmp_path / "two", "--out", tmp_path / "both") == EXIT_USAGE
    assert not (tmp_path / "both").exists()


def test_show_says_what_it_is_and_whether_it_is_verified(
    tmp_path: Path, keys: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert signed(tmp_path) == EXIT_OK
    capsys.readouterr()
    assert run("show", tmp_path / "first") == EXIT_OK
    out = capsys.readouterr().out
    assert "not verified" in out
    assert '"credential-1"' in out
    assert run("show", tmp_path / "first", "--operator", tmp_path / "one.jwk", "--json") == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert found["verified"]
    assert found["signers"] == [keys[0]["thumbprint"]]
    assert run("show", tmp_path / "first", "--operator", tmp_path / "two.jwk") == EXIT_NOT_VERIFIED


@pytest.mark.parametrize(
    "more",
    [
        ("--valid-seconds", "0"),
        ("--valid-seconds", "86401"),
        ("--parameter", "nonsense"),
        ("--parameter", "credential_id=again"),
        ("--operation", "delete"),
        ("--parameters", "/dev/null"),
        ("--key", "/nonexistent"),
        ("--out", "/nonexistent/file"),
    ],
)
def test_a_command_line_that_makes_no_operation_is_refused(
    tmp_path: Path, keys: list[dict[str, Any]], more: tuple[str, ...]
) -> None:
    assert signed(tmp_path, *more) == EXIT_USAGE
    assert not (tmp_path / "first").exists()


def test_parameters_come_from_a_file_too(tmp_path: Path, keys: list[dict[str, Any]]) -> None:
    asked = ["sign", "--key", tmp_path / "one", "--audience", "urn:sam", "--operation", "credential.set_floor"]
    asked += ["--parameters", tmp_path / "in", "--out", tmp_path / "first", "--yes"]
    for text in ("{", "[]", '{"a": 1, "a": 2}', '{"a": "\u00e9"}', '"' + "x" * 20_000 + '"'):
        (tmp_path / "in").write_text(text)
        assert run(*asked) == EXIT_USAGE
    (tmp_path / "in").write_text('{"credential_id": "c", "min_categories": 3}')
    assert run(*asked) == EXIT_OK
    (tmp_path / "pem").write_bytes(operator_key(keys[0]["jwk"]).key.as_pem(private=False))
    assert run("show", tmp_path / "first", "--operator", tmp_path / "pem") == EXIT_OK


def test_what_is_no_operation_is_neither_shown_nor_signed(tmp_path: Path, keys: list[dict[str, Any]]) -> None:
    (tmp_path / "file").write_text("{}")
    assert run("show", tmp_path / "file") == EXIT_USAGE
    done = run("cosign", tmp_path / "file", "--key", tmp_path / "one", "--out", tmp_path / "both", "--yes")
    assert done == EXIT_USAGE
    assert signed(tmp_path) == EXIT_OK
    again = run("cosign", tmp_path / "first", "--key", tmp_path / "one", "--out", tmp_path / "both", "--yes")
    assert again == EXIT_USAGE
    assert not (tmp_path / "both").exists()
