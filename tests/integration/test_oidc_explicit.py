"""Explicit authorisation at the identity provider: what is typed into somebody else's application."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy import text as sql
from werkzeug.test import TestResponse

from contract import sad as sads
from contract.sad import Sad
from foundation.dpop import make_proof
from foundation.jose import generate_signing_key
from idp.oidc.client import BACKCHANNEL_GRANT, EXPLICIT_GRANT, EXTENSION_GRANT
from idp.settings import InBandSettings
from idp.storage import accounts, clients
from idp.storage.authenticators import Authenticator
from idp.web import login, oidc
from idp.web import services as composition
from tests.integration.in_band_world import ON, Service, app_code, bind_app, policy_file
from tests.integration.oidc_world import (
    ISSUER,
    PASSWORD,
    REDIRECT_URI,
    SHA256,
    Seed,
    World,
    error_of,
    seed_sqlite,
    start,
)

WRONG = "not the password"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    return seed_sqlite(tmp_path_factory.mktemp("seed"))


@pytest.fixture
def make(seeded: Seed, tmp_path: Path) -> Iterator[Any]:
    worlds: list[World] = []

    def made(rule: str | None = None, **settings: Any) -> World:
        shutil.copytree(seeded.directory, tmp_path, dirs_exist_ok=True)
        policy = policy_file(tmp_path) if rule is None else policy_file(tmp_path, rule)
        changes = {"policy_file": policy, "in_band": ON, **settings}
        worlds.append(start(seeded, tmp_path, f"sqlite:///{tmp_path / 'idp.sqlite'}", **changes))
        bind_app(worlds[-1])
        worlds[-1].clock.advance(60)
        return worlds[-1]

    yield made
    for each in worlds:
        each.engine.dispose()


@pytest.fixture
def world(make: Any) -> World:
    found = make()
    assert isinstance(found, World)
    return found


def token_of(world: World, client_id: str = "typed") -> str:
    return str(world.rp(client_id).tokens()["access_token"])


def activate(world: World, token: str, answers: dict[str, str], **changes: str) -> TestResponse:
    """What the web tier asks for what somebody typed."""
    given = [{"id": name, "value": value} for name, value in answers.items()]
    form = {"numSignatures": "1", "hashAlgorithmOID": SHA256, "auth_data": json.dumps(given), **changes}
    return Service(world).post("/oauth2/token", {"grant_type": EXPLICIT_GRANT, **Service(world).about(token), **form})


def decoded(world: World, response: TestResponse) -> Sad:
    assert response.status_code == 200, response.text
    key = world.app.extensions["privyseal"].keys.activation_key().verification_key()
    return sads.decode(response.get_json()["access_token"], [key])


def with_app(world: World, password: str = PASSWORD, code: str | None = None) -> dict[str, str]:
    return {"password": password, "totp": code or app_code(world)}


# What is given


def test_password_and_app_give_a_sad_in_band_that_names_the_relying_party(world: World) -> None:
    token = token_of(world)
    response = activate(world, token, with_app(world), numSignatures="3")
    sad = decoded(world, response)
    assert (sad.client_id, sad.sub, sad.credential_id) == ("typed", world.account_id, "a-credential")
    assert (sad.in_band, sad.dtbsr, sad.sign_count) == (True, (), 3)
    assert [item.factor for item in sad.evidence] == ["password", "totp"]
    assert response.get_json()["token_type"] == "Bearer"
    [issued], approvals = world.events("sad.issued"), world.events("transaction.approved")
    assert (issued["client_id"], issued["txn"], issued["decision_id"]) == ("typed", sad.txn, sad.policy.decision_id)
    assert approvals[-1]["action"] == "signature.activate_in_band"
    assert approvals[-1]["decision_id"] == sad.policy.decision_id
    token = response.get_json()["access_token"]
    assert Service(world).post("/oauth2/introspect", {"token": token}).get_json()["active"]


def test_password_and_a_code_by_text_message_give_one_over_digests(world: World) -> None:
    token, service = token_of(world), Service(world)
    assert service.challenge(token, lang="de").status_code == 204
    assert "Typing Party" in world.phone.texts[-1]
    digest = hashlib.sha256(b"one").digest()
    hashes = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    answers = {"password": PASSWORD, "sms_otp": world.phone.code()}
    sad = decoded(world, activate(world, token, answers, hashes=hashes))
    assert (sad.dtbsr, sad.sign_count, sad.in_band) == ((digest,), 1, True)
    assert sad.evidence[1].transaction_bound


@pytest.mark.parametrize(
    ("chosen", "asked", "words"),
    [
        (None, None, "is your code for"),
        ("de", None, "Code für"),
        ("es_ES", None, "digo para"),
        ("fr", None, "code pour"),
        ("fr", "de", "Code für"),
    ],
)
def test_a_code_comes_in_the_persons_language_unless_the_application_asks_for_another(
    world: World, chosen: str | None, asked: str | None, words: str
) -> None:
    token, service = token_of(world), Service(world)
    with world.engine.begin() as connection:
        accounts.set_locale(connection, world.account_id, chosen)
    assert service.challenge(token, **({} if asked is None else {"lang": asked})).status_code == 204
    assert words in world.phone.texts[-1]


def test_rich_authorization_details_do_as_well(world: World) -> None:
    digest = base64.b64encode(hashlib.sha256(b"one").digest()).decode()
    details = {
        "type": "credential",
        "credentialID": "a-credential",
        "documentDigests": [{"hash": digest, "label": "contract.pdf"}],
        "hashAlgorithmOID": SHA256,
    }
    token = token_of(world)
    response = activate(world, token, with_app(world), authorization_details=json.dumps([details]))
    assert decoded(world, response).sign_count == 1
    other = json.dumps([{**details, "credentialID": "another"}])
    world.clock.advance(30)
    assert error_of(activate(world, token, with_app(world), authorization_details=other)) == "invalid_request"


def test_version_1s_names_stand_for_the_password_and_the_code_that_there_is(world: World) -> None:
    token, service = token_of(world), Service(world)
    decoded(world, activate(world, token, {"PIN": PASSWORD, "OTP": app_code(world)}))
    assert service.challenge(token, "OTP").status_code == 204
    sad = decoded(world, activate(world, token, {"PIN": PASSWORD, "OTP": world.phone.code()}))
    assert [item.factor for item in sad.evidence] == ["password", "sms_otp"]


def test_an_extension_is_in_band_as_well(world: World) -> None:
    token = token_of(world)
    hashes = base64.b64encode(hashlib.sha256(b"one").digest()).decode()
    first = activate(world, token, with_app(world), hashes=hashes)
    second = world.rp("typed").token(grant_type=EXTENSION_GRANT, sad=first.get_json()["access_token"])
    assert decoded(world, second).in_band
    # without digests there is nothing that two SADs could share
    world.clock.advance(30)
    third = activate(world, token, with_app(world))
    again = world.rp("typed").token(grant_type=EXTENSION_GRANT, sad=third.get_json()["access_token"])
    assert error_of(again) == "invalid_grant"


# How it can be authorised


def test_the_options_are_the_policys_ways(world: World) -> None:
    found = Service(world).options(token_of(world), lang="en")
    assert found["mode"] == "explicit"
    assert found["expression"] == "(password AND totp) OR (password AND sms_otp)"
    assert [(item["id"], item["type"]) for item in found["objects"]] == [
        ("password", "Password"),
        ("totp", "Password"),
        ("sms_otp", "ChallengeResponse"),
    ]
    assert found["objects"][1]["generator"] == "totp"
    assert "+43" in found["objects"][2]["description"]
    assert "43660123456" not in json.dumps(found), "a telephone number is not told to whoever passes by"
    assert world.phone.texts == []


def test_the_options_are_in_the_language_that_is_asked_for(world: World) -> None:
    token = token_of(world)
    texts = {Service(world).options(token, lang=lang)["objects"][0]["label"] for lang in ("en", "de", "es", "fr")}
    assert len(texts) == 4


def register(world: World, **changes: Any) -> None:
    """Change what the relying party was registered with."""
    table = clients.oidc_clients
    with world.engine.begin() as connection:
        row = connection.execute(select(table).where(table.c.client_id == "typed")).one()
        changed = {**row.registration, **changes}
        connection.execute(update(table).where(table.c.client_id == "typed").values(registration=changed))


def test_approval_is_another_way_for_whoever_may_ask_out_of_band(world: World) -> None:
    token, service = token_of(world), Service(world)
    typed_only = service.options(token)
    assert service.options(token, approval="true") == typed_only, "not registered for it"
    register(world, grant_types=["authorization_code", BACKCHANNEL_GRANT])
    assert service.options(token) == typed_only
    found = service.options(token, approval="true", lang="de")
    assert found["expression"] == f"{typed_only['expression']} OR approval"
    assert (found["objects"][-1]["id"], found["objects"][-1]["type"]) == ("approval", "ChallengeResponseOOB")
    assert "Freigaben" in found["objects"][-1]["description"]
    assert service.options(token, approval="true", scal="2") == {"mode": "oauth2code"}, "a browser shows more"
    register(world, grant_types=[BACKCHANNEL_GRANT])
    alone = service.options(token, approval="true", scal="2")
    assert (alone["mode"], alone["expression"], len(alone["objects"])) == ("explicit", "approval", 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": ["openid", "service"]},
        {"dpop_bound_access_tokens": True},
        {"tls_client_certificate_bound_access_tokens": True},
    ],
    ids=["no-scope", "bound-to-key", "bound-to-certificate"],
)
def test_approval_is_not_told_to_whom_it_would_be_refused(world: World, changes: dict[str, Any]) -> None:
    token = token_of(world)
    register(world, grant_types=[BACKCHANNEL_GRANT], **changes)
    assert Service(world).options(token, approval="true", scal="2") == {"mode": "oauth2code"}


@pytest.mark.parametrize(
    ("client_id", "settings", "rule", "changes"),
    [
        ("typed", {"in_band": InBandSettings()}, None, {}),
        ("typed", {"in_band": InBandSettings(login=True)}, None, {}),
        ("example-contracts", {}, None, {}),
        ("typed", {}, "", {}),
        ("typed", {}, None, {"scal": "2"}),
        ("typed", {}, None, {"scal": ""}),
    ],
    ids=["off", "login-only", "client-not-registered", "policy-silent", "scal2", "no-level"],
)
def test_SAD_08_in_band_is_off_unless_settings_client_policy_and_credential_allow_it(
    make: Any, client_id: str, settings: dict[str, Any], rule: str | None, changes: dict[str, str]
) -> None:
    world = make(rule, **settings)
    token = token_of(world, client_id)
    assert Service(world).options(token, **changes) == {"mode": "oauth2code"}
    refused = Service(world).challenge(token, **changes)
    assert refused.status_code == 400
    assert error_of(activate(world, token, with_app(world), **changes)) in {
        "unauthorized_client",
        "invalid_authentication_data",
    }
    assert world.phone.texts == []
    assert world.events("sad.issued") == []
    assert world.events("login.refused") == []


def test_OAU_11_nobody_but_a_resource_server_that_is_registered_for_it_may_ask(world: World) -> None:
    token = token_of(world)
    form = Service(world).about(token)
    for client_id in ("typed", "csc", "example-contracts"):
        rp = world.rp(client_id)
        for path in ("/oauth2/activation-options", "/oauth2/activation-challenge"):
            assert error_of(rp.post(path, {**form, "auth_object": "sms_otp"})) == "unauthorized_client"
        answers = json.dumps([{"id": "password", "value": PASSWORD}, {"id": "totp", "value": app_code(world)}])
        asked = {"grant_type": EXPLICIT_GRANT, **form, "auth_data": answers, "numSignatures": "1"}
        assert error_of(rp.post("/oauth2/token", asked)) == "unauthorized_client"
    assert world.events("sad.issued") == []


@pytest.mark.parametrize(
    "what", ["unknown", "revoked", "expired", "sad", "own", "refresh", "client-disabled", "altered", "elsewhere"]
)
def test_OAU_17_only_a_live_service_token_of_a_person_says_whose_credential_it_is(world: World, what: str) -> None:
    rp, service = world.rp("typed"), Service(world)
    tokens = rp.tokens()
    token = tokens["access_token"]
    if what == "unknown":
        token = token[:-4] + "AAAA"
    elif what == "revoked":
        assert rp.post("/oauth2/revoke", {"token": token}).status_code == 204
    elif what == "expired":
        world.clock.advance(601)
    elif what == "sad":
        token = activate(world, token, with_app(world)).get_json()["access_token"]
        world.clock.advance(30)
    elif what == "own":
        token = rp.token(grant_type="client_credentials", scope="service").get_json()["access_token"]
    elif what == "client-disabled":
        with world.engine.begin() as connection:
            clients.set_active(connection, "typed", active=False)
    elif what == "altered":
        with world.engine.begin() as connection:
            connection.execute(sql("UPDATE oidc_grants SET session_id = NULL"))
    elif what == "elsewhere":
        with world.engine.begin() as connection:
            connection.execute(sql("UPDATE oidc_access_tokens SET resource = 'https://elsewhere.example.org'"))
    else:
        token = tokens["refresh_token"]
    before = len(world.events("sad.issued"))
    assert error_of(service.post("/oauth2/activation-options", service.about(token))) == "invalid_grant"
    assert error_of(service.challenge(token)) == "invalid_grant"
    assert error_of(activate(world, token, with_app(world))) == "invalid_grant"
    assert world.phone.texts == []
    assert len(world.events("sad.issued")) == before


def test_a_person_who_signs_out_or_is_disabled_authorises_nothing(world: World) -> None:
    browser, rp = world.browser(), world.rp("typed")
    token = rp.redeem(rp.code(browser)).get_json()["access_token"]
    with world.engine.begin() as connection:
        connection.execute(sql("UPDATE sessions SET revoked_at = 1"))
    assert error_of(activate(world, token, with_app(world))) == "invalid_grant"


def test_SES_03_a_token_that_is_given_back_while_the_password_is_verified_gives_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rp, prove = world.rp("typed"), login.prove
    token = rp.tokens()["access_token"]

    def slowly(*arguments: Any) -> Authenticator:
        found = prove(*arguments)
        assert rp.post("/oauth2/revoke", {"token": token}).status_code == 204
        return found

    monkeypatch.setattr(login, "prove", slowly)
    assert error_of(activate(world, token, with_app(world))) == "invalid_grant"
    assert world.events("sad.issued") == []
    actions = {record["action"] for record in world.events("transaction.approved")}
    assert actions == {"sign_in"}, "nothing is on record as approved"


def test_OAU_17_a_token_with_which_the_pages_read_authorises_nothing_in_band(world: World) -> None:
    with world.app.app_context():
        token = oidc.self_service_token(composition.of(world.app), world.account_id, "typed")
    assert Service(world).options(token) == {"mode": "oauth2code"}
    register(world, grant_types=[BACKCHANNEL_GRANT])
    assert Service(world).options(token, approval="true") == {"mode": "oauth2code"}
    assert world.events("token.refused") == [], "a page that is looked at fills no chain"
    assert error_of(Service(world).challenge(token)) == "unauthorized_client"
    assert error_of(activate(world, token, with_app(world))) == "unauthorized_client"
    assert world.events("login.refused") == world.events("factor.refused") == world.events("sad.issued") == []


# What is wrong with answers


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"password": PASSWORD},
        {"totp": "000000"},
        {"password": PASSWORD, "recovery_code": "AAAA"},
        {"password": PASSWORD, "totp": "000000", "sms_otp": "000000"},
        {"password": PASSWORD, "passkey": "x"},
        {"PIN": PASSWORD, "password": PASSWORD, "totp": "000000"},
    ],
    ids=["none", "password", "code", "recovery", "three", "passkey", "twice"],
)
def test_OTP_02_answers_that_are_no_way_of_the_policy_are_not_judged(world: World, answers: dict[str, str]) -> None:
    assert error_of(activate(world, token_of(world), answers)) == "invalid_authentication_data"
    assert world.events("login.refused") == world.events("factor.refused") == []
    accepted = {record["factor"] for record in world.events("factor.accepted")}
    assert accepted == set()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "[1]",
        '[{"id": "password"}]',
        '[{"id": "password", "value": 1}]',
        '[{"id": "password", "value": "x", "more": 1}]',
        '[{"id": "password", "value": "hidden-9f2"}, {"id": "password", "value": "hidden-9f2"}]',
        '[{"id": "password", "value": "hidden-9f2"}',
        json.dumps([{"id": str(number), "value": "x"} for number in range(9)]),
        json.dumps([{"id": "password", "value": "x" * 1025}]),
    ],
)
def test_JOS_answers_in_another_form_are_refused_and_not_quoted(world: World, text: str) -> None:
    form = {"grant_type": EXPLICIT_GRANT, **Service(world).about(token_of(world)), "auth_data": text}
    response = Service(world).post("/oauth2/token", {**form, "numSignatures": "1", "hashAlgorithmOID": SHA256})
    assert error_of(response) in {"invalid_authentication_data", "invalid_request"}
    assert "hidden-9f2" not in response.text


def test_OTP_02_wrong_passwords_count_with_those_of_the_pages_and_lock_for_both(world: World) -> None:
    token = token_of(world)
    for _ in range(5):
        assert error_of(activate(world, token, with_app(world, WRONG))) == "invalid_pin"
    assert [record["failures"] for record in world.events("login.refused")] == [1, 2, 3, 4, 5]
    assert {record["action"] for record in world.events("login.refused")} == {"signature.activate_in_band"}
    assert error_of(activate(world, token, with_app(world))) == "pin_locked"
    browser = world.browser()
    page = browser.sign_in(browser.get(world.rp().url()))
    assert 'data-form="sign-in"' in page.text, "a stranger's browser has to wait as well"
    world.clock.advance(16 * 60)
    token = token_of(world)
    decoded(world, activate(world, token, with_app(world)))


def test_OTP_02_a_wrong_password_uses_up_no_code(world: World) -> None:
    token, service = token_of(world), Service(world)
    service.challenge(token)
    code = world.phone.code()
    assert error_of(activate(world, token, {"password": WRONG, "sms_otp": code})) == "invalid_pin"
    decoded(world, activate(world, token, {"password": PASSWORD, "sms_otp": code}))


def test_OTP_03_a_code_of_the_app_is_good_once_here_and_on_the_pages(world: World) -> None:
    token, code = token_of(world), app_code(world)
    decoded(world, activate(world, token, with_app(world, code=code)))
    assert error_of(activate(world, token, with_app(world, code=code))) == "invalid_otp"
    assert world.events("factor.refused")[-1]["factor"] == "totp"


def test_OTP_04_a_code_that_was_sent_is_good_once(world: World) -> None:
    token, service = token_of(world), Service(world)
    service.challenge(token)
    answers = {"password": PASSWORD, "sms_otp": world.phone.code()}
    decoded(world, activate(world, token, answers))
    assert error_of(activate(world, token, answers)) == "invalid_otp"
    assert len(world.events("sad.issued")) == 1


def test_OTP_05_a_code_is_for_one_credential_client_and_token(world: World) -> None:
    service, token = Service(world), token_of(world)
    service.challenge(token)
    answers = {"password": PASSWORD, "sms_otp": world.phone.code()}
    assert error_of(activate(world, token, answers, credentialID="another")) == "invalid_otp"
    assert error_of(activate(world, token_of(world), answers)) == "invalid_otp"
    decoded(world, activate(world, token, answers))


def test_OTP_05_a_code_for_a_page_is_none_in_band_and_the_reverse(world: World) -> None:
    token, service, browser = token_of(world), Service(world), world.browser()
    page = browser.sign_in(browser.get(world.rp().pushed_url(world.rp().signing())))
    page = browser.submit(page, "choose", factor="sms_otp")
    assert error_of(activate(world, token, {"password": PASSWORD, "sms_otp": world.phone.code()})) == "invalid_otp"
    world.clock.advance(31)
    service.challenge(token)
    assert 'data-form="otp"' in browser.submit(page, "otp", code=world.phone.code()).text


def test_OTP_02_wrong_codes_end_the_code_and_lock_after_a_days_worth(world: World) -> None:
    token, service = token_of(world), Service(world)
    for round_ in range(10):
        assert service.challenge(token).status_code == 204, round_
        right = world.phone.code()
        wrong = f"{(int(right) + 1) % 10**6:06d}"
        for _ in range(5):
            assert error_of(activate(world, token, {"password": PASSWORD, "sms_otp": wrong})) == "invalid_otp"
        if round_ < 9:
            assert error_of(activate(world, token, {"password": PASSWORD, "sms_otp": right})) == "invalid_otp"
        world.clock.advance(31)
        token = token_of(world) if round_ % 5 == 4 else token
    assert error_of(service.challenge(token)) == "otp_locked"
    decoded(world, activate(world, token, with_app(world)))


def test_OTP_02_wrong_codes_of_an_app_pause_it(world: World) -> None:
    token, found = token_of(world), []
    for _ in range(7):
        wrong = f"{(int(app_code(world)) + 1) % 10**6:06d}"
        found.append(error_of(activate(world, token, with_app(world, code=wrong))))
    assert found[:5] == ["invalid_otp"] * 5
    assert found[-1] == "otp_locked"


def test_OTP_07_codes_are_sent_within_the_budgets_of_the_pages(world: World) -> None:
    token, service = token_of(world), Service(world)
    assert service.challenge(token).status_code == 204
    assert service.challenge(token).status_code == 429
    world.clock.advance(31)
    assert service.challenge(token).status_code == 204
    assert world.phone.texts[-1] == world.phone.texts[-2], "the same code as long as it lives"
    for auth_object in ("totp", "password", "email_otp", "nothing", ""):
        assert error_of(service.challenge(token, auth_object)) == "invalid_request"
    assert len(world.phone.texts) == 2
    sent = world.events("otp.sent")
    assert {record["action"] for record in sent} == {"signature.activate_in_band"}


def test_SES_04_a_get_sends_nothing(world: World) -> None:
    for path in ("/oauth2/activation-challenge", "/oauth2/activation-options"):
        assert world.app.test_client().get(path, query_string=Service(world).about("x")).status_code == 405
    assert world.phone.texts == []


def test_what_the_policy_asks_besides_is_refused_and_recorded(make: Any) -> None:
    rule = """
  - id: in-band
    action: signature.activate_in_band
    when:
      client: typed
    require: substantial
    evidence:
      - factor: passkey
"""
    world = make(rule)
    token = token_of(world)
    assert Service(world).options(token) == {"mode": "oauth2code"}
    assert error_of(activate(world, token, with_app(world))) == "invalid_authentication_data"


def test_KEY_08_no_secret_is_kept_or_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    token, service = token_of(world), Service(world)
    service.challenge(token)
    code = world.phone.code()
    sad = activate(world, token, {"password": PASSWORD, "sms_otp": code}).get_json()["access_token"]
    activate(world, token, {"password": "hidden-9f2", "sms_otp": code})
    with world.engine.connect() as connection:
        raw = connection.connection.driver_connection
        dump = "\n".join(raw.iterdump())  # type: ignore[union-attr] # SQLite's own connection
    for secret in (PASSWORD, "hidden-9f2", f'"{code}"', f"'{code}'", sad):
        assert secret not in dump
    for secret in (PASSWORD, "hidden-9f2", code, sad):
        assert not [record for record in caplog.records if secret in str(vars(record))]


def test_SAD_14_a_bound_service_token_gives_a_sad_that_is_bound_to_the_same_key(world: World) -> None:
    rp, key, uri = world.rp("typed"), generate_signing_key(), f"{ISSUER}/oauth2/token"
    form = {"grant_type": "authorization_code", "code": rp.code(), "redirect_uri": REDIRECT_URI}
    proof = make_proof(key, method="POST", uri=uri, jti="a-proof", now=world.clock.now())
    headers = {**rp.basic, "DPoP": proof}
    token = rp.post("/oauth2/token", {**form, "code_verifier": rp.verifier}, **headers).get_json()["access_token"]
    response = activate(world, token, with_app(world))
    sad = decoded(world, response)
    assert sad.cnf is not None
    assert sad.cnf.is_of(key.kid)
    assert response.get_json()["token_type"] == "DPoP"


def test_SAD_14_a_client_whose_tokens_are_all_bound_gets_nothing_unbound_in_band(world: World) -> None:
    token = token_of(world)
    register(world, dpop_bound_access_tokens=True)
    assert error_of(activate(world, token, with_app(world))) == "invalid_dpop_proof"
    assert world.events("sad.issued") == world.events("factor.accepted") == []
