"""The relying party's checks: answers that are not to our request, or not from our provider, are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import ECKey

from examples import oauth_client
from examples.errors import (
    AuthorizationRefusedError,
    ProtocolError,
    ResponseForgedError,
    UnreachableError,
    UsageError,
)
from examples.http_local import is_local_name, local_session
from examples.oauth_client import Client, Pending, ServerMetadata
from tests.unit.examples.stub import CLIENT_SECRET, Stub

METADATA = ServerMetadata(
    issuer="http://idp.localhost:8401",
    authorization_endpoint="http://idp.localhost:8401/oauth2/authorize",
    token_endpoint="http://idp.localhost:8401/oauth2/token",
    pushed_authorization_request_endpoint="http://idp.localhost:8401/oauth2/pushed_authorize",
    jwks_uri="http://idp.localhost:8401/oauth2/jwks",
    revocation_endpoint=None,
    end_session_endpoint="http://idp.localhost:8401/oauth2/logout",
)
PENDING = Pending(scope="credential", state="the-state", code_verifier="v")
ANSWER = {"state": "the-state", "iss": METADATA.issuer, "code": "the-code"}


def test_an_answer_to_our_request_from_our_provider_gives_its_code() -> None:
    assert oauth_client.check_response(METADATA, PENDING, ANSWER) == "the-code"


@pytest.mark.parametrize("state", ["another", "", None])
def test_SES_an_answer_with_a_foreign_or_no_state_is_refused(state: str | None) -> None:
    answer = {**ANSWER, "state": state} if state is not None else {"iss": METADATA.issuer, "code": "c"}
    with pytest.raises(ResponseForgedError):
        oauth_client.check_response(METADATA, PENDING, answer)


@pytest.mark.parametrize("issuer", ["http://evil.localhost:8401", METADATA.issuer + "/", ""])
def test_an_answer_from_another_issuer_is_refused(issuer: str) -> None:
    with pytest.raises(ResponseForgedError, match="another identity provider"):
        oauth_client.check_response(METADATA, PENDING, {**ANSWER, "iss": issuer})


def test_an_answer_that_names_no_issuer_is_refused() -> None:
    with pytest.raises(ResponseForgedError):
        oauth_client.check_response(METADATA, PENDING, {"state": "the-state", "code": "c"})


def test_an_error_is_believed_only_with_our_state_and_issuer() -> None:
    error = {"error": "access_denied", "error_description": "no", "state": "the-state", "iss": METADATA.issuer}
    with pytest.raises(AuthorizationRefusedError) as caught:
        oauth_client.check_response(METADATA, PENDING, error)
    assert (caught.value.error, caught.value.description) == ("access_denied", "no")
    with pytest.raises(ResponseForgedError):
        oauth_client.check_response(METADATA, PENDING, {**error, "state": "another"})


def test_an_answer_without_a_code_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolError):
        oauth_client.check_response(METADATA, PENDING, {**ANSWER, "code": ""})


def test_an_answer_that_repeats_a_parameter_is_refused() -> None:
    with pytest.raises(ResponseForgedError, match="repeats"):
        oauth_client.response_parameters("http://rp.localhost:8405/callback?code=a&code=b&state=s")


def test_the_sign_in_url_carries_pkce_state_and_nonce_and_no_secret(client: Client) -> None:
    pending, url = oauth_client.begin_sign_in(METADATA, client)
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert query["scope"] == "openid service"
    assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
    assert (query["state"], query["nonce"]) == (pending.state, pending.nonce)
    assert pending.code_verifier not in url
    assert CLIENT_SECRET not in url
    again, _ = oauth_client.begin_sign_in(METADATA, client)
    assert (again.state, again.nonce, again.code_verifier) != (pending.state, pending.nonce, pending.code_verifier)


def test_secrets_do_not_show_in_a_repr(client: Client) -> None:
    tokens = oauth_client.Tokens("the-token", 300, "the-refresh", "the-id-token")
    pending, _ = oauth_client.begin_sign_in(METADATA, client)
    shown = f"{tokens!r} {pending!r} {client!r}"
    for secret in ("the-token", "the-refresh", "the-id-token", CLIENT_SECRET, pending.state, pending.code_verifier):
        assert secret not in shown


def test_localhost_names_are_told_from_names_that_only_look_like_it() -> None:
    assert is_local_name("idp.localhost")
    assert is_local_name("LOCALHOST.")
    assert not is_local_name("localhost.example.org")
    assert not is_local_name("notlocalhost")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_text("hush")
    path.chmod(mode)
    with pytest.raises(UsageError, match="owner"):
        oauth_client.read_secret(path)
    path.chmod(0o600)
    assert oauth_client.read_secret(path) == "hush"


def _signed_in(stub: Stub, client: Client) -> oauth_client.Tokens:
    """Sign in at the stub without any page: its code store is filled directly."""
    http = local_session()
    metadata = oauth_client.discover(http, stub.issuer)
    pending, url = oauth_client.begin_sign_in(metadata, client)
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    stub.codes["abc"] = query
    answer = {"code": "abc", "state": pending.state, "iss": stub.issuer}
    return oauth_client.finish(http, metadata, client, pending, answer)


@pytest.mark.loopback
def test_signing_in_gives_verified_claims(stub: Stub, client: Client) -> None:
    tokens = _signed_in(stub, client)
    assert tokens.claims["name"] == "Alice Example"
    assert tokens.access_token in stub.access_tokens
    assert "GET idp.localhost /oauth2/jwks" in stub.seen


@pytest.mark.loopback
@pytest.mark.parametrize(
    ("screw", "value"),
    [
        ("nonce", "somebody-elses-nonce"),
        ("id_token_key", ECKey.generate_key("P-256", {"kid": "one"})),
        ("id_token_type", "none"),
        ("id_token_claims", {"iss": "http://evil.localhost"}),
        ("id_token_claims", {"aud": "another-client"}),
        ("id_token_claims", {"aud": ["example-contracts", "another-client"]}),
        ("id_token_claims", {"exp": 1000}),
        ("id_token_claims", {"exp": None}),
        ("id_token_claims", {"nonce": None}),
        ("id_token_claims", {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
    ],
    ids=[
        "nonce", "foreign key", "alg none", "iss", "aud", "aud without azp", "expired", "no exp", "no nonce", "at_hash",
    ],
)  # fmt: skip
def test_JOS_an_id_token_that_is_not_ours_is_refused(stub: Stub, client: Client, screw: str, value: Any) -> None:
    setattr(stub.screws, screw, value)
    with pytest.raises(ResponseForgedError):
        _signed_in(stub, client)


@pytest.mark.loopback
def test_a_sign_in_without_id_token_breaks_the_protocol(stub: Stub, client: Client) -> None:
    stub.screws.drop_id_token = True
    with pytest.raises(ProtocolError, match="no id_token"):
        _signed_in(stub, client)


@pytest.mark.loopback
def test_metadata_of_another_issuer_are_refused(stub: Stub) -> None:
    stub.screws.metadata_issuer = "http://evil.localhost"
    with pytest.raises(ResponseForgedError):
        oauth_client.discover(local_session(), stub.issuer)


@pytest.mark.loopback
def test_a_provider_without_S256_is_refused(stub: Stub) -> None:
    stub.screws.no_pkce = True
    with pytest.raises(ProtocolError, match="S256"):
        oauth_client.discover(local_session(), stub.issuer)


@pytest.mark.loopback
def test_the_signing_request_is_pushed_and_the_browser_carries_only_its_reference(stub: Stub, client: Client) -> None:
    metadata = oauth_client.discover(local_session(), stub.issuer)
    details = oauth_client.credential_details(
        "alice-1", [("aGFzaA==", "Vertrag é.pdf")], "2.16.840.1.101.3.4.2.1", stub.csc
    )
    pending, url = oauth_client.begin_signing(metadata, client, details)
    assert set(parse_qs(urlsplit(url).query)) == {"client_id", "request_uri"}
    assert json.loads(stub.last_push["authorization_details"]) == [
        {
            "type": "credential",
            "credentialID": "alice-1",
            "documentDigests": [{"hash": "aGFzaA==", "label": "Vertrag é.pdf"}],
            "hashAlgorithmOID": "2.16.840.1.101.3.4.2.1",
            "locations": [stub.csc],
        }
    ]
    assert (stub.last_push["scope"], stub.last_push["state"]) == ("credential", pending.state)
    assert stub.last_push["code_challenge_method"] == "S256"
    assert "client_secret" not in stub.last_push


@pytest.mark.loopback
def test_a_pushed_request_that_is_refused_is_reported_with_its_code(stub: Stub, client: Client) -> None:
    stub.screws.push_error = "invalid_request"
    metadata = oauth_client.discover(local_session(), stub.issuer)
    with pytest.raises(AuthorizationRefusedError, match="invalid_request"):
        oauth_client.begin_signing(metadata, client, [])


@pytest.mark.loopback
def test_a_refused_code_is_reported_without_the_code(stub: Stub, client: Client) -> None:
    stub.screws.token_error = "invalid_grant"
    with pytest.raises(AuthorizationRefusedError) as caught:
        _signed_in(stub, client)
    assert caught.value.error == "invalid_grant"
    assert "abc" not in str(caught.value)


@pytest.mark.loopback
def test_a_refreshed_token_comes_with_its_successor(stub: Stub, client: Client) -> None:
    metadata = oauth_client.discover(local_session(), stub.issuer)
    tokens = oauth_client.refresh(metadata, client, "r1")
    assert tokens.refresh_token == "r2"
    assert tokens.access_token in stub.access_tokens


@pytest.mark.loopback
def test_a_provider_that_does_not_answer_is_named_without_the_query() -> None:
    with pytest.raises(UnreachableError, match=r"No answer from http://idp\.localhost:1\."):
        oauth_client.discover(local_session(), "http://idp.localhost:1")


def test_signing_out_at_the_provider_names_the_client_and_the_way_back(client: Client) -> None:
    url = oauth_client.end_session_url(METADATA, client, "http://rp.localhost:8405/")
    assert url is not None
    query = parse_qs(urlsplit(url).query)
    assert set(query) == {"client_id", "post_logout_redirect_uri"}, "no token in a URL"
    assert query["client_id"] == ["example-contracts"]
    assert query["post_logout_redirect_uri"] == ["http://rp.localhost:8405/"]
