"""The signer's proof in the module: what it takes to sign, to bind a device, and to change one (SAD-09)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from auditlog.sql import read_entries
from contract import proof as proofs
from contract import proof_key
from contract.assertion import ProofOrigin
from contract.errors import OperationUnderSigned
from contract.order import CreateParameters, CredentialParameters, ProofKeyParameters
from contract.proof import Proof
from contract.proof_key import Change, DeviceKey
from contract.sad import Sad
from foundation.jose import SigningKey, generate_signing_key
from signing.sam import errors, events
from signing.sam.credential import Credential
from signing.sam.errors import SamError
from signing.sam.proof import ProofPolicy, keys_of
from signing.storage.tables import audit
from tests.fakes.sam import ALICE, SAM_ID, World, digest
from tests.vectors.proof.make import (
    DEVICE,
    EDWARDS,
    OTHER,
    WHERE,
    authenticator_data,
    mobile,
    webauthn,
)
from tests.vectors.proof_key.make import by_mobile, by_passkey, device

POLICY = ProofPolicy(WHERE.rp_id, (WHERE.origin,))
LOGIN = ProofOrigin("idp.example.org", "https://idp.example.org")
D1, D2 = digest(1), digest(2)


@pytest.fixture
def world(world: World) -> World:
    """A module whose operator laid down where passkeys approve."""
    world.policy = replace(world.policy, proof=POLICY)
    return world


@pytest.fixture
def sole(world: World) -> Credential:
    """A credential that demands proofs, with a device from birth."""
    return born(world, device(DEVICE))


def born(world: World, key: DeviceKey | None) -> Credential:
    """A credential of the profile that demands proofs."""
    parameters = CreateParameters("sole-control", ALICE, key)
    pending = world.lifecycle().create(world.order_token(parameters=parameters))
    return world.lifecycle().link(pending.id, [world.authority.issue(pending.request)])


def proved(
    world: World, sad: Sad, make: Callable[..., Proof] = webauthn, key: SigningKey = DEVICE, **changes: Any
) -> Sad:
    """The SAD with a proof in it."""
    times = {"iat": world.now, "exp": world.now + 300}
    return replace(sad, signer_proof=proofs.to_claim(make(key, sad, **{**times, **changes})))


def recorded(world: World, event: str) -> list[dict[str, Any]]:
    """Fields of the chain's records of an event."""
    with world.engine.connect() as connection:
        return [json.loads(each.fields) for each in read_entries(connection, audit.entries) if each.event == event]


def bind(world: World, credential: Credential, added: DeviceKey | None, **more: Any) -> Credential:
    """Carry an order about proof keys out."""
    operation: Any = "credential.remove_proof_key" if added is None else "credential.bind_proof_key"
    parameters = ProofKeyParameters(credential.id, added, **more)
    return world.lifecycle().execute(world.order_token(operation, parameters=parameters))


def agreed(
    world: World, credential: Credential, added: DeviceKey | None, removed: str | None = None, **changes: Any
) -> dict[str, Any]:
    """What an order for a change carries besides the new key, agreed to by a device."""
    make = changes.pop("make", by_passkey)
    key = changes.pop("key", DEVICE)
    times = {"iat": world.now, "exp": world.now + 600}
    proof = make(key, Change(SAM_ID, credential.id, added, removed), **{**times, **changes})
    return {"removed": removed, "proof": proof}


# Signing


@pytest.mark.parametrize("form", ["webauthn", "mobile_id"])
def test_a_sad_with_the_signers_proof_signs(world: World, form: str) -> None:
    make, key = (webauthn, device(DEVICE)) if form == "webauthn" else (mobile, device(DEVICE, None))
    credential = born(world, key)
    sad = proved(world, world.sad(credential, (D1, D2)), make)
    assert len(world.activator().sign(world.request(sad))) == 2
    (intent,) = recorded(world, events.SIGNATURE_INTENT)
    assert (intent["proof_key"], len(intent["proof_sha256"])) == (DEVICE.kid, 64)


def test_SAD_09_a_sad_that_a_stolen_issuer_key_signed_is_refused_without_the_proof(
    world: World, sole: Credential
) -> None:
    with pytest.raises(errors.ProofMissing):
        world.activator().sign(world.request(world.sad(sole)))
    (refusal,) = recorded(world, events.SIGNATURE_REFUSED)
    assert refusal["code"] == "proof_missing"
    assert not recorded(world, events.SIGNATURE_INTENT)


def _login(world: World, sad: Sad) -> Sad:
    made = webauthn(DEVICE, sad, said={"origin": LOGIN.origin}, data=authenticator_data(LOGIN.rp_id))
    return replace(sad, signer_proof=proofs.to_claim(replace(made, iat=world.now, exp=world.now + 300)))


def _change(world: World, sad: Sad) -> Sad:
    change = Change(SAM_ID, sad.credential_id, device(OTHER), None)
    made = by_passkey(DEVICE, change, iat=world.now, exp=world.now + 300)
    return replace(sad, signer_proof=proofs.to_claim(made))


REFUSED: list[tuple[str, Callable[[World, Sad], Sad]]] = [
    ("another device's", lambda w, s: proved(w, s, key=OTHER)),
    ("of another transaction", lambda w, s: replace(proved(w, replace(s, txn="another")), txn=s.txn)),
    ("of another client", lambda w, s: replace(proved(w, s), client_id="another")),
    ("of other digests", lambda w, s: replace(proved(w, replace(s, dtbsr=(D2,))), dtbsr=s.dtbsr)),
    (
        "of another credential",
        lambda w, s: replace(proved(w, replace(s, credential_id="x")), credential_id=s.credential_id),
    ),
    ("of the other form", lambda w, s: proved(w, s, mobile)),
    ("expired", lambda w, s: proved(w, s, iat=w.now - 300, exp=w.now)),
    ("of the future", lambda w, s: proved(w, s, iat=w.now + 61, exp=w.now + 300)),
    ("a login", _login),
    ("the change of a key", _change),
    ("without user verification", lambda w, s: proved(w, s, data=authenticator_data(flags=1))),
]


@pytest.mark.parametrize(("reason", "change"), REFUSED, ids=[case[0] for case in REFUSED])
def test_SAD_09_another_proof_signs_nothing(
    world: World, sole: Credential, reason: str, change: Callable[[World, Sad], Sad]
) -> None:
    sad = change(world, world.sad(sole))
    with pytest.raises(errors.ProofRefused):
        world.activator().sign(world.request(sad, client_id=sad.client_id))
    assert [each["code"] for each in recorded(world, events.SIGNATURE_REFUSED)] == ["invalid_proof"], reason


def test_a_sad_without_digests_has_no_proof(world: World) -> None:
    scal1 = bind(world, world.credential(profile="scal1"), device(DEVICE))
    made = proved(world, world.sad(scal1, (D1,)))
    with pytest.raises(errors.ProofRefused):
        world.activator().sign(world.request(replace(made, dtbsr=(), sign_count=1), digests=(D1,)))
    assert world.activator().sign(world.request(made))


def test_a_proof_that_nobody_demands_is_verified_all_the_same(world: World, credential: Credential) -> None:
    with pytest.raises(errors.ProofRefused, match="not bound"):
        world.activator().sign(world.request(proved(world, world.sad(credential))))


def test_a_credential_whose_signer_bound_a_device_demands_proofs(world: World, credential: Credential) -> None:
    sad = world.sad(credential)
    bound = bind(world, credential, device(DEVICE))
    with pytest.raises(errors.ProofMissing):
        world.activator().sign(world.request(sad))
    assert world.activator().sign(world.request(proved(world, world.sad(bound))))


def test_without_a_device_a_credential_that_demands_proofs_signs_nothing(world: World) -> None:
    credential = born(world, None)
    with pytest.raises(errors.ProofMissing):
        world.activator().sign(world.request(world.sad(credential)))
    with pytest.raises(errors.ProofRefused):
        world.activator().sign(world.request(proved(world, world.sad(credential))))


@pytest.mark.parametrize(
    "policy", [None, replace(POLICY, rp_id="x.example.org"), replace(POLICY, origins=("https://x.example.org",))]
)
def test_where_passkeys_approve_is_the_operators_to_say(world: World, sole: Credential, policy: Any) -> None:
    elsewhere = replace(world.policy, proof=policy)
    with pytest.raises(errors.ProofRefused):
        world.activator(policy=elsewhere).sign(world.request(proved(world, world.sad(sole))))
    world.policy = elsewhere
    with pytest.raises(errors.OrderRefused):
        born(world, device(DEVICE))


def test_what_is_kept_of_a_device_is_a_key(world: World, sole: Credential) -> None:
    with pytest.raises(errors.RowAltered):
        keys_of(replace(sole, proof_keys=(b"{}",)))


# The counter


def counted(world: World, credential: Credential, count: int, **changes: Any) -> Sad:
    return proved(world, world.sad(credential), data=authenticator_data(count=count), **changes)


def test_a_copied_device_is_seen_by_its_counter(world: World, sole: Credential) -> None:
    node = world.activator()
    first = world.sad(sole, (D1, D2))
    first = proved(world, first, data=authenticator_data(count=7))
    assert node.sign(world.request(first, digests=(D1,)))
    # the same proof again, for the other of its digests
    assert node.sign(world.request(first, digests=(D2,)))
    with pytest.raises(errors.ProofCloned):
        node.sign(world.request(counted(world, sole, 7)))
    # approved before the one that was seen first: nothing is wrong with it
    early = counted(world, sole, 6)
    assert node.sign(world.request(early))
    world.clock.advance(30)
    for count in (6, 0):
        with pytest.raises(errors.ProofCloned):
            node.sign(world.request(counted(world, sole, count)))
    assert node.sign(world.request(counted(world, sole, 8)))
    assert {each["code"] for each in recorded(world, events.SIGNATURE_REFUSED)} == {"proof_cloned"}


def test_the_devices_longest_unused_are_forgotten_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signing.sam.proof_counters._MOST_COUNTED", 1)
    one, other, node = born(world, device(DEVICE)), born(world, device(OTHER)), world.activator()
    assert node.sign(world.request(counted(world, one, 9)))
    assert node.sign(world.request(counted(world, other, 9, key=OTHER)))
    world.clock.advance(30)
    assert node.sign(world.request(counted(world, one, 3)))


def test_a_device_that_does_not_count_is_not_asked_to(world: World, sole: Credential) -> None:
    node = world.activator()
    for _ in range(2):
        world.clock.advance(10)
        assert node.sign(world.request(counted(world, sole, 0)))


# Binding and changing


def test_a_device_is_there_from_birth_and_recorded(world: World, sole: Credential) -> None:
    assert sole.proof_keys == (proof_key.octets(device(DEVICE)),)
    (made,) = recorded(world, events.CREDENTIAL_CREATED)
    assert made["proof_key"] == DEVICE.kid
    assert made["evidence"] == ["webauthn", "attestation=none", "aaguid=00000000-0000-0000-0000-000000000000"]
    assert recorded(world, events.CREDENTIAL_PROOF_KEYS) == []


def test_the_first_device_is_bound_by_an_order_once(world: World) -> None:
    pending = world.lifecycle().create(world.order_token(parameters=CreateParameters("sole-control", ALICE)))
    parameters = ProofKeyParameters(pending.id, device(DEVICE))
    order = world.order_token("credential.bind_proof_key", parameters=parameters)
    bound = world.lifecycle().execute(order)
    assert (bound.status, bound.version) == ("pending", pending.version + 1)
    with pytest.raises(errors.OrderUsed):
        world.lifecycle().execute(order)
    (record,) = recorded(world, events.CREDENTIAL_PROOF_KEYS)
    assert (record["added"], record["proof_keys"], record["owner"]) == (DEVICE.kid, [DEVICE.kid], "alice")
    active = world.lifecycle().link(bound.id, [world.authority.issue(bound.request)])
    assert world.activator().sign(world.request(proved(world, world.sad(active))))


@pytest.mark.parametrize("make", [by_passkey, by_mobile])
def test_a_device_is_replaced_with_the_proof_of_the_one_before(world: World, make: Any) -> None:
    credential = born(world, device(DEVICE, WHERE if make is by_passkey else None))
    new = device(EDWARDS)
    changed = bind(world, credential, new, **agreed(world, credential, new, DEVICE.kid, make=make))
    assert changed.proof_keys == (proof_key.octets(new),)
    (record,) = recorded(world, events.CREDENTIAL_PROOF_KEYS)
    assert (record["added"], record["removed"], record["agreed_by"]) == (EDWARDS.kid, DEVICE.kid, DEVICE.kid)
    assert world.activator().sign(world.request(proved(world, world.sad(changed), key=EDWARDS)))
    with pytest.raises(errors.ProofRefused):
        world.activator().sign(world.request(proved(world, world.sad(changed), key=DEVICE)))


def test_a_second_device_and_the_first_one_goes(world: World, sole: Credential) -> None:
    new = device(OTHER)
    both = bind(world, sole, new, **agreed(world, sole, new))
    for key in (DEVICE, OTHER):
        assert world.activator().sign(world.request(proved(world, world.sad(both), key=key)))
    # with the second, whose first was lost
    left = bind(world, both, None, **agreed(world, both, None, DEVICE.kid, key=OTHER))
    assert left.proof_keys == (proof_key.octets(new),)


CHANGES: list[tuple[str, type[SamError], Callable[[World, Credential], Credential]]] = [
    ("SAD-09 without a proof", errors.ProofMissing, lambda w, c: bind(w, c, device(OTHER))),
    ("without a proof in place of it", errors.ProofMissing, lambda w, c: bind(w, c, device(OTHER), removed=DEVICE.kid)),
    (
        "agreed to by the new key",
        errors.ProofRefused,
        lambda w, c: bind(w, c, device(OTHER), **agreed(w, c, device(OTHER), key=OTHER)),
    ),
    (
        "agreed to for another key",
        errors.ProofRefused,
        lambda w, c: bind(w, c, device(OTHER), **agreed(w, c, device(EDWARDS))),
    ),
    (
        "agreed to for another credential",
        errors.ProofRefused,
        lambda w, c: bind(w, c, device(OTHER), **agreed(w, replace(c, id="another"), device(OTHER))),
    ),
    (
        "agreed to where people log in",
        errors.ProofRefused,
        lambda w, c: bind(w, c, device(OTHER), **agreed(w, c, device(OTHER), origin=LOGIN.origin)),
    ),
    (
        "agreed to an hour ago",
        errors.ProofRefused,
        lambda w, c: bind(w, c, device(OTHER), **agreed(w, c, device(OTHER), iat=w.now - 3600, exp=w.now)),
    ),
    (
        "the last one goes",
        errors.OrderRefused,
        lambda w, c: bind(w, c, None, **agreed(w, c, None, DEVICE.kid)),
    ),
    (
        "one goes that is not there",
        errors.OrderRefused,
        lambda w, c: bind(w, c, None, **agreed(w, c, None, OTHER.kid)),
    ),
    (
        "the same once more",
        errors.OrderRefused,
        lambda w, c: bind(w, c, device(DEVICE), **agreed(w, c, device(DEVICE))),
    ),
    (
        "a passkey of the login's",
        errors.OrderRefused,
        lambda w, c: bind(w, c, device(OTHER, LOGIN), **agreed(w, c, device(OTHER, LOGIN))),
    ),
]


@pytest.mark.parametrize(("reason", "error", "change"), CHANGES, ids=[case[0] for case in CHANGES])
def test_a_change_that_no_device_agreed_to_is_refused(
    world: World,
    sole: Credential,
    reason: str,
    error: type[SamError],
    change: Callable[[World, Credential], Credential],
) -> None:
    with pytest.raises(error):
        change(world, sole)
    assert world.lifecycle().credential(sole.id) == sole, reason


def test_there_are_at_most_four(world: World, credential: Credential) -> None:
    credential = bind(world, credential, device(DEVICE))
    for _ in range(3):
        new = device(generate_signing_key())
        credential = bind(world, credential, new, **agreed(world, credential, new))
    with pytest.raises(errors.OrderRefused, match="at most 4"):
        bind(world, credential, device(OTHER), **agreed(world, credential, device(OTHER)))


def test_whoever_wants_no_proofs_any_more_proves_it(world: World, credential: Credential) -> None:
    bound = bind(world, credential, device(DEVICE))
    plain = bind(world, bound, None, **agreed(world, bound, None, DEVICE.kid))
    assert world.activator().sign(world.request(world.sad(plain)))


def test_a_first_device_takes_nothing_off(world: World, credential: Credential) -> None:
    for more in ({"removed": DEVICE.kid}, {"proof": by_passkey()}):
        with pytest.raises(errors.OrderRefused):
            bind(world, credential, device(DEVICE), **more)


def test_a_deleted_credential_has_no_use_for_a_device(world: World, credential: Credential) -> None:
    world.lifecycle().execute(world.order_token("credential.delete", credential_id=credential.id))
    with pytest.raises(errors.CredentialDisabled):
        bind(world, credential, device(DEVICE))


def test_another_persons_credential_takes_no_device(world: World, credential: Credential) -> None:
    order = world.order_token(
        "credential.bind_proof_key", parameters=ProofKeyParameters(credential.id, device(DEVICE)), sub="mallory"
    )
    with pytest.raises(errors.WrongOwner):
        world.lifecycle().execute(order)


# Operators


def test_ADM_02_two_operators_put_another_device_in_place(world: World, sole: Credential) -> None:
    wanted: dict[str, Any] = {"credential_id": sole.id, "proof_key": proof_key.to_json(device(OTHER))}
    with pytest.raises(OperationUnderSigned):
        world.operators().execute(world.operation("credential.set_proof_key", signers=1, **wanted))
    done = world.operators().execute(world.operation("credential.set_proof_key", **wanted))
    assert done.credential is not None
    assert done.credential.proof_keys == (proof_key.octets(device(OTHER)),)
    (record,) = recorded(world, events.CREDENTIAL_PROOF_KEYS)
    assert (record["issuer"], record["added"], len(record["decision"].split())) == ("operators", OTHER.kid, 2)
    assert world.activator().sign(world.request(proved(world, world.sad(done.credential), key=OTHER)))


def test_two_operators_take_every_device_away(world: World, sole: Credential) -> None:
    done = world.operators().execute(world.operation("credential.set_proof_key", credential_id=sole.id))
    assert done.credential is not None
    assert done.credential.proof_keys == ()
    with pytest.raises(errors.ProofMissing):
        world.activator().sign(world.request(world.sad(done.credential)))


@pytest.mark.parametrize("key", [{}, "x", proof_key.to_json(device(OTHER, LOGIN))])
def test_operators_bind_no_key_that_could_prove_nothing(world: World, sole: Credential, key: Any) -> None:
    with pytest.raises((errors.OperationRefused, errors.OrderRefused)):
        world.operators().execute(world.operation("credential.set_proof_key", credential_id=sole.id, proof_key=key))


def test_operators_change_nothing_of_a_deleted_credential(world: World, sole: Credential) -> None:
    world.lifecycle().execute(
        world.order_token("credential.delete", parameters=CredentialParameters(sole.id), credential_id=sole.id)
    )
    with pytest.raises(errors.CredentialDisabled):
        world.operators().execute(world.operation("credential.set_proof_key", credential_id=sole.id))


def test_the_clock_decides_a_proofs_time(world: World, sole: Credential) -> None:
    sad = proved(world, world.sad(sole), exp=world.now + 20)
    world.clock.advance(19)
    assert world.activator().sign(world.request(sad))
