"""Typed codes on SQLite and on PostgreSQL: many at one time over two nodes, and what is left of them anywhere."""

from __future__ import annotations

import base64
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, inspect, select, text

from idp.authn import hotp
from idp.authn.totp import code_at
from idp.errors import OtpUsed
from idp.storage import authenticators
from idp.storage import recovery as codes
from idp.storage.engine import reading
from idp.storage.hotp_devices import hotp_devices
from idp.storage.wrong_codes import wrong_codes
from idp.web.prove import hotp as prove_hotp
from idp.web.prove import totp
from tests.fakes.idp import Idp, make_idp
from tests.unit.idp_web.factors import POLICY, enrolment
from tests.unit.idp_web.typed import (
    SEED,
    at_step_up,
    give,
    give_recovery_codes,
    standing,
    stock,
    type_code,
)

TOGETHER = 8


@pytest.fixture
def idp(tmp_path: Path, database_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, database_url, policy=POLICY)
    yield made
    made.engine.dispose()


def at_once(jobs: list[Callable[[], int]]) -> list[int]:
    """The jobs, begun at one moment."""
    results: list[int] = []
    gate = threading.Barrier(len(jobs))

    def run(job: Callable[[], int]) -> None:
        gate.wait()
        results.append(job())

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(results)


def typing(idp: Idp, kind: str, code: str, count: int = TOGETHER) -> list[Callable[[], int]]:
    """As many browsers of the person, each about to type the same code for a transaction of its own."""
    jobs: list[Callable[[], int]] = []
    for _ in range(count):
        browser = idp.client()
        path = at_step_up(idp, browser)
        data = {"csrf_token": idp.csrf(browser, path), "code": code}

        def job(browser: FlaskClient = browser, path: str = path, data: dict[str, str] = data) -> int:
            return browser.post(f"{path}/{kind.replace('_', '-')}", data=data).status_code

        jobs.append(job)
    return jobs


@pytest.mark.parametrize("kind", ["totp", "hotp", "recovery_code"])
def test_OTP_04_of_eight_right_codes_at_once_one_is_accepted(idp: Idp, kind: str) -> None:
    if kind == "recovery_code":
        code = give_recovery_codes(idp)[0]
    else:
        give(idp, kind)
        code = code_at(SEED, idp.clock.now()) if kind == "totp" else hotp.code_of(SEED, 6, 2)
    # Those that come too late are wrong codes: after five of them the others are not tried.
    answers = at_once(typing(idp, kind, code))
    assert answers.count(303) == 1
    assert set(answers) <= {303, 403, 429}


@pytest.mark.parametrize("kind", ["totp", "hotp"])
def test_OTP_04_whoever_looked_at_the_counter_before_it_was_moved_is_too_late(idp: Idp, kind: str) -> None:
    """The rows are locked, and yet what decides is the update."""
    item = give(idp, kind)
    on_app = totp.uses_of(code_at(SEED, idp.clock.now()))
    uses = on_app if kind == "totp" else prove_hotp.uses_of(hotp.code_of(SEED, 6, 2))
    with idp.app.test_request_context(), idp.engine.begin() as connection:
        seen = authenticators.lock(connection, item)
        assert uses(connection, seen) is None
        assert isinstance(uses(connection, seen), OtpUsed)


@pytest.mark.parametrize("kind", ["totp", "hotp"])
def test_OTP_02_of_many_guesses_at_once_no_more_are_judged_than_one_after_the_other(idp: Idp, kind: str) -> None:
    item = give(idp, kind)
    near = {code_at(SEED, idp.clock.now()), *(hotp.code_of(SEED, 6, number) for number in range(10))}
    wrong = next(code for code in ("000000", "000001", "000002") if code not in near)
    answers = at_once(typing(idp, kind, wrong, 12))
    assert set(answers) <= {403, 429}
    assert standing(idp, item).failures == 5
    with reading(idp.engine) as connection:
        assert connection.execute(select(func.count()).select_from(wrong_codes)).scalar_one() == 5


def test_a_device_from_the_stock_is_bound_by_one_of_two_people_who_have_it_at_one_time(idp: Idp) -> None:
    stock(idp, "AX-1")
    idp.add_account("bob", email="bob@example.org", phone="+34600000002")
    pair = {"serial": "AX-1", "code": hotp.code_of(SEED, 6, 0), "second": hotp.code_of(SEED, 6, 1)}
    jobs: list[Callable[[], int]] = []
    for username in ("alice", "bob"):
        browser = idp.client()
        idp.sign_in(browser, browser.get("/account/").location, username)
        path = enrolment(idp, browser, "hotp")
        data = {"csrf_token": idp.csrf(browser, path), **pair}

        def job(browser: FlaskClient = browser, path: str = path, data: dict[str, str] = data) -> int:
            return browser.post(path, data=data).status_code

        jobs.append(job)
    assert at_once(jobs) == [303, 400]
    with reading(idp.engine) as connection:
        assert connection.execute(select(hotp_devices.c.serial)).all() == []


def everything(idp: Idp) -> str:
    """Every value of every table."""
    found: list[str] = []
    with reading(idp.engine) as connection:
        for table in inspect(connection).get_table_names():
            found += [repr(tuple(row)) for row in connection.execute(text(f'select * from "{table}"'))]
    return "\n".join(found)


def test_OTP_06_no_seed_no_typed_code_and_no_recovery_code_is_in_a_database_a_log_or_an_address(
    idp: Idp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser, addresses = idp.client(), []
    path = enrolment(idp, browser, "totp")
    shown = re.search(r'<p class="mono seed">([A-Z2-7 ]+)</p>', browser.get(path).text)
    assert shown is not None
    base32 = shown.group(1).replace(" ", "")
    seed = base64.b32decode(base32)
    typed = [code_at(seed, idp.clock.now()), "918273", hotp.code_of(SEED, 6, 1)]
    addresses.append(idp.post(browser, path, code="918273").location)
    addresses.append(idp.post(browser, path, code=typed[0]).location)
    path = enrolment(idp, browser, "recovery_code")
    made = re.findall(r'<li class="mono">([0-9A-Z-]{19})</li>', browser.get(path).text)
    before = everything(idp)
    addresses.append(idp.post(browser, path, kept="yes").location)
    give(idp, "hotp")
    for kind, code in (("recovery_code", made[0]), ("recovery_code", "0000-0000-0000-0000"), ("hotp", typed[2])):
        path = at_step_up(idp, browser)
        addresses += [path, type_code(idp, browser, path, kind, code).location]
    seeds = [form for one in (seed, SEED) for form in (one.hex(), base64.b64encode(one).decode().rstrip("="))]
    seeds += [base64.b32encode(one).decode().rstrip("=") for one in (seed, SEED)] + [SEED.decode()]
    secrets = [*seeds, *made, *(code.replace("-", "") for code in made)]
    assert len(secrets) > 20
    places = {"database": before + everything(idp), "log": caplog.text, "address": "\n".join(map(str, addresses))}
    for name, place in places.items():
        assert [secret for secret in secrets if secret.lower() in place.lower()] == [], name
    for name in ("log", "address"):
        assert [code for code in typed if code in places[name]] == [], name
    with reading(idp.engine) as connection:
        rows = connection.execute(select(codes.recovery_codes.c.digest)).scalars().all()
    assert len(rows) == 9
