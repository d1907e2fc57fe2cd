"""``privyseal policy check``: whether files can be read as policies."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from idp.cli.policy.common import EXIT_OK, EXIT_UNUSABLE, add, faults_json
from idp.policy.errors import PolicyLoadError
from idp.policy.load import load_policy
from idp.policy.wording import count


def add_command(commands: Any) -> None:
    """Add ``check``."""
    check = add(
        commands,
        "check",
        "read policy files and report everything that is wrong with them",
        description="Read policy files and report everything that is wrong with them, as file:line:column: message.",
    )
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    results: list[dict[str, Any]] = []
    code = EXIT_OK
    for path in options.files:
        try:
            policy = load_policy(path)
        except PolicyLoadError as error:
            code = EXIT_UNUSABLE
            results.append({"file": str(path), "sound": False, "faults": faults_json(error)})
            if not options.json:
                print(error, file=sys.stderr)
        else:
            results.append({"file": str(path), "sound": True, "name": policy.name, "sha256": policy.sha256})
            if not options.json:
                counts = f"{count(len(policy.levels), 'level')}, {count(len(policy.rules), 'rule')}"
                print(f"{path}: sound ({policy.name}, {counts}, sha256 {policy.sha256})")
    if options.json:
        print(json.dumps(results, indent=2))
    return code
