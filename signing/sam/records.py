"""What the audit chain is told of a signature: its intent, its outcome, and what was refused, repeated or replaced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from auditlog.chain import Fields
from contract.sad import Sad
from signing.sam import events
from signing.sam.errors import SamError
from signing.sam.evidence import sad_record
from signing.sam.ledger import Redemption, Reservation, State
from signing.sam.proof import proof_record
from signing.sam.store import Record
from signing.sam.verify import SignatureRequest


def intent_record(
    sad: Sad,
    request: SignatureRequest,
    reservation: Reservation,
    positions: tuple[int, ...],
    *,
    owner: str,
    scheme: str,
    signed_digests: Sequence[bytes],
    at: datetime,
) -> Record:
    """That a key is about to be used: committed before the device is asked.

    :param positions: of the allowance, those that are spent.
    :param owner: of the credential.
    :param signed_digests: where documents were given: what is signed for them.  Empty: the request's own digests are.
    """
    fields: Fields = {
        "redemption": reservation.id,
        "credential_id": reservation.credential_id,
        "credential_version": reservation.credential_version,
        "owner": owner,
        "client_id": sad.client_id,
        "issuer": sad.iss,
        "txn": sad.txn,
        "jti": sad.jti,
        "hash_alg": sad.hash_alg,
        "scheme": scheme,
        "positions": _numbers(positions),
        "digests": [digest.hex() for digest in request.digests],
        "loa": sad.loa,
        "decision": sad.policy.decision_id,
        "policy_sha256": sad.policy.sha256,
        "epoch": reservation.epoch,
        **sad_record(sad, request.sad),
        **proof_record(sad),
    }
    if signed_digests:
        fields = {**fields, "signed_digests": [digest.hex() for digest in signed_digests]}
    if sad.predecessors:
        fields = {**fields, "supersedes": list(sad.predecessors)}
    return Record(events.SIGNATURE_INTENT, fields, at)


def outcome_record(
    redemption: Reservation | Redemption, *, count: int, state: State, reason: str, at: datetime
) -> Record:
    """The audit record of an outcome."""
    event = {
        State.CONSUMED: events.SIGNATURE_CONSUMED,
        State.RELEASED: events.SIGNATURE_RELEASED,
        State.INDETERMINATE: events.SIGNATURE_INDETERMINATE,
    }[state]
    fields: Fields = {
        "redemption": redemption.id,
        "credential_id": redemption.credential_id,
        "issuer": redemption.issuer,
        "txn": redemption.txn,
        "count": count,
        "reason": reason,
    }
    return Record(event, fields, at)


def refusal_record(sad: Sad, request: SignatureRequest, refusal: SamError, at: datetime) -> Record:
    """That a request was refused whose SAD a pinned issuer had signed."""
    fields: Fields = {
        "code": refusal.code,
        "reason": str(refusal),
        "credential_id": request.credential_id,
        "issuer": sad.iss,
        "txn": sad.txn,
        "jti": sad.jti,
        "client_id": request.client_id,
    }
    return Record(events.SIGNATURE_REFUSED, fields, at)


def repeated_record(sad: Sad, request: SignatureRequest, at: datetime) -> Record:
    """That values which had been made, and not released, may be given."""
    fields: Fields = {
        "credential_id": request.credential_id,
        "issuer": sad.iss,
        "txn": sad.txn,
        "jti": sad.jti,
        "client_id": sad.client_id,
        "count": len(request.digests),
    }
    return Record(events.SIGNATURE_REPEATED, fields, at)


def succeeded_record(sad: Sad, unspent: int, at: datetime) -> Record:
    """That a SAD took the place of those before it.

    :param unspent: signatures that are left of what was approved.
    """
    fields: Fields = {
        "credential_id": sad.credential_id,
        "client_id": sad.client_id,
        "issuer": sad.iss,
        "txn": sad.txn,
        "jti": sad.jti,
        "supersedes": list(sad.predecessors),
        "unspent": unspent,
    }
    return Record(events.SAD_SUCCEEDED, fields, at)


def set_back_record(reservation: Reservation, positions: tuple[int, ...], at: datetime) -> Record:
    """That the ledger gave positions which it had given before."""
    fields: Fields = {
        "redemption": reservation.id,
        "issuer": reservation.issuer,
        "txn": reservation.txn,
        "positions": _numbers(positions),
    }
    return Record(events.LEDGER_SET_BACK, fields, at)


def _numbers(positions: tuple[int, ...]) -> list[str]:
    return [str(position) for position in positions]
