"""Rows that are like one, and what counts as a cost that does not grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from benchmarks.credentials import Round, costs, interval, requirement
from benchmarks.measure import Figure, Peer, Sample
from benchmarks.rows import TEMPLATE_ID, TEMPLATE_OWNER, id_of, octets_of, owner_of
from benchmarks.sign_hash import requirements
from signing.sam.credential import mac_octets
from tests.fakes.sam import World, make_world


@pytest.fixture
def world(tmp_path: object) -> World:
    return make_world(f"sqlite:///{tmp_path}/sam.sqlite")


def test_a_rows_octets_are_those_over_which_the_module_makes_its_mac(world: World) -> None:
    credential = world.credential()
    template = mac_octets(replace(credential, id=TEMPLATE_ID, owner=TEMPLATE_OWNER))
    for number in (0, 1, 999_999):
        assert octets_of(template, number) == mac_octets(replace(credential, id=id_of(number), owner=owner_of(number)))
    world.engine.dispose()


@pytest.mark.parametrize("template", [b"", f'"{TEMPLATE_ID}" "{TEMPLATE_ID}" "{TEMPLATE_OWNER}"'.encode()])
def test_other_octets_are_no_template(template: bytes) -> None:
    with pytest.raises(ValueError, match="template"):
        octets_of(template, 1)


def test_no_two_rows_are_the_same() -> None:
    assert len({id_of(number) for number in range(1000)}) == len({owner_of(number) for number in range(1000)}) == 1000


NOISE = (1.0, 1.3, 0.9, 1.05, 2.0, 1.0, 1.1, 0.95)
"""What a machine does to blocks: to each size in one the same."""


def rounds(first: float, again: float, noise: Sequence[float] = NOISE) -> list[Round]:
    """A block each, of 100 signatures; costs in ms before the noise."""
    return [
        Round(which, 100, {"module": cost * each * 0.08, "device": cost * each * 0.02}, 1.0)
        for each in noise
        for which, cost in (("first", first), ("again", again))
    ]


def test_costs_are_medians_and_ratios_those_to_the_smallest_size_block_by_block() -> None:
    found = {(each.which, each.credentials): each for each in costs({10_000: rounds(6, 3), 100: rounds(5, 3)})}
    assert [each.ratio for each in found.values()] == [1.0, 1.2, 1.0, 1.0]
    # Whatever was done to a block was done to both.
    grown = found["first", 10_000]
    assert (grown.ratio_low, grown.ratio_high) == (1.2, 1.2)
    first = found["first", 100]
    assert (first.least_cpu_ms, first.cpu_ms, first.most_cpu_ms, first.blocks) == (4.5, 5.125, 10.0, 8)
    assert first.cpu_ms_by_part == {"device": 1.025, "module": 4.1}
    assert first.wall_ms == 10.0


@pytest.mark.parametrize(("count", "outside"), [(6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (25, 8)])
def test_the_medians_interval_leaves_out_the_ranks_of_the_sign_test(count: int, outside: int) -> None:
    # As tables of the sign test have it at 5 %, two-sided.
    assert interval([float(each) for each in range(count, 0, -1)]) == (outside, count + 1 - outside)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_with_few_blocks_nobody_is_sure(count: int) -> None:
    with pytest.raises(ValueError, match="6 blocks"):
        interval([1.0] * count)


@pytest.mark.parametrize(("cost", "met"), [(5, True), (6.25, True), (6.3, False)])
def test_a_cost_that_grows_is_not_flat(cost: float, met: bool) -> None:
    assert requirement(costs({100: rounds(5, 3), 1_000_000: rounds(cost, 3)})).met is met
    assert requirement(costs({100: rounds(3, 5), 1_000_000: rounds(3, cost)})).met is met


def test_of_a_run_that_is_too_noisy_nobody_says_that_it_was_flat() -> None:
    still = [1.0] * len(NOISE)
    found = requirement(costs({100: rounds(5, 3, still), 10_000: rounds(5, 3, (0.8, 1.4) * 4)}))
    assert (found.met, "too noisy" in found.text) == (False, True)
    found = requirement(costs({100: rounds(5, 3, still), 10_000: rounds(7, 3, still)}))
    assert (found.met, "it is more" in found.text) == (False, True)


def figure(name: str, units: int, rate: int, milliseconds: float) -> Figure:
    """Of a window of 20 s at that rate."""
    samples = [Sample(number * units / rate, milliseconds / 1000, units) for number in range(20 * rate // units)]
    return Figure.of(
        name=name,
        unit="signatures",
        connections=1,
        samples=samples,
        window=20.0,
        peer=Peer("token", 1.0, "signatures/s", "test"),
        errors={},
        cpu_seconds={},
        others_cpu_share=None,
    )


@pytest.mark.parametrize(
    ("rate", "milliseconds", "batches", "met"),
    [
        (400, 100.0, 5000, [True, True, True]),
        (390, 10.0, 5000, [False, True, True]),
        (500, 100.1, 5000, [True, False, True]),
        (500, 10.0, 4900, [True, True, False]),
    ],
)
def test_what_signatures_have_to_reach(rate: int, milliseconds: float, batches: int, met: list[bool]) -> None:
    figures = [figure("1 a SAD", 1, rate, milliseconds), figure("100 a SAD", 100, batches, 200.0)]
    assert [item.met for item in requirements(figures, 20.0)] == met
    assert [item.met for item in requirements(figures[:1], 20.0)] == met[:2]
