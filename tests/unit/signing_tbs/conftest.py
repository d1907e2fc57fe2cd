"""Hands that sign in every scheme."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from signing.sam.algorithms import SHA256, SHA384, SHA512, SignatureAlgorithm
from tests.documents import Hand, hand

SCHEMES = ("p256", "p384", "pss", "pkcs1")


@pytest.fixture(scope="session")
def hands() -> dict[str, Hand]:
    """One of each."""
    rsa_key = rsa.generate_private_key(65537, 2048)
    return {
        "p256": hand(ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm("ecdsa", SHA256)),
        "p384": hand(ec.generate_private_key(ec.SECP384R1()), SignatureAlgorithm("ecdsa", SHA384)),
        "pss": hand(rsa_key, SignatureAlgorithm("rsa-pss", SHA256, 32)),
        "pkcs1": hand(rsa_key, SignatureAlgorithm("rsa-pkcs1-v1_5", SHA512)),
    }


@pytest.fixture(params=SCHEMES)
def hand_of_any_kind(request: pytest.FixtureRequest, hands: dict[str, Hand]) -> Hand:
    """Each of them."""
    return hands[request.param]


@pytest.fixture
def alice(hands: dict[str, Hand]) -> Hand:
    """The one on P-256."""
    return hands["p256"]
