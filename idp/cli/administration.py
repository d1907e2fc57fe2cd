"""The command line of ``privyseal idp``.

Exit codes: 0 done; 1 refused or failed; 2 wrong usage or settings; 3 an account or client of that name exists already.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from foundation.clock import Clock, SystemClock
from foundation.errors import PrivySealError, SettingsError
from foundation.settings import load
from idp.cli import accounts, clients, decisions, keys, messages, policies, roles
from idp.cli.common import EXIT_CODES, EXIT_DONE, EXIT_EXISTS, EXIT_FAILED, EXIT_USAGE, lines
from idp.errors import AlreadyExists
from idp.settings import IdpSettings


def main(argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run ``privyseal idp <argv>``; returns the exit code."""
    try:
        options = parser().parse_args(argv)
    except SystemExit as stop:
        return EXIT_DONE if stop.code in {None, 0} else EXIT_USAGE
    options.clock = clock or SystemClock()
    try:
        settings = load(IdpSettings, options.config, prefix="IDP")
        result: dict[str, Any] = options.run(settings, options)
    except SettingsError as error:
        return _failed(error, EXIT_USAGE)
    except AlreadyExists as error:
        return _failed(error, EXIT_EXISTS)
    except PrivySealError as error:
        return _failed(error, EXIT_FAILED)
    if options.json:
        print(json.dumps(result, indent=2, sort_keys=True))
    else:
        for line in lines(result):
            print(line)
    return EXIT_DONE


def _failed(error: PrivySealError, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


def parser() -> argparse.ArgumentParser:
    """All commands; each module adds its own."""
    made = argparse.ArgumentParser(
        prog="privyseal idp",
        description="set up and administer the identity provider",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    keys.add_init(commands)
    accounts.add_commands(commands)
    clients.add_commands(commands)
    roles.add_commands(commands)
    keys.add_commands(commands)
    decisions.add_commands(commands)
    messages.add_commands(commands)
    policies.add_commands(commands)
    return made
