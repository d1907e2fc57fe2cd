"""``privyseal validate``: signatures of PDFs, validated on this machine and without asking anybody."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from foundation.certificates.reading import read_anchors
from foundation.clock import Clock, SystemClock
from foundation.errors import SettingsError
from signing.ades.validate.policy import Circumstances, ValidationPolicy, der_of
from signing.ades.validate.report import Indication, Report, as_json

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
_EPILOG: Final = """exit codes (the gravest of all files):
  0  every signature of every file: TOTAL_PASSED
  1  a signature is TOTAL_FAILED, or a file is no sound PDF
  2  the command line, a file or the trust anchors cannot be used
  3  INDETERMINATE: something needed is not known or not trusted, or there is no signature
"""


def main(argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run ``privyseal validate ARGV``."""
    arguments = parser().parse_args(argv)
    # What the parsers say of a stranger's file is in the report, and nothing else of it on the terminal.
    logging.disable(logging.CRITICAL)
    try:
        policy = ValidationPolicy(
            der_of(read_anchors(arguments.trust, "--trust")),
            der_of(read_anchors(arguments.trust_timestamps, "--trust-timestamps")),
            arguments.revocation,
        )
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    circumstances = Circumstances(arguments.at or (clock or SystemClock()).now())
    return max((_file(each, policy, circumstances, arguments) for each in arguments.file), key=_GRAVITY.index)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="privyseal validate",
        description="Validates the signatures and time-stamps of PDFs. Nothing is fetched.",
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
    command.add_argument("--at", type=_moment, metavar="TIME", help="RFC 3339; the time to validate for, if not now")
    command.add_argument("--json", action="store_true", help="one JSON object a file and line")
    return command


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs its offset")
    return moment.astimezone(UTC)


def _file(path: Path, policy: ValidationPolicy, circumstances: Circumstances, arguments: argparse.Namespace) -> int:
    try:
        with path.open("rb") as source:
            document = source.read(_MAX_OCTETS + 1)
    except OSError as error:
        print(f"error: {path}: {error.strerror}", file=sys.stderr)
        return EXIT_USAGE
    if len(document) > _MAX_OCTETS:
        print(f"error: {path}: larger than {_MAX_OCTETS} octets", file=sys.stderr)
        return EXIT_USAGE
    # pyHanko is slow to import: who mistyped does not wait for it.
    from signing.ades.validate.document import validate

    report = validate(document, policy, circumstances)
    _show(path, report, as_lines=not arguments.json)
    return _EXITS[report.verdict.indication]


def _show(path: Path, report: Report, *, as_lines: bool) -> None:
    from signing.ades.validate.readable import lines

    if as_lines:
        print("\n".join(lines(str(path), report)))
    else:
        print(json.dumps({"file": str(path), **as_json(report)}))
