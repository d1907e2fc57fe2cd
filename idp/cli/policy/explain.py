"""``privyseal policy explain``: what a policy decides and why."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from idp.cli.policy.common import EXIT_DENY, EXIT_FOUND, EXIT_OK, add, unusable
from idp.cli.policy.situation import FORM, add_arguments, situation
from idp.policy.errors import PolicyLoadError
from idp.policy.evaluate import evaluate
from idp.policy.explain import explain, explain_json
from idp.policy.load import load_policy

_OUTCOMES: Final = {"allow": EXIT_OK, "step_up": EXIT_FOUND, "deny": EXIT_DENY}


def add_command(commands: Any) -> None:
    """Add ``explain``."""
    command = add(
        commands,
        "explain",
        "show what a policy decides and why",
        description="Show what a policy decides for an action, and the lines that it rests on.",
        epilog=FORM,
    )
    command.add_argument("file", type=Path, metavar="FILE")
    add_arguments(command)
    command.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> int:
    try:
        policy = load_policy(options.file)
        stated = situation(options, policy)
    except PolicyLoadError as error:
        return unusable(error, as_json=options.json)
    decision = evaluate(policy, stated.facts)
    if options.json:
        value = explain_json(policy, stated.facts, decision)
        print(json.dumps({**value, "logins": list(stated.logins)}, indent=2))
    else:
        print(explain(policy, stated.facts, decision))
        if stated.logins:
            print("\nlogins elsewhere")
            for words in stated.logins:
                print(f"  {words}")
    return _OUTCOMES[decision.outcome]
