"""How many signatures a credential makes in a day: counted where they are reserved, over all SADs and nodes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from auditlog.sql import read_entries
from signing.sam import errors, events
from signing.sam.credential import Credential
from signing.sam.ports import DeviceUnavailable
from signing.storage.tables import audit
from tests.fakes.sam import World, digest

DAY_SECONDS = 24 * 60 * 60


def limited(world: World, most: int) -> Credential:
    """A credential of which operators said how much it may sign in a day."""
    found = world.credential()
    world.operators().execute(
        world.operation("credential.set_floor", 1, credential_id=found.id, max_signatures_per_day=most)
    )
    return world.lifecycle().credential(found.id)


def sign(world: World, credential: Credential, count: int = 1) -> int:
    """With a SAD of its own."""
    digests = tuple(digest(number) for number in range(count))
    return len(world.activator().sign(world.request(world.sad(credential, digests))))


def test_no_more_than_its_floor_allows_over_all_sads(either_world: World) -> None:
    world, credential = either_world, limited(either_world, 5)
    before = world.fake.signatures
    assert sign(world, credential, 3) == 3
    with pytest.raises(errors.DayExhausted):
        sign(world, credential, 3)
    assert sign(world, credential, 2) == 2
    with pytest.raises(errors.DayExhausted):
        sign(world, credential)
    assert world.fake.signatures - before == 5


def test_a_refusal_spends_nothing_and_is_recorded(world: World) -> None:
    credential = limited(world, 1)
    request = world.request(world.sad(credential, (digest(1), digest(2))))
    with pytest.raises(errors.DayExhausted):
        world.activator().sign(request)
    assert len(world.activator().sign(replace(request, digests=(digest(1),)))) == 1
    with world.engine.connect() as connection:
        entries = list(read_entries(connection, audit.entries))
    refused = [entry for entry in entries if entry.event == events.SIGNATURE_REFUSED]
    assert ['"code":"day_exhausted"' in entry.fields for entry in refused] == [True]


def test_a_day_is_24_hours_whatever_the_calendar_says(world: World) -> None:
    credential = limited(world, 1)
    sign(world, credential)
    world.clock.advance(DAY_SECONDS - 1)
    with pytest.raises(errors.DayExhausted):
        sign(world, credential)
    world.clock.advance(1)
    assert sign(world, credential) == 1


def test_what_was_certainly_not_signed_is_not_counted(world: World) -> None:
    credential = limited(world, 1)
    world.fake.fail_next("sign", DeviceUnavailable("away"))
    with pytest.raises(errors.ScdevUnavailable):
        sign(world, credential)
    assert sign(world, credential) == 1


def test_another_credential_has_a_day_of_its_own(world: World) -> None:
    one, other = limited(world, 1), limited(world, 1)
    assert sign(world, one) == sign(world, other) == 1


def test_SAD_10_of_many_at_once_no_more_than_the_day_allows(either_world: World) -> None:
    world, credential = either_world, limited(either_world, 4)
    requests = [world.request(world.sad(credential)) for _ in range(12)]
    activators = [world.activator(), world.activator()]
    before = world.fake.signatures

    def attempt(number: int) -> bool:
        try:
            return len(activators[number % 2].sign(requests[number])) == 1
        except errors.DayExhausted:
            return False

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(attempt, range(12)))
    assert (sum(done), world.fake.signatures - before) == (4, 4)
