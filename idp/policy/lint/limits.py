"""Limits of factors and of sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from idp.policy import wording
from idp.policy.lint.model import Hit, LintRule
from idp.policy.lint.subject import Subject

MAX_LIFETIME: Final = 600
"""Seconds: NIST SP 800-63B-3 5.1.3.2 and 800-63B-4 3.1.3.2."""
MAX_STEP: Final = 120
"""Seconds: NIST SP 800-63B-3 5.1.4.1 and 800-63B-4 3.1.4.1; RFC 6238 5.2 recommends 30."""

_LIFETIME: Final = "NIST SP 800-63B-3, 5.1.3.2; NIST SP 800-63B-4, 3.1.3.2"
_STEP: Final = "NIST SP 800-63B-3, 5.1.4.1; NIST SP 800-63B-4, 3.1.4.1; RFC 6238 5.2"


def lasting_codes(subject: Subject) -> Iterator[Hit]:
    """L7: a code that lives too long."""
    for limits in subject.policy.factors.values():
        if limits.lifetime is not None and limits.lifetime > MAX_LIFETIME:
            message = f"a code of {limits.factor} lives {wording.duration(limits.lifetime)}; 10 min is the most"
            yield Hit(limits.where, message, _LIFETIME, "write lifetime: 10m or less")
        if limits.step is not None and limits.step > MAX_STEP:
            message = f"a code of {limits.factor} changes every {wording.duration(limits.step)}; 2 min is the most"
            yield Hit(limits.where, message, _STEP, "write step: 30s")


RULES: Final = (
    LintRule(
        id="L7",
        title="A code that lives too long",
        why="The longer a code is good for, the longer it can be guessed, or used by whoever got hold of it.",
        clauses=(
            "NIST SP 800-63B-3, 5.1.3.2",
            "NIST SP 800-63B-3, 5.1.4.1",
            "NIST SP 800-63B-4, 3.1.3.2",
            "NIST SP 800-63B-4, 3.1.4.1",
            "RFC 6238 5.2",
        ),
        severity="error",
        advice="write lifetime: 10m or less, step: 30s",
        check=lasting_codes,
    ),
)
