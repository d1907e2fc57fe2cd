"""The SAD's codec against the published vectors, and what an encoder refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract import sad as sads
from contract.digests import HASH_LENGTHS, MAX_DIGESTS
from contract.errors import SadInvalid
from foundation.jose import MAX_TOKEN_OCTETS, VerificationKey, import_verification_key
from tests.vectors.sad import make

FOLDER = Path(make.__file__).parent
VALID = sorted((FOLDER / "valid").glob("*.json"))
INVALID = sorted((FOLDER / "invalid").glob("*.json"))


@pytest.fixture(scope="module")
def keys() -> tuple[VerificationKey, ...]:
    return tuple(import_verification_key(jwk) for jwk in json.loads((FOLDER / "keys.json").read_text())["keys"])


def load(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def test_the_vectors_are_those_that_the_script_makes() -> None:
    assert {path.stem for path in VALID} == {name for name, _reason, _sad in make.valid()}
    assert {path.stem for path in INVALID} == {name for name, _reason, _token in make.invalid()}
    assert all(load(path)["reason"] for path in (*VALID, *INVALID))


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_vector_decodes_to_its_claims(path: Path, keys: tuple[VerificationKey, ...]) -> None:
    vector = load(path)
    sad = sads.decode(vector["token"], keys)
    assert sads._to_claims(sad) == vector["claims"]
    assert {name: sad for name, _reason, sad in make.valid()}[path.stem] == sad


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_vector_is_refused(path: Path, keys: tuple[VerificationKey, ...]) -> None:
    with pytest.raises(SadInvalid):
        sads.decode(load(path)["token"], keys)


def test_SAD_07_without_pinned_keys_nothing_is_a_sad() -> None:
    with pytest.raises(SadInvalid):
        sads.decode(load(VALID[0])["token"], ())


@pytest.mark.parametrize(
    "change",
    [{"exp": make.IAT}, {"sign_count": 1}, {"dtbsr": (b"short",)}, {"sub": ""}, {"evidence": ()}, {"hash_alg": "1.2"}],
)
def test_what_a_decoder_would_refuse_is_not_encoded(change: dict[str, Any]) -> None:
    with pytest.raises(SadInvalid):
        sads.encode(replace(make.SAD, **change), make.KEY)


def test_a_sad_over_100_of_the_longest_digests_fits_into_a_token() -> None:
    longest = replace(
        make.SAD,
        hash_alg="2.16.840.1.101.3.4.2.3",
        dtbsr=(b"\xff" * max(HASH_LENGTHS.values()),) * MAX_DIGESTS,
        sign_count=MAX_DIGESTS,
    )
    assert len(sads.encode(longest, make.KEY)) < MAX_TOKEN_OCTETS
    hundred = {name: sad for name, _reason, sad in make.valid()}["hundred-digests"]
    assert len(sads.encode(hundred, make.KEY)) < 8 * 1024
