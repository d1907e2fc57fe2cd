"""Every kind of key with every signature algorithm, hash function and size of request, over a real token.

What fits is verified by an independent peer (``openssl pkeyutl``); what does not fit is refused and makes no value.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract.order import CreateParameters
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkRefused
from signing.link.messages import CredentialView
from signing.sam.algorithms import ECDSA_HASHES, KEY_PROFILES, PKCS1_HASHES, RSA_ENCRYPTION, RSASSA_PSS, pss_parameters
from tests.fakes.sam import ALICE
from tests.integration.sam_site import Site, make_site

pytestmark = [pytest.mark.full, pytest.mark.hsm, pytest.mark.postgres, pytest.mark.timeout(1800)]
HASHES = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
SIZES = (1, 7, 100)


@dataclass(frozen=True)
class Algorithm:
    """A way to ask: ``signAlgo``, its parameters, and the hash function."""

    oid: str
    hash_alg: str
    scheme: str
    parameters: bytes | None = None
    hash_named: bool = False


ALGORITHMS = (
    *(Algorithm(oid, hash_alg, "ecdsa") for oid, hash_alg in ECDSA_HASHES.items()),
    *(Algorithm(oid, hash_alg, "rsa-pkcs1-v1_5") for oid, hash_alg in PKCS1_HASHES.items()),
    *(Algorithm(RSA_ENCRYPTION, hash_alg, "rsa-pkcs1-v1_5", hash_named=True) for hash_alg in HASHES),
    *(Algorithm(RSASSA_PSS, hash_alg, "rsa-pss", pss_parameters(hash_alg)) for hash_alg in HASHES),
)


@dataclass(frozen=True)
class Desk:
    """A running module with a credential of every kind."""

    site: Site
    client: SamClient
    credentials: dict[str, CredentialView]
    directory: Path


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def desk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server: object
) -> Iterator[Desk]:
    directory = tmp_path_factory.mktemp("matrix")
    if request.param == "sqlite":
        yield from serve(directory, f"sqlite:///{directory / 'sam.sqlite'}")
    else:
        with postgres_server.fresh_database() as url:  # type: ignore[attr-defined] # tests.postgres.PostgresServer
            yield from serve(directory, url)


def serve(directory: Path, url: str) -> Iterator[Desk]:
    site = make_site(directory, url)
    config = site.write_config()
    with config.open("a") as handle:
        handle.writelines(f'[profiles."{name}"]\nkey = "{name}"\n' for name in KEY_PROFILES)
    site.run("sam", "init", "--config", str(config))
    with site.serving(), SamClient(site.socket(), timeout_seconds=60) as client:
        made = {}
        for name in KEY_PROFILES:
            order = site.now_world().order_token(parameters=CreateParameters(name, ALICE))
            created = client.create_credential(order)
            chain = (site.authority.issue(created.pkcs10),)
            made[name] = client.link_certificate(created.credential.credential_id, chain)
        yield Desk(site, client, made, directory)


def digests(hash_alg: str, count: int) -> tuple[bytes, ...]:
    return tuple(hashlib.new(HASHES[hash_alg], f"document {number}".encode()).digest() for number in range(count))


def verified_by_openssl(desk: Desk, view: CredentialView, algorithm: Algorithm, digest: bytes, value: bytes) -> bool:
    public = x509.load_der_x509_certificate(view.certificates[0]).public_key()
    files = {name: desk.directory / name for name in ("public.pem", "digest", "value")}
    files["public.pem"].write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    files["digest"].write_bytes(digest)
    files["value"].write_bytes(value)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(files["public.pem"]), "-in"]
    command += [str(files["digest"]), "-sigfile", str(files["value"])]
    if algorithm.scheme != "ecdsa":
        padding = "pss" if algorithm.scheme == "rsa-pss" else "pkcs1"
        command += ["-pkeyopt", f"rsa_padding_mode:{padding}", "-pkeyopt", f"digest:{HASHES[algorithm.hash_alg]}"]
        if padding == "pss":
            command += ["-pkeyopt", "rsa_pss_saltlen:digest"]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda item: f"{item.oid}-{HASHES[item.hash_alg]}")
@pytest.mark.parametrize("profile", sorted(KEY_PROFILES))
def test_SAD_04_SIG_08_a_key_serves_its_own_scheme_and_no_other(
    desk: Desk, profile: str, algorithm: Algorithm, count: int
) -> None:
    view = desk.credentials[profile]
    wanted = digests(algorithm.hash_alg, count)
    request = replace(
        desk.site.request(desk.site.sad(view, wanted, hash_alg=algorithm.hash_alg)),
        sign_algo=algorithm.oid,
        sign_algo_params=algorithm.parameters,
        hash_alg=algorithm.hash_alg if algorithm.hash_named else None,
    )
    if algorithm.scheme not in view.schemes:
        with pytest.raises(LinkRefused) as refused:
            desk.client.sign(request)
        assert refused.value.refusal == codes.ALGORITHM_NOT_ALLOWED
        return
    values = desk.client.sign(request)
    assert len(values) == count
    for digest, value in list(zip(wanted, values, strict=True))[:: max(1, count // 5)]:
        assert verified_by_openssl(desk, view, algorithm, digest, value)
        altered = bytes([digest[0] ^ 1]) + digest[1:]
        assert not verified_by_openssl(desk, view, algorithm, altered, value)
