"""``privyseal policy lint``: policies held against the rule books that they name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from idp.cli.policy.common import EXIT_FOUND, EXIT_OK, EXIT_UNUSABLE, Usage, add
from idp.policy.errors import PolicyLoadError
from idp.policy.evidence import FACTORS
from idp.policy.lint import NOTHING_KNOWN, Deployment, Finding, findings_of, has_errors, lint, strictly
from idp.policy.lint.render import as_json, as_sarif, as_text
from idp.policy.load import load_policy
from idp.policy.wording import count


def add_command(commands: Any) -> None:
    """Add ``lint``."""
    command = add(
        commands,
        "lint",
        "hold policy files against the rule books that they name",
        description="Hold policy files against the rule books that they name; each finding has its clause and advice.",
    )
    command.add_argument("files", nargs="+", type=Path, metavar="FILE")
    command.add_argument("--sarif", action="store_true", help="write SARIF 2.1.0, which code review tools show")
    command.add_argument("--strict", action="store_true", help="make every warning an error")
    command.add_argument(
        "--enabled",
        action="append",
        choices=sorted(FACTORS),
        metavar="FACTOR",
        help="a factor that the deployment offers; repeatable. Unless given, it is not judged what can be reached",
    )
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="idp.toml: take from it what is offered, and who has enrolled what"
    )
    command.set_defaults(run=_lint)


def _lint(options: argparse.Namespace) -> int:
    if options.json and options.sarif:
        raise Usage("--json and --sarif exclude one another")
    if options.config is not None and options.enabled is not None:
        raise Usage("--config and --enabled exclude one another")
    deployment = _deployment(options)
    found: list[Finding] = []
    unusable = False
    for path in options.files:
        try:
            found.extend(lint(load_policy(path), deployment))
        except PolicyLoadError as error:
            unusable = True
            found.extend(findings_of(error))
    findings = strictly(found) if options.strict else tuple(found)
    _print(options, findings)
    if unusable:
        return EXIT_UNUSABLE
    return EXIT_FOUND if has_errors(findings) else EXIT_OK


def _print(options: argparse.Namespace, findings: tuple[Finding, ...]) -> None:
    if options.sarif:
        print(as_sarif(findings))
    elif options.json:
        print(as_json(findings))
    else:
        if findings:
            print(as_text(findings))
        errors = sum(finding.severity == "error" for finding in findings)
        warnings = count(len(findings) - errors, "warning")
        print(f"{count(len(options.files), 'file')}, {count(errors, 'error')}, {warnings}")


def _deployment(options: argparse.Namespace) -> Deployment:
    if options.config is None:
        return NOTHING_KNOWN if options.enabled is None else Deployment(frozenset(options.enabled))
    from idp.cli.policy.database import enabled_factors, opened
    from idp.storage.authenticators import kinds_of_everybody
    from idp.storage.clients import default_acr_values

    with opened(options.config) as (settings, connection):
        return Deployment(
            enabled_factors(settings), kinds_of_everybody(connection), default_acr_values(connection)
        )
