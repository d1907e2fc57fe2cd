"""Discovery of the authorization server, requests, answers, tokens, client authentication, DPoP and CIBA."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws, jwt
from joserfc.jwk import ECKey

from clients.csc import (
    AuthorizationRefusedError,
    AuthorizationServer,
    Bearer,
    ClientAuthentication,
    ClientSecret,
    DpopKey,
    OAuth,
    PrivateKeyJwt,
    ProtocolError,
    PublicClient,
    ResponseForgedError,
    Service,
    StepUpRequiredError,
    TimedOutError,
    Transport,
    UsageError,
    authorization_server,
    read_key,
)
from clients.csc.keys import base64url
from tests.unit.clients.conftest import found, never
from tests.unit.clients.scripted import Scripted

pytestmark = pytest.mark.loopback
REDIRECT_URI = "http://127.0.0.1:8407/callback"
SECRET = ClientSecret("a client", "s:e/c")


def metadata(server: Scripted, **changes: Any) -> dict[str, Any]:
    base = f"{server.url}/as"
    document = {
        "issuer": base,
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": f"{base}/token",
        "pushed_authorization_request_endpoint": f"{base}/par",
        "revocation_endpoint": f"{base}/revoke",
        "backchannel_authentication_endpoint": f"{base}/bc",
        "code_challenge_methods_supported": ["S256"],
        "authorization_details_types_supported": ["credential"],
        "authorization_response_iss_parameter_supported": True,
        **changes,
    }
    return {name: value for name, value in document.items() if value is not None}


def discovered(server: Scripted, transport: Transport, **changes: Any) -> AuthorizationServer:
    server.on("/as/.well-known/oauth-authorization-server", metadata(server, **changes))
    return authorization_server(transport, found(server, transport, oauth2Issuer=f"{server.url}/as"))


def oauth(
    server: Scripted,
    transport: Transport,
    client: ClientAuthentication = SECRET,
    dpop: DpopKey | None = None,
    **changes: Any,
) -> OAuth:
    return OAuth(transport, discovered(server, transport, **changes), client, REDIRECT_URI, dpop=dpop)


def answer(state: str, server: Scripted, **changes: str) -> dict[str, str]:
    return {"code": "the-code", "state": state, "iss": f"{server.url}/as", **changes}


TOKENS = {"access_token": "at", "token_type": "Bearer", "expires_in": 300}


def test_the_metadata_must_be_the_issuers_own(server: Scripted, transport: Transport) -> None:
    with pytest.raises(ResponseForgedError):
        discovered(server, transport, issuer="https://another.example")


def test_a_server_without_s256_is_not_used(server: Scripted, transport: Transport) -> None:
    with pytest.raises(ProtocolError):
        discovered(server, transport, code_challenge_methods_supported=["plain"])


def test_a_base_uri_without_metadata_has_the_specifications_paths(server: Scripted, transport: Transport) -> None:
    described = found(server, transport, "1.0.4.0", oauth2=f"{server.url}/base/")
    made = authorization_server(transport, described)
    assert made.token_endpoint == f"{server.url}/base/oauth2/token"
    assert made.authorization_endpoint == f"{server.url}/base/oauth2/authorize"
    assert (made.issuer, made.pushed_endpoint) == (None, None)


def test_a_base_uri_with_metadata_is_used_by_them(server: Scripted, transport: Transport) -> None:
    server.on("/as/.well-known/openid-configuration", metadata(server))
    described = found(server, transport, "1.0.4.0", oauth2=f"{server.url}/as/")
    assert authorization_server(transport, described).pushed_endpoint == f"{server.url}/as/par"


def test_version_2_2_may_list_its_servers(server: Scripted, transport: Transport) -> None:
    server.on("/as/.well-known/oauth-authorization-server", metadata(server))
    servers = [
        {"label": "machines", "authType": ["oauth2client"], "baseUri": "https://elsewhere.example"},
        {"label": "people", "authType": ["oauth2code"], "issuerIdentifier": f"{server.url}/as"},
    ]
    described = found(server, transport, "2.2.0.0", oauth2Servers=servers)
    assert authorization_server(transport, described).issuer == f"{server.url}/as"


def test_a_service_without_authorization_server_is_told(server: Scripted, transport: Transport) -> None:
    with pytest.raises(UsageError):
        authorization_server(transport, found(server, transport))


def test_a_request_is_pushed_with_pkce_and_the_browser_carries_its_reference_only(
    server: Scripted, transport: Transport
) -> None:
    client = oauth(server, transport)
    server.on("/as/par", {"request_uri": "urn:x", "expires_in": 60}, 201)
    pending = client.begin("credential", {"authorization_details": "[]"})
    assert parse_qs(urlsplit(pending.url).query) == {"client_id": ["a client"], "request_uri": ["urn:x"]}
    pushed = server.last("/as/par")
    assert pushed.form["code_challenge_method"] == "S256"
    assert pushed.form["code_challenge"] == base64url(hashlib.sha256(pending.code_verifier.encode()).digest())
    assert pushed.form["redirect_uri"] == REDIRECT_URI
    # RFC 6749 2.3.1: both halves form-encoded before base64
    assert pushed.headers["Authorization"] == "Basic YStjbGllbnQ6cyUzQWUlMkZj"
    assert pending.state not in repr(pending)
    assert pending.code_verifier not in repr(pending)
    server.on("/as/token", {**TOKENS, "credentialID": "c1", "refresh_token": "rt"})
    tokens = client.finish(pending, answer(pending.state, server))
    assert (tokens.access_token, tokens.credential_id, tokens.refresh_token) == ("at", "c1", "rt")
    form = server.last("/as/token").form
    assert (form["code"], form["code_verifier"]) == ("the-code", pending.code_verifier)
    assert form["authorization_details"] == "[]"
    assert "at" not in repr(tokens).replace("Tokens", "")[:20]


def test_without_pushing_the_parameters_stand_in_the_address(server: Scripted, transport: Transport) -> None:
    client = oauth(server, transport, pushed_authorization_request_endpoint=None)
    step_up = StepUpRequiredError("more", ("high",), 0)
    query = parse_qs(urlsplit(client.begin("service", step_up=step_up).url).query)
    assert query["scope"] == ["service"]
    assert (query["acr_values"], query["max_age"]) == (["high"], ["0"])


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"state": "other"}, ResponseForgedError),
        ({"iss": "https://another.example"}, ResponseForgedError),
        ({"state": "other", "error": "access_denied"}, ResponseForgedError),
        ({"error": "access_denied", "error_description": "no"}, AuthorizationRefusedError),
        ({"code": ""}, ProtocolError),
    ],
)
def test_an_answer_is_believed_only_if_it_is_to_this_request(
    server: Scripted, transport: Transport, change: dict[str, str], kind: type[Exception]
) -> None:
    client = oauth(server, transport)
    server.on("/as/par", {"request_uri": "urn:x"}, 201)
    pending = client.begin("service")
    with pytest.raises(kind):
        client.finish(pending, answer(pending.state, server) | change)
    assert server.count("/as/token") == 0


def test_an_issuer_that_is_promised_must_be_there(server: Scripted, transport: Transport) -> None:
    client = oauth(server, transport)
    server.on("/as/par", {"request_uri": "urn:x"}, 201)
    pending = client.begin("service")
    with pytest.raises(ResponseForgedError):
        client.finish(pending, {"code": "c", "state": pending.state})


def test_a_refusal_has_the_servers_own_words(server: Scripted, transport: Transport) -> None:
    client = oauth(server, transport)
    server.on("/as/par", {"error": "invalid_request", "error_description": "words"}, 400)
    with pytest.raises(AuthorizationRefusedError) as refused:
        client.begin("service")
    assert (refused.value.error, refused.value.description, refused.value.status) == ("invalid_request", "words", 400)
    server.on("/as/token", b"<html>", 500)
    with pytest.raises(AuthorizationRefusedError, match="HTTP 500"):
        client.client_credentials()


def test_private_key_jwt_is_made_for_the_issuer(server: Scripted, transport: Transport) -> None:
    key = ECKey.generate_key("P-256")
    client = oauth(server, transport, PrivateKeyJwt("a-client", key, "k1", clock=lambda: 1000.0))
    server.on("/as/token", TOKENS)
    client.client_credentials()
    form = server.last("/as/token").form
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    token = jwt.decode(form["client_assertion"], key, algorithms=["ES256"])
    assert (token.header["kid"], token.header["alg"]) == ("k1", "ES256")
    assert {name: token.claims[name] for name in ("iss", "sub", "aud", "iat", "exp")} == {
        "iss": "a-client", "sub": "a-client", "aud": f"{server.url}/as", "iat": 1000, "exp": 1060,
    }  # fmt: skip
    assert token.claims["jti"]


def test_a_public_client_and_a_secret_in_the_form(server: Scripted, transport: Transport) -> None:
    server.on("/as/token", TOKENS)
    oauth(server, transport, PublicClient("p")).refresh("rt")
    assert server.last("/as/token").form == {"grant_type": "refresh_token", "refresh_token": "rt", "client_id": "p"}
    oauth(server, transport, ClientSecret("c", "s", in_form=True)).refresh("rt")
    assert server.last("/as/token").form["client_secret"] == "s"
    assert "Authorization" not in server.last("/as/token").headers


def test_tokens_are_bound_and_shown_with_a_new_proof_each_time(server: Scripted, transport: Transport) -> None:
    dpop = DpopKey.generate()
    client = oauth(server, transport, dpop=dpop)
    server.on("/as/token", {**TOKENS, "token_type": "DPoP"})
    tokens = client.client_credentials()
    assert tokens.bound
    proofs = [server.last("/as/token").headers["DPoP"]]
    server.on("/csc/v2/credentials/list", {"credentialIDs": []})
    service = Service(transport, found(server, transport), dpop=dpop)
    for _ in range(2):
        service.list_credentials(Bearer(tokens.access_token, tokens.bound))
        asked = server.last("/csc/v2/credentials/list")
        assert asked.headers["Authorization"] == "DPoP at"
        proofs.append(asked.headers["DPoP"])
    seen = []
    for proof in proofs:
        found_proof = jws.deserialize_compact(proof, dpop.key, algorithms=["ES256"])
        header = found_proof.headers()
        assert header["typ"] == "dpop+jwt"
        assert set(header["jwk"]) == {"kty", "crv", "x", "y"}
        import json

        seen.append(json.loads(found_proof.payload or b""))
    assert len({claims["jti"] for claims in seen}) == 3
    assert seen[0]["htu"] == f"{server.url}/as/token"
    assert seen[1]["htu"] == f"{server.url}/csc/v2/credentials/list"
    assert seen[1]["ath"] == base64url(hashlib.sha256(b"at").digest())
    with pytest.raises(UsageError):
        Service(transport, service.info).list_credentials(Bearer("at", bound=True))


def test_a_bound_token_that_was_not_asked_for_is_refused(server: Scripted, transport: Transport) -> None:
    client = oauth(server, transport)
    server.on("/as/token", {**TOKENS, "token_type": "DPoP"})
    with pytest.raises(ProtocolError):
        client.client_credentials()
    server.answers.pop("/as/token")
    server.on("/as/token", {**TOKENS, "token_type": "SAD"})
    assert not client.client_credentials().bound


def test_an_approval_elsewhere_is_polled_as_slowly_as_the_server_wants(server: Scripted, transport: Transport) -> None:
    client = oauth(server, transport)
    server.on("/as/bc", {"auth_req_id": "r1", "expires_in": 120, "interval": 2})
    asked = client.ask_elsewhere("credential", {"authorization_details": "[]"}, login_hint="alice", message="W4SCT")
    form = server.last("/as/bc").form
    assert (form["login_hint"], form["binding_message"], form["scope"]) == ("alice", "W4SCT", "credential")
    server.on("/as/token", {"error": "authorization_pending"}, 400)
    server.on("/as/token", {"error": "slow_down"}, 400)
    server.on("/as/token", TOKENS)
    pauses: list[float] = []
    assert client.collect(asked, pause=pauses.append).access_token == "at"
    assert pauses == [2, 7]
    assert server.last("/as/token").form["grant_type"] == "urn:openid:params:grant-type:ciba"
    server.answers["/as/token"] = [(400, {"error": "authorization_pending"}, {})]
    with pytest.raises(TimedOutError):
        client.collect(asked, wait=0, pause=never)
    server.answers["/as/token"] = [(400, {"error": "access_denied"}, {})]
    with pytest.raises(AuthorizationRefusedError, match="access_denied"):
        client.collect(asked)


def test_a_server_without_ciba_is_told(server: Scripted, transport: Transport) -> None:
    client = oauth(server, transport, backchannel_authentication_endpoint=None)
    with pytest.raises(UsageError):
        client.ask_elsewhere("credential", {}, login_hint="alice")


def test_a_key_is_read_from_an_owner_only_file(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert read_key(path).key_type == "EC"
    path.chmod(stat.S_IRUSR | stat.S_IRGRP)
    with pytest.raises(UsageError, match="owner only"):
        read_key(path)
    path.chmod(0o600)
    path.write_text("nonsense")
    with pytest.raises(UsageError, match="private key"):
        read_key(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_key(tmp_path / "nothing")
