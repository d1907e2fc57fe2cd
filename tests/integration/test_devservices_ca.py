"""The development CA over real HTTP, judged by OpenSSL and by pyHanko's certificate validator."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import urllib.parse
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import RevokedError
from pyhanko_certvalidator.fetchers.requests_fetchers import RequestsFetcherBackend

from tests.integration.devservices import ALICE, RunningCa, command, csr_for, run, running_ca


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCa]:
    with running_ca(tmp_path_factory.mktemp("ca") / "state") as running:
        yield running


def ask(ca: RunningCa, **change: Any) -> requests.Response:
    """POST /ca/issue; ``token`` and the JSON's members can be changed, None leaves one out."""
    token = change.pop("token", ca.token)
    body = {"subject": ALICE, "idempotency_key": "order-0001", **change}
    if "csr" not in body:
        body["csr"] = base64.b64encode(csr_for(ALICE, ec.generate_private_key(ec.SECP256R1()))).decode()
    body = {name: value for name, value in body.items() if value is not None}
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.post(f"{ca.url}/ca/issue", json=body, headers=headers, timeout=5)


def issued(ca: RunningCa, idempotency_key: str) -> list[x509.Certificate]:
    answer = ask(ca, idempotency_key=idempotency_key)
    assert answer.status_code == 200, answer.text
    return [x509.load_der_x509_certificate(base64.b64decode(item)) for item in answer.json()["certificates"]]


def revoke(ca: RunningCa, leaf: x509.Certificate, reason: str = "keyCompromise", token: str | None = None) -> Any:
    body = {"certificate": base64.b64encode(leaf.public_bytes(Encoding.DER)).decode(), "reason": reason}
    headers = {"Authorization": f"Bearer {token or ca.token}"}
    return requests.post(f"{ca.url}/ca/revoke", json=body, headers=headers, timeout=5)


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30, check=False)


def pems(directory: Path, chain: list[x509.Certificate], ca: RunningCa) -> dict[str, str]:
    """The chain and both revocation lists as files for OpenSSL; their names by what they are."""
    files = {}
    for name, certificate in zip(("leaf", "issuing", "root"), chain, strict=True):
        path = directory / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        files[name] = str(path)
    lists = directory / "crls.pem"
    lists.write_bytes(
        b"".join(
            x509.load_der_x509_crl(requests.get(f"{ca.url}/crl/{label}.crl", timeout=5).content).public_bytes(
                Encoding.PEM
            )
            for label in ("root", "issuing")
        )
    )
    return {**files, "crls": str(lists)}


def verify_with_openssl(files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return openssl(
        "verify", "-x509_strict", "-crl_check_all", "-CRLfile", files["crls"], "-CAfile", files["root"],
        "-untrusted", files["issuing"], files["leaf"],
    )  # fmt: skip


def ocsp_with_openssl(files: dict[str, str], url: str) -> subprocess.CompletedProcess[str]:
    return openssl(
        "ocsp", "-issuer", files["issuing"], "-cert", files["leaf"], "-url", url, "-CAfile", files["root"], "-nonce"
    )


def test_openssl_accepts_the_chain_the_lists_and_the_responder_until_revocation(ca: RunningCa, tmp_path: Path) -> None:
    chain = issued(ca, "openssl-0001")
    files = pems(tmp_path, chain, ca)
    access = chain[0].extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    url = next(item.access_location.value for item in access if item.access_method._name == "OCSP")

    verified = verify_with_openssl(files)
    assert verified.returncode == 0, verified.stderr
    good = ocsp_with_openssl(files, url)
    assert "Response verify OK" in good.stderr
    assert ": good" in good.stdout
    assert "WARNING" not in good.stderr

    assert revoke(ca, chain[0]).status_code == 200
    refused = verify_with_openssl(pems(tmp_path, chain, ca))
    assert refused.returncode != 0
    assert "certificate revoked" in refused.stderr
    revoked = ocsp_with_openssl(files, url)
    assert "Response verify OK" in revoked.stderr
    assert ": revoked" in revoked.stdout
    assert "keyCompromise" in revoked.stdout


async def validated(chain: list[x509.Certificate]) -> None:
    """pyHanko's validator on the leaf and the root alone; it finds the rest at the addresses in the certificates."""
    leaf, root = (asn1_x509.Certificate.load(chain[n].public_bytes(Encoding.DER)) for n in (0, 2))
    context = ValidationContext(
        trust_roots=[root], allow_fetching=True, revocation_mode="require",
        fetcher_backend=RequestsFetcherBackend(per_request_timeout=5), time_tolerance=timedelta(seconds=5),
    )  # fmt: skip
    validator: Any = CertificateValidator(leaf, validation_context=context)
    await validator.async_validate_usage({"non_repudiation"})


def test_pyhanko_follows_the_addresses_in_the_certificate_and_sees_the_revocation(ca: RunningCa) -> None:
    chain = issued(ca, "pyhanko-0001")
    asyncio.run(validated(chain))
    revoke(ca, chain[0], "cessationOfOperation")
    with pytest.raises(RevokedError):
        asyncio.run(validated(chain))


def test_the_authorities_certificates_are_where_the_chain_says(ca: RunningCa) -> None:
    chain = issued(ca, "addresses-0001")
    for certificate, label in ((chain[1], "issuing"), (chain[2], "root")):
        answer = requests.get(f"{ca.url}/ca/{label}.crt", timeout=5)
        assert answer.content == certificate.public_bytes(Encoding.DER)
        assert answer.headers["Content-Type"] == "application/pkix-cert"
    assert requests.get(f"{ca.url}/crl/issuing.crl", timeout=5).headers["Content-Type"] == "application/pkix-crl"


def test_ocsp_over_get_answers_as_over_post(ca: RunningCa) -> None:
    chain = issued(ca, "ocsp-get-0001")
    # Nonces until the base64 has all of the characters that a path may mangle.
    for number in range(200):
        builder = ocsp.OCSPRequestBuilder().add_certificate(chain[0], chain[1], hashes.SHA256())
        nonce = hashes_of(number)
        der = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build().public_bytes(Encoding.DER)
        encoded = base64.b64encode(der).decode()
        if "+" in encoded and "/" in encoded and "=" in encoded:
            break
    for path in (urllib.parse.quote(encoded, safe=""), encoded):
        answer = requests.get(f"{ca.url}/ocsp/{path}", timeout=5)
        assert answer.headers["Content-Type"] == "application/ocsp-response"
        response = ocsp.load_der_ocsp_response(answer.content)
        assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
        assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce


def hashes_of(number: int) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(str(number).encode())
    return digest.finalize()


def test_PKI_04_a_retry_brings_the_same_certificate_and_another_request_a_conflict(ca: RunningCa) -> None:
    csr = base64.b64encode(csr_for(ALICE, ec.generate_private_key(ec.SECP256R1()))).decode()
    first = ask(ca, csr=csr, idempotency_key="retry-0001")
    assert first.status_code == 200
    assert ask(ca, csr=csr, idempotency_key="retry-0001").json() == first.json()
    conflict = ask(ca, idempotency_key="retry-0001")
    assert (conflict.status_code, conflict.json()["error"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize("token", [None, "", "wrong", "ä"])
def test_without_the_right_token_nothing_is_issued_or_revoked(ca: RunningCa, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}".encode()}
    for path in ("/ca/issue", "/ca/revoke"):
        answer = requests.post(f"{ca.url}{path}", json={}, headers=headers, timeout=5)
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")


def _broken_csr() -> str:
    der = bytearray(csr_for(ALICE, ec.generate_private_key(ec.SECP256R1())))
    der[-5] ^= 1
    return base64.b64encode(bytes(der)).decode()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"csr": "not base64!"}, "malformed_request"),
        ({"csr": None}, "malformed_request"),
        ({"csr": "aGVsbG8="}, "csr_invalid"),
        ({"csr": _broken_csr()}, "proof_of_possession_failed"),
        ({"subject": {**ALICE, "common_name": "Mallory Example"}}, "subject_mismatch"),
        ({"subject": {**ALICE, "country": "Belgium"}}, "subject_invalid"),
        ({"subject": None}, "subject_invalid"),
        ({"idempotency_key": None}, "malformed_request"),
        ({"idempotency_key": "x"}, "malformed_request"),
        ({"validity": "forever"}, "malformed_request"),
    ],
    ids=["base64", "no csr", "csr", "proof", "subject", "country", "no subject", "no key", "short key", "unknown"],
)
def test_a_request_with_a_fault_is_refused_with_its_reason(ca: RunningCa, change: dict[str, Any], error: str) -> None:
    answer = ask(ca, **{"idempotency_key": "refused-0001", **change})
    assert (answer.status_code, answer.json()["error"]) == (400, error)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"csr": "a", "csr": "b"}', b"\xff", b"[" * 30000])
def test_a_body_that_is_no_strict_json_object_is_refused(ca: RunningCa, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {ca.token}", "Content-Type": "application/json"}
    answer = requests.post(f"{ca.url}/ca/issue", data=body, headers=headers, timeout=5)
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed_request")


def test_what_was_not_issued_here_cannot_be_revoked(ca: RunningCa) -> None:
    foreign = issued(ca, "foreign-0001")[1]  # the root issued it: it is known; a changed one is not
    der = foreign.public_bytes(Encoding.DER) + b"\x00"
    body = {"certificate": base64.b64encode(der).decode(), "reason": "superseded"}
    headers = {"Authorization": f"Bearer {ca.token}"}
    answer = requests.post(f"{ca.url}/ca/revoke", json=body, headers=headers, timeout=5)
    assert (answer.status_code, answer.json()["error"]) == (404, "certificate_unknown")
    assert revoke(ca, issued(ca, "foreign-0002")[0], "removeFromCRL").json()["error"] == "reason_unknown"


def test_other_addresses_methods_and_hosts_are_refused(ca: RunningCa) -> None:
    assert requests.get(f"{ca.url}/ca/root.key", timeout=5).status_code == 404
    assert requests.get(f"{ca.url}/ca/issue", timeout=5).status_code == 405
    assert requests.get(f"{ca.url}/ocsp", timeout=5).status_code == 405
    assert requests.get(f"{ca.url}/ocsp/%%%", timeout=5).status_code == 400
    assert requests.post(f"{ca.url}/ocsp", data=b"x" * 5000, timeout=5).status_code == 400
    assert requests.post(f"{ca.url}/ca/root.crt", timeout=5).status_code == 405
    assert requests.get(f"{ca.url}/healthz", timeout=5).json() == {"status": "ok"}
    assert requests.get(f"{ca.url}/healthz", headers={"Host": "ca.example.org"}, timeout=5).status_code == 421


def test_the_command_serves_until_sigterm_and_comes_back_with_the_same_root(tmp_path: Path) -> None:
    arguments = ("--state", str(tmp_path / "ca"), "--port", "0", "--public-url", "http://127.0.0.1:8403")
    roots = []
    for _start in range(2):
        with command("devservices.ca_http", *arguments) as service:
            roots.append(requests.get(f"{service.ready}/ca/root.crt", timeout=5).content)
            status, err = service.end()
            assert status == 0
            assert "UnsafeDevelopmentCertificateAuthority" in err
    assert roots[0] == roots[1]
    assert (tmp_path / "ca" / "token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("module", ["devservices.ca_http", "devservices.tsa", "devservices.inbox"])
def test_a_command_explains_itself(module: str) -> None:
    helped = run(module, "--help")
    assert helped.returncode == 0
    assert "--state" in helped.stdout


def test_a_taken_port_and_an_address_of_the_network_end_with_status_2(ca: RunningCa, tmp_path: Path) -> None:
    port = ca.url.rsplit(":", 1)[1]
    taken = run("devservices.ca_http", "--state", str(tmp_path / "ca"), "--port", port)
    assert (taken.returncode, taken.stdout) == (2, "")
    assert f"port {port} on 127.0.0.1 is taken" in taken.stderr
    assert not (tmp_path / "ca").exists()
    outside = run("devservices.ca_http", "--state", str(tmp_path / "ca"), "--host", "0.0.0.0")
    assert outside.returncode == 2
    assert "not loopback" in outside.stderr


def test_init_only_makes_the_state_and_ends(tmp_path: Path) -> None:
    made = run("devservices.ca_http", "--state", str(tmp_path / "ca"), "--init-only")
    assert (made.returncode, made.stdout) == (0, "")
    names = {path.name for path in (tmp_path / "ca").iterdir()}
    assert names >= {"root.crt", "root.key", "issuing.crt", "issuing.key", "ocsp.crt", "ocsp.key", "token"}
    nowhere = run("devservices.ca_http", "--state", str(tmp_path / "ca2"), "--init-only", "--port", "0")
    assert nowhere.returncode == 2
