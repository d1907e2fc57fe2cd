"""What can go wrong before a decision is made.  A decision itself never raises: a refusal is a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from foundation.errors import PrivySealError


class PolicyError(PrivySealError):
    """Base of this package's errors; never raised itself."""

    code = "policy"


RejectionCause = Literal[
    "unreadable",
    "faults",
    "lint",
    "cases_missing",
    "cases_failed",
    "approval_missing",
    "approval_invalid",
    "approval_under_signed",
    "approval_expired",
    "approval_for_other_content",
    "approval_superseded",
    "internal",
]
"""Why a policy may not be put in force: it cannot be read, is wrong in itself, or operators did not approve it."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong in a policy file, and where.  Line and column count from 1."""

    file: str
    line: int
    column: int
    message: str
    rule: str = field(default="L20", kw_only=True)
    """The lint rule that it breaks (``docs/policy-lint.md``); L20 is the grammar itself."""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        # A file may hold escape sequences that would act on the terminal of whoever checks it.
        return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


class PolicyLoadError(PolicyError):
    """The file cannot be used; ``faults`` has everything that is wrong with it, in the order of the file."""

    code = "policy_unusable"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class PolicyRejected(PolicyError):
    """A policy may not be put in force.  ``cause`` is for logs, audit and health; ``faults`` says where to look."""

    code = "policy_rejected"

    def __init__(self, cause: RejectionCause, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.cause: RejectionCause = cause
        self.faults = faults


class EvidenceInvalid(PolicyError):
    """An evidence record, in memory or as JSON, does not have the form of one."""

    code = "evidence_invalid"


class FactsInvalid(PolicyError):
    """The facts given to an evaluation contradict their own form (a naive time, a negative ``max_age``)."""

    code = "facts_invalid"


class RequestedContextInvalid(PolicyError):
    """A requested authentication context does not have the form of one (SAML core 3.3.2.2.1)."""

    code = "requested_context_invalid"


class RecordInvalid(PolicyError):
    """A recorded decision does not have the form of one, so it cannot be replayed."""

    code = "record_invalid"


class LayoutRefused(PolicyError):
    """A file cannot be laid out without changing what it says or losing a comment."""

    code = "layout_refused"
