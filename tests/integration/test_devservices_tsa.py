"""The development TSA over real HTTP, judged by pyHanko and by OpenSSL."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.sign.timestamps.requests_client import HTTPTimeStamper
from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.fetchers.requests_fetchers import RequestsFetcherBackend

from devservices import tsa
from foundation.clock import SystemClock
from tests.integration.devservices import RunningCa, command, run, running_ca, served


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCa]:
    with running_ca(tmp_path_factory.mktemp("ca") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def url(ca: RunningCa, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tsa.build(tmp_path_factory.mktemp("tsa") / "state", ca.state)) as base:
        yield f"{base}/tsa"


def stamper_at(url: str) -> Any:
    """pyHanko's own client, which is untyped."""
    client: Any = HTTPTimeStamper
    return client(url)


def context(ca: RunningCa) -> ValidationContext:
    """Trusts the development root alone and insists on revocation data, which it fetches."""
    root = x509.load_pem_x509_certificate((ca.state / "root.crt").read_bytes())
    return ValidationContext(
        trust_roots=[asn1_x509.Certificate.load(root.public_bytes(Encoding.DER))],
        allow_fetching=True,
        revocation_mode="require",
        fetcher_backend=RequestsFetcherBackend(per_request_timeout=5),
        time_tolerance=timedelta(seconds=5),
    )


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_pyhankos_client_gets_a_token_that_verifies_against_the_one_root(
    url: str, ca: RunningCa, algorithm: str
) -> None:
    def imprint(name: str) -> bytes:
        return hashlib.new(name, b"a signature").digest()

    async def stamp_and_verify() -> Any:
        token = await stamper_at(url).async_timestamp(imprint(algorithm), algorithm)
        return await validate_tst_signed_data(token["content"], context(ca), imprint)

    status = asyncio.run(stamp_and_verify())
    assert status["valid"]
    assert status["intact"]
    assert abs(status["timestamp"] - SystemClock().now()) < timedelta(seconds=30)


def openssl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *arguments], capture_output=True, timeout=30, check=False)


def test_openssl_accepts_the_token_and_understands_a_rejection(url: str, ca: RunningCa, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(os.urandom(100))
    for algorithm, granted in (("-sha256", True), ("-sha1", False)):
        openssl("ts", "-query", "-data", str(data), algorithm, "-cert", "-out", str(tmp_path / "query"))
        answer = requests.post(
            url,
            data=(tmp_path / "query").read_bytes(),
            headers={"Content-Type": "application/timestamp-query"},
            timeout=10,
        )
        assert answer.headers["Content-Type"] == "application/timestamp-reply"
        (tmp_path / "reply").write_bytes(answer.content)
        shown = openssl("ts", "-reply", "-in", str(tmp_path / "reply"), "-text").stdout
        assert (b"Granted" in shown) is granted
        assert (b"unrecognized or unsupported algorithm" in shown) is not granted
        verified = openssl(
            "ts", "-verify", "-in", str(tmp_path / "reply"), "-queryfile", str(tmp_path / "query"),
            "-CAfile", str(ca.state / "root.crt"),
        )  # fmt: skip
        assert (verified.returncode == 0) is granted


def test_simultaneous_requests_get_tokens_of_their_own(url: str, ca: RunningCa) -> None:
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(16)]

    def stamp(digest: bytes) -> Any:
        async def run_one() -> Any:
            token = await stamper_at(url).async_timestamp(digest, "sha256")
            info = token["content"]["encap_content_info"]["content"].parsed
            return info["serial_number"].native, info["message_imprint"]["hashed_message"].native

        return asyncio.run(run_one())

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(stamp, digests))
    assert [imprint for _serial, imprint in results] == digests
    assert len({serial for serial, _imprint in results}) == len(digests)


def test_other_forms_of_request_are_refused(url: str) -> None:
    query = {"Content-Type": "application/timestamp-query"}
    assert requests.get(url, timeout=5).status_code == 405
    assert requests.post(url, data=b"x", timeout=5).status_code == 400
    assert requests.post(url + "/other", data=b"x", headers=query, timeout=5).status_code == 404
    assert requests.post(url, data=b"x" * 70_000, headers=query, timeout=5).status_code == 413
    assert requests.get(url.removesuffix("/tsa") + "/healthz", timeout=5).json()["status"] == "ok"


def test_the_command_needs_a_ca_and_serves_until_sigterm(ca: RunningCa, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "tsa"), "--port", "0")
    alone = run("devservices.tsa", *state, "--ca-state", str(tmp_path / "nowhere"))
    assert alone.returncode == 2
    assert "no development CA here yet" in alone.stderr
    assert run("devservices.tsa", *state, "--ca-state", str(ca.state), "--init-only").returncode == 0
    with command("devservices.tsa", *state, "--ca-state", str(ca.state)) as service:
        assert requests.get(f"{service.ready}/healthz", timeout=5).status_code == 200
        status, err = service.end()
    assert status == 0
    assert "UnsafeDevelopmentTsa" in err
