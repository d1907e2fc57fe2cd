"""Fixtures: a running stub and a relying party's client for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.oauth_client import Client
from tests.unit.examples.certificates import pem
from tests.unit.examples.stub import CLIENT_ID, CLIENT_SECRET, PASSWORD, Stub, running_stub

REDIRECT_URI = "http://rp.localhost:8405/callback"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running_stub() as running:
        yield running


@pytest.fixture
def client() -> Client:
    return Client(CLIENT_ID, CLIENT_SECRET, REDIRECT_URI)


@pytest.fixture
def arguments(stub: Stub, tmp_path: Path) -> list[str]:
    """The command line of the walkthrough, for the stub, which knows nothing of time-stamps."""
    for name, content in (("secret", CLIENT_SECRET), ("password", PASSWORD)):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(content + "\n")
    (tmp_path / "root.pem").write_bytes(pem(stub.signer.root))
    return [
        *("--issuer", stub.issuer, "--csc", stub.csc, "--inbox", stub.inbox),
        *("--client-id", CLIENT_ID, "--client-secret-file", str(tmp_path / "secret"), "--redirect-uri", REDIRECT_URI),
        *("--username", "alice", "--password-file", str(tmp_path / "password"), "--phone", "+15550100"),
        *("--out", str(tmp_path / "out"), "--root", str(tmp_path / "root.pem"), "--no-revocation"),
        *("--level", "Ades-B-B"),
    ]
