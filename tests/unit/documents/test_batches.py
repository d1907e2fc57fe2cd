"""Documents of one request, of which one breaks the process that looks at them: it is the one that is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from documents import examiner as examining
from documents.errors import DocumentRefused
from documents.examiner import Examiner, ExaminerSettings
from documents.findings import Examination
from tests import hostile
from tests.fakes.breaking import CRASH, EXHAUST, LIE


@pytest.fixture(scope="module")
def examiner() -> Iterator[Examiner]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(examining, "_WORKER", "tests.fakes.breaking")
        made = Examiner(ExaminerSettings(workers=1, wait_seconds=300.0, seconds=60))
    yield made
    made.close()


def marked(mark: bytes) -> bytes:
    """A sound document with something that only a flaw cares about."""
    return hostile.plain() + mark


def until_refused(examiner: Examiner, *documents: bytes) -> tuple[list[Examination], DocumentRefused | None]:
    told: list[Examination] = []
    try:
        told.extend(examiner.examine_all(documents))
    except DocumentRefused as refused:
        return told, refused
    return told, None


@pytest.mark.parametrize("mark", [CRASH, EXHAUST, LIE])
@pytest.mark.parametrize("place", [0, 3, 7, 9])
def test_DOS_01_of_a_batch_the_document_that_breaks_its_process_is_refused_and_those_before_it_have_their_own_answer(
    examiner: Examiner, mark: bytes, place: int
) -> None:
    scripted = hostile.FINDINGS["javascript"]()
    documents = [hostile.plain(), scripted] * 5
    documents[place] = marked(mark)
    told, refused = until_refused(examiner, *documents)
    assert refused is not None
    assert refused.reason == "too_complex"
    assert [bool(each.findings) for each in told] == [number % 2 == 1 for number in range(place)]
    # Whoever comes next has a process that nobody broke.
    told, refused = until_refused(examiner, *[hostile.plain(), scripted] * 5)
    assert refused is None
    assert [bool(each.findings) for each in told] == [False, True] * 5


def test_DOS_01_a_batch_of_nothing_but_such_documents_costs_one_process_and_is_refused_at_the_first(
    examiner: Examiner,
) -> None:
    for _ in range(3):
        told, refused = until_refused(examiner, *[marked(CRASH)] * 8)
        assert told == []
        assert refused is not None
    assert examiner.examine(hostile.plain()).version == "1.7"
