"""What a benchmark found, as values: percentiles, figures, peers, and the report of them.  Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

SLICE_SECONDS: Final = 10.0
"""A rate counts as sustained by its slowest slice of this length, not by its mean."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the least value that ``share`` of all values do not exceed.

    No interpolation, so that the answer is a value which was seen.

    :param ordered: ascending, not empty.
    :param share: above 0 and at most 1.
    :raises ValueError: nothing to choose from, or no such share.
    """
    if not ordered:
        raise ValueError("a percentile of nothing")
    if not 0 < share <= 1:
        raise ValueError("a share is above 0 and at most 1")
    # Rounded first: 0.99 * 100 is a little more than 99 in binary, and rank 100 would be another value.
    return ordered[math.ceil(round(share * len(ordered), 9)) - 1]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long requests took, in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """From each request's duration in seconds.

        :raises ValueError: there was none.
        """
        ordered = sorted(seconds)
        shares = (percentile(ordered, share) for share in (0.50, 0.95, 0.99, 1.0))
        return cls(*(round(value * 1000, 3) for value in shares))


@dataclass(frozen=True, slots=True)
class Sample:
    """One request that was answered as it should be."""

    ended: float
    """Seconds since the window began."""
    seconds: float
    units: int
    """What it yielded: signatures, logins."""


def slowest_slice(samples: Sequence[Sample], window: float, length: float = SLICE_SECONDS) -> float:
    """Units a second in the slowest whole slice of the window; of the whole window where it is shorter than one.

    :raises ValueError: the window has no length.
    """
    if window <= 0:
        raise ValueError("a window has a length")
    slices = int(window // length)
    if slices == 0:
        return sum(sample.units for sample in samples) / window
    counts = [0] * slices
    for sample in samples:
        index = int(sample.ended // length)
        if index < slices:
            counts[index] += sample.units
    return min(counts) / length


@dataclass(frozen=True, slots=True)
class Peer:
    """What figures are compared with, measured in the same run."""

    name: str
    value: float
    unit: str
    how: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured window."""

    name: str
    unit: str
    """What is counted."""
    connections: int
    """Requests under way at any time: each connection sends its next one when it has its answer."""
    requests: int
    units: int
    seconds: float
    per_second: float
    slowest_slice_per_second: float
    latency: Latency
    ratio: float
    """``per_second`` over the peer's value."""
    peer: str
    errors: Mapping[str, int] = field(default_factory=dict)
    """Answers that were not as they should be, by what they were; no figure is good that has any."""
    cpu_ms_per_request: Mapping[str, float] = field(default_factory=dict)
    """Processor time of each part of the stand, its children included."""
    others_cpu_share: float | None = None
    """Share of the machine's processors that was used by processes that are no part of the run."""

    @classmethod
    def of(
        cls,
        *,
        name: str,
        unit: str,
        connections: int,
        samples: Sequence[Sample],
        window: float,
        peer: Peer,
        errors: Mapping[str, int],
        cpu_seconds: Mapping[str, float],
        others_cpu_share: float | None,
    ) -> Self:
        """From the samples of a window of ``window`` seconds.

        :raises ValueError: no sample, or no window.
        """
        units = sum(sample.units for sample in samples)
        latency = Latency.of([sample.seconds for sample in samples])
        slowest = slowest_slice(samples, window)
        return cls(
            name=name,
            unit=unit,
            connections=connections,
            requests=len(samples),
            units=units,
            seconds=round(window, 3),
            per_second=round(units / window, 2),
            slowest_slice_per_second=round(slowest, 2),
            latency=latency,
            ratio=round(units / window / peer.value, 5),
            peer=peer.name,
            errors=dict(errors),
            cpu_ms_per_request={part: round(spent * 1000 / len(samples), 3) for part, spent in cpu_seconds.items()},
            others_cpu_share=None if others_cpu_share is None else round(others_cpu_share, 3),
        )


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a figure has to reach."""

    text: str
    met: bool


@dataclass(frozen=True, slots=True)
class Report:
    """A benchmark's answer."""

    benchmark: str
    at: str
    """ISO 8601, UTC."""
    machine: Mapping[str, Any]
    peers: tuple[Peer, ...]
    figures: tuple[Figure, ...]
    requirements: tuple[Requirement, ...]

    @property
    def good(self) -> bool:
        """Whether every requirement is met and no request failed."""
        return all(item.met for item in self.requirements) and not any(item.errors for item in self.figures)

    def to_json(self) -> str:
        """One JSON object, for machines."""
        return json.dumps({**asdict(self), "good": self.good}, indent=2)

    def to_text(self) -> str:
        """For people."""
        lines = [f"{self.benchmark}, {self.at}", ""]
        lines += [f"  {name}: {value}" for name, value in self.machine.items()]
        lines.append("")
        lines += [f"peer {peer.name}: {peer.value:,.1f} {peer.unit} ({peer.how})" for peer in self.peers]
        for figure in self.figures:
            lines += ["", *_figure_lines(figure)]
        lines.append("")
        lines += [f"{'met' if item.met else 'NOT MET'}: {item.text}" for item in self.requirements]
        return "\n".join(lines)


def _figure_lines(figure: Figure) -> list[str]:
    latency = figure.latency
    lines = [
        f"{figure.name}: {figure.per_second:,.1f} {figure.unit}/s over {figure.seconds:.1f} s "
        f"(slowest {SLICE_SECONDS:.0f} s: {figure.slowest_slice_per_second:,.1f}), {figure.connections} connections",
        f"  a request: p50 {latency.p50_ms:.1f} ms, p95 {latency.p95_ms:.1f} ms, p99 {latency.p99_ms:.1f} ms, "
        f"longest {latency.max_ms:.1f} ms",
        f"  ratio to {figure.peer}: {figure.ratio:.4f}",
        f"  {figure.requests} requests, errors: {figure.errors or 'none'}",
    ]
    if figure.cpu_ms_per_request:
        parts = ", ".join(f"{part} {spent:.2f}" for part, spent in figure.cpu_ms_per_request.items())
        lines.append(f"  processor ms a request: {parts}")
    if figure.others_cpu_share is not None:
        lines.append(f"  used by other programs: {figure.others_cpu_share:.0%} of the processors")
    return lines
