"""The command line of ``privyseal policy``.

Exit codes: 0 all is well; 1 a file cannot be used; 2 wrong usage; 3 there is something to tell (a case fails, more is
needed, what was to be approved is refused); 4 the action is refused, nothing was signed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from foundation.clock import Clock, SystemClock
from foundation.errors import PrivySealError, SettingsError
from idp.cli.policy import approve, check, diff, explain, fmt, lint, schema, simulate, test
from idp.cli.policy.common import EXIT_CODES, EXIT_OK, EXIT_UNUSABLE, EXIT_USAGE, Usage
from idp.policy.errors import EvidenceInvalid, FactsInvalid

_COMMANDS: Final = (check, lint, test, explain, simulate, diff, fmt, schema, approve)
"""Each has ``add_command(commands)``, which sets ``run``: a function of the options that returns the exit code."""


def main(argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run ``privyseal policy <argv>``; returns the exit code."""
    try:
        options = parser().parse_args(argv)
    except SystemExit as stop:
        return EXIT_OK if stop.code in {None, 0} else EXIT_USAGE
    options.clock = clock or SystemClock()
    try:
        code: int = options.run(options)
    except (Usage, SettingsError, EvidenceInvalid, FactsInvalid) as error:
        print(f"privyseal policy: {error}", file=sys.stderr)
        return EXIT_USAGE
    except PrivySealError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    return code


def parser() -> argparse.ArgumentParser:
    """All commands."""
    made = argparse.ArgumentParser(
        prog="privyseal policy",
        description="Work with policy files.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add_command(commands)
    return made
