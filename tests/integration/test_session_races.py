"""What happens to sessions at one time: thrown out, ended and stepped up; on SQLite and PostgreSQL."""

from __future__ import annotations

import re
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, text, update

from idp import desk
from idp.cli.accounts import set_status
from idp.policy.evidence import Evidence
from idp.storage import accounts, authenticators, grants, sessions
from idp.storage.grants import oidc_grants
from idp.storage.models import sessions as sessions_table
from idp.web import browser, progress, revocation
from idp.web import services as composition
from idp.web.interaction import Interaction
from idp.web.progress import Assessment
from idp.web.services import services
from tests.fakes.idp import NOW, POLICY, Idp, make_idp
from tests.unit.idp_web.factors import POLICY as FACTORS
from tests.unit.idp_web.factors import enrolment
from tests.unit.idp_web.interactions import plain, signature
from tests.unit.idp_web.typed import give, standing

PATIENCE = 10
TWO_FACTORS = b"""\
  - id: own-pages
    action: sign_in
    when: {client: privyseal-account}
    require: substantial
"""


@pytest.fixture
def idp(tmp_path: Path, database_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, database_url, policy=POLICY + TWO_FACTORS)
    yield made
    made.engine.dispose()


@pytest.fixture
def factors(tmp_path: Path, database_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, database_url, policy=FACTORS)
    yield made
    made.engine.dispose()


def test_DOS_04_OTP_12_whoever_has_a_password_alone_throws_nobody_out_who_proved_more(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_OF_ACCOUNT", 3)
    monkeypatch.setattr("idp.web.browser._PICKED", _Every())
    owner = idp.client()
    path = owner.get("/account/").location
    idp.sign_in(owner, path)
    assert idp.pass_otp(owner, path).location == "/account/"
    for _ in range(8):
        idp.clock.advance(60)
        thief = idp.client()
        assert idp.sign_in(thief, idp.path(thief, plain())).location.endswith("?ok")
    assert owner.get("/account/").status_code == 200, "nobody used it for longer, and both factors were proved in it"


def test_DOS_04_whoever_proved_a_lot_in_many_browsers_can_still_sign_in_in_one_more(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_OF_ACCOUNT", 2)
    monkeypatch.setattr("idp.web.browser._PICKED", _Every())
    browsers = []
    for _ in range(4):
        idp.clock.advance(60)
        browser = idp.client()
        path = browser.get("/account/").location
        idp.sign_in(browser, path)
        assert idp.pass_otp(browser, path).location == "/account/"
        browsers.append(browser)
    assert [browser.get("/account/").status_code for browser in browsers] == [303, 303, 200, 200]


def test_DOS_04_sessions_whose_time_is_over_make_room_before_live_ones(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_OF_ACCOUNT", 2)
    _begin(idp, "over")
    with idp.engine.begin() as connection:
        sessions.add_evidence(connection, idp.seals, "over", _evidence(2))
    idp.clock.advance(idp.settings.session.absolute_seconds)
    for name in ("live", "new"):
        _begin(idp, name)
    with idp.engine.begin() as connection:
        assert sessions.beyond(connection, idp.alice, "new", idp.clock.now()).live == ("over",)


def test_SES_03_ending_sessions_and_a_proof_in_one_of_them_do_not_wait_for_each_other(idp: Idp) -> None:
    for name in ("session-a", "session-b"):
        _begin(idp, name)
    proving, ending = Event(), Event()

    def prove() -> None:
        with idp.app.app_context(), idp.engine.begin() as connection:
            sessions.add_evidence(connection, idp.seals, "session-b", _evidence(2))
            proving.set()
            assert ending.wait(PATIENCE)
            await_a_waiting_transaction(idp.engine)
            services().audit.record(
                connection, "session.ended", account_id=idp.alice, session_id="none", cause="test"
            )

    def end() -> int:
        with idp.app.app_context():
            assert proving.wait(PATIENCE)
            ending.set()
            with idp.engine.begin() as connection:
                return revocation.end_sessions(connection, idp.alice, ["session-a", "session-b"], "revoked")

    with ThreadPoolExecutor(2) as pool:
        proof, ended = pool.submit(prove), pool.submit(end)
        assert ended.result() == 2
        proof.result()


def test_SES_03_taking_back_what_was_granted_and_a_token_that_is_given_by_it_do_not_wait_for_each_other(
    idp: Idp,
) -> None:
    """A relying party that refreshes one token after another would otherwise get in the way."""
    for name in ("grant-a", "grant-b"):
        _grant(idp, name)
    giving = Event()

    def give() -> None:
        with idp.app.app_context(), idp.engine.begin() as connection:
            connection.execute(update(oidc_grants).where(oidc_grants.c.id == "grant-b").values(issued_at=1))
            giving.set()
            await_a_waiting_transaction(idp.engine)
            services().audit.record(
                connection, "grant.revoked", client_id="rp", grant_id="none", cause=revocation.BY_PERSON
            )

    with ThreadPoolExecutor(1) as pool:
        given = pool.submit(give)
        assert giving.wait(PATIENCE)
        with idp.app.app_context(), idp.engine.begin() as connection:
            revocation.end_grants(connection, ["grant-a", "grant-b"], "rp")
        given.result()
    with idp.engine.connect() as connection:
        assert None not in connection.execute(select(oidc_grants.c.revoked_at)).scalars().all()


@pytest.mark.parametrize(
    "revoke",
    [
        lambda connection, idp: grants.revoke_client(connection, "rp", NOW),
        lambda connection, idp: grants.revoke_subject(connection, idp.alice, NOW),
        lambda connection, idp: grants.revoke_sessions(connection, ["session-a"], NOW),
        lambda connection, idp: grants.revoke_several(connection, ["grant-b", "grant-a"], NOW, "person"),
        lambda connection, idp: grants.purge(connection, NOW + timedelta(days=3)),
    ],
    ids=["client", "subject", "sessions", "several", "purge"],
)
def test_SES_03_several_grants_are_taken_back_in_one_order(
    idp: Idp, revoke: Callable[[Connection, Idp], object]
) -> None:
    """Of two who take them back, each would otherwise hold what the other waits for."""
    for name in ("grant-b", "grant-a"):  # as an update without an order would find them
        _grant(idp, name)
    with idp.engine.begin() as connection:
        connection.execute(update(oidc_grants).values(session_id="session-a"))
    taking = Event()

    def take() -> None:
        with idp.engine.begin() as connection:
            for name in ("grant-a", "grant-b"):
                grants.revoke(connection, name, NOW, "person")
                if not taking.is_set():
                    taking.set()
                    await_a_waiting_transaction(idp.engine)

    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(take)
        assert taking.wait(PATIENCE)
        with idp.engine.begin() as connection:
            revoke(connection, idp)
        taken.result()


@pytest.mark.parametrize(
    "end",
    [
        lambda connection, idp: revocation.end_sessions(connection, idp.alice, ["session-a", "session-b"], "revoked"),
        lambda connection, idp: desk.end_all_sessions(connection, services().outbox, idp.alice, NOW),
    ],
    ids=["several", "all"],
)
def test_SES_03_sessions_end_with_their_grants_in_one_order(
    idp: Idp, end: Callable[[Connection, Idp], object]
) -> None:
    """What was given out in a session is looked at with its grants locked: those of all sessions at once."""
    for session, grant in (("session-a", "grant-b"), ("session-b", "grant-a")):
        _begin(idp, session)
        _grant(idp, grant)
        with idp.engine.begin() as connection:
            connection.execute(update(oidc_grants).where(oidc_grants.c.id == grant).values(session_id=session))
    taking = Event()

    def take() -> None:
        with idp.engine.begin() as connection:
            for name in ("grant-a", "grant-b"):
                grants.revoke(connection, name, NOW, "person")
                if not taking.is_set():
                    taking.set()
                    await_a_waiting_transaction(idp.engine)

    with ThreadPoolExecutor(1) as pool, idp.app.app_context():
        taken = pool.submit(take)
        assert taking.wait(PATIENCE)
        with idp.engine.begin() as connection:
            end(connection, idp)
        taken.result()


@pytest.mark.parametrize("signing_out", [False, True])
def test_SES_03_an_account_is_locked_while_one_of_its_sessions_ends(idp: Idp, signing_out: bool) -> None:
    """Both end sessions and what was granted in them: first the ones, then the others."""
    _begin(idp, "session-a")
    _grant(idp, "grant-a")
    with idp.engine.begin() as connection:
        connection.execute(update(oidc_grants).values(session_id="session-a"))
    locking = Event()

    def lock() -> None:
        with idp.engine.begin() as connection:
            sessions.revoke_several(connection, sessions.lock_all(connection, idp.alice), NOW)
            locking.set()
            await_a_waiting_transaction(idp.engine)
            grants.revoke_subject(connection, idp.alice, NOW)

    cookie = {"Cookie": "privyseal_session=session-a"}
    with ThreadPoolExecutor(1) as pool, idp.app.test_request_context(headers=cookie):
        assert browser.current() is not None
        locked = pool.submit(lock)
        assert locking.wait(PATIENCE)
        if signing_out:
            browser.sign_out()
        else:
            with idp.engine.begin() as connection:
                revocation.end_sessions(connection, idp.alice, ["session-a"], "revoked")
        locked.result()


def test_SES_03_an_account_is_locked_by_the_help_desk_while_its_owner_binds_a_factor(idp: Idp) -> None:
    """Both have the account before its sessions: neither holds what the other waits for."""
    _begin(idp, "session-a")
    binding = Event()

    def bind() -> None:
        with idp.engine.begin() as connection:
            accounts.lock(connection, idp.alice)
            binding.set()
            await_a_waiting_transaction(idp.engine)
            sessions.lock_all(connection, idp.alice)

    with ThreadPoolExecutor(1) as pool:
        bound = pool.submit(bind)
        assert binding.wait(PATIENCE)
        options = Namespace(username="alice", status="disabled", clock=idp.clock, reason=None)
        assert set_status(idp.settings, options)["sessions_ended"] == 1
        bound.result()


def test_SES_03_what_began_in_the_moment_of_a_lock_does_not_come_back_with_the_account(idp: Idp) -> None:
    """Whoever signs in just then has seen an account that was not locked yet."""

    def become(status: str) -> int:
        options = Namespace(username="alice", status=status, clock=idp.clock, reason=None)
        ended: int = set_status(idp.settings, options)["sessions_ended"]
        return ended

    assert become("disabled") == 0
    _begin(idp, "late")
    _grant(idp, "late")
    assert become("active") == 1
    with idp.engine.connect() as connection:
        assert None not in connection.execute(select(oidc_grants.c.revoked_at)).scalars().all()
    _begin(idp, "new")
    assert become("active") == 0, "nobody was locked"
    assert become("disabled") == 1


def test_ENR_03_factors_are_reset_while_somebody_guesses_their_codes(factors: Idp) -> None:
    """Whoever goes on guessing would otherwise keep the help desk from it."""
    for name in ("app-b", "app-a"):  # in the order of their enrolment
        give(factors, "totp", name)
    guessing, made = Event(), composition.of(factors.app)
    at_work = desk.Desk(made.seals, made.audit, made.outbox, made.keys.secret, made.random, NOW)

    def guess() -> None:
        with factors.engine.begin() as connection:
            authenticators.lock(connection, "app-a")
            guessing.set()
            await_a_waiting_transaction(factors.engine)
            authenticators.lock(connection, "app-b")

    apps = [standing(factors, name) for name in ("app-b", "app-a")]
    with ThreadPoolExecutor(1) as pool:
        guessed = pool.submit(guess)
        assert guessing.wait(PATIENCE)
        with factors.engine.begin() as connection:
            desk.disable_factors(connection, at_work, factors.alice, apps, by="command_line")
        guessed.result()
    assert [standing(factors, item.id).disabled for item in apps] == [True, True]


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_SES_03_SAD_11_a_session_that_ends_while_an_approval_is_judged_approves_nothing(
    factors: Idp, monkeypatch: pytest.MonkeyPatch, decision: str
) -> None:
    """Between what the policy says and the approval's own transaction somebody signs this browser out."""
    thief = factors.client()
    path = factors.path(thief, signature())
    factors.sign_in(thief, path)
    factors.pass_otp(thief, path)
    before = progress.assess

    def assess_and_be_signed_out(interaction: Interaction, besides: Any = None) -> Assessment | None:
        found = before(interaction, besides)
        with factors.engine.begin() as connection:
            revocation.end_sessions(connection, factors.alice, [interaction.stored.session_id], "revoked")
        return found

    page = thief.get(path).text
    fields = dict(re.findall(r'name="(csrf_token|binding)" value="([^"]+)"', page))
    monkeypatch.setattr(progress, "assess", assess_and_be_signed_out)
    answer = thief.post(f"{path}/consent", data={**fields, "decision": decision})
    assert answer.status_code == 400
    assert factors.finished == []


def test_SES_03_a_password_is_changed_although_something_is_proved_in_another_session_just_then(
    factors: Idp,
) -> None:
    """Whoever stole the former password would otherwise keep it good by proving one thing after another."""
    browser = factors.client()
    path = enrolment(factors, browser, "password")
    token = factors.csrf(browser, path)
    _begin(factors, "thief")
    proving = Event()

    def prove() -> None:
        with factors.app.app_context(), factors.engine.begin() as connection:
            sessions.add_evidence(connection, factors.seals, "thief", _evidence(2))
            proving.set()
            await_a_waiting_transaction(factors.engine)
            services().audit.record(
                connection, "login.succeeded", account_id=factors.alice, session_id="thief", factor="sms_otp",
                authenticator_id="item-2", txn="txn", client_id="rp", action="sign_in",
            )  # fmt: skip

    with ThreadPoolExecutor(1) as pool:
        proof = pool.submit(prove)
        assert proving.wait(PATIENCE)
        answer = browser.post(path, data={"csrf_token": token, "password": "ein Käfer im Klee, zweimal"})
        assert answer.location == "/account/"
        proof.result()
    with factors.engine.begin() as connection:
        ended = sessions.find_by_token(
            connection, factors.seals, "thief", factors.clock.now(), factors.settings.session
        )
    assert ended is None


def test_SES_03_a_new_password_ends_what_was_granted_in_a_browser_that_has_not_been_used_for_a_while(
    factors: Idp,
) -> None:
    """The idle limit is the browser's: a relying party goes on with what it was granted there."""
    _begin(factors, "thief")
    _grant(factors, "granted")
    with factors.engine.begin() as connection:
        connection.execute(update(oidc_grants).values(session_id="thief"))
    factors.clock.advance(factors.settings.session.idle_seconds)
    with factors.engine.connect() as connection:
        assert grants.session_lasts(connection, factors.seals, "thief", factors.clock.now())
    browser = factors.client()
    path = enrolment(factors, browser, "password")
    fields = {"csrf_token": factors.csrf(browser, path), "password": "ein Käfer im Klee, zweimal"}
    assert browser.post(path, data=fields).location == "/account/"
    with factors.engine.connect() as connection:
        assert connection.execute(select(oidc_grants.c.revoked_at)).scalar_one() is not None
        assert not grants.session_lasts(connection, factors.seals, "thief", factors.clock.now())


@pytest.mark.postgres
@pytest.mark.parametrize("whose", ["help desk", "person"])
def test_SES_03_a_session_that_begins_while_all_are_ended_is_not_waited_for(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """It is not locked in the one order: each would hold what the other waits for."""
    factors = make_idp(tmp_path, postgres_url, policy=FACTORS)
    browser = factors.client()
    path = enrolment(factors, browser, "password")
    fields = {"csrf_token": factors.csrf(browser, path), "password": "ein Käfer im Klee, zweimal"}
    _begin(factors, "session-a")
    lock_all, begun = sessions.lock_all, Event()

    def lock_both() -> None:
        with factors.engine.begin() as connection:
            sessions.lock(connection, ["-first"])
            begun.set()
            sessions.lock(connection, ["session-a"])

    with ThreadPoolExecutor(1) as pool:

        def and_one_begins(connection: Connection, account_id: str) -> tuple[str, ...]:
            locked = lock_all(connection, account_id)
            if not begun.is_set():
                _begin(factors, "-first")
                waiting.append(pool.submit(lock_both))
                assert begun.wait(PATIENCE)
                await_a_waiting_transaction(factors.engine)
            return locked

        waiting: list[Future[None]] = []
        monkeypatch.setattr(sessions, "lock_all", and_one_begins)
        if whose == "person":
            assert browser.post(path, data=fields).location == "/account/"
        else:
            with factors.app.app_context(), factors.engine.begin() as connection:
                desk.end_all_sessions(connection, services().outbox, factors.alice, NOW)
        waiting[0].result()
    with factors.engine.connect() as connection:
        ended = select(sessions_table.c.revoked_at).where(sessions_table.c.id == "session-a")
        assert connection.execute(ended).scalar_one() is not None
    factors.engine.dispose()


class _Every(frozenset[str]):
    def __contains__(self, _item: object) -> bool:
        return True


def _evidence(number: int) -> Evidence:
    return Evidence("password", f"item-{number}", "knowledge", NOW)


def _grant(idp: Idp, name: str) -> None:
    with idp.engine.begin() as connection:
        grants.begin(
            connection, idp.seals, name, client_id="rp", subject=idp.alice, now=idp.clock.now(), seconds=3600
        )


def _begin(idp: Idp, name: str) -> None:
    with idp.engine.begin() as connection:
        sessions.create(
            connection,
            idp.seals,
            session_id=name,
            token=name,
            account_id=idp.alice,
            device="",
            now=idp.clock.now(),
            limits=idp.settings.session,
            evidence=_evidence(1),
        )


def await_a_waiting_transaction(engine: Engine) -> None:
    """On SQLite whoever writes has the whole database, and nobody can wait for half of it."""
    if engine.dialect.name != "postgresql":
        return
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    until = time.monotonic() + PATIENCE
    with engine.connect() as connection:
        while not connection.execute(waiting).scalar_one() and time.monotonic() < until:
            time.sleep(0.02)
