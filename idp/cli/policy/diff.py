"""``privyseal policy diff``: how two policies differ, and which decisions that changes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from idp.cli.policy.common import EXIT_FOUND, EXIT_OK, Usage, add, describe, load_cases, unusable
from idp.cli.policy.source import Told, add_options, recorded, show_json
from idp.policy.cases import Cases, cases_beside
from idp.policy.diff import Difference, differences
from idp.policy.errors import PolicyLoadError
from idp.policy.evaluate import evaluate
from idp.policy.load import load_policy
from idp.policy.model import Policy, Where
from idp.policy.records import DecisionRecord, verdict_of
from idp.policy.replay import Replayed, decided_by, summarise
from idp.policy.replay_render import as_json, as_lines


def add_command(commands: Any) -> None:
    """Add ``diff``."""
    command = add(
        commands,
        "diff",
        "tell how two policies differ",
        description="Tell how policy B differs from policy A, and which decisions that changes: of recorded ones with "
        "--from-audit, otherwise of the cases beside B or, if there are none, beside A.",
    )
    command.add_argument("old", type=Path, metavar="A")
    command.add_argument("new", type=Path, metavar="B")
    add_options(command, required=False)
    command.add_argument("--cases", type=Path, metavar="FILE", help="another cases file")
    command.set_defaults(run=_diff)


def _diff(options: argparse.Namespace) -> int:
    if options.from_audit is None and (options.config, options.since, options.limit) != (None, None, None):
        raise Usage("--config, --since and --limit go with --from-audit")
    if options.from_audit is not None and options.cases is not None:
        raise Usage("--cases and --from-audit exclude one another")
    told = Told()
    try:
        old, new = load_policy(options.old), load_policy(options.new)
        found, what = _decisions(options, old, new, told)
    except PolicyLoadError as error:
        return unusable(error, as_json=options.json)
    changes = differences(old, new)
    if options.json:
        value = {"before": describe(old), "after": describe(new), "differences": [_json(item) for item in changes]}
        decisions = None if found is None else {"from": what, **as_json(found)}
        show_json({**value, "decisions": decisions, "disagreements": told.all})
    else:
        _print(changes, found, what)
    return EXIT_FOUND if changes or (found is not None and found.groups) else EXIT_OK


def _decisions(options: argparse.Namespace, old: Policy, new: Policy, told: Told) -> tuple[Replayed | None, str]:
    """The decisions that come out otherwise, of those that there are to ask about, and what they are."""
    if options.from_audit is not None:
        with recorded(options, told) as records:
            return summarise(new, records, decided_by(old)), "recorded"
    beside = [path for path in (cases_beside(options.new), cases_beside(options.old)) if path.exists()]
    path = options.cases or (beside[0] if beside else None)
    if path is None:
        return None, ""
    return summarise(new, _situations(old, new, load_cases(path))), "tested"


def _situations(old: Policy, new: Policy, cases: Cases) -> Iterable[DecisionRecord]:
    """Each case as the former policy decides it; what a login elsewhere counts as, each policy says for itself."""
    for case in cases.cases:
        verdict = verdict_of(evaluate(old, case.facts_under(old)))
        yield DecisionRecord(f"'{case.name}'", "", "", old.name, old.sha256, case.facts_under(new), verdict)


def _print(changes: tuple[Difference, ...], found: Replayed | None, what: str) -> None:
    if not changes:
        print("the two policies say the same")
    for item in changes:
        where = item.after or item.before
        print(f"{where.file}:{where.line}: {item}" if where is not None else str(item))
    if found is not None:
        print()
        for line in as_lines(found, what):
            print(line)


def _json(item: Difference) -> dict[str, Any]:
    return {
        "subject": item.subject,
        "text": str(item),
        "before": _place(item.before),
        "after": _place(item.after),
    }


def _place(where: Where | None) -> dict[str, Any] | None:
    return None if where is None else {"file": where.file, "line": where.line}
