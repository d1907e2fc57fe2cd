"""What production refuses that only the database knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from idp.app import create_app
from idp.errors import PlainRedirect
from idp.oidc.client import Registration
from idp.storage import clients
from tests.fakes.idp import NOW, Idp, make_idp

PLAIN = "http://rp.example.org/callback"
TLS = "https://rp.example.org/callback"


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path, issuer="https://idp.example.org")
    yield made
    made.engine.dispose()


def register(idp: Idp, **values: Any) -> None:
    """Register a public client, whatever mode the server is in."""
    given = {"client_id": "example-contracts", "scopes": ("openid",), "redirect_uris": (TLS,), **values}
    with idp.engine.begin() as connection:
        clients.create(connection, Registration(name="Example Contracts", auth_method="none", **given), NOW, bytes)


def production(idp: Idp) -> Flask:
    policy = idp.app.extensions["privyseal"].policy
    settings = replace(idp.settings, mode="production")
    return create_app(settings, clock=idp.clock, engine=idp.engine, policy=policy)


def authorize(app: Flask, redirect_uri: str) -> tuple[int, str]:
    query = {
        "client_id": "example-contracts",
        "response_type": "code",
        "scope": "openid",
        "redirect_uri": redirect_uri,
        "code_challenge": "A" * 43,
        "code_challenge_method": "S256",
    }
    answer = app.test_client().get("/oauth2/authorize", query_string=query, base_url="https://idp.example.org")
    return answer.status_code, answer.headers.get("Location", "")


@pytest.mark.parametrize(
    "uris",
    [{"redirect_uris": (TLS, PLAIN)}, {"post_logout_redirect_uris": (PLAIN,)}],
    ids=["sign-in", "sign-out"],
)
def test_SUP_05_production_does_not_start_with_a_client_that_redirects_over_http(idp: Idp, uris: Any) -> None:
    register(idp, **uris)
    with pytest.raises(PlainRedirect, match="example-contracts"):
        production(idp)
    with idp.engine.begin() as connection:
        clients.set_active(connection, "example-contracts", active=False)
    assert production(idp).name == "idp"


def test_SUP_05_a_redirect_uri_over_http_that_was_registered_later_is_none(idp: Idp) -> None:
    app = production(idp)
    register(idp, redirect_uris=(TLS, PLAIN), post_logout_redirect_uris=(PLAIN,))
    status, location = authorize(app, TLS)
    assert status == 303
    assert location.startswith("/interaction/")
    assert authorize(app, PLAIN) == (400, "")
    query = {"client_id": "example-contracts", "post_logout_redirect_uri": PLAIN}
    assert app.test_client().get("/oauth2/logout", query_string=query).status_code == 400


def test_in_development_a_redirect_uri_over_http_serves(idp: Idp) -> None:
    register(idp, redirect_uris=(PLAIN,))
    assert authorize(idp.app, PLAIN)[0] == 303
