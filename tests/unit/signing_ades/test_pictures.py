"""Pictures for visible signatures: taken as they are, or refused before anything is made of them."""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from signing.ades.errors import AppearanceNotAcceptable
from signing.ades.pictures import MAX_PICTURE_OCTETS, picture
from tests.pictures import chunk, grey, jpeg, png, segment


def paeth(left: int, up: int, corner: int) -> int:
    """PNG 9.4, as its text has it."""
    estimate = left + up - corner
    return min((left, up, corner), key=lambda each: abs(estimate - each))


def test_a_picture_is_taken_with_its_own_rows() -> None:
    taken = picture(grey(5, 3))
    assert (taken.width, taken.height, taken.mask) == (5, 3, None)
    assert zlib.decompress(taken.data) == (b"\0" + b"\x80" * 5) * 3
    assert taken.entries["/DecodeParms"]["/Columns"] == 5


def test_a_palette_goes_with_its_picture() -> None:
    palette = bytes(range(12))
    taken = picture(png(8, 2, lambda _: b"\0\x1b\x1b", colour=3, depth=2, more=chunk(b"PLTE", palette)))
    assert taken.entries["/ColorSpace"] == ["/Indexed", "/DeviceRGB", 3, palette]


@pytest.mark.parametrize("kind", range(5))
def test_an_alpha_channel_becomes_a_mask_whatever_the_rows_are_filtered_with(kind: int) -> None:
    random.seed(kind)
    width, height = 7, 5
    rows = [random.randbytes(4 * width) for _ in range(height)]

    def filtered(number: int) -> bytes:
        row, above = rows[number], rows[number - 1] if number else bytes(4 * width)
        made = bytearray([kind])
        for at, octet in enumerate(row):
            left, corner = (row[at - 4], above[at - 4]) if at >= 4 else (0, 0)
            predicted = (0, left, above[at], (left + above[at]) // 2, paeth(left, above[at], corner))[kind]
            made.append((octet - predicted) % 256)
        return bytes(made)

    taken = picture(png(width, height, filtered, colour=6))
    plain = b"".join(rows)
    assert taken.mask is not None
    assert zlib.decompress(taken.mask) == plain[3::4]
    assert zlib.decompress(taken.data)[1::3] == plain[1::4]


def test_a_jpeg_is_taken_without_what_is_not_its_picture() -> None:
    plain = jpeg()
    exif = segment(0xE1, b"Exif\0\0where it was taken") + segment(0xFE, b"a comment")
    taken = picture(jpeg(before=exif) + b"<script>what follows</script>")
    assert (taken.width, taken.height) == (8, 8)
    assert taken.data == picture(plain).data
    assert taken.entries["/ColorSpace"] == "/DeviceGray"


HOSTILE = {
    "nothing": b"",
    "text": b"<svg onload='x'/>",
    "GIF": b"GIF89a" + bytes(30),
    "too long": grey(1, 1) + bytes(MAX_PICTURE_OCTETS),
    "a bomb of pixels": png(40_000, 40_000, lambda _: b""),
    "a bomb of rows": png(10, 10, lambda _: b"\0" + bytes(30) * 10_000),
    "fewer rows than said": png(10, 10, lambda number: b"\0" + bytes(30) if number else b""),
    "no pixels": png(0, 5, lambda _: b"\0"),
    "a filter of its own": png(2, 2, lambda _: b"\5" + bytes(6)),
    "16 bits": png(2, 2, lambda _: b"\0" + bytes(12), depth=16),
    "interlaced": png(2, 2, lambda _: b"\0" + bytes(6), interlace=1),
    "a colour type of its own": png(2, 2, lambda _: b"\0" + bytes(6), colour=5),
    "no palette": png(2, 2, lambda _: b"\0" + bytes(2), colour=3),
    "a palette too long": png(2, 2, lambda _: b"\0" + bytes(2), colour=3, more=chunk(b"PLTE", bytes(771))),
    "transparent by a chunk": grey(2, 2, more=chunk(b"tRNS", b"\0\0")),
    "two headers": grey(2, 2, more=chunk(b"IHDR", bytes(13))),
    "a large alpha channel": png(600, 600, lambda _: b"\0" + bytes(2400), colour=6),
    "cut": grey(20, 20)[:-20],
    "a wrong checksum": grey(2, 2)[:-1] + b"x",
    "a chunk longer than the file": b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31) + b"IHDR",
    "JPEG, cut": jpeg()[:-2],
    "JPEG, only its beginning": b"\xff\xd8\xff",
    "JPEG without a scan": jpeg().split(b"\xff\xda")[0] + b"\xff\xd9",
    "JPEG, arithmetic coding": jpeg(frame=0xC9),
    "JPEG, lossless": jpeg(frame=0xC3),
    "JPEG of four components": jpeg(components=4),
    "JPEG of too many pixels": jpeg(65_500, 100),
    "JPEG with a segment of no length": b"\xff\xd8\xff\xe0\0\0" + bytes(10),
    "JPEG with two frames": jpeg(before=segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 1) + bytes([1, 0x11, 0]))),
}


@pytest.mark.parametrize("octets", HOSTILE.values(), ids=HOSTILE)
def test_SIG_11_DOS_01_a_picture_that_is_none_or_too_much_is_refused(octets: bytes) -> None:
    with pytest.raises(AppearanceNotAcceptable) as refused:
        picture(octets)
    assert str(refused.value)


def test_SIG_11_whatever_is_changed_in_a_picture_it_is_taken_or_refused_in_words() -> None:
    random.seed(11)
    for whole in (png(9, 9, lambda _: b"\4" + bytes(36), colour=6), jpeg(16, 16)):
        for _ in range(300):
            octets = bytearray(whole)
            for _ in range(random.randint(1, 4)):
                octets[random.randrange(len(octets))] = random.randrange(256)
            try:
                taken = picture(bytes(octets[: random.randint(1, len(octets))]))
            except AppearanceNotAcceptable:
                continue
            assert taken.width * taken.height > 0
