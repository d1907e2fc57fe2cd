"""The outbox and its delivery: written with what it tells of, sent again until it is moot, by one process at a time."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select, update

from contract import event as security_events
from contract.event import SCOPES, EventName
from foundation.clock import epoch
from idp.activation.notices import Notice, event_for
from idp.delivery import Deliverer, Delivery, start
from idp.errors import KeyUnavailable
from idp.storage import outbox
from idp.storage.audit import TABLES
from idp.storage.outbox import LIFE_SECONDS, event_outbox, wait_seconds
from idp.web import services as composition
from idp.web.services import Services
from tests.fakes.idp import Idp, make_idp


@dataclass(frozen=True)
class Answer:
    """An answer with a status and a body."""

    status: int
    body: bytes = b""

    def response(self) -> requests.Response:
        """As it comes from the wire."""
        made = requests.Response()
        made.status_code = self.status
        made.raw = io.BytesIO(self.body)
        return made


class Receiver:
    """The signing side; ``answers`` are given in turn, and the last one again and again."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.tokens: list[str] = []
        self.headers: dict[str, str] = {}
        self.url = ""

    def post(self, url: str, *, data: bytes, headers: dict[str, str], stream: bool) -> requests.Response:
        """Take an event."""
        self.url, self.headers = url, headers
        self.tokens.append(data.decode())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer.response()


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    made = make_idp(tmp_path)
    yield made
    made.engine.dispose()


def services_of(idp: Idp) -> Services:
    return composition.of(idp.app)


def put(idp: Idp, client_id: str = "example") -> None:
    with idp.engine.begin() as connection:
        services_of(idp).outbox.client_disabled(connection, client_id)


def rows(idp: Idp) -> list[Any]:
    with idp.engine.connect() as connection:
        return list(connection.execute(select(event_outbox)))


@pytest.mark.parametrize("event", SCOPES)
def test_a_notice_is_the_same_event_whenever_it_is_sent(event: EventName) -> None:
    made = event_for(Notice("jti", event, "subject", 1000), issuer="https://idp.example.org", audience="sam")
    assert (made.jti, made.event, made.subject, made.iat, made.not_before) == ("jti", event, "subject", 1000, 1000)


def test_an_accepted_event_is_sent_once_as_the_standard_has_it(idp: Idp) -> None:
    put(idp)
    receiver = Receiver(Answer(202))
    deliverer = Deliverer(services_of(idp), receiver.post)
    assert (deliverer.deliver(), deliverer.deliver(), rows(idp)) == (True, True, [])
    (token,) = receiver.tokens
    event = security_events.decode(token, [services_of(idp).keys.activation_key().verification_key()])
    assert (event.event, event.subject, event.aud) == ("client-disabled", "example", "urn:privyseal:sam:test")
    assert receiver.headers["Content-Type"] == "application/secevent+jwt"
    assert receiver.url == "http://sign.localhost:8402/events"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(400, b'{"err": "invalid_audience", "description": "x"}'),
        Answer(400, b'{"err": "a name that the standard does not have"}'),
        Answer(400, b"not JSON"),
        Answer(200),
        Answer(302),
        Answer(503),
    ],
)
def test_whatever_is_not_202_is_tried_again_after_a_while_and_the_next_event_at_once(
    idp: Idp, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    put(idp, "first")
    put(idp, "second")
    receiver = Receiver(answer, Answer(202))
    deliverer = Deliverer(services_of(idp), receiver.post)
    assert deliverer.deliver()
    (left,) = rows(idp)
    assert (left.attempts, len(receiver.tokens)) == (1, 2)
    assert "a name that the standard" not in caplog.text
    deliverer.deliver()
    assert len(receiver.tokens) == 2
    idp.clock.advance(wait_seconds(1))
    deliverer.deliver()
    assert rows(idp) == []


@pytest.mark.parametrize("error", [requests.ConnectionError("down"), requests.Timeout("slow")])
def test_where_nobody_answers_the_round_ends_and_nothing_is_lost(idp: Idp, error: Exception) -> None:
    put(idp, "first")
    put(idp, "second")
    receiver = Receiver(error)
    assert not Deliverer(services_of(idp), receiver.post).deliver()
    assert (len(receiver.tokens), len(rows(idp))) == (1, 2)


def test_a_guard_that_refuses_the_address_loses_nothing(idp: Idp) -> None:
    put(idp)
    assert not Deliverer(services_of(idp)).deliver()
    assert len(rows(idp)) == 1


def test_an_answer_that_is_too_long_is_none(idp: Idp) -> None:
    put(idp)
    assert not Deliverer(services_of(idp), Receiver(Answer(202, b"x" * 5000)).post).deliver()
    assert len(rows(idp)) == 1


def test_the_waits_grow_and_end_with_the_life_of_a_sad(idp: Idp) -> None:
    assert [wait_seconds(attempts) for attempts in range(1, 8)] == [2, 4, 8, 16, 30, 30, 30]
    put(idp)
    receiver = Receiver(Answer(503))
    deliverer = Deliverer(services_of(idp), receiver.post)
    for _second in range(LIFE_SECONDS):
        deliverer.deliver()
        idp.clock.advance(1)
    assert 10 < len(receiver.tokens) < 20
    deliverer.deliver()
    assert rows(idp) == []


def test_two_processes_do_not_make_one_attempt_twice(idp: Idp) -> None:
    put(idp)
    at = epoch(idp.clock.now())
    with idp.engine.begin() as connection:
        (waiting,) = outbox.due(connection, idp.seals, at, 10)
        assert outbox.claim(connection, waiting, at)
        assert not outbox.claim(connection, waiting, at)
        assert outbox.due(connection, idp.seals, at + 1, 10) == ()


def test_the_outbox_is_the_same_on_either_database(tmp_path: Path, database_url: str) -> None:
    idp = make_idp(tmp_path, database_url)
    put(idp, "first")
    idp.clock.advance(3)
    put(idp, "second")
    at = epoch(idp.clock.now())
    with idp.engine.begin() as connection:
        first, second = outbox.due(connection, idp.seals, at, 10)
        assert (first.notice.subject, second.notice.subject) == ("first", "second")
        assert outbox.backlog(connection, at) == outbox.Backlog(2, 3)
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda _: claimed(idp, first, at), range(8))) == [False] * 7 + [True]
    with idp.engine.begin() as connection:
        assert outbox.due(connection, idp.seals, at, 10) == (second,)
        assert outbox.remove(connection, second.notice.jti)
        assert not outbox.remove(connection, second.notice.jti)
        ((late, whole),) = outbox.overdue_later(connection, idp.seals, at + LIFE_SECONDS, 10)()
        assert whole
        assert (late.notice, late.attempts) == (first.notice, 1)
    idp.engine.dispose()


def claimed(idp: Idp, waiting: outbox.Waiting, at: int) -> bool:
    with idp.engine.begin() as connection:
        return outbox.claim(connection, waiting, at)


def test_an_attempt_that_another_process_made_meanwhile_is_left_to_it(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(idp)
    receiver = Receiver(Answer(202))
    monkeypatch.setattr("idp.storage.outbox.claim", lambda *_arguments: False)
    assert Deliverer(services_of(idp), receiver.post).deliver()
    assert receiver.tokens == []


def test_what_another_process_dropped_is_not_recorded_twice(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    put(idp)
    idp.clock.advance(LIFE_SECONDS)
    monkeypatch.setattr("idp.storage.outbox.remove", lambda *_arguments: False)
    assert Deliverer(services_of(idp), Receiver(Answer(202)).post).deliver()
    assert len(rows(idp)) == 1


def test_a_row_that_a_database_writer_changed_is_not_signed(idp: Idp) -> None:
    put(idp)
    with idp.engine.begin() as connection:
        connection.execute(update(event_outbox).values(event="account-disabled", subject="account-alice"))
    receiver = Receiver(Answer(202))
    deliverer = Deliverer(services_of(idp), receiver.post)
    deliverer.deliver()
    # Nor does it stop those that come after it, or choose what the audit chain says.
    put(idp, "whole")
    idp.clock.advance(LIFE_SECONDS - 1)
    deliverer.deliver()
    assert len(receiver.tokens) == 1
    idp.clock.advance(1)
    deliverer.deliver()
    assert rows(idp) == []
    with idp.engine.connect() as connection:
        recorded = connection.execute(select(TABLES.entries.c.event)).scalars().all()
    assert "event.dropped" not in recorded


def test_what_is_rolled_back_is_not_told(idp: Idp) -> None:
    with idp.engine.connect() as connection:
        services_of(idp).outbox.authenticator_changed(connection, idp.alice)
        connection.rollback()
    assert rows(idp) == []


def test_the_health_page_says_what_waits(idp: Idp) -> None:
    put(idp)
    idp.clock.advance(7)
    answer = idp.client().get("/health/ready")
    assert answer.get_json() == {"status": "ok", "events": {"waiting": 1, "oldest_seconds": 7}}


# The thread


class Slow(Deliverer):
    """Fails at first; says when it ran."""

    def __init__(self, failure: Exception) -> None:
        self.failures = [failure]
        self.ran = threading.Semaphore(0)

    def deliver(self) -> bool:
        """One round."""
        self.ran.release()
        if self.failures:
            raise self.failures.pop()
        return True


@pytest.mark.parametrize("failure", [RuntimeError("a fault of ours"), KeyUnavailable("no key")])
def test_a_round_that_fails_is_not_the_last(failure: Exception) -> None:
    deliverer = Slow(failure)
    delivery = Delivery(deliverer, poll_seconds=60)
    delivery.start()
    for _round in range(2):
        delivery.wake()
        assert deliverer.ran.acquire(timeout=10)
    delivery.stop()


def test_a_request_that_told_something_wakes_the_thread_and_another_does_not(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(Delivery, "start", lambda _self: None)
    monkeypatch.setattr(Delivery, "wake", lambda _self: woken.append("woken"))
    idp.app.add_url_rule("/test/tell", "tell", lambda: str(bool(composition.services().outbox)))
    start(idp.app)
    browser = idp.client()
    browser.get("/health/live")
    assert woken == []
    browser.get("/test/tell")
    assert woken == ["woken"]
