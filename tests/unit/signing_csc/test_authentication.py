"""RFC 9470: what is said to a token whose person did not authenticate as a method demands."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from contract.sad import encode
from foundation.clock import epoch
from foundation.errors import SettingsError
from foundation.settings import from_table
from signing.csc import errors
from signing.csc.authentication import Authentication, authentication_of, check_authentication
from signing.settings import AuthenticationDemand, AuthenticationSettings, WebSettings
from tests.unit.signing_csc.conftest import NOW, SAD_KEY, Bench
from tests.unit.signing_csc.test_credentials import whole_sad

pytestmark = pytest.mark.loopback

LOW, SUBSTANTIAL, HIGH = (f"http://eidas.europa.eu/NotNotified/LoA/{name}" for name in ("low", "substantial", "high"))
DEMAND = AuthenticationDemand((SUBSTANTIAL, HIGH), 300)
CREDENTIALS = {"authentication": AuthenticationSettings(credentials=DEMAND)}
SIGNATURES = {"authentication": AuthenticationSettings(signatures=DEMAND)}
CHALLENGE = (
    'Bearer error="insufficient_user_authentication", error_description="{}", '
    f'acr_values="{SUBSTANTIAL} {HIGH}", max_age="300"'
)
READING = [("credentials/list", {}), ("credentials/info", {"credentialID": "cred-alice"})]
SIGNING: dict[str, Any] = {
    "credentialID": "cred-alice",
    "hashes": ["A" * 43 + "="],
    "signAlgo": "1.2.840.10045.4.3.2",
}
VERSIONS = ("v1", "v2")


def body(method: str) -> dict[str, Any]:
    return {
        "credentialID": "cred-alice",
        "hashes": ["A" * 43 + "="],
        "signAlgo": "1.2.840.10045.4.3.2",
        "method": method,
    }


def check_challenged(answer: Any, description: str) -> None:
    assert answer.status_code == 401
    assert answer.get_json() == {"error": "insufficient_user_authentication", "error_description": description}
    assert answer.headers["WWW-Authenticate"] == CHALLENGE.format(description)


@pytest.mark.parametrize("bench", [CREDENTIALS], indirect=True)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("method", "asked"), READING)
def test_a_lesser_or_older_or_silent_token_is_challenged(
    bench: Bench, method: str, asked: dict[str, Any], version: str
) -> None:
    now = epoch(NOW)
    good: dict[str, Any] = {"acr": HIGH, "auth_time": now - 300}
    assert bench.post(method, asked, bench.service_token(**good), version).status_code == 200
    for changes in ({"acr": LOW}, {"acr": None}, {"acr": SUBSTANTIAL + "/"}, {"acr": "0"}):
        answer = bench.post(method, asked, bench.service_token(**(good | changes)), version)
        check_challenged(answer, "A different authentication level is required")
    for auth_time in (now - 301, None):
        answer = bench.post(method, asked, bench.service_token(**(good | {"auth_time": auth_time})), version)
        check_challenged(answer, "More recent authentication is required")


@pytest.mark.parametrize("bench", [CREDENTIALS], indirect=True)
def test_OAU_17_the_challenge_comes_before_anything_is_told_of_a_credential(bench: Bench) -> None:
    answers = [
        bench.post("credentials/info", {"credentialID": named}, bench.service_token(acr=LOW, auth_time=epoch(NOW)))
        for named in ("cred-alice", "cred-bob", "cred-nobody")
    ]
    assert {(item.status_code, item.text, item.headers["WWW-Authenticate"]) for item in answers} == {
        (401, answers[0].text, CHALLENGE.format("A different authentication level is required"))
    }


@pytest.mark.parametrize("bench", [CREDENTIALS], indirect=True)
def test_a_token_that_is_not_good_is_not_asked_for_more(bench: Bench) -> None:
    answer = bench.post("credentials/list", {}, bench.service_token(acr=LOW, exp=epoch(NOW)))
    assert answer.get_json()["error"] == "expired_token"
    for malformed in ({"acr": 7}, {"acr": ""}, {"acr": "a" * 256}, {"auth_time": "now"}, {"auth_time": True}):
        answer = bench.post("credentials/list", {}, bench.service_token(**malformed))
        assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_token")


@pytest.mark.parametrize("bench", [CREDENTIALS], indirect=True)
def test_no_person_stands_behind_a_clients_own_token_so_none_is_asked_for(bench: Bench) -> None:
    operator = bench.service_token(sub="operator", client_id="operator")
    assert bench.post("credentials/list", {"userID": "bob"}, operator).status_code == 200
    other = bench.service_token(sub="example-contracts")
    assert bench.post("credentials/list", {"userID": "bob"}, other).status_code == 403
    assert bench.post("credentials/info", {"credentialID": "cred-alice"}, other).status_code == 400


@pytest.mark.parametrize("bench", [CREDENTIALS], indirect=True)
def test_the_identity_provider_reads_before_a_person_steps_up_and_nobody_else_does(bench: Bench) -> None:
    asked = {"credentialID": "cred-alice"}
    own = bench.service_token(act={"sub": bench.issuer})
    assert bench.post("credentials/info", asked, own).status_code == 200
    for actor in ({"sub": "example-contracts"}, {"sub": bench.issuer + "/"}):
        check_challenged(
            bench.post("credentials/info", asked, bench.service_token(act=actor)),
            "A different authentication level is required",
        )
    for malformed in ({}, "x", {"sub": 7}):
        assert bench.post("credentials/info", asked, bench.service_token(act=malformed)).status_code == 401


@pytest.mark.parametrize("bench", [CREDENTIALS], indirect=True)
def test_a_sad_that_is_the_bearer_of_a_query_meets_the_demand_too(bench: Bench) -> None:
    asked = {"credentialID": "cred-alice"}
    good = whole_sad(bench, acr=SUBSTANTIAL)
    assert bench.post("credentials/info", asked, encode(good, SAD_KEY)).status_code == 200
    lesser = encode(whole_sad(bench, acr=LOW), SAD_KEY)
    check_challenged(bench.post("credentials/info", asked, lesser), "A different authentication level is required")
    bench.clock.advance(299)
    assert bench.post("credentials/info", asked, encode(good, SAD_KEY)).status_code == 200


@pytest.mark.parametrize("bench", [SIGNATURES], indirect=True)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_lesser_or_older_approval_is_challenged_before_the_module_is_asked(bench: Bench, version: str) -> None:
    now, method = epoch(NOW), "signatures/signHash"
    asked, service = SIGNING, bench.service_token()
    good: dict[str, Any] = {"acr": SUBSTANTIAL, "auth_time": now - 300}
    for changes, words in (
        ({"acr": LOW}, "A different authentication level is required"),
        ({"acr": None}, "A different authentication level is required"),
        ({"auth_time": now - 301}, "More recent authentication is required"),
        ({"auth_time": None}, "More recent authentication is required"),
    ):
        claims = {name: value for name, value in (good | changes).items() if value is not None}
        check_challenged(bench.post(method, asked, bench.sad(**claims), version), words)
        check_challenged(bench.post(method, asked | {"SAD": bench.sad(**claims)}, service, version), words)
    assert bench.sam.asked == []
    assert bench.post(method, asked, bench.sad(**good), version).status_code == 200
    assert bench.post(method, asked | {"SAD": bench.sad(**good)}, service, version).status_code == 200
    assert (
        bench.post(method, asked, bench.sad(acr=7), version).get_json()["error_description"] == "Invalid parameter SAD"
    )
    # what the service token says of its person's sign-in is not what authorises
    assert len(bench.sam.asked) == 2


@pytest.mark.parametrize("bench", [SIGNATURES], indirect=True)
def test_each_group_has_its_own_demand(bench: Bench) -> None:
    assert bench.post("credentials/list", {}, bench.service_token()).status_code == 200
    assert bench.post("info", {}).status_code == 200


def test_nothing_is_demanded_unless_the_operator_says_so(bench: Bench) -> None:
    for method, asked in READING:
        assert bench.post(method, asked, bench.service_token()).status_code == 200
    assert bench.post("signatures/signHash", SIGNING, bench.sad()).status_code == 200


@pytest.mark.parametrize(
    ("demand", "made", "words"),
    [
        (AuthenticationDemand(), Authentication(), None),
        (AuthenticationDemand((LOW,)), Authentication(LOW), None),
        (AuthenticationDemand((LOW,)), Authentication(HIGH, 1), errors.OTHER_LEVEL),
        (AuthenticationDemand(max_authentication_age=10), Authentication(None, epoch(NOW) - 10), None),
        (AuthenticationDemand(max_authentication_age=10), Authentication(None, epoch(NOW) + 5), None),
        (AuthenticationDemand(max_authentication_age=10), Authentication(LOW, epoch(NOW) - 11), errors.MORE_RECENT),
    ],
)
def test_what_is_enough_is_what_the_operator_lists(
    demand: AuthenticationDemand, made: Authentication, words: str | None
) -> None:
    if words is None:
        check_authentication(made, demand, NOW)
        return
    with pytest.raises(errors.InsufficientUserAuthentication) as refusal:
        check_authentication(made, demand, NOW + timedelta(milliseconds=900))
    assert refusal.value.description == words
    assert (refusal.value.acr_values, refusal.value.max_age) == (demand.required_acr, demand.max_authentication_age)


def test_claims_that_are_absent_say_nothing() -> None:
    assert authentication_of({"sub": "alice"}) == Authentication(None, None)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"required_acr": ['urn:a"b']}, "authentication.credentials"),
        ({"required_acr": ["urn:a b"]}, "required_acr"),
        ({"required_acr": [""]}, "required_acr"),
        ({"required_acr": ["urn:\u00e4"]}, "required_acr"),
        ({"required_acr": [f"urn:{n}" for n in range(11)]}, "required_acr"),
        ({"max_authentication_age": 0}, "max_authentication_age"),
        ({"max_authentication_age": 10**9}, "max_authentication_age"),
        ({"max_authentication_age": "5m"}, "max_authentication_age"),
    ],
)
def test_a_demand_that_could_not_be_written_into_a_header_is_a_fault(
    table: dict[str, Any], fault: str, tmp_path: Any
) -> None:
    settings: dict[str, Any] = {
        "mode": "development",
        "public_url": "http://sign.localhost",
        "sam_socket": "sam.sock",
        "issuer": {"url": "http://idp.localhost", "client_id": "csc", "client_secret_file": "secret"},
        "authentication": {"credentials": {"required_acr": ["urn:a"], "max_authentication_age": 60}},
    }
    read = from_table(WebSettings, settings, base=tmp_path, environ={}, prefix="WEB")
    assert read.authentication.credentials == AuthenticationDemand(("urn:a",), 60)
    assert read.authentication.signatures == AuthenticationDemand()
    with pytest.raises(Exception, match=fault):
        from_table(
            WebSettings, settings | {"authentication": {"credentials": table}}, base=tmp_path, environ={}, prefix="WEB"
        )


def test_the_module_is_at_a_socket_or_at_a_port_and_not_at_both(tmp_path: Any) -> None:
    table: dict[str, Any] = {
        "mode": "development",
        "public_url": "http://sign.localhost",
        "issuer": {"url": "http://idp.localhost", "client_id": "csc", "client_secret_file": "secret"},
    }
    tls = {"address": "192.0.2.1:7443", "certificate": "link.pem", "key": "link.key", "peers": ["sam.pem"]}

    def read(**more: Any) -> WebSettings:
        return from_table(WebSettings, table | more, base=tmp_path, environ={}, prefix="WEB")

    assert read(sam_socket="sam.sock").sam_tls is None
    assert read(sam_tls=tls).sam_socket is None
    for more, fault in (
        ({}, "one of sam_socket"),
        ({"sam_socket": "sam.sock", "sam_tls": tls}, "one of sam_socket"),
        ({"sam_tls": {**tls, "address": "192.0.2.1"}}, "host and a port"),
        ({"sam_tls": {**tls, "peers": []}}, "sam_tls.peers"),
    ):
        with pytest.raises(SettingsError, match=fault):
            read(**more)
