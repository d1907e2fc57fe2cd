"""The signer's proof in the module: whether a SAD carries one by a device that the credential knows.

With it, whoever holds the issuer's key still signs nothing (``docs/signer-proof.md``).  Which devices are whose stands
under the credential's row MAC; where passkeys approve is laid down by this module's operator, and nothing that a SAD
says changes either.

Source: EN 419 241-1 SRA_SAP.2 (the signer's sole control).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from contract import proof as proofs
from contract import proof_key
from contract.errors import ProofInvalid
from contract.proof import Proof
from contract.proof_key import DeviceKey
from contract.sad import Sad
from signing.sam.credential import Credential
from signing.sam.errors import ProofMissing, ProofRefused, RowAltered


@dataclass(frozen=True, slots=True)
class ProofPolicy:
    """Where people approve with a passkey, as this module's operator laid down."""

    rp_id: str
    """Relying party identifier: a domain of its own, never the login's."""
    origins: tuple[str, ...]
    """Scheme, host and port, exactly as browsers write them."""

    def allows(self, key: DeviceKey) -> bool:
        """Whether a passkey is used where it has to be."""
        return key.origin is not None and key.origin.rp_id == self.rp_id and key.origin.origin in self.origins


def demands_proof(credential: Credential) -> bool:
    """Whether nothing is signed without: its floor says so, or its signer has bound a device."""
    return credential.floor.signer_proof or bool(credential.proof_keys)


def keys_of(credential: Credential) -> tuple[DeviceKey, ...]:
    """The devices that the credential knows.

    :raises RowAltered: what is kept of one is not a key in its form.
    """
    try:
        return tuple(proof_key.from_octets(item) for item in credential.proof_keys)
    except ProofInvalid as error:
        raise RowAltered("a proof key of the credential cannot be read") from error


def check_proof(sad: Sad, credential: Credential, policy: ProofPolicy | None, now: datetime) -> None:
    """The SAD carries a proof that the credential's signer gave for exactly this, where one is demanded.

    :raises ProofMissing: it carries none, and the credential demands one.
    :raises ProofRefused: it carries one that is not by a device that is bound, not made where passkeys approve, not
        about this SAD's content, not in its time, or that does not verify.
    """
    # 1. One that nobody could verify is no condition to pass over.
    if sad.signer_proof is None:
        if demands_proof(credential):
            raise ProofMissing("the credential demands a proof by its signer's device, and the SAD carries none")
        return
    # 2. By a device of the credential's.
    try:
        proof = proofs.from_claim(sad.signer_proof)
        trusted = bound_key(proof, credential, policy)
        # 3. About what the SAD is for; digests among it, so a SAD without any has no proof.
        proofs.verify(proof, sad, trusted.trusted(), now)
    except ProofInvalid as error:
        raise ProofRefused(str(error)) from error


def proof_record(sad: Sad) -> dict[str, str]:
    """What the record of a signature says of the proof: the device, and SHA-256 of the claim as RFC 8785 writes it."""
    if sad.signer_proof is None:
        return {}
    claim = json.dumps(sad.signer_proof, sort_keys=True, separators=(",", ":")).encode()
    return {"proof_key": str(sad.signer_proof["kid"]), "proof_sha256": hashlib.sha256(claim).hexdigest()}


def bound_key(proof: Proof, credential: Credential, policy: ProofPolicy | None) -> DeviceKey:
    """The credential's key that a proof says it is by.

    :raises ProofInvalid: it is none of them, or a passkey of another place than where passkeys approve now.
    :raises RowAltered: what is kept of one is not a key in its form.
    """
    found = next((key for key in keys_of(credential) if key.kid == proof.kid), None)
    if found is None:
        raise ProofInvalid("the proof is by a device that is not bound to the credential")
    if found.form == "webauthn" and (policy is None or not policy.allows(found)):
        raise ProofInvalid("the device's passkey is for another place than where passkeys approve now")
    return found
