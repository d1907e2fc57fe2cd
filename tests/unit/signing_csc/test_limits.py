"""DOS-05: how much may be asked for in a time, by whom, and that nobody makes memory grow."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from contract.sad import encode
from foundation.errors import SettingsError
from foundation.settings import from_table
from signing.csc import errors
from signing.csc.limits import Limits
from signing.link import codes
from signing.link.errors import LinkRefused
from signing.settings import LimitsSettings, Rate, WebSettings
from tests.fakes.clock import Monotonic
from tests.unit.signing_csc.conftest import SAD_KEY, Bench
from tests.unit.signing_csc.test_credentials import whole_sad
from tests.unit.signing_csc.test_jobs import body, sad_of, settings
from tests.unit.signing_csc.test_sign_hash import refused

pytestmark = pytest.mark.loopback

MANY = Rate(1000.0, 1000)


def test_a_clock_that_stands_still_gives_nothing() -> None:
    limits = Limits(LimitsSettings(strangers=Rate(1.0, 2)), Monotonic(100.0))
    limits.stranger()
    limits.stranger()
    for _time in range(3):
        with pytest.raises(errors.TooManyRequests) as refusal:
            limits.stranger()
        assert refusal.value.retry_after == 1


def with_limits(**rates: Rate) -> pytest.MarkDecorator:
    slow = {name: Rate(0.001, rate.burst) for name, rate in rates.items()}
    given = dict.fromkeys(("client", "user", "credential", "strangers"), MANY) | slow
    return pytest.mark.parametrize("bench", [{"limits": LimitsSettings(**given)}], indirect=True)


def too_many(answer: Any) -> None:
    refused(answer, 429, "Too many requests", "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) == 1000


@with_limits(client=Rate(1.0, 2))
def test_a_client_has_its_own(bench: Bench) -> None:
    for token in (bench.service_token(), bench.service_token(sub="bob")):
        assert bench.post("credentials/list", {}, token).status_code == 200
    too_many(bench.post("credentials/list", {}, bench.service_token()))
    too_many(bench.post("signatures/signHash", sync(bench), bench.service_token()))
    assert bench.sam.asked == []
    assert bench.post("credentials/list", {}, bench.service_token(client_id="another")).status_code == 200
    # What a client says of itself without a good token costs it nothing.
    assert bench.post("info", {}).status_code == 200


@with_limits(user=Rate(1.0, 2))
def test_a_person_has_their_own_whatever_the_client(bench: Bench) -> None:
    for client in ("one", "two"):
        assert bench.post("credentials/list", {}, bench.service_token(client_id=client)).status_code == 200
    too_many(bench.post("credentials/list", {}, bench.service_token(client_id="three")))
    assert bench.post("credentials/list", {}, bench.service_token(sub="bob")).status_code == 200


@with_limits(credential=Rate(1.0, 2))
def test_a_credential_has_its_own_and_others_do_not_use_it_up(bench: Bench) -> None:
    for _number in range(4):
        answer = bench.post("credentials/info", {"credentialID": "cred-alice"}, bench.service_token(sub="bob"))
        refused(answer, 400, "Invalid parameter credentialID")
    for _number in range(2):
        answer = bench.post("credentials/info", {"credentialID": "cred-alice"}, bench.service_token())
        assert answer.status_code == 200
    too_many(bench.post("credentials/info", {"credentialID": "cred-alice"}, bench.service_token()))
    too_many(bench.post("signatures/signHash", sync(bench), bench.service_token()))
    assert bench.sam.asked == []


def sync(bench: Bench) -> dict[str, Any]:
    return {**body(bench), "operationMode": "S"}


@with_limits(credential=Rate(1.0, 2), client=Rate(1.0, 2), user=Rate(1.0, 2))
def test_signatures_count_once_the_module_has_said_that_the_sad_is_good(bench: Bench) -> None:
    sad = encode(sad_of(bench, b"x" * 32), SAD_KEY)
    asked = {name: value for name, value in sync(bench).items() if name not in {"SAD", "hashes"}}
    asked["hashes"] = ["eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="]
    bench.sam.refusal = LinkRefused(codes.INVALID_SAD)
    for _number in range(5):
        refused(bench.post("signatures/signHash", asked, sad), 400, "Invalid parameter SAD")
    bench.sam.refusal = None
    for _number in range(2):
        assert bench.post("signatures/signHash", asked, sad).status_code == 200
    too_many(bench.post("signatures/signHash", asked, sad))
    assert len(bench.sam.asked) == 7


@with_limits(strangers=Rate(1.0, 4))
def test_DOS_05_strangers_share_one_and_whoever_is_known_goes_on(bench: Bench) -> None:
    bench.sam.refusal = LinkRefused(codes.INVALID_SAD)
    tried = [
        bench.post("credentials/list", {}),
        bench.post("credentials/list", {}, bench.service_token(aud="another")),
        bench.post("signatures/signHash", {**sync(bench), "SAD": None}, encode(whole_sad(bench), SAD_KEY)),
    ]
    bench.sam.refusal = None
    tried.append(bench.post("info", {}))
    assert [answer.status_code for answer in tried] == [401, 401, 400, 200]
    for answer in (
        bench.post("credentials/list", {}),
        bench.post("credentials/list", {}, bench.service_token(aud="another")),
        bench.post("info", {}),
    ):
        too_many(answer)
    assert bench.post("credentials/list", {}, bench.service_token()).status_code == 200
    limits = bench.client.application.extensions["privyseal-rssp"].limits
    assert len(limits._strangers) == 1
    assert [len(buckets) for buckets in limits._own.values()] == [1, 1, 0]


def both(directory: Path) -> dict[str, Any]:
    rates = dict.fromkeys(("client", "user", "strangers"), MANY)
    return {**settings(directory), "limits": LimitsSettings(credential=Rate(0.001, 1), **rates)}


@pytest.mark.parametrize("bench", [both], indirect=True)
def test_asynchronous_requests_count_when_they_are_taken_in(bench: Bench) -> None:
    assert bench.post("signatures/signHash", body(bench), bench.service_token()).status_code == 200
    too_many(bench.post("signatures/signHash", body(bench), bench.service_token()))


def test_the_defaults_do_not_stand_in_the_way_of_the_benchmark() -> None:
    default = LimitsSettings()
    for rate in (default.client, default.user, default.credential):
        assert rate.per_second >= 1000


@pytest.mark.parametrize("rate", [{"per_second": 0.0, "burst": 1}, {"per_second": 1.0, "burst": 0}])
def test_a_rate_that_allows_nothing_is_refused(tmp_path: Path, rate: dict[str, Any]) -> None:
    table: dict[str, Any] = {
        "mode": "development",
        "public_url": "http://sign.localhost:8402",
        "sam_socket": "sam.sock",
        "issuer": {"url": "http://idp", "client_id": "csc", "client_secret_file": "x"},
        "limits": {"client": {"per_second": 5, "burst": 10}},
    }
    assert from_table(WebSettings, table, base=tmp_path).limits.client == Rate(5.0, 10)
    with pytest.raises(SettingsError):
        from_table(WebSettings, {**table, "limits": {"client": rate}}, base=tmp_path)


BOMBS = {
    "nested arrays": b'{"hashes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested objects": b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    "never closed": b"[" * 250_000,
    "a number of many digits": b'{"validity_period": ' + b"9" * 200_000 + b"}",
    "one name a hundred thousand times": b"{" + b'"a":1,' * 40_000 + b'"b":1}',
    "compressed": gzip.compress(b'{"hashes": ["' + b"A" * 10_000_000 + b'"]}'),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("method", ["info", "signatures/signHash", "credentials/list"])
def test_DOS_01_what_explodes_when_it_is_read_is_refused_before_it_does(bench: Bench, bomb: str, method: str) -> None:
    headers = {"Authorization": f"Bearer {bench.service_token()}", "Content-Encoding": "gzip"}
    answer = bench.client.post(
        f"/csc/v2/{method}", data=BOMBS[bomb], content_type="application/json", headers=headers
    )
    assert answer.status_code == 400
    assert bench.sam.asked == []


def test_DOS_01_a_body_beyond_the_bound_is_not_read(bench: Bench) -> None:
    answer = bench.client.post("/csc/v2/info", data=b"{}" + b" " * 256 * 1024, content_type="application/json")
    assert answer.status_code == 413
