"""Operators' operations: what one may do and what takes two, once, for this module, in its time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete

from auditlog.sql import read_entries
from contract.errors import OperationExpired, OperationInvalid, OperationUnderSigned
from contract.operation import operator_key
from foundation.jose import decode_base64url, encode_base64url, generate_signing_key
from signing.sam import errors, events
from signing.sam.anchor import MAX_OPERATORS, MAX_USED, MAX_USED_BY_ONE
from signing.sam.credential import Credential
from signing.sam.ports import DeviceUnavailable
from signing.sam.refusals import RefusalBudget
from signing.storage.tables import audit, orders
from tests.fakes.sam import FLOOR, World

TWO = ("credential.resume", "credential.delete")


def recorded(world: World, event: str) -> list[dict[str, Any]]:
    """Fields of an event's records."""
    with world.engine.connect() as connection:
        found = [entry for entry in read_entries(connection, audit.entries) if entry.event == event]
    return [json.loads(entry.fields) for entry in found]


def thumbprints(world: World) -> list[str]:
    return [key.kid for key in world.operator_keys]


def suspended(world: World, credential: Credential) -> Credential:
    done = world.operators().execute(world.operation("credential.suspend", 1, credential_id=credential.id))
    assert done.credential is not None
    return done.credential


def test_one_operator_suspends(world: World, credential: Credential) -> None:
    changed = suspended(world, credential)
    assert changed.status == "suspended"
    assert world.lifecycle().credential(credential.id) == changed
    with pytest.raises(errors.CredentialDisabled):
        world.activator().sign(world.request(world.sad(credential)))
    (fields,) = recorded(world, events.CREDENTIAL_SUSPENDED)
    assert fields["issuer"] == "operators"
    assert fields["decision"] == thumbprints(world)[0]


def test_one_operator_revokes_and_two_do_not_resume(world: World, credential: Credential) -> None:
    done = world.operators().execute(world.operation("credential.revoke", 1, credential_id=credential.id))
    assert done.credential is not None
    assert done.credential.status == "revoked"
    with pytest.raises(errors.CredentialDisabled):
        world.operators().execute(world.operation("credential.resume", credential_id=credential.id))
    with pytest.raises(errors.CredentialDisabled):
        world.activator().sign(world.request(world.sad(credential)))


def test_two_operators_resume_and_nothing_approved_before_serves(world: World, credential: Credential) -> None:
    before = world.request(world.sad(credential))
    suspended(world, credential)
    world.operators().execute(world.operation("credential.resume", credential_id=credential.id))
    with pytest.raises(errors.SadRefused):
        world.activator().sign(before)
    world.clock.advance(6)
    assert world.activator().sign(world.request(world.sad(credential)))


def test_two_operators_delete(world: World, credential: Credential) -> None:
    done = world.operators().execute(world.operation("credential.delete", credential_id=credential.id))
    assert done.signers == tuple(thumbprints(world))
    assert world.lifecycle().credential(credential.id).key is None
    with pytest.raises(errors.CredentialDisabled):
        world.operators().execute(world.operation("credential.set_floor", credential_id=credential.id, loa="high"))


@pytest.mark.parametrize("name", TWO)
def test_ADM_01_one_operator_alone_weakens_nothing(world: World, credential: Credential, name: str) -> None:
    suspended(world, credential)
    with pytest.raises(OperationUnderSigned):
        world.operators().execute(world.operation(name, 1, credential_id=credential.id))
    assert world.lifecycle().credential(credential.id).status == "suspended"
    (fields,) = recorded(world, events.OPERATION_REFUSED)
    assert (fields["code"], fields["name"]) == ("operators_missing", name)


def test_ADM_01_the_same_key_twice_is_not_two_operators(world: World, credential: Credential) -> None:
    bundle = json.loads(world.operation("credential.delete", 1, credential_id=credential.id))
    bundle["signatures"] *= 2
    with pytest.raises(OperationInvalid):
        world.operators().execute(json.dumps(bundle))
    assert world.lifecycle().credential(credential.id).status == "active"
    assert len(recorded(world, events.OPERATION_REFUSED)) == 1


def test_ADM_01_a_stranger_is_no_second_operator(world: World, credential: Credential) -> None:
    keys = (world.operator_keys[0], generate_signing_key())
    with pytest.raises(OperationInvalid):
        world.operators().execute(world.operation("credential.delete", keys=keys, credential_id=credential.id))
    assert recorded(world, events.OPERATION_REFUSED)[0]["signers"] == [key.kid for key in keys]


def test_ADM_02_an_expired_operation_is_refused_from_its_exp_on(world: World, credential: Credential) -> None:
    first, second = (
        world.operation("credential.suspend", 1, credential_id=credential.id, exp=world.now + 60) for _ in range(2)
    )
    world.clock.advance(60)
    with pytest.raises(OperationExpired):
        world.operators().execute(first)
    world.clock.advance(-1)
    assert world.operators().execute(second).credential is not None
    assert [fields["code"] for fields in recorded(world, events.OPERATION_REFUSED)] == ["expired_operation"]


def test_ADM_02_an_altered_operation_is_refused(world: World, credential: Credential) -> None:
    one = json.loads(world.operation("credential.suspend", credential_id=credential.id))
    other = json.loads(world.operation("credential.delete", credential_id=credential.id))
    with pytest.raises(OperationInvalid):
        world.operators().execute(json.dumps({**one, "payload": other["payload"]}))
    assert world.lifecycle().credential(credential.id).status == "active"


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "urn:privyseal:sam:other"},
        {"name": "credential.export"},
        {"name": "credential.create"},
        {"iat": 6, "exp": 100},
        {"iat": 0, "exp": 86_401},
        {"iat": -86_401, "exp": 1, "max_life": 200_000},
    ],
)
def test_ADM_02_an_operation_for_another_module_or_time_or_of_no_kind_is_refused(
    world: World, credential: Credential, change: dict[str, Any]
) -> None:
    name = change.pop("name", "credential.suspend")
    policy = replace(world.policy, max_operation_seconds=change.pop("max_life", 86_400))
    claims: dict[str, Any] = {
        key: world.now + value if isinstance(value, int) else value for key, value in change.items()
    }
    with pytest.raises((OperationInvalid, errors.OperationRefused)):
        world.operators(policy=policy).execute(world.operation(name, credential_id=credential.id, **claims))
    assert len(recorded(world, events.OPERATION_REFUSED)) == 1


def test_ADM_02_an_operation_is_carried_out_once(world: World, credential: Credential) -> None:
    suspended(world, credential)
    bundle = world.operation("credential.resume", credential_id=credential.id)
    world.operators().execute(bundle)
    suspended(world, credential)
    with pytest.raises(errors.OperationUsed):
        world.operators().execute(bundle)
    assert [fields["code"] for fields in recorded(world, events.OPERATION_REFUSED)] == ["operation_used"]


def test_ADM_02_an_operation_that_the_database_forgot_is_not_carried_out_again(
    world: World, credential: Credential
) -> None:
    suspended(world, credential)
    bundle = world.operation("credential.resume", credential_id=credential.id)
    world.operators().execute(bundle)
    suspended(world, credential)
    with world.engine.begin() as connection:
        connection.execute(delete(orders))
    with pytest.raises(errors.OperationUsed):
        world.operators().execute(bundle)
    assert world.lifecycle().credential(credential.id).status == "suspended"


def test_what_an_operation_was_remembered_for_is_forgotten_when_it_has_expired(
    world: World, credential: Credential
) -> None:
    for _ in range(MAX_USED):
        bundle = world.operation("credential.set_floor", credential_id=credential.id, loa="high", exp=world.now + 60)
        world.operators().execute(bundle)
    one_more = world.operation("credential.set_floor", credential_id=credential.id, loa="high")
    with pytest.raises(errors.OperationRefused, match="at a time"):
        world.operators().execute(one_more)
    world.clock.advance(60)
    world.operators().execute(one_more)
    assert len(world.anchor.latest().used) == 1


def test_ADM_01_one_operator_alone_cannot_use_up_what_two_need_for_a_restore(
    world: World, credential: Credential
) -> None:
    def busy() -> str:
        return world.operation("credential.set_floor", 1, credential_id=credential.id, loa="substantial")

    for _ in range(MAX_USED_BY_ONE):
        world.operators().execute(busy())
    with pytest.raises(errors.OperationRefused, match="at a time"):
        world.operators().execute(busy())
    assert world.operators().execute(world.operation("ledger.restore")).epoch == 2


def test_ADM_01_operators_do_not_enrol_one_of_them_a_second_time_under_another_way_of_writing_his_key(
    world: World,
) -> None:
    jwk = world.operator_keys[0].verification_key().as_jwk()
    padded = encode_base64url(b"\0" + decode_base64url(jwk["x"].encode()))
    with pytest.raises(errors.OperationRefused, match="already"):
        world.operators().execute(world.operation("operator.enrol", jwk={**jwk, "x": padded}))
    assert len(world.anchor.latest().operators) == 2


RAISES = [
    {"loa": "high"},
    {"min_categories": 3},
    {"max_sad_seconds": 60},
    {"max_evidence_age_seconds": 60},
    {"phishing_resistant": True},
    {"max_signatures_per_day": 1},
    {"loa": "high", "min_categories": 3, "max_sad_seconds": 1, "max_evidence_age_seconds": 1},
]
LOWERS = [
    {"loa": "low"},
    {"max_sad_seconds": 301},
    {"max_evidence_age_seconds": 901},
    {"loa": "high", "max_sad_seconds": 3600},
]


@pytest.mark.parametrize("change", RAISES)
def test_one_operator_raises_a_floor(world: World, credential: Credential, change: dict[str, Any]) -> None:
    world.operators().execute(world.operation("credential.set_floor", 1, credential_id=credential.id, **change))
    assert world.lifecycle().credential(credential.id).floor == replace(FLOOR, **change)
    assert len(recorded(world, events.CREDENTIAL_FLOOR_SET)) == 1


@pytest.mark.parametrize("change", LOWERS)
def test_ADM_01_lowering_any_of_a_floor_takes_two(world: World, credential: Credential, change: dict[str, Any]) -> None:
    operators = world.operators()
    with pytest.raises(OperationUnderSigned):
        operators.execute(world.operation("credential.set_floor", 1, credential_id=credential.id, **change))
    assert world.lifecycle().credential(credential.id).floor == FLOOR
    operators.execute(world.operation("credential.set_floor", credential_id=credential.id, **change))
    assert world.lifecycle().credential(credential.id).floor == replace(FLOOR, **change)


def test_ADM_01_lowering_the_categories_takes_two(world: World, credential: Credential) -> None:
    operators = world.operators()
    operators.execute(world.operation("credential.set_floor", 1, credential_id=credential.id, min_categories=3))
    with pytest.raises(OperationUnderSigned):
        operators.execute(world.operation("credential.set_floor", 1, credential_id=credential.id, min_categories=2))


@pytest.mark.parametrize(
    ("first", "then", "weaker"),
    [
        ({"phishing_resistant": True}, {"phishing_resistant": False}, True),
        ({"max_signatures_per_day": 10}, {"max_signatures_per_day": 11}, True),
        ({"max_signatures_per_day": 10}, {"max_signatures_per_day": 0}, True),
        ({"max_signatures_per_day": 10}, {"max_signatures_per_day": 9}, False),
        ({"phishing_resistant": True}, {"phishing_resistant": True}, False),
    ],
)
def test_ADM_01_giving_back_what_a_floor_asked_for_takes_two(
    world: World, credential: Credential, first: dict[str, Any], then: dict[str, Any], weaker: bool
) -> None:
    operators = world.operators()
    operators.execute(world.operation("credential.set_floor", 1, credential_id=credential.id, **first))
    operation = world.operation("credential.set_floor", 1, credential_id=credential.id, **then)
    if weaker:
        with pytest.raises(OperationUnderSigned):
            operators.execute(operation)
        operation = world.operation("credential.set_floor", credential_id=credential.id, **then)
    operators.execute(operation)
    assert world.lifecycle().credential(credential.id).floor == replace(FLOOR, **{**first, **then})


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"phishing_resistant": 1},
        {"max_signatures_per_day": -1},
        {"max_signatures_per_day": 1_000_001},
        {"max_signatures_per_day": True},
        {"loa": "extreme"},
        {"loa": 1},
        {"min_categories": 1},
        {"min_categories": 4},
        {"min_categories": True},
        {"max_sad_seconds": 0},
        {"max_sad_seconds": 3601},
        {"max_evidence_age_seconds": 0},
        {"loa": "high", "more": 1},
    ],
)
def test_a_floor_that_cannot_be_is_refused(world: World, credential: Credential, parameters: dict[str, Any]) -> None:
    with pytest.raises(errors.OperationRefused):
        world.operators().execute(world.operation("credential.set_floor", credential_id=credential.id, **parameters))
    assert world.lifecycle().credential(credential.id).floor == FLOOR


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("credential.suspend", {}),
        ("credential.suspend", {"credential_id": 1}),
        ("credential.suspend", {"credential_id": "x", "reason": "lost"}),
        ("operator.enrol", {}),
        ("operator.enrol", {"jwk": "x"}),
        ("operator.retire", {}),
        ("operator.retire", {"thumbprint": ""}),
        ("ledger.restore", {"epoch": 9}),
    ],
)
def test_parameters_that_are_not_the_operations_are_refused(
    world: World, credential: Credential, name: str, parameters: dict[str, Any]
) -> None:
    with pytest.raises(errors.OperationRefused):
        world.operators().execute(world.operation(name, **parameters))


def test_an_operation_on_a_credential_that_is_not_there_or_not_so_is_refused(
    world: World, credential: Credential
) -> None:
    with pytest.raises(errors.UnknownCredential):
        world.operators().execute(world.operation("credential.suspend", credential_id="none"))
    with pytest.raises(errors.CredentialDisabled):
        world.operators().execute(world.operation("credential.resume", credential_id=credential.id))


def test_operators_enrol_one_who_then_counts(world: World, credential: Credential) -> None:
    third = generate_signing_key()
    jwk = third.verification_key().as_jwk()
    with pytest.raises(OperationUnderSigned):
        world.operators().execute(world.operation("operator.enrol", 1, jwk=jwk))
    world.operators().execute(world.operation("operator.enrol", jwk=jwk))
    assert recorded(world, events.OPERATOR_ENROLLED)[0]["operator"] == third.kid
    keys = (third, world.operator_keys[0])
    world.operators().execute(world.operation("credential.delete", keys=keys, credential_id=credential.id))
    with pytest.raises(errors.OperationRefused, match="already"):
        world.operators().execute(world.operation("operator.enrol", jwk=jwk))


def test_an_operator_who_was_retired_counts_no_more_and_two_are_left(world: World) -> None:
    third = generate_signing_key()
    retire = world.operation("operator.retire", thumbprint=world.operator_keys[0].kid)
    with pytest.raises(errors.OperationRefused, match="left"):
        world.operators().execute(retire)
    world.operators().execute(world.operation("operator.enrol", jwk=third.verification_key().as_jwk()))
    with pytest.raises(OperationUnderSigned):
        world.operators().execute(world.operation("operator.retire", 1, thumbprint=third.kid))
    with pytest.raises(errors.OperationRefused, match="no such"):
        world.operators().execute(world.operation("operator.retire", thumbprint="nobody"))
    world.operators().execute(retire)
    assert {key.kid for key in world.anchor.latest().operators} == {third.kid, world.operator_keys[1].kid}
    with pytest.raises(OperationInvalid):
        world.operators().execute(world.operation("operator.enrol", jwk=world.operator_keys[0].key.as_dict()))
    assert len(recorded(world, events.OPERATOR_RETIRED)) == 1


def test_there_are_no_more_operators_than_an_anchor_holds(world: World) -> None:
    for _ in range(MAX_OPERATORS - 2):
        jwk = generate_signing_key().verification_key().as_jwk()
        world.operators().execute(world.operation("operator.enrol", jwk=jwk))
    assert sum(map(len, world.fake.read_data("privyseal-anchor/test"))) < 8192
    one_more = world.operation("operator.enrol", jwk=generate_signing_key().verification_key().as_jwk())
    with pytest.raises(errors.OperationRefused):
        world.operators().execute(one_more)


def test_an_operator_retired_between_the_look_and_the_change_has_not_signed(world: World) -> None:
    third, fourth = generate_signing_key(), generate_signing_key()
    for key in (third, fourth):
        world.operators().execute(world.operation("operator.enrol", jwk=key.verification_key().as_jwk()))
    late = world.operation("operator.retire", keys=(third, fourth), thumbprint=world.operator_keys[0].kid)
    operators = world.operators()
    signed = operators._verified(late, world.clock.now())
    world.operators().execute(world.operation("operator.retire", thumbprint=third.kid))
    with pytest.raises(errors.OperationRefused, match="meanwhile"):
        operators._retire(signed)
    assert operator_key(world.operator_keys[0].verification_key().as_jwk()).kid in {
        key.kid for key in world.anchor.latest().operators
    }


def test_an_operator_who_is_gone_meanwhile_is_not_retired_twice(world: World) -> None:
    third = generate_signing_key()
    world.operators().execute(world.operation("operator.enrol", jwk=third.verification_key().as_jwk()))
    bundle = world.operation("operator.enrol", jwk=generate_signing_key().verification_key().as_jwk())
    operators = world.operators()
    signed = operators._verified(bundle, world.clock.now())
    operators._enrol(signed)
    with pytest.raises(errors.OperationUsed):
        operators._enrol(signed)


def test_operations_after_a_restore_have_to_be_signed_after_it(world: World, credential: Credential) -> None:
    early = world.operation("credential.suspend", credential_id=credential.id)
    with pytest.raises(OperationUnderSigned):
        world.operators().execute(world.operation("ledger.restore", 1))
    assert world.operators().execute(world.operation("ledger.restore")).epoch == 2
    with pytest.raises(errors.OperationRefused, match="epoch"):
        world.operators().execute(early)
    assert recorded(world, events.EPOCH_RAISED)[0]["signers"] == thumbprints(world)


def test_a_restore_is_carried_out_once(world: World) -> None:
    operators = world.operators()
    signed = operators._verified(world.operation("ledger.restore"), world.clock.now())
    operators._restore(signed)
    with pytest.raises((errors.OperationUsed, errors.OrderUsed)):
        operators._restore(signed)
    assert world.store.epoch().number == 2


def test_without_the_token_nothing_is_carried_out_and_nobody_is_believed(world: World, credential: Credential) -> None:
    bundle = world.operation("credential.suspend", credential_id=credential.id)
    world.fake.fail_next("read_data", DeviceUnavailable("away"))
    with pytest.raises(errors.ScdevUnavailable):
        world.operators().execute(bundle)
    assert world.operators().execute(bundle).credential is not None


def test_refusals_have_a_budget_and_need_no_chain(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    operators = world.operators()
    operators._refusals = RefusalBudget(1, 0)
    for _ in range(3):
        with pytest.raises(OperationInvalid):
            operators.execute("{}")
    (fields,) = recorded(world, events.OPERATION_REFUSED)
    assert fields["code"] == "invalid_operation"

    def down(_record: object) -> None:
        raise errors.StoreUnavailable("down")

    monkeypatch.setattr(world.store, "note", down)
    with pytest.raises(OperationInvalid):
        world.operators().execute("{}")


def test_a_database_that_is_away_is_told_and_not_recorded(
    world: World, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down() -> None:
        raise errors.StoreUnavailable("down")

    monkeypatch.setattr(world.store, "epoch", down)
    with pytest.raises(errors.StoreUnavailable):
        world.operators().execute(world.operation("credential.suspend", credential_id=credential.id))
    assert recorded(world, events.OPERATION_REFUSED) == []
