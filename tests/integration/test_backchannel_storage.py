"""Requests that wait for approval, on SQLite and on PostgreSQL: a step is taken once, whoever races for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select, update

from idp.activation.backchannel import Step
from idp.oidc.request import AuthorizationRequest
from idp.storage import backchannel
from idp.storage.backchannel import Limits, NewRequest, backchannel_requests
from idp.storage.engine import create_tables, open_engine
from tests.integration.oidc_world import NOW, RESOURCE
from tests.integration.test_oidc_storage import SEALS, THREADS, racing

ASKED = AuthorizationRequest("caller", "", ("openid",), None, None, "", RESOURCE)
LATER = NOW + timedelta(seconds=300)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    create_tables(made)
    yield made
    made.dispose()


def put(engine: Engine, number: int = 0, limits: Limits = Limits(), account_id: str | None = "alice") -> bool:  # noqa: B008 - frozen
    person = backchannel.person_of(account_id, "somebody")
    new = NewRequest(f"request-{number}", f"handle-{number}", person, account_id, ASKED, 300)
    with engine.begin() as connection:
        return backchannel.put(connection, SEALS, new, NOW, limits)


def take(engine: Engine, *steps: Step, account_id: str | None = None) -> list[bool]:
    taken = []
    for step in steps:
        at = LATER if step == "expire" else NOW
        with engine.begin() as connection:
            taken.append(backchannel.take(connection, SEALS, step, "request-0", at, account_id=account_id))
    return taken


def state(engine: Engine) -> str:
    with engine.begin() as connection:
        found = backchannel.find(connection, SEALS, "handle-0", NOW)
    assert found is not None
    return found.state


@pytest.mark.parametrize(
    ("path", "step"),
    [((), "see"), (("see",), "approve"), (("see",), "refuse"), (("see", "approve"), "collect"), (("see",), "expire")],
)
def test_SAD_02_PSH_03_of_eight_that_take_a_step_one_does(engine: Engine, path: tuple[Step, ...], step: Step) -> None:
    assert put(engine)
    assert take(engine, *path) == [True] * len(path)
    winners = sum(racing(lambda: take(engine, step)[0]))
    assert winners == (THREADS if step == "see" else 1), "seen again it is as it was"
    assert state(engine) == {"see": "seen", "approve": "approved", "refuse": "refused", "collect": "collected"}.get(
        step, "expired"
    )


def test_PSH_03_an_approval_and_a_refusal_at_once_are_one_of_the_two(engine: Engine) -> None:
    assert put(engine)
    take(engine, "see")
    steps: list[Step] = ["approve", "refuse"] * THREADS
    assert sum(racing(lambda: take(engine, steps.pop())[0])) == 1
    assert state(engine) in {"approved", "refused"}


def test_PSH_03_once_its_time_is_over_a_request_can_only_expire_and_not_before(engine: Engine) -> None:
    assert put(engine)
    assert take(engine, "see", "approve") == [True, True]
    with engine.begin() as connection:
        assert not backchannel.take(connection, SEALS, "expire", "request-0", NOW)
        assert not backchannel.take(connection, SEALS, "collect", "request-0", LATER)
        assert backchannel.take(connection, SEALS, "expire", "request-0", LATER)


def test_SES_07_a_step_is_its_own_persons_and_of_rows_that_nobody_altered(engine: Engine) -> None:
    assert put(engine)
    assert take(engine, "see", account_id="bob") == [False]
    with engine.begin() as connection:
        connection.execute(update(backchannel_requests).values(state="approved"))
    assert take(engine, "collect") == [False], "nobody makes an approval who has no key of the seals"
    with engine.begin() as connection:
        assert backchannel.find(connection, SEALS, "handle-0", NOW) is None
        assert backchannel.of_account(connection, SEALS, "alice", NOW) == ()


def test_DOS_04_what_is_over_is_forgotten_and_counts_for_nothing(engine: Engine) -> None:
    limits = Limits(of_client_for_person=2)
    assert [put(engine, number, limits) for number in range(3)] == [True, True, False]
    assert put(engine, 3, limits, account_id=None), "another person's, who is nobody"
    take(engine, "refuse")
    assert put(engine, 4, limits)
    with engine.begin() as connection:
        for after, left in ((300 + backchannel.KEPT_SECONDS - 1, 4), (300 + backchannel.KEPT_SECONDS, 0)):
            backchannel.purge(connection, NOW + timedelta(seconds=after))
            count = select(func.count()).select_from(backchannel_requests)
            assert connection.execute(count).scalar_one() == left


def test_who_is_nobody_is_counted_by_their_name_however_it_is_spelt() -> None:
    assert backchannel.person_of("account-1", "alice") == "account-1"
    assert backchannel.person_of(None, "Nobody ") == backchannel.person_of(None, "nobody")
    assert backchannel.person_of(None, "nobody") != backchannel.person_of(None, "anybody")
