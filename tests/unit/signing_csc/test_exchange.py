"""Requests that are read straight from WSGI: no octet too many, none too few, and answered as Flask would answer."""

from __future__ import annotations

import io
import json
import logging
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, jsonify
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.test import EnvironBuilder, run_wsgi_app

from signing.csc import exchange
from signing.csc.exchange import Incoming, Reply, json_reply
from tests.unit.signing_csc.conftest import Bench

pytestmark = pytest.mark.loopback
INFO = "/csc/v2/credentials/info"


class Slow(io.RawIOBase):
    """A body that comes octet by octet."""

    def __init__(self, octets: bytes) -> None:
        self._rest = io.BytesIO(octets)

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        room[:1] = octet = self._rest.read(1)
        return len(octet)


def incoming(stream: io.IOBase, most: int = 100, **environ: object) -> Incoming:
    made = Incoming({"wsgi.input": stream, "wsgi.input_terminated": True, **environ})
    made.allow(most)
    return made


def test_a_body_in_pieces_is_read_to_its_end() -> None:
    assert incoming(Slow(b'{"a": 1}'), CONTENT_LENGTH="8").body() == b'{"a": 1}'


def test_a_long_body_is_put_together_as_it_comes() -> None:
    """The server keeps what it is asked for until it has all of it: never the whole of a document."""
    asked: list[int] = []

    class Stream(io.BytesIO):
        def read(self, octets: int | None = -1, /) -> bytes:
            asked.append(-1 if octets is None else octets)
            return super().read(octets)

    whole = bytes(range(256)) * 1024 + b"the rest"
    found = incoming(Stream(whole + b"next"), len(whole), CONTENT_LENGTH=str(len(whole)))
    assert found.body() == whole
    assert sum(asked) == len(whole)
    assert max(asked) <= 64 * 1024


def test_DOS_02_no_room_is_taken_for_a_length_that_is_only_stated() -> None:
    """Sixteen clients that state the longest body and send its beginning would take all the memory there is."""
    stated = 256 * 1024 * 1024
    found = incoming(io.BytesIO(bytes(200_000)), stated, CONTENT_LENGTH=str(stated))
    tracemalloc.start()
    try:
        with pytest.raises(ClientDisconnected):
            found.body()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1024 * 1024


def test_what_follows_a_body_is_no_part_of_it() -> None:
    """SES-12: the next request on the connection."""
    stream = io.BytesIO(b'{"a": 1}POST /csc/v2/info')
    found = incoming(stream, CONTENT_LENGTH="8")
    assert found.body() == b'{"a": 1}'
    found.throw_away()
    assert stream.read() == b"POST /csc/v2/info"


def test_a_body_that_ends_early_is_none() -> None:
    with pytest.raises(ClientDisconnected):
        incoming(io.BytesIO(b'{"a": 1}'), CONTENT_LENGTH="9").body()
    with pytest.raises(ClientDisconnected):
        incoming(io.BytesIO(bytes(99_999)), 100_000, CONTENT_LENGTH="100000").body()


def test_a_body_that_is_too_long_is_not_read() -> None:
    """DOS-01."""
    stream = io.BytesIO(bytes(101))
    found = incoming(stream, CONTENT_LENGTH="101")
    with pytest.raises(RequestEntityTooLarge):
        found.body()
    found.throw_away()
    assert stream.tell() == 0


@pytest.mark.parametrize("octets", [101, 1_000_000])
def test_a_body_without_a_length_is_bounded_as_it_comes(octets: int) -> None:
    """DOS-01."""
    stream = io.BytesIO(bytes(octets))
    found = incoming(stream, HTTP_TRANSFER_ENCODING="chunked")
    with pytest.raises(RequestEntityTooLarge):
        found.body()
    with pytest.raises(RequestEntityTooLarge):
        found.throw_away()
    assert stream.tell() == 101
    for sound in (b"{}", bytes(100)):
        assert incoming(io.BytesIO(sound), HTTP_TRANSFER_ENCODING="chunked").body() == sound


def test_SES_12_what_is_json_without_its_rest_is_not_understood(bench: Bench) -> None:
    """A proxy that looks at requests saw the rest."""
    whole = b'{"credentialID": "cred-alice"}'.ljust(256 * 1024) + b"x"
    environ = EnvironBuilder(path=INFO, method="POST", input_stream=io.BytesIO(whole)).get_environ()
    environ |= {"CONTENT_TYPE": "application/json", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    environ["HTTP_AUTHORIZATION"] = f"Bearer {bench.service_token()}"
    _, status, _ = run_wsgi_app(bench.client.application, environ)
    assert status == "413 REQUEST ENTITY TOO LARGE"


def test_a_length_beside_chunks_counts_for_nothing() -> None:
    """SES-12."""
    found = incoming(io.BytesIO(b'{"a": 1}'), CONTENT_LENGTH="2", HTTP_TRANSFER_ENCODING="chunked")
    assert (found.content_length, found.body()) == (None, b'{"a": 1}')


@pytest.mark.parametrize(
    ("stated", "is_json"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/jsonx", False),
        ("text/plain; a=application/json", False),
        ("", False),
    ],
)
def test_only_what_is_said_to_be_json_is_read(stated: str, *, is_json: bool) -> None:
    assert incoming(io.BytesIO(), CONTENT_TYPE=stated).is_json() is is_json


def test_an_answer_is_written_as_flask_writes_it() -> None:
    value = {"z": [1, None, True], "a": 'é"\n\u2028', "b": {"y": "", "x": 1.5}}
    with Flask(__name__).app_context():
        flasks = jsonify(value)
    found = json_reply(value)
    assert found.body == flasks.get_data()
    assert dict(found.headers) == {"Content-Type": flasks.content_type, "Content-Length": str(flasks.content_length)}


def test_pieces_are_not_put_together() -> None:
    def two() -> Iterator[bytes]:
        yield b"a"
        yield b"b"

    body = two()
    found, status, _ = run_wsgi_app(lambda _environ, start: Reply(200, (), body).start(start), {})
    assert (list(found), status) == ([b"a", b"b"], "200 OK")
    assert list(body) == []


def answered(bench: Bench, *, by_flask: bool, **asked: Any) -> tuple[bytes, str, dict[str, list[str]]]:
    """Body, status line and headers of an answer, by Flask's rules or in front of them."""
    app = bench.client.application
    environ = EnvironBuilder(method="POST", **asked).get_environ()
    body, status, headers = run_wsgi_app(lambda e, s: Flask.wsgi_app(app, e, s) if by_flask else app(e, s), environ)
    return b"".join(body), status, {name: headers.getlist(name) for name in sorted(headers.keys())}


@pytest.mark.parametrize("authorised", [True, False])
@pytest.mark.parametrize("path", [INFO, "/csc/v1/info", "/csc/v2/signatures/signDoc", "/csc/v1/signatures/signPolling"])
@pytest.mark.parametrize("body", [b'{"credentialID": "cred-alice"}', b"{", b" " * (256 * 1024 + 1)])
def test_whoever_reaches_a_method_by_flasks_rules_is_answered_alike(
    bench: Bench, path: str, body: bytes, *, authorised: bool
) -> None:
    headers = {"Authorization": f"Bearer {bench.service_token()}"} if authorised else {}
    asked = {"path": path, "data": body, "content_type": "application/json", "headers": headers}
    assert answered(bench, by_flask=True, **asked) == answered(bench, by_flask=False, **asked)


def test_every_answer_has_the_headers_of_every_answer(bench: Bench) -> None:
    token = bench.service_token()
    found = bench.post("credentials/info", {"credentialID": "cred-alice"}, token)
    refused = bench.client.post("/csc/v2/nowhere")
    for answer in (found, bench.post("credentials/info", {}), refused, bench.client.get("/health/live")):
        assert {name: answer.headers.get(name) for name, _ in exchange.EVERY_ANSWER} == dict(exchange.EVERY_ANSWER)
        assert answer.headers.getlist(exchange.POLICY[0]) == [exchange.POLICY[1]]


def test_a_method_is_asked_with_post_only(bench: Bench) -> None:
    for verb in ("GET", "PUT", "DELETE", "PATCH"):
        answer = bench.client.open(INFO, method=verb)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_a_fault_of_ours_is_told_to_the_log_only(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.sam.views = None  # type: ignore[assignment] # what a fault looks like
    with caplog.at_level(logging.ERROR, "signing.csc.views"):
        answer = bench.client.post(
            INFO, json={"credentialID": "cred-alice"}, headers={"Authorization": f"Bearer {bench.service_token()}"}
        )
    assert (answer.status_code, json.loads(answer.data)["error"]) == (500, "server_error")
    assert "NoneType" not in answer.text
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [TypeError]
