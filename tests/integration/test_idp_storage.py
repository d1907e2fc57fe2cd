"""The identity provider's tables on SQLite and on PostgreSQL: what the database has to decide."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Table, inspect, select, text, update

from idp.authn.otp import derive_code
from idp.errors import AlreadyExists, NotInitialised, OtpCoolDown, OtpLocked, SchemaMismatch
from idp.policy.evidence import Evidence
from idp.settings import OtpSettings, SessionSettings
from idp.storage import accounts, authenticators, challenges, interactions, sessions
from idp.storage.accounts import NewAccount
from idp.storage.backchannel import backchannel_requests
from idp.storage.challenges import Challenge, Purpose, Verdict
from idp.storage.engine import check_schema, create_tables, open_engine, reading
from idp.storage.logouts import logout_notices
from idp.storage.messages import binding_codes
from idp.storage.models import metadata, otp_challenges, schema_version
from tests.fakes.seals import make_sealer

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
KEY = bytes(32)
LIMITS = OtpSettings()
SEALS = make_sealer()
PURPOSE = Purpose("phone", "session", "txn", "ab" * 32)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    create_tables(engine)
    with engine.begin() as connection:
        accounts.create(connection, "alice", NewAccount("alice", "Alice Example"), NOW)
        authenticators.add(
            connection,
            SEALS,
            authenticator_id="phone",
            account_id="alice",
            kind="sms_otp",
            now=NOW,
            address="+34600000001",
        )
    yield engine
    engine.dispose()


def send(engine: Engine, new_id: str = "c-1", now: datetime = NOW, purpose: Purpose = PURPOSE) -> Challenge:
    with engine.begin() as connection:
        return challenges.open_or_resend(connection, purpose, new_id=new_id, now=now, limits=LIMITS)


def attempt(engine: Engine, typed: str, now: datetime = NOW, purpose: Purpose = PURPOSE) -> Verdict:
    with engine.begin() as connection:
        return challenges.attempt(connection, purpose, typed, key=KEY, now=now, limits=LIMITS)[0]


def code_of(challenge: Challenge) -> str:
    return derive_code(KEY, challenge.binding)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06d}"


def test_OTP_01_five_wrong_codes_kill_the_challenge_and_the_right_one_comes_too_late(engine: Engine) -> None:
    code = code_of(send(engine))
    assert [attempt(engine, wrong(code)) for _ in range(5)] == [Verdict.WRONG] * 4 + [Verdict.DEAD]
    assert attempt(engine, code) is Verdict.DEAD


def test_OTP_02_wrong_codes_count_on_the_authenticator_across_challenges_and_sessions(engine: Engine) -> None:
    for number in range(10):
        purpose = Purpose("phone", f"session-{number}", f"txn-{number}", "ab" * 32)
        code = code_of(send(engine, f"c-{number}", purpose=purpose))
        for _ in range(5):
            attempt(engine, wrong(code), purpose=purpose)
    with pytest.raises(OtpLocked):
        send(engine, "c-11", now=NOW + timedelta(hours=23))
    send(engine, "c-12", now=NOW + timedelta(hours=24, seconds=1))


def test_OTP_02_leaving_every_challenge_one_try_before_its_end_gains_nothing(engine: Engine) -> None:
    verdicts = []
    for number in range(13):
        purpose = Purpose("phone", "session", f"txn-{number}", "ab" * 32)
        code = code_of(send(engine, f"c-{number}", purpose=purpose))
        verdicts += [attempt(engine, wrong(code), purpose=purpose) for _ in range(4)]
    assert verdicts == [Verdict.WRONG] * 50 + [Verdict.LOCKED] * 2
    with pytest.raises(OtpLocked):
        send(engine, "c-14")


def test_OTP_02_a_hundred_wrong_codes_in_a_row_disable_the_authenticator_for_good(engine: Engine) -> None:
    now = NOW
    for number in range(25):
        purpose = Purpose("phone", "session", f"txn-{number}", "ab" * 32)
        code = code_of(send(engine, f"c-{number}", now=now, purpose=purpose))
        for _ in range(4):
            attempt(engine, wrong(code), now=now, purpose=purpose)
        now += timedelta(hours=3)
    with reading(engine) as connection:
        assert authenticators.of_kind(connection, SEALS, "alice", "sms_otp") is None
    with pytest.raises(OtpLocked):
        send(engine, "c-100", now=now + timedelta(days=365))


def test_a_success_begins_the_count_of_failures_anew(engine: Engine) -> None:
    code = code_of(send(engine))
    attempt(engine, wrong(code))
    assert attempt(engine, code) is Verdict.ACCEPTED
    with engine.begin() as connection:
        assert authenticators.lock(connection, "phone").failures == 0


def test_OTP_03_a_code_is_accepted_once(engine: Engine) -> None:
    code = code_of(send(engine))
    assert attempt(engine, code) is Verdict.ACCEPTED
    assert attempt(engine, code) is Verdict.DEAD


@pytest.mark.parametrize(("seconds", "verdict"), [(299, Verdict.ACCEPTED), (300, Verdict.DEAD)])
def test_OTP_03_a_code_dies_with_its_fifth_minute(engine: Engine, seconds: int, verdict: Verdict) -> None:
    code = code_of(send(engine))
    assert attempt(engine, code, NOW + timedelta(seconds=seconds)) is verdict


def test_OTP_03_a_resend_carries_the_same_code_and_does_not_prolong_it_nor_reset_failures(engine: Engine) -> None:
    first = send(engine, "c-1")
    attempt(engine, wrong(code_of(first)))
    with pytest.raises(OtpCoolDown):
        send(engine, "c-2", NOW + timedelta(seconds=29))
    second = send(engine, "c-2", NOW + timedelta(seconds=30))
    assert (second.id, code_of(second), second.sent.expires_at) == (first.id, code_of(first), first.sent.expires_at)
    assert second.failures == 1


def test_OTP_03_after_expiry_there_is_another_code_and_the_old_one_is_wrong(engine: Engine) -> None:
    old = code_of(send(engine, "c-1"))
    later = NOW + timedelta(seconds=300)
    new = code_of(send(engine, "c-2", later))
    assert attempt(engine, old, later) is Verdict.WRONG
    assert attempt(engine, new, later) is Verdict.ACCEPTED


@pytest.mark.parametrize(
    "purpose",
    [
        Purpose("phone", "session", "another", "ab" * 32),
        Purpose("phone", "another", "txn", "ab" * 32),
        Purpose("phone", "session", "txn", "cd" * 32),
    ],
)
def test_OTP_05_a_code_serves_no_other_transaction_session_or_content(engine: Engine, purpose: Purpose) -> None:
    code = code_of(send(engine))
    assert attempt(engine, code, purpose=purpose) is Verdict.DEAD
    assert attempt(engine, code) is Verdict.ACCEPTED


def test_OTP_06_the_database_holds_nothing_of_a_code(engine: Engine) -> None:
    code = code_of(send(engine))
    attempt(engine, wrong(code))
    with reading(engine) as connection:
        rows = [tuple(row) for row in connection.execute(select(otp_challenges))]
    assert code not in repr(rows)
    assert {"live_slot", "intent_sha256"} <= set(otp_challenges.c.keys())
    assert not {column.name for column in otp_challenges.c if "code" in column.name or "hash" in column.name}


def at_once(number: int, work: Any) -> list[Any]:
    results: list[Any] = []
    gate = threading.Barrier(number)

    def run() -> None:
        gate.wait()
        try:
            results.append(work())
        except (OtpCoolDown, OtpLocked) as error:
            results.append(type(error))

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_OTP_04_of_eight_right_codes_at_once_one_is_accepted(engine: Engine) -> None:
    code = code_of(send(engine))
    results = at_once(8, lambda: attempt(engine, code))
    assert sorted(result.value for result in results) == ["accepted"] + ["dead"] * 7


def test_OTP_01_of_eight_wrong_codes_at_once_five_are_counted_and_no_sixth_try_was_had(engine: Engine) -> None:
    code = code_of(send(engine))
    at_once(8, lambda: attempt(engine, wrong(code)))
    with engine.begin() as connection:
        assert authenticators.lock(connection, "phone").failures == 5
        assert connection.execute(select(otp_challenges.c.failures)).scalar_one() == 5


def test_OTP_07_of_four_requests_at_once_one_message_goes_out(engine: Engine) -> None:
    numbers = iter(range(100))
    results = at_once(4, lambda: send(engine, f"c-{next(numbers)}").id)
    assert len([result for result in results if isinstance(result, str)]) == 1
    assert results.count(OtpCoolDown) == 3


def test_OTP_09_a_message_that_was_not_taken_may_be_sent_at_once_with_the_same_code(engine: Engine) -> None:
    first = send(engine, "c-1")
    with engine.begin() as connection:
        challenges.not_sent(connection, first.id)
    again = send(engine, "c-2")
    assert (again.id, again.sent.sends) == (first.id, 1)


def test_old_challenges_are_forgotten_only_when_no_limit_counts_them(engine: Engine) -> None:
    send(engine)
    for hours, gone in ((24, 0), (26, 1)):
        with engine.begin() as connection:
            assert challenges.purge(connection, NOW + timedelta(hours=hours)) == gone


# Sessions and interactions

SESSION = SessionSettings()


def begin_session(engine: Engine, session_id: str, token: str, account: str | None) -> None:
    with engine.begin() as connection:
        sessions.create(
            connection,
            SEALS,
            session_id=session_id,
            token=token,
            account_id=account,
            device="d" * 400,
            now=NOW,
            limits=SESSION,
        )


def session_of(engine: Engine, token: str, now: datetime = NOW) -> Any:
    with reading(engine) as connection:
        return sessions.find_by_token(connection, SEALS, token, now, SESSION)


def test_SES_01_the_former_cookie_is_worth_nothing_after_a_change(engine: Engine) -> None:
    begin_session(engine, "s-1", "first", "alice")
    with engine.begin() as connection:
        sessions.change_token(connection, SEALS, "s-1", "second")
    assert session_of(engine, "first") is None
    assert session_of(engine, "second").id == "s-1"


def test_SES_03_a_revoked_session_is_over_on_the_server(engine: Engine) -> None:
    begin_session(engine, "s-1", "token", "alice")
    with engine.begin() as connection:
        assert sessions.find_by_id(connection, SEALS, "s-1", NOW, SESSION) is not None
        sessions.revoke(connection, "s-1", NOW)
        assert sessions.find_by_id(connection, SEALS, "s-1", NOW, SESSION) is None
        assert sessions.of_account(connection, SEALS, "alice", NOW, SESSION) == ()
    assert session_of(engine, "token") is None


def test_a_session_ends_when_idle_and_at_its_limit_whatever_is_done(engine: Engine) -> None:
    begin_session(engine, "s-1", "token", "alice")
    idle = timedelta(seconds=SESSION.idle_seconds)
    assert session_of(engine, "token", NOW + idle - timedelta(seconds=1)) is not None
    assert session_of(engine, "token", NOW + idle) is None
    now = NOW
    while now < NOW + timedelta(seconds=SESSION.absolute_seconds):
        found = session_of(engine, "token", now)
        assert found is not None
        with engine.begin() as connection:
            sessions.touch(connection, SEALS, found, now)
        now += idle / 2
    assert session_of(engine, "token", now) is None


def test_the_cookies_token_is_not_in_the_database(engine: Engine) -> None:
    begin_session(engine, "s-1", "the-token", "alice")
    with reading(engine) as connection:
        assert "the-token" not in repr(connection.execute(text("select * from sessions")).all())


def test_evidence_of_one_authenticator_is_kept_once(engine: Engine) -> None:
    begin_session(engine, "s-1", "token", "alice")
    for seconds in (0, 60):
        with engine.begin() as connection:
            item = Evidence("password", "p", "knowledge", NOW + timedelta(seconds=seconds))
            sessions.add_evidence(connection, SEALS, "s-1", item)
    assert [item.at for item in session_of(engine, "token").evidence] == [NOW + timedelta(seconds=60)]


def begin_interaction(engine: Engine, interaction_id: str, session_id: str, account: str | None = None) -> None:
    with engine.begin() as connection:
        interactions.create(
            connection,
            SEALS,
            interaction_id=interaction_id,
            txn=f"txn-{interaction_id}",
            session_id=session_id,
            account_id=account,
            request={"kind": "test"},
            now=NOW,
            life_seconds=900,
        )


def test_an_interaction_is_found_in_its_own_session_only_and_until_it_ends(engine: Engine) -> None:
    begin_interaction(engine, "i-1", "s-1")
    with engine.begin() as connection:
        assert interactions.find(connection, SEALS, "i-1", "s-1", NOW) is not None
        assert interactions.find(connection, SEALS, "i-1", "s-2", NOW) is None
        assert interactions.find(connection, SEALS, "i-1", "s-1", NOW + timedelta(seconds=900)) is None


def test_SES_07_an_interaction_comes_with_the_token_of_its_own_session_only(engine: Engine) -> None:
    begin_session(engine, "s-1", "first", None)
    begin_session(engine, "s-2", "second", None)
    begin_interaction(engine, "i-1", "s-1")

    def read(token: str, session_id: str, now: datetime = NOW) -> str | None:
        with reading(engine) as connection:
            later = interactions.of_token_later(connection, SEALS, "i-1", token, now)
            found = later(session_id)
        return None if found is None else found.id

    assert read("first", "s-1") == "i-1"
    assert [read("second", "s-2"), read("second", "s-1"), read("first", "s-2"), read("nobody's", "s-1")] == [None] * 4
    assert read("first", "s-1", NOW + timedelta(seconds=900)) is None
    with engine.begin() as connection:
        assert interactions.close(connection, "i-1")
    assert read("first", "s-1") is None


def test_of_eight_who_end_an_interaction_at_once_one_goes_on(engine: Engine) -> None:
    begin_session(engine, "s-1", "t-1", None)
    begin_interaction(engine, "i-1", "s-1")

    def close() -> bool:
        with engine.begin() as connection:
            return interactions.close(connection, "i-1")

    assert sorted(at_once(8, close)) == [False] * 7 + [True]


def test_SES_07_an_interaction_that_is_somebodys_becomes_nobody_elses(engine: Engine) -> None:
    begin_interaction(engine, "i-1", "s-1")
    with engine.begin() as connection:
        assert interactions.claim(connection, SEALS, "i-1", "s-1", "alice")
        assert not interactions.claim(connection, SEALS, "i-1", "s-2", "mallory")
        interactions.move_unclaimed(connection, SEALS, "s-1", "s-2")
        assert interactions.find(connection, SEALS, "i-1", "s-1", NOW) is not None
        assert interactions.find(connection, SEALS, "i-1", "s-2", NOW) is None


def test_what_is_over_is_purged(engine: Engine) -> None:
    begin_interaction(engine, "i-1", "s-1")
    begin_session(engine, "anonymous", "t-1", None)
    begin_session(engine, "alices", "t-2", "alice")
    with engine.begin() as connection:
        assert interactions.purge(connection, NOW + timedelta(seconds=900 + 3599)) == 0
        assert interactions.purge(connection, NOW + timedelta(seconds=900 + 3600)) == 1
        assert sessions.purge(connection, NOW + timedelta(hours=13)) == 1
        assert sessions.purge(connection, NOW + timedelta(hours=37)) == 1


# Accounts and the schema


def test_a_user_name_is_taken_once_whatever_its_case(engine: Engine) -> None:
    with engine.begin() as connection:
        with pytest.raises(AlreadyExists):
            accounts.create(connection, "other", NewAccount(" ALICE ", "Another"), NOW)
        found = accounts.find_by_username(connection, "Alice ")
    assert found is not None
    assert found.id == "alice"


@pytest.mark.parametrize(
    ("version", "later"),
    [
        (4, (backchannel_requests, binding_codes, logout_notices)),
        (6, (binding_codes, logout_notices)),
        (7, (logout_notices,)),
    ],
)
def test_a_version_that_only_lacks_tables_and_indexes_gets_them_from_init(
    engine: Engine, version: int, later: tuple[Table, ...]
) -> None:
    with engine.begin() as connection:
        for table in later:
            table.drop(connection)
        connection.execute(text("drop index ix_otp_challenges_session_txn"))
        connection.execute(update(schema_version).values(version=version))
    with pytest.raises(SchemaMismatch, match=rf"version {version}.*run `privyseal idp init`"):
        check_schema(engine)
    for _ in range(2):
        create_tables(engine)
        check_schema(engine)
    with engine.begin() as connection:
        there = inspect(connection)
        assert {table.name for table in later} <= set(there.get_table_names())
        indexes = [(table.name, str(index.name)) for table in metadata.sorted_tables for index in table.indexes]
        assert ("otp_challenges", "ix_otp_challenges_session_txn") in indexes
        assert [found for found in indexes if not there.has_index(*found)] == []
        assert accounts.find_by_username(connection, "alice") is not None


@pytest.mark.parametrize(("version", "told"), [(3, "begin anew"), (99, "a later program")])
def test_tables_of_another_version_are_neither_used_nor_added_to(engine: Engine, version: int, told: str) -> None:
    create_tables(engine)
    check_schema(engine)
    with engine.begin() as connection:
        backchannel_requests.drop(connection)
        connection.execute(text("update schema_version set version = :version"), {"version": version})
    for refused in (check_schema, create_tables):
        with pytest.raises(SchemaMismatch, match=told):
            refused(engine)
    with engine.begin() as connection:
        assert not inspect(connection).has_table("backchannel_requests")


def test_a_database_without_tables_is_named_as_such(tmp_path: Any) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    with pytest.raises(NotInitialised):
        check_schema(engine)
    engine.dispose()
