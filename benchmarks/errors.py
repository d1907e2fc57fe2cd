"""Why a benchmark gave no figure."""

from __future__ import annotations

from foundation.errors import PrivySealError


class BenchmarkError(PrivySealError):
    """Base of the benchmarks' errors; never raised itself."""

    code = "benchmark"


class StandFailed(BenchmarkError):
    """A process that the benchmark needs did not start, ended early or did not become ready."""

    code = "stand_failed"


class RunInvalid(BenchmarkError):
    """The measurement ran, and its result cannot be used: too few requests prepared, a value that does not verify."""

    code = "run_invalid"


class Unexpected(BenchmarkError):
    """An answer of the server that is not the one that was hoped for; counted, never fatal to a run."""

    code = "unexpected"
