"""From a SAD to signature values: the one walk on which a user's key is used.

======================= ============================================================================================
decode                  signature and form of the SAD, with pinned keys; what needs no row is verified at once
load                    credential row and ledger epoch; the row's MAC; revocations, and their MACs.  Or, at first, the
                        row as this process verified it last: the reservation makes sure that it still is what there is
verify                  :func:`signing.sam.verify.verify_sad`, with the time after the MAC
build                   what is to be signed: the digests, or around those of documents the octets of their templates
reserve                 positions and intent, one committed transaction: no intent, no signature.  It holds credential
                        (its whole row) and epoch as they were verified, and looks for revocations once more: nothing
                        is begun after a suspension, or an event that refuses the SAD, was answered
sign                    the device signs with the key, unwrapped now or a moment ago
check                   each value with the certificate's public key
conclude                outcome committed
release                 the values, in the request's order
======================= ============================================================================================

Whatever dies wherever: nothing is signed twice, since the positions were committed as reserved before the device was
asked; no value leaves without its committed outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from contract.sad import Sad
from foundation import log
from foundation.clock import Clock, epoch
from signing.sam.algorithms import SignatureAlgorithm
from signing.sam.credential import Credential, SealedCredential
from signing.sam.custody import Custody, Opened
from signing.sam.errors import (
    AlgorithmNotAllowed,
    ChangedMeanwhile,
    CommitUnknown,
    EpochSetBack,
    Indeterminate,
    LedgerBehind,
    RowAltered,
    SadExpired,
    SadSpent,
    SamError,
    ScdevUnavailable,
    StoreUnavailable,
    UnknownCredential,
)
from signing.sam.ledger import Reservation, SpentMemory, State, allowance_of, assign
from signing.sam.ports import DeviceError, OperationNotPermitted, SignatureDevice, WrappedKey, WrappedKeyRefused
from signing.sam.proof_counters import ProofCounters
from signing.sam.records import (
    intent_record,
    outcome_record,
    refusal_record,
    repeated_record,
    set_back_record,
    succeeded_record,
)
from signing.sam.refusals import RefusalBudget
from signing.sam.revocation import Revocation
from signing.sam.revoke import Revocations
from signing.sam.store import Record, Store
from signing.sam.tbs.cms import PdfSignature
from signing.sam.tbs.common import Built, Signer
from signing.sam.tbs.request import documents_of
from signing.sam.tbs.work import Work, built_work
from signing.sam.tokens import decode_sad
from signing.sam.values import ValueRefused, verify_values
from signing.sam.verify import (
    SamPolicy,
    SignatureRequest,
    check_announced,
    check_expiry,
    verify_claim,
    verify_sad,
    verify_successor,
)

CONCLUDE_ATTEMPTS: Final = 3
"""An outcome whose commit failed or is unknown is written again: its row is unique, so a second one cannot count."""

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class _Permit:
    """What a verified SAD permits: made by :meth:`Activator._permitted` alone, used once, kept nowhere."""

    sad: Sad
    request: SignatureRequest
    credential: Credential
    row: SealedCredential
    """The credential's, as it was verified."""
    key: WrappedKey
    algorithm: SignatureAlgorithm
    work: Work
    epoch: int
    """Number of the ledger's epoch in which it was verified."""
    proof: str | None
    """The proof of possession that is spent with it."""


class Activator:
    """Signs what SADs authorise.  Thread-safe; any number of processes may share one database."""

    def __init__(
        self,
        device: SignatureDevice,
        store: Store,
        policy: SamPolicy,
        *,
        custody: Custody,
        revocations: Revocations,
        clock: Clock,
        random: Callable[[int], bytes],
        memory: SpentMemory | None = None,
        refusals: RefusalBudget | None = None,
        counters: ProofCounters | None = None,
    ) -> None:
        """What a node signs with.

        :param custody: opens rows; shared with everything in the process that changes credentials.
        :param revocations: what issuers took back; shared with what takes events in.
        :param random: gives so many random octets; they name redemptions and are not secret.
        """
        self._device = device
        self._store = store
        self._policy = policy
        self._custody = custody
        self._revocations = revocations
        self._clock = clock
        self._random = random
        self._memory = SpentMemory() if memory is None else memory
        self._refusals = RefusalBudget() if refusals is None else refusals
        self._counters = ProofCounters() if counters is None else counters

    def sign(self, request: SignatureRequest) -> tuple[bytes, ...]:
        """One value a digest, in the request's order.

        :raises SadInvalid: the SAD is not one; leaves no trace in the audit chain, since anybody can send such.
        :raises SamError: the refusal; recorded, since the SAD was signed by a pinned issuer.
        """
        return self._activate(decode_sad(request.sad, self._policy), request)[1]

    def sign_documents(self, request: SignatureRequest) -> tuple[tuple[bytes, Built], ...]:
        """One value a template, in the request's order, with what was built for it and signed.

        :raises SadInvalid, SamError: as :meth:`sign`.
        """
        return self._signed(decode_sad(request.sad, self._policy), request)

    def sign_pdfs(
        self, request: SignatureRequest, measure: Callable[[str], tuple[PdfSignature, ...]]
    ) -> tuple[tuple[bytes, Built], ...]:
        """The values for PDFs, and then for the request's templates, with what was built and signed: one redemption.

        :param request: names the digests of all documents, as they were announced, and the templates of those that
            are no PDFs.
        :param measure: reads the PDFs with that hash function, once the SAD may serve; gives their templates.
        :raises SadInvalid, SamError: as :meth:`sign`.
        """
        sad = decode_sad(request.sad, self._policy)
        try:
            verify_claim(sad, request, self._policy, self._clock.now())
            check_announced(sad, request.digests)
            templates = (*measure(sad.hash_alg), *request.templates)
        except SamError as refusal:
            self._note_refusal(sad, request, refusal)
            raise
        return self._signed(sad, replace(request, digests=documents_of(templates), templates=templates))

    def _signed(self, sad: Sad, request: SignatureRequest) -> tuple[tuple[bytes, Built], ...]:
        permit, values = self._activate(sad, request)
        return tuple(zip(values, permit.work.built, strict=True))

    def _activate(self, sad: Sad, request: SignatureRequest) -> tuple[_Permit, tuple[bytes, ...]]:
        """:param sad: the request's, decoded: its signature and form were verified, and nothing that time changes."""
        try:
            proof = verify_claim(sad, request, self._policy, self._clock.now())
            permit, reservation, positions = self._begun(sad, request, proof)
        except SamError as refusal:
            self._note_refusal(sad, request, refusal)
            raise
        return permit, self._spend(permit, reservation, positions)

    def allow_again(self, request: SignatureRequest) -> None:
        """What was signed for this request may be given again: it is verified as a new one is, and recorded.

        Nothing is reserved and nothing signed; whoever calls has the values, and knows that they were not released.

        :raises SadInvalid, SamError: as :meth:`sign`.
        """
        sad = decode_sad(request.sad, self._policy)
        try:
            proof = verify_claim(sad, request, self._policy, self._clock.now())
            self._permitted(sad, request, proof)
        except SamError as refusal:
            self._note_refusal(sad, request, refusal)
            raise
        self._store.note(repeated_record(sad, request, self._clock.now()))

    def extend(self, token: str, client_id: str | None) -> None:
        """Let a SAD take the place of those before it at once: none of them is redeemed once this returns.

        It redeems nothing itself.  Doing it again changes nothing.

        :param client_id: the client that presented it, as the web tier says.
        :raises SadInvalid: the SAD is not one; leaves no trace.
        :raises SadSuperseded: another one took its place, or that of one before it.
        :raises SadSpent: nothing of what was approved is left to be signed.
        :raises SamError: the refusal; recorded.
        """
        sad = decode_sad(token, self._policy)
        request = SignatureRequest(token, client_id, sad.credential_id, None, (), "")
        try:
            try:
                self._succeed(sad, request)
            except ChangedMeanwhile:
                self._succeed(sad, request)
        except SamError as refusal:
            self._note_refusal(sad, request, refusal)
            raise

    def _succeed(self, sad: Sad, request: SignatureRequest) -> None:
        found = self._opened(sad.credential_id)
        credential, revocations = found.credential, self._revocations.against(sad)
        policy = replace(self._policy, epoch_not_before=found.epoch.not_before)
        with self._custody.watch(credential.id):
            verify_successor(sad, request, credential, revocations, policy, self._clock.now())
        unspent = 0

        def none(taken: Collection[int]) -> tuple[int, ...]:
            nonlocal unspent
            unspent = sad.sign_count - len(taken)
            if not unspent:
                raise SadSpent("what the SAD authorised has been spent")
            return ()

        def record(_chosen: tuple[int, ...]) -> Record:
            now = self._clock.now()
            check_expiry(sad, now)
            return succeeded_record(sad, unspent, now)

        reservation = self._reservation(sad, credential, found.epoch.number, found.row)
        self._store.succeed(reservation, none, record)

    def _begun(
        self, sad: Sad, request: SignatureRequest, proof: str | None
    ) -> tuple[_Permit, Reservation, tuple[int, ...]]:
        recalled = self._recalled(sad, request, proof)
        if recalled is not None:
            with suppress(ChangedMeanwhile):
                return recalled, *self._reserved(recalled)
        try:
            permit = self._permitted(sad, request, proof)
            return permit, *self._reserved(permit)
        except ChangedMeanwhile:
            # Looked at again, what has changed has its own refusal; or none.
            permit = self._permitted(sad, request, proof)
            return permit, *self._reserved(permit)

    def _recalled(self, sad: Sad, request: SignatureRequest, proof: str | None) -> _Permit | None:
        """By what this process remembers of the credential: its row is in the database still, exactly as it is here, or
        nothing is reserved.  What it would refuse, the database is asked about.
        """
        try:
            found = self._custody.remembered(request.credential_id)
            if found is None or self._revocations.remembers_any(sad):
                return None
            return self._judged(sad, request, proof, found, frozenset())
        except SamError:
            return None

    def _permitted(self, sad: Sad, request: SignatureRequest, proof: str | None) -> _Permit:
        found = self._opened(request.credential_id)
        revocations = self._revocations.against(sad)
        with self._custody.watch(found.credential.id):
            return self._judged(sad, request, proof, found, revocations)

    def _judged(
        self,
        sad: Sad,
        request: SignatureRequest,
        proof: str | None,
        found: Opened,
        revocations: Collection[Revocation],
    ) -> _Permit:
        policy, credential = replace(self._policy, epoch_not_before=found.epoch.not_before), found.credential
        # Database and device may have taken their time.
        now = self._clock.now()
        algorithm = verify_sad(sad, request, credential, revocations, policy, now)
        self._counters.take(sad, now)
        work, key = _work(request, credential, algorithm, now), credential.wrapped_key()
        return _Permit(sad, request, credential, found.row, key, algorithm, work, found.epoch.number, proof)

    def _opened(self, credential_id: str) -> Opened:
        with self._custody.watch(credential_id):
            row, found = self._store.for_signature(credential_id)
            ledger_epoch = self._custody.epoch(found)
            if row is None:
                raise UnknownCredential("there is no such credential")
            try:
                return Opened(self._custody.open_for_signature(row), ledger_epoch)
            except DeviceError as error:
                raise ScdevUnavailable("the device cannot verify the row's MAC") from error

    def _reserved(self, permit: _Permit) -> tuple[Reservation, tuple[int, ...]]:
        sad, digests = permit.sad, permit.request.digests
        reservation = self._reservation(sad, permit.credential, permit.epoch, permit.row, permit.proof)

        def intent(chosen: tuple[int, ...]) -> Record:
            # Another request of the same approval may have been waited for.
            now = self._clock.now()
            check_expiry(sad, now)
            return intent_record(
                sad,
                permit.request,
                reservation,
                chosen,
                owner=permit.credential.owner,
                scheme=permit.algorithm.scheme,
                signed_digests=permit.work.digests if permit.work.built else (),
                at=now,
            )

        positions = self._store.reserve(reservation, lambda taken: assign(sad, digests, taken), intent)
        now = self._clock.now()
        if not self._memory.claim(sad.iss, sad.txn, positions, self._policy.last_second(sad), epoch(now)):
            self._alarm_set_back(reservation, positions, now)
            raise SadSpent("the ledger does not know of a redemption that this process made")
        if epoch(now) >= sad.exp:
            self._memory.forget(sad.iss, sad.txn, positions)
            self._conclude(reservation, len(positions), State.RELEASED, SadExpired.code)
            raise SadExpired("the SAD expired while the reservation was written")
        return reservation, positions

    def _reservation(
        self, sad: Sad, credential: Credential, number: int, row: SealedCredential, proof: str | None = None
    ) -> Reservation:
        return Reservation(
            id=self._random(16).hex(),
            issuer=sad.iss,
            txn=sad.txn,
            allowance=allowance_of(sad),
            sad_jti=sad.jti,
            credential_id=credential.id,
            credential_version=credential.version,
            epoch=number,
            client_id=sad.client_id,
            account=sad.sub,
            sad_since=sad.since,
            predecessors=frozenset(sad.predecessors),
            max_signatures_per_day=credential.floor.max_signatures_per_day,
            proof=proof,
            row=row,
        )

    def _spend(self, permit: _Permit, reservation: Reservation, positions: tuple[int, ...]) -> tuple[bytes, ...]:
        digests, count = permit.work.digests, len(positions)
        try:
            values = self._device.sign(permit.key, permit.algorithm, digests)
        except DeviceError as error:
            if not error.certainly_not_signed:
                _log.error("device lost while signing", extra={"fields": {"redemption": reservation.id}})
                raise Indeterminate("the device was lost while it may have signed") from error
            self._memory.forget(reservation.issuer, reservation.txn, positions)
            self._conclude(reservation, count, State.RELEASED, error.code)
            with self._custody.watch(reservation.credential_id):
                raise _translated(error) from error
        try:
            verify_values(permit.credential.public_key, permit.algorithm, digests, values)
        except ValueRefused as error:
            _log.critical("the device made a wrong value", extra={"fields": {"redemption": reservation.id}})
            self._conclude(reservation, count, State.INDETERMINATE, error.code)
            raise Indeterminate("a value does not verify") from error
        if self._conclude(reservation, count, State.CONSUMED, "released") is not State.CONSUMED:
            raise Indeterminate("the redemption was closed before its outcome was known")
        return values

    def _conclude(self, reservation: Reservation, count: int, state: State, reason: str) -> State:
        record = outcome_record(reservation, count=count, state=state, reason=reason, at=self._clock.now())
        for attempt in range(CONCLUDE_ATTEMPTS):
            try:
                return self._store.conclude(reservation.id, state, reason, record)
            except (StoreUnavailable, CommitUnknown):
                fields = {"redemption": reservation.id, "state": str(state), "attempt": attempt + 1}
                _log.error("an outcome could not be written", extra={"fields": fields})
        # What was reserved stays so until the reconciler closes it.
        return State.RESERVED

    def _note_refusal(self, sad: Sad, request: SignatureRequest, refusal: SamError) -> None:
        record = refusal_record(sad, request, refusal, self._clock.now())
        _log.warning("signature refused", extra={"fields": record.fields})
        unwritable = (StoreUnavailable, CommitUnknown, EpochSetBack, LedgerBehind)
        if isinstance(refusal, unwritable) or not self._refusals.take(record.at):
            return
        try:
            self._store.note(record)
        except (StoreUnavailable, CommitUnknown):
            # The refusal stands, recorded or not: nothing was signed.
            _log.error("a refusal could not be recorded", extra={"fields": record.fields})

    def _alarm_set_back(self, reservation: Reservation, positions: tuple[int, ...], now: datetime) -> None:
        record = set_back_record(reservation, positions, now)
        _log.critical("the ledger was set back", extra={"fields": record.fields})
        self._conclude(reservation, len(positions), State.INDETERMINATE, "ledger_set_back")
        self._store.note(record)


def _work(request: SignatureRequest, credential: Credential, algorithm: SignatureAlgorithm, now: datetime) -> Work:
    """What is to be signed, of a request that has been verified."""
    if not request.templates:
        return Work(request.digests)
    signer = Signer(credential.certificates[0], algorithm, credential.key_profile().bits, epoch(now))
    return built_work(request.templates, signer)


def _translated(error: DeviceError) -> SamError:
    if isinstance(error, WrappedKeyRefused):
        return RowAltered("the device does not unwrap the credential's key")
    if isinstance(error, OperationNotPermitted):
        return AlgorithmNotAllowed("the device does not permit the algorithm for the key")
    return ScdevUnavailable("the device did nothing")
