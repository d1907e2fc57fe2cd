"""Guessing passwords over the pages, on SQLite and on PostgreSQL: what it gains, and whom it keeps out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import argon2
import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, func, select

from idp.authn.device import MAX_BROWSERS_FAILURES, MAX_STRANGERS_FAILURES
from idp.authn.password import Passwords
from idp.settings import PasswordSettings
from idp.storage import accounts, authenticators, sessions
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from idp.storage.models import device_failures
from idp.web.interaction import BeginInteraction
from tests.fakes.idp import PASSWORD, Idp, make_idp
from tests.integration.ways import watched

SIGN_IN = BeginInteraction("test", "sign_in", "example-contracts", {}, prompt=("login",))
"""Asks for the password whoever is signed in."""
DEVICE = "privyseal_device"


@pytest.fixture
def idp(tmp_path: Path, database_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, database_url)
    yield made
    made.engine.dispose()


def guess(idp: Idp, browser: FlaskClient | None = None, password: str = "wrong", username: str = "alice") -> int:
    """Type a password, in a browser that was never here if none is given; the status of the answer."""
    browser = browser or idp.client()
    return idp.sign_in(browser, idp.path(browser, SIGN_IN), username, password).status_code


def password_of(idp: Idp) -> Authenticator:
    with reading(idp.engine) as connection:
        found = authenticators.of_kind(connection, idp.seals, idp.alice, "password")
    assert found is not None, "the password is disabled"
    return found


def wait(idp: Idp, until: datetime) -> None:
    """Let the back-off pass."""
    idp.clock.advance(max(0.0, (until - idp.clock.now()).total_seconds()))


def device_cookie(browser: FlaskClient) -> str:
    found = browser.get_cookie(DEVICE)
    assert found is not None
    return found.value


def carrying(idp: Idp, cookie: str) -> FlaskClient:
    """A browser that has nothing but a device cookie."""
    browser = idp.client()
    browser.set_cookie(DEVICE, cookie)
    return browser


def test_OTP_12_a_stranger_who_never_stops_keeps_nobody_out_of_a_browser_that_they_use(idp: Idp) -> None:
    own = idp.client()
    assert guess(idp, own, PASSWORD) == 302
    for number in range(MAX_STRANGERS_FAILURES + 30):
        wait(idp, password_of(idp).blocked_until)
        assert guess(idp) == 403
        if number in {5, MAX_STRANGERS_FAILURES + 29}:
            # Just now even the right password is not tried for a stranger; here it is.
            assert guess(idp, idp.client(), PASSWORD) == 403
            assert guess(idp, own, PASSWORD) == 302
    assert not password_of(idp).disabled


def test_OTP_12_strangers_failures_close_a_password_to_strangers_and_never_disable_it(idp: Idp) -> None:
    own = idp.client()
    guess(idp, own, PASSWORD)
    tries = 0
    while password_of(idp).failures < MAX_STRANGERS_FAILURES:
        wait(idp, password_of(idp).blocked_until)
        guess(idp)
        tries += 1
    assert tries == MAX_STRANGERS_FAILURES == 50
    idp.clock.advance(timedelta(days=30).total_seconds())
    assert guess(idp, idp.client(), PASSWORD) == 403
    assert password_of(idp).failures == MAX_STRANGERS_FAILURES
    assert guess(idp, own, PASSWORD) == 302
    # The person's success lets new browsers in again.
    assert password_of(idp).failures == 0
    assert guess(idp, idp.client(), PASSWORD) == 302


def test_OTP_12_a_stolen_device_cookie_gives_ten_guesses_and_takes_nothing_from_the_persons_other_browsers(
    idp: Idp,
) -> None:
    own, other = idp.client(), idp.client()
    guess(idp, own, PASSWORD)
    guess(idp, other, PASSWORD)
    stolen = device_cookie(other)
    for _ in range(40):
        idp.clock.advance(900)
        wait(idp, password_of(idp).blocked_until)
        guess(idp, carrying(idp, stolen))
    with reading(idp.engine) as connection:
        rows = connection.execute(select(device_failures.c.failures)).scalars().all()
    assert rows == [MAX_BROWSERS_FAILURES]
    assert guess(idp, own, PASSWORD) == 302
    # Its failures stay its own: success elsewhere does not begin them anew.
    for _ in range(6):
        guess(idp, carrying(idp, stolen))
    assert guess(idp, carrying(idp, stolen), PASSWORD) == 403


def test_OTP_02_whoever_has_the_cookie_waits_too(idp: Idp) -> None:
    own = idp.client()
    guess(idp, own, PASSWORD)
    cookie = device_cookie(own)
    assert [guess(idp, carrying(idp, cookie)) for _ in range(8)] == [403] * 8
    assert password_of(idp).failures == 5
    assert guess(idp, carrying(idp, cookie), PASSWORD) == 403
    idp.clock.advance(2)
    assert guess(idp, carrying(idp, cookie), PASSWORD) == 302


def test_OTP_02_a_hundred_wrong_passwords_in_a_row_disable_it_however_many_cookies_were_stolen(idp: Idp) -> None:
    cookies = []
    for _ in range(6):
        browser = idp.client()
        guess(idp, browser, PASSWORD)
        cookies.append(device_cookie(browser))
    with idp.engine.begin() as connection:
        for _ in range(MAX_STRANGERS_FAILURES):
            authenticators.failed(connection, "alice-password", idp.clock.now(), most=100, back_off=True)
    for cookie in cookies:
        for _ in range(MAX_BROWSERS_FAILURES):
            idp.clock.advance(900)
            guess(idp, carrying(idp, cookie))
    with reading(idp.engine) as connection:
        assert authenticators.of_kind(connection, idp.seals, idp.alice, "password") is None
        rows = connection.execute(select(func.sum(device_failures.c.failures))).scalar_one()
    assert rows == 50


@pytest.mark.parametrize("spoilt", ["other_account", "replaced", "expired", "forged", "another_key", "not_one"])
def test_OTP_12_a_device_cookie_serves_its_own_password_for_its_time_only(idp: Idp, spoilt: str) -> None:
    browser = idp.client()
    username = "alice"
    if spoilt == "other_account":
        idp.add_account("bob")
        username = "bob"
    guess(idp, browser, PASSWORD, username)
    cookie = device_cookie(browser)
    if spoilt == "replaced":
        with idp.engine.begin() as connection:
            authenticators.replace(
                connection,
                idp.seals,
                authenticator_id="another",
                account_id=idp.alice,
                kind="password",
                now=idp.clock.now(),
                secret_hash=password_of(idp).secret_hash,
            )
    if spoilt == "expired":
        idp.clock.advance(timedelta(days=180).total_seconds())
    device, until, mac = cookie.split(".")
    cookie = {
        "forged": f"{device}.{int(until) + 1}.{mac}",
        "another_key": f"{device}.{until}.{'A' * 43}",
        "not_one": "\u00e9.." + "9" * 500,
    }.get(spoilt, cookie)
    for _ in range(5):
        guess(idp)
    assert guess(idp, carrying(idp, cookie), PASSWORD) == 403
    wait(idp, password_of(idp).blocked_until)
    assert guess(idp, carrying(idp, cookie), PASSWORD) == 302


def test_the_device_cookie_names_nobody_and_opens_nothing(idp: Idp) -> None:
    browser = idp.client()
    path = idp.path(browser, SIGN_IN)
    response = idp.sign_in(browser, path)
    header = next(item for item in response.headers.getlist("Set-Cookie") if item.startswith(DEVICE))
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=15552000"} <= set(header.split("; "))
    assert "alice" not in header
    thief = carrying(idp, device_cookie(browser))
    assert thief.get("/account/").status_code == 303
    refused = idp.sign_in(thief, idp.path(thief, SIGN_IN), password="wrong")
    assert DEVICE not in str(refused.headers.getlist("Set-Cookie"))


def test_in_production_the_device_cookie_is_bound_to_the_host(tmp_path: Path, database_url: str) -> None:
    idp = make_idp(tmp_path, database_url, issuer="https://idp.example.org")
    browser = idp.client()
    base = "https://idp.example.org"
    idp.waiting.append(SIGN_IN)
    path = browser.get("/test/begin", base_url=base).location
    token = browser.get(path, base_url=base).text.split('name="csrf_token" value="')[1].split('"')[0]
    data = {"csrf_token": token, "username": "alice", "password": PASSWORD}
    response = browser.post(f"{path}/password", data=data, base_url=base)
    header = next(item for item in response.headers.getlist("Set-Cookie") if "-device=" in item)
    assert header.startswith("__Host-privyseal-device=")
    assert "Secure" in header.split("; ")
    idp.engine.dispose()


def test_OTP_11_a_closed_password_and_an_unknown_name_are_the_same_work_and_the_same_answer(idp: Idp) -> None:
    with idp.engine.begin() as connection:
        for _ in range(MAX_STRANGERS_FAILURES):
            authenticators.failed(connection, "alice-password", idp.clock.now(), most=100)
    browser = idp.client()
    path = idp.path(browser, SIGN_IN)
    token = idp.csrf(browser, path)
    seen = []
    for username in ("alice", "nobody", "nul\0", "\u1f82" * 300):
        asked: list[str] = []

        def listen(_connection: Any, _cursor: Any, statement: str, *_rest: Any, asked: list[str] = asked) -> None:
            asked.append(statement.split(maxsplit=1)[0])

        event.listen(idp.engine, "before_cursor_execute", listen)
        data = {"csrf_token": token, "username": username, "password": PASSWORD}
        response = browser.post(f"{path}/password", data=data)
        event.remove(idp.engine, "before_cursor_execute", listen)
        seen.append((response.status_code, asked))
    assert seen == [seen[0]] * 4
    assert seen[0][0] == 403


@pytest.mark.parametrize("path", ["/interaction/%00", "/interaction/a%00b?choose=1", "/account/sessions/%00/revoke"])
def test_DOS_06_a_name_or_an_address_with_a_nul_is_refused_like_any_other_wrong_one(idp: Idp, path: str) -> None:
    idp.app.testing = False
    assert guess(idp, username="alice\0") == 403
    assert idp.client().get(path).status_code == 404
    # Whoever is signed in too, with a form that is right in all else.
    browser = idp.client()
    token = idp.csrf(browser, idp.path(browser, SIGN_IN))
    for end in ("", "/password", "/code", "/leave"):
        assert browser.post(f"{path.removesuffix('?choose=1')}{end}", data={"csrf_token": token}).status_code == 404


def test_DOS_03_one_endless_password_takes_no_longer_than_another(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = Passwords._matches

    def watched(self: Passwords, encoded: str, text: str) -> bool:
        seen.append(len(text))
        return real(self, encoded, text)

    monkeypatch.setattr(Passwords, "_matches", watched)
    marks = "a" + "\u0301" * 20_000 + "\u0316" * 20_000
    assert guess(idp, password=marks) == 403
    # The answer came with one verification, of nothing that was typed.
    assert seen == [0]
    assert password_of(idp).failures == 1


def at_once(number: int, jobs: list[Any]) -> list[int]:
    results: list[int] = []
    gate = threading.Barrier(number)

    def run(job: Any) -> None:
        gate.wait()
        results.append(job())

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("concurrent", [1, 4])
def test_OTP_02_of_many_guesses_at_once_no_more_are_judged_than_one_after_the_other(
    tmp_path: Path, database_url: str, concurrent: int
) -> None:
    # All twenty find a place, although they come from one address.
    costs = PasswordSettings(memory_kib=4096, iterations=3, concurrent=concurrent, waiting=40)
    idp = make_idp(tmp_path, database_url, password=costs)
    jobs = []
    for number in range(20):
        browser = idp.client()
        path = idp.path(browser, SIGN_IN)
        # The last ones have the right password: once the password is blocked, it helps them as little.
        typed = "wrong" if number < 19 else f"wrong {number}"
        data = {"csrf_token": idp.csrf(browser, path), "username": "alice", "password": typed}

        def job(browser: FlaskClient = browser, path: str = path, data: dict[str, str] = data) -> int:
            return browser.post(f"{path}/password", data=data).status_code

        jobs.append(job)
    assert set(at_once(20, jobs)) == {403}
    # Five are free; the fifth blocks the password, and the clock stands still.
    assert password_of(idp).failures == 5
    assert guess(idp, password=PASSWORD) == 403
    idp.engine.dispose()


@pytest.mark.parametrize("meanwhile", ["replaced", "account_disabled", "blocked", "hash_changed"])
def test_OTP_02_what_changed_while_a_password_was_verified_counts(
    idp: Idp, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    real = Passwords.verify

    def slow(self: Passwords, encoded: str | None, password: str) -> bool:
        right = real(self, encoded, password)
        now = idp.clock.now()
        with idp.engine.begin() as connection:
            if meanwhile == "replaced":
                authenticators.replace(
                    connection,
                    idp.seals,
                    authenticator_id="new",
                    account_id=idp.alice,
                    kind="password",
                    now=now,
                    secret_hash=self.hash("another password"),
                )
                sessions.revoke_several(connection, sessions.lock_all(connection, idp.alice), now)
            elif meanwhile == "account_disabled":
                accounts.set_status(connection, idp.alice, "disabled")
            elif meanwhile == "hash_changed":
                authenticators.change_secret(connection, idp.seals, "alice-password", self.hash("another password"))
            else:
                for _ in range(5):
                    authenticators.failed(connection, "alice-password", now, most=100, back_off=True)
        assert right
        return right

    monkeypatch.setattr(Passwords, "verify", slow)
    browser = idp.client()
    assert guess(idp, browser, PASSWORD) == 403
    assert idp.finished == []
    assert browser.get("/account/").status_code == 303
    assert browser.get_cookie(DEVICE) is None


def test_a_password_that_was_not_tried_is_not_counted_as_wrong_a_moment_later(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        guess(idp)
    real = Passwords.verify

    def slow(self: Passwords, encoded: str | None, password: str) -> bool:
        idp.clock.advance(10)
        return real(self, encoded, password)

    monkeypatch.setattr(Passwords, "verify", slow)
    assert guess(idp, password=PASSWORD) == 403
    assert password_of(idp).failures == 5


def test_OTP_11_the_costs_of_everybodys_hash_are_known_from_the_start(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_idp(tmp_path, database_url)
    old = argon2.PasswordHasher(time_cost=2, memory_cost=128, parallelism=1).hash(PASSWORD)
    with first.engine.begin() as connection:
        authenticators.change_secret(connection, first.seals, "alice-password", old)
        found = authenticators.hashes_of_all_costs(connection)
    assert found == (old,)
    from idp.web import login

    login.install(first.app)
    verifier = first.app.extensions["privyseal.passwords"]
    done: list[str] = []
    real = argon2.PasswordHasher.verify

    def counted(self: argon2.PasswordHasher, encoded: str, text: str) -> bool:
        done.append(encoded.split("$")[3])
        return real(self, encoded, text)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    assert guess(first, username="nobody") == 403
    assert done == ["m=64,t=1,p=1", "m=128,t=2,p=1"]
    assert verifier.passwords.verify(old, PASSWORD)
    first.engine.dispose()


def test_a_hash_is_renewed_after_the_login_and_at_the_next_one_where_no_place_is_free(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = argon2.PasswordHasher(time_cost=2, memory_cost=128, parallelism=1).hash(PASSWORD)
    with idp.engine.begin() as connection:
        authenticators.change_secret(connection, idp.seals, "alice-password", old)
    slots = idp.app.extensions["privyseal.passwords"].slots
    real = type(slots).acquire

    def full(self: Any, timeout: float = 0) -> bool:
        return real(self, timeout) if timeout or self is not slots else False

    with monkeypatch.context() as patch:
        patch.setattr(type(slots), "acquire", full)
        assert guess(idp, password=PASSWORD) == 302
    assert password_of(idp).secret_hash == old
    assert guess(idp, password=PASSWORD) == 302
    assert "m=64,t=1,p=1" in (password_of(idp).secret_hash or "")


@pytest.fixture
def on_postgresql(tmp_path: Path, postgres_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, postgres_url)
    yield made
    made.engine.dispose()


def test_OTP_11_a_wrong_password_and_an_unknown_name_go_to_the_database_as_often(
    on_postgresql: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way there and back can be measured from outside, whatever is sent on it."""
    ways = watched(monkeypatch)
    seen: dict[str, list[str]] = {}
    guess(on_postgresql)  # what is looked for once a process
    for username in ("alice", "nobody", "nul\0", "alice"):
        wait(on_postgresql, password_of(on_postgresql).blocked_until)
        browser = on_postgresql.client()
        path = on_postgresql.path(browser, SIGN_IN)
        data = {"csrf_token": on_postgresql.csrf(browser, path), "username": username, "password": "wrong"}
        ways.clear()
        assert browser.post(f"{path}/password", data=data).status_code == 403
        seen[username] = [*ways]
    counts = {username: len(found) for username, found in seen.items()}
    assert set(counts.values()) == {counts["alice"]}, seen
    assert counts["alice"] >= 5
