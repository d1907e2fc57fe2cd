"""What the tests of the anchor share: a world set back, and why it then signs nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auditlog.sql import read_entries
from signing.sam import errors
from signing.sam.anchor import label_of
from signing.sam.credential import Credential
from signing.sam.custody import Seen
from signing.sam.revocation import RevocationMemory
from signing.storage.tables import audit
from tests.fakes.sam import REALM, World

LABEL = label_of(REALM)


def restarted(world: World) -> World:
    """Another process, which remembers nothing."""
    return replace(world, seen=Seen(), memory=RevocationMemory())


def recorded(world: World) -> list[str]:
    with world.engine.connect() as connection:
        return [entry.event for entry in read_entries(connection, audit.entries)]


def suspend(world: World, credential: Credential) -> Credential:
    return world.lifecycle().execute(world.order_token("credential.suspend", credential_id=credential.id))


def stopped(world: World, credential: Credential) -> str:
    """Why nothing is signed."""
    before = world.fake.signatures
    with pytest.raises(errors.LedgerBehind) as refusal:
        world.activator().sign(world.request(world.sad(credential)))
    assert world.fake.signatures == before
    return str(refusal.value)
