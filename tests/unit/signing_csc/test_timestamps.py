"""``signatures/timestamp``: whose stamp it is, and the specification's words for what is refused."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

import signing.app
from connectors.ports.tsa import TsaAnswerInvalid, TsaRefused, TsaUnavailable
from signing.csc import errors
from signing.csc.stamper import Stamper, TimestampRequest
from signing.settings import TimestampSettings
from tests.fakes.tsa import FakeTsa
from tests.unit.signing_csc.conftest import Bench

pytestmark = pytest.mark.loopback

IMPRINT = hashlib.sha256(b"document").digest()
SHA256 = "2.16.840.1.101.3.4.2.1"
VERSIONS = ("v1", "v2", "v2_2")
TWO = {"timestamp_authorities": (TimestampSettings("one"), TimestampSettings("two"))}


def body(**changes: Any) -> dict[str, Any]:
    return {"hash": base64.b64encode(IMPRINT).decode(), "hashAlgo": SHA256, **changes}


@pytest.fixture
def authorities(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeTsa]:
    """What the settings' connectors are, by name."""
    made = {"one": FakeTsa("one"), "two": FakeTsa("two")}
    monkeypatch.setattr(signing.app, "load_connector", lambda _kind, name, _settings, production: made[name])
    return made


def ask(bench: Bench, version: str = "v2", **changes: Any) -> Any:
    return bench.post("signatures/timestamp", body(**changes), bench.service_token(), version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bench", [TWO], indirect=True)
def test_a_digest_is_stamped_under_the_same_names_in_every_version(
    authorities: dict[str, FakeTsa], bench: Bench, version: str
) -> None:
    answer = ask(bench, version, nonce="4A2f")
    assert base64.b64decode(answer.get_json()["timestamp"]) == b"token of one"
    assert (authorities["one"].stamped, authorities["one"].nonces) == ([IMPRINT], [0x4A2F])
    assert "signatures/timestamp" in bench.post("info", {}, version=version).get_json()["methods"]


@pytest.mark.parametrize("failure", [TsaUnavailable("x"), TsaRefused("x"), TsaAnswerInvalid("x")])
@pytest.mark.parametrize("bench", [TWO], indirect=True)
def test_the_next_authority_is_asked_where_the_former_gave_no_stamp(
    authorities: dict[str, FakeTsa], bench: Bench, failure: Any
) -> None:
    authorities["one"].failure = failure
    assert base64.b64decode(ask(bench).get_json()["timestamp"]) == b"token of two"
    authorities["one"].failure = None
    assert base64.b64decode(ask(bench).get_json()["timestamp"]) == b"token of two"  # for a while
    authorities["one"].failure = authorities["two"].failure = failure
    answer = ask(bench)
    assert (answer.status_code, answer.get_json()["error"]) == (503, "temporarily_unavailable")
    assert answer.headers["Retry-After"]


def test_one_that_failed_is_asked_after_the_others_for_a_minute() -> None:
    one, two, now = FakeTsa("one", TsaUnavailable("x")), FakeTsa("two"), [0.0]
    stamper = Stamper([one, two], lambda: now[0])
    request = TimestampRequest(IMPRINT, "sha256", None)
    assert stamper.stamp(request).authority == "two"
    one.failure = None
    now[0] = 59
    assert stamper.stamp(request).authority == "two"
    now[0] = 60
    assert stamper.stamp(request).authority == "one"


def test_no_further_authority_is_asked_when_the_time_is_over() -> None:
    now = [0.0]

    class Slow(FakeTsa):
        def stamp(self, imprint: bytes, hash_name: Any, nonce: int | None = None) -> Any:
            now[0] += 26
            raise TsaUnavailable("x")

    second = FakeTsa("second")
    with pytest.raises(errors.TemporarilyUnavailable):
        Stamper([Slow(), second], lambda: now[0]).stamp(TimestampRequest(IMPRINT, "sha256", None))
    assert second.stamped == []


@pytest.mark.parametrize("version", VERSIONS)
def test_without_an_authority_the_method_is_not_offered(bench: Bench, version: str) -> None:
    assert ask(bench, version).status_code == 501
    assert "signatures/timestamp" not in bench.post("info", {}, version=version).get_json()["methods"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bench", [TWO], indirect=True)
@pytest.mark.parametrize(
    ("change", "description"),
    [
        ({"hash": None}, "Missing (or invalid type) string parameter hash"),
        ({"hash": 7}, "Missing (or invalid type) string parameter hash"),
        ({"hash": [base64.b64encode(IMPRINT).decode()]}, "Missing (or invalid type) string parameter hash"),
        ({"hash": ""}, "Empty hash parameter"),
        ({"hash": "%%%"}, "Invalid Base64 hash string parameter"),
        ({"hash": base64.b64encode(IMPRINT).decode()[:-1]}, "Invalid Base64 hash string parameter"),
        ({"hash": "A" * 132}, "Invalid Base64 hash string parameter"),
        ({"hash": base64.b64encode(IMPRINT[1:]).decode()}, "Invalid digest value length"),
        ({"hashAlgo": "2.16.840.1.101.3.4.2.2"}, "Invalid digest value length"),
        ({"hashAlgo": None}, "Missing (or invalid type) string parameter hashAlgo"),
        ({"hashAlgo": "1.3.14.3.2.26"}, "Invalid parameter hashAlgo"),
        ({"hashAlgo": "sha256"}, "Invalid parameter hashAlgo"),
        ({"nonce": "12g"}, "Invalid parameter nonce"),
        ({"nonce": "-1"}, "Invalid parameter nonce"),
        ({"nonce": 7}, "Invalid parameter nonce"),
        ({"nonce": ""}, "Invalid parameter nonce"),
        ({"nonce": "1" * 41}, "Invalid parameter nonce"),
    ],
)
def test_bad_parameters_are_refused_in_the_specifications_words(
    authorities: dict[str, FakeTsa], bench: Bench, version: str, change: dict[str, Any], description: str
) -> None:
    answer = ask(bench, version, **change)
    assert (answer.status_code, answer.get_json()) == (
        400,
        {"error": "invalid_request", "error_description": description},
    )
    assert authorities["one"].stamped == []


@pytest.mark.parametrize("bench", [TWO], indirect=True)
def test_OAU_11_stamps_are_for_service_tokens_only(authorities: dict[str, FakeTsa], bench: Bench) -> None:
    for token in (None, bench.sad(), bench.service_token(scope="openid")):
        answer = bench.post("signatures/timestamp", body(), token)
        assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_token")
    assert authorities["one"].stamped == []
