"""Authlib's own OAuth client against the authorization server on a real port."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT

from foundation.clock import SystemClock, epoch
from foundation.jose import import_verification_key, verify_compact
from tests.integration.oidc_world import PASSWORD, REDIRECT_URI, World, serve


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[World, str]]:
    with serve(tmp_path) as running:
        yield running


def sign_in(url: str) -> str:
    """What a person does in a browser; the address that the browser is sent to in the end."""
    with requests.Session() as browser:
        page = browser.get(url, timeout=10)
        form = re.search(r'<form data-form="sign-in"[^>]*action="([^"]+)"', page.text)
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert form is not None
        assert token is not None
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        data = {"csrf_token": token[1], "username": "alice", "password": PASSWORD}
        response = browser.post(origin + form[1], data=data, allow_redirects=False, timeout=10)
        while response.headers["Location"].startswith(("/", origin)):
            location = response.headers["Location"]
            location = origin + location if location.startswith("/") else location
            response = browser.get(location, allow_redirects=False, timeout=10)
        return response.headers["Location"]


def test_authlibs_client_discovers_signs_in_refreshes_and_revokes(live: tuple[World, str]) -> None:
    world, issuer = live
    metadata = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()
    with OAuth2Session(
        "example-contracts",
        world.secrets["example-contracts"],
        scope="openid service",
        redirect_uri=REDIRECT_URI,
        code_challenge_method="S256",
        token_endpoint_auth_method="client_secret_basic",
        token_endpoint=metadata["token_endpoint"],
    ) as client:
        verifier = "v" * 64
        url, state = client.create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=verifier, nonce="a-nonce"
        )
        back = sign_in(url)
        assert parse_qs(urlsplit(back).query)["iss"] == [issuer]
        token = client.fetch_token(authorization_response=back, state=state, code_verifier=verifier)
        keys = [import_verification_key(key) for key in requests.get(metadata["jwks_uri"], timeout=10).json()["keys"]]
        claims = verify_compact(token["id_token"], keys, {"JWT"})
        assert (claims["iss"], claims["aud"], claims["nonce"]) == (issuer, "example-contracts", "a-nonce")
        person = client.get(metadata["userinfo_endpoint"], timeout=10).json()
        assert person == {"sub": claims["sub"]}
        refreshed = client.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"])
        assert refreshed["refresh_token"] != token["refresh_token"]
        seen = client.introspect_token(metadata["introspection_endpoint"], token=refreshed["access_token"])
        assert seen.json()["active"] is True
        gone = client.revoke_token(  # type: ignore[no-untyped-call] # Authlib's stub leaves it open
            metadata["revocation_endpoint"], token=refreshed["refresh_token"]
        )
        assert gone.status_code == 204
        seen = client.introspect_token(metadata["introspection_endpoint"], token=refreshed["access_token"])
        assert seen.json() == {"active": False}


def test_authlibs_client_authenticates_with_its_key_and_an_assertion_of_its_is_good_once(
    live: tuple[World, str],
) -> None:
    world, issuer = live
    endpoint = f"{issuer}/oauth2/token"
    # Authlib's client would make assertions for an hour, and five minutes are the most that is remembered here.
    method = PrivateKeyJWT(endpoint, claims={"exp": epoch(SystemClock().now()) + 60}, alg="ES256")
    with OAuth2Session("keyed", world.client_key.key, scope="service", token_endpoint_auth_method=method) as client:
        assert client.fetch_token(endpoint, grant_type="client_credentials")["scope"] == "service"
        # Given claims of its own, it uses the first assertion's jti for the second.
        with pytest.raises(OAuthError, match="invalid_client"):
            client.fetch_token(endpoint, grant_type="client_credentials")
