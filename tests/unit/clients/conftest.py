"""A scripted server, and a signing service made of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from clients.csc import Bearer, Service, ServiceInfo, Transport, discover
from tests.unit.clients.scripted import Scripted, running
from tests.unit.examples.certificates import Signer, make_signer

pytestmark = pytest.mark.loopback
SERVICE_TOKEN = "service-token"


def never(seconds: float) -> None:
    """A pause that must not be made."""
    pytest.fail(f"paused for {seconds}")


@pytest.fixture
def server() -> Iterator[Scripted]:
    with running() as script:
        yield script


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


@pytest.fixture(scope="session")
def key() -> Signer:
    """A signer's key and chain."""
    return make_signer()


@pytest.fixture
def bearer() -> Bearer:
    return Bearer(SERVICE_TOKEN)


def info(specs: str = "2.0.0.2", **changes: Any) -> dict[str, Any]:
    """An answer of `info`."""
    return {
        "specs": specs,
        "name": "A service",
        "description": "For tests",
        "methods": ["info", "credentials/list", "signatures/signHash"],
        "authType": ["oauth2code"],
        "asynchronousOperationMode": True,
        **changes,
    }


def found(server: Scripted, transport: Transport, specs: str = "2.0.0.2", **changes: Any) -> ServiceInfo:
    """What is discovered at the scripted server."""
    version = "v1" if specs.startswith("1") else "v2"
    server.on(f"/csc/{version}/info", info(specs, **changes))
    return discover(transport, f"{server.url}/csc/{version}")


def service(server: Scripted, transport: Transport, specs: str = "2.0.0.2") -> Service:
    """A service of a version of the API."""
    return Service(transport, found(server, transport, specs))


def credential_answer(key: Signer, /, **changes: Any) -> dict[str, Any]:
    """An answer of `credentials/info`."""
    return {
        "key": {"status": "enabled", "algo": ["1.2.840.10045.4.3.2"], "len": 256},
        "cert": {
            "status": "valid",
            "certificates": [base64.b64encode(each).decode() for each in key.chain],
            "subjectDN": "CN=Alice Example",
            "issuerDN": "CN=Development root",
            "validTo": "20300101000000Z",
        },
        "auth": {"mode": "oauth2code", "expression": None, "objects": None},
        "SCAL": "2",
        "multisign": 10,
        **changes,
    }
