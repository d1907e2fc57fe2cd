"""The command line of ``privyseal idp``.

Exit codes: 0 done; 1 refused or failed; 2 wrong usage or settings; 3 an account or client of that name exists already.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from foundation.clock import Clock
from idp.cli import accounts, clients, decisions, evidence, hotp, keys, listener, messages, policies, roles
from idp.cli.common import EXIT_CODES, run_command


def main(argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run ``privyseal idp <argv>``; returns the exit code."""
    return run_command(parser(), argv, clock)


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
    hotp.add_commands(commands)
    clients.add_commands(commands)
    roles.add_commands(commands)
    keys.add_commands(commands)
    decisions.add_commands(commands)
    messages.add_commands(commands)
    policies.add_commands(commands)
    listener.add_commands(commands)
    evidence.add_commands(commands)
    return made
