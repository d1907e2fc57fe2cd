"""A signed and archived PDF with a few octets changed, cut, put in or doubled, two thousand times."""

from __future__ import annotations

import random
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader

from tests.unit.signing_ades.test_validate import World

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]
_READER: Any = PdfFileReader
TIMES = 2000


def flipped(octets: bytearray, at: int, rng: random.Random) -> None:
    octets[at] ^= 1 << rng.randrange(8)


def cut(octets: bytearray, at: int, rng: random.Random) -> None:
    del octets[at : at + rng.randrange(1, 50)]


def put_in(octets: bytearray, at: int, rng: random.Random) -> None:
    octets[at:at] = rng.randbytes(rng.randrange(1, 20))


def doubled(octets: bytearray, at: int, rng: random.Random) -> None:
    begin = rng.randrange(len(octets))
    octets[at:at] = octets[begin : begin + 200]


CHANGES: list[Callable[[bytearray, int, random.Random], None]] = [flipped, cut, put_in, doubled]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_SIG_02_what_is_changed_where_it_was_signed_never_passes_and_always_has_a_report(
    change: Callable[[bytearray, int, random.Random], None], tmp_path: Path
) -> None:
    world, rng = World(tmp_path), random.Random(2026)
    pdf = world.archived
    # Between the parts of a byte range: a signature's own place, of which nobody signs every digit.
    places = [(int(each.byte_range[1]), int(each.byte_range[2])) for each in _READER(BytesIO(pdf)).embedded_signatures]
    for _time in range(TIMES // len(CHANGES)):
        octets, at = bytearray(pdf), rng.randrange(len(pdf))
        change(octets, at, rng)
        if bytes(octets) == pdf:
            continue
        report = world.report(bytes(octets), outside=world.now)
        if not any(begin <= at < end for begin, end in places):
            assert report.verdict.indication != "TOTAL_PASSED", at
