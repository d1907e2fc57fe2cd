"""``privyseal ades extend``: the command line."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from connectors.errors import ConnectorError
from connectors.registry import load as load_connector
from documents.bounds import Bounds
from documents.errors import REASONS, DocumentRefused, ExaminerUnavailable
from documents.examiner import Examiner, ExaminerSettings
from foundation.certificates.reading import read_anchors
from foundation.clock import Clock, SystemClock
from foundation.errors import PrivySealError
from foundation.settings import load
from signing.errors import SigningError
from signing.extension.errors import FileRefused, NoStamp, NotExamined
from signing.extension.files import MAX_OCTETS, Found, found, read, replace
from signing.extension.settings import ExtensionSettings

if TYPE_CHECKING:
    from signing.ades.extending import Means

DONE: Final = 0
NOT_ALL: Final = 1
"""Exit code where a file is not at the level."""
UNUSABLE: Final = 2
_LEVELS: Final = ("B-T", "B-LT", "B-LTA")
_EXAMINATION: Final = ExaminerSettings(
    # An archive is of many owners: what takes a process over has that one file.
    workers=1,
    documents=1,
    # The largest file's; what a small one may use is small (documents.worker).
    memory=4 * 1024 * 1024 * 1024,
    seconds=300,
    bounds=Bounds(octets=MAX_OCTETS),
)
_EPILOG: Final = """exit codes:
  0  every file is at the level now, or above it; files of a folder without a signature do not count
  1  a file is not; it is as it was, and the others were done
  2  the command line, the settings or a path cannot be used; nothing was done
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file, as it is told."""

    file: str
    result: str
    """``extended``, ``unchanged``, ``unsigned`` or ``failed``."""
    before: str | None = None
    after: str | None = None
    error: str | None = None
    """A wire code, with ``reason`` for people."""
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Without what does not apply."""
        members = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in members.items() if value is not None}

    def as_line(self) -> str:
        """For people."""
        told = {
            "extended": f"{self.before} -> {self.after}",
            "unchanged": f"{self.after} already",
            "unsigned": "no signature, passed over",
        }
        return f"{self.file}: {told.get(self.result) or self.reason}"


def main(argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run ``privyseal ades ARGV``."""
    command = parser()
    arguments = command.parse_args(argv)
    if arguments.renew and arguments.level not in {None, "B-LTA"}:
        command.error("--renew is for archives: B-LTA")
    if not arguments.renew and arguments.level is None:
        command.error("--level or --renew is needed")
    # What the parsers say of a file is in the outcome, and nothing else of it on the terminal.
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return _run(arguments, clock or SystemClock())
    finally:
        logging.disable(level)


def _run(arguments: argparse.Namespace, clock: Clock) -> int:
    try:
        settings = load(ExtensionSettings, arguments.config, prefix="EXTEND")
        files = found(arguments.path)
        means = means_of(settings, clock)
    except (ConnectorError, PrivySealError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    counted: Counter[str] = Counter()
    examiner = Examiner(_EXAMINATION)
    try:
        for number, outcome in enumerate(_outcomes(files, means, arguments, examiner), 1):
            counted[outcome.result] += 1
            _show(outcome, arguments, number, len(files))
    finally:
        examiner.close()
    return NOT_ALL if counted["failed"] else DONE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="privyseal ades", description="signed PDFs that last")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "extend",
        help="lift signed PDFs to a higher level, or renew archives",
        description="Appends what a level asks for to signed PDFs, in their place. What was signed stays as it was.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("path", nargs="+", type=Path, metavar="PATH", help="a PDF, or a folder with PDFs in it")
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="extend.toml")
    command.add_argument("--level", choices=_LEVELS, help="the level that every signature is to have at least")
    command.add_argument(
        "--renew", action="store_true", help="put a new time-stamp over archives, also where they are at B-LTA"
    )
    command.add_argument("--json", action="store_true", help="one JSON object a file and line")
    return whole


def means_of(settings: ExtensionSettings, clock: Clock) -> Means:
    """What lifting takes, by the settings.

    :raises ConnectorError: :raises foundation.errors.SettingsError: they cannot be used.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from signing.ades.extending import Means
    from signing.ades.validate.policy import ValidationPolicy
    from signing.csc.certificate_status import CertificateStatus
    from signing.csc.stamper import Stamper, TimestampRequest

    table, production = settings.status, settings.production
    source = load_connector("status", table.connector, table.settings, production=production)
    anchors = read_anchors(table.trust_anchors, "status.trust_anchors")
    status = CertificateStatus(source, anchors, clock, table, source if hasattr(source, "issuers") else None)
    stamper = Stamper(
        [
            load_connector("tsa", each.connector, each.settings, production=production)
            for each in settings.timestamp_authorities
        ]
    )

    def stamp(digest: bytes) -> bytes:
        return stamper.stamp(TimestampRequest(digest, "sha256", None)).der

    policy = ValidationPolicy(tuple(each.public_bytes(Encoding.DER) for each in anchors))
    return Means(stamp, status.of, policy, clock)


def _outcomes(
    files: Sequence[Found], means: Means, arguments: argparse.Namespace, examiner: Examiner
) -> Iterator[Outcome]:
    for file in files:
        yield _outcome(file, means, examiner, arguments.level or "B-LTA", renew=arguments.renew)


def _examine(octets: bytes, examiner: Examiner) -> None:
    """What breaks a reader breaks one that is confined, and not the operator's process.

    :raises FileRefused: it is not one to be read here.
    :raises NotExamined: nobody was there to look.
    """
    try:
        examiner.examine(octets)
    except DocumentRefused as error:
        # Said last, when all else is well; and evidence and time-stamps are no signatures (ISO 32000-2 table 257).
        if error.reason != "certified_final":
            raise FileRefused(REASONS[error.reason]) from error
    except ExaminerUnavailable as error:
        raise NotExamined("no confined process is there to look at it") from error


def _outcome(file: Found, means: Means, examiner: Examiner, level: Any, *, renew: bool) -> Outcome:
    from signing.ades.errors import NothingSigned
    from signing.ades.extending import extended
    from signing.csc.errors import TemporarilyUnavailable

    name = str(file.path)
    try:
        content = read(file.path)
        _examine(content.octets, examiner)
        try:
            made = extended(content.octets, level, means, renew=renew)
        except TemporarilyUnavailable as error:
            raise NoStamp("no time-stamping authority gives a stamp") from error
        if made.changed:
            replace(file.path, content, made.octets)
    except NothingSigned as error:
        if file.named:
            return Outcome(name, "failed", error=error.code, reason=str(error))
        return Outcome(name, "unsigned")
    except SigningError as error:
        return Outcome(name, "failed", error=error.code, reason=str(error))
    return Outcome(name, "extended" if made.changed else "unchanged", made.before, made.after)


def _show(outcome: Outcome, arguments: argparse.Namespace, number: int, of: int) -> None:
    if arguments.json:
        print(json.dumps(outcome.as_json()), flush=True)
    else:
        failed = outcome.result == "failed"
        print(outcome.as_line(), file=sys.stderr if failed else sys.stdout, flush=True)
    if of > 1 and sys.stderr.isatty():
        print(f"{number} of {of}", end="\n" if number == of else "\r", file=sys.stderr, flush=True)
