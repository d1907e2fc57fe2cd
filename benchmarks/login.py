"""How many logins a second, through the identity provider's own pages, and what of their cost is the hash?

PostgreSQL (durable commits), the identity provider under granian, messages through the product's Twilio connector to an
endpoint of this process.  Everybody signs in once, with a browser of their own: authorization request, password and,
for the level that asks for it, choice of the factor and code, then the redirect with an authorization code.

Four windows: a password alone, and a password and a code by text message; each with argon2id and with a verifier of
this benchmark's in its place (:mod:`benchmarks.unhashed`).  What argon2id costs in a login is read from the
clock of the server's threads, around each verification (:mod:`benchmarks.measured`).  What it costs by itself, with the
product's parameters and nothing else running, is measured in the same run, before and after: that is less.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks import argon2id
from benchmarks.browser import Person, SignIn, authorization_path
from benchmarks.driver import Outcome, closed_loop
from benchmarks.errors import RunInvalid
from benchmarks.login_stand import CLIENT, HASHED, REDIRECT_URI, UNHASHED, LoginStand, login_stand
from benchmarks.machine import describe
from benchmarks.measure import Figure, Peer, Report, Requirement
from benchmarks.processes import Usage, measured_and_printed
from benchmarks.stand import say
from foundation.clock import SystemClock

GOAL_SHARE: Final = 0.7
"""Of the identity provider's processor time for a login with a password, so much at least is the hash."""
GOAL_RATE: Final = 100.0
"""Logins a second with a password, were there no hash."""
_LEVEL: Final = "http://eidas.europa.eu/NotNotified/LoA/"
_SPARE: Final = 2.0

_EPILOG: Final = """exit codes:
  0  measured, without an error, and both goals reached
  1  measured, with errors or below a goal
  2  the command line cannot be used
  3  not measured: a part did not start, or the run is not valid
"""


@dataclass(frozen=True, slots=True)
class Case:
    """What one window is about."""

    name: str
    provider: str
    """Which of the stand's identity providers."""
    acr: str
    pages: bytes
    """The forms that have to be filled in."""


CASES: Final = (
    Case("password", HASHED, f"{_LEVEL}low", b"sign-in"),
    Case("password and a code by text message", HASHED, f"{_LEVEL}substantial", b"sign-in choose otp"),
    Case("password, without argon2id", UNHASHED, f"{_LEVEL}low", b"sign-in"),
    Case("password and a code, without argon2id", UNHASHED, f"{_LEVEL}substantial", b"sign-in choose otp"),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.login",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--seconds", type=float, default=30.0, help="length of each window (default %(default).0f)")
    command.add_argument("--warm-up", type=float, default=4.0, help="seconds before each (default %(default).0f)")
    command.add_argument("--connections", type=int, default=4, help="logins under way (default %(default)s)")
    command.add_argument("--workers", type=int, default=2, help="processes that serve (default %(default)s)")
    command.add_argument("--json", action="store_true", help="print JSON instead of text")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; see ``--help`` for the exit codes."""
    options = parser().parse_args(argv)
    if not 1 <= options.seconds <= 600 or not 0 < options.warm_up <= 60 or not 1 <= options.connections <= 64:
        print("error: --seconds is 1 to 600, --warm-up up to 60, --connections 1 to 64", file=sys.stderr)
        return 2
    if not 1 <= options.workers <= 16:
        print("error: --workers is 1 to 16", file=sys.stderr)
        return 2
    return measured_and_printed(lambda: measure(options), in_json=options.json)


def measure(options: argparse.Namespace) -> Report:
    """Start a stand, measure, end it.

    :raises BenchmarkError: it did not start, or what came back is not valid.
    """
    with login_stand(options.workers, say) as stand:
        machine = describe(postgresql=f"{stand.database.version}, fsync on")
        say("argon2id by itself")
        before, costs = argon2id.rate(stand.costs), [argon2id.cpu_milliseconds(stand.costs)]
        windows = [_window(stand, case, options) for case in CASES]
        say("argon2id by itself, again")
        after = argon2id.rate(stand.costs)
        costs.append(argon2id.cpu_milliseconds(stand.costs))
    peer = argon2id.peer(stand.costs, before, after)
    figures = {window.case.name: _figure(window, peer, options) for window in windows}
    hashed = {window.case.name: window.hash_ms for window in windows if window.hash_ms is not None}
    return Report(
        benchmark="login",
        at=SystemClock().now().isoformat(timespec="seconds"),
        machine={**machine, "stand": f"{options.workers} x identity provider, 8 threads each"},
        peers=(peer, argon2id.cost(costs), *(argon2id.cost_in_server(*each) for each in hashed.items())),
        figures=tuple(figures.values()),
        requirements=requirements(figures, hashed[CASES[0].name], sum(costs) / len(costs)),
    )


def requirements(figures: Mapping[str, Figure], hash_ms: float, alone_ms: float) -> tuple[Requirement, ...]:
    """The goals, held against what was measured.

    :param hash_ms: processor time of the hash in a login with a password: of the server's threads, around each
        verification.
    :param alone_ms: of one verification with nothing else running; only told beside it.
    """
    spent = figures[CASES[0].name].cpu_ms_per_request[HASHED]
    share, rate = hash_ms / spent, figures[CASES[2].name].per_second
    text = f"{hash_ms:.1f} of {spent:.1f} ms of a login with a password are the hash ({alone_ms:.1f} by itself)"
    return (
        Requirement(f"{text}: {share:.0%}, of {GOAL_SHARE:.0%} at least", share >= GOAL_SHARE),
        Requirement(f"{rate:.1f} logins/s without the hash, of {GOAL_RATE:.0f} at least", rate >= GOAL_RATE),
    )


@dataclass(frozen=True, slots=True)
class _Window:
    case: Case
    outcome: Outcome
    usage: Usage
    hash_ms: float | None
    """Of one verification, in the server; None where nothing is hashed."""


def _figure(window: _Window, peer: Peer, options: argparse.Namespace) -> Figure:
    return Figure.of(
        name=window.case.name,
        unit="logins",
        connections=options.connections,
        samples=window.outcome.samples,
        window=window.outcome.window,
        peer=peer,
        errors=window.outcome.errors,
        cpu_seconds=window.usage.by_part,
        others_cpu_share=window.usage.others_share,
    )


def _window(stand: LoginStand, case: Case, options: argparse.Namespace) -> _Window:
    say(f"{case.name}: warm-up")
    prefix = f"case{CASES.index(case)}"
    warm = stand.enrol(f"{prefix}-warm", int(options.warm_up * 100))
    trial = _drive(stand, case, options, warm, options.warm_up)
    per_second = len(trial.samples) / trial.window
    needed = int(per_second * options.seconds * _SPARE) + options.connections
    say(f"{per_second:.1f} logins/s; enrolling {needed} people")
    people = stand.enrol(prefix, needed)
    say(f"{options.seconds:.0f} s")
    meter, before = stand.processes.meter(), stand.hashed()
    outcome = _drive(stand, case, options, people, options.seconds)
    usage, after = meter.read(), stand.hashed()
    stand.processes.check()
    if outcome.exhausted:
        raise RunInvalid("the window ran out of people: lengthen the warm-up")
    hashes = len(outcome.samples) if case.provider == HASHED else 0
    if not outcome.errors and after.count - before.count != hashes:
        raise RunInvalid("a login did not take exactly one verification")
    return _Window(case, outcome, usage, after.milliseconds_since(before) if hashes else None)


def _drive(
    stand: LoginStand, case: Case, options: argparse.Namespace, people: Sequence[Person], seconds: float
) -> Outcome:
    def begin() -> tuple[str, str]:
        return authorization_path(CLIENT, REDIRECT_URI, case.acr), REDIRECT_URI

    outcome = closed_loop(
        lambda _turn: SignIn(stand.ports[case.provider], "idp.localhost", people, stand.phones.take, begin),
        len(people),
        workers=options.connections,
        seconds=seconds,
    )
    if not outcome.samples:
        raise RunInvalid(f"no login succeeded: {dict(outcome.errors)}")
    if set(outcome.answers.values()) != {case.pages}:
        raise RunInvalid(f"a login did not go through the pages of {case.name}")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
