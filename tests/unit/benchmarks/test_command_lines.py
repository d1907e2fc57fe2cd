"""What the benchmarks' commands refuse, explain and send."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from benchmarks import credentials, csc, documents, intake, login, policy, sign_hash
from contract.sad import decode, encode
from foundation.jose import generate_signing_key

MAINS: dict[str, Callable[[Sequence[str]], int]] = {
    "sign_hash": sign_hash.main,
    "login": login.main,
    "policy": policy.main,
    "credentials": credentials.main,
    "csc": csc.main,
    "documents": documents.main,
    "intake": intake.main,
}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sign_hash", ["--seconds", "0"]),
        ("sign_hash", ["--seconds", "299"]),
        ("sign_hash", ["--batch", "101"]),
        ("sign_hash", ["--connections", "0"]),
        ("login", ["--connections", "0"]),
        ("login", ["--warm-up", "61"]),
        ("policy", ["--repetitions", "1"]),
        ("credentials", ["--most", "99"]),
        ("credentials", ["--blocks", "0"]),
        ("csc", ["--seconds", "0"]),
        ("documents", ["--seconds", "0"]),
        ("documents", ["--connections", "65"]),
        ("intake", ["--repetitions", "99"]),
        ("csc", ["--batch", "101"]),
        ("csc", ["--connections", "65"]),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_started(
    name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert MAINS[name](arguments) == 2
    assert capsys.readouterr().err.startswith("error: --")


@pytest.mark.parametrize("name", MAINS)
def test_help_names_the_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        MAINS[name](["--help"])
    assert end.value.code == 0
    assert "exit codes" in capsys.readouterr().out


@pytest.mark.parametrize("count", [1, 100])
def test_a_sad_of_the_benchmark_is_one_that_the_product_reads(count: int) -> None:
    key = generate_signing_key()
    digests = tuple(bytes([number]) * 32 for number in range(count))
    made = sign_hash.sad("credential", digests, 1_900_000_000)
    assert decode(encode(made, key), [key.verification_key()]) == made
    assert made.txn != sign_hash.sad("credential", digests, 1_900_000_000).txn
