"""SAD-14: a SAD that is bound to a key serves whoever shows that key, for that request, once."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest

from contract import sad as sads
from contract.confirmation import Confirmation
from contract.sad import Sad
from foundation.dpop import make_proof
from foundation.jose import generate_signing_key
from signing.sam.binding import Possession
from signing.sam.credential import Credential
from signing.sam.errors import BindingRefused, SadRefused, SadSpent, ScdevUnavailable
from signing.sam.ports import DeviceUnavailable
from signing.sam.verify import SignatureRequest
from tests.fakes.sam import SIGN_HASH, World, digest

KEY = generate_signing_key()
BOUND = Confirmation("jkt", KEY.kid)
TWO = (digest(1), digest(2))


def shown(world: World, presented: str, **changes: Any) -> Possession:
    """A proof that is right, until changed."""
    wanted: dict[str, Any] = {"key": KEY, "method": "POST", "uri": SIGN_HASH, "jti": secrets.token_hex(8)}
    wanted |= {"now": world.clock.now(), "token": presented, **changes}
    return Possession(make_proof(wanted.pop("key"), **wanted))


def asked(world: World, sad: Sad, digests: tuple[bytes, ...] | None = None, **changes: Any) -> SignatureRequest:
    token = sads.encode(sad, world.idp_key)
    possession = changes.pop("possession", None) or shown(world, token, **changes)
    made = world.request(sad, digests=digests or sad.dtbsr, possession=possession)
    # ECDSA is randomised: the proof is for these octets.
    return replace(made, sad=token)


def test_a_bound_sad_serves_whoever_shows_the_key(world: World, credential: Credential) -> None:
    sad = world.sad(credential, cnf=BOUND)
    assert len(world.activator().sign(asked(world, sad))) == 1


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("no proof", {"possession": Possession()}),
        ("a certificate instead", {"possession": Possession(certificate=KEY.kid)}),
        ("another key", {"key": generate_signing_key()}),
        ("another method", {"method": "GET"}),
        ("another URI", {"uri": SIGN_HASH.replace("signHash", "signDoc")}),
        ("another SAD", {"token": "another"}),
        ("no hash of the SAD", {"token": None}),
        ("not a proof", {"possession": Possession("x")}),
    ],
)
def test_SAD_14_whoever_does_not_show_the_key_is_refused(
    world: World, credential: Credential, reason: str, changes: dict[str, Any]
) -> None:
    made = world.fake.signatures
    with pytest.raises(BindingRefused):
        world.activator().sign(asked(world, world.sad(credential, cnf=BOUND), **changes))
    assert world.fake.signatures == made


def test_SAD_14_a_proof_that_is_stale_is_refused(world: World, credential: Credential) -> None:
    sad = world.sad(credential, cnf=BOUND)
    request = asked(world, sad)
    world.clock.advance(61)
    with pytest.raises(BindingRefused):
        world.activator().sign(request)


def test_SAD_14_a_proof_serves_once_on_every_node(either_world: World) -> None:
    """What the client has not asked for yet, whoever carried its request does not get with the same proof."""
    world = either_world
    sad = world.sad(world.credential(), TWO, cnf=BOUND)
    request = asked(world, sad, TWO[:1])
    assert len(world.activator().sign(request)) == 1
    replayed = asked(world, sad, TWO[1:], possession=request.possession)
    for node in (world.activator(), world.activator()):
        with pytest.raises(BindingRefused):
            node.sign(replayed)
    assert len(world.activator().sign(asked(world, sad, TWO[1:]))) == 1


def test_SAD_14_a_proof_is_spent_also_where_the_device_did_nothing(world: World, credential: Credential) -> None:
    sad = world.sad(credential, cnf=BOUND)
    request = asked(world, sad)
    world.fake.fail_next("sign", DeviceUnavailable("away"))
    with pytest.raises(ScdevUnavailable):
        world.activator().sign(request)
    with pytest.raises(BindingRefused):
        world.activator().sign(request)
    assert len(world.activator().sign(asked(world, sad))) == 1


def test_SAD_14_one_approval_cannot_be_had_under_two_keys(world: World, credential: Credential) -> None:
    sad = world.sad(credential, TWO, cnf=BOUND)
    world.activator().sign(asked(world, sad, TWO[:1]))
    unbound = world.sad(credential, TWO, txn=sad.txn)
    with pytest.raises(SadRefused):
        world.activator().sign(world.request(unbound, digests=TWO[1:]))


def test_SAD_14_another_transactions_proofs_cannot_be_used_up(world: World, credential: Credential) -> None:
    """Keys and identifiers are a client's to choose: the same pair in two transactions is two proofs."""
    for _ in range(2):
        sad = world.sad(credential, cnf=BOUND)
        assert len(world.activator().sign(asked(world, sad, jti="same"))) == 1


def test_SAD_14_a_certificate_has_to_be_the_one(world: World, credential: Credential) -> None:
    sad = world.sad(credential, cnf=Confirmation("x5t#S256", KEY.kid))
    for wrong in (Possession(), Possession(certificate=generate_signing_key().kid)):
        with pytest.raises(BindingRefused):
            world.activator().sign(asked(world, sad, possession=wrong))
    right = asked(world, sad, possession=Possession(certificate=KEY.kid))
    assert len(world.activator().sign(right)) == 1
    with pytest.raises(SadSpent):
        world.activator().sign(right)


def test_SAD_14_without_uris_no_proof_serves(world: World, credential: Credential) -> None:
    world.policy = replace(world.policy, dpop_htu=())
    with pytest.raises(BindingRefused):
        world.activator().sign(asked(world, world.sad(credential, cnf=BOUND)))
