"""What the database decides about passkeys, on SQLite and on PostgreSQL: of two at once, one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from idp.authn.passkey import challenge
from idp.errors import AlreadyExists
from idp.storage import accounts, authenticators, passkeys
from idp.storage.accounts import NewAccount
from idp.storage.authenticators import NewAuthenticator
from idp.storage.engine import create_tables, open_engine
from tests.fakes.seals import make_sealer

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
SEALS = make_sealer()
TICKET = challenge.issue(b"n" * 32, NOW)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    create_tables(engine)
    with engine.begin() as connection:
        for name in ("alice", "bob"):
            accounts.create(connection, name, NewAccount(name, "Example"), NOW)
        new = NewAuthenticator("key", "alice", "passkey", lookup="ab" * 32, counter=3)
        authenticators.bind(connection, SEALS, new, NOW)
    yield engine
    engine.dispose()


def at_once(number: int, work: Callable[[], bool]) -> list[bool]:
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(work())) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_OTP_04_of_eight_right_answers_to_one_challenge_at_once_one_is_accepted(engine: Engine) -> None:
    def answer() -> bool:
        with engine.begin() as connection:
            return passkeys.use_up(connection, TICKET, NOW)

    assert sorted(at_once(8, answer)) == [False] * 7 + [True]


def test_OTP_04_of_eight_uses_with_one_counter_one_is_accepted(engine: Engine) -> None:
    def use() -> bool:
        with engine.begin() as connection:
            return authenticators.move_counter(connection, "key", above=3, to=4)

    assert sorted(at_once(8, use)) == [False] * 7 + [True]


def test_DOS_04_what_is_over_is_forgotten_when_the_next_answer_comes(engine: Engine) -> None:
    later = NOW + challenge.LIFETIME
    with engine.begin() as connection:
        assert passkeys.use_up(connection, TICKET, NOW)
        assert not passkeys.use_up(connection, TICKET, later - timedelta(seconds=1))
        assert passkeys.use_up(connection, challenge.issue(b"m" * 32, later), later)
        assert passkeys.purge(connection, later) == 0


def test_a_credential_id_belongs_to_one_account(engine: Engine) -> None:
    again = NewAuthenticator("other", "bob", "passkey", lookup="ab" * 32)
    with engine.begin() as connection, pytest.raises(AlreadyExists):
        authenticators.bind(connection, SEALS, again, NOW)
