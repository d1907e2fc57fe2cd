"""How long does a policy of 100 rules take to decide?  ``evaluate()`` alone, on one thread, against a limit of 1 ms.

Rules of which few apply to the request (the usual file), rules that all do, and rules that all do and of which no two
ask for the same (the worst file), each with evidence that suffices and with evidence that does not, so that step-up
options have to be found; and an action that no rule names.  Every rule that applies does so by its client, a group, an
attribute, a network and a time of day.  The evaluation neither waits nor shares, so its thread's processor time is what
is measured; still, what other programs do to the processor's caches shows, so measure with nothing else running.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from benchmarks.errors import RunInvalid
from benchmarks.machine import describe
from benchmarks.measure import Figure, Peer, Report, Requirement, Sample
from benchmarks.processes import measured_and_printed
from foundation.clock import SystemClock
from foundation.memory import keep_for_good
from idp.policy.evaluate import evaluate
from idp.policy.evidence import Evidence
from idp.policy.load import parse_policy
from idp.policy.model import EnrolledFactor, Facts, Outcome, Policy

RULES: Final = 100
LIMIT_MS: Final = 1.0
_NOW: Final = datetime(2030, 1, 1, 12, tzinfo=UTC)
_TXN: Final = "txn"
_PEER: Final = Peer("limit", 1000.0 / LIMIT_MS, "evaluations/s", f"one thread, {LIMIT_MS:.0f} ms each")

_LEVELS: Final = """\
policy: 1
name: benchmark
levels:
  - name: low
    acr: urn:example:low
    freshness: 12h
    any_of:
      - all_of: [{factor: password}]
  - name: substantial
    acr: urn:example:substantial
    implies: low
    freshness: 12h
    any_of:
      - all_of: [{factor: password}, {factor: [sms_otp, email_otp, totp]}]
        different_categories: 2
  - name: high
    acr: urn:example:high
    implies: substantial
    freshness: 10m
    any_of:
      - all_of: [{factor: password}, {factor: passkey, flags: user_verified}]
        different_categories: 2
rules:
"""
_RULE: Final = """\
  - id: rule-{number}
    action: {action}
    when:
      client: {client}
      group: staff
      attribute: {{department: [legal, board]}}
      network: [192.0.2.0/24, "2001:db8::/32"]
      time: {{days: [mon, tue, wed, thu, fri], from: "08:00", to: "18:00", zone: Europe/Berlin}}
    require: [substantial, low]
    because: It is rule {number}.
    evidence:
      - category: possession
        per_transaction: true
        max_age: {seconds}s
"""


def policy(rules: int, *, about: int, alike: bool = True) -> Policy:
    """A policy of so many rules, ``about`` of which are about the request that is asked about.

    :param alike: they all ask for the same evidence; otherwise each for its own.
    """
    text = _LEVELS + "".join(
        _RULE.format(
            number=number,
            action="signature.activate",
            client="asked" if number < about else f"other-{number}",
            seconds=600 if alike else 600 + number,
        )
        for number in range(rules)
    )
    return parse_policy(text.encode(), "benchmark.yaml")


def facts(*, enough: bool, action: str = "signature.activate") -> Facts:
    """A person with five factors, who has shown the password, and a code too if it is to be enough."""
    shown = [Evidence("password", "password-1", "knowledge", _NOW - timedelta(minutes=5))]
    if enough:
        shown.append(Evidence("sms_otp", "sms-1", "possession", _NOW - timedelta(minutes=1), transaction=_TXN))
    return Facts(
        action=action,
        evidence=tuple(shown),
        now=_NOW,
        client_id="asked",
        groups=frozenset({"staff"}),
        attributes={"department": ("board",), "site": ("north",)},
        network="192.0.2.7",
        proofing="high",
        transaction=_TXN,
        acr_values=("urn:example:substantial",),
        enrolled=(
            EnrolledFactor("password", "knowledge"),
            EnrolledFactor("sms_otp", "possession"),
            EnrolledFactor("email_otp", "possession"),
            EnrolledFactor("totp", "possession"),
            EnrolledFactor("passkey", "possession", frozenset({"user_verified"})),
        ),
    )


def cases() -> Mapping[str, tuple[Policy, Facts, Outcome]]:
    """What is measured, with the outcome that it must have."""
    few, every, differing = (
        policy(RULES, about=3), policy(RULES, about=RULES), policy(RULES, about=RULES, alike=False),
    )  # fmt: skip
    return {
        "3 of 100 rules apply, enough evidence": (few, facts(enough=True), "allow"),
        "3 of 100 rules apply, step-up": (few, facts(enough=False), "step_up"),
        "all 100 rules apply, enough evidence": (every, facts(enough=True), "allow"),
        "all 100 rules apply, step-up": (every, facts(enough=False), "step_up"),
        "all 100 rules apply and differ, enough evidence": (differing, facts(enough=True), "allow"),
        "all 100 rules apply and differ, step-up": (differing, facts(enough=False), "step_up"),
        "no rule about the action": (every, facts(enough=True, action="credential.create"), "deny"),
    }


def measure(repetitions: int) -> Report:
    """Evaluate each case so often.

    :raises RunInvalid: a case does not have its outcome.
    """
    machine = describe(stand=f"{RULES} rules, 3 levels, 5 enrolled factors; {repetitions} evaluations a case")
    asked = cases()
    keep_for_good()  # as the server's process does (wsgi.py)
    figures = tuple(_figure(name, *case, repetitions) for name, case in asked.items())
    requirements = tuple(
        Requirement(
            f"{figure.name}: p99 {figure.latency.p99_ms} ms, {figure.latency.p99_ms / LIMIT_MS:.2f} of the limit",
            figure.latency.p99_ms <= LIMIT_MS,
        )
        for figure in figures
    )
    at = SystemClock().now().isoformat(timespec="seconds")
    return Report("policy", at, machine, (_PEER,), figures, requirements)


def _figure(name: str, rules: Policy, asked: Facts, outcome: Outcome, repetitions: int) -> Figure:
    if evaluate(rules, asked).outcome != outcome:
        raise RunInvalid(f"{name}: the outcome is not {outcome}")
    samples = []
    began = ended = time.thread_time()
    for _ in range(repetitions):
        started = time.thread_time()
        evaluate(rules, asked)
        ended = time.thread_time()
        samples.append(Sample(ended - began, ended - started, 1))
    return Figure.of(
        name=name,
        unit="evaluations",
        connections=1,
        samples=samples,
        window=ended - began,
        peer=_PEER,
        errors={},
        cpu_seconds={},
        others_cpu_share=None,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print: 0 within the limit, 1 not, 2 wrong usage, 3 not measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policy",
        description=__doc__,
        epilog="exit codes: 0 within the limit, 1 not, 3 not run",
    )
    parser.add_argument("--repetitions", type=int, default=5000, help="evaluations of each case (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args(argv)
    if not 100 <= options.repetitions <= 1_000_000:
        print("error: --repetitions is 100 to 1000000", file=sys.stderr)
        return 2
    return measured_and_printed(lambda: measure(options.repetitions), in_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
