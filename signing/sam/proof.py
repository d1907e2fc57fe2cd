"""The signer's proof in the module: whether a SAD carries one by a device that the credential knows.

With it, whoever holds the issuer's key still signs nothing (``docs/signer-proof.md``).  Which devices are whose stands
under the credential's row MAC; where passkeys approve is laid down by this module's operator, and nothing that a SAD
says changes either.

Source: EN 419 241-1 SRA_SAP.2 (the signer's sole control); WebAuthn Level 3 7.2 for the counter.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from contract import proof as proofs
from contract import proof_key
from contract.errors import ProofInvalid
from contract.order import ProofKeyParameters
from contract.proof import Proof
from contract.proof_key import MAX_KEYS, Change, DeviceKey
from contract.sad import Sad
from foundation.clock import epoch
from signing.sam.credential import Credential
from signing.sam.errors import (
    CredentialDisabled,
    OrderRefused,
    ProofCloned,
    ProofMissing,
    ProofRefused,
    RowAltered,
)

_COUNTER: Final = slice(33, 37)
"""``signCount`` in the authenticator data (WebAuthn Level 3 6.1)."""
_MOST_COUNTED: Final = 100_000
"""Devices whose counter one process remembers; the ones longest unused are forgotten."""


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
        trusted = _bound(proof, credential, policy)
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


def check_key(key: DeviceKey, policy: ProofPolicy | None) -> None:
    """A key that is to be bound could ever prove something.

    :raises OrderRefused: it is a passkey of another place than the operator laid down, or none may be bound.
    """
    if key.form == "webauthn" and (policy is None or not policy.allows(key)):
        raise OrderRefused("the key is for another place than where passkeys approve")


def after_order(
    credential: Credential, wanted: ProofKeyParameters, policy: ProofPolicy | None, service: str, now: datetime
) -> tuple[bytes, ...]:
    """The credential's proof keys after an order of its owner's identity provider.

    The first key is bound on the order alone; from then on nothing changes but with a proof by a key that is there.

    :param service: this module's identifier.
    :raises OrderRefused: no key is there to go, the last one would while proofs are demanded, there is one too many, or
        the new one is there already or may not be bound.
    :raises ProofMissing: :raises ProofRefused: no key that is there has agreed.
    :raises CredentialDisabled: the credential's end has come.
    """
    if wanted.added is not None:
        check_key(wanted.added, policy)
    if credential.proof_keys:
        _check_agreed(credential, wanted, policy, service, now)
    elif wanted.removed is not None or wanted.proof is not None:
        raise OrderRefused("the credential has no proof key to be replaced")
    return _changed(credential, wanted.added, wanted.removed)


def _changed(credential: Credential, added: DeviceKey | None, removed: str | None) -> tuple[bytes, ...]:
    if credential.status in {"revoked", "deleted"}:
        raise CredentialDisabled(f"a credential that is {credential.status} has no use for a proof key")
    known = {key.kid: kept for key, kept in zip(keys_of(credential), credential.proof_keys, strict=True)}
    if removed is not None and known.pop(removed, None) is None:
        raise OrderRefused("the credential has no such proof key")
    if added is not None:
        if added.kid in known:
            raise OrderRefused("the key is bound to the credential already")
        known[added.kid] = proof_key.octets(added)
    if len(known) > MAX_KEYS:
        raise OrderRefused(f"a credential has at most {MAX_KEYS} proof keys")
    if not known and credential.floor.signer_proof:
        # Else whoever holds the issuer's key could bind the next first one.
        raise OrderRefused("the credential demands proofs: its last proof key is only replaced")
    return tuple(known.values())


def _bound(proof: Proof, credential: Credential, policy: ProofPolicy | None) -> DeviceKey:
    found = next((key for key in keys_of(credential) if key.kid == proof.kid), None)
    if found is None:
        raise ProofInvalid("the proof is by a device that is not bound to the credential")
    if found.form == "webauthn" and (policy is None or not policy.allows(found)):
        raise ProofInvalid("the device's passkey is for another place than where passkeys approve now")
    return found


def _check_agreed(
    credential: Credential, wanted: ProofKeyParameters, policy: ProofPolicy | None, service: str, now: datetime
) -> None:
    if wanted.proof is None:
        raise ProofMissing("the credential has a proof key: a change takes its proof, or two operators")
    change = Change(service, credential.id, wanted.added, wanted.removed)
    try:
        trusted = _bound(wanted.proof, credential, policy)
        proof_key.verify_change(wanted.proof, change, trusted.trusted(), now)
    except ProofInvalid as error:
        raise ProofRefused(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Counted:
    count: int
    proof: str
    """SHA-256 of the signature: the same proof may come again, with another part of its digests."""
    seen_at: int


class ProofCounters:
    """The highest counter that each device has shown: a lower one later is a copy's.  Thread-safe.

    In memory: what this process has seen since it started.  A database would know longer, and whoever writes it could
    lower what it knows; a copied key that counts right, or not at all, is seen by neither.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._highest: dict[str, _Counted] = {}

    def take(self, sad: Sad, now: datetime) -> None:
        """Look at the counter of a proof that has been verified, and remember it.

        A proof that was begun before the higher one was seen is not a copy's: a person may approve two things, and
        their signatures be asked for in another order.

        :raises ProofCloned: two proofs with one counter, or one begun later with a lower one.
        """
        if sad.signer_proof is None:
            return
        proof = proofs.from_claim(sad.signer_proof)
        if proof.webauthn is None:
            return
        mine = _Counted(
            int.from_bytes(proof.webauthn.authenticator_data[_COUNTER], "big"),
            hashlib.sha256(proof.signature).hexdigest(),
            epoch(now),
        )
        with self._lock:
            highest = self._highest.get(proof.kid)
            if highest is None or mine.count > highest.count:
                if mine.count:
                    self._highest.pop(proof.kid, None)
                    self._highest[proof.kid] = mine
                    if len(self._highest) > _MOST_COUNTED:
                        del self._highest[next(iter(self._highest))]
                return
        if mine.proof == highest.proof or (mine.count < highest.count and proof.iat <= highest.seen_at):
            return
        raise ProofCloned("the device's counter goes back: there may be a copy of its key")
