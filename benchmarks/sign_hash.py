"""How many signatures a second, sustained?  signatures/signHash through the running server.

PostgreSQL (durable commits), SoftHSM2 with P-256 keys, web tier under granian, module and device processes: all run as
they do in an installation, and are driven over HTTP from this process.  Two windows: one digest a SAD, and 100 a SAD.
Each SAD is of a transaction (txn) of its own and is minted before its window begins.  All rates are given as ratios to
the token's own: one key held, one thread, nothing around it, measured in the same run before and after.
"""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from benchmarks.driver import Outcome, Poster, Prepared, closed_loop
from benchmarks.errors import RunInvalid
from benchmarks.machine import describe
from benchmarks.measure import Figure, Peer, Report, Requirement
from benchmarks.processes import Usage, measured_and_printed
from benchmarks.stand import CLIENT, ISSUER, OWNER, SAM_ID, SigningStand, say, signing_stand
from contract.sad import EvidenceClaim, PolicyClaim, Sad, encode
from foundation.clock import SystemClock, epoch

REQUIRED_PER_SECOND: Final = 400.0
"""Signatures, one digest a SAD."""
REQUIRED_P99_MS: Final = 100.0
REQUIRED_OF_BATCHES: Final = 5000.0
"""Signatures a second, 100 digests a SAD."""
SHA256: Final = "2.16.840.1.101.3.4.2.1"
ECDSA_WITH_SHA256: Final = "1.2.840.10045.4.3.2"
PATH: Final = "/csc/v2/signatures/signHash"
_SAD_SECONDS: Final = 300
_SPARE: Final = 3.0
"""More SADs than the warm-up says are needed: a window must not run dry where a shared machine becomes idle."""
_VALUES_VERIFIED: Final = 20_000

_EPILOG: Final = """exit codes:
  0  measured: no error, and the requirement is met
  1  measured: an error, or the requirement is not met
  2  the command line cannot be used
  3  not measured: a part did not start, or the run is not valid
"""

Digests = tuple[bytes, ...]
Batch = list[tuple[Prepared, Digests]]


@dataclass(frozen=True, slots=True)
class _Window:
    count: int
    """Digests a SAD."""
    outcome: Outcome
    usage: Usage


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.sign_hash",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--seconds", type=float, default=60.0, help="length of each window (default %(default).0f)")
    command.add_argument("--warm-up", type=float, default=5.0, help="seconds before it (default %(default).0f)")
    command.add_argument("--connections", type=int, default=24, help="requests under way (default %(default)s)")
    command.add_argument("--pairs", type=int, choices=(1, 2), default=1, help="web tiers, each with its module")
    command.add_argument("--workers", type=int, default=2, help="device processes a module (default %(default)s)")
    command.add_argument("--batch", type=int, default=100, help="digests a SAD in the second window; 0: no such window")
    command.add_argument("--json", action="store_true", help="print JSON instead of text")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; see ``--help`` for the exit codes."""
    options = parser().parse_args(argv)
    if not 1 <= options.seconds <= 200 or not 0 < options.warm_up <= 60 or not 0 <= options.batch <= 100:
        print("error: --seconds is 1 to 200, --warm-up up to 60, --batch 0 to 100", file=sys.stderr)
        return 2
    if not 1 <= options.connections <= 64 or not 1 <= options.workers <= 16:
        print("error: --connections is 1 to 64, --workers 1 to 16", file=sys.stderr)
        return 2
    return measured_and_printed(lambda: measure(options), in_json=options.json)


def measure(options: argparse.Namespace) -> Report:
    """Start a stand, measure, end it.

    :raises BenchmarkError: it did not start, or what came back is not valid.
    """
    with signing_stand(options.pairs, options.workers, say) as stand:
        machine = describe(postgresql=f"{stand.database.version}, fsync on")
        say("the disk by itself")
        commits = stand.database.commits_per_second()
        say("the token by itself")
        first, version = _raw_rate(stand)
        counts = [1] if options.batch == 0 else [1, options.batch]
        windows = [_window(stand, options, count) for count in counts]
        say("the token by itself, again")
        again, _version = _raw_rate(stand)
        peer = Peer(
            "SoftHSM2 P-256",
            round(statistics.mean((first, again)), 1),
            "signatures/s",
            f"one key held, one thread; {first:,.0f} before, {again:,.0f} after",
        )
        disk = Peer(
            "PostgreSQL commits",
            round(commits, 1),
            "commits/s",
            "one connection, fsync on; a request needs two, which it shares with those that wait at the same time",
        )
        figures = tuple(_figure(options, peer, window) for window in windows)
        _check_ledger(stand)
    stand_words = f"{options.pairs} x (web tier, module, {options.workers} device processes)"
    return Report(
        benchmark="sign_hash",
        at=SystemClock().now().isoformat(timespec="seconds"),
        machine={**machine, "token": version, "stand": stand_words},
        peers=(peer, disk),
        figures=figures,
        requirements=requirements(figures, options.seconds),
    )


def requirements(figures: Sequence[Figure], seconds: float) -> tuple[Requirement, ...]:
    """What the figures have to reach: the first is of single digests, a second one of batches of 100."""
    single = figures[0]
    made = [
        _rate(single, REQUIRED_PER_SECOND, "one digest a SAD", seconds),
        Requirement(
            f"99 % of these requests answered within {REQUIRED_P99_MS:.0f} ms (p99: {single.latency.p99_ms})",
            single.latency.p99_ms <= REQUIRED_P99_MS,
        ),
    ]
    if len(figures) > 1:
        made.append(_rate(figures[1], REQUIRED_OF_BATCHES, figures[1].name, seconds))
    return tuple(made)


def _rate(figure: Figure, required: float, which: str, seconds: float) -> Requirement:
    slowest = figure.slowest_slice_per_second
    text = f"at least {required:,.0f} signatures/s, {which}, in every 10 s of {seconds:.0f} s (slowest: {slowest})"
    return Requirement(text, slowest >= required)


def _raw_rate(stand: SigningStand) -> tuple[float, str]:
    token = stand.token
    answer = json.loads(
        stand.processes.capture(
            "the token by itself", "benchmarks.softhsm", "--module", str(token.module), "--label", token.label,
            "--pin-file", str(token.pin_file), **token.environment,
        )
    )  # fmt: skip
    return float(answer["per_second"]), str(answer["version"])


def _window(stand: SigningStand, options: argparse.Namespace, count: int) -> _Window:
    say(f"{count} a SAD: warm-up")
    at_most = 1000 if count == 1 else 200
    trial = _drive(stand, options, _prepared(stand, count, int(options.warm_up * at_most)), options.warm_up)
    per_second = len(trial.samples) / trial.window
    needed = int(per_second * options.seconds * _SPARE) + options.connections
    say(f"{count} a SAD: {per_second:.1f} requests/s; minting {needed} SADs")
    prepared = _prepared(stand, count, needed)
    say(f"{count} a SAD: {options.seconds:.0f} s")
    meter = stand.processes.meter()
    outcome = _drive(stand, options, prepared, options.seconds)
    usage = meter.read()
    stand.processes.check()
    if outcome.exhausted:
        raise RunInvalid("the window ran out of SADs: lengthen the warm-up")
    _verify(stand, outcome, prepared)
    return _Window(count, outcome, usage)


def _drive(stand: SigningStand, options: argparse.Namespace, prepared: Batch, seconds: float) -> Outcome:
    requests = [request for request, _digests in prepared]
    ports = stand.ports
    outcome = closed_loop(
        lambda turn: Poster(ports[turn % len(ports)], "sign.localhost", PATH, requests),
        len(requests),
        workers=options.connections,
        seconds=seconds,
    )
    if not outcome.samples:
        raise RunInvalid(f"no request succeeded: {dict(outcome.errors)}")
    return outcome


def _verify(stand: SigningStand, outcome: Outcome, prepared: Batch) -> None:
    """Verify what was signed, after the window: a rate of wrong signatures is no rate.

    :raises RunInvalid: a value is not the certificate's signature over its digest.
    """
    key = x509.load_der_x509_certificate(stand.certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise RunInvalid("the credential's key is not on a curve")
    step = max(1, sum(sample.units for sample in outcome.samples) // _VALUES_VERIFIED)
    for number in sorted(outcome.answers)[::step]:
        digests = prepared[number][1]
        values = json.loads(outcome.answers[number])["signatures"]
        try:
            for digest, value in zip(digests, values, strict=True):
                key.verify(base64.b64decode(value), digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        except (InvalidSignature, ValueError) as error:
            raise RunInvalid("a signature does not verify, or is missing") from error


def _prepared(stand: SigningStand, count: int, number: int) -> Batch:
    now = epoch(SystemClock().now())
    return [_request(stand, count, now) for _ in range(number)]


def _request(stand: SigningStand, count: int, now: int) -> tuple[Prepared, Digests]:
    digests = tuple(secrets.token_bytes(32) for _ in range(count))
    body = {
        "credentialID": stand.credential_id,
        "hashes": [base64.b64encode(digest).decode() for digest in digests],
        "hashAlgorithmOID": SHA256,
        "signAlgo": ECDSA_WITH_SHA256,
    }
    headers = {
        "Authorization": f"Bearer {encode(sad(stand.credential_id, digests, now), stand.key)}",
        "Content-Type": "application/json",
    }
    return Prepared(json.dumps(body).encode(), headers, count), digests


def sad(credential_id: str, digests: Digests, now: int) -> Sad:
    """What the identity provider would have minted after a password and a text message."""
    evidence = (
        EvidenceClaim("password", "knowledge", now - 30, "password-1", False, False, False, False),  # noqa: FBT003 - the claim's fields in order
        EvidenceClaim("sms_otp", "possession", now - 5, "sms-1", False, False, True, True),  # noqa: FBT003 - as above
    )
    return Sad(
        iss=ISSUER,
        aud=SAM_ID,
        sub=OWNER,
        client_id=CLIENT,
        txn=secrets.token_urlsafe(16),
        jti=secrets.token_urlsafe(16),
        iat=now,
        exp=now + _SAD_SECONDS,
        credential_id=credential_id,
        hash_alg=SHA256,
        dtbsr=digests,
        hash_type="dtbsr",
        sign_count=len(digests),
        acr="urn:privyseal:acr:substantial",
        loa="substantial",
        amr=("pwd", "otp", "sms"),
        auth_time=now - 30,
        evidence=evidence,
        policy=PolicyClaim("benchmark", "0" * 64, "benchmark"),
    )


def _figure(options: argparse.Namespace, peer: Peer, window: _Window) -> Figure:
    return Figure.of(
        name=f"{window.count} a SAD",
        unit="signatures",
        connections=options.connections,
        samples=window.outcome.samples,
        window=window.outcome.window,
        peer=peer,
        errors=window.outcome.errors,
        cpu_seconds=window.usage.by_part,
        others_cpu_share=window.usage.others_share,
    )


def _check_ledger(stand: SigningStand) -> None:
    """The ledger ends with no redemption open or lost.

    :raises RunInvalid: it does.
    """
    redemptions = stand.database.scalar("SELECT count(*) FROM redemptions")
    consumed = stand.database.scalar("SELECT count(*) FROM outcomes WHERE state = 'consumed'")
    if redemptions != consumed:
        raise RunInvalid(f"{redemptions} redemptions, of which {consumed} were consumed")


if __name__ == "__main__":
    sys.exit(main())
