"""Structured logs: one JSON object a line, on standard error, with what must not be logged taken out.

The filter is the last line of defence, not the first: callers log identifiers and outcomes, never values.  What it
stops is what slips through a foreign library's message: tokens, credentials in URLs, codes in texts.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from typing import Any, Final, TextIO

from foundation.clock import Clock, SystemClock

_REDACTED: Final = "[redacted]"
_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # A compact JWS or anything that begins like one.
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}"), _REDACTED),
    (re.compile(r"(?i)\b(bearer|basic|dpop)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {_REDACTED}"),
    (
        re.compile(
            r"(?i)([\"']?\b(?:password|passwd|secret|client_secret|pin|otp|sad|code|code_verifier|access_token|refresh_token"
            r"|id_token|client_assertion|request_uri|authorization|cookie|state)\b[\"']?\s*[=:]\s*[\"']?)([^\s\"'&,;}]+)"
        ),
        rf"\1{_REDACTED}",
    ),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s:@]+:[^/\s@]+@"), rf"\1{_REDACTED}@"),
)
_MAX_TEXT: Final = 4096


def redact(text: str) -> str:
    """Take out what looks like a token, a credential or a code."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value[:_MAX_TEXT])
    if isinstance(value, dict):
        return {redact(str(name)): _clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, bytes):
        return f"[{len(value)} octets]"
    return value if isinstance(value, int | float | bool) or value is None else redact(str(value)[:_MAX_TEXT])


class JsonFormatter(logging.Formatter):
    """One line of JSON a record: JSON's own escapes keep control characters from forging a second one."""

    def __init__(self, component: str, clock: Clock) -> None:
        super().__init__()
        self._component = component
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; the message and every field pass the filter."""
        entry: dict[str, Any] = {
            "at": self._clock.now().isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "component": self._component,
            "logger": record.name,
            "message": redact(record.getMessage()[:_MAX_TEXT]),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            entry["fields"] = _clean(fields)
        if record.exc_info and record.exc_info[0] is not None:
            # Type and place only: an exception's text may quote its input.
            entry["exception"] = record.exc_info[0].__name__
            entry["trace"] = _trace(record.exc_info[2])
        return json.dumps(entry, ensure_ascii=True, separators=(",", ":"))


def _trace(traceback: Any) -> list[str]:
    places: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return places[-12:]


def configure(component: str, level: str = "INFO", *, stream: TextIO | None = None, clock: Clock | None = None) -> None:
    """Send all logging of this process to ``stream`` (standard error by default), as JSON lines.

    A thread that ends by a fault is logged too: Python's own trace would show the exception's text.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(component, clock or SystemClock()))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, JsonFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    # These log whole requests, with their bodies, at DEBUG.
    for noisy in ("urllib3", "twilio", "requests", "sqlalchemy.engine", "authlib"):
        logging.getLogger(noisy).setLevel(max(logging.getLogger(noisy).level, logging.WARNING))
    threading.excepthook = _thread_failed


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None and not isinstance(failure.exc_value, SystemExit):
        trace = (failure.exc_type, failure.exc_value, failure.exc_traceback)
        logging.getLogger(__name__).critical("a thread failed", exc_info=trace)


def get(name: str) -> logging.Logger:
    """A logger; structured fields go in ``extra={"fields": {...}}``."""
    return logging.getLogger(name)
