"""Clients and grants in SQLite and in PostgreSQL: what is used once is used once, whoever races."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, Engine, select

from foundation.clock import epoch
from idp.errors import AlreadyExists, InputRefused
from idp.oidc.assertion import AssertionUse
from idp.oidc.client import Registration
from idp.oidc.request import AuthorizationRequest
from idp.storage import accounts, clients, grant_tokens, grants, pushed_requests, single_use
from idp.storage.engine import create_tables, open_engine
from idp.storage.grant_tokens import NewAccessToken, Refused
from idp.storage.grants import Grant
from idp.storage.hashes import hash_token
from tests.fakes.seals import make_sealer
from tests.integration.oidc_world import NOW, REDIRECT_URI, RESOURCE, World, seed, start

T = TypeVar("T")
THREADS = 8
SEALS = make_sealer()
CLIENT = "example-contracts"
REQUEST = AuthorizationRequest(
    client_id="example-contracts",
    redirect_uri=REDIRECT_URI,
    scopes=("openid", "service"),
    state=None,
    nonce=None,
    code_challenge="c" * 43,
    resource=RESOURCE,
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    create_tables(made)
    yield made
    made.dispose()


def racing(work: Callable[[], T]) -> list[T]:
    """The results of several threads that do the same at once."""
    barrier = threading.Barrier(THREADS)

    def run(_number: int) -> T:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def grant_with_code(connection: Connection, code: str = "a-code") -> Grant:
    """A grant and its code."""
    grant = grants.begin(
        connection, SEALS, "a-grant", client_id=CLIENT, subject="alice", now=NOW, seconds=600, request=REQUEST
    )
    grant_tokens.add_code(connection, code, grant.id, NOW, seconds=60)
    return grant


def access(number: int = 0) -> NewAccessToken:
    """An access token's row."""
    return NewAccessToken(
        hash_token(f"t{number}"), f"j{number}", "access", RESOURCE, RESOURCE, ("service",), epoch(NOW) + 60
    )


def test_OAU_08_of_many_who_take_a_pushed_request_one_gets_it(engine: Engine) -> None:
    with engine.begin() as connection:
        assert pushed_requests.push(connection, SEALS, "a-handle", REQUEST, NOW, seconds=90, limit=10)

    def take() -> AuthorizationRequest | None:
        with engine.begin() as connection:
            return pushed_requests.take(connection, SEALS, "a-handle", "example-contracts", NOW)

    results = racing(take)
    assert [item for item in results if item is not None] == [REQUEST]


def test_OAU_02_of_many_who_redeem_a_code_one_gets_it_and_the_grant_dies(engine: Engine) -> None:
    with engine.begin() as connection:
        grant_with_code(connection)

    def redeem() -> Grant | Refused:
        with engine.begin() as connection:
            return grant_tokens.redeem_code(connection, SEALS, "a-code", CLIENT, NOW)

    results = racing(redeem)
    assert sum(isinstance(item, Grant) for item in results) == 1
    assert {item.reason for item in results if isinstance(item, Refused)} == {"used"}
    with engine.begin() as connection:
        found = grants.find(connection, SEALS, "a-grant")
        assert found is not None
        assert found.revoked
        assert not grant_tokens.issue(connection, found, access(), NOW), "nothing is given out on it any more"


def test_OAU_06_of_many_who_use_a_refresh_token_one_does(engine: Engine) -> None:
    with engine.begin() as connection:
        grant_with_code(connection)
        grant_tokens.add_refresh(connection, "a-token", "a-grant", NOW)

    def use() -> bool:
        with engine.begin() as connection:
            return grant_tokens.use_refresh(connection, "a-token", NOW)

    assert sorted(racing(use)) == [False] * (THREADS - 1) + [True]


def test_OAU_07_of_many_who_bring_an_assertion_one_is_let_in(engine: Engine) -> None:
    def remember() -> bool:
        with engine.begin() as connection:
            return single_use.remember_assertion(connection, AssertionUse("keyed", "a-jti", epoch(NOW) + 60))

    assert sorted(racing(remember)) == [False] * (THREADS - 1) + [True]
    with engine.begin() as connection:
        assert single_use.remember_assertion(connection, AssertionUse("other", "a-jti", epoch(NOW) + 60))


def test_OAU_03_a_code_from_another_client_kills_the_grant(engine: Engine) -> None:
    with engine.begin() as connection:
        grant_with_code(connection)
        assert grant_tokens.redeem_code(connection, SEALS, "a-code", "other", NOW) == Refused("other_client", "a-grant")
        assert grant_tokens.redeem_code(connection, SEALS, "a-code", CLIENT, NOW) == Refused("revoked", "a-grant")
        assert grant_tokens.redeem_code(connection, SEALS, "unknown", "other", NOW) == Refused("unknown")


def test_a_code_is_refused_from_its_last_second_on(engine: Engine) -> None:
    with engine.begin() as connection:
        grant_with_code(connection)
        late = NOW + timedelta(seconds=60)
        assert grant_tokens.redeem_code(connection, SEALS, "a-code", CLIENT, late) == Refused("expired", "a-grant")


def test_a_refresh_token_tells_why_it_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        grant_with_code(connection)
        for token in ("first", "second"):
            grant_tokens.add_refresh(connection, token, "a-grant", NOW)
        assert isinstance(grant_tokens.check_refresh(connection, SEALS, "first", CLIENT, NOW), Grant)
        late = NOW + timedelta(seconds=600)
        assert grant_tokens.check_refresh(connection, SEALS, "first", CLIENT, late) == Refused("expired", "a-grant")
        assert grant_tokens.check_refresh(connection, SEALS, "unknown", CLIENT, NOW) == Refused("unknown")
        assert grant_tokens.use_refresh(connection, "first", NOW)
        assert grant_tokens.check_refresh(connection, SEALS, "first", CLIENT, NOW) == Refused("used", "a-grant")
        assert grant_tokens.check_refresh(connection, SEALS, "second", CLIENT, NOW) == Refused("revoked", "a-grant")


def test_revoking_by_session_or_client_reaches_its_grants_only(engine: Engine) -> None:
    with engine.begin() as connection:
        grant = grant_with_code(connection)
        assert grant_tokens.issue(connection, grant, access(), NOW)
        assert grants.revoke_sessions(connection, ["another-session"], NOW) == 0
        assert grants.revoke_client(connection, "other", NOW) == 0
        assert grants.revoke_client(connection, "example-contracts", NOW) == 1
        found = grant_tokens.find_access(connection, SEALS, "t0")
        assert found is not None
        assert found.grant.revoked
        assert not found.revoked, "the token itself was not touched"


def test_pushed_requests_are_counted_by_client(engine: Engine) -> None:
    with engine.begin() as connection:
        assert pushed_requests.push(connection, SEALS, "one", REQUEST, NOW, seconds=90, limit=1)
        assert not pushed_requests.push(connection, SEALS, "two", REQUEST, NOW, seconds=90, limit=1)
        other = replace(REQUEST, client_id="other")
        assert pushed_requests.push(connection, SEALS, "three", other, NOW, seconds=90, limit=1)
        later = NOW + timedelta(seconds=90)
        assert pushed_requests.push(connection, SEALS, "four", REQUEST, later, seconds=90, limit=1)
        assert pushed_requests.take(connection, SEALS, "one", "other", NOW) is None
        assert pushed_requests.take(connection, SEALS, "one", "example-contracts", NOW) == REQUEST


def test_DOS_04_pushed_requests_that_nobody_came_with_are_forgotten(engine: Engine) -> None:
    with engine.begin() as connection:
        for number, life in enumerate((90, 90, 91)):
            assert pushed_requests.push(connection, SEALS, f"{number}", REQUEST, NOW, seconds=life, limit=3)
        pushed_requests.purge(connection, NOW + timedelta(seconds=90))
        rows = connection.execute(select(pushed_requests.oidc_pushed_requests.c.handle_hash)).scalars().all()
    assert rows == [hash_token("2")]


def registration(**changes: Any) -> Registration:
    """A registration that is right."""
    values: dict[str, Any] = {
        "client_id": "example-contracts",
        "name": "Example Contracts",
        "auth_method": "client_secret_basic",
        "redirect_uris": (REDIRECT_URI,),
        **changes,
    }
    return Registration(**values)


def octets(count: int) -> bytes:
    """Not random at all."""
    return bytes(range(count))


def test_a_client_is_registered_found_changed_and_disabled(engine: Engine) -> None:
    with engine.begin() as connection:
        made, secret = clients.create(connection, registration(), NOW, octets)
        assert secret is not None
        assert made.has_secret(secret)
        assert clients.find(connection, "example-contracts") == made
        assert clients.find(connection, "exa\0mple") is None
        assert clients.find(connection, "unknown") is None
        with pytest.raises(AlreadyExists):
            clients.create(connection, registration(), NOW, octets)
        with pytest.raises(InputRefused):
            clients.create(connection, registration(client_id="a b"), NOW, octets)
        renewed = clients.renew_secret(connection, "example-contracts", bytes)
        assert renewed is not None
        found = clients.find_active(connection, "example-contracts")
        assert found is not None
        assert found.has_secret(renewed)
        assert not found.has_secret(secret)
        assert clients.set_active(connection, "example-contracts", active=False)
        assert clients.find_active(connection, "example-contracts") is None
        assert [item.client_id for item in clients.everyone(connection)] == ["example-contracts"]
        assert not clients.set_active(connection, "unknown", active=False)


def test_OAU_11_a_client_cannot_be_named_so_that_its_tokens_pass_for_a_persons(engine: Engine) -> None:
    with engine.begin() as connection:
        accounts.create(connection, "an-account", accounts.NewAccount("alice", "Alice Example"), NOW)
        with pytest.raises(InputRefused, match="identifier of an account"):
            clients.create(connection, registration(client_id="an-account"), NOW, octets)


def test_a_client_without_a_secret_has_none_to_renew(engine: Engine) -> None:
    with engine.begin() as connection:
        public = registration(auth_method="none", scopes=("openid",))
        made, secret = clients.create(connection, public, NOW, octets)
        assert secret is None
        assert not made.has_secret("")
        assert clients.renew_secret(connection, "example-contracts", octets) is None


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    made = start(seed(tmp_path, database_url), tmp_path, database_url)
    yield made
    made.engine.dispose()


def test_OAU_06_parallel_refreshes_give_at_most_one_answer_and_kill_the_family(world: World) -> None:
    tokens = world.rp().tokens()
    responses = racing(lambda: world.rp().refresh(tokens["refresh_token"]))
    good = [response for response in responses if response.status_code == 200]
    assert len(good) <= 1
    assert {response.get_json()["error"] for response in responses if response not in good} == {"invalid_grant"}
    csc = world.rp("csc")
    for answered in [tokens, *(response.get_json() for response in good)]:
        assert csc.introspect(answered["access_token"]) == {"active": False}
        assert world.rp().refresh(answered["refresh_token"]).get_json()["error"] == "invalid_grant"


def test_OAU_02_parallel_redemptions_of_a_signatures_code_give_at_most_one_sad(world: World) -> None:
    rp = world.rp()
    code = rp.signing_code()

    def redeem() -> int:
        other = world.rp()
        other.verifier = rp.verifier
        return other.redeem(code).status_code

    assert racing(redeem).count(200) <= 1
    assert len(world.events("sad.issued")) <= 1
