"""What happens to a credential from its order to its deletion.

``pending`` (key and request; the key made here, or brought by operators) → ``active`` (certificate linked) ⇄
``suspended``; any of them → ``revoked``, for good; and each → ``deleted`` (wrapped key removed).  Every change is a new
version under a new MAC, with its audit record in the same transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cryptography import x509

from auditlog.chain import Fields
from contract import proof_key
from contract.order import CreateParameters, Operation, Order, ProofKeyParameters
from contract.proof_key import DeviceKey
from foundation import log
from foundation.clock import Clock, epoch
from signing.sam import events
from signing.sam.algorithms import KEY_PROFILES
from signing.sam.credential import Credential, Origin, Profile, Status
from signing.sam.custody import Custody
from signing.sam.errors import (
    CredentialDisabled,
    OperationRefused,
    OrderRefused,
    OrderUsed,
    UnknownCredential,
    WrongOwner,
)
from signing.sam.imports import ImportParameters, accepting, imported_id, verified_key
from signing.sam.ledger import SpentMemory
from signing.sam.link_certificate import verify_chain
from signing.sam.orders import spent, verify_order
from signing.sam.pkcs10 import certification_request, subject_name
from signing.sam.ports import ON_TOKEN, DeviceError, GeneratedKey, SignatureDevice, WrappedKey, device_errors
from signing.sam.proof import keys_of
from signing.sam.proof_keys import after_order, check_key
from signing.sam.rollback import Effect
from signing.sam.store import Record, SpentOrder, Store
from signing.sam.tokens import decode_order
from signing.sam.verify import LEEWAY_SECONDS, SamPolicy, first_second_after


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a credential."""

    before: frozenset[Status]
    after: Status
    event: str


@dataclass(frozen=True, slots=True)
class _MadeKey:
    """A key with the request that it signed, and where it comes from."""

    key: GeneratedKey
    request: bytes
    origin: Origin


@dataclass(frozen=True, slots=True)
class _Whose:
    credential_id: str
    issuer: str
    owner: str
    decision: str


CHANGES: Final[dict[Operation, Change]] = {
    "credential.suspend": Change(frozenset({"active"}), "suspended", events.CREDENTIAL_SUSPENDED),
    "credential.resume": Change(frozenset({"suspended"}), "active", events.CREDENTIAL_RESUMED),
    "credential.revoke": Change(frozenset({"pending", "active", "suspended"}), "revoked", events.CREDENTIAL_REVOKED),
    "credential.delete": Change(
        frozenset({"pending", "active", "suspended", "revoked"}), "deleted", events.CREDENTIAL_DELETED
    ),
}
"""From which status an order leads to which."""
_log = log.get(__name__)
_ONCE: Final = 0
"""The one position that an order has, in the memory of what this process has used."""


class Lifecycle:
    """Creates, activates and changes credentials.  Thread-safe."""

    def __init__(
        self,
        device: SignatureDevice,
        store: Store,
        policy: SamPolicy,
        *,
        custody: Custody,
        anchors: Sequence[x509.Certificate],
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        """What credentials are changed with.

        :param custody: opens rows; shared with everything in the process that signs.
        :param anchors: certificates of the issuers that the operator pinned.
        """
        self._device = device
        self._store = store
        self._policy = policy
        self._custody = custody
        self._anchors = tuple(anchors)
        self._clock = clock
        self._used = SpentMemory()
        self._random = random

    def credential(self, credential_id: str) -> Credential:
        """One credential, its row verified.

        :raises UnknownCredential: there is none.
        :raises RowAltered: it is not as it was written.
        """
        with device_errors():
            return self._custody.credential(credential_id)

    def shown(self, credential_id: str) -> Credential:
        """One credential, for whoever is only shown it: the device verifies each row once, and a changed one again.

        :raises UnknownCredential: there is none.
        :raises RowAltered: it is not as it was written.
        """
        with device_errors():
            return self._custody.shown(credential_id)

    def credentials(self, owner: str, issuer: str | None = None) -> tuple[Credential, ...]:
        """A person's credentials, oldest first, their rows verified; deleted ones are left out.

        :param issuer: of the person's account, where it is known.
        :raises RowAltered: one is not as it was written.
        """
        with device_errors():
            return self._custody.credentials(owner, issuer)

    def create(self, token: str) -> Credential:
        """Carry out an order to create: a key, its request, a pending credential.

        The same order again gives the same credential, as long as that is pending or active: a retry after an answer
        that was lost must not leave a second key behind (KEY-10), and shows what the first one made.  It may have
        expired by then, but has to be right in all else: the table of used orders is nobody's word for an order.

        :raises OrderInvalid: not an order under a pinned key.
        :raises OrderRefused: not for this module, not of this operation, no such profile, a name that cannot be.
        :raises OrderUsed: it has led to a credential that was suspended or has ended.
        """
        order, now = decode_order(token, self._policy), self._clock.now()
        if not isinstance(order.parameters, CreateParameters):
            raise OrderRefused("the order is for another operation")
        mine = spent(order, token, self._random(16).hex(), now)
        found = self._found(mine)
        existing = None if found is None else self._made_before(found, order)
        self._check(order, now, again=existing is not None)
        if found is None:
            profile = self._policy.profiles.get(order.parameters.profile)
            if profile is None:
                raise OrderRefused("the order names a profile that is not offered")
            subject_name(order.parameters.subject)
            if order.parameters.proof_key is not None:
                check_key(order.parameters.proof_key, self._policy.proof)
            intent: Fields = {
                "credential_id": mine.credential_id,
                "owner": order.sub,
                "profile": profile.name,
                "issuer": order.iss,
                "order": order.jti,
                "decision": order.policy,
            }
            found = self._store.spend_order(mine, Record(events.CREDENTIAL_INTENT, intent, now)) or mine
            _check_same(found, mine)
            existing = self._made_before(found, order)
        return existing or self._made(order, order.parameters, found.credential_id, now)

    def link(self, credential_id: str, chain: Sequence[bytes]) -> Credential:
        """Give a pending credential its certificate; it is active from then on.

        Needs no order of its own (``docs/adr/0003-one-order-covers-create-and-link.md``).  The same chain again, on the
        credential that it made active, changes nothing.

        :raises CertificateRefused: not the certificate that it waits for.
        :raises CredentialDisabled: it waits for none.
        """
        self._custody.anchor.require()
        credential, now = self.credential(credential_id), self._clock.now()
        if credential.status == "active" and credential.certificates == tuple(chain):
            return credential
        if credential.status != "pending":
            raise CredentialDisabled("the credential does not wait for a certificate")
        kept = verify_chain(chain, credential.public_key, credential.subject, self._anchors, now)
        active = replace(
            credential,
            status="active",
            certificates=kept,
            version=credential.version + 1,
            # An issuer's clock may also be behind: what it issues in the next seconds is to serve.
            not_before=max(credential.not_before, epoch(now) - LEEWAY_SECONDS),
        )
        fields: Fields = {
            "credential_id": active.id,
            "owner": active.owner,
            "version": active.version,
            "certificate_sha256": hashlib.sha256(kept[0]).hexdigest(),
        }
        self.write(active, Record(events.CREDENTIAL_ACTIVATED, fields, now), None)
        return active

    def execute(self, token: str) -> Credential:
        """Carry out an order to suspend, resume, revoke or delete, or to bind or remove a proof key.

        :raises OrderInvalid: not an order under a pinned key.
        :raises OrderRefused: not for this module, or of another operation.
        :raises OrderUsed: it has been carried out.
        :raises WrongOwner: the credential is another person's.
        :raises CredentialDisabled: its status does not allow it.
        :raises ProofMissing: :raises ProofRefused: see :func:`signing.sam.proof_keys.after_order`.
        """
        order, now = decode_order(token, self._policy), self._clock.now()
        self._check(order, now)
        if isinstance(order.parameters, CreateParameters):
            raise OrderRefused("the order is for another operation")
        credential = self.credential(order.parameters.credential_id)
        _check_owner(credential, order)
        mine = spent(order, token, credential.id, now)
        known = self._used.knows_any(order.iss, order.jti, (_ONCE,))
        if known or self._store.order(mine.issuer, mine.jti) is not None:
            raise OrderUsed("the order has been carried out")
        changed, event, more = self._after(credential, order, now)
        fields: Fields = {
            "credential_id": changed.id,
            "owner": changed.owner,
            "version": changed.version,
            "issuer": order.iss,
            "order": order.jti,
            "decision": order.policy,
            **more,
        }
        self.write(changed, Record(event, fields, now), mine, before=credential)
        self._used.remember(order.iss, order.jti, (_ONCE,), order.exp, epoch(now))
        return changed

    def _after(self, credential: Credential, order: Order, now: datetime) -> tuple[Credential, str, Fields]:
        """The credential's next version, the event, and what the event says besides."""
        wanted = order.parameters
        if isinstance(wanted, ProofKeyParameters):
            keys = after_order(credential, wanted, self._policy.proof, self._policy.sam_id, now)
            agreed = {} if wanted.proof is None else {"agreed_by": wanted.proof.kid}
            changed = with_proof_keys(credential, keys, order.policy)
            return (
                changed,
                events.CREDENTIAL_PROOF_KEYS,
                {**proof_fields(changed, wanted.added, wanted.removed), **agreed},
            )
        change = CHANGES[order.operation]
        if change.after == "active" and order.iat < self._policy.sads_not_before:
            # What was used before the start only the database knows: not enough to wake a credential.
            raise OrderRefused("the order may have been issued, and used, before this process started")
        if change.after == "active" and order.iat + LEEWAY_SECONDS + 1 < credential.not_before:
            # Whoever writes the database can have used orders forgotten on other nodes.
            raise OrderRefused("the order was issued before the credential's last change of status")
        return after_change(credential, change, order.policy, now), change.event, {}

    def _check(self, order: Order, now: datetime, *, again: bool = False) -> None:
        ledger_epoch = self._custody.epoch(self._store.epoch())
        verify_order(order, replace(self._policy, epoch_not_before=ledger_epoch.not_before), now, again=again)

    def _found(self, mine: SpentOrder) -> SpentOrder | None:
        found = self._store.order(mine.issuer, mine.jti)
        if found is not None:
            _check_same(found, mine)
        return found

    def _made_before(self, spent_order: SpentOrder, order: Order) -> Credential | None:
        try:
            credential = self.credential(spent_order.credential_id)
        except UnknownCredential:
            return None
        _check_owner(credential, order)
        if credential.status not in {"pending", "active"}:
            raise OrderUsed("the order has led to a credential that was suspended or has ended")
        return credential

    def _made(self, order: Order, parameters: CreateParameters, credential_id: str, now: datetime) -> Credential:
        profile = self._policy.profiles.get(parameters.profile)
        if profile is None:
            raise OrderRefused("the order names a profile that is not offered")
        key_profile, device = KEY_PROFILES[profile.key], parameters.proof_key
        with device_errors():
            # What stays on the token and gets no row, because this process dies, is an orphan that the device shows.
            key = self._device.generate(key_profile, self._policy.realm if profile.custody == "token" else None)
            request = certification_request(parameters.subject, key, key_profile, self._device)
        whose = _Whose(credential_id, order.iss, order.sub, order.policy)
        credential = self._born(whose, parameters, profile, _MadeKey(key, request, "generated"), now)
        fields: Fields = {
            "credential_id": credential_id,
            "owner": order.sub,
            "version": 1,
            "profile": profile.name,
            "public_key_sha256": hashlib.sha256(key.public_key).hexdigest(),
            "key_attributes": list(key.attributes),
        }
        if device is not None:
            fields = {**fields, "proof_key": device.kid, "evidence": evidence_of(device)}
        if self._add(credential, Record(events.CREDENTIAL_CREATED, fields, now)):
            return credential
        # Another thread or process carried out the same order: its key is the one that stays (KEY-10).
        self._destroy_kept(key.wrapped)
        first = self.credential(credential_id)
        _check_owner(first, order)
        return first

    def adopt(
        self, wanted: ImportParameters, order: SpentOrder, signers: Sequence[str], effect: Effect, now: datetime
    ) -> Credential:
        """Make a pending credential of a key that operators bring.

        Its id follows from its key: of two imports of one key, the database takes the first.

        :param effect: what else becomes of the anchor.
        :raises OperationRefused: see :func:`signing.sam.imports.verified_key`; or a credential has, or had, the key.
        :raises OrderUsed: the order is spent.
        :raises RowAltered: a credential's row is not as it was last written, so that nobody knows whose key it had.
        :raises ChangedMeanwhile: a credential was changed meanwhile, or is missing.
        """
        taken, parameters = "a credential has, or had, this key", wanted.create
        profile = accepting(wanted, self._policy)
        if self._store.has_key(wanted.public_key):
            raise OperationRefused(taken)
        with device_errors():
            # The database's word alone is nobody's: whoever hid a row there would have another person's key imported.
            if any(each.public_key == wanted.public_key for each in self._custody.everybody()):
                raise OperationRefused(taken)
            key, request = verified_key(wanted, profile, self._device)
        credential_id, device = imported_id(self._policy.realm, wanted.public_key), parameters.proof_key
        whose = _Whose(credential_id, wanted.issuer, wanted.owner, order.jti)
        credential = self._born(whose, parameters, profile, _MadeKey(key, request, "imported"), now)
        fields: Fields = {
            "credential_id": credential_id,
            "owner": wanted.owner,
            "version": 1,
            "issuer": order.issuer,
            "order": order.jti,
            "decision": " ".join(signers),
            "profile": profile.name,
            "public_key_sha256": hashlib.sha256(key.public_key).hexdigest(),
            "key_attributes": list(key.attributes),
            "kek": key.wrapped.kek_id,
            "mechanism": key.wrapped.mechanism,
        }
        if device is not None:
            fields = {**fields, "proof_key": device.kid, "evidence": evidence_of(device)}
        spent_order = replace(order, credential_id=credential_id)
        if not self._add(credential, Record(events.CREDENTIAL_IMPORTED, fields, now), spent_order, effect):
            raise OperationRefused(taken)
        return credential

    def _born(
        self, whose: _Whose, parameters: CreateParameters, profile: Profile, made: _MadeKey, now: datetime
    ) -> Credential:
        device = parameters.proof_key
        return Credential(
            realm=self._policy.realm,
            id=whose.credential_id,
            issuer=whose.issuer,
            owner=whose.owner,
            status="pending",
            profile=profile.name,
            policy=whose.decision,
            scal=profile.scal,
            qualifier=profile.qualifier,
            multisign=profile.multisign,
            floor=profile.floor,
            subject=parameters.subject,
            public_key=made.key.public_key,
            request=made.request,
            certificates=(),
            key=made.key.wrapped,
            proof_keys=() if device is None else (proof_key.octets(device),),
            version=1,
            created=epoch(now),
            origin=made.origin,
            not_before=epoch(now) - LEEWAY_SECONDS,
        )

    def _add(
        self,
        credential: Credential,
        record: Record,
        order: SpentOrder | None = None,
        effect: Effect = lambda anchor: anchor,
    ) -> bool:
        """Put a new credential's row there, and anchor it; False where there is one of that id."""
        anchor = self._custody.anchor
        with device_errors():
            row = self._custody.seal(credential)
            moves = anchor.moves(credential.id, credential.version)
            with anchor.changing(lambda current: effect(moves(current))) as anchoring:
                added = self._store.add_credential(row, record, anchoring, order)
        if added:
            self._custody.written(credential)
        return added

    def write(
        self,
        credential: Credential,
        record: Record,
        order: SpentOrder | None,
        effect: Effect = lambda anchor: anchor,
        *,
        before: Credential | None = None,
    ) -> None:
        """Put the credential's next version in place of the one before, and anchor it.

        :param effect: what else becomes of the anchor.
        :param before: the credential as it was, where the change may take its key away: what then is left on the token
            is destroyed, after the row says so (KEY-11).  Where that fails, :mod:`signing.sam.orphans` does it.
        :raises CredentialDisabled: it was changed by another request meanwhile.
        :raises OrderUsed: the order is spent.
        """
        anchor = self._custody.anchor
        with device_errors():
            row = self._custody.seal(credential)
            moves = anchor.moves(credential.id, credential.version)
            with anchor.changing(lambda current: effect(moves(current))) as anchoring:
                replaced = self._store.replace_credential(row, record, order, anchoring)
        if not replaced:
            raise CredentialDisabled("the credential was changed by another request meanwhile")
        self._custody.written(credential)
        if before is not None and before.key is not None and credential.key is None:
            self._destroy_kept(before.key)

    def _destroy_kept(self, key: WrappedKey) -> None:
        """Destroy a key that no credential has any more, if it stays on the token."""
        if key.mechanism != ON_TOKEN:
            return
        try:
            self._device.destroy_kept(self._policy.realm, key.blob)
        except DeviceError as error:
            _log.error("a key is left on the token", extra={"fields": {"error": error.code}})


def after_change(credential: Credential, change: Change, decision: str, now: datetime) -> Credential:
    """The credential's next version.

    :raises CredentialDisabled: its status does not allow the change.
    """
    if credential.status not in change.before:
        raise CredentialDisabled(f"a credential that is {credential.status} does not become {change.after}")
    return replace(
        credential,
        status=change.after,
        policy=decision,
        key=None if change.after == "deleted" else credential.key,
        version=credential.version + 1,
        not_before=max(credential.not_before, _not_before(change.after, now)),
    )


def with_proof_keys(credential: Credential, keys: tuple[bytes, ...], decision: str) -> Credential:
    """The credential's next version, with other devices."""
    return replace(credential, proof_keys=keys, policy=decision, version=credential.version + 1)


def proof_fields(changed: Credential, added: DeviceKey | None, removed: str | None) -> Fields:
    """What an audit record says of a change of proof keys."""
    fields: Fields = {"proof_keys": [key.kid for key in keys_of(changed)]}
    if removed is not None:
        fields = {**fields, "removed": removed}
    return fields if added is None else {**fields, "added": added.kid, "evidence": evidence_of(added)}


def evidence_of(key: DeviceKey) -> list[str]:
    """What is known of a device, believed or not."""
    return [key.form, *(f"{name}={value}" for name in ("attestation", "aaguid") if (value := getattr(key, name)))]


def _not_before(after: Status, now: datetime) -> int:
    """While it is suspended the status refuses; once it is active again, nothing from before must serve (SAD-06)."""
    return first_second_after(now) if after == "active" else epoch(now)


def _check_owner(credential: Credential, order: Order) -> None:
    # An account is one only together with whose it is.
    if (credential.issuer, credential.owner) != (order.iss, order.sub):
        raise WrongOwner("the credential is another person's")


def _check_same(found: SpentOrder, mine: SpentOrder) -> None:
    if (found.token_sha256, found.operation) != (mine.token_sha256, mine.operation):
        raise OrderUsed("another order with the same jti has been carried out")
