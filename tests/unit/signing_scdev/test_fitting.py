"""What fits together, and the encodings around raw mechanisms."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from signing.sam.algorithms import KEY_PROFILES, SHA256, SHA384, SHA512, SignatureAlgorithm
from signing.sam.ports import OperationNotPermitted
from signing.scdev.fitting import (
    DIGEST_LENGTHS,
    MAX_DIGESTS,
    check_fits,
    digest_info,
    ecdsa_der,
    ecdsa_input,
    profile_named,
)


def test_SIG_08_hash_functions_offered_are_the_three_of_sha_2() -> None:
    assert {SHA256: 32, SHA384: 48, SHA512: 64} == DIGEST_LENGTHS


@pytest.mark.parametrize(
    ("hash_alg", "name"), [(SHA256, "sha256"), (SHA384, "sha384"), (SHA512, "sha512")]
)
def test_digest_info_is_der_of_the_oid_and_the_digest(hash_alg: str, name: str) -> None:
    digest = hashlib.new(name, b"x").digest()
    info = digest_info(hash_alg, digest)
    assert info[0] == 0x30
    assert info[1] == len(info) - 2
    arc = int(hash_alg.rpartition(".")[2])
    assert bytes.fromhex("0609608648016503040200")[:-1] + bytes([arc]) in info
    assert info.endswith(bytes([0x04, len(digest)]) + digest)


@pytest.mark.parametrize(("profile", "octets"), [("ec-p256", 32), ("ec-p384", 48)])
def test_a_digest_longer_than_the_order_is_cut_to_its_leftmost_octets(profile: str, octets: int) -> None:
    digest = bytes(range(64))
    assert ecdsa_input(KEY_PROFILES[profile], digest) == digest[:octets]
    assert ecdsa_input(KEY_PROFILES[profile], digest[:32]) == digest[:32]


@given(st.integers(1, 2**256 - 1), st.integers(1, 2**256 - 1))
def test_r_and_s_come_back_from_the_der_value(r: int, s: int) -> None:
    assert decode_dss_signature(ecdsa_der(r.to_bytes(32, "big") + s.to_bytes(32, "big"))) == (r, s)


def test_pss_salt_is_the_digests_length_or_left_to_the_device() -> None:
    profile = KEY_PROFILES["rsa-3072-pss"]
    for salt in (None, 32):
        check_fits(profile, SignatureAlgorithm("rsa-pss", SHA256, salt), [bytes(32)])
    for salt in (0, 20, 31, 64):
        with pytest.raises(OperationNotPermitted):
            check_fits(profile, SignatureAlgorithm("rsa-pss", SHA256, salt), [bytes(32)])


def test_as_many_digests_as_one_call_may_have() -> None:
    algorithm = SignatureAlgorithm("ecdsa", SHA256)
    check_fits(KEY_PROFILES["ec-p256"], algorithm, [bytes(32)] * MAX_DIGESTS)
    with pytest.raises(OperationNotPermitted):
        check_fits(KEY_PROFILES["ec-p256"], algorithm, [bytes(32)] * (MAX_DIGESTS + 1))


def test_an_unknown_profile_is_refused_without_repeating_it() -> None:
    with pytest.raises(OperationNotPermitted) as refused:
        profile_named("<script>")
    assert "<script>" not in str(refused.value)
