"""SAD-15, OPS-08: what a refusal costs tells nothing, by counts; a clock that jumps lets nothing serve twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event

from auditlog.chain import verify
from auditlog.sql import read_entries
from contract.errors import SadInvalid
from foundation.errors import PrivySealError
from signing.link import codes
from signing.sam import errors, events
from signing.sam.algorithms import SHA256
from signing.sam.verify import SignatureRequest, first_second_after
from signing.sam_app.parts import sads_not_before
from signing.storage.tables import audit
from tests.fakes.sam import CLIENT, ECDSA_SHA256, World, digest

HOUR = 3600


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """What is executed on the database."""
    seen: list[str] = []

    def execute(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", execute)
    yield seen
    event.remove(engine, "before_cursor_execute", execute)


def cost(world: World, sad: str, credential_id: str) -> tuple[str, str, int, Counter[str]]:
    """Code, what is answered, statements, and calls of the device."""
    request = SignatureRequest(sad, CLIENT, credential_id, SHA256, (digest(1),), ECDSA_SHA256)
    activator, before = world.activator(), world.fake.calls.copy()
    with statements(world.engine) as seen, pytest.raises(PrivySealError) as refused:
        activator.sign(request)
    code = codes.INVALID_SAD if isinstance(refused.value, SadInvalid) else refused.value.code
    return code, codes.DETAILS[code], len(seen), world.fake.calls - before


def altered(token: str, part: int, at: int) -> str:
    """One character of header, claims or signature."""
    parts = token.split(".")
    text = parts[part]
    at %= len(text)
    parts[part] = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
    return ".".join(parts)


@pytest.mark.parametrize(("part", "at"), [(2, 0), (2, 40), (1, 30), (0, 3)])
def test_SAD_15_without_the_issuers_signature_nothing_is_looked_up_whoever_the_credential_is(
    world: World, part: int, at: int
) -> None:
    credential = world.credential()
    token = altered(world.request(world.sad(credential)).sad, part, at)
    costs = [cost(world, token, name) for name in (credential.id, "unknown", world.credential("bob").id)]
    assert costs == [(codes.INVALID_SAD, codes.DETAILS[codes.INVALID_SAD], 0, Counter())] * 3


def test_SAD_15_with_a_sad_of_ones_own_another_credential_costs_what_an_unknown_one_costs(world: World) -> None:
    credential, other = world.credential(), world.credential("bob")
    token = world.request(world.sad(credential)).sad
    asked = [cost(world, token, name) for name in (other.id, "unknown", "x" * 32)]
    assert asked[0][0] == codes.WRONG_CREDENTIAL
    # The refusal's record apart, which is the same for each.
    assert asked.count(asked[0]) == 3
    assert asked[0][3] == Counter()


def test_SAD_15_each_code_has_one_sentence() -> None:
    def all_of(kind: type[errors.SamError]) -> Iterator[type[errors.SamError]]:
        for each in kind.__subclasses__():
            yield each
            yield from all_of(each)

    sent = {each.code for each in all_of(errors.SamError)} - {errors.StateRefused.code}
    assert sent <= set(codes.DETAILS)
    assert len(set(codes.DETAILS.values())) == len(codes.DETAILS)
    assert not [sentence for sentence in codes.DETAILS.values() if "{" in sentence or "%" in sentence]


def test_OPS_08_an_hour_forward_nothing_expired_serves_and_back_again_nothing_twice(either_world: World) -> None:
    world = either_world
    credential, made = world.credential(), world.fake.signatures
    before = world.request(world.sad(credential, (digest(1),)))
    spent = world.request(world.sad(credential, (digest(2),)))
    assert len(world.activator().sign(spent)) == 1
    node = world.activator()
    world.clock.advance(HOUR)
    for request in (before, spent):
        with pytest.raises(errors.SadExpired):
            node.sign(request)
    ahead = world.request(world.sad(credential, (digest(3),)))
    assert len(node.sign(ahead)) == 1
    world.clock.advance(-HOUR)
    # What expired serves within its time again, once; what was spent does not; what is from the future does not.
    assert len(node.sign(before)) == 1
    for request in (before, spent):
        with pytest.raises(errors.SadSpent):
            node.sign(request)
    with pytest.raises(errors.SadRefused):
        node.sign(world.request(world.sad(credential, (digest(4),), iat=world.now + HOUR, exp=world.now + HOUR + 300)))
    with pytest.raises(errors.SadRefused):
        node.sign(ahead)
    assert world.fake.signatures == made + 3
    check_chain(world, intents=3)


def test_OPS_08_an_hour_back_a_restart_takes_no_sad_that_was_issued_before_it_by_the_clock_of_then(
    world: World,
) -> None:
    """The start is later than what was issued an hour ago, by either clock; what is from the other's future is refused
    as such."""
    credential = world.credential()
    sad = world.request(world.sad(credential))
    world.clock.advance(-HOUR)
    started = replace(world.policy, sads_not_before=sads_not_before("production", world.clock.now()))
    node = world.activator(policy=started)
    with pytest.raises(errors.SadRefused):
        node.sign(sad)
    world.clock.advance(HOUR)
    # The clock is right again: issued after the start, as this process saw it, and not spent.
    assert len(node.sign(sad)) == 1
    with pytest.raises(errors.SadSpent):
        node.sign(sad)
    later = replace(world.policy, sads_not_before=first_second_after(world.clock.now()))
    with pytest.raises(errors.SadRefused):
        world.activator(policy=later).sign(world.request(world.sad(credential)))


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_OPS_08_a_clock_that_jumps_while_it_signs(world: World, jump: int) -> None:
    """Between the intent and the outcome: the value leaves once, and the reconciler closes nothing under its hands."""
    credential, made = world.credential(), world.fake.signatures

    class Jumping:
        def __getattr__(self, name: str) -> object:
            if name == "sign":
                world.clock.advance(jump)
            return getattr(world.fake, name)

    request = world.request(world.sad(credential))
    assert len(world.activator(device=Jumping()).sign(request)) == 1
    with pytest.raises((errors.SadSpent, errors.SadExpired, errors.SadRefused)):
        world.activator().sign(request)
    world.clock.advance(-jump)
    with pytest.raises(errors.SadSpent):
        world.activator().sign(request)
    assert world.fake.signatures == made + 1
    check_chain(world, intents=1)


def check_chain(world: World, intents: int) -> None:
    """It goes on in its sequence, whatever the clock said; each intent has its outcome (AUD-06, AUD-09)."""
    with world.engine.connect() as connection:
        entries = list(read_entries(connection, audit.entries))
    assert verify(entries).sequence == len(entries)
    seen = Counter(entry.event for entry in entries)
    assert seen[events.SIGNATURE_INTENT] == seen[events.SIGNATURE_CONSUMED] == intents
