"""Which devices approve with a credential: bound with it or by an order, and changed with a proof by one that is there.

Two operators may change them too (:mod:`signing.sam.operators`): a person who lost every device has no proof to give.
"""

from __future__ import annotations

from datetime import datetime

from contract import proof_key
from contract.errors import ProofInvalid
from contract.order import ProofKeyParameters
from contract.proof_key import MAX_KEYS, Change, DeviceKey
from signing.sam.credential import Credential
from signing.sam.errors import CredentialDisabled, OrderRefused, ProofMissing, ProofRefused
from signing.sam.proof import ProofPolicy, bound_key, keys_of


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


def _check_agreed(
    credential: Credential, wanted: ProofKeyParameters, policy: ProofPolicy | None, service: str, now: datetime
) -> None:
    if wanted.proof is None:
        raise ProofMissing("the credential has a proof key: a change takes its proof, or two operators")
    change = Change(service, credential.id, wanted.added, wanted.removed)
    try:
        trusted = bound_key(wanted.proof, credential, policy)
        proof_key.verify_change(wanted.proof, change, trusted.trusted(), now)
    except ProofInvalid as error:
        raise ProofRefused(str(error)) from error
