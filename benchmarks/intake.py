"""What does it cost to look at a PDF before it is signed, and what does a hostile one cost?

Documents through the confined processes of ``documents.examiner``, one after another: small ones, one of 10 MB, and a
bomb, whose page is a gibibyte once it is decompressed.  The peer is the same examination in this process, without a
confined one around it.  Processor time is the confined processes' and this one's; the time in which a nursery starts
is told beside it and counts for no document.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter

from benchmarks.documents import LARGE, pdf
from benchmarks.errors import RunInvalid
from benchmarks.machine import describe
from benchmarks.measure import Figure, Peer, Report, Requirement, Sample
from benchmarks.processes import measured_and_printed
from documents.errors import DocumentRefused
from documents.examine import examine
from documents.examiner import Examiner, ExaminerSettings
from foundation.clock import SystemClock

MOST_MEMORY: Final = 200_000_000
"""Octets that a confined process may have at most, whatever it looks at (DOS-01)."""
MOST_SECONDS: Final = 1.0
"""Of processor time for a bomb."""
_SHARE: Final = ExaminerSettings().documents
"""Documents of one process, where there are as many."""
_GIBI: Final = 1 << 30
_WRITER: Any = PdfFileWriter
_PAGE: Any = PageObject


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of document."""

    name: str
    make: Callable[[int], bytes]
    one_in: int
    """Looked at once in so many repetitions."""
    refused: str | None = None


def bomb(number: int) -> bytes:
    """A page whose content is a gibibyte of zeros; ``number`` stands in its box."""
    squeezer, piece = zlib.compressobj(9), bytes(1 << 20)
    squeezed = b"".join([*(squeezer.compress(piece) for _ in range(_GIBI >> 20)), squeezer.flush()])
    writer = _WRITER()
    head = {generic.pdf_name("/Filter"): generic.pdf_name("/FlateDecode")}
    content = writer.add_object(generic.StreamObject(head, encoded_data=squeezed))
    writer.insert_page(_PAGE(contents=content, media_box=(0, 0, 595, 842 + number)))
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


CASES: Final = (
    Case("small", lambda number: pdf(0, number), 1),
    Case("10 MB", lambda number: pdf(LARGE, number), 50),
    Case("a bomb", bomb, 100, "expands_too_far"),
)


def measure(repetitions: int) -> Report:
    """Examine, in this process and in confined ones.

    :raises RunInvalid: a document was not refused, or accepted, as it should be.
    """
    machine = dict(describe())
    peers, figures, bombs = list[Peer](), list[Figure](), list[float]()
    machine["a nursery starts in"] = f"{_started():.2f} s of processor time"
    for case in CASES:
        document, count = case.make(1), max(3, repetitions // case.one_in)
        peer = _alone(case, document, count)
        figure, each = _confined(case, document, count, peer)
        peers.append(peer)
        figures.append(figure)
        if case.refused:
            bombs.append(each)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    requirements = (
        Requirement(f"a confined process has at most 200 MB ({memory / 1e6:.0f})", memory <= MOST_MEMORY),
        Requirement(f"a bomb costs at most a second ({max(bombs):.2f})", max(bombs) <= MOST_SECONDS),
    )
    at = SystemClock().now().isoformat(timespec="seconds")
    return Report("intake", at, machine, tuple(peers), tuple(figures), requirements)


def _alone(case: Case, document: bytes, count: int) -> Peer:
    _look(case, examine, document)
    began = time.process_time()
    for _ in range(count):
        _look(case, examine, document)
    return Peer(f"{case.name}, not confined", count / (time.process_time() - began), "documents/s", "in this process")


def _confined(case: Case, document: bytes, count: int, peer: Peer) -> tuple[Figure, float]:
    # What a process used is known once its nursery has waited for it: so each has its whole share, before and within
    # the window.  One in the midst of its share is killed together with the nursery, and nobody counts what it used.
    share = min(_SHARE, count)
    count -= count % share
    examiner = Examiner(ExaminerSettings(workers=1, documents=share))
    before = _children()
    for _ in range(share):
        _look(case, examiner.examine, document)
    own, began = time.process_time(), time.perf_counter()
    samples, ended = list[Sample](), began
    for _ in range(count):
        started = time.perf_counter()
        _look(case, examiner.examine, document)
        ended = time.perf_counter()
        samples.append(Sample(ended - began, ended - started, 1))
    own = time.process_time() - own
    examiner.close()
    # A nursery's processor time is known once it has ended; its start is what another one took.
    spent = max(0.0, _children() - before - _started()) * count / (count + share)
    figure = Figure.of(
        name=case.name,
        unit="documents",
        connections=1,
        samples=samples,
        window=ended - began,
        peer=peer,
        errors={},
        cpu_seconds={"confined process": spent, "this process": own},
        others_cpu_share=None,
    )
    return figure, (spent + own) / count


def _started() -> float:
    """Seconds of processor time in which a nursery starts, and ends without a document."""
    before, examiner = _children(), Examiner(ExaminerSettings(workers=1))
    with suppress(DocumentRefused):
        examiner.examine(b"%")
    examiner.close()
    return _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _look(case: Case, look: Callable[[bytes], object], document: bytes) -> None:
    try:
        look(document)
    except DocumentRefused as refused:
        if refused.reason != case.refused:
            raise RunInvalid(f"{case.name}: {refused.reason}") from refused
    else:
        if case.refused is not None:
            raise RunInvalid(f"{case.name}: it was not refused")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print: 0 within the limits, 1 not, 2 wrong usage, 3 not measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.intake",
        description=__doc__,
        epilog="exit codes: 0 within the limits, 1 not, 3 not run",
    )
    parser.add_argument("--repetitions", type=int, default=1000, help="small documents (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args(argv)
    if not 100 <= options.repetitions <= 100_000:
        print("error: --repetitions is 100 to 100000", file=sys.stderr)
        return 2
    return measured_and_printed(lambda: measure(options.repetitions), in_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
