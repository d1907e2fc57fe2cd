"""A web tier over a link that is played by the test, with service tokens that are really signed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps
from pathlib import Path
from typing import Any, ClassVar, NoReturn
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask.testing import FlaskClient

from documents.examiner import Examiner, ExaminerSettings
from foundation.clock import FixedClock, epoch
from foundation.files import write_secret
from foundation.jose import SigningKey, generate_signing_key, sign_compact
from signing.app import create_app
from signing.csc.dialect import dialects
from signing.link.documents import SignDocumentsRequest, SignPdfsRequest
from signing.link.errors import LinkError, LinkRefused
from signing.link.messages import CredentialView, OfferedKey, SignRequest
from signing.settings import IssuerSettings, WebSettings
from tests.answers import Described

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BASES = {dialect.name: dialect.path for dialect in dialects()}
ISSUER_KEY = generate_signing_key()
SAD_KEY = generate_signing_key()


def certificate(common_name: str = "Alice Example", *, expired: bool = False) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "BE"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name),
        ]
    )
    end = NOW - timedelta(days=1) if expired else NOW + timedelta(days=365)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(0xABCDEF)
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.DER)


VIEW = CredentialView(
    credential_id="cred-alice",
    owner="alice",
    status="active",
    profile="personal",
    key_kind="EC",
    key_bits=256,
    curve="1.2.840.10045.3.1.7",
    schemes=("ecdsa",),
    certificates=(certificate(), certificate("Issuing CA")),
    scal="2",
    signature_qualifier="eu_eidas_aes",
    multisign=100,
    created_at=epoch(NOW) - 1000,
)


@dataclass
class PlayedSam:
    """What the link answers in these tests."""

    views: dict[str, CredentialView] = field(default_factory=dict)
    refusal: LinkError | None = None
    keys: tuple[OfferedKey, ...] = (OfferedKey(256, ("ecdsa",)), OfferedKey(3072, ("rsa-pss",)))
    asked: list[SignRequest] = field(default_factory=list)
    refused_documents: str = "invalid_sad"
    asked_for_documents: list[int] = field(default_factory=list)
    """How many signatures each request was for."""
    asked_again: list[SignDocumentsRequest] = field(default_factory=list)
    refused_again: LinkError | None = None

    def ping(self) -> None:
        if self.refusal:
            raise self.refusal

    def credential(self, credential_id: str) -> CredentialView:
        if credential_id not in self.views:
            raise LinkRefused("unknown_credential")
        return self.views[credential_id]

    def list_credentials(self, owner: str) -> tuple[CredentialView, ...]:
        return tuple(view for view in self.views.values() if view.owner == owner)

    def offered_keys(self) -> tuple[OfferedKey, ...]:
        if self.refusal:
            raise self.refusal
        return self.keys

    def sign(self, request: SignRequest) -> tuple[bytes, ...]:
        self.asked.append(request)
        if self.refusal:
            raise self.refusal
        return tuple(b"value of " + digest for digest in request.digests)

    def sign_documents(self, request: SignDocumentsRequest) -> NoReturn:
        self.asked_for_documents.append(len(request.templates))
        raise LinkRefused(self.refused_documents)

    def allow_again(self, request: SignDocumentsRequest) -> None:
        self.asked_again.append(request)
        if self.refused_again is not None:
            raise self.refused_again

    def sign_pdfs(self, request: SignPdfsRequest, _chunks: object, _octets: int) -> NoReturn:
        self.asked_for_documents.append(len(request.pdfs) + len(request.templates))
        raise LinkRefused(self.refused_documents)

    def extend(self, _request: object) -> NoReturn:
        raise LinkRefused("invalid_sad")


class PlayedIssuer(BaseHTTPRequestHandler):
    revoked: ClassVar[set[str]] = set()
    introspections: ClassVar[int] = 0
    status: ClassVar[int] = 200
    said: ClassVar[dict[str, tuple[int, object]]] = {}
    """Status and answer by path, in the place of an introspection's."""

    def do_GET(self) -> None:
        self._send({"keys": [ISSUER_KEY.verification_key().as_jwk(), {"kty": "oct", "k": "AAAA"}]})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if self.path in self.said:
            status, answer = self.said[self.path]
            self._send(answer, status)
            return
        type(self).introspections += 1
        self._send({"active": form["token"][0] not in self.revoked})

    def _send(self, value: object, status: int | None = None) -> None:
        body = dumps(value).encode()
        self.send_response(status or self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@dataclass
class Bench:
    """A web tier with what is around it."""

    client: FlaskClient
    sam: PlayedSam
    clock: FixedClock
    issuer: str
    played: type[PlayedIssuer]
    described: Described

    def service_token(self, key: SigningKey = ISSUER_KEY, typ: str = "at+jwt", **changes: Any) -> str:
        now = epoch(NOW)
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": "http://sign.localhost:8402/csc/v2",
            "sub": "alice",
            "client_id": "example-contracts",
            "scope": "service",
            "jti": "t1",
            "iat": now,
            "exp": now + 300,
        }
        claims.update(changes)
        return sign_compact({name: value for name, value in claims.items() if value is not None}, key, typ)

    def sad(self, key: SigningKey = SAD_KEY, **changes: Any) -> str:
        """Something of a SAD's type; whole SADs are the contract's tests."""
        return sign_compact({"sub": "alice", **changes}, key, "sad+jwt")

    def post(self, method: str, body: object, token: str | None = None, version: str = "v2") -> Any:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = self.client.post(f"{BASES[version]}/{method}", json=body, headers=headers)
        self.described.check(BASES[version], method, answer)
        return answer


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A test may change the settings by an indirect parameter, or by a function of its folder that gives it."""
    changed = getattr(request, "param", {})
    with running(tmp_path, **(changed(tmp_path) if callable(changed) else changed)) as made:
        yield made


@cache
def shared_examiner() -> Examiner:
    """One for all benches: its processes are as good for the next."""
    return Examiner(ExaminerSettings(wait_seconds=300.0, seconds=300))


@contextmanager
def running(tmp_path: Path, **changes: Any) -> Iterator[Bench]:
    """A web tier with changed settings."""

    class Played(PlayedIssuer):
        revoked: ClassVar[set[str]] = set()
        introspections: ClassVar[int] = 0
        said: ClassVar[dict[str, tuple[int, object]]] = {}

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Played)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    issuer = f"http://idp.localhost:{httpd.server_port}"
    write_secret(tmp_path / "secret", b"s3cret")
    (tmp_path / "sad.pem").write_bytes(SAD_KEY.verification_key().key.as_pem(private=False))
    settings = WebSettings(
        mode="development",
        public_url="http://sign.localhost:8402",
        sam_socket=tmp_path / "sam.sock",
        issuer=IssuerSettings(issuer, "csc", tmp_path / "secret", sad_keys=(tmp_path / "sad.pem",)),
        egress_allow=(f"idp.localhost:{httpd.server_port}",),
        user_listing_clients=("operator",),
        **changes,
    )
    clock = FixedClock(NOW)
    bob = replace(VIEW, credential_id="cred-bob", owner="bob")
    sam = PlayedSam({view.credential_id: view for view in (VIEW, bob)})
    examiner = None if "documents" in changes else shared_examiner()
    app = create_app(settings, clock=clock, sam=sam, examiner=examiner)  # type: ignore[arg-type] # played by the test
    yield Bench(app.test_client(), sam, clock, issuer, Played, Described(app))
    httpd.shutdown()
    thread.join()
    httpd.server_close()
