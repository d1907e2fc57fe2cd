"""``privyseal validate``: signatures of PDFs, validated in confined processes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from connectors.errors import ConnectorError
from connectors.registry import load as load_connector
from foundation.certificates.reading import read_anchors
from foundation.clock import Clock, SystemClock
from foundation.errors import SettingsError
from foundation.sandbox import run
from signing.ades.validate.report import Indication
from signing.validation.errors import TooComplex, ValidatorUnavailable
from signing.validation.exchange import NAME, Result
from signing.validation.validator import WORKER, Validator, limits_for, trusted

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INDETERMINATE: Final = 3
_EXITS: Final[dict[Indication, int]] = {
    "TOTAL_PASSED": EXIT_PASSED,
    "TOTAL_FAILED": EXIT_FAILED,
    "INDETERMINATE": EXIT_INDETERMINATE,
}
_GRAVITY: Final = (EXIT_PASSED, EXIT_INDETERMINATE, EXIT_FAILED, EXIT_USAGE)
_MAX_OCTETS: Final = 512 * 1024 * 1024
_SECONDS: Final = 300
"""Of processor time for one file."""
_TOO_COMPLEX: Final = Result(
    {
        "verdict": {
            "indication": "TOTAL_FAILED",
            "sub_indication": "FORMAT_FAILURE",
            "explanation": "the document takes more time or memory than one may, or brings its reader down",
        }
    },
    f"{NAME}: TOTAL_FAILED/FORMAT_FAILURE: the document takes more time or memory than one may",
    (),
)
_EPILOG: Final = """exit codes (the gravest of all files):
  0  every signature of every file: TOTAL_PASSED
  1  a signature is TOTAL_FAILED, or a file is no sound PDF
  2  the command line, a file or the trust anchors cannot be used
  3  INDETERMINATE: something needed is not known or not trusted, or there is no signature
"""


def main(argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run ``privyseal validate ARGV``."""
    arguments = parser().parse_args(argv)
    try:
        whom = trusted(
            read_anchors(arguments.trust, "--trust"),
            read_anchors(arguments.trust_timestamps, "--trust-timestamps"),
            arguments.revocation,
        )
        source = load_connector("status", "http", {"egress_allow": arguments.allow}, production=True)
    except (SettingsError, ConnectorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    validator = Validator(_confined, whom, clock or SystemClock(), source if arguments.fetch else None)
    return max((_file(each, validator, arguments) for each in arguments.file), key=_GRAVITY.index)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="privyseal validate",
        description="Validates the signatures and time-stamps of PDFs. Without --fetch nobody is asked.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", nargs="+", type=Path, metavar="FILE")
    command.add_argument(
        "--trust", action="append", required=True, type=Path, metavar="PEM", help="trust anchors; may be repeated"
    )
    command.add_argument(
        "--trust-timestamps", action="append", default=[], type=Path, metavar="PEM",
        help="trust anchors of time-stamping authorities, where they are others",
    )  # fmt: skip
    command.add_argument(
        "--revocation", choices=("required", "declared", "none"), default="required",
        help="whose status has to be known: every certificate's (default), theirs that say where, nobody's",
    )  # fmt: skip
    when = command.add_mutually_exclusive_group()
    when.add_argument(
        "--fetch", action="store_true", help="ask the authorities that certificates name about their status"
    )
    when.add_argument("--at", type=_moment, metavar="TIME", help="RFC 3339; the time to validate for, if not now")
    command.add_argument(
        "--allow", action="append", default=[], metavar="HOST:PORT", help="an address inside that --fetch may ask"
    )
    command.add_argument("--json", action="store_true", help="one JSON object a file and line")
    return command


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs its offset")
    return moment.astimezone(UTC)


def _file(path: Path, validator: Validator, arguments: argparse.Namespace) -> int:
    try:
        with path.open("rb") as source:
            document = source.read(_MAX_OCTETS + 1)
    except OSError as error:
        print(f"error: {path}: {error.strerror}", file=sys.stderr)
        return EXIT_USAGE
    if len(document) > _MAX_OCTETS:
        print(f"error: {path}: larger than {_MAX_OCTETS} octets", file=sys.stderr)
        return EXIT_USAGE
    try:
        told = validator.validate(document, arguments.at)
    except ValidatorUnavailable as error:
        print(f"error: {path}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except TooComplex:
        told = _TOO_COMPLEX
    _show(path, told, as_lines=not arguments.json)
    return _EXITS[told.report["verdict"]["indication"]]


def _confined(octets: bytes) -> bytes:
    return run(WORKER, octets, limits_for(len(octets), _SECONDS))


def _show(path: Path, told: Result, *, as_lines: bool) -> None:
    if as_lines:
        print(f"{path}{told.text.removeprefix(NAME)}")
    else:
        print(json.dumps({"file": str(path), **told.report}))
