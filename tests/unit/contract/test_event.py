"""The security event's codec against the published vectors, and what an encoder refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract import event as events
from contract import order as orders
from contract import sad as sads
from contract.errors import EventInvalid, OrderInvalid, SadInvalid
from contract.event import MAX_EVENT_OCTETS, SCOPES, SUBJECT_LENGTHS
from foundation.jose import VerificationKey, import_verification_key
from tests.vectors.event import make
from tests.vectors.sad.make import IAT, KEY

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
    assert {path.stem for path in VALID} == {name for name, _reason, _event in make.valid()}
    assert {path.stem for path in INVALID} == {name for name, _reason, _token in make.invalid()}
    assert all(load(path)["reason"] for path in (*VALID, *INVALID))


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_vector_decodes_to_its_claims(path: Path, keys: tuple[VerificationKey, ...]) -> None:
    vector = load(path)
    event = events.decode(vector["token"], keys)
    assert events._to_claims(event) == vector["claims"]
    assert {name: event for name, _reason, event in make.valid()}[path.stem] == event


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_vector_is_refused(path: Path, keys: tuple[VerificationKey, ...]) -> None:
    with pytest.raises(EventInvalid):
        events.decode(load(path)["token"], keys)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_SAD_07_an_event_is_neither_a_sad_nor_an_order(path: Path, keys: tuple[VerificationKey, ...]) -> None:
    with pytest.raises(SadInvalid):
        sads.decode(load(path)["token"], keys)
    with pytest.raises(OrderInvalid):
        orders.decode(load(path)["token"], keys)


def test_without_pinned_keys_nothing_is_an_event() -> None:
    with pytest.raises(EventInvalid):
        events.decode(load(VALID[0])["token"], ())


@pytest.mark.parametrize(
    "change", [{"not_before": IAT + 1}, {"subject": ""}, {"jti": "x" * 129}, {"event": "session-ended", "iat": -1}]
)
def test_what_a_decoder_would_refuse_is_not_encoded(change: dict[str, Any]) -> None:
    with pytest.raises(EventInvalid):
        events.encode(replace(make.EVENT, **change), KEY)


def test_the_longest_identifiers_fit_into_an_event() -> None:
    for name, scope in SCOPES.items():
        longest = replace(
            make.EVENT, event=name, iss="i" * 255, aud="a" * 255, jti="j" * 128, subject="s" * SUBJECT_LENGTHS[scope]
        )
        assert len(events.encode(longest, KEY)) < MAX_EVENT_OCTETS / 2
