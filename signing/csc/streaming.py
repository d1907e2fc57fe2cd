"""JSON with documents in base64, written piece by piece: a large answer is never in memory as one text."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_PIECE: Final = 3 * 64 * 1024
"""Octets that are encoded at a time: threes, so that pieces join into one text."""


@dataclass(frozen=True, slots=True)
class Document:
    """Octets that go out in base64."""

    octets: bytes = field(repr=False)

    def __len__(self) -> int:
        """Characters that it takes."""
        return 4 * -(-len(self.octets) // 3)


def pieces(value: Any) -> Iterator[bytes]:
    """A JSON text in pieces of some size.

    :param value: as :func:`json.dumps` takes it, and :class:`Document` in lists and objects.
    """
    waiting = bytearray()
    for part in _parts(value):
        waiting += part
        if len(waiting) >= _PIECE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def length(value: Any) -> int:
    """Octets of that text."""
    if isinstance(value, Document):
        return 2 + len(value)
    if isinstance(value, Mapping):
        return 1 + sum(len(json.dumps(name)) + 2 + length(each) for name, each in value.items()) + (not value)
    if isinstance(value, list):
        return 1 + sum(1 + length(each) for each in value) + (not value)
    return len(json.dumps(value))


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, Document):
        yield b'"'
        view = memoryview(value.octets)
        for start in range(0, len(view), _PIECE):
            yield base64.b64encode(view[start : start + _PIECE])
        yield b'"'
    elif isinstance(value, Mapping):
        yield b"{"
        for number, (name, each) in enumerate(value.items()):
            yield (b"," if number else b"") + json.dumps(name).encode() + b":"
            yield from _parts(each)
        yield b"}"
    elif isinstance(value, list):
        yield b"["
        for number, each in enumerate(value):
            if number:
                yield b","
            yield from _parts(each)
        yield b"]"
    else:
        yield json.dumps(value).encode()
