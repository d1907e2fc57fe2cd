"""A job: what is wanted, and what came of it.  Times are milliseconds since 1970-01-01T00:00:00Z."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Phase(StrEnum):
    """What a job waits for."""

    WORK = "work"
    """To be carried out."""
    NOTICE = "notice"
    """Its client to be told; it can be fetched."""
    DONE = "done"
    """To be fetched."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An operation to be carried out later."""

    client_id: str
    account: str
    """Of the person whose operation it is."""
    request: bytes = field(repr=False)
    """What whoever carries it out understands."""
    ends_at: int
    """From then on it is not begun any more."""
    keep_for: int
    """Milliseconds for which its outcome is kept."""
    once: bool
    """Whether the module lets the request be carried out once at most, however often it is sent."""
    response_uri: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job, for whoever fetches it."""

    content: bytes = field(repr=False)
    good: bool
    """One that is good is gone once it has been fetched; why there is none can be asked for until it ends."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that one worker has for a while."""

    id: str
    owner: str
    """Stand-in for client and person."""
    phase: Phase
    attempt: int
    """Of its phase, from 1.  A worker whose claim was taken over finds a later one in the table."""
    request: bytes = field(repr=False)
    """Empty once it has been carried out."""
    response_uri: str | None
    ends_at: int
    keep_for: int
    once: bool
    maybe_done: bool
    """An earlier attempt may have been carried out."""


def milliseconds(at: datetime) -> int:
    """Since the epoch, rounded down."""
    return (at - _EPOCH) // timedelta(milliseconds=1)
