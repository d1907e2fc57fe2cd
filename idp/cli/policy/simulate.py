"""``privyseal policy simulate``: what a candidate would have decided about what was recorded."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from idp.cli.policy.common import EXIT_FOUND, EXIT_OK, add, describe, unusable
from idp.cli.policy.source import Told, add_options, recorded, show_json
from idp.policy.errors import PolicyLoadError
from idp.policy.load import load_policy
from idp.policy.model import Policy
from idp.policy.replay import Replayed, summarise
from idp.policy.replay_render import as_json, as_lines


def add_command(commands: Any) -> None:
    """Add ``simulate``."""
    command = add(
        commands,
        "simulate",
        "ask a candidate about recorded decisions",
        description="Ask a candidate about decisions that were recorded, and tell which would come out otherwise.",
    )
    command.add_argument("file", type=Path, metavar="CANDIDATE", help="a policy file")
    add_options(command, required=True)
    command.set_defaults(run=_simulate)


def _simulate(options: argparse.Namespace) -> int:
    told = Told()
    try:
        policy = load_policy(options.file)
        with recorded(options, told) as records:
            found = summarise(policy, records)
    except PolicyLoadError as error:
        return unusable(error, as_json=options.json)
    if options.json:
        show_json({"policy": describe(policy), **as_json(found), "disagreements": told.all})
    else:
        _print(policy, found)
    return EXIT_FOUND if found.groups else EXIT_OK


def _print(policy: Policy, found: Replayed) -> None:
    period = f" of {found.first:%Y-%m-%d} to {found.last:%Y-%m-%d}" if found.first and found.last else ""
    print(f"{found.records} recorded decisions{period}, asked of {policy.file} ({policy.name}, sha256 {policy.sha256})")
    for line in as_lines(found):
        print(line)
