"""An answer with documents is the JSON that it would be in one piece."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import pytest

from signing.csc.streaming import Document, length, pieces

LARGE = bytes(range(256)) * 4096


def plain(value: Any) -> Any:
    if isinstance(value, Document):
        return base64.b64encode(value.octets).decode()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": []},
        {"a": {}},
        {"DocumentWithSignature": [Document(LARGE), Document(b"")], "reachedLevels": {"x": ["Ades-B-B", 'a"ü\n']}},
        {"a": [Document(b"a"), Document(b"ab"), Document(b"abc"), None, True, 1.5], "b": "\u2028"},
    ],
)
def test_the_pieces_are_one_json_text_of_the_length_that_is_said(value: dict[str, Any]) -> None:
    text = b"".join(pieces(value))
    assert json.loads(text) == plain(value)
    assert text == json.dumps(plain(value), separators=(",", ":")).encode()
    assert len(text) == length(value)


def test_DOS_01_memory_does_not_grow_with_the_document() -> None:
    document = Document(bytes(8_000_000))
    tracemalloc.start()
    try:
        assert sum(map(len, pieces({"DocumentWithSignature": [document]}))) > 10_000_000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
