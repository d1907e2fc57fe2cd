"""What operators have done with the module: operations that they signed, each carried out once.

==================== ========= =========================================================================
operation            operators parameters
==================== ========= =========================================================================
credential.suspend   1         ``credential_id``
credential.resume    2         ``credential_id``
credential.revoke    1         ``credential_id``
credential.delete    2         ``credential_id``
credential.set_floor 1 or 2    ``credential_id`` and what of the floor changes; 2 where anything gets lower
credential           2         ``credential_id`` and, in place of all its proof keys, ``proof_key``; without, it has
.set_proof_key                 none
credential.import    2         see :mod:`signing.sam.imports`
kek.rewrap           1         ``kek_id``; in steps, by :mod:`signing.sam.rewrap`
operator.enrol       2         ``jwk``: the new operator's public key
operator.retire      2         ``thumbprint``; two operators have to be left
ledger.restore       2         none
==================== ========= =========================================================================

Who the operators are, and which operations were carried out, stands in the anchor on the token: a database that was
set back brings neither a retired operator back nor an operation.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, cast

from auditlog.chain import Fields
from contract import operation as operations
from contract import proof_key
from contract.errors import OperationInvalid, OperationUnderSigned, ProofInvalid
from contract.operation import Operation, operator_key
from contract.order import Operation as CredentialOperation
from contract.proof_key import DeviceKey
from contract.sad import LOA_ORDER, LoA
from foundation import claims as read
from foundation import log
from foundation.clock import Clock, epoch
from foundation.errors import JoseError
from signing.sam import events
from signing.sam.anchor import MAX_OPERATORS, Anchor, with_used
from signing.sam.credential import LONGEST_SAD_SECONDS, MOST_SIGNATURES_PER_DAY, Credential, Floor
from signing.sam.custody import Custody
from signing.sam.errors import (
    CommitUnknown,
    CredentialDisabled,
    OperationRefused,
    OperationUsed,
    OrderUsed,
    SamError,
    StoreUnavailable,
)
from signing.sam.imports import parse_import
from signing.sam.lifecycle import CHANGES, Lifecycle, after_change, proof_fields, with_proof_keys
from signing.sam.ports import device_errors
from signing.sam.proof_keys import check_key
from signing.sam.refusals import RefusalBudget
from signing.sam.rollback import Effect
from signing.sam.store import Record, SpentOrder, Store
from signing.sam.verify import TWO_CATEGORIES, SamPolicy

OPERATORS: Final = "operators"
"""In the place of an issuer, where an operation stands for an order."""
RESTORE: Final = "ledger.restore"
IMPORT: Final = "credential.import"
REWRAP: Final = "kek.rewrap"
IN_STEPS: Final = frozenset({REWRAP})
"""What :meth:`Operators.permit` is for."""
_NARROWING: Final = frozenset({"suspended", "revoked"})
"""What one operator may make of a credential: it signs less, and its key is kept."""
LEFT: Final = 2
"""Operators that have to be left: with fewer nothing that takes two could be done any more."""
_FLOOR: Final = frozenset(
    {
        "loa",
        "min_categories",
        "max_sad_seconds",
        "max_evidence_age_seconds",
        "phishing_resistant",
        "max_signatures_per_day",
        "signer_proof",
    }
)
_MAX_SECONDS: Final = 31_536_000

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """What an operation did."""

    operation: str
    signers: tuple[str, ...]
    credential: Credential | None = None
    epoch: int | None = None
    """Number of the ledger's epoch, where it was raised."""


@dataclass(frozen=True, slots=True)
class _Signed:
    operation: Operation
    known: Anchor
    """The anchor whose operators signed it."""
    spent: SpentOrder
    now: datetime

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.operation.parameters

    def need(self, operators: int) -> None:
        """:raises OperationUnderSigned: fewer have signed."""
        if len(self.operation.signers) < operators:
            raise OperationUnderSigned(f"{self.operation.operation} takes {operators} operators here")

    def used(self, anchor: Anchor) -> Anchor:
        """The effect of having been carried out."""
        operation = self.operation
        return with_used(anchor, operation.jti, operation.exp, operation.signers, epoch(self.now))


class Operators:
    """Carries operations out.  Thread-safe."""

    def __init__(
        self,
        store: Store,
        policy: SamPolicy,
        *,
        custody: Custody,
        lifecycle: Lifecycle,
        clock: Clock,
        refusals: RefusalBudget | None = None,
    ) -> None:
        self._store = store
        self._policy = policy
        self._custody = custody
        self._anchor = custody.anchor
        self._lifecycle = lifecycle
        self._clock = clock
        self._refusals = RefusalBudget() if refusals is None else refusals
        self._carriers: dict[str, Callable[[_Signed], Done]] = {
            **dict.fromkeys(CHANGES, self._change),
            "credential.set_floor": self._set_floor,
            "credential.set_proof_key": self._set_proof_key,
            IMPORT: self._import,
            "operator.enrol": self._enrol,
            "operator.retire": self._retire,
            RESTORE: self._restore,
        }

    def execute(self, bundle: str) -> Done:
        """Carry an operation out.

        :raises OperationInvalid: form, signatures, or too few of them; also expired.
        :raises OperationRefused: not for this module, not of an operation that there is, or not one that can be done.
        :raises OperationUsed: it has been carried out.
        :raises SamError: what the operation acts on does not allow it.
        """
        now = self._clock.now()
        try:
            signed = self._verified(bundle, now)
            if signed.operation.operation in IN_STEPS:
                raise OperationRefused("the operation is carried out in steps, by a command of its own")
            return self._carriers[signed.operation.operation](signed)
        except OrderUsed as error:
            refusal: OperationInvalid | SamError = OperationUsed("the operation has been carried out")
            self._note_refusal(bundle, refusal, now)
            raise refusal from error
        except (OperationInvalid, SamError) as error:
            self._note_refusal(bundle, error, now)
            raise

    def permit(self, bundle: str, name: str, members: Collection[str]) -> Operation:
        """Verify an operation that is carried out in many steps, and again when it was broken off.

        For what does nothing twice only: the operation serves as often as it is shown within its time.

        :param members: of its parameters, texts all of them.
        :raises OperationInvalid: form, signatures; also expired.
        :raises OperationRefused: not for this module, or another operation.
        """
        now = self._clock.now()
        try:
            signed = self._verified(bundle, now)
            if signed.operation.operation != name:
                raise OperationRefused("the operation is another one")
            _members(signed, members)
            for member in members:
                _text(signed, member)
        except (OperationInvalid, SamError) as error:
            self._note_refusal(bundle, error, now)
            raise
        return signed.operation

    def _verified(self, bundle: str, now: datetime) -> _Signed:
        # 1. Signed by operators whom the token names, whatever the database says.
        known = self._anchor.latest()
        operation = operations.verify(bundle, known.operators, 1)
        # 2. For this module, in its time, and not from before the last restore.
        if operation.aud != self._policy.sam_id:
            raise OperationRefused("the operation is for another module")
        operations.check_time(operation, now, self._policy.max_operation_seconds)
        if operation.iat < known.epoch.not_before:
            raise OperationRefused("the operation was issued before the ledger's epoch")
        # 3. Something that there is; how many it takes is looked at with what it would do.
        if operation.operation not in {*self._carriers, *IN_STEPS}:
            raise OperationRefused("there is no such operation")
        spent = SpentOrder(
            issuer=OPERATORS,
            jti=operation.jti,
            token_sha256=hashlib.sha256(bundle.encode()).hexdigest(),
            operation=operation.operation,
            credential_id="",
            used_at=epoch(now),
        )
        return _Signed(operation, known, spent, now)

    def _change(self, signed: _Signed) -> Done:
        change = CHANGES[cast("CredentialOperation", signed.operation.operation)]
        signed.need(1 if change.after in _NARROWING else 2)
        _members(signed, {"credential_id"})
        credential = self._credential(signed)
        changed = after_change(credential, change, signed.operation.jti, signed.now)
        return self._written(signed, changed, change.event, {}, before=credential)

    def _set_floor(self, signed: _Signed) -> Done:
        _members(signed, {"credential_id"}, _FLOOR)
        credential = self._credential(signed)
        floor = _floor(signed.parameters, credential)
        signed.need(1 if _only_raises(credential.floor, floor) else 2)
        if credential.status == "deleted":
            raise CredentialDisabled("a deleted credential has no use for a floor")
        changed = replace(credential, floor=floor, policy=signed.operation.jti, version=credential.version + 1)
        shown = [f"{name}={getattr(floor, name)}" for name in sorted(_FLOOR)]
        return self._written(signed, changed, events.CREDENTIAL_FLOOR_SET, {"floor": shown})

    def _set_proof_key(self, signed: _Signed) -> Done:
        """In place of a proof by a key that is there: somebody has lost their device."""
        signed.need(2)
        _members(signed, {"credential_id"}, {"proof_key"})
        credential, key = self._credential(signed), _proof_key(signed.parameters)
        if key is not None:
            check_key(key, self._policy.proof)
        if credential.status in {"revoked", "deleted"}:
            raise CredentialDisabled("a credential whose end has come has no use for a proof key")
        keys = () if key is None else (proof_key.octets(key),)
        after = with_proof_keys(credential, keys, signed.operation.jti)
        return self._written(signed, after, events.CREDENTIAL_PROOF_KEYS, proof_fields(after, key, None))

    def _import(self, signed: _Signed) -> Done:
        signed.need(2)
        # Before the device signs a request: what was carried out asks nothing of it again.
        signed.used(signed.known)
        self._custody.epoch(self._store.epoch())
        operation = signed.operation
        wanted = parse_import(signed.parameters)
        made = self._lifecycle.adopt(wanted, signed.spent, operation.signers, signed.used, signed.now)
        return Done(operation.operation, operation.signers, credential=made)

    def _enrol(self, signed: _Signed) -> Done:
        signed.need(2)
        _members(signed, {"jwk"})
        jwk = signed.parameters["jwk"]
        if not isinstance(jwk, dict):
            raise OperationRefused("the new operator's key is no JWK")
        key = operator_key(jwk)

        def enrolled(anchor: Anchor) -> Anchor:
            if key.kid in {each.kid for each in anchor.operators}:
                raise OperationRefused("the key is an operator's already")
            if len(anchor.operators) >= MAX_OPERATORS:
                raise OperationRefused(f"there are {MAX_OPERATORS} operators")
            return replace(anchor, operators=(*anchor.operators, key))

        return self._operators(signed, enrolled, events.OPERATOR_ENROLLED, key.kid)

    def _retire(self, signed: _Signed) -> Done:
        signed.need(2)
        _members(signed, {"thumbprint"})
        thumbprint = _text(signed, "thumbprint")

        def retired(anchor: Anchor) -> Anchor:
            left = tuple(each for each in anchor.operators if each.kid != thumbprint)
            if len(left) == len(anchor.operators):
                raise OperationRefused("there is no such operator")
            if len(left) < LEFT:
                raise OperationRefused(f"fewer than {LEFT} operators would be left")
            return replace(anchor, operators=left)

        return self._operators(signed, retired, events.OPERATOR_RETIRED, thumbprint)

    def _restore(self, signed: _Signed) -> Done:
        signed.need(2)
        _members(signed, ())
        operation = signed.operation
        fields: Fields = {"operation": operation.jti, "signers": list(operation.signers)}
        with device_errors(), self._anchor.changing(signed.used, restoring=True) as anchoring:
            raised = self._store.raise_epoch(
                signed.now, after=signed.known.epoch, order=signed.spent, fields=fields, anchoring=anchoring
            )
        _log.critical("the ledger was restored by operators", extra={"fields": {**fields, "epoch": raised.number}})
        return Done(operation.operation, operation.signers, epoch=raised.number)

    # Inside

    def _credential(self, signed: _Signed) -> Credential:
        self._custody.epoch(self._store.epoch())
        return self._lifecycle.credential(_text(signed, "credential_id"))

    def _written(
        self, signed: _Signed, changed: Credential, event: str, more: Fields, before: Credential | None = None
    ) -> Done:
        operation = signed.operation
        fields: Fields = {
            "credential_id": changed.id,
            "owner": changed.owner,
            "version": changed.version,
            "issuer": OPERATORS,
            "order": operation.jti,
            "decision": " ".join(operation.signers),
            **more,
        }
        spent = replace(signed.spent, credential_id=changed.id)
        self._lifecycle.write(changed, Record(event, fields, signed.now), spent, signed.used, before=before)
        return Done(operation.operation, operation.signers, credential=changed)

    def _operators(self, signed: _Signed, effect: Effect, event: str, thumbprint: str) -> Done:
        operation = signed.operation
        count = len(effect(signed.known).operators)
        fields: Fields = {
            "operator": thumbprint,
            "operators": count,
            "operation": operation.jti,
            "signers": list(operation.signers),
        }
        record = Record(event, fields, signed.now)
        with (
            device_errors(),
            self._anchor.changing(lambda anchor: effect(signed.used(anchor))) as anchoring,
        ):
            if self._store.spend_order(signed.spent, record, anchoring) is not None:
                raise OperationUsed("the operation has been carried out")
        return Done(operation.operation, operation.signers)

    def _note_refusal(self, bundle: str, refusal: OperationInvalid | SamError, now: datetime) -> None:
        fields: dict[str, Any] = {"code": refusal.code, "reason": str(refusal), **_claimed(bundle)}
        _log.warning("an operators' operation was refused", extra={"fields": fields})
        if isinstance(refusal, (StoreUnavailable, CommitUnknown)) or not self._refusals.take(now):
            return
        try:
            self._store.note(Record(events.OPERATION_REFUSED, fields, now))
        except (StoreUnavailable, CommitUnknown):
            _log.error("a refusal could not be recorded", extra={"fields": fields})


def _claimed(bundle: str) -> dict[str, Any]:
    """What an operation says of itself, where it can be read."""
    try:
        found = operations.peek(bundle)
    except OperationInvalid:
        return {}
    return {"name": found.operation, "operation": found.jti, "signers": list(found.signers)}


def _members(signed: _Signed, required: Any, optional: Any = ()) -> None:
    try:
        read.check_members(signed.parameters, required, optional)
    except JoseError as error:
        raise OperationRefused(f"the parameters: {error}") from error


def _text(signed: _Signed, name: str) -> str:
    try:
        return read.text(signed.parameters, name, max_length=128)
    except JoseError as error:
        raise OperationRefused(f"the parameters: {error}") from error


def _floor(parameters: Mapping[str, Any], credential: Credential) -> Floor:
    """The credential's floor with what the operation changes in it."""
    before = credential.floor
    least = TWO_CATEGORIES if credential.scal == "2" else 1
    changes = {name: parameters[name] for name in _FLOOR if name in parameters}
    if not changes:
        raise OperationRefused("the operation changes nothing of the floor")
    wanted = {name: changes.get(name, getattr(before, name)) for name in _FLOOR}
    try:
        loa = read.text(wanted, "loa", max_length=16)
        if loa not in LOA_ORDER:
            raise OperationRefused("there is no such level")
        return Floor(
            loa=cast("LoA", loa),
            min_categories=read.integer(wanted, "min_categories", low=least, high=3),
            max_sad_seconds=read.integer(wanted, "max_sad_seconds", low=1, high=LONGEST_SAD_SECONDS),
            max_evidence_age_seconds=read.integer(wanted, "max_evidence_age_seconds", low=1, high=_MAX_SECONDS),
            phishing_resistant=read.boolean(wanted, "phishing_resistant"),
            max_signatures_per_day=read.integer(wanted, "max_signatures_per_day", low=0, high=MOST_SIGNATURES_PER_DAY),
            signer_proof=read.boolean(wanted, "signer_proof"),
        )
    except JoseError as error:
        raise OperationRefused(f"the parameters: {error}") from error


def _proof_key(parameters: Mapping[str, Any]) -> DeviceKey | None:
    if "proof_key" not in parameters:
        return None
    try:
        return proof_key.from_json(read.mapping(parameters, "proof_key"))
    except (JoseError, ProofInvalid) as error:
        raise OperationRefused(f"the parameters: {error}") from error


def _only_raises(before: Floor, after: Floor) -> bool:
    return (
        LOA_ORDER[after.loa] >= LOA_ORDER[before.loa]
        and after.min_categories >= before.min_categories
        and after.max_sad_seconds <= before.max_sad_seconds
        and after.max_evidence_age_seconds <= before.max_evidence_age_seconds
        and after.phishing_resistant >= before.phishing_resistant
        and _per_day(after) <= _per_day(before)
        and after.signer_proof >= before.signer_proof
    )


def _per_day(floor: Floor) -> float:
    return floor.max_signatures_per_day or math.inf
