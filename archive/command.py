"""``privyseal backup`` and ``privyseal restore``: what both sides' commands share."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from archive import envelope, side
from archive.errors import ArchiveError, NotWritten, RecipientInvalid
from archive.records import Summary
from archive.side import Side
from foundation.clock import Clock, SystemClock
from foundation.errors import PrivySealError
from foundation.files import read_secret, write_secret

EXIT_DONE: Final = 0
EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
_OWNER_ONLY: Final = 0o600
_EPILOG: Final = """exit codes:
  0  done
  1  refused or failed: nothing was restored, no file was left
  2  the command line, the settings or a key file cannot be used
"""

OpenSide = Callable[[Path, Clock], Side]
"""A side's database by its settings file."""


def run_backup(name: str, open_side: OpenSide, argv: Sequence[str], clock: Clock | None = None) -> int:
    """``privyseal backup NAME``."""
    arguments = backup_parser(name).parse_args(argv)
    used = clock or SystemClock()

    def run() -> Summary:
        recipients = [envelope.recipient(text) for text in arguments.recipient]
        found = open_side(arguments.config, used)
        with _new(arguments.output) as output:
            return side.backup(found, output, recipients, used.now(), _progress)

    return _told(run, "written", as_json=arguments.json)


def run_restore(
    name: str, open_side: OpenSide, argv: Sequence[str], next_steps: str, clock: Clock | None = None
) -> int:
    """``privyseal restore NAME``.

    :param next_steps: what is to be done before the side serves again.
    """
    arguments = restore_parser(name).parse_args(argv)

    def run() -> Summary:
        keys = _identities(arguments.identity)
        found = open_side(arguments.config, clock or SystemClock())
        with arguments.file.open("rb") as source:
            return side.restore(found, source, keys, _progress)

    status = _told(run, "restored", as_json=arguments.json)
    if status == EXIT_DONE:
        print(next_steps, file=sys.stderr)
    return status


def verify_main(argv: Sequence[str]) -> int:
    """``privyseal backup verify``."""
    arguments = verify_parser().parse_args(argv)

    def run() -> Summary:
        keys = _identities(arguments.identity)
        with arguments.file.open("rb") as source:
            return side.verify(source, keys)

    return _told(run, "whole", as_json=arguments.json)


def key_main(argv: Sequence[str]) -> int:
    """``privyseal backup key``."""
    arguments = key_parser().parse_args(argv)
    text, public = envelope.new_identity()
    try:
        write_secret(arguments.output, text.encode())
    except PrivySealError as error:
        return _failed(EXIT_USAGE, error)
    print(json.dumps({"recipient": public}) if arguments.json else public)
    return EXIT_DONE


def backup_parser(name: str) -> argparse.ArgumentParser:
    """The command line of ``privyseal backup NAME``."""
    command = _parser(f"privyseal backup {name}", "Writes an encrypted backup of this side's database.")
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="this side's settings file (TOML)")
    command.add_argument(
        "--recipient", action="append", required=True, metavar="AGE1...",
        help="who can open it (age, X25519), from `privyseal backup key` or age-keygen; may be repeated",
    )  # fmt: skip
    command.add_argument("--output", type=Path, required=True, metavar="FILE", help="a new file, owner-only")
    return command


def restore_parser(name: str) -> argparse.ArgumentParser:
    """The command line of ``privyseal restore NAME``."""
    command = _parser(f"privyseal restore {name}", "Puts a backup into this side's database, which has to be empty.")
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="this side's settings file (TOML)")
    return _with_file(command)


def verify_parser() -> argparse.ArgumentParser:
    """The command line of ``privyseal backup verify``."""
    return _with_file(_parser("privyseal backup verify", "Reads a backup to its end, and says what it holds."))


def key_parser() -> argparse.ArgumentParser:
    """The command line of ``privyseal backup key``."""
    command = _parser("privyseal backup key", "Makes a key that opens backups, and shows its recipient.")
    command.add_argument("--output", type=Path, required=True, metavar="FILE", help="a new owner-only file")
    return command


def _parser(prog: str, description: str) -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog=prog, description=description, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    return command


def _with_file(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("--identity", type=Path, required=True, metavar="FILE", help="owner-only key file")
    command.add_argument("file", type=Path, metavar="FILE", help="from `privyseal backup`")
    return command


def _identities(path: Path) -> tuple[envelope.Identity, ...]:
    try:
        return envelope.identities(read_secret(path).decode("ascii"))
    except UnicodeDecodeError:
        # Not chained: that exception carries the octets.
        raise RecipientInvalid("the key file is no text") from None


@contextmanager
def _new(path: Path) -> Iterator[IO[bytes]]:
    """A new owner-only file, which is gone again where its content was not finished."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, _OWNER_ONLY)
    except OSError as error:
        raise NotWritten(f"{path}: cannot be made ({error.strerror})") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise NotWritten(f"{path}: {error.strerror}") from error
        raise


def _progress(table: str, rows: int) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"{table}: {rows} rows   ", end=end, file=sys.stderr, flush=True)


def _told(run: Callable[[], Summary], what: str, *, as_json: bool) -> int:
    try:
        summary = run()
    except RecipientInvalid as error:
        return _failed(EXIT_USAGE, error)
    except ArchiveError as error:
        return _failed(EXIT_REFUSED, error)
    except (PrivySealError, OSError) as error:
        return _failed(EXIT_USAGE, error)
    manifest = summary.manifest
    if as_json:
        shown: dict[str, Any] = {name: getattr(manifest, name) for name in type(manifest).__slots__}
        print(json.dumps({**shown, "rows": dict(summary.rows), "sha256": summary.sha256}))
        return EXIT_DONE
    print(f"{what}: {manifest.side} of {manifest.of}, from {manifest.made_at}, {sum(summary.rows.values())} rows")
    print(f"sha256 of its content: {summary.sha256}")
    return EXIT_DONE


def _failed(status: int, error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return status
