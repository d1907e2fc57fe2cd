"""Logs: one line a record, nothing in it that must not be (DOS-05, AUD-11, OTP-06)."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
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


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The root logger without a handler of ours, and the threads' hook; put back afterwards as they were."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    # Whichever test made an application of ours before, in this process, has configured it.
    root.handlers[:] = [handler for handler in before if not isinstance(handler.formatter, log.JsonFormatter)]
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield root
    root.handlers[:] = before
    root.setLevel(level)


def test_configuring_twice_leaves_one_handler_of_ours_and_all_foreign_ones(root: logging.Logger) -> None:
    before = list(root.handlers)
    log.configure("a", stream=io.StringIO())
    log.configure("b", stream=io.StringIO())
    ours = [handler for handler in root.handlers if handler not in before]
    assert len(ours) == 1
    assert all(handler in root.handlers for handler in before)
    assert log.get("x").name == "x"


def test_AUD_11_a_thread_that_fails_is_logged_without_the_text_of_what_it_failed_on(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    log.configure("test", stream=stream)

    def fail() -> None:
        raise ValueError("the password is hunter2")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    entry = json.loads(stream.getvalue())
    assert (entry["level"], entry["message"], entry["exception"]) == ("CRITICAL", "a thread failed", "ValueError")
    assert entry["trace"][-1].endswith(" fail")
    assert "hunter2" not in stream.getvalue() + capsys.readouterr().err


def test_a_thread_that_ends_on_purpose_is_not_logged(root: logging.Logger) -> None:
    stream = io.StringIO()
    log.configure("test", stream=stream)
    thread = threading.Thread(target=raise_system_exit)
    thread.start()
    thread.join()
    assert stream.getvalue() == ""


def raise_system_exit() -> None:
    raise SystemExit
