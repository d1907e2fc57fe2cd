"""The walk from a SAD to values: what is signed, what is spent, what is written, and what is withheld."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from sqlalchemy import delete, select

from auditlog.sql import read_entries
from contract import sad as sads
from contract.errors import SadInvalid
from foundation.jose import generate_signing_key, sign_compact
from signing.sam import errors, events
from signing.sam.activate import CONCLUDE_ATTEMPTS
from signing.sam.algorithms import SHA256, SHA384, SignatureAlgorithm, pss_parameters
from signing.sam.credential import Credential
from signing.sam.ledger import Reservation, SpentMemory, State
from signing.sam.ports import (
    DeviceError,
    DeviceLost,
    DeviceUnavailable,
    OperationNotPermitted,
    PinRefused,
    WrappedKeyRefused,
)
from signing.sam.reconcile import reconcile
from signing.sam.refusals import RefusalBudget
from signing.sam.store import Record
from signing.sam.values import ValueRefused, verify_values
from signing.storage.store import SqlStore
from signing.storage.tables import audit, outcomes, positions, redemptions
from tests.fakes.sam import World, digest

D1, D2, D3, D4 = (digest(number) for number in range(1, 5))


def chain(world: World, event: str) -> list[dict[str, Any]]:
    """Fields of the records of that event."""
    with world.engine.connect() as connection:
        return [json.loads(entry.fields) for entry in read_entries(connection, audit.entries) if entry.event == event]


def states(world: World) -> list[str]:
    """Outcomes, oldest first."""
    with world.engine.connect() as connection:
        return list(connection.execute(select(outcomes.c.state)).scalars())


def count(world: World, table: Any) -> int:
    """Rows."""
    with world.engine.connect() as connection:
        return len(connection.execute(select(table)).all())


def verifies(credential: Credential, value: bytes, signed: bytes) -> bool:
    """Whether a value is a signature of the digest by the certificate's key."""
    key = x509.load_der_x509_certificate(credential.certificates[0]).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(value, signed, ec.ECDSA(Prehashed(hashes.SHA256())))
    return True


def test_values_come_in_the_requests_order_not_sorted(world: World, credential: Credential) -> None:
    sad = world.sad(credential, (D1, D2, D3))
    values = world.activator().sign(world.request(sad, digests=(D3, D1, D2)))
    assert all(verifies(credential, value, signed) for value, signed in zip(values, (D3, D1, D2), strict=True))


def test_intent_and_outcome_are_in_the_chain_for_every_signature(world: World, credential: Credential) -> None:
    sad = world.sad(credential, (D1, D2))
    world.activator().sign(world.request(sad))
    (intent,), (outcome,) = chain(world, events.SIGNATURE_INTENT), chain(world, events.SIGNATURE_CONSUMED)
    assert intent["redemption"] == outcome["redemption"]
    assert intent["digests"] == [D1.hex(), D2.hex()]
    assert intent["positions"] == ["0", "1"]
    assert (intent["txn"], intent["jti"], intent["decision"]) == (sad.txn, sad.jti, "decision-2")
    assert outcome["count"] == 2


def test_SAD_01_same_sad_twice_is_refused(world: World, credential: Credential) -> None:
    request = world.request(world.sad(credential))
    activator, before = world.activator(), world.fake.signatures
    activator.sign(request)
    with pytest.raises(errors.SadSpent):
        activator.sign(request)
    assert world.fake.signatures == before + 1
    (refused,) = chain(world, events.SIGNATURE_REFUSED)
    assert refused["code"] == "sad_used"


def test_two_sads_of_one_approval_share_its_allowance(world: World, credential: Credential) -> None:
    first = world.sad(credential, (D1, D2))
    second = replace(first, jti="another")
    world.activator().sign(world.request(first, digests=(D1,)))
    with pytest.raises(errors.SadSpent):
        world.activator().sign(world.request(second))
    world.activator().sign(world.request(second, digests=(D2,)))
    with pytest.raises(errors.SadSpent):
        world.activator().sign(world.request(first, digests=(D2,)))


@pytest.mark.parametrize(
    "change",
    [
        {"dtbsr": (D2, D1)},
        {"dtbsr": (D1, D2, D3), "sign_count": 3},
        {"client_id": "other"},
        {"sign_count": 1, "dtbsr": (D1,)},
    ],
)
def test_two_sads_of_one_approval_with_different_allowances_are_refused(
    world: World, credential: Credential, change: dict[str, Any]
) -> None:
    first = world.sad(credential, (D1, D2))
    world.activator().sign(world.request(first, digests=(D1,)))
    second = replace(first, jti="another", **change)
    with pytest.raises(errors.SadRefused, match="allowance"):
        world.activator().sign(world.request(second, digests=(D1,), client_id=second.client_id))


def test_SAD_10_two_and_two_of_three_over_two_nodes(world: World, credential: Credential) -> None:
    sad = world.sad(credential, (D1, D1, D1))
    one, two = world.activator(), world.activator()
    one.sign(world.request(sad, digests=(D1, D1)))
    with pytest.raises(errors.SadSpent):
        two.sign(world.request(sad, digests=(D1, D1)))
    two.sign(world.request(sad, digests=(D1,)))
    with pytest.raises(errors.SadSpent):
        one.sign(world.request(sad, digests=(D1,)))


def test_SAD_10_at_scal1_two_and_two_of_three(world: World) -> None:
    scal1 = world.credential(profile="scal1")
    sad = world.sad(scal1, (), sign_count=3)
    world.activator().sign(world.request(sad, digests=(D1, D2)))
    with pytest.raises(errors.SadSpent):
        world.activator().sign(world.request(sad, digests=(D3, D4)))
    world.activator().sign(world.request(sad, digests=(D3,)))


def test_a_refused_request_spends_nothing(world: World, credential: Credential) -> None:
    sad = world.sad(credential, (D1, D2))
    with pytest.raises(errors.DigestNotAuthorized):
        world.activator().sign(world.request(sad, digests=(D1, D3)))
    assert count(world, redemptions) == count(world, positions) == 0
    world.activator().sign(world.request(sad))


# SAD-07: anything that is not a SAD of a pinned issuer


def forged(world: World, credential: Credential) -> list[tuple[str, str]]:
    sad = world.sad(credential)
    right = sads.encode(sad, world.idp_key)
    header, payload, signature = right.split(".")
    other = generate_signing_key()
    claims = sads._to_claims(sad)
    return [
        ("a foreign key", sads.encode(sad, other)),
        ("a foreign key under the right kid", sads.encode(sad, replace(other, kid=world.idp_key.kid))),
        ("a pinned key of another issuer", sads.encode(replace(sad, iss="https://other.example.org"), world.idp_key)),
        ("an access token", sign_compact(claims, world.idp_key, "at+jwt")),
        ("an id token", sign_compact(claims, world.idp_key, "JWT")),
        ("an order", sign_compact(claims, world.idp_key, "order+jwt")),
        ("no issuer", sign_compact({**claims, "iss": 1}, world.idp_key, "sad+jwt")),
        ("an unknown claim", sign_compact({**claims, "admin": True}, world.idp_key, "sad+jwt")),
        ("no exp", sign_compact({k: v for k, v in claims.items() if k != "exp"}, world.idp_key, "sad+jwt")),
        ("no signature", f"{header}.{payload}."),
        ("another signature", f"{header}.{payload}.{signature[:-4]}AAAA"),
        ("two segments", f"{header}.{payload}"),
        ("nothing", "x"),
    ]


def test_SAD_07_what_no_pinned_issuer_signed_is_refused_and_leaves_no_record(
    world: World, credential: Credential
) -> None:
    request, before = world.request(world.sad(credential)), world.fake.signatures
    for _reason, token in forged(world, credential):
        with pytest.raises(SadInvalid):
            world.activator().sign(replace(request, sad=token))
    assert world.fake.signatures == before
    assert chain(world, events.SIGNATURE_REFUSED) == []


# The device


@pytest.mark.parametrize(
    ("failure", "refusal"),
    [
        (DeviceUnavailable("away"), errors.ScdevUnavailable),
        (PinRefused("no"), errors.ScdevUnavailable),
        (WrappedKeyRefused("no"), errors.RowAltered),
        (OperationNotPermitted("no"), errors.AlgorithmNotAllowed),
    ],
)
def test_what_was_certainly_not_signed_is_released_and_may_be_reserved_again(
    world: World, credential: Credential, failure: DeviceError, refusal: type[errors.SamError]
) -> None:
    activator, request = world.activator(), world.request(world.sad(credential))
    world.fake.fail_next("sign", failure)
    with pytest.raises(refusal):
        activator.sign(request)
    assert states(world) == ["released"]
    assert count(world, positions) == 0
    (released,) = chain(world, events.SIGNATURE_RELEASED)
    assert released["reason"] == failure.code
    assert len(activator.sign(request)) == 1


def test_what_may_have_been_signed_stays_spent_and_is_closed_by_the_reconciler(
    world: World, credential: Credential
) -> None:
    activator, request = world.activator(), world.request(world.sad(credential))
    world.fake.fail_next("sign", DeviceLost("gone"), after=True)
    with pytest.raises(errors.Indeterminate):
        activator.sign(request)
    with pytest.raises(errors.SadSpent):
        activator.sign(request)
    assert states(world) == []
    alarms: list[str] = []
    assert reconcile(world.store, world.clock, 60, alarms.append) == 0
    world.clock.advance(61)
    assert reconcile(world.store, world.clock, 60, alarms.append) == 1
    assert states(world) == ["indeterminate"]
    assert len(alarms) == len(chain(world, events.SIGNATURE_INDETERMINATE)) == 1
    assert reconcile(world.store, world.clock, 60, alarms.append) == 0
    with pytest.raises(errors.SadSpent):
        activator.sign(request)


def test_KEY_12_a_wrong_value_is_not_released(world: World, credential: Credential) -> None:
    request = world.request(world.sad(credential, (D1, D2)))
    world.fake.corrupt_next()
    with pytest.raises(errors.Indeterminate):
        world.activator().sign(request)
    (outcome,) = chain(world, events.SIGNATURE_INDETERMINATE)
    assert outcome["reason"] == "value_refused"
    with pytest.raises(errors.SadSpent):
        world.activator().sign(request)


@pytest.mark.parametrize(
    ("scheme", "values"),
    [("ecdsa", ()), ("ecdsa", (b"x", b"x")), ("rsa-pss", (b"x",)), ("rsa-pkcs1-v1_5", (b"x",)), ("ecdsa", (b"x",))],
)
def test_KEY_12_values_of_another_number_or_kind_are_refused(
    credential: Credential, scheme: Any, values: tuple[bytes, ...]
) -> None:
    with pytest.raises(ValueRefused):
        verify_values(credential.public_key, SignatureAlgorithm(scheme, SHA256), (D1,), values)


def test_no_device_no_mac_no_signature(world: World, credential: Credential) -> None:
    world.fake.fail_next("verify_mac", DeviceUnavailable("away"))
    with pytest.raises(errors.ScdevUnavailable):
        world.activator().sign(world.request(world.sad(credential)))
    assert count(world, redemptions) == 0


@pytest.mark.parametrize("profile", ["p384", "pss", "pkcs1"])
def test_every_kind_of_key_signs(world: World, profile: str) -> None:
    credential = world.credential(profile=profile)
    algorithm, params, octets = {
        "p384": ("1.2.840.10045.4.3.3", None, 48),
        "pss": ("1.2.840.113549.1.1.10", pss_parameters(SHA256), 32),
        "pkcs1": ("1.2.840.113549.1.1.1", None, 32),
    }[profile]
    hash_alg = SHA384 if octets == 48 else SHA256
    sad = world.sad(credential, (digest(1, octets), digest(2, octets)), hash_alg=hash_alg)
    request = world.request(sad, sign_algo=algorithm, sign_algo_params=params, hash_alg=hash_alg)
    assert len(world.activator().sign(request)) == 2


# The credential's row


def test_KEY_01_an_altered_row_is_refused_with_an_alarm(world: World, credential: Credential) -> None:
    from signing.storage.tables import credentials

    with world.engine.begin() as connection:
        connection.execute(credentials.update().values(multisign=99))
    with pytest.raises(errors.RowAltered):
        world.activator().sign(world.request(world.sad(credential)))
    (alarm,) = chain(world, events.CREDENTIAL_ALTERED)
    assert alarm["credential_id"] == credential.id
    assert [refused["code"] for refused in chain(world, events.SIGNATURE_REFUSED)] == ["row_integrity"]


def test_an_unknown_credential_is_refused(world: World, credential: Credential) -> None:
    request = world.request(world.sad(credential, credential_id="unknown"))
    with pytest.raises(errors.UnknownCredential):
        world.activator().sign(request)


def test_SAD_06_a_sad_from_before_a_suspension_does_not_serve_after_it(world: World, credential: Credential) -> None:
    request = world.request(world.sad(credential))
    world.clock.advance(1)
    lifecycle = world.lifecycle()
    lifecycle.execute(world.order_token("credential.suspend", credential_id=credential.id))
    with pytest.raises(errors.SadRefused):
        world.activator().sign(request)
    with pytest.raises(errors.CredentialDisabled):
        world.activator().sign(world.request(world.sad(credential)))
    lifecycle.execute(world.order_token("credential.resume", credential_id=credential.id))
    with pytest.raises(errors.SadRefused):
        world.activator().sign(request)
    world.clock.advance(6)
    assert world.activator().sign(world.request(world.sad(credential)))


def test_SAD_12_after_a_restore_earlier_sads_are_refused(world: World, credential: Credential) -> None:
    assert isinstance(world.store, SqlStore)
    request = world.request(world.sad(credential))
    world.raise_epoch()
    with pytest.raises(errors.SadRefused, match="epoch"):
        world.activator().sign(request)
    world.clock.advance(6)
    assert world.activator().sign(world.request(world.sad(credential)))
    assert chain(world, events.EPOCH_RAISED) == [{"epoch": 2}]


def test_SAD_12_a_ledger_that_was_set_back_is_noticed_by_the_node_that_signed(
    world: World, credential: Credential
) -> None:
    activator, request, before = world.activator(), world.request(world.sad(credential)), world.fake.signatures
    activator.sign(request)
    with world.engine.begin() as connection:
        for table in (outcomes, positions, redemptions):
            connection.execute(delete(table))
    with pytest.raises(errors.SadSpent):
        activator.sign(request)
    assert world.fake.signatures == before + 1
    assert len(chain(world, events.LEDGER_SET_BACK)) == 1
    assert states(world) == ["indeterminate"]


def test_SAD_12_a_memory_that_nodes_share_is_shared_from_the_first_signature_on(
    world: World, credential: Credential
) -> None:
    memory, request = SpentMemory(), world.request(world.sad(credential))
    first, second = world.activator(memory=memory), world.activator(memory=memory)
    first.sign(request)
    with world.engine.begin() as connection:
        for table in (outcomes, positions, redemptions):
            connection.execute(delete(table))
    with pytest.raises(errors.SadSpent):
        second.sign(request)


def test_SAD_12_of_two_that_a_ledger_which_is_being_set_back_lets_through_one_is_sent_to_the_device(
    world: World, credential: Credential
) -> None:
    both = threading.Barrier(2, timeout=10)

    class Forgetful(SqlStore):
        """Somebody removes what was reserved before anybody looks at it again."""

        def reserve(self, *arguments: Any) -> tuple[int, ...]:
            chosen = super().reserve(*arguments)
            with world.engine.begin() as connection:
                for table in (positions, redemptions):
                    connection.execute(delete(table))
            return chosen

    class Slow(SpentMemory):
        """Nobody is the first to look."""

        def knows_any(self, *arguments: Any) -> bool:
            known = super().knows_any(*arguments)
            both.wait()
            return known

    store, request, before = Forgetful(world.engine), world.request(world.sad(credential)), world.fake.signatures
    activator = world.activator(store=store, memory=Slow())

    def sign(_number: int) -> bool:
        with suppress(errors.SadSpent, errors.Indeterminate):
            activator.sign(request)
        return True

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(sign, range(2)))
    assert world.fake.signatures == before + 1


# The database


class Faulty(SqlStore):
    """Fails where a test says."""

    def __init__(self, inner: SqlStore) -> None:
        super().__init__(inner.engine)
        self.conclude_failures: list[Exception] = []
        self.commit_first = False
        self.reserve_failure: Exception | None = None
        self.note_failure: Exception | None = None

    def reserve(
        self,
        reservation: Reservation,
        assign: Callable[[Collection[int]], tuple[int, ...]],
        record: Callable[[tuple[int, ...]], Record],
    ) -> tuple[int, ...]:
        if self.reserve_failure and not self.commit_first:
            raise self.reserve_failure
        chosen = super().reserve(reservation, assign, record)
        if self.reserve_failure:
            raise self.reserve_failure
        return chosen

    def conclude(self, redemption_id: str, state: State, reason: str, record: Record) -> State:
        if self.conclude_failures:
            failure = self.conclude_failures.pop(0)
            if self.commit_first:
                super().conclude(redemption_id, state, reason, record)
            raise failure
        return super().conclude(redemption_id, state, reason, record)

    def note(self, record: Record) -> None:
        if self.note_failure:
            raise self.note_failure
        super().note(record)


@pytest.fixture
def faulty(world: World) -> Faulty:
    assert isinstance(world.store, SqlStore)
    store = Faulty(world.store)
    world.store = store
    return store


def test_AUD_07_without_a_committed_intent_the_device_is_not_asked(
    world: World, credential: Credential, faulty: Faulty
) -> None:
    before = world.fake.signatures
    faulty.reserve_failure = errors.StoreUnavailable("down")
    with pytest.raises(errors.StoreUnavailable):
        world.activator().sign(world.request(world.sad(credential)))
    assert world.fake.signatures == before


def test_a_reservation_whose_commit_is_unknown_counts_as_spent_and_unsigned(
    world: World, credential: Credential, faulty: Faulty
) -> None:
    request, before = world.request(world.sad(credential)), world.fake.signatures
    faulty.reserve_failure, faulty.commit_first = errors.CommitUnknown("no answer"), True
    with pytest.raises(errors.CommitUnknown):
        world.activator().sign(request)
    faulty.reserve_failure = None
    with pytest.raises(errors.SadSpent):
        world.activator().sign(request)
    assert world.fake.signatures == before
    world.clock.advance(61)
    assert reconcile(world.store, world.clock, 60) == 1


@pytest.mark.parametrize("committed", [True, False])
def test_an_outcome_whose_commit_is_unknown_is_read_back_before_the_value_leaves(
    world: World, credential: Credential, faulty: Faulty, committed: bool
) -> None:
    faulty.conclude_failures, faulty.commit_first = [errors.CommitUnknown("no answer")], committed
    assert len(world.activator().sign(world.request(world.sad(credential)))) == 1
    assert states(world) == ["consumed"]
    assert len(chain(world, events.SIGNATURE_CONSUMED)) == 1


def test_a_value_without_a_committed_outcome_is_withheld(world: World, credential: Credential, faulty: Faulty) -> None:
    faulty.conclude_failures = [errors.StoreUnavailable("down") for _ in range(CONCLUDE_ATTEMPTS)]
    with pytest.raises(errors.Indeterminate):
        world.activator().sign(world.request(world.sad(credential)))
    assert states(world) == []
    world.clock.advance(61)
    assert reconcile(world.store, world.clock, 60) == 1


def test_a_value_is_withheld_where_the_reconciler_was_faster(world: World, credential: Credential) -> None:
    class Slow:
        """The device's answer comes after the deadline."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.fake, name)

        def sign(self, *arguments: Any) -> tuple[bytes, ...]:
            values = world.fake.sign(*arguments)
            world.clock.advance(61)
            assert reconcile(world.store, world.clock, 60) == 1
            return values

    with pytest.raises(errors.Indeterminate):
        world.activator(device=Slow()).sign(world.request(world.sad(credential)))
    assert states(world) == ["indeterminate"]


def test_a_refusal_stands_where_it_cannot_be_recorded(world: World, credential: Credential, faulty: Faulty) -> None:
    faulty.note_failure = errors.StoreUnavailable("down")
    with pytest.raises(errors.WrongOwner):
        world.activator().sign(world.request(world.sad(credential, sub="bob")))


def test_a_flood_of_refusals_does_not_fill_the_chain(world: World, credential: Credential) -> None:
    activator = world.activator(refusals=RefusalBudget(burst=3, per_second=1))
    request = world.request(world.sad(credential, sub="bob"))
    for _ in range(5):
        with pytest.raises(errors.WrongOwner):
            activator.sign(request)
    assert len(chain(world, events.SIGNATURE_REFUSED)) == 3
    world.clock.advance(1)
    with pytest.raises(errors.WrongOwner):
        activator.sign(request)
    assert len(chain(world, events.SIGNATURE_REFUSED)) == 4


def test_AUD_08_no_token_is_in_chain_log_or_repr(
    world: World, credential: Credential, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    request = world.request(world.sad(credential))
    world.activator().sign(request)
    with pytest.raises(errors.SadSpent):
        world.activator().sign(request)
    with world.engine.connect() as connection:
        written = "".join(entry.fields for entry in read_entries(connection, audit.entries))
    for text in (written, caplog.text, repr(request), "".join(str(record.__dict__) for record in caplog.records)):
        assert request.sad not in text
        assert request.sad.split(".")[1] not in text
