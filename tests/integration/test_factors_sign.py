"""Whatever second factor a person steps up with, the module takes the SAD that follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from idp.activation.binding import digest_of
from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.activation.mint import sad_for
from idp.authn.approval import Approval
from idp.authn.methods import NATIVE, evidence_of
from idp.policy.evidence import Evidence
from idp.policy.methods import methods
from idp.storage.authenticators import NewAuthenticator
from signing.sam.algorithms import SHA256
from signing.sam.credential import Credential
from signing.sam.errors import FloorNotMet
from tests.fakes.sam import CLIENT, ISSUER, SAM_ID, World, make_world

SECOND = tuple(kind for kind in NATIVE if kind != "password")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(f"sqlite:///{tmp_path / 'sam.sqlite'}")
    yield made
    made.engine.dispose()


def approval(world: World, intent: SignatureIntent, second: Evidence) -> Approval:
    """A person signed in with a password a minute ago, and used something else for this transaction."""
    now = world.clock.now()
    password = Evidence("password", "p", "knowledge", now - timedelta(minutes=1), transaction="T")
    return Approval(
        txn="T",
        account_id="alice",
        session_id="S",
        client_id=CLIENT,
        action="signature.activate",
        binding=digest_of(action="signature.activate", client_id=CLIENT, txn="T", intent=intent),
        decision_id="D",
        policy_name="default",
        policy_sha256="ab" * 32,
        acr="urn:example:substantial",
        loa="substantial",
        amr=methods((password, second)),
        auth_time=password.at,
        evidence=(password, second),
        approved_at=now,
    )


def signed(world: World, credential: Credential, second: Evidence) -> tuple[bytes, ...]:
    """What the module makes of it."""
    intent = SignatureIntent(credential.id, SHA256, (DocumentDigest(b"\1" * 32, "a.pdf"),), "dtbsr", 1)
    sad = sad_for(
        approval(world, intent, second),
        intent,
        issuer=ISSUER,
        audience=SAM_ID,
        jti=second.factor,
        now=world.clock.now(),
        lifetime_seconds=300,
    )
    return world.activator().sign(world.request(sad))


@pytest.mark.parametrize("kind", SECOND)
def test_a_signature_follows_from_a_password_and(world: World, kind: str) -> None:
    used = evidence_of(NewAuthenticator("x", "alice", kind), world.clock.now(), "T", bound=True)
    assert len(signed(world, world.credential(), used)) == 1


@pytest.mark.parametrize("kind", SECOND)
def test_SES_06_none_does_from_what_was_proved_for_the_session(world: World, kind: str) -> None:
    """EN 419 241-1, SCAL2: an open session signs nothing."""
    used = evidence_of(NewAuthenticator("x", "alice", kind), world.clock.now(), "T", bound=False)
    with pytest.raises(FloorNotMet):
        signed(world, world.credential(), used)
