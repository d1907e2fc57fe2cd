from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from foundation.clock import FixedClock
from foundation.egress import Egress
from foundation.files import write_secret
from foundation.jose import SigningKey, export_signing_key, generate_signing_key
from idp.oidc.assertion import verify_assertion
from idp.oidc.client import ASSERTION_TYPE, Client, Registration
from signing.csc.facade import TOKEN, Facade, FacadeRefused, FacadeUnavailable
from signing.settings import IssuerSettings
from tests.unit.signing_csc.conftest import NOW

pytestmark = pytest.mark.loopback

SECRET = b"a secret of the client's"


@dataclass
class Played:
    """An identity provider that answers what it is told to."""

    url: str = ""
    status: int = 200
    body: bytes = b'{"active": true}'
    asked: list[tuple[str, dict[str, str], str | None]] = field(default_factory=list)


@pytest.fixture
def played() -> Iterator[Played]:
    told = Played()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer({name: values[0] for name, values in parse_qs(text).items()})

        def _answer(self, form: dict[str, str]) -> None:
            told.asked.append((self.path, form, self.headers.get("Authorization")))
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    told.url = f"http://idp.localhost:{httpd.server_port}"
    yield told
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def facade(played: Played, directory: Path, key: SigningKey | None = None, **settings: Any) -> Facade:
    if key is None:
        write_secret(directory / "secret", SECRET)
        settings["client_secret_file"] = directory / "secret"
    else:
        write_secret(directory / "key.pem", export_signing_key(key))
        settings["client_key_file"] = directory / "key.pem"
    egress = Egress((played.url.removeprefix("http://"),))
    return Facade(IssuerSettings(played.url, "csc", **settings), FixedClock(NOW), egress)


def test_OAU_07_it_authenticates_with_its_key_as_the_identity_provider_demands(
    played: Played, tmp_path: Path
) -> None:
    key = generate_signing_key()
    asking = facade(played, tmp_path, key)
    for _ in range(2):
        assert asking.post(TOKEN, {"grant_type": "x"}) == {"active": True}
    registration = Registration("csc", "API", "private_key_jwt", jwks=(key.verification_key().as_jwk(),))
    uses = []
    for path, form, authorization in played.asked:
        assert (path, authorization) == ("/oauth2/token", None)
        assert form["client_assertion_type"] == ASSERTION_TYPE
        assert "client_secret" not in form
        uses.append(verify_assertion(form["client_assertion"], Client(registration, None), {played.url}, NOW))
    assert uses[0].jti != uses[1].jti, "one assertion is good once"


def test_it_authenticates_with_its_secret_where_it_has_one(played: Played, tmp_path: Path) -> None:
    facade(played, tmp_path).post(TOKEN, {"grant_type": "x"})
    [(_path, form, authorization)] = played.asked
    assert form == {"grant_type": "x"}
    assert authorization is not None
    assert authorization.startswith("Basic ")


def test_a_presented_token_goes_along_as_the_subjects(played: Played, tmp_path: Path) -> None:
    facade(played, tmp_path).post_for("the token", "/oauth2/somewhere", {"a": "b"})
    [(path, form, _)] = played.asked
    token_type = "urn:ietf:params:oauth:token-type:access_token"
    assert (path, form) == (
        "/oauth2/somewhere",
        {"a": "b", "subject_token": "the token", "subject_token_type": token_type},
    )


def test_endpoints_may_be_elsewhere(played: Played, tmp_path: Path) -> None:
    asking = facade(played, tmp_path, token_endpoint=f"{played.url}/inside/token")
    asking.post(TOKEN, {})
    assert played.asked[0][0] == "/inside/token"


@pytest.mark.parametrize(
    ("status", "body", "error", "description"),
    [
        (400, b'{"error": "invalid_grant", "error_description": "no"}', "invalid_grant", "no"),
        (403, b'{"error": "access_denied"}', "access_denied", ""),
        (429, b"not JSON", "", ""),
        (400, b'{"error": 1, "error_description": ["x"]}', "", ""),
        (400, b'{"error": "' + b"x" * 65 + b'"}', "", ""),
    ],
)
def test_a_refusal_says_what_the_identity_provider_said(
    played: Played, tmp_path: Path, status: int, body: bytes, error: str, description: str
) -> None:
    played.status, played.body = status, body
    with pytest.raises(FacadeRefused) as caught:
        facade(played, tmp_path).post(TOKEN, {})
    assert (caught.value.error, caught.value.description, caught.value.status) == (error, description, status)


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b'{"error": "invalid_client"}'), (302, b""), (500, b"{}"), (200, b"no JSON"), (200, b"[1]")],
)
def test_an_answer_that_is_none_is_no_refusal(played: Played, tmp_path: Path, status: int, body: bytes) -> None:
    played.status, played.body = status, body
    with pytest.raises(FacadeUnavailable) as caught:
        facade(played, tmp_path).post(TOKEN, {"password": "hidden-9f2"})
    assert "hidden-9f2" not in str(caught.value)


def test_an_answer_without_content_is_an_empty_object(played: Played, tmp_path: Path) -> None:
    played.status, played.body = 204, b""
    assert facade(played, tmp_path).post(TOKEN, {}) == {}


def test_an_error_says_nothing_of_what_was_sent(played: Played, tmp_path: Path) -> None:
    asking = facade(played, tmp_path, token_endpoint="http://127.0.0.1:1/hidden-9f2")
    with pytest.raises(FacadeUnavailable) as caught:
        asking.post(TOKEN, {"password": "hidden-9f2"})
    assert "hidden-9f2" not in str(caught.value)


@pytest.mark.parametrize("given", [{}, {"client_secret_file": Path("s"), "client_key_file": Path("k")}])
def test_settings_name_a_secret_or_a_key(given: dict[str, Any]) -> None:
    faults = list(IssuerSettings("http://idp.localhost", "csc", **given).faults())
    assert faults == ["one of client_secret_file and client_key_file must be given"]
