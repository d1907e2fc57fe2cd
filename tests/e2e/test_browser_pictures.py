"""The pictures in the documentation: all there, all shown, none too large. Taking them is script/screenshots."""

from __future__ import annotations

import re
import struct

from tests.e2e.conftest import ROOT
from tests.e2e.pictures import PUBLISHED
from tests.e2e.visitor import DESK, PHONE

IMAGES = ROOT / "docs" / "images"
MAX_OCTETS = 160_000


def test_the_published_pictures_are_those_that_the_browser_takes() -> None:
    assert {path.stem for path in IMAGES.iterdir()} == PUBLISHED
    # Seven of them are the guide's to the administration's pages, two those of the page where a device approves, two
    # those of what waits for a person, three the portal's.
    assert len(PUBLISHED) <= 20


def test_a_picture_is_small_and_as_wide_as_a_screen() -> None:
    for path in IMAGES.iterdir():
        head = path.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n", path.name
        assert path.stat().st_size <= MAX_OCTETS, path.name
        assert struct.unpack(">I", head[16:20])[0] == (PHONE if path.stem.endswith("-phone") else DESK)["width"]


def test_the_readme_shows_pictures_that_exist_and_says_what_is_on_them() -> None:
    shown = re.findall(r"!\[([^\]]*)\]\((docs/images/[^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(shown) >= 3
    for words, path in shown:
        assert len(words) > 20, path
        assert (ROOT / path).is_file(), path
