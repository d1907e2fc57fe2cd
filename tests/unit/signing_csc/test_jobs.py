"""Asynchronous operation over the API: what is taken in, who fetches it, and what comes of the module's answers."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from json import loads
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contract.sad import Sad, encode
from foundation.clock import SystemClock
from foundation.egress import Egress
from foundation.errors import SettingsError
from foundation.files import write_secret
from foundation.settings import from_table
from signing.app import start_jobs
from signing.csc import errors
from signing.csc.jobs import serves_once
from signing.csc.work import SigningWork
from signing.jobs.notices import Notices
from signing.jobs.runner import LEASE, Runner
from signing.link import codes
from signing.link.errors import LinkError, LinkRefused, LinkUnavailable
from signing.settings import JobsSettings, WebSettings
from tests.unit.signing_csc.conftest import NOW, SAD_KEY, Bench
from tests.unit.signing_csc.test_credentials import whole_sad
from tests.unit.signing_csc.test_sign_hash import SHA256, refused

pytestmark = pytest.mark.loopback

READY = "https://app.example.org/ready/1"
DIGESTS = tuple(bytes([number]) * 32 for number in range(3))
POLLING = "signatures/signPolling"
SIGN = "signatures/signHash"


def settings(directory: Path, **changes: Any) -> dict[str, Any]:
    key = directory / "jobs.key"
    if not key.exists():
        write_secret(key, b"k" * 32)
    given: dict[str, Any] = {
        "key_file": key,
        "database_url": f"sqlite:///{directory / 'jobs.sqlite'}",
        "response_uris": {"example-contracts": ("https://app.example.org/ready/", "https://other.example.org/one")},
        **changes,
    }
    return {"jobs": JobsSettings(**given)}


def few(directory: Path) -> dict[str, Any]:
    return settings(directory, max_jobs_of_a_client=2)


with_jobs = pytest.mark.parametrize("bench", [settings], indirect=True)


def sad_of(bench: Bench, *digests: bytes, **changes: Any) -> Sad:
    return whole_sad(bench, dtbsr=digests, sign_count=len(digests), hash_alg=SHA256, hash_type="dtbsr", **changes)


def body(bench: Bench, sad: Sad | None = None, **changes: Any) -> dict[str, Any]:
    sad = sad or sad_of(bench, *DIGESTS[:2])
    return {
        "credentialID": "cred-alice",
        "SAD": encode(sad, SAD_KEY),
        "hashes": [base64.b64encode(digest).decode() for digest in sad.dtbsr],
        "hashAlgorithmOID": SHA256,
        "signAlgo": "1.2.840.10045.4.3.2",
        "operationMode": "A",
        **changes,
    }


def taken(bench: Bench, **changes: Any) -> str:
    answer = bench.post(SIGN, body(bench, **changes), bench.service_token())
    assert answer.status_code == 200, answer.get_data(as_text=True)
    (job,) = answer.json.values()
    assert isinstance(answer.json["responseID"], str)
    return str(job)


def poll(bench: Bench, job: str, token: str | None = None, **members: Any) -> Any:
    return bench.post(POLLING, {"requestID": job, **members}, token or bench.service_token())


@dataclass
class Told:
    uris: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, uri: str, job: str) -> bool:
        self.uris.append((uri, job))
        return True


def work(bench: Bench, tell: Told | None = None) -> Told:
    """Whatever is due."""
    told, rssp = tell or Told(), bench.client.application.extensions["privyseal-rssp"]
    runner = Runner(rssp.jobs.store, SigningWork(rssp), told, bench.clock, notice_attempts=2)
    while runner.step():
        pass
    return told


@with_jobs
def test_taken_in_carried_out_and_fetched_once(bench: Bench) -> None:
    job = taken(bench, response_uri=READY)
    assert bench.sam.asked == []
    waiting = poll(bench, job)
    assert (waiting.status_code, waiting.json["error"]) == (202, "accepted_request")
    assert waiting.json["error_description"] == errors.STILL_PROCESSED
    assert work(bench).uris == [(READY, job)]
    (asked,) = bench.sam.asked
    assert (asked.client_id, asked.digests, asked.credential_id) == ("example-contracts", DIGESTS[:2], "cred-alice")
    answer = poll(bench, job)
    values = [base64.b64encode(b"value of " + digest).decode() for digest in DIGESTS[:2]]
    assert (answer.status_code, answer.json) == (200, {"signatures": values})
    refused(poll(bench, job), 400, "Invalid parameter requestID")


@with_jobs
def test_threads_of_the_application_carry_it_out(bench: Bench) -> None:
    background = start_jobs(bench.client.application)
    assert background is not None
    job = taken(bench)
    background.stop()
    work(bench)
    assert poll(bench, job).status_code == 200
    assert len(bench.sam.asked) == 1


def test_without_its_settings_there_is_none(bench: Bench) -> None:
    refused(bench.post(SIGN, body(bench), bench.service_token()), 400, "Invalid parameter operationMode")
    assert bench.post(POLLING, {"requestID": "x"}, bench.service_token()).status_code == 501
    info = bench.post("info", {}).json
    assert info["asynchronousOperationMode"] is False
    assert POLLING not in info["methods"]
    assert start_jobs(bench.client.application) is None


@with_jobs
def test_info_says_so_where_there_is_and_version_1_has_none(bench: Bench) -> None:
    info = bench.post("info", {}).json
    assert info["asynchronousOperationMode"] is True
    assert POLLING in info["methods"]
    assert POLLING not in bench.post("info", {}, version="v1").json["methods"]
    assert bench.post(POLLING, {"requestID": "x"}, bench.service_token(), version="v1").status_code == 501


@with_jobs
@pytest.mark.parametrize(
    ("changes", "description"),
    [
        ({"validity_period": 999}, "Out of bounds parameter validity_period"),
        ({"validity_period": 0}, "Out of bounds parameter validity_period"),
        ({"validity_period": -5}, "Out of bounds parameter validity_period"),
        ({"validity_period": 86_400_001}, "Out of bounds parameter validity_period"),
        ({"validity_period": "60000"}, "Invalid parameter validity_period"),
        ({"validity_period": True}, "Invalid parameter validity_period"),
        ({"validity_period": 1.5}, "Invalid parameter validity_period"),
        ({"response_uri": 5}, "Invalid parameter response_uri"),
        ({"response_uri": "http://app.example.org/ready/1"}, "Invalid parameter response_uri"),
        ({"response_uri": "https://evil.example.org/"}, "Invalid parameter response_uri"),
        ({"operationMode": "B"}, "Invalid parameter operationMode"),
        ({"operationMode": "S", "validity_period": 5000}, "Invalid parameter validity_period"),
        ({"operationMode": "S", "response_uri": READY}, "Invalid parameter response_uri"),
        ({"hashes": [base64.b64encode(bytes(32)).decode()] * 2}, "Hash is not authorized by the SAD"),
        ({"credentialID": "cred-bob"}, "Invalid parameter credentialID"),
        ({"SAD": "x.y.z"}, "Invalid parameter SAD"),
    ],
)
def test_what_is_not_taken_in(bench: Bench, changes: dict[str, Any], description: str) -> None:
    refused(bench.post(SIGN, body(bench, **changes), bench.service_token()), 400, description)
    assert work(bench).uris == []
    assert bench.sam.asked == []


@with_jobs
@pytest.mark.parametrize("validity", [1000, 86_400_000])
def test_the_bounds_of_the_validity_are_taken(bench: Bench, validity: int) -> None:
    job = taken(bench, validity_period=validity)
    work(bench)
    bench.clock.advance(validity / 1000 - 0.001)
    token = bench.service_token(iat=int(NOW.timestamp()) + validity // 1000 - 1, exp=int(NOW.timestamp()) + 90_000)
    assert poll(bench, job, token).status_code == 200


@with_jobs
def test_DOS_04_after_its_validity_it_is_gone(bench: Bench) -> None:
    job = taken(bench, validity_period=1000)
    work(bench)
    bench.clock.advance(1)
    refused(poll(bench, job), 400, "Invalid parameter requestID")


@with_jobs
@pytest.mark.parametrize(
    "who",
    [{"sub": "bob"}, {"client_id": "another"}, {"sub": "bob", "client_id": "another"}],
)
def test_OAU_17_only_the_client_and_person_that_asked_fetch(bench: Bench, who: dict[str, Any]) -> None:
    job = taken(bench)
    for _time in range(2):
        refused(poll(bench, job, bench.service_token(**who)), 400, "Invalid parameter requestID")
        work(bench)
    assert poll(bench, job).status_code == 200


@with_jobs
def test_a_clients_own_token_names_the_person(bench: Bench) -> None:
    job, own = taken(bench), bench.service_token(sub="example-contracts")
    work(bench)
    refused(poll(bench, job, own), 400, "Invalid parameter userID")
    refused(poll(bench, job, own, userID="bob"), 400, "Invalid parameter requestID")
    refused(poll(bench, job, userID="alice"), 400, "userID parameter SHALL be null")
    assert poll(bench, job, own, userID="alice").status_code == 200


@with_jobs
def test_a_sad_alone_asks_and_fetches(bench: Bench) -> None:
    sad = sad_of(bench, DIGESTS[0])
    token = encode(sad, SAD_KEY)
    asked = {name: value for name, value in body(bench, sad).items() if name != "SAD"}
    job = bench.post(SIGN, asked, token).json["responseID"]
    work(bench)
    assert bench.sam.asked[0].client_id is None
    assert poll(bench, job, token).status_code == 200


@with_jobs
@pytest.mark.parametrize("changes", [{"sub": "bob"}, {"client_id": "another"}])
def test_SAD_14_a_sad_that_is_not_the_askers_is_not_taken_in(bench: Bench, changes: dict[str, Any]) -> None:
    refused(
        bench.post(SIGN, body(bench, sad_of(bench, DIGESTS[0], **changes)), bench.service_token()),
        400,
        "Invalid parameter SAD",
    )


@with_jobs
def test_an_expired_sad_is_not_taken_in(bench: Bench) -> None:
    token = bench.service_token(exp=int((NOW + timedelta(days=1)).timestamp()))
    asked = body(bench)
    bench.clock.advance(3600)
    refused(bench.post(SIGN, asked, token), 400, "SAD expired")


@with_jobs
@pytest.mark.parametrize(
    ("members", "description"),
    [
        ({}, "Missing (or invalid type) string parameter requestID"),
        ({"requestID": 5}, "Missing (or invalid type) string parameter requestID"),
        ({"requestID": ""}, "Missing (or invalid type) string parameter requestID"),
        ({"requestID": "x" * 129}, "Invalid parameter requestID"),
        ({"requestID": "unknown"}, "Invalid parameter requestID"),
        ({"requestID": "x", "userID": 5}, "Invalid parameter userID"),
        ({"requestID": "x", "clientData": 5}, "Invalid parameter clientData"),
    ],
)
def test_polling_with_bad_parameters(bench: Bench, members: dict[str, Any], description: str) -> None:
    refused(bench.post(POLLING, members, bench.service_token()), 400, description)


@with_jobs
def test_polling_without_a_token(bench: Bench) -> None:
    assert bench.post(POLLING, {"requestID": "x"}).status_code == 401


@pytest.mark.parametrize("bench", [few], indirect=True)
def test_DOS_04_a_client_has_so_many_and_is_told_when_to_come_back(bench: Bench) -> None:
    for _number in range(2):
        taken(bench)
    answer = bench.post(SIGN, body(bench), bench.service_token())
    refused(answer, 429, "Too many requests", "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


@with_jobs
@pytest.mark.parametrize(
    ("refusal", "status", "description"),
    [
        (codes.SAD_USED, 400, "Invalid parameter SAD"),
        (codes.EXPIRED_SAD, 400, "SAD expired"),
        (codes.CREDENTIAL_DISABLED, 400, errors.CREDENTIAL_DISABLED),
        (codes.BINDING_REFUSED, 400, "Invalid parameter SAD"),
        (codes.INDETERMINATE, 503, "The outcome is not known; the authorization is spent"),
    ],
)
def test_why_there_are_no_values_can_be_asked_for_again(
    bench: Bench, refusal: str, status: int, description: str
) -> None:
    bench.sam.refusal = LinkRefused(refusal)
    job = taken(bench)
    work(bench)
    for _time in range(2):
        answer = poll(bench, job)
        assert (answer.status_code, answer.json["error_description"]) == (status, description)
    assert len(bench.sam.asked) == 1


@with_jobs
@pytest.mark.parametrize(
    "error", [LinkRefused(codes.DEVICE_UNAVAILABLE), LinkRefused(codes.BUSY), LinkUnavailable("x")]
)
def test_what_is_not_there_now_is_asked_again(bench: Bench, error: LinkError) -> None:
    bench.sam.refusal = error
    job = taken(bench)
    work(bench)
    assert poll(bench, job).status_code == 202
    bench.sam.refusal = None
    bench.clock.advance(1)
    work(bench)
    assert poll(bench, job).status_code == 200
    first, second = bench.sam.asked
    assert first == second


@with_jobs
def test_SAD_03_what_may_have_been_signed_is_asked_again_only_where_it_cannot_be_signed_twice(bench: Bench) -> None:
    sad = sad_of(bench, DIGESTS[0], DIGESTS[0])
    hashes_of = [base64.b64encode(DIGESTS[0]).decode()]
    bench.sam.refusal = LinkUnavailable("no answer")
    twice, once = taken(bench, sad=sad, hashes=hashes_of), taken(bench)
    work(bench)
    bench.sam.refusal = None
    bench.clock.advance(2 * LEASE / 1000)
    work(bench)
    assert [asked.digests for asked in bench.sam.asked] == [DIGESTS[:1], DIGESTS[:2], DIGESTS[:2]]
    assert poll(bench, twice).status_code == 503
    assert poll(bench, once).status_code == 200


@with_jobs
def test_SAD_03_spent_by_an_attempt_whose_answer_is_lost_is_told_as_not_known(bench: Bench) -> None:
    bench.sam.refusal = LinkUnavailable("no answer")
    job = taken(bench)
    work(bench)
    bench.sam.refusal = LinkRefused(codes.SAD_USED)
    bench.clock.advance(1)
    work(bench)
    answer = poll(bench, job)
    assert (answer.status_code, answer.json["error_description"]) == (
        503,
        "The outcome is not known; the authorization is spent",
    )


def test_which_requests_the_module_carries_out_once_at_most(bench: Bench) -> None:
    a, b = DIGESTS[:2]
    assert serves_once(sad_of(bench, a), (a,))
    assert serves_once(sad_of(bench, a, b, b), (a, b))
    assert not serves_once(sad_of(bench, a, b, b), (b,))
    assert not serves_once(sad_of(bench, a, a, b, b), (a, b))
    scal1 = replace(sad_of(bench, a), dtbsr=(), sign_count=3)
    assert serves_once(scal1, (a, b))
    assert not serves_once(scal1, (a,))


# Where clients are told

ALLOWED = {"one": ("https://app.example.org/ready/", "https://app.example.org/exactly")}


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("https://app.example.org/ready/1", True),
        ("https://APP.example.org/ready/1?job=2", True),
        ("https://app.example.org/exactly", True),
        ("https://app.example.org/exactly/not", False),
        ("https://app.example.org/ready", False),
        ("https://app.example.org/other", False),
        ("https://app.example.org.evil.example/ready/1", False),
        ("https://app.example.org:8443/ready/1", False),
        ("https://app.example.org@evil.example/ready/1", False),
        ("https://user:password@app.example.org/ready/1", False),
        ("https://app.example.org/ready/../other", False),
        ("https://app.example.org/ready/%2e%2E/other", False),
        ("https://app.example.org/ready/..%2fother", False),
        ("https://app.example.org/ready/\\other", False),
        ("https://app.example.org/ready/1#x", False),
        ("http://app.example.org/ready/1", False),
        ("HTTPS://app.example.org/ready/ 1", False),
        ("https://app.example.org/ready/\n1", False),
        ("https://[app.example.org/ready/1", False),
        ("https:///ready/1", False),
        ("file:///etc/passwd", False),
        ("https://app.example.org/ready/" + "x" * 2048, False),
        ("", False),
    ],
)
def test_PKI_01_a_client_names_what_it_was_allowed_and_nothing_else(uri: str, allowed: bool) -> None:
    notices = Notices(ALLOWED, Egress(), timeout_seconds=1)
    assert notices.may_have("one", uri) is allowed
    assert not notices.may_have("another", uri)


class Receiver(BaseHTTPRequestHandler):
    status: ClassVar[int] = 204
    location: ClassVar[str | None] = None
    got: ClassVar[list[tuple[str, Any, str | None]]] = []

    def do_POST(self) -> None:
        content = loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.got.append((self.path, content, self.headers.get("Authorization")))
        self.send_response(self.status)
        if self.location is not None:
            self.send_header("Location", self.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.got.append((self.path, None, None))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def receiver(directory: Path, **changes: Any) -> Iterator[tuple[type[Receiver], int, Path]]:
    """An https server on this machine, and the authority that it is known by."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = SystemClock().now()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app.localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("app.localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(names, False)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "receiver.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "receiver.key").write_bytes(private)

    class Own(Receiver):
        got: ClassVar[list[tuple[str, Any, str | None]]] = []

    for each, value in changes.items():
        setattr(Own, each, value)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, directory / "receiver.key")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield Own, httpd.server_port, pem
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def test_what_a_client_is_told_is_the_identifier_and_nothing_else(tmp_path: Path) -> None:
    with receiver(tmp_path) as (own, port, pem):
        egress = Egress((f"app.localhost:{port}",))
        notices = Notices({}, egress, timeout_seconds=5, authorities=pem)
        assert notices.send(f"https://app.localhost:{port}/ready?x=1", "job-1")
        assert own.got == [("/ready?x=1", {"responseID": "job-1"}, None)]
        # Nobody's certificate is taken but of those authorities.
        assert not Notices({}, egress, timeout_seconds=5).send(f"https://app.localhost:{port}/ready", "job-1")
        assert len(own.got) == 1


def test_PKI_01_no_private_address_and_no_redirect(tmp_path: Path) -> None:
    with receiver(tmp_path, status=302) as (own, port, pem):
        own.location = f"https://app.localhost:{port}/elsewhere"
        # As a name server may answer for a name, and the C library for numbers in other forms.
        resolver = {
            "app.localhost": "127.0.0.1",
            "2130706433": "127.0.0.1",
            "0x7f000001": "127.0.0.1",
            "0177.0.0.1": "127.0.0.1",
            "::1": "::1",
            "::ffff:127.0.0.1": "::ffff:127.0.0.1",
            "169.254.169.254": "169.254.169.254",
            "metadata.example": "169.254.169.254",
            "inside.example": "10.0.0.1",
            "6to4.example": "2002:7f00:1::",
        }
        egress = Egress(resolver=lambda host, _port: [resolver.get(host, host)])
        guarded = Notices({}, egress, timeout_seconds=5, authorities=pem)
        for host in ("127.0.0.1", *resolver):
            literal = f"[{host}]" if ":" in host else host
            assert not guarded.send(f"https://{literal}:{port}/ready", "job-1"), host
        assert own.got == []
        looked_up: list[str] = []

        def rebinding(host: str, _port: int) -> list[str]:
            looked_up.append(host)
            return ["127.0.0.1" if len(looked_up) == 1 else "169.254.169.254"]

        # What was judged is what is connected to: nobody asks a second time.
        allowed = Notices({}, Egress((f"app.localhost:{port}",), rebinding), timeout_seconds=5, authorities=pem)
        assert not allowed.send(f"https://app.localhost:{port}/ready", "job-1")
        assert looked_up == ["app.localhost"]
        allowed = Notices({}, Egress((f"app.localhost:{port}",)), timeout_seconds=5, authorities=pem)
        for location in ("file:///etc/passwd", "gopher://127.0.0.1/", "http://169.254.169.254/", "/elsewhere"):
            own.location = location
            assert not allowed.send(f"https://app.localhost:{port}/ready", "job-1"), location
        assert [path for path, _content, _authorization in own.got] == ["/ready"] * 5


@pytest.mark.parametrize(
    "changes",
    [
        {"database_url": "sqlite:///x", "database_url_file": "y"},
        {"max_validity_seconds": 0},
        {"default_validity_seconds": 100_000},
        {"workers": 0},
        {"notice_seconds": 60.0},
        {"max_jobs": 0},
        {"response_uris": {"a": ["http://app.example.org/"]}},
        {"response_uris": {"a": ["https://app.example.org/?x"]}},
        {"response_uris": {"a": ["https://app.example.org"]}},
    ],
)
def test_settings_that_cannot_be_meant(tmp_path: Path, changes: dict[str, Any]) -> None:
    table: dict[str, Any] = {
        "mode": "development",
        "public_url": "http://sign.localhost:8402",
        "sam_socket": "sam.sock",
        "issuer": {"url": "http://idp", "client_id": "csc", "client_secret_file": "x", "sad_keys": ["sad.pem"]},
        "jobs": {"key_file": "key", "database_url": "sqlite:///x"},
    }
    from_table(WebSettings, table, base=tmp_path)
    with pytest.raises(SettingsError):
        from_table(WebSettings, {**table, "jobs": {**table["jobs"], **changes}}, base=tmp_path)
    without = {name: value for name, value in table["issuer"].items() if name != "sad_keys"}
    with pytest.raises(SettingsError, match="sad_keys"):
        from_table(WebSettings, {**table, "issuer": without}, base=tmp_path)
    with pytest.raises(SettingsError, match="PostgreSQL"):
        from_table(WebSettings, {**table, "mode": "production"}, base=tmp_path)
