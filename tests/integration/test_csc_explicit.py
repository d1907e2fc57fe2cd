"""Explicit authorisation over the CSC API, on real parts: what is typed into an application signs at SCAL1, and never
at SCAL2.

Identity provider, API and module over their link, SQLite and SoftHSM2; what is signed is verified.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.test import TestResponse

from foundation.jose import peek_claims
from idp.oidc.client import EXPLICIT_GRANT
from idp.storage import authenticators
from signing.scdev.device import Pkcs11Device
from tests.fakes.softhsm import make_token
from tests.integration.in_band_world import ON, Service, app_code, bind_app, policy_file
from tests.integration.oidc_world import NOW, PASSWORD, SHA256
from tests.integration.whole_world import Whole, sign_hash, whole

pytestmark = pytest.mark.hsm

VERSIONS = ["v1", "v2", "v2_2"]
AUTHORIZE, CHALLENGE, SEND_OTP = "credentials/authorize", "credentials/getChallenge", "credentials/sendOTP"
NEW_PASSWORD = "another horse battery staple"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    directory = tmp_path_factory.mktemp("explicit")
    identity = {"in_band": ON, "policy_file": policy_file(directory)}
    with (
        Pkcs11Device(make_token(directory / "token")) as device,
        whole(directory, device, identity=identity, explicit=True, login_client="typed") as running,
    ):
        for username in ("alice", "carol"):
            bind_app(running.idp, running.people[username].account_id)
        running.idp.clock.advance(60)
        yield running


@pytest.fixture
def token(everything: Whole) -> str:
    # a new step of the apps' clock, and no code that was sent a moment ago
    everything.idp.clock.advance(31)
    return everything.service_token("carol", "typed")


def own(everything: Whole, username: str = "carol") -> str:
    return everything.people[username].credential_id


def error(response: TestResponse) -> tuple[int, str, str]:
    body = response.get_json()
    return response.status_code, body["error"], body["error_description"]


def answers(everything: Whole, version: str, **changes: str) -> dict[str, Any]:
    """Password and app, as the version has it."""
    given = {"password": PASSWORD, "totp": app_code(everything.idp), **changes}
    return in_words(version, given)


def in_words(version: str, given: dict[str, str]) -> dict[str, Any]:
    if version == "v1":
        code = next((value for name, value in given.items() if name != "password"), None)
        return {name: value for name, value in {"PIN": given.get("password"), "OTP": code}.items() if value}
    return {"authData": [{"id": name, "value": value} for name, value in given.items()]}


def body(everything: Whole, version: str, *documents: bytes, **changes: Any) -> dict[str, Any]:
    """The body of ``credentials/authorize``, without answers."""
    asked: dict[str, Any] = {"credentialID": own(everything), "numSignatures": len(documents) or 1}
    if documents:
        digests = [base64.b64encode(hashlib.sha256(item).digest()).decode() for item in documents]
        asked |= {"hash": digests} if version == "v1" else {"hashes": digests, "hashAlgorithmOID": SHA256}
    return {name: value for name, value in {**asked, **changes}.items() if value is not None}


def signed(everything: Whole, token: str, sad: str, version: str, *documents: bytes) -> TestResponse:
    request = {**sign_hash(own(everything), *documents), "SAD": sad}
    if version == "v1":
        request["hash"], request["hashAlgo"] = request.pop("hashes"), request.pop("hashAlgorithmOID")
    return everything.call("signatures/signHash", request, token, version)


def check(everything: Whole, response: TestResponse, *documents: bytes) -> None:
    assert response.status_code == 200, response.text
    asked = {"credentialID": own(everything), "certificates": "single"}
    info = everything.call("credentials/info", asked, everything.service_token("carol", "typed"))
    certificate = x509.load_der_x509_certificate(base64.b64decode(info.get_json()["cert"]["certificates"][0]))
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    for value, document in zip(response.get_json()["signatures"], documents, strict=True):
        key.verify(base64.b64decode(value), document, ec.ECDSA(hashes.SHA256()))


# What it is for


@pytest.mark.parametrize("version", VERSIONS)
def test_password_and_app_sign_at_scal1(everything: Whole, token: str, version: str) -> None:
    documents = (f"one {version}".encode(), f"two {version}".encode())
    request = {**body(everything, version, numSignatures=2), **answers(everything, version)}
    response = everything.call(AUTHORIZE, request, token, version)
    assert response.status_code == 200, response.text
    given = response.get_json()
    assert (given.keys(), given["expiresIn"]) == ({"SAD", "expiresIn"}, 300)
    claims = peek_claims(given["SAD"])
    assert (claims["client_id"], claims["in_band"], claims["dtbsr"]) == ("typed", True, [])
    check(everything, signed(everything, token, given["SAD"], version, *documents), *documents)
    again = signed(everything, token, given["SAD"], version, b"a third")
    assert error(again) == (400, "invalid_request", "Invalid parameter SAD")


@pytest.mark.parametrize("version", VERSIONS)
def test_password_and_a_code_by_text_message_sign_digests_at_scal1(everything: Whole, token: str, version: str) -> None:
    document = f"a contract {version}".encode()
    asked: dict[str, Any] = {"credentialID": own(everything)}
    method = SEND_OTP if version == "v1" else CHALLENGE
    asked |= {} if version == "v1" else {"authObjectID": "sms_otp"}
    response = everything.call(method, asked, token, version)
    assert (response.status_code, response.get_data()) == (204, b"")
    given = in_words(version, {"password": PASSWORD, "sms_otp": everything.idp.phone.code()})
    response = everything.call(AUTHORIZE, {**body(everything, version, document), **given}, token, version)
    assert response.status_code == 200, response.text
    sad = response.get_json()["SAD"]
    wrong = signed(everything, token, sad, version, b"another document")
    assert error(wrong) == (400, "invalid_request", "Hash is not authorized by the SAD")
    check(everything, signed(everything, token, sad, version, document), document)


@pytest.mark.parametrize("version", VERSIONS)
def test_info_says_how_it_is_authorised(everything: Whole, token: str, version: str) -> None:
    asked = {"credentialID": own(everything), "authInfo": True, "lang": "de"}
    info = everything.call("credentials/info", asked, token, version).get_json()
    assert info["SCAL"] == "1"
    if version == "v1":
        assert info["authMode"] == "explicit"
        assert (info["PIN"]["presence"], info["PIN"]["label"]) == ("true", "Passwort")
        assert (info["OTP"]["presence"], info["OTP"]["type"]) == ("true", "offline")
    else:
        assert info["auth"]["mode"] == "explicit"
        assert info["auth"]["expression"] == "(password AND totp) OR (password AND sms_otp)"
        assert [item["id"] for item in info["auth"]["objects"]] == ["password", "totp", "sms_otp"]
    methods = everything.call("info", {}, None, version).get_json()["methods"]
    assert AUTHORIZE in methods
    assert (CHALLENGE in methods, SEND_OTP in methods) == (version != "v1", version != "v2_2")
    assert {"auth/login", "auth/revoke"} <= set(methods)


def test_a_sad_over_digests_is_extended_and_one_without_is_not(everything: Whole, token: str) -> None:
    extend = "credentials/extendTransaction"
    request = {**body(everything, "v2", b"extended"), **answers(everything, "v2")}
    first = everything.call(AUTHORIZE, request, token).get_json()["SAD"]
    asked = {"credentialID": own(everything), "hashes": body(everything, "v2", b"extended")["hashes"]}
    second = everything.call(extend, {**asked, "hashAlgorithmOID": SHA256, "SAD": first}, token)
    assert second.status_code == 200, second.text
    assert peek_claims(second.get_json()["SAD"])["in_band"] is True
    check(everything, signed(everything, token, second.get_json()["SAD"], "v2", b"extended"), b"extended")
    everything.idp.clock.advance(31)
    request = {**body(everything, "v2"), **answers(everything, "v2")}
    counted = everything.call(AUTHORIZE, request, token).get_json()["SAD"]
    refused = everything.call(extend, {"credentialID": own(everything), "SAD": counted}, token)
    assert error(refused) == (400, "invalid_request", "Invalid parameter SAD")


# SCAL2: refused at every layer


@pytest.mark.parametrize("version", VERSIONS)
def test_SAD_08_a_scal2_credential_is_refused_by_the_api(everything: Whole, version: str) -> None:
    everything.idp.clock.advance(31)
    token, hers = everything.service_token("alice", "typed"), own(everything, "alice")
    request = {**body(everything, version, b"x", credentialID=hers), **answers(everything, version)}
    before = len(everything.idp.events("factor.accepted"))
    text = "The credential identified by credentialID is authorized with OAuth 2.0"
    assert error(everything.call(AUTHORIZE, request, token, version)) == (400, "invalid_request", text)
    info = everything.call("credentials/info", {"credentialID": hers, "authInfo": True}, token, version).get_json()
    assert (info["authMode"] if version == "v1" else info["auth"]["mode"]) == "oauth2code"
    method, more = (SEND_OTP, {}) if version == "v1" else (CHALLENGE, {"authObjectID": "sms_otp"})
    assert error(everything.call(method, {"credentialID": hers, **more}, token, version))[0] == 400
    assert len(everything.idp.events("factor.accepted")) == before


def test_SAD_08_a_scal2_credential_is_refused_by_the_identity_provider(everything: Whole) -> None:
    everything.idp.clock.advance(31)
    token = everything.service_token("alice", "typed")
    response = lied(everything, token, scal="2")
    assert (response.status_code, response.get_json()["error"]) == (400, "unauthorized_client")


@pytest.mark.parametrize("digests", [True, False], ids=["over-digests", "without"])
def test_SAD_08_a_scal2_credential_is_refused_by_the_module_when_the_web_tier_lies(
    everything: Whole, digests: bool
) -> None:
    everything.idp.clock.advance(31)
    token, document = everything.service_token("alice", "typed"), b"never signed"
    hashed = base64.b64encode(hashlib.sha256(document).digest()).decode()
    response = lied(everything, token, **({"hashes": hashed} if digests else {}))
    assert response.status_code == 200, "what the identity provider is told it cannot check"
    sad = response.get_json()["access_token"]
    assert peek_claims(sad)["in_band"] is True
    request = {**sign_hash(own(everything, "alice"), document), "SAD": sad}
    refused = everything.call("signatures/signHash", request, token)
    assert error(refused) == (400, "invalid_request", "Invalid parameter SAD")


def lied(everything: Whole, token: str, **changes: str) -> TestResponse:
    """What a web tier asks that says of alice's credential what it likes."""
    service = Service(everything.idp)
    given = [{"id": "password", "value": PASSWORD}, {"id": "totp", "value": app_code(everything.idp)}]
    form = {"numSignatures": "1", "hashAlgorithmOID": SHA256, "auth_data": json.dumps(given)}
    about = service.about(token, credentialID=own(everything, "alice"))
    return service.post("/oauth2/token", {"grant_type": EXPLICIT_GRANT, **about, **form, **changes})


# In the words of the specification


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"credentialID": None}, "Missing (or invalid type) string parameter credentialID"),
        ({"credentialID": 1}, "Missing (or invalid type) string parameter credentialID"),
        ({"credentialID": "0" * 32}, "Invalid parameter credentialID"),
        ({"numSignatures": None}, "Missing (or invalid type) integer parameter numSignatures"),
        ({"numSignatures": "1"}, "Missing (or invalid type) integer parameter numSignatures"),
        ({"numSignatures": True}, "Missing (or invalid type) integer parameter numSignatures"),
        ({"numSignatures": 0}, "Invalid value for parameter numSignatures"),
        ({"numSignatures": -1}, "Invalid value for parameter numSignatures"),
        ({"numSignatures": 4}, "Numbers of signatures is too high"),
    ],
)
def test_authorize_refuses_in_the_specifications_words(
    everything: Whole, version: str, changes: dict[str, Any], text: str
) -> None:
    token = everything.service_token("carol", "typed")
    request = {**body(everything, version, **changes), **in_words(version, {"password": "x", "totp": "000000"})}
    assert error(everything.call(AUTHORIZE, request, token, version)) == (400, "invalid_request", text)


def test_authorize_refuses_answers_of_another_form(everything: Whole) -> None:
    token = everything.service_token("carol", "typed")
    for found, text in (
        ("x", "Missing (or invalid type) array parameter authData"),
        ([], "Missing (or invalid type) array parameter authData"),
        (None, "Missing (or invalid type) array parameter authData"),
        ([{"id": "password"}], "Invalid parameter authData"),
        ([{"id": "password", "value": 1}], "Invalid parameter authData"),
        ([{"id": "password", "value": "x", "more": 1}], "Invalid parameter authData"),
        (["password"], "Invalid parameter authData"),
    ):
        request = body(everything, "v2", authData=found)
        assert error(everything.call(AUTHORIZE, request, token)) == (400, "invalid_request", text), found
    for found_pin, found_otp, text in (
        (1, "000000", "Invalid parameter PIN"),
        (None, "000000", "The authentication data is invalid"),
        ("x", 1, "Invalid parameter OTP"),
        ("x", "1" * 1025, "Invalid parameter OTP"),
    ):
        request = body(everything, "v1", PIN=found_pin, OTP=found_otp)
        assert error(everything.call(AUTHORIZE, request, token, "v1"))[2] == text
    request = body(everything, "v1")
    assert error(everything.call(AUTHORIZE, request, token, "v1")) == (400, "invalid_request", "Invalid parameter PIN")


def test_wrong_answers_are_told_apart_in_version_1_only(everything: Whole, token: str) -> None:
    wrong = {"password": "wrong", "totp": app_code(everything.idp)}
    late = {"password": PASSWORD, "totp": f"{(int(app_code(everything.idp)) + 1) % 10**6:06d}"}
    told = ((wrong, ("invalid_pin", "The PIN is invalid")), (late, ("invalid_otp", "The OTP is invalid")))
    for given, version_1 in told:
        for version in VERSIONS:
            request = {**body(everything, version), **in_words(version, given)}
            expected = version_1
            if version != "v1":
                expected = ("invalid_authentication_data", "The authentication data is invalid")
            assert error(everything.call(AUTHORIZE, request, token, version)) == (400, *expected)
    for _ in range(5):
        everything.call(AUTHORIZE, {**body(everything, "v2"), **in_words("v2", wrong)}, token)
    for version, expected in (
        ("v1", ("invalid_pin", "PIN locked")),
        ("v2", ("invalid_request", "Credential locked")),
        ("v2_2", ("invalid_request", "Credential locked")),
    ):
        request = {**body(everything, version), **in_words(version, wrong)}
        assert error(everything.call(AUTHORIZE, request, token, version)) == (400, *expected)
    everything.idp.clock.advance(16 * 60)


def test_a_challenge_refuses_in_the_specifications_words(everything: Whole, token: str) -> None:
    mine = own(everything)
    for asked, text in (
        ({"authObjectID": "sms_otp"}, "Missing (or invalid type) string parameter credentialID"),
        ({"credentialID": "0" * 32, "authObjectID": "sms_otp"}, "Invalid parameter credentialID"),
        ({"credentialID": mine}, "Missing (or invalid type) string parameter authObjectID"),
        ({"credentialID": mine, "authObjectID": "totp"}, "Invalid parameter authObjectID"),
        ({"credentialID": mine, "authObjectID": "nothing"}, "Invalid parameter authObjectID"),
    ):
        assert error(everything.call(CHALLENGE, asked, token)) == (400, "invalid_request", text)
    asked = {"credentialID": mine, "authObjectID": "sms_otp"}
    texts = len(everything.idp.phone.texts)
    assert everything.call(CHALLENGE, asked, token).status_code == 204
    soon = everything.call(CHALLENGE, asked, token)
    assert (soon.status_code, soon.get_json()["error"]) == (503, "temporarily_unavailable")
    assert soon.headers["Retry-After"]
    assert len(everything.idp.phone.texts) == texts + 1


def test_a_relying_party_that_is_not_registered_for_it_is_refused(everything: Whole) -> None:
    everything.idp.clock.advance(31)
    token = everything.service_token("carol")
    text = "The credential identified by credentialID is authorized with OAuth 2.0"
    request = {**body(everything, "v2"), **answers(everything, "v2")}
    assert error(everything.call(AUTHORIZE, request, token)) == (400, "invalid_request", text)
    asked = {"credentialID": own(everything), "authObjectID": "sms_otp"}
    assert error(everything.call(CHALLENGE, asked, token)) == (400, "invalid_request", text)


@pytest.mark.parametrize("version", VERSIONS)
def test_OAU_17_nobodys_token_authorises_another_persons_credential(everything: Whole, version: str) -> None:
    everything.idp.clock.advance(31)
    hers, his = own(everything), everything.service_token("bob", "typed")
    client = everything.idp.rp("typed").token(grant_type="client_credentials", scope="service")
    texts = len(everything.idp.phone.texts)
    for bearer in (his, str(client.get_json()["access_token"]), None):
        for named in (hers, "0" * 32):
            request = {**body(everything, version, credentialID=named), **answers(everything, version)}
            refused = everything.call(AUTHORIZE, request, bearer, version)
            assert refused.status_code in {400, 401}
            assert "SAD" not in refused.get_json()
            method, more = (SEND_OTP, {}) if version == "v1" else (CHALLENGE, {"authObjectID": "sms_otp"})
            refused = everything.call(method, {"credentialID": named, **more}, bearer, version)
            assert refused.status_code in {400, 401}
    assert len(everything.idp.phone.texts) == texts


# auth/login and auth/revoke


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def login(everything: Whole, header: str | None, version: str = "v2", **members: Any) -> TestResponse:
    headers = {} if header is None else {"Authorization": header}
    base = {"v1": "/csc/v1", "v2": "/csc/v2", "v2_2": "/2.2/csc/v2"}[version]
    return everything.web.test_client().post(f"{base}/auth/login", json=members, headers=headers)


@pytest.mark.parametrize("version", VERSIONS)
def test_user_name_and_password_sign_in_and_sign(everything: Whole, version: str) -> None:
    everything.idp.clock.advance(31)
    response = login(everything, basic("carol", PASSWORD), version)
    assert response.status_code == 200, response.text
    given = response.get_json()
    assert given.keys() == {"access_token", "expires_in"}
    listed = everything.call("credentials/list", {}, given["access_token"], version).get_json()
    assert listed["credentialIDs"] == [own(everything)]
    request = {**body(everything, version), **answers(everything, version)}
    sad = everything.call(AUTHORIZE, request, given["access_token"], version).get_json()["SAD"]
    document = f"signed after a login {version}".encode()
    check(everything, signed(everything, given["access_token"], sad, version, document), document)


def test_a_login_is_remembered_and_given_back(everything: Whole) -> None:
    first = login(everything, basic("carol", PASSWORD), rememberMe=True).get_json()
    second = login(everything, None, refresh_token=first["refresh_token"], rememberMe=True).get_json()
    assert second["refresh_token"] != first["refresh_token"]
    assert everything.call("credentials/list", {}, second["access_token"]).status_code == 200
    # an access token goes alone
    everything.call("auth/revoke", {"token": first["access_token"]}, second["access_token"])
    everything.idp.clock.advance(6)
    answer = {name: introspected(everything, each["access_token"]) for name, each in (("1", first), ("2", second))}
    assert answer == {"1": False, "2": True}
    # a refresh token takes everything along
    asked = {"token": second["refresh_token"], "token_type_hint": "refresh_token"}
    response = everything.call("auth/revoke", asked, second["access_token"])
    assert (response.status_code, response.get_data()) == (204, b"")
    assert introspected(everything, second["access_token"]) is False
    refused = login(everything, None, refresh_token=second["refresh_token"])
    assert error(refused) == (400, "invalid_request", "Invalid refresh_token")


def introspected(everything: Whole, token: str) -> bool:
    answer = Service(everything.idp).post("/oauth2/introspect", {"token": token}).get_json()
    return bool(answer["active"])


NOT_SIGNED_IN = (400, "authentication_error", "An error occurred during authentication process")


@pytest.mark.parametrize(
    ("header", "members", "expected"),
    [
        (None, {}, (401, "invalid_request", "Malformed authentication parameter")),
        ("Bearer x", {}, (401, "invalid_request", "Malformed authentication parameter")),
        ("Basic", {}, (401, "invalid_request", "Malformed authentication parameter")),
        ("Basic ***", {}, (400, "invalid_request", "Malformed username-password")),
        ("Basic " + base64.b64encode(b"carol").decode(), {}, (400, "invalid_request", "Malformed username-password")),
        (basic("carol", ""), {}, (400, "invalid_request", "Malformed username-password")),
        (basic("carol", "hidden-9f2"), {}, NOT_SIGNED_IN),
        (basic("nobody", PASSWORD), {}, NOT_SIGNED_IN),
        (None, {"refresh_token": 1}, (400, "invalid_request", "Invalid string parameter: refresh_token")),
        (None, {"refresh_token": ""}, (400, "invalid_request", "Invalid string parameter: refresh_token")),
        (None, {"refresh_token": "nobodys"}, (400, "invalid_request", "Invalid refresh_token")),
    ],
)
def test_OTP_11_login_refuses_in_the_specifications_words_and_tells_nobody_apart(
    everything: Whole, header: str | None, members: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    everything.idp.clock.advance(16 * 60)
    response = login(everything, header, **members)
    assert error(response) == expected
    assert "hidden-9f2" not in response.text
    if expected[0] == 401:
        assert response.headers["WWW-Authenticate"].startswith("Basic ")


def test_a_refresh_token_of_a_browser_is_none_of_logins(everything: Whole) -> None:
    tokens = everything.idp.rp("typed").tokens()
    refused = login(everything, None, refresh_token=tokens["refresh_token"])
    assert error(refused) == (400, "invalid_request", "Invalid refresh_token")
    mine = login(everything, basic("carol", PASSWORD)).get_json()["access_token"]
    everything.call("auth/revoke", {"token": tokens["access_token"]}, mine)
    assert introspected(everything, tokens["access_token"]), "what was given in a browser is not given back here"


def test_revoke_takes_a_service_token(everything: Whole) -> None:
    assert everything.call("auth/revoke", {"token": "x"}).status_code == 401
    mine = login(everything, basic("carol", PASSWORD)).get_json()["access_token"]
    text = "Missing (or invalid type) string parameter token"
    assert error(everything.call("auth/revoke", {}, mine)) == (400, "invalid_request", text)
    assert everything.call("auth/revoke", {"token": "nobodys"}, mine).status_code == 204


def test_a_login_ends_with_its_password(everything: Whole) -> None:
    given = login(everything, basic("bob", PASSWORD), rememberMe=True).get_json()
    assert introspected(everything, given["access_token"])
    services = everything.idp.app.extensions["privyseal"]
    with everything.idp.engine.begin() as connection:
        authenticators.replace(
            connection,
            services.seals,
            authenticator_id="a-new-password-of-bob",
            account_id=everything.people["bob"].account_id,
            kind="password",
            now=NOW,
            secret_hash="k1$never",
        )
    assert not introspected(everything, given["access_token"])
    refused = login(everything, None, refresh_token=given["refresh_token"])
    assert error(refused) == (400, "invalid_request", "Invalid refresh_token")


def test_KEY_08_the_web_tier_logs_nothing_that_people_type(
    everything: Whole, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    code = app_code(everything.idp)
    for version in VERSIONS:
        request = {**body(everything, version), **in_words(version, {"password": "hidden-9f2", "totp": code})}
        assert everything.call(AUTHORIZE, {**request, "clientData": "mine"}, token, version).status_code == 400
    request = {**body(everything, "v2"), **answers(everything, "v2")}
    sad = everything.call(AUTHORIZE, request, token).get_json()["SAD"]
    login(everything, basic("carol", "hidden-9f2"))
    given = login(everything, basic("carol", PASSWORD), rememberMe=True).get_json()
    header = basic("carol", PASSWORD).removeprefix("Basic ")
    told = [str(vars(record)) for record in caplog.records]
    assert len(told) > 5
    tokens = (given["access_token"], given["refresh_token"])
    for secret in ("hidden-9f2", PASSWORD, f"'{code}'", f'"{code}"', sad, header, *tokens):
        assert not [text for text in told if secret in text], secret
