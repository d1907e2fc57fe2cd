"""Names of documents as people bring them, and what passes for a PDF."""

from __future__ import annotations

import pytest

from portal.errors import NotPdf
from portal.names import MAX_NAME, check_pdf, clean_name


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ("lease.pdf", "lease.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\lease.pdf", "lease.pdf"),
        ("le\x00a\nse.pdf", "lea se.pdf"),
        ("lease\u202efdp.exe", "leasefdp.exe"),
        ("a\u200bb\u00adc.pdf", "abc.pdf"),
        ("Ve\u0301lo.pdf", "Vélo.pdf"),
        ("x" + "\u0335" * 20 + ".pdf", "x\u0335.pdf"),
        (" . ", "document.pdf"),
        ("", "document.pdf"),
        ("\u202e\u200b", "document.pdf"),
        ("契約書.pdf", "契約書.pdf"),
    ],
)
def test_nothing_hides_in_a_name_that_the_approval_shows(stated: str, kept: str) -> None:
    assert clean_name(stated) == kept


def test_a_long_name_keeps_its_ending() -> None:
    assert clean_name("a" * 300 + ".pdf") == "a" * (MAX_NAME - 4) + ".pdf"
    assert len(clean_name("a" * 300)) == MAX_NAME


@pytest.mark.parametrize("content", [b"", b"hello", b"%PDF-1.7 without an end", b"no header %%EOF", b"PK\x03\x04"])
def test_what_does_not_begin_and_end_like_a_pdf_is_not_kept(content: bytes) -> None:
    with pytest.raises(NotPdf):
        check_pdf(content)
