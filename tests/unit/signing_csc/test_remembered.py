"""What was verified is believed for seconds, of the very same octets, in bounded memory; what failed is not kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from signing.csc.remembered import Remembered
from tests.fakes.clock import Monotonic
from tests.unit.signing_csc.conftest import Bench


@dataclass
class Verifier:
    calls: list[str] = field(default_factory=list)

    def of(self, token: str) -> str:
        self.calls.append(token)
        if token.startswith("bad"):
            raise ValueError(token)
        return f"claims of {token}"


def test_a_token_is_verified_once_in_a_while() -> None:
    clock, verifier = Monotonic(), Verifier()
    kept: Remembered[str] = Remembered(seconds=5, monotonic=clock)
    for clock.now in (0.0, 4.9, 5.0, 9.9):
        assert kept.of("a", lambda: verifier.of("a")) == "claims of a"
    assert verifier.calls == ["a", "a"]


def test_another_token_is_verified_for_itself() -> None:
    verifier = Verifier()
    kept: Remembered[str] = Remembered()
    assert kept.of("a", lambda: verifier.of("a")) != kept.of("a ", lambda: verifier.of("a "))
    assert verifier.calls == ["a", "a "]


def test_what_failed_is_not_kept() -> None:
    verifier = Verifier()
    kept: Remembered[str] = Remembered()
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            kept.of("bad", lambda: verifier.of("bad"))
    assert verifier.calls == ["bad", "bad"]
    assert len(kept._kept) == 0


def test_memory_is_bounded_and_the_oldest_goes() -> None:
    verifier = Verifier()
    kept: Remembered[str] = Remembered(entries=3)
    for token in ("a", "b", "c", "d"):
        kept.of(token, lambda token=token: verifier.of(token))  # type: ignore[misc] # bound at once
    assert len(kept._kept) == 3
    kept.of("d", lambda: verifier.of("d"))
    kept.of("a", lambda: verifier.of("a"))
    assert verifier.calls == ["a", "b", "c", "d", "a"]


@pytest.mark.loopback
def test_a_remembered_token_still_expires(bench: Bench) -> None:
    token = bench.service_token()
    assert bench.post("credentials/list", {}, token).status_code == 200
    bench.clock.advance(301)
    refused = bench.post("credentials/list", {}, token)
    assert (refused.status_code, refused.get_json()["error"]) == (401, "expired_token")
