"""The identity provider's keys, which strangers' requests can make us ask for: no more often than may be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foundation.files import write_secret
from foundation.jose import export_signing_key, generate_signing_key
from portal.errors import PortalError, ServiceUnavailable
from portal.outside.provider import Outside
from portal.settings import PortalSettings
from tests.fakes.clock import Monotonic
from tests.unit.clients.conftest import info
from tests.unit.clients.scripted import Scripted, running

pytestmark = pytest.mark.loopback
JWKS = "/as/jwks"
FOUND = {"keys": [generate_signing_key().verification_key().as_jwk()]}


@pytest.fixture
def server() -> Iterator[Scripted]:
    with running() as script:
        issuer = f"{script.url}/as"
        script.on("/csc/v2/info", info(oauth2Issuer=issuer))
        metadata: dict[str, Any] = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/jwks",
            "authorization_response_iss_parameter_supported": True,
        }
        script.on("/as/.well-known/oauth-authorization-server", metadata)
        yield script


@pytest.fixture
def clock() -> Monotonic:
    return Monotonic(1000.0)


@pytest.fixture
def outside(server: Scripted, clock: Monotonic, tmp_path: Path) -> Outside:
    write_secret(tmp_path / "client.pem", export_signing_key(generate_signing_key()))
    settings = PortalSettings(
        public_url="http://portal.localhost",
        issuer=f"{server.url}/as",
        csc_base=f"{server.url}/csc/v2",
        client_id="portal",
        client_key_file=tmp_path / "client.pem",
        key_file=tmp_path / "portal.key",
        mode="development",
    )
    return Outside(settings, now=clock)


def test_DOS_03_keys_that_cannot_be_had_are_not_asked_for_again_at_once(
    server: Scripted, outside: Outside, clock: Monotonic
) -> None:
    server.on(JWKS, {"error": "down"}, 503)
    for _ in range(20):
        with pytest.raises(ServiceUnavailable):
            outside.keys()
    assert server.count(JWKS) == 1
    clock.now += 5
    server.answers[JWKS] = [(200, FOUND, {})]
    assert len(outside.keys()) == 1
    assert server.count(JWKS) == 2
    outside.keys()
    assert server.count(JWKS) == 2


def test_an_issuer_that_is_not_reached_at_all_is_not_asked_again_at_once(
    server: Scripted, outside: Outside, clock: Monotonic
) -> None:
    server.answers["/csc/v2/info"] = [(500, {}, {})]
    for _ in range(3):
        with pytest.raises(PortalError):
            outside.keys()
    assert server.count("/csc/v2/info") == 1


def test_JOS_04_keys_are_never_older_than_a_minute_also_where_newer_ones_cannot_be_had(
    server: Scripted, outside: Outside, clock: Monotonic
) -> None:
    server.on(JWKS, FOUND)
    outside.keys()
    clock.now += 59
    outside.keys()
    assert server.count(JWKS) == 1
    server.answers[JWKS] = [(503, {"error": "down"}, {})]
    clock.now += 1
    with pytest.raises(ServiceUnavailable):
        outside.keys()
    assert server.count(JWKS) == 2


def test_DOS_03_requests_at_one_time_ask_once(server: Scripted, outside: Outside) -> None:
    server.on(JWKS, FOUND)
    found: list[int] = []
    begin = threading.Barrier(8)

    def ask() -> None:
        begin.wait()
        found.append(len(outside.keys()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8
    assert server.count(JWKS) == 1
