"""What the login benchmark demands, and the verifier that it puts in argon2id's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import argon2id, measured, unhashed
from benchmarks.login import CASES, requirements
from benchmarks.login_stand import HASHED, UNHASHED
from benchmarks.measure import Figure, Peer, Sample
from foundation.errors import SettingsError
from idp.authn.password import Passwords
from idp.settings import PasswordSettings

CHEAP = PasswordSettings(memory_kib=8 * 1024, iterations=1)


def figure(name: str, *, rate: int, ms: float) -> Figure:
    return Figure.of(
        name=name,
        unit="logins",
        connections=1,
        samples=[Sample(number / rate, 0.01, 1) for number in range(rate)],
        window=1.0,
        peer=Peer("peer", 1.0, "1/s", "made up"),
        errors={},
        cpu_seconds={HASHED: ms * rate / 1000},
        others_cpu_share=None,
    )


@pytest.mark.parametrize(
    ("ms", "rate", "met"),
    [(30.0, 100, (True, True)), (30.1, 100, (False, True)), (30.0, 99, (True, False))],
)
def test_both_goals_are_reached_exactly_or_not_at_all(ms: float, rate: int, met: tuple[bool, bool]) -> None:
    figures = {case.name: figure(case.name, rate=rate, ms=ms) for case in CASES}
    assert tuple(item.met for item in requirements(figures, 21.0, 17.0)) == met


def test_each_kind_of_login_is_measured_with_the_hash_and_without() -> None:
    assert [(case.provider, case.pages) for case in CASES] == [
        (provider, pages) for provider in (HASHED, UNHASHED) for pages in (b"sign-in", b"sign-in choose otp")
    ]


def test_the_verifier_without_a_hash_knows_one_password_and_no_account_without_one() -> None:
    verifier = unhashed.Unhashed(CHEAP, "the only one")
    assert verifier.verify("anything", "the only one")
    assert not verifier.verify("anything", "another one")
    assert not verifier.verify(None, "the only one")
    assert not Passwords(CHEAP).verify("anything", "the only one"), "the product's own does not take it"


def test_no_production_is_started_without_a_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "idp.toml"
    config.write_text(
        'mode = "production"\nissuer = "https://idp.example.org"\nkey_dir = "keys"\n'
        '[signing]\ncsc_base = "https://sign.example.org/csc/v2"\nsam_id = "urn:sam"\n'
    )
    monkeypatch.setenv("PRIVYSEAL_IDP_CONFIG", str(config))
    with pytest.raises((RuntimeError, SettingsError)):
        unhashed.idp()


def test_what_the_server_says_of_its_hashes_is_processor_time_of_all_its_processes(tmp_path: Path) -> None:
    first, second = (measured.Measured(CHEAP, (), b"k" * 32, tmp_path / name) for name in ("1", "2"))
    encoded = first.hash("correct horse battery staple")
    before = measured.Tally.of(tmp_path)
    with pytest.raises(ValueError, match="nothing was verified"):
        before.milliseconds_since(before)
    assert first.verify(encoded, "correct horse battery staple")
    assert not second.verify(encoded, "another one")
    after = measured.Tally.of(tmp_path)
    assert after.count == 2
    assert 0 < after.milliseconds_since(before) < 1000


def test_the_cost_of_a_hash_is_processor_time() -> None:
    found = argon2id.cost([argon2id.cpu_milliseconds(CHEAP, seconds=0.05)] * 2)
    assert 0 < found.value < 1000
