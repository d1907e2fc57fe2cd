"""Operators' operations against the published vectors, and what an encoder refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract import operation as operations
from contract.errors import OperationExpired, OperationInvalid, OperationUnderSigned
from contract.operation import LEEWAY_SECONDS, MAX_SIGNATURES, operator_key
from foundation.clock import from_epoch
from foundation.jose import (
    VerificationKey,
    decode_base64url,
    encode_base64url,
    generate_signing_key,
    import_verification_key,
    sign_payload,
)
from tests.vectors.operation import make
from tests.vectors.operation.make import IAT, ONE, OPERATION, STRANGER, TWO

FOLDER = Path(make.__file__).parent
VALID = sorted((FOLDER / "valid").glob("*.json"))
INVALID = sorted((FOLDER / "invalid").glob("*.json"))
SMALL_ORDER = (
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
)
"""y of the points of order 8; those of lower order have 0, 1 and -1."""
BOTH = tuple(operator_key(jwk) for jwk in json.loads((FOLDER / "operators.json").read_text())["keys"])


def load(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def test_the_vectors_are_those_that_the_script_makes() -> None:
    assert {path.stem for path in VALID} == {name for name, *_rest in make.valid()}
    assert {path.stem for path in INVALID} == {name for name, *_rest in make.invalid()}
    assert all(load(path)["reason"] for path in (*VALID, *INVALID))


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_vector_is_verified_to_its_content_and_its_signers(path: Path) -> None:
    vector = load(path)
    found = operations.verify(vector["bundle"], BOTH, vector["needed"])
    assert {name: getattr(found, name) for name in make.CLAIMS} == vector["claims"]
    assert list(found.signers) == vector["signers"]
    assert operations.peek(vector["bundle"]) == found


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_vector_is_refused(path: Path) -> None:
    vector = load(path)
    with pytest.raises(OperationInvalid):
        operations.verify(vector["bundle"], BOTH, vector["needed"])


def test_ADM_01_one_operator_is_not_two() -> None:
    bundle = operations.sign(OPERATION, ONE)
    with pytest.raises(OperationUnderSigned):
        operations.verify(bundle, BOTH, 2)
    with pytest.raises(OperationInvalid, match="already"):
        operations.add_signature(bundle, ONE)
    assert operations.verify(operations.add_signature(bundle, TWO), BOTH, 2).signers == (ONE.kid, TWO.kid)


def test_ADM_01_a_key_enrolled_under_two_names_is_one_operator() -> None:
    other_name = replace(ONE.verification_key(), kid=TWO.kid)
    with pytest.raises(OperationInvalid):
        operations.verify(operations.add_signature(operations.sign(OPERATION, ONE), TWO), [BOTH[0], other_name], 2)


@pytest.mark.parametrize("coordinate", ["x", "y"])
def test_ADM_01_a_key_written_in_another_way_is_the_same_operator(coordinate: str) -> None:
    jwk = ONE.verification_key().as_jwk()
    padded = encode_base64url(b"\0" + decode_base64url(jwk[coordinate].encode()))
    again = operator_key({**jwk, coordinate: padded, "kid": "another", "note": "for the anchor to hold"})
    assert again.kid == ONE.kid
    assert again.key.as_dict(private=False) == operator_key(jwk).key.as_dict(private=False)
    bundle = json.loads(operations.sign(OPERATION, ONE))
    payload = decode_base64url(bundle["payload"].encode())
    as_another = replace(ONE, kid=import_verification_key({**jwk, coordinate: padded, "kid": ""}).kid)
    protected, _payload, signature = sign_payload(payload, as_another, operations.OPERATION_TYPE).split(".")
    bundle["signatures"].append({"protected": protected, "signature": signature})
    with pytest.raises(OperationInvalid):
        operations.verify(json.dumps(bundle), [operator_key(jwk), again], 2)


@pytest.mark.parametrize("sign", [0, 2**255])
@pytest.mark.parametrize("y", [0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18, *SMALL_ORDER])
def test_ADM_01_a_key_under_which_anybody_signs_is_no_operators(y: int, sign: int) -> None:
    x = encode_base64url((y + sign).to_bytes(32, "little"))
    with pytest.raises(OperationInvalid):
        operator_key({"kty": "OKP", "crv": "Ed25519", "x": x})


def test_nobody_is_not_enough() -> None:
    with pytest.raises(ValueError, match="nobody"):
        operations.verify(operations.sign(OPERATION, ONE), BOTH, 0)
    with pytest.raises(OperationInvalid):
        operations.verify(operations.sign(OPERATION, ONE), (), 1)


def test_who_cosigns_signs_the_octets_of_the_first_whatever_wrote_them() -> None:
    payload = json.dumps(make.CLAIMS, indent=2, sort_keys=True).encode()
    bundle = make.bundle(payload, make.part(payload, ONE))
    assert operations.verify(operations.add_signature(bundle, TWO), BOTH, 2).jti == "jti-1"


def test_a_stranger_may_sign_and_counts_for_nothing() -> None:
    bundle = operations.add_signature(operations.sign(OPERATION, ONE), STRANGER)
    with pytest.raises(OperationInvalid, match="no operator"):
        operations.verify(bundle, BOTH, 1)


def test_a_full_bundle_takes_no_more() -> None:
    bundle = operations.sign(OPERATION, ONE)
    for _ in range(MAX_SIGNATURES - 1):
        bundle = operations.add_signature(bundle, generate_signing_key())
    with pytest.raises(OperationInvalid):
        operations.add_signature(bundle, TWO)


@pytest.mark.parametrize(
    "change",
    [{"exp": IAT}, {"operation": "x"}, {"aud": ""}, {"parameters": {"a": float("nan")}}, {"parameters": {"a": b""}}],
)
def test_what_a_verifier_would_refuse_is_not_signed(change: dict[str, Any]) -> None:
    with pytest.raises(OperationInvalid):
        operations.sign(replace(OPERATION, **change), ONE)


def test_an_rsa_key_is_no_operators() -> None:
    key = generate_signing_key("PS256")
    with pytest.raises(OperationInvalid):
        operations.sign(OPERATION, key)
    with pytest.raises(OperationInvalid):
        operator_key(key.verification_key().as_jwk())
    bundle = operations.sign(OPERATION, ONE)
    with pytest.raises(OperationInvalid):
        operations.verify(bundle, [key.verification_key()], 1)


@pytest.mark.parametrize("data", [b"", {}, {"kty": "oct", "k": "AAAA"}, ONE.key.as_dict(private=True)])
def test_what_is_no_public_key_is_no_operators(data: bytes | dict[str, Any]) -> None:
    with pytest.raises(OperationInvalid):
        operator_key(data)


def test_an_operator_is_known_by_the_thumbprint_whatever_the_jwk_says() -> None:
    key: VerificationKey = operator_key({**ONE.verification_key().as_jwk(), "kid": "chief"})
    assert key.kid == ONE.kid == ONE.key.thumbprint()


def at(seconds: int) -> None:
    operations.check_time(OPERATION, from_epoch(seconds), 600)


def test_exp_is_the_first_second_refused() -> None:
    at(OPERATION.exp - 1)
    with pytest.raises(OperationExpired):
        at(OPERATION.exp)


def test_an_operation_of_the_future_is_refused() -> None:
    at(IAT - LEEWAY_SECONDS)
    with pytest.raises(OperationInvalid):
        at(IAT - LEEWAY_SECONDS - 1)


def test_an_operation_that_lives_too_long_is_refused() -> None:
    with pytest.raises(OperationInvalid):
        operations.check_time(OPERATION, from_epoch(IAT), 599)
