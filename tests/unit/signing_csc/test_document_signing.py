"""How documents travel to the module: small ones together, large ones in pieces, every octet once."""

from __future__ import annotations

import os

import pytest

from signing.ades.pades import PreparedPdf
from signing.csc.document_signing import pieces
from signing.link.frames import CHUNK_OCTETS


@pytest.mark.parametrize(
    ("lengths", "most"),
    [
        ([], 0),
        ([1], 1),
        ([7_000] * 100, 11),
        ([CHUNK_OCTETS], 1),
        ([CHUNK_OCTETS - 1, CHUNK_OCTETS + 1], 2),
        ([10, 5 * CHUNK_OCTETS + 3, 10, 10, 2 * CHUNK_OCTETS], 8),
    ],
)
def test_DOS_06_every_octet_goes_once_and_in_order_in_pieces_of_bounded_size(lengths: list[int], most: int) -> None:
    pdfs = [PreparedPdf(os.urandom(length), 1, (0, 1, 2, 3)) for length in lengths]
    found = list(pieces(pdfs))
    assert b"".join(found) == b"".join(pdf.octets for pdf in pdfs)
    assert len(found) <= most
    assert all(0 < len(piece) < 2 * CHUNK_OCTETS for piece in found)
