"""Documents of a hundred megabytes: too large for most, and examined where an operator lets them in."""

from __future__ import annotations

from typing import Final

import pytest

from documents.bounds import Bounds
from documents.errors import DocumentRefused
from documents.examiner import Examiner, ExaminerSettings
from signing.settings import DocumentsSettings
from tests import hostile

pytestmark = pytest.mark.full
OCTETS: Final = 100 * 1024 * 1024
GIBI: Final = 1024 * 1024 * 1024


def examiner(memory: int, octets: int) -> Examiner:
    bounds = Bounds(octets=octets)
    return Examiner(ExaminerSettings(workers=1, wait_seconds=300.0, memory=memory, seconds=300, bounds=bounds))


def test_SIG_10_a_hundred_megabytes_are_examined_where_they_are_let_in() -> None:
    wide = examiner(GIBI, 2 * OCTETS)
    try:
        found = wide.examine(hostile.large(OCTETS))
        assert (len(found.pages), found.findings) == (1, ())
    finally:
        wide.close()


def test_SIG_10_a_hundred_megabytes_are_refused_elsewhere_and_the_next_document_is_examined() -> None:
    usual = examiner(GIBI, DocumentsSettings().max_body)
    narrow = examiner(192 * 1024 * 1024, 2 * OCTETS)
    try:
        for one, reason in ((usual, "too_large"), (narrow, "too_complex")):
            with pytest.raises(DocumentRefused) as refused:
                one.examine(hostile.large(OCTETS))
            assert refused.value.reason == reason
            assert one.examine(hostile.plain()).version == "1.7"
    finally:
        usual.close()
        narrow.close()
