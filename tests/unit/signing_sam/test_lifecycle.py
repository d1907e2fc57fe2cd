"""Orders: what they do, once; and what is no order for this module."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import delete, select

from auditlog.sql import read_entries
from contract import order as orders
from contract.errors import OrderInvalid
from contract.order import CreateParameters, SubjectClaim
from foundation.jose import generate_signing_key, sign_compact
from signing.sam import errors, events
from signing.sam.credential import Credential, SealedCredential
from signing.sam.ports import ON_TOKEN, DeviceLost, DeviceUnavailable
from signing.sam.store import Anchoring, Record, SpentOrder
from signing.sam.verify import LEEWAY_SECONDS
from signing.storage.store import SqlStore
from signing.storage.tables import audit, credentials
from signing.storage.tables import orders as used_orders
from tests.fakes.sam import ALICE, NOW, REALM, World


def recorded(world: World) -> list[str]:
    """Names of the events in the chain."""
    with world.engine.connect() as connection:
        return [entry.event for entry in read_entries(connection, audit.entries)]


def test_an_order_makes_a_key_and_a_request_that_it_signed_for_the_person_ordered(world: World) -> None:
    pending = world.lifecycle().create(world.order_token())
    request = x509.load_der_x509_csr(pending.request)
    assert request.is_signature_valid
    assert request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == pending.public_key
    assert request.subject.rfc4514_string() == (
        "2.5.4.5=PNOBE-85073003328,2.5.4.4=Example,2.5.4.42=Alice,CN=Alice Example,C=BE"
    )
    assert (pending.status, pending.owner, pending.version) == ("pending", "alice", 1)
    assert recorded(world) == [events.CREDENTIAL_INTENT, events.CREDENTIAL_CREATED]


def test_a_subject_may_have_a_common_name_only(world: World) -> None:
    subject = SubjectClaim("Alice Example", None, None, None, None)
    pending = world.lifecycle().create(world.order_token(parameters=CreateParameters("standard", subject)))
    assert x509.load_der_x509_csr(pending.request).subject.rfc4514_string() == "CN=Alice Example"


def test_the_same_order_again_gives_the_same_credential_while_it_is_pending(world: World) -> None:
    token = world.order_token()
    first = world.lifecycle().create(token)
    world.clock.advance(3600)
    assert world.lifecycle().create(token) == first
    assert world.fake.calls["generate"] == 1


def test_KEY_10_an_order_shows_the_credential_that_it_made_once_that_is_active(world: World) -> None:
    token = world.order_token()
    pending = world.lifecycle().create(token)
    active = world.lifecycle().link(pending.id, [world.authority.issue(pending.request)])
    before = recorded(world)
    world.clock.advance(3600)
    assert world.lifecycle().create(token) == active
    assert world.fake.calls["generate"] == 1
    assert recorded(world) == before


@pytest.mark.parametrize("operation", ["suspend", "revoke", "delete"])
def test_an_order_is_used_once_its_credential_was_suspended_or_has_ended(world: World, operation: str) -> None:
    token = world.order_token()
    pending = world.lifecycle().create(token)
    world.lifecycle().link(pending.id, [world.authority.issue(pending.request)])
    change: Any = f"credential.{operation}"
    world.lifecycle().execute(world.order_token(change, credential_id=pending.id))
    with pytest.raises(errors.OrderUsed):
        world.lifecycle().create(token)


def test_another_order_with_the_same_jti_is_refused(world: World) -> None:
    world.lifecycle().create(world.order_token(jti="one"))
    with pytest.raises(errors.OrderUsed):
        world.lifecycle().create(world.order_token(jti="one", sub="bob"))


def test_KEY_10_an_order_whose_key_got_lost_makes_another_one(world: World) -> None:
    token = world.order_token()
    world.fake.fail_next("generate", DeviceLost("gone"), after=True)
    with pytest.raises(errors.ScdevUnavailable):
        world.lifecycle().create(token)
    assert world.lifecycle().create(token).status == "pending"


def test_a_profile_may_keep_its_keys_on_the_token(world: World) -> None:
    credential = world.credential(profile="kept")
    key = credential.wrapped_key()
    assert (key.mechanism, key.kek_id) == (ON_TOKEN, "")
    assert world.fake.kept(REALM) == {key.blob}
    assert len(world.activator().sign(world.request(world.sad(credential)))) == 1


@pytest.mark.parametrize("profile", ["standard", "kept"])
def test_KEY_10_of_two_that_carry_out_one_order_the_first_key_stays(world: World, profile: str) -> None:
    token = world.order_token(parameters=CreateParameters(profile, ALICE))

    class Racing(SqlStore):
        """Another node stores its key just before this one."""

        def add_credential(self, row: SealedCredential, record: Record, *more: Any, **named: Any) -> bool:
            if not racing.done:
                racing.done = True
                other.append(world.lifecycle().create(token))
            return super().add_credential(row, record, *more, **named)

        done = False

    racing, other = Racing(world.engine), list[Credential]()
    mine = world.lifecycle(store=racing).create(token)
    assert [mine] == other
    with world.engine.connect() as connection:
        assert len(connection.execute(select(credentials)).all()) == 1
    # No orphan: what the second one made is gone.
    assert world.fake.kept(REALM) == ({mine.wrapped_key().blob} if profile == "kept" else frozenset())


def test_KEY_10_of_two_that_begin_one_order_the_first_credential_id_stays(world: World) -> None:
    token = world.order_token()

    class Racing(SqlStore):
        """Another node spends the order just before this one."""

        done = False

        def spend_order(
            self, order: SpentOrder, record: Record, anchoring: Anchoring | None = None
        ) -> SpentOrder | None:
            if not racing.done:
                racing.done = True
                other.append(world.lifecycle().create(token))
            return super().spend_order(order, record, anchoring)

    racing, other = Racing(world.engine), list[Credential]()
    assert [world.lifecycle(store=racing).create(token)] == other


REFUSED: list[tuple[str, dict[str, Any], type[errors.SamError]]] = [
    ("for another module", {"aud": "urn:other"}, errors.OrderRefused),
    ("exp is the first second refused", {"iat": -600, "exp": 0}, errors.OrderExpired),
    ("issued in the future", {"iat": 6, "exp": 100}, errors.OrderRefused),
    ("lives too long", {"iat": 0, "exp": 901}, errors.OrderRefused),
    ("before the epoch", {"iat": -86_401, "exp": -86_000}, errors.OrderExpired),
    ("no such profile", {"parameters": CreateParameters("none", ALICE)}, errors.OrderRefused),
]


@pytest.mark.parametrize(("reason", "change", "error"), REFUSED, ids=[case[0] for case in REFUSED])
def test_an_order_with_one_thing_wrong_is_refused(
    world: World, reason: str, change: dict[str, Any], error: type[errors.SamError]
) -> None:
    change = {name: world.now + value if name in {"iat", "exp"} else value for name, value in change.items()}
    with pytest.raises(error) as refusal:
        world.lifecycle().create(world.order_token(**change))
    assert refusal.type is error, reason
    assert recorded(world) == []


def test_SAD_12_an_order_from_before_the_epoch_is_refused(world: World) -> None:
    assert isinstance(world.store, SqlStore)
    token = world.order_token()
    world.raise_epoch()
    with pytest.raises(errors.OrderRefused, match="epoch"):
        world.lifecycle().create(token)


def test_an_order_is_one_only_under_a_pinned_key(world: World, credential: Credential) -> None:
    order = world.order()
    claims = orders._to_claims(order)
    tokens = [
        orders.encode(order, generate_signing_key()),
        orders.encode(replace(order, iss="https://other.example.org"), world.idp_key),
        sign_compact(claims, world.idp_key, "sad+jwt"),
        world.request(world.sad(credential)).sad,
        "x",
    ]
    for token in tokens:
        with pytest.raises(OrderInvalid):
            world.lifecycle().create(token)
        with pytest.raises(OrderInvalid):
            world.lifecycle().execute(token)


def test_an_order_is_for_its_operation_only(world: World, credential: Credential) -> None:
    with pytest.raises(errors.OrderRefused):
        world.lifecycle().create(world.order_token("credential.suspend", credential_id=credential.id))
    with pytest.raises(errors.OrderRefused):
        world.lifecycle().execute(world.order_token())


def test_suspend_resume_delete(world: World, credential: Credential) -> None:
    lifecycle = world.lifecycle()
    suspended = lifecycle.execute(world.order_token("credential.suspend", credential_id=credential.id))
    assert suspended.status == "suspended"
    resumed = lifecycle.execute(world.order_token("credential.resume", credential_id=credential.id))
    assert (resumed.status, resumed.version) == ("active", credential.version + 2)
    deleted = lifecycle.execute(world.order_token("credential.delete", credential_id=credential.id))
    assert (deleted.status, deleted.key) == ("deleted", None)
    assert lifecycle.credential(credential.id) == deleted
    assert lifecycle.credentials("alice") == ()
    assert recorded(world)[-3:] == [events.CREDENTIAL_SUSPENDED, events.CREDENTIAL_RESUMED, events.CREDENTIAL_DELETED]


def test_a_revoked_credential_signs_never_again_and_may_only_be_deleted(world: World, credential: Credential) -> None:
    lifecycle, request = world.lifecycle(), world.request(world.sad(credential))
    revoked = lifecycle.execute(world.order_token("credential.revoke", credential_id=credential.id))
    assert (revoked.status, revoked.key, revoked.version) == ("revoked", credential.key, credential.version + 1)
    with pytest.raises(errors.CredentialDisabled):
        world.activator().sign(request)
    for operation in ("credential.suspend", "credential.resume", "credential.revoke"):
        with pytest.raises(errors.CredentialDisabled):
            lifecycle.execute(world.order_token(operation, credential_id=credential.id))
    assert lifecycle.execute(world.order_token("credential.delete", credential_id=credential.id)).key is None
    assert recorded(world)[-3:] == [
        events.CREDENTIAL_REVOKED, events.SIGNATURE_REFUSED, events.CREDENTIAL_DELETED
    ]  # fmt: skip


def test_a_credential_that_waits_for_its_certificate_can_be_revoked_and_gets_none_then(world: World) -> None:
    pending = world.lifecycle().create(world.order_token())
    world.lifecycle().execute(world.order_token("credential.revoke", credential_id=pending.id))
    with pytest.raises(errors.CredentialDisabled):
        world.lifecycle().link(pending.id, [world.authority.issue(pending.request)])


def test_KEY_11_a_deleted_credentials_wrapped_key_is_gone_from_the_database(
    world: World, credential: Credential
) -> None:
    world.lifecycle().execute(world.order_token("credential.delete", credential_id=credential.id))
    with world.engine.connect() as connection:
        assert connection.execute(select(credentials.c.wrapped_key)).scalar_one() is None
    with pytest.raises(errors.CredentialDisabled):
        world.activator().sign(world.request(world.sad(credential)))


def test_an_order_to_change_is_used_once(world: World, credential: Credential) -> None:
    token = world.order_token("credential.suspend", credential_id=credential.id)
    world.lifecycle().execute(token)
    with pytest.raises(errors.OrderUsed):
        world.lifecycle().execute(token)
    world.lifecycle().execute(world.order_token("credential.resume", credential_id=credential.id))
    with pytest.raises(errors.OrderUsed):
        world.lifecycle().execute(token)


def test_SAD_06_an_order_to_resume_does_not_wake_what_was_suspended_after_it_was_issued(
    either_world: World,
) -> None:
    """Used orders are rows: whoever removes one finds a node, or a process, that has not carried it out."""
    world = either_world
    credential = world.credential()
    world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
    resume = world.order_token("credential.resume", credential_id=credential.id)
    world.lifecycle().execute(resume)
    world.clock.advance(60)
    world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
    with world.engine.begin() as connection:
        connection.execute(delete(used_orders))
    with pytest.raises(errors.OrderRefused, match="last change of status"):
        world.lifecycle().execute(resume)
    assert world.lifecycle().credential(credential.id).status == "suspended"
    world.lifecycle().execute(world.order_token("credential.resume", credential_id=credential.id))
    assert world.lifecycle().credential(credential.id).status == "active"


@pytest.mark.parametrize("operation", ["credential.suspend", "credential.resume", "credential.delete"])
def test_SAD_05_another_persons_credential_is_not_changed(world: World, credential: Credential, operation: Any) -> None:
    with pytest.raises(errors.WrongOwner):
        world.lifecycle().execute(world.order_token(operation, credential_id=credential.id, sub="bob"))


def test_a_status_that_does_not_lead_there_is_refused(world: World, credential: Credential) -> None:
    with pytest.raises(errors.CredentialDisabled):
        world.lifecycle().execute(world.order_token("credential.resume", credential_id=credential.id))
    with pytest.raises(errors.UnknownCredential):
        world.lifecycle().execute(world.order_token("credential.resume", credential_id="none"))


def test_of_two_changes_at_once_one_is_refused(world: World, credential: Credential) -> None:
    class Racing(SqlStore):
        """Another node suspends first."""

        def replace_credential(
            self,
            row: SealedCredential,
            record: Record,
            order: SpentOrder | None = None,
            anchoring: Anchoring | None = None,
        ) -> bool:
            world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))
            return super().replace_credential(row, record, order, anchoring)

    with pytest.raises(errors.CredentialDisabled, match="meanwhile"):
        world.lifecycle(store=Racing(world.engine)).execute(
            world.order_token("credential.delete", credential_id=credential.id)
        )


def test_an_order_spent_meanwhile_is_refused_by_its_row(world: World, credential: Credential) -> None:
    token = world.order_token("credential.suspend", credential_id=credential.id)

    class Blind(SqlStore):
        """Does not see the order that another node has spent."""

        def order(self, issuer: str, jti: str) -> SpentOrder | None:
            return None

    world.lifecycle().execute(token)
    world.lifecycle().execute(world.order_token("credential.resume", credential_id=credential.id))
    with pytest.raises(errors.OrderUsed):
        world.lifecycle(store=Blind(world.engine)).execute(token)
    assert world.lifecycle().credential(credential.id).status == "active"


def test_without_the_device_nothing_is_read_or_changed(world: World, credential: Credential) -> None:
    world.fake.fail_next("verify_mac", DeviceUnavailable("away"))
    with pytest.raises(errors.ScdevUnavailable):
        world.lifecycle().credential(credential.id)


def test_a_request_that_the_device_signed_wrongly_is_not_kept(world: World) -> None:
    world.fake.corrupt_next()
    with pytest.raises(errors.ScdevUnavailable):
        world.lifecycle().create(world.order_token())
    with world.engine.connect() as connection:
        assert connection.execute(select(credentials)).all() == []


@pytest.mark.parametrize("profile", ["p384", "pss", "pkcs1"])
def test_every_kind_of_key_signs_its_own_request(world: World, profile: str) -> None:
    pending = world.lifecycle().create(world.order_token(parameters=CreateParameters(profile, ALICE)))
    assert x509.load_der_x509_csr(pending.request).is_signature_valid


def test_credentials_are_listed_by_owner_oldest_first(world: World) -> None:
    first = world.credential()
    world.clock.advance(1)
    second = world.credential()
    world.credential("bob")
    assert world.lifecycle().credentials("alice") == (first, second)
    assert len(world.store.credentials(None)) == 3


def test_a_profile_that_was_withdrawn_meanwhile_is_refused(world: World) -> None:
    token = world.order_token()
    world.fake.fail_next("generate", DeviceLost("gone"))
    with pytest.raises(errors.ScdevUnavailable):
        world.lifecycle().create(token)
    with pytest.raises(errors.OrderRefused):
        world.lifecycle(policy=replace(world.policy, profiles={})).create(token)


def test_link_is_recorded_with_the_certificates_digest(world: World, credential: Credential) -> None:
    with world.engine.connect() as connection:
        entry = list(read_entries(connection, audit.entries))[-1]
    assert entry.event == events.CREDENTIAL_ACTIVATED
    assert set(json.loads(entry.fields)) == {"credential_id", "owner", "version", "certificate_sha256"}
    assert credential.not_before == int(NOW.timestamp()) - LEEWAY_SECONDS


def test_a_name_too_long_for_a_certificate_is_refused_before_a_key_is_made(world: World) -> None:
    subject = replace(ALICE, common_name="\u00e9" * 64)
    with pytest.raises(errors.OrderRefused):
        world.lifecycle().create(world.order_token(parameters=CreateParameters("standard", subject)))
    assert world.fake.calls["generate"] == 0
    assert recorded(world) == []


def test_KEY_14_a_public_key_that_is_none_is_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = world.fake.generate
    monkeypatch.setattr(world.fake, "generate", lambda profile, _of: replace(generate(profile), public_key=b"\x30\x00"))
    with pytest.raises(errors.ScdevUnavailable):
        world.lifecycle().create(world.order_token())
