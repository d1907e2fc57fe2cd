"""What a person could add: the smallest sets of enrolled factors that would lead to ``allow``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

from idp.policy.body import Body, Standing
from idp.policy.demand import Demand
from idp.policy.evidence import MIN_LENGTH_ALONE, PASSWORD, SELF, Evidence
from idp.policy.model import EnrolledFactor, Facts, StepUpOption

MAX_COMBINED: Final = 10
"""Of so many useful steps all sets are looked at; each one more would double their number (DOS-06)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: use an authenticator, or sign in at another identity provider."""

    factor: str
    evidence: tuple[Evidence, ...]
    """What it would yield: one piece, or all that such a login counts as."""


def steps(facts: Facts) -> tuple[Step, ...]:
    """What the person's enrolled factors would yield, each used now, in the order of enrolment."""
    found: dict[object, tuple[str, list[Evidence]]] = {}
    for enrolled in dict.fromkeys(facts.enrolled):
        key, name = (enrolled, enrolled.factor) if enrolled.issuer == SELF else (enrolled.issuer, "upstream")
        found.setdefault(key, (name, []))[1].append(_as_if_used(enrolled, facts))
    return tuple(Step(name, tuple(items)) for name, items in found.values())


def _as_if_used(item: EnrolledFactor, facts: Facts) -> Evidence:
    flags = item.flags if facts.transaction is not None else item.flags - {"transaction_bound"}
    unknown = item.factor == PASSWORD and item.min_length is None
    return Evidence(
        factor=item.factor,
        authenticator_id="enrolled",
        category=item.category,
        at=facts.now,
        issuer=item.issuer,
        flags=flags,
        transaction=facts.transaction,
        channel=item.channel,
        attestation=item.attestation,
        min_length=MIN_LENGTH_ALONE if unknown else item.min_length,
    )


def options(body: Body, available: tuple[Step, ...], demand: Demand) -> tuple[StepUpOption, ...]:
    """Every set of steps that would lead to allow and of which none could be left out, best first; of more steps than
    anybody has, one such set.

    A factor whose evidence still counts adds nothing, so no smallest set has it: it is not asked for again.
    """
    serving = demand.useful(body)
    useful = [(step, bits) for step in available if (bits := body.bits(step.evidence)) & serving]
    if len(useful) > MAX_COMBINED:
        return (_option(demand, _by_leaving_out(body, useful, demand)),)
    names = {name: 1 << index for index, name in enumerate(dict.fromkeys(step.factor for step, _ in useful))}
    numbered = [(step, bits, names[step.factor]) for step, bits in useful]
    found: list[tuple[Step, ...]] = []
    smaller: list[int] = []
    alone = 0
    for size in range(1, len(numbered) + 1):
        # What leads there by itself is in no larger set.
        numbered = [each for each in numbered if not each[2] & alone]
        for chosen in combinations(numbered, size):
            kinds, mask = 0, body.there
            for _, bits, kind in chosen:
                kinds |= kind
                mask |= bits
            if _holds_one_of(kinds, smaller):
                continue
            if demand.met(Standing(body, mask)):
                found.append(tuple([step for step, _, _ in chosen]))
                smaller.append(kinds)
                alone |= kinds if size == 1 else 0
    # Sorting is stable: among equals, the order of enrolment.
    found.sort(key=_cost)
    return tuple(_option(demand, chosen) for chosen in found)


def _by_leaving_out(body: Body, useful: list[tuple[Step, int]], demand: Demand) -> tuple[Step, ...]:
    """A set of which none could be left out: of all, each is left out that can be, the last one first."""
    kept = list(useful)
    for pair in reversed(useful):
        rest = [each for each in kept if each is not pair]
        mask = body.there
        for _, bits in rest:
            mask |= bits
        if demand.met(Standing(body, mask)):
            kept = rest
    return tuple(step for step, _ in kept)


def _option(demand: Demand, chosen: tuple[Step, ...]) -> StepUpOption:
    return StepUpOption("+".join(demand.levels), tuple(step.factor for step in sorted(chosen, key=_turn)))


def _holds_one_of(kinds: int, smaller: list[int]) -> bool:
    """Whether all of a smaller set is in it, so that something could be left out."""
    for each in smaller:  # noqa: SIM110  # a generator would cost more than all that it looks at
        if each & kinds == each:
            return True
    return False


def _cost(chosen: tuple[Step, ...]) -> tuple[int, bool, int]:
    """Fewest factors first, then phishing-resistant ones, then those that no restricted channel carries."""
    items = [item for step in chosen for item in step.evidence]
    resistant = any(item.has("phishing_resistant") for item in items)
    return len(chosen), not resistant, sum(item.has("restricted") for item in items)


def _turn(step: Step) -> bool:
    """Knowledge is asked for first, so that no message is sent on behalf of somebody who does not know the password."""
    return step.evidence[0].category != "knowledge"
