"""Proof keys and changes of them, against the published vectors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import order as orders
from contract import proof as proofs
from contract import proof_key
from contract.errors import OrderInvalid, ProofInvalid
from contract.order import CreateParameters, ProofKeyParameters
from contract.proof_key import Change, DeviceKey
from foundation.clock import from_epoch
from foundation.jose import sign_compact
from tests.unit.contract.test_order import KEY, KEYS, ORDER, SUBJECT
from tests.vectors.proof.make import DEVICE, EDWARDS, blank
from tests.vectors.proof_key import make

FOLDER = Path(make.__file__).parent
VALID = sorted((FOLDER / "valid").glob("*.json"))
INVALID = sorted((FOLDER / "invalid").glob("*.json"))


def verified(path: Path) -> proofs.Proved:
    """Verify as the module does, from the file alone."""
    vector = json.loads(path.read_text(encoding="utf-8"))
    said = vector["change"]
    added = None if said["added"] is None else proof_key.from_json(said["added"])
    change = Change(said["service"], said["credential_id"], added, said["removed"])
    proof, trusted = proofs.from_claim(vector["proof"]), proof_key.from_json(vector["trusted"])
    if vector["octets"] is not None:
        assert proof_key.change_octets(change, proof).hex() == vector["octets"]
    return proof_key.verify_change(proof, change, trusted.trusted(), from_epoch(vector["now"]))


def test_the_vectors_are_those_that_the_script_makes() -> None:
    assert {path.stem for path in VALID} == {vector.name for vector in make.valid()}
    assert {path.stem for path in INVALID} == {vector.name for vector in make.invalid()}


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_change_that_a_device_agreed_to(path: Path) -> None:
    assert verified(path).form in path.stem


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_SAD_09_a_change_that_no_device_agreed_to(path: Path) -> None:
    with pytest.raises(ProofInvalid):
        verified(path)


DEVICES = [make.ADDED, make.device(EDWARDS), make.device(where=None), make.device(attestation=None, aaguid=None)]


@pytest.mark.parametrize("key", DEVICES)
def test_a_key_comes_back_as_it_was_written(key: DeviceKey) -> None:
    found = proof_key.from_octets(proof_key.octets(key))
    assert proof_key.octets(found) == proof_key.octets(key)
    assert (found.kid, found.form, found.origin, found.credential_id) == (
        key.kid, key.form, key.origin, key.credential_id,
    )  # fmt: skip


def test_whatever_a_key_is_called_its_name_is_its_thumbprint() -> None:
    value = proof_key.to_json(make.ADDED)
    value["jwk"] |= {"kid": "another", "use": "enc"}
    assert proof_key.from_json(value).kid == make.ADDED.kid


@pytest.mark.parametrize(
    "changes",
    [
        {"form": "sms"},
        {"form": "mobile_id"},
        {"extra": 1},
        {"rp_id": ""},
        {"origin": 1},
        {"credential_id": ""},
        {"credential_id": "A" * 4000},
        {"credential_id": "AAAA" * 350},
        {"credential_id": "=="},
        {"attestation": "Packed!"},
        {"aaguid": "0"},
        {"jwk": {}},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
    ],
)
def test_a_key_that_is_not_in_its_form(changes: dict[str, Any]) -> None:
    with pytest.raises(ProofInvalid):
        proof_key.from_json({**proof_key.to_json(make.ADDED), **changes})


def test_a_private_key_and_one_of_another_kind_are_refused() -> None:
    private = {**proof_key.to_json(make.ADDED), "jwk": DEVICE.key.as_dict(private=True)}
    edwards = {**proof_key.to_json(make.device(where=None)), "jwk": EDWARDS.key.as_dict(private=False)}
    for value in (private, edwards):
        with pytest.raises(ProofInvalid):
            proof_key.from_json(value)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", proof_key.octets(make.ADDED) + b" "])
def test_what_is_kept_has_one_form(data: bytes) -> None:
    with pytest.raises(ProofInvalid):
        proof_key.from_octets(data)


TEXT = st.text(max_size=8)
CHANGES = st.builds(Change, TEXT, TEXT, st.sampled_from([*DEVICES, None]), st.one_of(st.just("gone"), st.just("went")))


@given(CHANGES, CHANGES)
def test_no_two_changes_have_the_same_octets(one: Change, other: Change) -> None:
    at = blank(DEVICE)
    assert (proof_key.change_octets(one, at) == proof_key.change_octets(other, at)) == (one == other)


PARAMETERS = [
    CreateParameters("sole-control", SUBJECT, make.ADDED),
    ProofKeyParameters("credential-1", make.ADDED),
    ProofKeyParameters("credential-1", make.ADDED, DEVICE.kid, make.by_passkey()),
    ProofKeyParameters("credential-1", None, DEVICE.kid, make.by_mobile(change=replace(make.CHANGE, added=None))),
]


def operation_of(parameters: CreateParameters | ProofKeyParameters) -> orders.Operation:
    if isinstance(parameters, CreateParameters):
        return "credential.create"
    return "credential.remove_proof_key" if parameters.added is None else "credential.bind_proof_key"


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_an_order_carries_keys_and_the_proof_for_a_change(parameters: Any) -> None:
    order = replace(ORDER, operation=operation_of(parameters), parameters=parameters)
    found = orders.decode(orders.encode(order, KEY), KEYS).parameters
    assert orders._parameters_to_json(found) == orders._parameters_to_json(parameters)


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("credential.bind_proof_key", {"credential_id": "1"}),
        ("credential.bind_proof_key", {"credential_id": "1", "proof_key": {}}),
        ("credential.bind_proof_key", {"credential_id": "1", "proof_key": "x"}),
        ("credential.remove_proof_key", {"credential_id": "1", "removed": DEVICE.kid}),
        ("credential.remove_proof_key", {"credential_id": "1", "removed": DEVICE.kid, "proof": {"form": "webauthn"}}),
        ("credential.suspend", {"credential_id": "1", "proof_key": proof_key.to_json(make.ADDED)}),
    ],
)
def test_an_order_about_keys_that_is_none(operation: str, parameters: dict[str, Any]) -> None:
    claims = {**orders._to_claims(ORDER), "operation": operation, "parameters": parameters}
    with pytest.raises(OrderInvalid):
        orders.decode(sign_compact(claims, KEY, orders.ORDER_TYPE), KEYS)
