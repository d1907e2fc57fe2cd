"""Hand-overs of certificates in real databases: each is taken once, by whom it is for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select

from idp.storage import handovers
from idp.storage.engine import create_tables, open_engine, reading
from idp.storage.handovers import Handover
from tests.fakes.idp import NOW
from tests.fakes.seals import make_sealer

SEALS = make_sealer()
WANTED = Handover("session", "interaction", "interaction-1")
FACTS = {"identity": "ab" * 32}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    create_tables(made)
    yield made
    made.dispose()


def leave(engine: Engine, code: str, handover: Handover = WANTED) -> None:
    with engine.begin() as connection:
        handovers.leave(connection, SEALS, code, handover, FACTS, now=NOW, life_seconds=120)


def take(engine: Engine, code: str, wanted: Handover = WANTED, after: int = 0) -> object:
    with engine.begin() as connection:
        return handovers.take(connection, SEALS, code, wanted, NOW + timedelta(seconds=after))


def test_SES_07_of_eight_who_take_a_certificate_at_once_one_gets_it(engine: Engine) -> None:
    leave(engine, "code")
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: take(engine, "code"), range(8)))
    assert [item for item in got if item is not None] == [FACTS]


@pytest.mark.parametrize(
    "other",
    [
        replace(WANTED, session_id="another"),
        replace(WANTED, purpose="enrolment"),
        replace(WANTED, target="interaction-2"),
    ],
)
def test_SES_07_whoever_else_takes_it_gets_nothing_and_it_is_spent(engine: Engine, other: Handover) -> None:
    leave(engine, "code")
    assert take(engine, "code", other) is None
    assert take(engine, "code") is None


def test_it_waits_until_its_end_and_no_longer(engine: Engine) -> None:
    leave(engine, "one")
    leave(engine, "two")
    assert take(engine, "one", after=119) == FACTS
    assert take(engine, "two", after=120) is None
    assert take(engine, "three") is None


def test_DOS_04_a_session_has_few_of_them(engine: Engine) -> None:
    for number in range(handovers.MAX_OPEN + 3):
        leave(engine, f"code-{number}")
    leave(engine, "others", replace(WANTED, session_id="another"))
    with reading(engine) as connection:
        kept = connection.execute(select(func.count()).select_from(handovers.handovers)).scalar_one()
    assert kept == handovers.MAX_OPEN + 1
    assert take(engine, "others", replace(WANTED, session_id="another")) == FACTS
