"""The `privyseal` command: finds a sub-command by its entry point and imports nothing else.

Sub-commands are the entry points of group :data:`GROUP` of this distribution only. Another installed package can
neither add one nor take one's place. Each is a ``main(argv: Sequence[str]) -> int``.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Sequence
from importlib import metadata

from foundation import __version__
from foundation.errors import PrivySealError
from launcher.errors import NotInstalledError, UnknownCommandError

GROUP = "privyseal.commands"

SUMMARIES = {
    "account": "add people, see what they sign in with, activate, lock and unlock them",
    "ades": "lift signed PDFs to levels that last, and renew archives",
    "anchor": "timestamp audit chains and copy them out of their database's reach",
    "audit": "verify and export the tamper-evident audit chain",
    "backup": "write encrypted backups of either side's database, and verify them",
    "credential": "create, list, suspend and delete signing credentials",
    "dev": "run the whole product on this machine with development stand-ins",
    "evidence": "one signature's evidence from both sides, verified",
    "idp": "set up and administer the identity provider",
    "operator": "make operators' keys, and sign operations with them",
    "policy": "check, test, explain and compare policy files",
    "portal": "set up the page for people, delete what has expired there, exchange its sealing key",
    "restore": "put a backup into an empty database",
    "sam": "set up and run the signature activation module",
    "sign": "sign files at a signing service, with one approval",
    "validate": "validate the signatures of PDFs",
}
"""One line a command for ``--help``, which imports none of them; a test compares the keys with the entry points."""

USAGE_ERROR = 2
INTERRUPTED = 130
NOBODY_READS = 141
"""As a shell tells of a program that was ended by SIGPIPE."""


def commands(group: str = GROUP) -> dict[str, metadata.EntryPoint]:  # noqa: TID251 - dispatched here, nowhere else
    """The sub-commands by name, not imported.

    :param group: of entry points; a command that has sub-commands of several packages has one of its own.

    :raises NotInstalledError: the distribution's metadata cannot be found.
    """
    try:
        own = metadata.distribution("privyseal")  # noqa: TID251 - no other distribution can add a command
    except metadata.PackageNotFoundError as error:
        raise NotInstalledError("privyseal is not installed in this environment: run script/bootstrap") from error
    return {point.name: point for point in sorted(own.entry_points.select(group=group), key=lambda point: point.name)}


def usage(known: Sequence[str]) -> str:
    """The help text that lists the known commands."""
    lines = [f"  {name:<12} {SUMMARIES.get(name, '')}".rstrip() for name in known]
    return "\n".join(
        ("usage: privyseal COMMAND [ARGUMENTS]", "", "commands:", *lines, "", "privyseal COMMAND --help tells more.")
    )


def find(name: str) -> Callable[[Sequence[str]], int]:
    """Import the one command that is wanted.

    :raises UnknownCommandError: no such command; the text lists those there are.
    """
    known = commands()
    if name not in known:
        raise UnknownCommandError(f"unknown command {name!r}; known are: {', '.join(known)}")
    loaded: Callable[[Sequence[str]], int] = known[name].load()
    return loaded


def main(argv: Sequence[str] | None = None) -> int:
    """Run `privyseal ARGV`; returns the exit code. An error of the product is one line on stderr, not a traceback.

    Where the reader of our output has gone, as in ``privyseal ... | head``, the command ends quietly.
    """
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            _flush()  # here, where a failure can be handled, not when the interpreter ends
    except BrokenPipeError:
        if not _output_is_gone():
            raise
        return NOBODY_READS


def _run(arguments: list[str]) -> int:
    try:
        if not arguments or arguments[0] in {"-h", "--help", "help"}:
            print(usage(tuple(commands())))
            return 0 if arguments else USAGE_ERROR
        if arguments[0] in {"-V", "--version"}:
            print(f"privyseal {__version__}")
            return 0
        return find(arguments[0])(arguments[1:])
    except UnknownCommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    except PrivySealError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _output_is_gone() -> bool:
    """Whether it is our own output that nobody reads, and not some other pipe; if so, what is left goes nowhere."""
    try:
        output = sys.stdout.fileno()
    except (AttributeError, OSError):
        return False  # there is none, or it is no file
    question = select.poll()
    question.register(output, 0)  # that the other end has gone is told unasked
    gone = any(event & (select.POLLERR | select.POLLHUP) for _, event in question.poll(0))
    if gone:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), output)
    return gone
