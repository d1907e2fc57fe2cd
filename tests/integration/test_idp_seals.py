"""Rows that somebody altered, swapped, copied or invented count as absent, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, delete, insert, select, update

from foundation.clock import epoch
from idp.authn.approval import Approval
from idp.errors import InteractionLost
from idp.oidc.request import AuthorizationRequest
from idp.policy.evidence import Evidence
from idp.settings import SessionSettings
from idp.storage import accounts, authenticators, grant_tokens, grants, interactions, models, pushed_requests, sessions
from idp.storage.accounts import NewAccount
from idp.storage.engine import create_tables, open_engine, reading
from idp.storage.grant_tokens import Refused
from idp.storage.grants import oidc_grants
from idp.storage.hashes import hash_token
from idp.storage.pushed_requests import oidc_pushed_requests
from idp.storage.seal import Sealer
from tests.fakes.seals import make_sealer

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
LIMITS = SessionSettings()
PEOPLE = ("alice", "mallory")
PHONES = {"alice": "+34600000001", "mallory": "+34600000666"}
CLIENT = "example-contracts"
PASSWORD = Evidence("password", "p", "knowledge", NOW)
REQUEST = AuthorizationRequest(
    client_id=CLIENT,
    redirect_uri="http://rp.localhost:8405/callback",
    scopes=("openid",),
    state=None,
    nonce=None,
    code_challenge="c" * 43,
    resource="http://sign.localhost:8402/csc/v2",
)


def approval(person: str) -> Approval:
    return Approval(
        txn=f"txn-{person}",
        account_id=person,
        session_id=f"session-{person}",
        client_id=CLIENT,
        action="sign_in",
        binding="00" * 32,
        decision_id="decision",
        policy_name="default",
        policy_sha256="00" * 32,
        acr="urn:example:low",
        loa="low",
        amr=("pwd",),
        auth_time=NOW,
        evidence=(PASSWORD,),
        approved_at=NOW,
    )


@pytest.fixture
def seals() -> Sealer:
    return make_sealer()


@pytest.fixture
def engine(database_url: str, seals: Sealer) -> Iterator[Engine]:
    """Two people, each with a row in each table."""
    made = open_engine(database_url)
    create_tables(made)
    with made.begin() as connection:
        for person in PEOPLE:
            enter(connection, seals, person)
    yield made
    made.dispose()


def enter(connection: Connection, seals: Sealer, person: str) -> None:
    accounts.create(connection, person, NewAccount(person, "Alice Example"), NOW)
    authenticators.add(
        connection,
        seals,
        authenticator_id=f"phone-{person}",
        account_id=person,
        kind="sms_otp",
        now=NOW,
        address=PHONES[person],
        secret_hash=f"hash of {person}",
    )
    session_id = f"session-{person}"
    sessions.create(
        connection,
        seals,
        session_id=session_id,
        token=person,
        account_id=person,
        device=f"browser of {person}",
        now=NOW,
        limits=LIMITS,
    )
    sessions.add_evidence(connection, seals, session_id, PASSWORD)
    interactions.create(
        connection,
        seals,
        interaction_id=f"interaction-{person}",
        txn=f"txn-{person}",
        session_id=session_id,
        account_id=None,
        request={"for": person},
        now=NOW,
        life_seconds=900,
    )
    interactions.claim(connection, seals, f"interaction-{person}", session_id, person)
    interactions.add_evidence(connection, seals, f"interaction-{person}", PASSWORD)
    interactions.set_credential(connection, seals, f"interaction-{person}", {"credential_id": person})
    grant = grants.begin(
        connection,
        seals,
        f"grant-{person}",
        client_id=CLIENT,
        subject=person,
        now=NOW,
        seconds=600,
        request=REQUEST,
        approval=approval(person),
    )
    grant_tokens.add_code(connection, f"code-{person}", grant.id, NOW, seconds=60)
    grant_tokens.add_refresh(connection, f"refresh-{person}", grant.id, NOW)
    assert pushed_requests.push(connection, seals, f"handle-{person}", REQUEST, NOW, seconds=90, limit=9)


@dataclass(frozen=True)
class Case:
    """A sealed table: how its rows are read, and values that each column could be given."""

    table: Table
    find: Callable[[Connection, Sealer, str], Any]
    values: Mapping[str, Any]

    def key(self, person: str) -> str:
        """The row's primary key."""
        names = ("authenticators", "phone"), ("sessions", "session"), ("interactions", "interaction")
        prefix = dict((*names, ("oidc_grants", "grant")))
        if self.table is oidc_pushed_requests:
            return hash_token(f"handle-{person}")
        return f"{prefix[self.table.name]}-{person}"

    @property
    def column(self) -> Any:
        """The primary key."""
        return next(iter(self.table.primary_key.columns))


LATER = epoch(NOW + timedelta(hours=1))
EARLIER = epoch(NOW - timedelta(seconds=1))
STRONGER = [{**PASSWORD.to_json(), "factor": "sms_otp", "category": "possession"}]
SESSIONS_AND_GRANTS = (
    Case(
        models.sessions,
        lambda connection, seals, person: sessions.find_by_token(connection, seals, person, NOW, LIMITS),
        {
            "account_id": "mallory",
            "evidence": STRONGER,
            "device": "another",
            "created_at": EARLIER,
            "last_seen_at": LATER,
            "expires_at": LATER + 86400,
        },
    ),
    Case(
        models.interactions,
        lambda connection, seals, person: interactions.find(
            connection, seals, f"interaction-{person}", f"session-{person}", NOW
        ),
        {
            "account_id": "mallory",
            "txn": "another",
            "request": {"for": "somebody else"},
            "evidence": STRONGER,
            "credential": None,
            "created_at": EARLIER,
            "expires_at": LATER,
        },
    ),
    Case(
        oidc_grants,
        lambda connection, seals, person: grants.find(connection, seals, f"grant-{person}"),
        {
            "client_id": "other",
            "subject": "mallory",
            "session_id": "session-mallory",
            "request": {**REQUEST.to_json(), "scopes": ["openid", "service"]},
            "approval": approval("mallory").to_json(),
            "created_at": EARLIER,
            "expires_at": LATER,
        },
    ),
    Case(
        oidc_pushed_requests,
        lambda connection, seals, person: pushed_requests.take(connection, seals, f"handle-{person}", CLIENT, NOW),
        {"request": {**REQUEST.to_json(), "state": "another"}, "expires_at": LATER},
    ),
)
AUTHENTICATORS = Case(
    models.authenticators,
    lambda connection, seals, person: authenticators.of_kind(connection, seals, person, "sms_otp"),
    {
        "address": PHONES["mallory"],
        "secret_hash": "hash of mallory",
        "not_before": EARLIER,
        "created_at": EARLIER,
    },
)
CASES = (*SESSIONS_AND_GRANTS, AUTHENTICATORS)
ALTERATIONS = [
    pytest.param(case, column, id=f"{case.table.name}.{column}") for case in CASES for column in (*case.values, "seal")
]


def found(engine: Engine, seals: Sealer, case: Case, person: str = "alice") -> Any:
    with engine.begin() as connection:
        return case.find(connection, seals, person)


def write(engine: Engine, case: Case, person: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(case.table).where(case.column == case.key(person)).values(**values))


def read(engine: Engine, case: Case, person: str) -> dict[str, Any]:
    with reading(engine) as connection:
        row = connection.execute(select(case.table).where(case.column == case.key(person))).one()
        return {str(name): value for name, value in row._mapping.items()}  # public, for all its name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.table.name)
def test_a_row_that_nobody_altered_is_found(engine: Engine, seals: Sealer, case: Case) -> None:
    assert found(engine, seals, case) is not None
    assert seals.take() is None


@pytest.mark.parametrize(("case", "column"), ALTERATIONS)
def test_a_row_with_an_altered_column_counts_as_absent_and_is_reported(
    engine: Engine, seals: Sealer, case: Case, column: str
) -> None:
    write(engine, case, "alice", **{column: case.values.get(column, "0" * 64)})
    assert found(engine, seals, case) is None
    reported = seals.take()
    assert reported is not None
    assert (reported.table, reported.record, reported.cause) == (case.table.name, case.key("alice"), "seal")
    assert found(engine, seals, case, "mallory") is not None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.table.name)
def test_rows_that_were_swapped_between_two_people_count_as_absent(engine: Engine, seals: Sealer, case: Case) -> None:
    alices, mallorys = read(engine, case, "alice"), read(engine, case, "mallory")
    unique = {case.column.name, "txn", "token_hash"}
    write(engine, case, "alice", **{name: value for name, value in mallorys.items() if name not in unique})
    write(engine, case, "mallory", **{name: value for name, value in alices.items() if name not in unique})
    if case.table is models.interactions:
        # Found by their session too.
        write(engine, case, "alice", session_id="session-alice")
        write(engine, case, "mallory", session_id="session-mallory")
    assert [found(engine, seals, case, person) for person in PEOPLE] == [None, None]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.table.name)
def test_a_row_that_was_copied_under_another_identifier_counts_as_absent(
    engine: Engine, seals: Sealer, case: Case
) -> None:
    copied = read(engine, case, "mallory")
    with engine.begin() as connection:
        for table in (grants.oidc_codes, grants.oidc_refresh_tokens, case.table):
            connection.execute(delete(table))
        row = {**copied, case.column.name: case.key("alice")}
        if case.table is models.sessions:
            row["token_hash"] = hash_token("alice")
        if case.table is models.interactions:
            row["session_id"] = "session-alice"
        if case.table is models.authenticators:
            row["account_id"] = "alice"
        connection.execute(insert(case.table).values(**row))
    assert found(engine, seals, case) is None


def test_a_cookie_of_ones_own_does_not_open_another_persons_session(engine: Engine, seals: Sealer) -> None:
    write(engine, CASES[0], "alice", token_hash=hash_token("a token that mallory knows"))
    with engine.begin() as connection:
        assert sessions.find_by_token(connection, seals, "a token that mallory knows", NOW, LIMITS) is None
        assert sessions.find_by_id(connection, seals, "session-alice", NOW, LIMITS) is None
        assert sessions.of_account(connection, seals, "alice", NOW, LIMITS) == ()
        assert not grants.session_lasts(connection, seals, "session-alice", NOW)
        assert grants.session_lasts(connection, seals, "session-mallory", NOW)


def test_an_interaction_moved_to_ones_own_session_counts_as_absent(engine: Engine, seals: Sealer) -> None:
    write(engine, CASES[1], "alice", session_id="session-mallory")
    with engine.begin() as connection:
        assert interactions.find(connection, seals, "interaction-alice", "session-mallory", NOW) is None


def test_no_seal_is_put_under_what_was_altered(engine: Engine, seals: Sealer) -> None:
    write(engine, CASES[0], "alice", evidence=STRONGER)
    write(engine, CASES[1], "alice", evidence=STRONGER)
    changes: tuple[Callable[[Connection], object], ...] = (
        lambda connection: sessions.add_evidence(connection, seals, "session-alice", PASSWORD),
        lambda connection: sessions.change_token(connection, seals, "session-alice", "another"),
        lambda connection: interactions.add_evidence(connection, seals, "interaction-alice", PASSWORD),
    )
    for work in changes:
        with pytest.raises(InteractionLost), engine.begin() as connection:
            work(connection)
    with engine.begin() as connection:
        assert not interactions.claim(connection, seals, "interaction-alice", "session-alice", "alice")
        interactions.set_credential(connection, seals, "interaction-alice", {})
    assert [found(engine, seals, case) for case in CASES[:2]] == [None, None]


def test_an_unclaimed_interaction_that_was_altered_does_not_follow_the_browser(engine: Engine, seals: Sealer) -> None:
    with engine.begin() as connection:
        for name in ("good", "bad"):
            interactions.create(
                connection,
                seals,
                interaction_id=name,
                txn=name,
                session_id="before",
                account_id=None,
                request={},
                now=NOW,
                life_seconds=900,
            )
        bad = models.interactions.c.id == "bad"
        connection.execute(update(models.interactions).where(bad).values(request={"x": 1}))
        interactions.move_unclaimed(connection, seals, "before", "after")
        assert interactions.find(connection, seals, "good", "after", NOW) is not None
        for session_id in ("before", "after"):
            assert interactions.find(connection, seals, "bad", session_id, NOW) is None


@pytest.mark.parametrize("case", CASES[:3], ids=lambda case: case.table.name)
def test_what_has_ended_has_no_seal_and_does_not_begin_again(engine: Engine, seals: Sealer, case: Case) -> None:
    with engine.begin() as connection:
        for person in PEOPLE:
            assert interactions.close(connection, f"interaction-{person}")
        sessions.revoke(connection, "session-alice", NOW)
        assert sessions.revoke_several(connection, sessions.lock_all(connection, "mallory"), NOW) == 1
        grants.revoke(connection, "grant-alice", NOW, "test")
        assert grants.revoke_sessions(connection, ["session-mallory"], NOW) == 1
    begun: dict[str, Any] = {"state": "open"} if case.table is models.interactions else {"revoked_at": None}
    for person in PEOPLE:
        assert read(engine, case, person)["seal"] == ""
        write(engine, case, person, **begun)
        assert found(engine, seals, case, person) is None


def test_OAU_02_codes_and_tokens_of_an_altered_grant_are_worth_nothing(engine: Engine, seals: Sealer) -> None:
    write(engine, CASES[2], "alice", subject="mallory")
    with engine.begin() as connection:
        assert grant_tokens.redeem_code(connection, seals, "code-alice", CLIENT, NOW) == Refused("unknown")
        assert grant_tokens.check_refresh(connection, seals, "refresh-alice", CLIENT, NOW) == Refused("unknown")
        assert grant_tokens.find_refresh(connection, seals, "refresh-alice") is None


def test_OAU_02_a_code_whose_time_was_changed_dies_with_its_grant(engine: Engine, seals: Sealer) -> None:
    with engine.begin() as connection:
        connection.execute(update(grants.oidc_codes).values(expires_at=LATER + 86400))
        late = NOW + timedelta(seconds=600)
        found = grant_tokens.redeem_code(connection, seals, "code-alice", CLIENT, late)
        assert found == Refused("expired", "grant-alice")


def test_a_session_that_is_used_keeps_a_seal_that_holds(engine: Engine, seals: Sealer) -> None:
    now = NOW + timedelta(minutes=5)
    with engine.begin() as connection:
        before = sessions.find_by_id(connection, seals, "session-alice", now, LIMITS)
        assert before is not None
        sessions.touch(connection, seals, before, now)
        sessions.change_token(connection, seals, "session-alice", "another")
        after = sessions.find_by_token(connection, seals, "another", now, LIMITS)
    assert after is not None
    assert (after.last_seen_at, after.evidence) == (now, (PASSWORD,))
    assert seals.take() is None


def test_another_persons_factor_is_not_ones_own(engine: Engine, seals: Sealer) -> None:
    write(engine, AUTHENTICATORS, "mallory", account_id="alice")
    with engine.begin() as connection:
        (left,) = authenticators.of_account(connection, seals, "alice")
    assert left.address == PHONES["alice"]


def test_an_invented_factor_and_one_of_another_kind_count_as_absent(engine: Engine, seals: Sealer) -> None:
    alices = read(engine, AUTHENTICATORS, "alice")
    with engine.begin() as connection:
        invented = {**alices, "id": "new", "address": PHONES["mallory"]}
        connection.execute(insert(models.authenticators).values(**invented))
    write(engine, AUTHENTICATORS, "mallory", kind="password")
    with engine.begin() as connection:
        assert [item.id for item in authenticators.of_account(connection, seals, "alice")] == ["phone-alice"]
        assert authenticators.of_kind(connection, seals, "mallory", "password") is None


def test_a_factor_that_was_disabled_does_not_come_back(engine: Engine, seals: Sealer) -> None:
    with engine.begin() as connection:
        authenticators.failed(connection, "phone-alice", NOW, most=1)
        authenticators.replace(
            connection,
            seals,
            authenticator_id="new",
            account_id="mallory",
            kind="sms_otp",
            now=NOW,
            address=PHONES["mallory"],
        )
        disabled = {item.id: item.disabled for item in authenticators.of_account(connection, seals, "mallory")}
    assert disabled == {"phone-mallory": True, "new": False}
    for person in PEOPLE:
        assert read(engine, AUTHENTICATORS, person)["seal"] == ""
        write(engine, AUTHENTICATORS, person, disabled_at=None)
    with engine.begin() as connection:
        assert authenticators.of_account(connection, seals, "alice") == ()
        assert [item.id for item in authenticators.of_account(connection, seals, "mallory")] == ["new"]


def test_a_hash_is_not_renewed_where_somebody_put_another(engine: Engine, seals: Sealer) -> None:
    write(engine, AUTHENTICATORS, "alice", secret_hash="hash of mallory")
    with engine.begin() as connection:
        authenticators.change_secret(connection, seals, "phone-alice", "renewed")
        authenticators.change_secret(connection, seals, "phone-mallory", "renewed")
    assert found(engine, seals, AUTHENTICATORS) is None
    assert found(engine, seals, AUTHENTICATORS, "mallory").secret_hash == "renewed"
