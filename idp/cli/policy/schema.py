"""``privyseal policy schema``: the language as JSON Schema, for editors."""

from __future__ import annotations

import argparse
from typing import Any

from idp.cli.policy.common import EXIT_OK, add
from idp.policy.cases_json_schema import cases_schema_text
from idp.policy.json_schema import schema_text


def add_command(commands: Any) -> None:
    """Add ``schema``."""
    command = add(
        commands,
        "schema",
        "print the language as JSON Schema, for editors",
        description="Print the language of policy files as JSON Schema (draft 2020-12), for editors that complete keys "
        "and mark mistakes. What takes more than one place of a file to judge, only check and lint tell.",
    )
    command.add_argument("--cases", action="store_true", help="the format of cases files instead")
    command.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    print(cases_schema_text() if options.cases else schema_text(), end="")
    return EXIT_OK
