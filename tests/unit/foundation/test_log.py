"""Logs: one line a record, nothing in it that must not be (DOS-05, AUD-11, OTP-06)."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime

import pytest

from foundation import log
from foundation.clock import FixedClock
from foundation.jose import generate_signing_key, sign_compact

TOKEN = sign_compact({"a": 1}, generate_signing_key(), "sad+jwt")


def emit(message: str, *, exception: bool = False, **fields: object) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log.JsonFormatter("test", FixedClock(datetime(2026, 1, 1, tzinfo=UTC))))
    logger = logging.Logger("t")
    logger.addHandler(handler)
    if exception:
        try:
            raise ValueError("the password is hunter2")
        except ValueError:
            logger.exception(message, extra={"fields": fields})
    else:
        logger.info(message, extra={"fields": fields})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"token {TOKEN} arrived", TOKEN),
        ("Authorization: Bearer abcdefghijkl", "abcdefghijkl"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("POST /x?code=Zm9vYmFy&state=1", "Zm9vYmFy"),
        ('{"password": "hunter2"}', "hunter2"),
        ("otp=123456", "123456"),
        ("postgresql://privy:hunter2@db/x", "hunter2"),
        ("refresh_token=abc.def", "abc.def"),
    ],
)
def test_secrets_are_taken_out_of_messages_and_fields(text: str, secret: str) -> None:
    assert secret not in emit(text)
    assert secret not in emit("x", field=text, nested={"a": [text]})


def test_DOS_05_a_line_break_or_escape_in_input_cannot_make_a_second_record() -> None:
    line = emit('evil\n{"level":"INFO"}\x1b[31m\u2028', who="a\r\nb")
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert json.loads(line)["level"] == "INFO"


def test_an_exceptions_text_is_not_logged_but_its_place_is() -> None:
    entry = json.loads(emit("failed", exception=True))
    assert entry["exception"] == "ValueError"
    assert "test_log.py" in entry["trace"][0]
    assert "hunter2" not in json.dumps(entry)


def test_octets_are_counted_and_not_shown() -> None:
    assert json.loads(emit("x", blob=b"\x00secret", number=3, nothing=None))["fields"] == {
        "blob": "[7 octets]",
        "number": 3,
        "nothing": None,
    }


def test_configuring_twice_leaves_one_handler_of_ours_and_all_foreign_ones() -> None:
    root = logging.getLogger()
    before = list(root.handlers)
    level = root.level
    try:
        log.configure("a", stream=io.StringIO())
        log.configure("b", stream=io.StringIO())
        ours = [handler for handler in root.handlers if handler not in before]
        assert len(ours) == 1
        assert all(handler in root.handlers for handler in before)
        assert log.get("x").name == "x"
    finally:
        root.handlers[:] = before
        root.setLevel(level)
