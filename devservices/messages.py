"""The inbox's memory: the newest messages of all channels, nothing on disk."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

CAPACITY = 500
"""Older messages are forgotten."""

MAX_BODY_CHARACTERS = 100_000


class Channel(StrEnum):
    """How a message came."""

    EMAIL = "email"
    SMS = "sms"


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one recipient. Bodies carry one-time passwords, so a message never shows in a repr."""

    number: int
    """Counts up from 1 over the life of the process."""
    channel: Channel
    recipient: str = field(repr=False)
    sender: str = field(repr=False)
    subject: str = field(repr=False)
    """Empty for text messages."""
    body: str = field(repr=False)
    received_at: datetime


class UnsafeInbox:
    """Keeps messages for everybody who can reach loopback to read."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._messages: deque[Message] = deque(maxlen=capacity)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def deliver(
        self, channel: Channel, recipient: str, sender: str, *, subject: str, body: str, received_at: datetime
    ) -> Message:
        """Keep a message."""
        with self._lock:
            message = Message(
                next(self._numbers), channel, recipient, sender, subject, body[:MAX_BODY_CHARACTERS], received_at
            )
            self._messages.append(message)
            return message

    def find(self, recipient: str | None = None, channel: str | None = None, after: int = 0) -> list[Message]:
        """The messages kept, newest first.

        :param recipient: an exact recipient; e-mail addresses are compared without regard to case.
        :param after: only messages with a higher number.
        """
        with self._lock:
            messages = list(self._messages)
        return [
            message
            for message in reversed(messages)
            if message.number > after
            and (recipient is None or message.recipient.casefold() == recipient.casefold())
            and (channel is None or message.channel == channel)
        ]
