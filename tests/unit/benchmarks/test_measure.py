"""Percentiles, slices and the shape of a report."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measure import Figure, Latency, Peer, Report, Requirement, Sample, percentile, slowest_slice

PEER = Peer("token", 200.0, "signatures/s", "one thread")


def _figure(errors: dict[str, int] | None = None) -> Figure:
    samples = [Sample(ended=second + 0.5, seconds=0.010, units=100) for second in range(20)]
    return Figure.of(
        name="100 a SAD",
        unit="signatures",
        connections=4,
        samples=samples,
        window=20.0,
        peer=PEER,
        errors=errors or {},
        cpu_seconds={"sam": 0.5},
        others_cpu_share=0.25,
    )


def _report(*, met: bool = True, errors: dict[str, int] | None = None) -> Report:
    return Report(
        "sign_hash",
        "2030-01-01T00:00:00+00:00",
        {"python": "3.11"},
        (PEER,),
        (_figure(errors),),
        (Requirement("x", met),),
    )


@pytest.mark.parametrize(
    ("share", "expected"), [(0.01, 1), (0.5, 50), (0.95, 95), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_a_percentile_is_the_nearest_rank_that_was_seen(share: float, expected: float) -> None:
    assert percentile(range(1, 101), share) == expected


def test_the_only_value_is_every_percentile() -> None:
    assert [percentile([7.0], share) for share in (0.001, 0.5, 1.0)] == [7.0, 7.0, 7.0]


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.01)])
def test_a_percentile_of_nothing_or_of_no_share_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match=r"percentile|share"):
        percentile(values, share)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1.0))
def test_at_least_the_share_of_all_values_is_not_above_its_percentile(values: list[float], share: float) -> None:
    chosen = percentile(sorted(values), share)
    assert chosen in values
    assert sum(value <= chosen for value in values) >= share * len(values) - 1e-6


def test_latency_is_in_milliseconds_whatever_the_order() -> None:
    assert Latency.of([0.003, 0.001, 0.002]) == Latency(2.0, 3.0, 3.0, 3.0)


def test_a_rate_that_collapses_for_ten_seconds_is_not_sustained() -> None:
    steady = [Sample(ended=tenth / 10, seconds=0.01, units=1) for tenth in range(300)]
    gap = [sample for sample in steady if not 10 <= sample.ended < 20]
    assert slowest_slice(steady, 30.0) == 10.0
    assert slowest_slice(gap, 30.0) == 0.0


def test_answers_after_the_last_whole_slice_do_not_make_a_slice() -> None:
    samples = [Sample(ended=second + 0.5, seconds=0.01, units=1) for second in range(10)]
    assert slowest_slice([*samples, Sample(10.2, 0.4, 1)], 10.3) == 1.0


def test_a_window_shorter_than_a_slice_is_its_own_slice() -> None:
    assert slowest_slice([Sample(1.0, 0.1, 3)], 2.0) == 1.5


def test_a_window_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        slowest_slice([], 0.0)


def test_a_figure_counts_units_and_relates_them_to_its_peer() -> None:
    figure = _figure()
    assert (figure.requests, figure.units, figure.per_second, figure.slowest_slice_per_second) == (
        20,
        2000,
        100.0,
        100.0,
    )
    assert (figure.ratio, figure.peer) == (0.5, "token")
    assert figure.cpu_ms_per_request == {"sam": 25.0}
    assert figure.others_cpu_share == 0.25


def test_a_window_in_which_nothing_succeeded_has_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Figure.of(
            name="x", unit="x", connections=1, samples=[], window=1.0, peer=PEER, errors={"500": 3}, cpu_seconds={},
            others_cpu_share=None,
        )  # fmt: skip


def test_a_report_with_an_error_is_not_good_even_where_its_requirement_is_met() -> None:
    assert _report().good
    assert not _report(met=False).good
    assert not _report(errors={"500: server_error": 1}).good


def test_a_report_is_one_json_object_with_figures_peers_and_the_machine() -> None:
    value = json.loads(_report().to_json())
    assert value.keys() == {"benchmark", "at", "machine", "peers", "figures", "requirements", "good"}
    (figure,) = value["figures"]
    assert figure.keys() == {
        "name", "unit", "connections", "requests", "units", "seconds", "per_second", "slowest_slice_per_second",
        "latency", "ratio", "peer", "errors", "cpu_ms_per_request", "others_cpu_share",
    }  # fmt: skip
    assert figure["latency"].keys() == {"p50_ms", "p95_ms", "p99_ms", "max_ms"}
    assert value["good"] is True


def test_a_report_in_words_says_what_was_not_met_and_what_failed() -> None:
    text = _report(met=False, errors={"503: busy": 2}).to_text()
    assert "NOT MET: x" in text
    assert "503: busy" in text
    assert "p95 10.0 ms" in text
