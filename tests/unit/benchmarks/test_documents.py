"""What the benchmark of documents sends and demands; that it measures is seen by running it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from pyhanko.pdf_utils.reader import PdfFileReader

from benchmarks import documents
from benchmarks.measure import Figure, Peer, Sample

_READER: Any = PdfFileReader


def measured(case: documents.Case, per_core: float, growth: int) -> documents.Measured:
    figure = Figure.of(
        name=case.name, unit="documents", connections=1, samples=[Sample(0.1, 0.1, 1)], window=1.0,
        peer=Peer("pyHanko", 100.0, "documents/s", "how"), errors={}, cpu_seconds={}, others_cpu_share=None,
    )  # fmt: skip
    return documents.Measured(case, figure, per_core, 100.0, growth, 10_000_000)


def test_each_document_is_a_pdf_of_its_own_and_all_are_of_one_length() -> None:
    first, second = documents.pdf(0, 1), documents.pdf(0, 99_999_999)
    assert len(first) == len(second)
    assert first != second
    for each in (first, second):
        assert _READER(BytesIO(each)).root["/Pages"]["/Count"] == 1
    assert 0 < len(documents.pdf(100_000)) - 100_000 < 2000


def test_what_is_demanded_is_met_at_its_bounds_and_not_beyond() -> None:
    def met(single: float, batch: float, growth: int) -> list[bool]:
        found = [
            measured(documents.SINGLE, single, 0),
            measured(documents.BATCH, batch, 0),
            measured(documents.LARGE_BASIC, 1.0, growth),
        ]
        return [requirement.met for requirement in documents.requirements(found)]

    assert met(400, 1200, 80_000_000) == [True] * 4
    assert met(399, 1190, 80_000_001) == [False, True, False, False]
    assert met(100, 300, 0) == [False, False, True, True]
