"""``privyseal policy test``: whether a policy decides its cases as expected."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from idp.cli.policy.common import EXIT_FOUND, EXIT_OK, EXIT_UNUSABLE, NotWritten, Usage, add, faults_json, load_cases
from idp.policy.cases import CaseReport, cases_beside, run_cases
from idp.policy.cases_render import as_json, as_junit, as_text
from idp.policy.errors import PolicyLoadError
from idp.policy.load import load_policy


def add_command(commands: Any) -> None:
    """Add ``test``."""
    command = add(
        commands,
        "test",
        "run the cases of policy files",
        description="Run the cases in NAME.test.yaml beside each NAME.yaml. Outcome and reasons must be exactly those "
        "expected, and every rule must be exercised by a case.",
    )
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="policy files")
    command.add_argument("--cases", type=Path, metavar="FILE", help="the cases file, if there is one policy file")
    command.add_argument("--junit", type=Path, metavar="FILE", help="also write the results as JUnit XML")
    command.set_defaults(run=_test)


def _test(options: argparse.Namespace) -> int:
    if options.cases is not None and len(options.files) > 1:
        raise Usage("--cases goes with one policy file")
    results: list[dict[str, Any]] = []
    reports: list[CaseReport] = []
    faulty: dict[str, str] = {}
    code = EXIT_OK
    for path in options.files:
        try:
            report = run_cases(load_policy(path), load_cases(options.cases or cases_beside(path)))
        except PolicyLoadError as error:
            code = EXIT_UNUSABLE
            faulty[str(path)] = str(error)
            results.append({"file": str(path), "passed": False, "faults": faults_json(error)})
            if not options.json:
                print(error, file=sys.stderr)
            continue
        reports.append(report)
        results.append(as_json(report))
        if not options.json:
            print(as_text(report))
        if not report.passed and code == EXIT_OK:
            code = EXIT_FOUND
    if options.junit is not None:
        _write(options.junit, as_junit(reports, faulty))
    if options.json:
        print(json.dumps(results, indent=2))
    return code


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotWritten(path, error) from error
