"""Authorization requests: one thing wrong, one refusal, and whether it may be redirected."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.oidc import errors
from idp.oidc.client import Client
from idp.oidc.errors import OidcError
from idp.oidc.orders import parse_order
from idp.oidc.request import (
    AuthorizationRequest,
    check_repeated_details,
    parse_authorization_request,
)
from tests.unit.idp_oidc.samples import (
    CHALLENGE,
    CONFIG,
    DIGEST,
    ISSUER,
    REDIRECT_URI,
    RESOURCE,
    client,
    context,
    details,
    pairs,
    parameters,
    signing,
)


def parse(
    values: dict[str, str] | list[tuple[str, str]], of: Client | None = None, *, pushed: bool = True
) -> AuthorizationRequest:
    """Parse a request that was pushed, unless told otherwise."""
    return parse_authorization_request(
        pairs(values) if isinstance(values, dict) else values, context(of, pushed=pushed)
    )


def refused(
    values: dict[str, str] | list[tuple[str, str]], of: Client | None = None, *, pushed: bool = True
) -> OidcError:
    """The refusal of a request."""
    with pytest.raises(OidcError) as caught:
        parse(values, of, pushed=pushed)
    return caught.value


def test_a_sign_in_is_read_whole() -> None:
    request = parse(
        parameters(
            prompt="login consent",
            max_age="0",
            acr_values="high substantial",
            ui_locales="de-AT fr !! en",
            login_hint="alice@example.org",
            id_token_hint="a-hint",
            response_mode="query",
        )
    )
    assert request == AuthorizationRequest(
        client_id="example-contracts",
        redirect_uri=REDIRECT_URI,
        scopes=("openid", "service"),
        state="some-state",
        nonce="some-nonce",
        code_challenge=CHALLENGE,
        resource=RESOURCE,
        prompt=("login", "consent"),
        max_age=0,
        acr_values=("high", "substantial"),
        ui_locales=("de-AT", "fr", "en"),
        login_hint="alice@example.org",
        subject_hint="alice",
    )


def test_a_signature_is_read_whole_and_survives_storage() -> None:
    request = parse(signing())
    assert request.intent is not None
    assert request.intent.digests[0].digest == DIGEST
    assert request.scopes == ("credential",)
    assert request.details_type == "credential"
    assert AuthorizationRequest.from_json(json.loads(json.dumps(request.to_json()))) == request
    plain = parse(parameters())
    assert AuthorizationRequest.from_json(json.loads(json.dumps(plain.to_json()))) == plain


def test_scope_defaults_to_service_and_details_imply_credential() -> None:
    assert parse(parameters(scope=None)).scopes == ("service",)
    value = signing()
    del value["scope"]
    assert parse(value).scopes == ("credential",)


def test_the_audience_is_the_signing_service_unless_only_openid_is_asked_for() -> None:
    assert parse(parameters()).resource == RESOURCE
    assert parse(parameters(scope="openid")).resource == ISSUER
    assert parse(
        parameters(resource="https://api.example.org"), client(resources=("https://api.example.org",))
    ).resource == ("https://api.example.org")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"response_type": None}, errors.RequestInvalid),
        ({"response_type": "token"}, errors.ResponseTypeRefused),
        ({"response_type": "id_token"}, errors.ResponseTypeRefused),
        ({"response_type": "code id_token"}, errors.ResponseTypeRefused),
        ({"response_type": "code token"}, errors.ResponseTypeRefused),
        ({"response_type": "none"}, errors.ResponseTypeRefused),
    ],
)
def test_OAU_16_only_the_code_flow_exists(changes: dict[str, str | None], cause: type[OidcError]) -> None:
    error = refused(parameters(**changes))
    assert type(error) is cause
    assert error.target is not None


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"response_mode": "fragment"}, errors.RequestInvalid),
        ({"response_mode": "form_post"}, errors.RequestInvalid),
        ({"response_mode": "web_message"}, errors.RequestInvalid),
        ({"prompt": "none login"}, errors.RequestInvalid),
        ({"prompt": "create"}, errors.RequestInvalid),
        ({"max_age": "-1"}, errors.RequestInvalid),
        ({"max_age": "1.5"}, errors.RequestInvalid),
        ({"max_age": "10000000000"}, errors.RequestInvalid),
        ({"max_age": "٣"}, errors.RequestInvalid),
        ({"acr_values": " ".join(["a"] * 11)}, errors.RequestInvalid),
        ({"acr_values": "höch"}, errors.RequestInvalid),
        ({"claims": "not json"}, errors.RequestInvalid),
        ({"claims": "[]"}, errors.RequestInvalid),
        ({"claims": '{"id_token":{"acr":{"essential":true,"value":"high"}},"id_token":{}}'}, errors.RequestInvalid),
        ({"claims": "[" * 4000}, errors.RequestInvalid),
        ({"claims": '{"id_token":[]}'}, errors.RequestInvalid),
        ({"claims": '{"id_token":{"sub":{"value":"bob"}}}'}, errors.RequestInvalid),
        ({"claims": '{"userinfo":{"sub":null}}'}, errors.RequestInvalid),
        ({"claims": '{"id_token":{"acr":"high"}}'}, errors.RequestInvalid),
        ({"claims": '{"id_token":{"acr":{"values":"high"}}}'}, errors.RequestInvalid),
        ({"claims": '{"id_token":{"acr":{"values":[1]}}}'}, errors.RequestInvalid),
        ({"claims": '{"id_token":{"acr":{"essential":"yes","value":"high"}}}'}, errors.RequestInvalid),
        ({"id_token_hint": "another"}, errors.RequestInvalid),
        ({"nonce": "line\nbreak"}, errors.RequestInvalid),
        ({"login_hint": "line\nbreak"}, errors.RequestInvalid),
    ],
)
def test_OAU_12_a_parameter_that_is_abused_is_refused(changes: dict[str, str], cause: type[OidcError]) -> None:
    error = refused(parameters(**changes))
    assert type(error) is cause
    assert error.target is not None
    assert error.target.state == "some-state"


def test_what_a_client_registered_is_asked_for_only_where_its_request_names_no_acr() -> None:
    of = client(default_acr_values=("high", "substantial"))
    assert parse(parameters(acr_values=None), of).acr_values == ("high", "substantial")
    assert parse(parameters(acr_values="low"), of).acr_values == ("low",)
    voluntary = json.dumps({"id_token": {"acr": {"values": ["low"]}}})
    assert parse(parameters(acr_values=None, claims=voluntary), of).acr_values == ("low",)
    essential = json.dumps({"id_token": {"acr": {"essential": True, "values": ["low"]}}})
    request = parse(parameters(acr_values=None, claims=essential), of)
    assert (request.acr_values, request.essential_acr) == ((), ("low",))


def test_OAU_12_an_essential_acr_is_no_mere_wish() -> None:
    claims = json.dumps({"id_token": {"acr": {"essential": True, "values": ["high"]}, "auth_time": None}})
    request = parse(parameters(claims=claims, acr_values="substantial"))
    assert (request.essential_acr, request.acr_values) == (("high",), ("substantial",))
    claims = json.dumps({"id_token": {"acr": {"essential": True, "value": "high"}}})
    assert parse(parameters(claims=claims)).essential_acr == ("high",)
    claims = json.dumps({"id_token": {"acr": {"values": ["high"]}}, "userinfo": {"email": None}})
    request = parse(parameters(claims=claims, acr_values="substantial"))
    assert (request.essential_acr, request.acr_values) == ((), ("substantial", "high"))
    assert parse(parameters(claims='{"id_token":{"acr":null}}')).essential_acr == ()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"request_uri": "https://evil.example.org/request"}, "request_uri_not_supported"),
        ({"registration": "{}"}, "registration_not_supported"),
        ({"account_token": "a.b.c"}, "invalid_request"),
    ],
)
def test_OAU_13_what_is_not_supported_is_refused_by_its_own_error(changes: dict[str, str], code: str) -> None:
    assert refused(parameters(**changes), pushed=False).code == code


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "a" * 10_000},
        {"state": "a" * 2049},
        {"nonce": "a" * 1025},
        {"authorization_details": "[" + " " * (128 * 1024) + "]"},
        {"a" * 65: "x"},
        {"scope": "openid " * 200},
        {"redirect_uri": REDIRECT_URI + "a" * 2048},
    ],
)
def test_OAU_13_a_huge_parameter_is_a_clean_error_that_is_not_redirected(changes: dict[str, str]) -> None:
    error = refused(parameters(**changes))
    assert isinstance(error, errors.ParameterTooLong)
    assert error.target is None


def test_OAU_13_too_many_parameters_are_refused() -> None:
    error = refused([*pairs(parameters()), *((f"p{number}", "x") for number in range(100))])
    assert isinstance(error, errors.ParameterTooLong)


def test_a_state_of_full_length_comes_back() -> None:
    assert parse(parameters(state="a" * 2048)).state == "a" * 2048


@pytest.mark.parametrize("state", ["line\nbreak", "caf\u00e9", "a\tb"])
def test_OAU_13_a_state_that_could_not_be_given_back_is_refused_here(state: str) -> None:
    error = refused(parameters(state=state))
    assert isinstance(error, errors.StateRefused)
    assert error.target is None


def test_a_nul_is_refused_before_a_database_sees_it() -> None:
    assert isinstance(refused(parameters(client_id="a\0b")), errors.ParameterMalformed)


@pytest.mark.parametrize("name", [*parameters(), "unknown"])
def test_OAU_01_a_parameter_given_twice_is_refused_and_not_redirected(name: str) -> None:
    value = parameters(unknown="x")
    error = refused([*pairs(value), (name, value[name])])
    assert isinstance(error, errors.ParameterRepeated)
    assert error.target is None


@pytest.mark.parametrize("redirect_uri", [None, "", REDIRECT_URI + "/", "https://evil.example.org/callback"])
def test_OAU_01_a_redirect_uri_that_is_not_registered_is_never_redirected_to(redirect_uri: str | None) -> None:
    error = refused(parameters(redirect_uri=redirect_uri, response_type="token"))
    assert isinstance(error, errors.RedirectUriRefused)
    assert not error.may_redirect
    assert error.target is None


@pytest.mark.parametrize("client_id", [None, "", "another"])
def test_a_client_that_is_unknown_is_never_redirected_to(client_id: str | None) -> None:
    error = refused(parameters(client_id=client_id))
    assert isinstance(error, errors.ClientUnknown)
    assert error.target is None


def test_a_disabled_client_is_unknown() -> None:
    assert isinstance(refused(parameters(), replace(client(), active=False)), errors.ClientUnknown)


def test_OAU_04_a_request_without_pkce_is_refused_for_every_client() -> None:
    for changes in (
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge": None, "code_challenge_method": None},
    ):
        assert refused(parameters(**changes)).code == "invalid_request"


@pytest.mark.parametrize(
    "scope",
    ["credential service", "credential openid", "openid service credential", "service openid credential"],
)
def test_OAU_11_scope_credential_goes_with_no_other(scope: str) -> None:
    assert refused({**signing(), "scope": scope}).code == "invalid_scope"


@pytest.mark.parametrize("scope", ["service", "openid", "openid service"])
def test_OAU_11_a_signature_is_not_asked_for_under_another_scope(scope: str) -> None:
    assert refused({**signing(), "scope": scope}).code == "invalid_scope"
    asked = parameters(scope=scope, credentialID="a", hashes="AAAA", numSignatures="1")
    assert refused(asked).code in {"invalid_request", "invalid_scope"}


@pytest.mark.parametrize(
    "scope", ["credential", "offline_access", "openid email", "", " openid", "openid  service", "ä"]
)
def test_OAU_11_a_scope_that_is_unknown_or_lacks_its_request_is_refused(scope: str) -> None:
    if scope:
        assert refused(parameters(scope=scope)).code == "invalid_scope"
    else:
        assert parse(parameters(scope=scope)).scopes == ("service",)


def test_a_scope_that_is_not_the_clients_is_refused() -> None:
    assert refused(parameters(), client(scopes=("openid",))).code == "invalid_scope"
    assert refused(signing(), client(scopes=("openid", "service"))).code == "invalid_scope"


@pytest.mark.parametrize("resource", ["https://evil.example.org", RESOURCE + "/", ISSUER])
def test_OAU_11_a_token_for_another_audience_is_refused(resource: str) -> None:
    assert refused(parameters(resource=resource)).code == "invalid_target"
    widened = client(resources=(resource,))
    assert refused(signing(resource=resource), widened).code == "invalid_target"


def test_OAU_10_details_and_query_together_are_refused() -> None:
    assert refused(signing(numSignatures="1")).code == "invalid_request"
    assert refused(signing(credentialID="another")).code == "invalid_request"
    assert refused(signing(hashes="AAAA")).code == "invalid_request"


def test_a_qualifier_stands_for_the_credential_that_the_person_will_choose() -> None:
    value = details(signatureQualifier="eu_eidas_qes")
    del value["credentialID"]
    request = parse(signing(value))
    assert request.intent is not None
    assert (request.intent.qualifier, request.intent.chosen) == ("eu_eidas_qes", False)
    assert AuthorizationRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


ORDERS = ("credential-creation", "credential-deletion")


def ordering(kind: str, **changes: str | None) -> dict[str, str]:
    named = {"credentialID": "a-credential"} if kind == "credential-deletion" else {}
    return parameters(**{"scope": kind, "nonce": None, **named, **changes})


def orderer() -> Client:
    return client(scopes=("openid", "service", "credential", *ORDERS))


def test_an_order_is_read_whole_and_survives_storage() -> None:
    for scope, action in zip(ORDERS, ("credential.create", "credential.delete"), strict=True):
        request = parse(ordering(scope), orderer())
        assert (request.scopes, request.action, request.intent) == ((scope,), action, None)
        assert request.resource == RESOURCE
        assert AuthorizationRequest.from_json(json.loads(json.dumps(request.to_json()))) == request
    assert request.detail == {"credential_id": "a-credential"}


@pytest.mark.parametrize(
    ("scope", "changes", "code", "description"),
    [
        ("credential-deletion", {"credentialID": None}, "invalid_request", "Missing parameter credentialID"),
        ("credential-deletion", {"credentialID": "a/b"}, "invalid_request", "Invalid parameter credentialID"),
        ("credential-creation", {"credentialID": "x"}, "invalid_request", "Invalid parameter credentialID"),
        (
            "credential-creation",
            {"signatureQualifier": "eu_eidas_qes"},
            "invalid_request",
            "Invalid parameter signatureQualifier",
        ),
        ("credential-creation", {"credentialProfile": "x"}, "invalid_request", "Invalid parameter credentialProfile"),
        (
            "credential-creation",
            {"authorization_details": "[]"},
            "invalid_request",
            "scope credential-creation takes no authorization_details",
        ),
        (
            "credential-creation",
            {"scope": "openid credential-creation"},
            "invalid_scope",
            "scope credential-creation goes with no other scope",
        ),
        (
            "credential-deletion",
            {"scope": "credential-deletion credential-creation", "credentialID": None},
            "invalid_request",
            "Missing parameter credentialID",
        ),
        ("credential-creation", {"resource": "https://api.example.org"}, "invalid_target", None),
    ],
)
def test_an_order_that_is_not_understood_is_refused(
    scope: str, changes: dict[str, str | None], code: str, description: str | None
) -> None:
    error = refused(ordering(scope, **changes), orderer())
    assert error.code == code
    assert description in {None, error.description}


@pytest.mark.parametrize("scope", ORDERS)
def test_an_order_is_for_clients_that_are_registered_for_it_and_pushed(scope: str) -> None:
    assert refused(ordering(scope)).code == "invalid_scope"
    assert refused(ordering(scope), orderer(), pushed=False).description == (
        "requests about credentials must be pushed (RFC 9126)"
    )
    faults = tuple(client(auth_method="none", scopes=(scope,)).registration.faults())
    assert any(f"{scope} needs a client that authenticates" in fault for fault in faults)


def test_a_profile_with_a_device_is_ordered_on_the_account_pages() -> None:
    config = replace(CONFIG, profiles=("plain", "sole"), device_profiles=frozenset({"sole"}), qualifiers={"sole": "q"})
    for changes in ({"credentialProfile": "sole"}, {"signatureQualifier": "q"}):
        with pytest.raises(OidcError) as caught:
            parse_order("credential-creation", changes, config)
        assert "on the account pages" in caught.value.description
    assert parse_order("credential-creation", {}, config).profile == "plain"


def test_OAU_10_details_that_are_wrong_keep_their_own_error() -> None:
    error = refused(signing(details(signatureQualifier="eu_eidas_qes")))
    assert error.code == "invalid_authorization_details"
    assert error.target is not None


def test_OAU_10_a_signature_must_be_pushed_unless_the_client_may_do_otherwise() -> None:
    error = refused(signing(), pushed=False)
    assert (error.code, error.description) == ("invalid_request", "requests for signatures must be pushed (RFC 9126)")
    assert parse(signing(), client(plain_intents=True), pushed=False).intent is not None


def test_OAU_08_a_client_that_must_push_everything_is_held_to_it() -> None:
    assert refused(parameters(), client(require_par=True), pushed=False).code == "invalid_request"
    assert parse(parameters(), client(require_par=True)).client_id == "example-contracts"


def test_OAU_08_request_uri_inside_a_pushed_request_is_refused() -> None:
    assert refused(parameters(request_uri="urn:ietf:params:oauth:request_uri:x")).code == "invalid_request"


def test_a_client_without_the_grant_is_refused() -> None:
    assert refused(parameters(), client(grant_types=("client_credentials",))).code == "unauthorized_client"


def test_the_query_form_is_read_with_scope_credential() -> None:
    asked = parameters(
        scope="credential",
        credentialID="a-credential",
        hash="ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSLs",
        numSignatures="1",
        lang="de",
    )
    request = parse(asked)
    assert request.intent is not None
    assert request.intent.credential_id == "a-credential"
    assert request.details_type is None
    assert request.ui_locales == ("de",)


def test_repeated_details_must_say_what_was_approved() -> None:
    request = parse(signing())
    check_repeated_details(json.dumps([details()]), request, CONFIG)
    for changed in (details(credentialID="another"), details(locations=[RESOURCE])):
        with pytest.raises(errors.AuthorizationDetailsInvalid):
            check_repeated_details(json.dumps([changed]), request, CONFIG)
    with pytest.raises(errors.AuthorizationDetailsInvalid):
        check_repeated_details(json.dumps([details()]), parse(parameters()), CONFIG)


def test_every_error_that_may_be_redirected_names_an_error_of_the_authorization_endpoint() -> None:
    allowed = {
        "invalid_request",
        "unauthorized_client",
        "access_denied",
        "unsupported_response_type",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
        "request_not_supported",
        "request_uri_not_supported",
        "registration_not_supported",
        "invalid_target",
        "invalid_authorization_details",
        "login_required",
    }
    elsewhere = {"invalid_client", "invalid_grant", "unsupported_grant_type", "invalid_token", "invalid_dpop_proof"}
    elsewhere |= {"invalid_binding_message", "authorization_pending", "slow_down", "expired_token"}
    elsewhere |= {"invalid_authentication_data"}
    for cause in OidcError.__subclasses__():
        assert cause.code in allowed | elsewhere | {"invalid_request_uri"}, cause


@given(
    st.lists(
        st.tuples(st.sampled_from([*parameters(), "claims", "prompt", "resource"]), st.text(max_size=30)), max_size=12
    )
)
def test_DOS_06_any_parameters_are_parsed_or_refused_cleanly(values: list[tuple[str, str]]) -> None:
    with suppress(OidcError):
        assert parse_authorization_request(values, context()).redirect_uri == REDIRECT_URI
