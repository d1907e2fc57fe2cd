"""The signer's proof against the published vectors, and what its statement says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import proof as proofs
from contract import sad as sads
from contract.assertion import ProofOrigin
from contract.errors import ProofInvalid
from contract.proof import Proof, ProofKey, Statement
from foundation.clock import from_epoch
from foundation.jose import VerificationKey, import_verification_key
from tests.vectors.proof import make
from tests.vectors.sad.make import SAD

FOLDER = Path(make.__file__).parent
VALID = sorted((FOLDER / "valid").glob("*.json"))
INVALID = sorted((FOLDER / "invalid").glob("*.json"))


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    value = json.loads((FOLDER / "keys.json").read_text())
    assert isinstance(value, dict)
    return value


def load(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def verified(vector: dict[str, Any], known: dict[str, Any]) -> proofs.Proved:
    """Verify as the module does, from the files alone."""
    keys: dict[str, VerificationKey] = {key["kid"]: import_verification_key(key) for key in known["keys"]}
    proof = proofs.from_claim(vector["signer_proof"])
    where = ProofOrigin(known["rp_id"], known["origin"]) if proof.form == "webauthn" else None
    trusted = ProofKey(keys[vector["kid"]], where)
    return proofs.verify(proof, sads._from_claims(vector["sad"]), trusted, from_epoch(vector["now"]))


def test_the_vectors_are_those_that_the_script_makes() -> None:
    assert {path.stem for path in VALID} == {vector.name for vector in make.valid()}
    assert {path.stem for path in INVALID} == {vector.name for vector in make.invalid()}
    assert all(load(path)["reason"] for path in (*VALID, *INVALID))


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_vector_verifies(path: Path, known: dict[str, Any]) -> None:
    vector = load(path)
    found = verified(vector, known)
    proof = proofs.from_claim(vector["signer_proof"])
    assert found.form == proof.form
    assert (found.sign_count is None) == (proof.form == "mobile_id")
    assert proofs.to_claim(proof) == vector["signer_proof"]
    statement = proofs.statement_of(sads._from_claims(vector["sad"]), proof)
    assert proofs.statement_octets(statement).hex() == vector["statement"]
    proofs.check_statement(statement)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_SAD_09_an_invalid_vector_is_refused(path: Path, known: dict[str, Any]) -> None:
    with pytest.raises(ProofInvalid):
        verified(load(path), known)


def test_a_login_ceremony_cannot_carry_a_proof() -> None:
    """The same key, the same challenge: made where people log in, it is worth nothing (and the other way round)."""
    login = ProofOrigin("idp.example.org", "https://idp.example.org")
    elsewhere = make.webauthn(said={"origin": login.origin}, data=make.authenticator_data(login.rp_id))
    now = from_epoch(make.NOW)
    key = make.DEVICE.verification_key()
    proofs.verify(elsewhere, SAD, ProofKey(key, login), now)
    with pytest.raises(ProofInvalid):
        proofs.verify(elsewhere, SAD, ProofKey(key, make.WHERE), now)
    with pytest.raises(ProofInvalid):
        proofs.verify(make.webauthn(), SAD, ProofKey(key, login), now)


@pytest.mark.parametrize(("made", "form"), [(make.mobile(), "webauthn"), (make.webauthn(), "mobile_id")])
def test_a_key_is_of_one_form(made: Proof, form: str) -> None:
    with pytest.raises(ProofInvalid, match="another form"):
        proofs.verify(made, SAD, make.trusted(make.DEVICE, form=form), from_epoch(make.NOW))


TEXT = st.text(max_size=12)
DIGESTS = st.lists(st.binary(max_size=6), max_size=4).map(tuple)
STATEMENTS = st.builds(
    Statement,
    service=TEXT,
    txn=TEXT,
    client_id=TEXT,
    credential_id=TEXT,
    hash_alg=TEXT,
    hash_type=st.sampled_from(["dtbsr", "sdr"]),
    digests=DIGESTS,
    display=st.binary(max_size=6),
    iat=st.integers(0, 20),
    exp=st.integers(0, 20),
    decision=st.sampled_from(["approve", "refuse"]),
)


@given(STATEMENTS, STATEMENTS)
def test_no_two_statements_have_the_same_octets(one: Statement, other: Statement) -> None:
    assert (proofs.statement_octets(one) == proofs.statement_octets(other)) == (one == other)


def test_the_challenge_is_the_digest_of_the_statement() -> None:
    statement = proofs.statement_of(SAD, make.blank(make.DEVICE))
    assert proofs.challenge_of(statement) == hashlib.sha256(proofs.statement_octets(statement)).digest()


@pytest.mark.parametrize(
    "changes", [{"digests": ()}, {"digests": (b"short",)}, {"display": b""}, {"hash_alg": "1.2.3"}]
)
def test_a_statement_that_nobody_may_be_asked_to_sign(changes: dict[str, Any]) -> None:
    with pytest.raises(ProofInvalid):
        proofs.check_statement(replace(proofs.statement_of(SAD, make.blank(make.DEVICE)), **changes))
