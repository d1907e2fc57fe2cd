"""Clients, requests and details that are right; each test breaks one thing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from foundation.jose import encode_base64url, generate_signing_key
from idp.oidc.client import Client, Registration, hash_secret
from idp.oidc.config import OidcConfig
from idp.oidc.errors import RequestInvalid
from idp.oidc.request import RequestContext

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
ISSUER = "https://idp.example.org"
RESOURCE = "https://sign.example.org/csc/v2"
CONFIG = OidcConfig(ISSUER, RESOURCE, "urn:example:sam")
REDIRECT_URI = "https://rp.example.org/callback"
SHA256 = "2.16.840.1.101.3.4.2.1"
SHA512 = "2.16.840.1.101.3.4.2.3"

SECRET = encode_base64url(bytes(range(32)))
KEY = generate_signing_key()
OTHER_KEY = generate_signing_key()
VERIFIER = "a-verifier-of-at-least-forty-three-characters-is-needed"
CHALLENGE = encode_base64url(hashlib.sha256(VERIFIER.encode()).digest())

DIGEST = hashlib.sha256(b"a document").digest()


def client(**changes: Any) -> Client:
    """A client that may do everything."""
    values: dict[str, Any] = {
        "client_id": "example-contracts",
        "name": "Example Contracts",
        "auth_method": "client_secret_basic",
        "redirect_uris": (REDIRECT_URI,),
        "post_logout_redirect_uris": ("https://rp.example.org/bye",),
        "scopes": ("openid", "service", "credential"),
        "grant_types": ("authorization_code", "refresh_token", "client_credentials"),
    }
    values.update(changes)
    return Client(Registration(**values), hash_secret(SECRET, bytes(16)))


def key_client(**changes: Any) -> Client:
    """A client with a key pair."""
    jwks = (KEY.verification_key().as_jwk(),)
    return client(auth_method="private_key_jwt", jwks=jwks, **changes)


def context(of: Client | None = None, *, pushed: bool = True) -> RequestContext:
    """What a request is checked against."""
    known = of or client()

    def hint(token: str, client_id: str) -> str:
        if token != "a-hint":
            raise RequestInvalid("Invalid parameter id_token_hint")
        return "alice"

    return RequestContext(
        config=CONFIG,
        find_client=lambda client_id: known if client_id == known.client_id and known.active else None,
        subject_of_hint=hint,
        pushed=pushed,
    )


def parameters(**changes: str | None) -> dict[str, str]:
    """A sign-in; None removes a parameter."""
    values: dict[str, str | None] = {
        "response_type": "code",
        "client_id": "example-contracts",
        "redirect_uri": REDIRECT_URI,
        "scope": "openid service",
        "state": "some-state",
        "nonce": "some-nonce",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


def details(**changes: Any) -> dict[str, Any]:
    """Authorization details of CSC 2.0.0.2 for one document; None removes a member."""
    values = {
        "type": "credential",
        "credentialID": "a-credential",
        "documentDigests": [{"hash": base64.b64encode(DIGEST).decode(), "label": "contract.pdf"}],
        "hashAlgorithmOID": SHA256,
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


def signing(value: Mapping[str, Any] | str | None = None, **changes: str | None) -> dict[str, str]:
    """A request for a signature."""
    text = value if isinstance(value, str) else json.dumps([value or details()])
    return parameters(scope="credential", authorization_details=text, **changes)


def pairs(values: Mapping[str, str]) -> list[tuple[str, str]]:
    """As they come from a form."""
    return list(values.items())
