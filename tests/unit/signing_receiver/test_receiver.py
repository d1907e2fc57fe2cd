"""The web tier's endpoint for security events: what it passes on, and what it answers (RFC 8935)."""

from __future__ import annotations

from typing import cast

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from contract.event import MAX_EVENT_OCTETS
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkError, LinkRefused, LinkUnavailable
from signing.receiver import receiver_blueprint

MEDIA_TYPE = "application/secevent+jwt"
NO_VERDICT = (codes.AUDIT_UNAVAILABLE, codes.BUSY, codes.DEVICE_UNAVAILABLE, codes.INDETERMINATE, codes.NOT_PERMITTED)


class Link:
    """The module, as far as the endpoint sees it; ``error`` is raised instead of taking the next event."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.error: LinkError | None = None

    def revoke(self, event: str) -> None:
        """Take an event."""
        self.events.append(event)
        if self.error is not None:
            raise self.error


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def http(link: Link) -> FlaskClient:
    app = Flask("test")
    app.register_blueprint(receiver_blueprint(cast("SamClient", link)))
    app.testing = True
    return app.test_client()


def post(http: FlaskClient, body: bytes = b"a.b.c", content_type: str | None = MEDIA_TYPE) -> TestResponse:
    return http.post("/events", data=body, content_type=content_type)


def test_an_event_goes_to_the_module_as_it_came_and_is_accepted_once_it_was_recorded(
    http: FlaskClient, link: Link
) -> None:
    answer = post(http)
    assert (answer.status_code, answer.data, link.events) == (202, b"", ["a.b.c"])


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/jwt", None])
def test_another_media_type_never_reaches_the_module(http: FlaskClient, link: Link, content_type: str | None) -> None:
    answer = post(http, content_type=content_type)
    assert (answer.status_code, answer.json["err"]) == (400, "invalid_request")  # type: ignore[index] # JSON, or the test fails
    assert link.events == []


@pytest.mark.parametrize("body", [b"A" * (MAX_EVENT_OCTETS + 1), b"\xff.b.c"])
def test_JOS_02_what_cannot_be_an_event_never_reaches_the_module(http: FlaskClient, link: Link, body: bytes) -> None:
    assert post(http, body).status_code == 400
    assert link.events == []


def test_the_longest_event_reaches_the_module(http: FlaskClient, link: Link) -> None:
    assert post(http, b"A" * MAX_EVENT_OCTETS).status_code == 202
    assert len(link.events) == 1


def test_a_body_of_unstated_length_is_refused(http: FlaskClient, link: Link) -> None:
    answer = http.post("/events", content_type=MEDIA_TYPE, headers={"Transfer-Encoding": "chunked"})
    assert (answer.status_code, link.events) == (400, [])


@pytest.mark.parametrize(
    ("refusal", "err"),
    [
        (codes.INVALID_EVENT, "invalid_request"),
        (codes.BAD_REQUEST, "invalid_request"),
        (codes.EVENT_AUDIENCE, "invalid_audience"),
        (codes.EVENT_ISSUER, "invalid_issuer"),
    ],
)
def test_a_refusal_is_told_in_the_words_of_the_standard(http: FlaskClient, link: Link, refusal: str, err: str) -> None:
    link.error = LinkRefused(refusal)
    answer = post(http)
    assert (answer.status_code, answer.headers["Content-Language"]) == (400, "en")
    assert answer.json is not None
    assert (answer.json["err"], set(answer.json)) == (err, {"err", "description"})


@pytest.mark.parametrize("refusal", NO_VERDICT)
def test_what_is_no_verdict_on_the_event_asks_for_another_try(http: FlaskClient, link: Link, refusal: str) -> None:
    link.error = LinkRefused(refusal)
    answer = post(http)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_a_module_that_does_not_answer_has_not_accepted(http: FlaskClient, link: Link) -> None:
    link.error = LinkUnavailable("gone")
    assert post(http).status_code == 503


def test_a_get_is_not_answered(http: FlaskClient) -> None:
    assert http.get("/events").status_code == 405
