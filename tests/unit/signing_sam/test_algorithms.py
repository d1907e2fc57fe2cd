"""Object identifiers and parameters, compared with what another library makes of them."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
from asn1crypto import algos

from foundation.der import der
from signing.sam.algorithms import (
    KEY_PROFILES,
    SHA256,
    SHA384,
    SHA512,
    SignatureAlgorithm,
    algorithm_identifier,
    pss_parameters,
    signature_algorithm,
)
from signing.sam.errors import AlgorithmNotAllowed
from signing.sam_settings import ProfileSettings

NAMES = {SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}
LENGTHS = {SHA256: 32, SHA384: 48, SHA512: 64}
PSS = "1.2.840.113549.1.1.10"


@pytest.mark.parametrize("hash_alg", NAMES)
def test_pss_parameters_are_those_of_rfc_4055(hash_alg: str) -> None:
    native = algos.RSASSAPSSParams.load(pss_parameters(hash_alg), strict=True).native
    assert native["hash_algorithm"]["algorithm"] == NAMES[hash_alg]
    assert native["mask_gen_algorithm"]["algorithm"] == "mgf1"
    assert native["mask_gen_algorithm"]["parameters"]["algorithm"] == NAMES[hash_alg]
    assert native["salt_length"] == LENGTHS[hash_alg]
    algorithm = signature_algorithm(PSS, pss_parameters(hash_alg), None, KEY_PROFILES["rsa-3072-pss"])
    assert algorithm == SignatureAlgorithm("rsa-pss", hash_alg, LENGTHS[hash_alg])


def test_pss_parameters_as_another_library_encodes_them_are_accepted() -> None:
    other = algos.RSASSAPSSParams(
        {
            "hash_algorithm": {"algorithm": "sha256"},
            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
            "salt_length": 32,
        }
    ).dump()
    assert signature_algorithm(PSS, other, SHA256, KEY_PROFILES["rsa-3072-pss"]).hash_alg == SHA256


@pytest.mark.parametrize(
    "parameters",
    [
        {"mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha1"}}},
        {"salt_length": 20},
        {"salt_length": 0},
        {"hash_algorithm": {"algorithm": "sha1"}},
        {"trailer_field": 2},
    ],
)
def test_SAD_04_other_pss_parameters_are_refused(parameters: dict[str, object]) -> None:
    right: dict[str, object] = {
        "hash_algorithm": {"algorithm": "sha256"},
        "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
        "salt_length": 32,
    }
    with pytest.raises(AlgorithmNotAllowed):
        signature_algorithm(PSS, algos.RSASSAPSSParams(right | parameters).dump(), None, KEY_PROFILES["rsa-3072-pss"])


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [
        (SignatureAlgorithm("ecdsa", SHA256), "sha256_ecdsa"),
        (SignatureAlgorithm("ecdsa", SHA384), "sha384_ecdsa"),
        (SignatureAlgorithm("rsa-pkcs1-v1_5", SHA512), "sha512_rsa"),
        (SignatureAlgorithm("rsa-pss", SHA256, 32), "rsassa_pss"),
    ],
)
def test_algorithm_identifiers_are_those_of_the_standards(algorithm: SignatureAlgorithm, name: str) -> None:
    parsed = algos.SignedDigestAlgorithm.load(algorithm_identifier(algorithm), strict=True)
    assert parsed["algorithm"].native == name


@pytest.mark.parametrize(("octets", "head"), [(0x7F, "047f"), (0x80, "048180"), (0x100, "04820100")])
def test_der_lengths_are_in_their_shortest_form(octets: int, head: str) -> None:
    assert der(4, bytes(octets)).hex().startswith(head)


def test_the_settings_know_every_kind_of_key() -> None:
    hints = get_type_hints(ProfileSettings)
    assert set(get_args(hints["key"])) == set(KEY_PROFILES)
