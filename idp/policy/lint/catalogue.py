"""The table of all rules, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from idp.policy.lint import actions, factors, levels, limits, loading, protocol, reachability, upstream
from idp.policy.lint.model import LintRule


def number(rule: str) -> int:
    """The number in a rule's id."""
    return int(rule.removeprefix("L"))


RULES: Final[tuple[LintRule, ...]] = tuple(
    sorted(
        (
            *actions.RULES,
            *factors.RULES,
            *levels.RULES,
            *limits.RULES,
            *loading.RULES,
            *protocol.RULES,
            *reachability.RULES,
            *upstream.RULES,
        ),
        key=lambda rule: number(rule.id),
    )
)

BY_ID: Final[Mapping[str, LintRule]] = MappingProxyType({rule.id: rule for rule in RULES})
