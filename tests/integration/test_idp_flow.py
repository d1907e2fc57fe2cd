"""A signature through the pages on SQLite and on PostgreSQL, many at once, and the audit chain afterwards."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text

from auditlog.chain import verify
from auditlog.sql import read_entries
from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.activation.mint import sad_for
from idp.settings import PasswordSettings
from idp.storage.audit import TABLES
from idp.storage.engine import reading
from idp.storage.models import decisions
from idp.web import login
from idp.web.interaction import BeginInteraction
from tests.fakes.idp import PASSWORD, Idp, make_idp

INTENT = SignatureIntent(
    "cred-1", "2.16.840.1.101.3.4.2.1", (DocumentDigest(b"\x01" * 32, "contract.pdf"),), "dtbsr", 1
)
SIGNATURE = BeginInteraction(
    "test", "signature.activate", "example-contracts", {}, intent=INTENT, client_name="Example Contracts"
)
SIGN_IN = BeginInteraction("test", "sign_in", "example-contracts", {})


@pytest.fixture
def idp(tmp_path: Path, database_url: str) -> Iterator[Idp]:
    made = make_idp(tmp_path, database_url)
    yield made
    made.engine.dispose()


def at_consent(idp: Idp, browser: FlaskClient) -> tuple[str, dict[str, str]]:
    """The consent page's path and what its form would send."""
    path = idp.path(browser, SIGNATURE)
    idp.sign_in(browser, path)
    idp.pass_otp(browser, path)
    fields = dict(re.findall(r'name="(csrf_token|binding)" value="([^"]+)"', browser.get(path).text))
    return path, {**fields, "decision": "approve"}



def test_an_address_that_the_database_does_not_take_is_no_page_for_who_has_a_session_either(idp: Idp) -> None:
    browser = idp.client()
    idp.path(browser, SIGN_IN)
    assert browser.get("/interaction/%00").status_code == 404


def at_once(number: int, work: Callable[[], object]) -> Counter[object]:
    gate = threading.Barrier(number)
    results: Counter[object] = Counter()

    def run() -> None:
        gate.wait()
        result = work()
        results[result] += 1

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def twin(idp: Idp, browser: FlaskClient) -> FlaskClient:
    """Another client with the same cookie, so that one browser can send two requests at once."""
    other = idp.client()
    cookie = browser.get_cookie("privyseal_session")
    assert cookie is not None
    other.set_cookie("privyseal_session", cookie.value)
    return other


def check_chain(idp: Idp) -> list[str]:
    with reading(idp.engine) as connection:
        entries = list(read_entries(connection, TABLES.entries))
    head = verify(iter(entries))
    assert head.sequence == len(entries)
    return [entry.event for entry in entries]


def test_a_signature_is_approved_recorded_and_can_be_minted(idp: Idp) -> None:
    browser = idp.client()
    path, fields = at_consent(idp, browser)
    assert browser.post(f"{path}/consent", data=fields).status_code == 302
    approval = idp.finished[-1].approval
    assert approval is not None
    sad = sad_for(approval, INTENT, issuer="i", audience="a", jti="j", now=idp.clock.now(), lifetime_seconds=300)
    assert (sad.loa, [item.transaction_bound for item in sad.evidence]) == ("substantial", [False, True])
    with reading(idp.engine) as connection:
        assert connection.execute(select(decisions.c.id)).scalars().all() == [approval.decision_id]
    assert check_chain(idp) == ["login.succeeded", "otp.sent", "otp.accepted", "transaction.approved"]


def test_one_consent_sent_six_times_at_once_is_one_approval(idp: Idp) -> None:
    browser = idp.client()
    path, fields = at_consent(idp, browser)
    clients = [twin(idp, browser) for _ in range(6)]
    results = at_once(6, lambda: clients.pop().post(f"{path}/consent", data=fields).status_code)
    assert results == {302: 1, 400: 5}
    assert len(idp.finished) == 1
    assert check_chain(idp).count("transaction.approved") == 1


def test_OTP_04_one_code_typed_six_times_at_once_is_accepted_once(idp: Idp) -> None:
    browser = idp.client()
    path = idp.path(browser, SIGNATURE)
    idp.sign_in(browser, path)
    idp.post(browser, path, "/factor", factor="sms_otp")
    fields = {"csrf_token": idp.csrf(browser, path), "code": idp.inbox.code}
    clients = [twin(idp, browser) for _ in range(6)]
    results = at_once(6, lambda: clients.pop().post(f"{path}/code", data=fields).status_code)
    assert results[303] >= 1
    assert check_chain(idp).count("otp.accepted") == 1


def test_sign_ins_at_once_all_succeed_and_the_chain_is_whole(idp: Idp) -> None:
    browsers = [(client, idp.path(client, SIGN_IN)) for client in (idp.client() for _ in range(8))]

    def sign_in() -> int:
        client, path = browsers.pop()
        return idp.sign_in(client, path).status_code

    assert at_once(8, sign_in) == {302: 8}
    assert check_chain(idp).count("login.succeeded") == 8


def test_AUD_07_without_the_chain_nothing_is_approved(idp: Idp) -> None:
    browser = idp.client()
    path, fields = at_consent(idp, browser)
    with idp.engine.begin() as connection:
        connection.execute(text("delete from audit_head"))
    idp.app.testing = False
    assert browser.post(f"{path}/consent", data=fields).status_code == 500
    assert idp.finished == []
    with reading(idp.engine) as connection:
        assert connection.execute(select(decisions.c.id)).all() == []
        assert connection.execute(text("select state from interactions")).scalars().all() == ["open"]


def test_DOS_03_when_all_places_are_taken_a_login_is_put_off_and_nothing_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "_WAIT_SECONDS", 0.05)
    idp = make_idp(tmp_path, password=PasswordSettings(memory_kib=64, iterations=1, concurrent=1))
    browser = idp.client()
    path = idp.path(browser, SIGN_IN)
    verifier = idp.app.extensions["privyseal.passwords"]
    assert verifier.slots.acquire()
    busy = idp.sign_in(browser, path)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "5")
    assert idp.client().get("/health/ready").status_code == 200
    verifier.slots.release()
    assert idp.sign_in(browser, path, password=PASSWORD).status_code == 302
    assert check_chain(idp) == ["login.succeeded", "transaction.approved"]
    idp.engine.dispose()
