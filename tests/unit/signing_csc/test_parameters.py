"""Octets have one spelling in base64, whatever their number: the canonical one (RFC 4648 3.5)."""

from __future__ import annotations

import base64
import string

import pytest

from signing.csc.parameters import base64_octets

ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
LENGTHS = [*range(6), 31, 32, 33, *range(62, 68), 1000, 1001, 1002]
"""On both sides of every bound."""


@pytest.mark.parametrize("length", LENGTHS)
def test_the_canonical_spelling_is_read(length: int) -> None:
    data = bytes(range(256)) * 4
    assert base64_octets(base64.b64encode(data[:length]).decode()) == data[:length]


@pytest.mark.parametrize("length", [each for each in LENGTHS if each])
def test_no_other_spelling_is(length: int) -> None:
    text = base64.b64encode(b"\xfb" * length).decode()
    bare = text.rstrip("=")
    others = [text + "=", text + "\n", " " + text, text[:1] + "\n" + text[1:], text + "A", text[1:], text + text[-4:-1]]
    others += [text.replace("+", "-"), text.replace("/", "_") + "_", "é" + text[1:], "\0" + text[1:]]
    others += [bare[:-1] + each + text[len(bare) :] for each in ALPHABET if text != bare and each != bare[-1]]
    others += [bare] if text != bare else []
    for other in others:
        if other == text:
            continue
        if len(other) == len(text) and _means(other) not in {None, b"\xfb" * length}:
            assert base64_octets(other) == _means(other)
        else:
            with pytest.raises(ValueError, match="base64"):
                base64_octets(other)


def _means(text: str) -> bytes | None:
    """The octets of which a text is the spelling; None: of none."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data).decode() == text else None
