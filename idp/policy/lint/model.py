"""What the linter is given and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from idp.policy.lint.subject import Subject
from idp.policy.model import Where

Severity = Literal["error", "warning"]
"""An error contradicts a rule book or cannot work; a warning departs from advice, or is probably not meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a policy, where, by which clause, and what to write instead."""

    rule: str
    """The id of the lint rule, ``L1`` and on; ``docs/policy-lint.md`` has an entry for each."""
    severity: Severity
    where: Where
    message: str
    clause: str
    """Document, edition and clause; several are joined with ``; ``."""
    advice: str


@dataclass(frozen=True, slots=True)
class Hit:
    """What a check found; what it leaves out, its rule says."""

    where: Where
    message: str
    clause: str = ""
    advice: str = ""
    severity: Severity | None = None


Check = Callable[[Subject], Iterator[Hit]]


@dataclass(frozen=True, slots=True)
class LintRule:
    """One check with its reason."""

    id: str
    title: str
    why: str
    clauses: tuple[str, ...]
    """All that it rests on; a finding cites those that apply to it."""
    severity: Severity
    """Unless the finding says another one."""
    advice: str
    check: Check | None = None
    """None: the loader finds it, since no policy can be made from such a file."""

    def finding(self, hit: Hit) -> Finding:
        """What the check found, completed by what is the same for all of this rule."""
        return Finding(
            rule=self.id,
            severity=hit.severity or self.severity,
            where=hit.where,
            message=hit.message,
            clause=hit.clause or "; ".join(self.clauses),
            advice=hit.advice or self.advice,
        )
