"""Times as options have them."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

_DAY = len("2026-03-02")


def since(text: str) -> datetime:
    """A day, from its first second in UTC, or a time with its zone; for ``type=`` of an option.

    :raises argparse.ArgumentTypeError: neither.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a day (2026-03-02) nor a time") from error
    if found.tzinfo is not None:
        return found.astimezone(UTC)
    if len(text) != _DAY:
        raise argparse.ArgumentTypeError(f"{text!r} has no zone, such as Z for UTC")
    return found.replace(tzinfo=UTC)


def count(text: str) -> int:
    """A number of things, at least one; for ``type=`` of an option.

    :raises argparse.ArgumentTypeError: it is none.
    """
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)
