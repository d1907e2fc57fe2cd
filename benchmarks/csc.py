"""How fast are the methods of the CSC API, beside a toy that checks next to nothing?

The stand of ``sign_hash`` (PostgreSQL with durable commits, SoftHSM2, web tier, module and device processes), and in
the same run certomancer-csc-dummy, a server for integration tests: it asks nobody who they are, spends no permission,
keeps no record, and holds its keys in clear.  Both are asked in version 1 of the API, over kept-alive connections:
``credentials/info``, and ``signatures/signHash`` with P-256 (one digest a SAD, and many) and RSA 3072 with PSS.  The
bearer is the SAD, so no identity provider is asked; SADs are minted before each window.

Every figure's ratio is to the toy's rate of the same request.  The toy is one process with one thread.  How much of
that rate is left for doing anything tells a third server, of the same run: Flask under granian with as many threads as
the web tier has, which answers the same request with a constant of the same length.  Then a round of CIBA at an
identity provider, whose ratio is to the disk's commits: the toy has nothing like it.
"""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from benchmarks import ciba, nothing, toy
from benchmarks.driver import Outcome, Poster, Prepared, closed_loop
from benchmarks.errors import RunInvalid
from benchmarks.machine import describe
from benchmarks.measure import Figure, Latency, Peer, Report, Requirement
from benchmarks.processes import Usage, measured_and_printed
from benchmarks.sign_hash import ECDSA_WITH_SHA256, SHA256, sad
from benchmarks.stand import SigningStand, free_port, say, signing_stand, start_web
from clients.csc.algorithms import RSASSA_PSS, pss_parameters
from contract.sad import encode
from foundation.clock import SystemClock, epoch
from launcher.dev import SIGNING_THREADS
from launcher.supervisor import answers_http

NOTHING: Final = "nothing"
"""The part that answers a constant."""
RSA_PROFILE: Final = "rsa-3072-pss"
_INFO: Final = "credentials/info"
_SIGN: Final = "signatures/signHash"
_SPARE: Final = 3.0
_AT_MOST: Final = 3000
"""Requests a second in a warm-up, the toy's ``credentials/info`` included."""
_VERIFIED: Final = 200
_NOT_OFFERED: Final = (
    "not offered: the module makes RSA keys of 3072 bits, since 2048 bits are fit for use until the end of 2028 only "
    "(ETSI TS 119 312) and a key made now would outlive that; the toy's rate with it is among the peers"
)

_EPILOG: Final = """exit codes:
  0  measured: no error, and ahead of the toy everywhere
  1  measured: an error, or not ahead
  2  the command line cannot be used
  3  not measured: a part did not start, or the run is not valid
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request, as both servers are asked."""

    name: str
    method: str
    count: int
    """Digests a request."""
    key: str
    """Of the toy."""
    unit: str


CASES: Final = (
    Case("credentials/info", _INFO, 1, "ec-p256", "answers"),
    Case("P-256, one a SAD", _SIGN, 1, "ec-p256", "signatures"),
    Case("P-256, many a SAD", _SIGN, 0, "ec-p256", "signatures"),
    Case("RSA 3072 PSS, one a SAD", _SIGN, 1, "rsa-3072", "signatures"),
)
RSA_2048: Final = Case("RSA 2048 PSS, one a SAD", _SIGN, 1, "rsa-2048", "signatures")
Batch = list[tuple[Prepared, tuple[bytes, ...]]]


@dataclass(frozen=True, slots=True)
class _Address:
    port: int
    host: str
    path: str


@dataclass(frozen=True, slots=True)
class _Window:
    outcome: Outcome
    usage: Usage


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.csc",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--seconds", type=float, default=20.0, help="length of each window (default %(default).0f)")
    command.add_argument("--warm-up", type=float, default=3.0, help="seconds before it (default %(default).0f)")
    command.add_argument("--connections", type=int, default=12, help="requests under way (default %(default)s)")
    command.add_argument("--batch", type=int, default=100, help="digests where there are many (default %(default)s)")
    command.add_argument("--no-ciba", action="store_true", help="leave out the round of CIBA")
    command.add_argument("--json", action="store_true", help="print JSON instead of text")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; see ``--help`` for the exit codes."""
    options = parser().parse_args(argv)
    if not 1 <= options.seconds <= 200 or not 0 < options.warm_up <= 60 or not 2 <= options.batch <= 100:
        print("error: --seconds is 1 to 200, --warm-up up to 60, --batch 2 to 100", file=sys.stderr)
        return 2
    if not 1 <= options.connections <= 64:
        print("error: --connections is 1 to 64", file=sys.stderr)
        return 2
    return measured_and_printed(lambda: measure(options), in_json=options.json)


def measure(options: argparse.Namespace) -> Report:
    """Start both, measure them in turns, end them.

    :raises BenchmarkError: one did not start, or what came back is not valid.
    """
    with signing_stand(1, 2, say, [RSA_PROFILE]) as stand:
        machine = describe(postgresql=f"{stand.database.version}, fsync on")
        port, bare = _start_toy(stand), _start_nothing(stand)
        peers, figures = [], []
        for case in CASES:
            peer = _toy(stand, port, case, options)
            peers.append(peer)
            figure, octets = _ours(stand, case, options, peer)
            figures.append(figure)
            peers.append(_nothing(stand, bare, case, options, toy_rate=peer.value, octets=octets))
        peers.append(_toy(stand, port, RSA_2048, options))
    toyed = tuple(figures)
    if not options.no_ciba:
        peer, figure = ciba.measure(options)
        peers.append(peer)
        figures.append(figure)
    return Report(
        benchmark="csc",
        at=SystemClock().now().isoformat(timespec="seconds"),
        machine={**machine, "RSA 2048": _NOT_OFFERED},
        peers=tuple(peers),
        figures=tuple(figures),
        requirements=requirements(toyed),
    )


def requirements(figures: Sequence[Figure]) -> tuple[Requirement, ...]:
    """Ahead of the toy, in every figure."""
    return tuple(
        Requirement(f"{figure.name}: ahead of the toy ({figure.ratio:.2f} times its rate)", figure.ratio > 1)
        for figure in figures
    )


def _start_toy(stand: SigningStand) -> int:
    say("the toy")
    port = free_port()
    config = toy.write(stand.directory)
    stand.processes.start("toy", answers_http("localhost", port, "/info"), "benchmarks.toy", str(config), str(port))
    return port


def _start_nothing(stand: SigningStand) -> int:
    say("a server that does nothing")
    port = free_port()
    start_web(stand.processes, NOTHING, port, "nothing", {}, module="benchmarks.nothing", threads=SIGNING_THREADS)
    return port


def _toy(stand: SigningStand, port: int, case: Case, options: argparse.Namespace) -> Peer:
    count = case.count or options.batch

    def prepare() -> tuple[Prepared, tuple[bytes, ...]]:
        digests = tuple(secrets.token_bytes(32) for _ in range(count))
        body: dict[str, Any] = {"credentialID": toy.credential(case.key)}
        if case.method == _SIGN:
            body |= _asked(digests, case.key) | {"SAD": toy.sad(case.key, digests)}
        return _post(body, {}, count), digests

    address = _Address(port, "localhost", _path(case))
    window = _window(stand, f"toy, {case.name}", case, options, address=address, prepare=prepare)
    return _peer(f"toy: {case.name}", "toy", "certomancer-csc-dummy", case, window)


def _nothing(
    stand: SigningStand, port: int, case: Case, options: argparse.Namespace, *, toy_rate: float, octets: int
) -> Peer:
    """:param octets: of an answer of ours."""
    address = _Address(port, nothing.HOST, nothing.path(octets))
    prepare = _preparing(stand, case, options)
    window = _window(stand, f"nothing, {case.name}", case, options, address=address, prepare=prepare, spends=False)
    found = _peer(f"{NOTHING}: {case.name}", NOTHING, "Flask and granian, a constant", case, window)
    return replace(found, how=share_of_the_toy(found, toy_rate))


def share_of_the_toy(peer: Peer, toy_rate: float) -> str:
    """How a server that does nothing was measured, and how it stands beside the toy."""
    return f"{peer.how}; {peer.value / toy_rate:.2f} times the toy's rate"


def _peer(name: str, part: str, what: str, case: Case, window: _Window) -> Peer:
    per_second = sum(sample.units for sample in window.outcome.samples) / window.outcome.window
    latency = Latency.of([sample.seconds for sample in window.outcome.samples])
    cpu = window.usage.by_part.get(part, 0.0) * 1000 / len(window.outcome.samples)
    if window.outcome.errors:
        raise RunInvalid(f"{part} does not answer as it should: {dict(window.outcome.errors)}")
    how = f"{what}, p99 {latency.p99_ms} ms, processor {cpu:.2f} ms a request"
    return Peer(name, round(per_second, 1), f"{case.unit}/s", how)


def _ours(stand: SigningStand, case: Case, options: argparse.Namespace, peer: Peer) -> tuple[Figure, int]:
    """The figure, and the octets of an answer."""
    prepared: Batch = []
    address = _Address(stand.ports[0], "sign.localhost", _path(case))
    prepare = _preparing(stand, case, options)
    window = _window(stand, case.name, case, options, address=address, prepare=prepare, keep=prepared)
    if case.method == _SIGN:
        _verify(_credential(stand, case)[1], window.outcome, prepared)
    figure = Figure.of(
        name=case.name if case.count else f"{case.name} ({options.batch})",
        unit=case.unit,
        connections=options.connections,
        samples=window.outcome.samples,
        window=window.outcome.window,
        peer=peer,
        errors=window.outcome.errors,
        cpu_seconds={part: spent for part, spent in window.usage.by_part.items() if part not in {"toy", NOTHING}},
        others_cpu_share=window.usage.others_share,
    )
    return figure, len(next(iter(window.outcome.answers.values())))


def _preparing(
    stand: SigningStand, case: Case, options: argparse.Namespace
) -> Callable[[], tuple[Prepared, tuple[bytes, ...]]]:
    """What makes requests to us."""
    count = case.count or options.batch
    credential_id, _certificate = _credential(stand, case)
    now = epoch(SystemClock().now())

    def prepare() -> tuple[Prepared, tuple[bytes, ...]]:
        digests = tuple(secrets.token_bytes(32) for _ in range(count))
        token = encode(sad(credential_id, digests, now), stand.key)
        body: dict[str, Any] = {"credentialID": credential_id}
        if case.method == _SIGN:
            body |= _asked(digests, case.key) | {"SAD": token}
        return _post(body, {"Authorization": f"Bearer {token}"}, count), digests

    return prepare


def _credential(stand: SigningStand, case: Case) -> tuple[str, bytes]:
    """Identifier and certificate of the case's credential."""
    return stand.others[RSA_PROFILE] if case.key.startswith("rsa") else (stand.credential_id, stand.certificate)


def _path(case: Case) -> str:
    return f"/csc/v1/{case.method}"


def _asked(digests: Sequence[bytes], key: str) -> dict[str, Any]:
    """The names of version 1, which the toy speaks."""
    asked: dict[str, Any] = {
        "hash": [base64.b64encode(digest).decode() for digest in digests],
        "hashAlgo": SHA256,
        "signAlgo": ECDSA_WITH_SHA256,
    }
    if key.startswith("rsa"):
        asked |= {"signAlgo": RSASSA_PSS, "signAlgoParams": base64.b64encode(pss_parameters("sha256")).decode()}
    return asked


def _post(body: dict[str, Any], headers: dict[str, str], units: int) -> Prepared:
    return Prepared(json.dumps(body).encode(), {"Content-Type": "application/json", **headers}, units)


def _window(
    stand: SigningStand,
    name: str,
    case: Case,
    options: argparse.Namespace,
    *,
    address: _Address,
    prepare: Callable[[], tuple[Prepared, tuple[bytes, ...]]],
    keep: Batch | None = None,
    spends: bool = True,
) -> _Window:
    """:param spends: False: nothing is spent by the request, so that one serves for all; nor is it by reading."""

    def drive(batch: Batch, seconds: float) -> Outcome:
        requests = [request for request, _digests in batch]
        outcome = closed_loop(
            lambda _turn: Poster(address.port, address.host, address.path, requests),
            len(requests),
            workers=options.connections,
            seconds=seconds,
        )
        if not outcome.samples:
            raise RunInvalid(f"no request succeeded: {dict(outcome.errors)}")
        return outcome

    def batch_of(number: int) -> Batch:
        if case.method == _SIGN and spends:
            return [prepare() for _ in range(number)]
        return [prepare()] * number

    say(f"{name}: warm-up")
    most = _AT_MOST if case.method == _INFO or case.count else 400
    trial = drive(batch_of(int(options.warm_up * most)), options.warm_up)
    needed = int(len(trial.samples) / trial.window * options.seconds * _SPARE) + options.connections
    say(f"{name}: {len(trial.samples) / trial.window:.1f} requests/s; {options.seconds:.0f} s")
    prepared = batch_of(needed)
    meter = stand.processes.meter()
    outcome = drive(prepared, options.seconds)
    usage = meter.read()
    stand.processes.check()
    if outcome.exhausted:
        raise RunInvalid("the window ran out of requests: lengthen the warm-up")
    if keep is not None:
        keep.extend(prepared)
    return _Window(outcome, usage)


def _verify(certificate: bytes, outcome: Outcome, prepared: Batch) -> None:
    """Verify what was signed, after the window.

    :raises RunInvalid: a value is not the certificate's signature over its digest.
    """
    key = x509.load_der_x509_certificate(certificate).public_key()
    step = max(1, len(outcome.answers) // _VERIFIED)
    for number in sorted(outcome.answers)[::step]:
        values = json.loads(outcome.answers[number])["signatures"]
        try:
            for digest, value in zip(prepared[number][1], values, strict=True):
                _verify_one(key, digest, base64.b64decode(value))
        except (InvalidSignature, ValueError) as error:
            raise RunInvalid("a signature does not verify, or is missing") from error


def _verify_one(key: object, digest: bytes, value: bytes) -> None:
    hashed = Prehashed(hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(value, digest, ec.ECDSA(hashed))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(value, digest, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashed)
    else:
        raise RunInvalid("the credential's key is of another kind")


if __name__ == "__main__":
    sys.exit(main())
