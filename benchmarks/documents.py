"""How many PDFs a second, for each core, and in how much memory?  signatures/signDoc through the running server.

The stand of ``sign_hash``, with a time-stamping authority and the development CA's OCSP: web tier, module, device
processes and PostgreSQL with durable commits, over HTTP.  A small PDF and one of 10 MB, at levels B-B and B-LT; and a
hundred small ones under one approval, in one call and in a hundred.  The peer is pyHanko, which signs the same file in
a warm process with a local key in the same run.  Rates are documents for each second of processor time: of all of our
parts, and of pyHanko's process.  The authorities' own time counts for neither.
"""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Self

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter

from benchmarks.driver import Outcome, Poster, Prepared, closed_loop
from benchmarks.errors import RunInvalid
from benchmarks.machine import describe
from benchmarks.measure import Figure, Peer, Report, Requirement
from benchmarks.processes import Usage, measured_and_printed
from benchmarks.sign_hash import ECDSA_WITH_SHA256, sad
from benchmarks.stand import CA, TSA, SigningStand, say, signing_stand
from contract.sad import encode
from foundation.clock import SystemClock, epoch

REQUIRED_RATIO: Final = 4.0
"""Of pyHanko's rate per core, B-B of a small PDF, in the arrangement that serves many."""
REQUIRED_MEMORY: Final = 8.0
"""Times the file, by which the web tier grows at most."""
REQUIRED_SHARE: Final = 1 / 3
"""Of a single call's cost, for each of a hundred documents of one call."""
PATH: Final = "/csc/v2/signatures/signDoc"
LARGE: Final = 10_000_000
MANY: Final = 100
_NOT_OURS: Final = frozenset({"driver", CA, TSA})
_LOOK_SECONDS: Final = 0.005
_LOOKS_FOR_PROCESSES: Final = 50
"""After so many it is looked which processes there are."""
_PAGE_OCTETS: Final = os.sysconf("SC_PAGE_SIZE")
_NUMBER: Final = b"(number..)"
_WRITER: Any = PdfFileWriter
_PAGE: Any = PageObject
_READER: Any = PdfFileReader
"""Partly typed: met here alone."""

_EPILOG: Final = """exit codes:
  0  measured: no error, and the requirements are met
  1  measured: an error, or a requirement is not met
  2  the command line cannot be used
  3  not measured: a part did not start, or the run is not valid
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request."""

    name: str
    large: bool
    level: str
    count: int = 1
    """Documents a call."""
    connections: int | None = None
    """None: as the command line says."""


SINGLE: Final = Case("small, B-B", large=False, level="AdES-B-B")
BATCH: Final = Case("small, B-B, a hundred a call", large=False, level="AdES-B-B", count=MANY, connections=2)
LARGE_BASIC: Final = Case("10 MB, B-B", large=True, level="AdES-B-B", connections=1)
CASES: Final = (
    SINGLE,
    BATCH,
    Case("small, B-LT", large=False, level="AdES-B-LT"),
    LARGE_BASIC,
    Case("10 MB, B-LT", large=True, level="AdES-B-LT", connections=1),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """A case, as measured."""

    case: Case
    figure: Figure
    per_core: float
    """Documents for each second of processor time, of all parts of ours."""
    peer: float
    """The same of pyHanko's."""
    growth: int
    """Octets by which the web tier's memory grew at most above what it had before."""
    file: int
    """Octets."""

    def words(self) -> str:
        """For people."""
        return (
            f"{self.per_core:.1f} documents a second of our processor time, {self.per_core / self.peer:.2f} times "
            f"the peer's; the web tier grew by {self.growth / 1e6:.0f} MB"
        )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.documents",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--seconds", type=float, default=20.0, help="length of each window (default %(default).0f)")
    command.add_argument("--connections", type=int, default=8, help="calls of small PDFs at once (default %(default)s)")
    command.add_argument("--json", action="store_true", help="print JSON instead of text")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; see ``--help`` for the exit codes."""
    options = parser().parse_args(argv)
    if not 1 <= options.seconds <= 200 or not 1 <= options.connections <= 64:
        print("error: --seconds is 1 to 200, --connections 1 to 64", file=sys.stderr)
        return 2
    return measured_and_printed(lambda: measure(options), in_json=options.json)


def measure(options: argparse.Namespace) -> Report:
    """Start a stand, measure, end it.

    :raises BenchmarkError: it did not start, or what came back is not valid.
    """
    with signing_stand(1, 2, say, authorities=True) as stand:
        machine = describe(postgresql=f"{stand.database.version}, fsync on")
        peers, found = list[Peer](), list[Measured]()
        for case in CASES:
            peer, of_peer = _peer(stand, case, options)
            if all(peer.name != each.name for each in peers):
                peers.append(peer)
            found.append(_measured(stand, case, options, peer, of_peer))
    told = {each.case.name: each.words() for each in found}
    return Report(
        benchmark="documents",
        at=SystemClock().now().isoformat(timespec="seconds"),
        machine={**machine, **told},
        peers=tuple(peers),
        figures=tuple(each.figure for each in found),
        requirements=requirements(found),
    )


def requirements(found: Sequence[Measured]) -> tuple[Requirement, ...]:
    """What the figures have to reach."""
    by_case = {each.case: each for each in found}
    single, batch, large = by_case[SINGLE], by_case[BATCH], by_case[LARGE_BASIC]
    share = single.per_core / batch.per_core
    memory = large.growth / large.file
    return (
        _ahead(single, "one a call"),
        _ahead(batch, "a hundred a call"),
        Requirement(
            f"a document of a hundred in one call costs at most a third of one alone ({share:.2f})",
            share <= REQUIRED_SHARE,
        ),
        Requirement(f"memory grows by at most 8 times a file of 10 MB ({memory:.1f})", memory <= REQUIRED_MEMORY),
    )


def _ahead(measured: Measured, words: str) -> Requirement:
    ratio = measured.per_core / measured.peer
    return Requirement(
        f"B-B of a small PDF, {words}: four times pyHanko's rate per core ({ratio:.2f})", ratio >= REQUIRED_RATIO
    )


def pdf(octets: int, number: int = 0) -> bytes:
    """A PDF of one page and about so many octets, each with a text of its own, of one length."""
    return _template(octets).replace(_NUMBER, b"(%08d)" % number)


@cache
def _template(octets: int) -> bytes:
    writer = _WRITER()
    content = generic.StreamObject(stream_data=b"BT 72 720 Td " + _NUMBER + b" Tj ET")
    writer.insert_page(_PAGE(contents=writer.add_object(content), media_box=(0, 0, 595, 842)))
    if octets:
        filling = hashlib.shake_256(b"").digest(octets)
        writer.add_object(generic.StreamObject(stream_data=filling))
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def _peer(stand: SigningStand, case: Case, options: argparse.Namespace) -> tuple[Peer, float]:
    say(f"{case.name}: pyHanko")
    file = stand.directory / f"{'large' if case.large else 'small'}.pdf"
    if not file.exists():
        file.write_bytes(pdf(LARGE if case.large else 0))
    arguments = [
        "--file", str(file), "--seconds", str(min(options.seconds, 5.0)), "--ca", stand.authorities[CA],
        "--ca-token", str(stand.directory / "ca-token"), "--root", str(stand.directory / "ca" / "root.crt"),
    ]  # fmt: skip
    if case.level != SINGLE.level:
        arguments += ["--tsa", f"{stand.authorities[TSA]}/tsa"]
    told = json.loads(stand.processes.capture("pyhanko", "benchmarks.pyhanko_signer", *arguments))
    size = "10 MB" if case.large else "small"
    peer = Peer(
        f"pyHanko, {size}, {case.level.removeprefix('AdES-')}",
        round(told["per_cpu_second"], 1),
        "documents/s",
        f"of its processor time; {told['documents']} documents; {told['peak'] / 1e6:.0f} MB at most, "
        f"{told['before'] / 1e6:.0f} MB before the first",
    )
    return peer, float(told["per_cpu_second"])


def _measured(
    stand: SigningStand, case: Case, options: argparse.Namespace, peer: Peer, of_peer: float
) -> Measured:
    options = argparse.Namespace(**{**vars(options), "connections": case.connections or options.connections})
    say(f"{case.name}: warm-up")
    trial = _drive(stand, options, _prepared(stand, case, 4 * options.connections), 3.0)
    needed = int(len(trial.samples) / trial.window * options.seconds * 3) + options.connections
    prepared = _prepared(stand, case, min(needed, 400 if case.large else 20_000))
    say(f"{case.name}: {options.seconds:.0f} s at most")
    # A confined process that has had its hundred files is replaced with the next: one of two looks has met one.
    before = _resident(stand)
    _drive(stand, options, _prepared(stand, case, 1), 3.0)
    before = max(before, _resident(stand))
    meter = stand.processes.meter()
    with _Watch(stand, before) as watch:
        outcome = _drive(stand, options, prepared, options.seconds)
    usage, growth = meter.read(), watch.peak - watch.before
    stand.processes.check()
    _check(outcome, case)
    figure = Figure.of(
        name=case.name,
        unit="documents",
        connections=options.connections,
        samples=outcome.samples,
        window=outcome.window,
        peer=peer,
        errors=outcome.errors,
        cpu_seconds=usage.by_part,
        others_cpu_share=usage.others_share,
    )
    per_core = figure.units / _ours(usage)
    size = len(pdf(LARGE if case.large else 0))
    return Measured(case, replace(figure, ratio=round(per_core / of_peer, 3)), per_core, of_peer, growth, size)


def _ours(usage: Usage) -> float:
    return sum(spent for part, spent in usage.by_part.items() if part not in _NOT_OURS)


def _prepared(stand: SigningStand, case: Case, number: int) -> list[Prepared]:
    now = epoch(SystemClock().now())
    same = pdf(LARGE) if case.large else b""
    return [
        _request(stand, case, [same or pdf(0, each * case.count + place) for place in range(case.count)], now)
        for each in range(number)
    ]


def _request(stand: SigningStand, case: Case, documents: Sequence[bytes], now: int) -> Prepared:
    digests = tuple(hashlib.sha256(document).digest() for document in documents)
    approved = replace(sad(stand.credential_id, digests, now), hash_type="sdr")
    items = [_item(document, case) for document in documents]
    headers = {"Authorization": f"Bearer {encode(approved, stand.key)}", "Content-Type": "application/json"}
    body = json.dumps({"credentialID": stand.credential_id, "documents": items}).encode()
    return Prepared(body, headers, len(documents))


def _item(document: bytes, case: Case) -> Mapping[str, object]:
    return {
        "document": base64.b64encode(document).decode(),
        "signature_format": "P",
        "conformance_level": case.level,
        "signed_envelope_property": "Revision",
        "signAlgo": ECDSA_WITH_SHA256,
    }


def _drive(stand: SigningStand, options: argparse.Namespace, prepared: Sequence[Prepared], seconds: float) -> Outcome:
    (port,) = stand.ports
    outcome = closed_loop(
        lambda _turn: Poster(port, "sign.localhost", PATH, prepared),
        len(prepared),
        workers=options.connections,
        seconds=seconds,
    )
    if not outcome.samples:
        raise RunInvalid(f"no request succeeded: {dict(outcome.errors)}")
    return outcome


def _check(outcome: Outcome, case: Case) -> None:
    """A rate of files without signatures is no rate.

    :raises RunInvalid: an answer has not as many signed documents as were sent.
    """
    signed = json.loads(outcome.answers[min(outcome.answers)])["DocumentWithSignature"]
    if len(signed) != case.count or not _READER(BytesIO(base64.b64decode(signed[0]))).embedded_signatures:
        raise RunInvalid("a document is not signed")


class _Watch:
    """Looks every few milliseconds how much memory all of the web tier's processes have together."""

    def __init__(self, stand: SigningStand, before: int) -> None:
        """:param before: octets that they have while nothing is asked of them."""
        self._pids = functools.partial(stand.processes.pids, "web")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.before = self.peak = before

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        looks = 0
        while not self._over.wait(_LOOK_SECONDS):
            if looks % _LOOKS_FOR_PROCESSES == 0:
                pids = self._pids()
            looks += 1
            self.peak = max(self.peak, sum(map(resident, pids)))


def _resident(stand: SigningStand) -> int:
    return sum(map(resident, stand.processes.pids("web")))


def resident(pid: int) -> int:
    """Octets of a process in memory (proc(5), statm); 0: it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_OCTETS
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
