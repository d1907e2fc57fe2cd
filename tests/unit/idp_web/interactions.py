"""Interactions as a relying party begins them, and how far a person takes them."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.web.interaction import BeginInteraction, Finished
from tests.fakes.idp import Idp

SHA256 = "2.16.840.1.101.3.4.2.1"
INTENT = SignatureIntent(
    "cred-1",
    SHA256,
    (DocumentDigest(bytes(range(32)), "Rental contract.pdf"), DocumentDigest(b"\xab" * 32, "Annex.pdf")),
    "dtbsr",
    2,
)
SUBSTANTIAL = "http://eidas.europa.eu/NotNotified/LoA/substantial"


def signature(**values: Any) -> BeginInteraction:
    """A relying party asks for two signatures."""
    given: dict[str, Any] = {
        "kind": "test",
        "action": "signature.activate",
        "client_id": "example-contracts",
        "client_name": "Example Contracts",
        "payload": {"state": "xyz"},
        "intent": INTENT,
        "return_to": "http://rp.localhost:8405/callback",
    }
    return BeginInteraction(**{**given, **values})


def plain(**values: Any) -> BeginInteraction:
    """A relying party asks who somebody is."""
    return signature(**{"action": "sign_in", "intent": None, **values})


def cookie(browser: FlaskClient) -> str:
    """The session's."""
    found = browser.get_cookie("privyseal_session")
    assert found is not None
    return found.value


def last(idp: Idp) -> Finished:
    """How the latest interaction ended."""
    return idp.finished[-1]


def at_consent(idp: Idp, browser: FlaskClient, request: BeginInteraction | None = None) -> str:
    """Go to the consent page of a signature."""
    path = idp.path(browser, request or signature())
    idp.sign_in(browser, path)
    idp.pass_otp(browser, path)
    return path
