"""What the authorization server gives out, judged by the signing service's own code over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foundation.clock import SystemClock
from foundation.egress import Egress
from foundation.files import write_secret
from idp.settings import ACCOUNT_CLIENT_ID
from idp.storage import clients
from idp.web import oidc
from signing.csc import errors
from signing.csc.facade import Facade
from signing.csc.issuer import Issuer
from signing.settings import IssuerSettings
from tests.integration.oidc_world import RESOURCE, World, serve


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[World, str]]:
    with serve(tmp_path) as running:
        yield running


@pytest.fixture
def resource_server(live: tuple[World, str], tmp_path: Path) -> Issuer:
    world, issuer = live
    write_secret(tmp_path / "secret", world.secrets["csc"].encode())
    key = world.app.extensions["privyseal"].keys.activation_key().verification_key()
    (tmp_path / "activation.pem").write_bytes(key.key.as_pem(private=False))
    settings = IssuerSettings(
        issuer, "csc", tmp_path / "secret", introspection_cache_seconds=0, sad_keys=(tmp_path / "activation.pem",)
    )
    facade = Facade(settings, SystemClock(), Egress((issuer.removeprefix("http://"),)))
    return Issuer(settings, RESOURCE, SystemClock(), facade)


def test_a_persons_and_a_clients_own_service_tokens_are_accepted(
    live: tuple[World, str], resource_server: Issuer
) -> None:
    world, _ = live
    person = resource_server.service_token(world.rp().tokens()["access_token"])
    assert (person.subject, person.client_id) == (world.account_id, "example-contracts")
    own: dict[str, Any] = world.rp().token(grant_type="client_credentials").get_json()
    assert resource_server.service_token(own["access_token"]).subject == "example-contracts"
    services = world.app.extensions["privyseal"]
    # the consent page's, under the relying party's name, and the account pages', which are no client at all
    for client_id in ("example-contracts", ACCOUNT_CLIENT_ID):
        page = oidc.self_service_token(services, world.account_id, client_id)
        assert resource_server.service_token(page).subject == world.account_id


def test_OAU_11_tokens_of_another_kind_or_audience_are_no_service_tokens(
    live: tuple[World, str], resource_server: Issuer
) -> None:
    world, _ = live
    rp = world.rp()
    tokens = rp.tokens()
    sad = rp.redeem(rp.signing_code()).get_json()["access_token"]
    openid = rp.tokens(scope="openid")["access_token"]
    for token in (tokens["id_token"], tokens["refresh_token"], sad, openid):
        with pytest.raises(errors.InvalidToken):
            resource_server.service_token(token)
    for token in (tokens["id_token"], tokens["access_token"]):
        with pytest.raises(errors.InvalidToken):
            resource_server.sad(token)
    assert resource_server.sad(sad).sub == world.account_id


def test_what_was_revoked_is_refused_although_its_signature_is_good(
    live: tuple[World, str], resource_server: Issuer
) -> None:
    world, _ = live
    rp = world.rp()
    first, second = rp.tokens(), rp.tokens()
    rp.post("/oauth2/revoke", {"token": first["access_token"]})
    with pytest.raises(errors.ExpiredToken):
        resource_server.service_token(first["access_token"])
    assert resource_server.service_token(second["access_token"]).subject == world.account_id
    with world.engine.begin() as connection:
        clients.set_active(connection, "example-contracts", active=False)
    with pytest.raises(errors.ExpiredToken):
        resource_server.service_token(second["access_token"])
