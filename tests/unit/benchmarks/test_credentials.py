"""Rows that are like one, and what counts as a cost that does not grow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.credentials import Round, costs, requirement
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


def rounds(first: float, again: float) -> list[Round]:
    """Three of each, of 100 signatures; the least one costs what is given, in ms."""
    return [
        Round(which, 100, {"module": each * 0.08, "device": each * 0.02}, 1.0)
        for which, cost in (("first", first), ("again", again))
        for each in (cost * 1.1, cost, cost * 1.5)
    ]


def test_costs_are_the_least_and_ratios_to_the_smallest_size() -> None:
    found = {(each.which, each.credentials): each for each in costs({10_000: rounds(6, 3), 100: rounds(5, 3)})}
    assert [each.ratio for each in found.values()] == [1.0, 1.2, 1.0, 1.0]
    first = found["first", 100]
    assert (first.cpu_ms, first.median_cpu_ms, first.most_cpu_ms) == (5.0, 5.5, 7.5)
    assert first.cpu_ms_by_part == {"module": 4.0, "device": 1.0}
    assert first.wall_ms == 10.0


@pytest.mark.parametrize(("cost", "met"), [(5, True), (6.25, True), (6.3, False)])
def test_a_cost_that_grows_is_not_flat(cost: float, met: bool) -> None:
    assert requirement(costs({100: rounds(5, 3), 1_000_000: rounds(cost, 3)})).met is met
    assert requirement(costs({100: rounds(3, 5), 1_000_000: rounds(3, cost)})).met is met


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
