"""The development CA's connector against the real service, and against one that misbehaves (PKI-04)."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.wrappers import Request, Response

from connectors import registry
from connectors.errors import ConnectorNotAllowed
from connectors.pki.devca import UnsafeDevelopmentCa
from connectors.ports.pki import (
    CertificateAuthority,
    CertificateRequest,
    PkiAnswerInvalid,
    PkiRefused,
    PkiUnavailable,
    SubjectName,
)
from tests.integration.devservices import ALICE, RunningCa, csr_for, running_ca, served

SUBJECT = SubjectName(**ALICE)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCa]:
    with running_ca(tmp_path_factory.mktemp("ca") / "state") as running:
        yield running


def connector(ca: RunningCa, url: str | None = None, timeout: float = 5.0) -> CertificateAuthority:
    return UnsafeDevelopmentCa({"base_url": url or ca.url, "token_file": str(ca.state / "token"), "timeout": timeout})


def asked(idempotency_key: str) -> CertificateRequest:
    key = ec.generate_private_key(ec.SECP256R1())
    return CertificateRequest(csr_for(ALICE, key), SUBJECT, "signer", idempotency_key)


def crl_serials(ca: RunningCa) -> set[int]:
    crl = x509.load_der_x509_crl(requests.get(f"{ca.url}/crl/issuing.crl", timeout=5).content)
    return {entry.serial_number for entry in crl}


def test_it_issues_repeats_and_revokes(ca: RunningCa) -> None:
    authority, request = connector(ca), asked("order-0001")
    issued = authority.issue(request)
    assert len(issued.chain) == 3
    assert authority.issue(request) == issued
    leaf = x509.load_der_x509_certificate(issued.chain[0])
    assert leaf.serial_number not in crl_serials(ca)
    authority.revoke(issued.chain[0], "cessationOfOperation")
    authority.revoke(issued.chain[0], "keyCompromise")
    assert leaf.serial_number in crl_serials(ca)


def test_installed_is_not_enabled_and_production_refuses_it(ca: RunningCa) -> None:
    settings = {"base_url": ca.url, "token_file": str(ca.state / "token")}
    assert registry.load("pki", "devca", settings, production=False).issue(asked("order-0012")).chain
    with pytest.raises(ConnectorNotAllowed):
        registry.load("pki", "devca", settings, production=True)


def test_the_hosts_name_may_be_below_localhost(ca: RunningCa) -> None:
    url = ca.url.replace("127.0.0.1", "ca.localhost")
    assert connector(ca, url).issue(asked("order-0002")).chain


def test_PKI_04_what_the_authority_refuses_is_refused_with_its_code(ca: RunningCa) -> None:
    authority, request = connector(ca), asked("order-0003")
    authority.issue(request)
    with pytest.raises(PkiRefused, match=r"409 \(idempotency_conflict\)"):
        authority.issue(asked("order-0003"))
    with pytest.raises(PkiRefused, match=r"400 \(subject_mismatch\)"):
        authority.issue(replace(asked("order-0004"), subject=replace(SUBJECT, common_name="Mallory Example")))
    with pytest.raises(PkiRefused, match=r"400 \(csr_invalid\)"):
        authority.issue(replace(request, pkcs10=b"junk", idempotency_key="order-0005"))
    with pytest.raises(PkiRefused, match=r"404 \(certificate_unknown\)"):
        authority.revoke(b"junk", "superseded")
    with pytest.raises(PkiRefused, match=r"400 \(reason_unknown\)"):
        authority.revoke(b"junk", "boredom")


def test_a_wrong_token_is_a_refusal_and_is_not_repeated_in_the_error(ca: RunningCa, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.touch(0o600)
    token_file.write_text("wrong-token-of-the-test")
    authority = UnsafeDevelopmentCa({"base_url": ca.url, "token_file": str(token_file)})
    with pytest.raises(PkiRefused, match=r"401 \(unauthorized\)") as refused:
        authority.issue(asked("order-0006"))
    assert "wrong-token" not in str(refused.value)


def test_nobody_listening_is_unavailable(ca: RunningCa) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(PkiUnavailable):
            connector(ca, url).issue(asked("order-0007"))


def answer(status: int, body: bytes, **headers: str) -> Callable[[Request], Response]:
    return lambda _request: Response(body, status=status, content_type="application/json", headers=headers)


CHAIN_OF_JUNK = json.dumps({"certificates": [base64.b64encode(b"junk").decode()] * 2}).encode()


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (answer(500, b"{}"), PkiUnavailable),
        (answer(503, b"<html>"), PkiUnavailable),
        (answer(429, b"{}"), PkiUnavailable),
        (answer(400, b'{"error": "Some free text\\n"}'), PkiRefused),
        (answer(202, b'{"status": "pending"}'), PkiAnswerInvalid),
        (answer(302, b"", Location="http://127.0.0.1:1/"), PkiAnswerInvalid),
        (answer(200, b""), PkiAnswerInvalid),
        (answer(200, b"[]"), PkiAnswerInvalid),
        (answer(200, b"{}"), PkiAnswerInvalid),
        (answer(200, b'{"certificates": "x"}'), PkiAnswerInvalid),
        (answer(200, b'{"certificates": []}'), PkiAnswerInvalid),
        (answer(200, b'{"certificates": ["AA=="]}'), PkiAnswerInvalid),
        (answer(200, b'{"certificates": ["!", "!"]}'), PkiAnswerInvalid),
        (answer(200, b'{"certificates": ["\\u00e4", "AA=="]}'), PkiAnswerInvalid),
        (answer(200, b'{"certificates": [1, 2]}'), PkiAnswerInvalid),
        (answer(200, CHAIN_OF_JUNK), PkiAnswerInvalid),
        (answer(200, json.dumps({"certificates": ["AA=="] * 6}).encode()), PkiAnswerInvalid),
        (answer(200, b'{"pad": "' + b"x" * 70_000 + b'"}'), PkiAnswerInvalid),
    ],
    ids=[
        "500", "503", "429", "400", "pending", "redirect", "empty", "array", "no list", "no array", "no chain",
        "leaf alone", "base64", "non-ascii", "numbers", "junk", "six", "too large",
    ],
)  # fmt: skip
def test_PKI_04_an_authority_that_misbehaves_yields_no_certificate(
    ca: RunningCa, handler: Callable[[Request], Response], expected: type[Exception]
) -> None:
    with served(handler) as url, pytest.raises(expected) as failed:
        connector(ca, url).issue(asked("order-0008"))
    assert "free text" not in str(failed.value)


def test_PKI_04_a_certificate_for_another_key_or_subject_yields_nothing(ca: RunningCa) -> None:
    other = connector(ca).issue(asked("order-0009")).chain
    body = json.dumps({"certificates": [base64.b64encode(der).decode() for der in other]}).encode()
    with served(answer(200, body)) as url, pytest.raises(PkiAnswerInvalid, match="another public key"):
        connector(ca, url).issue(asked("order-0010"))


def test_an_answer_to_a_revocation_without_its_time_is_not_believed(ca: RunningCa) -> None:
    with served(answer(200, b"{}")) as url, pytest.raises(PkiAnswerInvalid):
        connector(ca, url).revoke(b"x", "superseded")


@contextmanager
def dripping(every_seconds: float) -> Iterator[str]:
    """A server that begins an answer and then sends an octet now and then."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _peer = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
            while not ended.wait(every_seconds):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize("every_seconds", [0.1, 5.0])
def test_an_answer_that_drips_or_hangs_is_given_up_in_time(ca: RunningCa, every_seconds: float) -> None:
    started = time.monotonic()
    with dripping(every_seconds) as url, pytest.raises(PkiUnavailable):
        connector(ca, url, timeout=0.5).issue(asked("order-0011"))
    assert time.monotonic() - started < 4
