"""A development CA in a temporary directory and requests to it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from devservices.ca import Issuance, UnsafeDevelopmentCertificateAuthority
from devservices.names import NaturalPerson, name_of
from foundation.clock import FixedClock

PUBLIC_URL = "http://127.0.0.1:8403"

ALICE = NaturalPerson("Alice Example", "Alice", "Example", "PNOBE-00000000097", "BE")


def csr_for(person: NaturalPerson, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A PKCS#10 for a person, signed with the key."""
    builder = x509.CertificateSigningRequestBuilder(name_of(person))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def issuance(key: ec.EllipticCurvePrivateKey, idempotency_key: str = "order-0001") -> Issuance:
    """A request that the CA grants."""
    return Issuance(csr_for(ALICE, key), ALICE, idempotency_key)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC))


@pytest.fixture
def authority(tmp_path: Path, clock: FixedClock) -> UnsafeDevelopmentCertificateAuthority:
    return UnsafeDevelopmentCertificateAuthority(tmp_path / "ca", PUBLIC_URL, clock=clock)


@pytest.fixture
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
