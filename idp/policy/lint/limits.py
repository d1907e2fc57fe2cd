"""Limits of factors and of sessions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from idp.policy import wording
from idp.policy.evidence import MIN_LENGTH_ALONE, SELF
from idp.policy.lint.deployment import NOTHING_KNOWN
from idp.policy.lint.frameworks import (
    LONE_PASSWORD,
    SESSION_LIMITS,
    SHORT_PASSWORD,
    SessionLimit,
    clauses,
    clauses_of,
)
from idp.policy.lint.model import Hit, LintRule, Severity
from idp.policy.lint.offers import Candidate
from idp.policy.lint.subject import Subject
from idp.policy.model import Level, Policy

MAX_LIFETIME: Final = 600
"""Seconds that a code may live."""
MAX_STEP: Final = 120
"""Seconds after which a code of time changes; RFC 6238 5.2 recommends 30."""
MAX_FAILURES: Final = 100
"""In a row."""
MIN_LENGTH: Final = 8
"""Characters of a password beside another factor."""

_LIFETIME: Final = ("NIST SP 800-63B-3, 5.1.3.2", "NIST SP 800-63B-4, 3.1.3.2")
_STEP: Final = ("NIST SP 800-63B-3, 5.1.4.1", "NIST SP 800-63B-4, 3.1.4.1", "RFC 6238 5.2")
_FAILURES: Final = ("NIST SP 800-63B-3, 5.2.2", "NIST SP 800-63B-4, 3.2.2")


def lasting_codes(subject: Subject) -> Iterator[Hit]:
    """L7: a code that lives too long."""
    for limits in subject.policy.factors.values():
        if limits.lifetime is not None and limits.lifetime > MAX_LIFETIME:
            message = f"a code of {limits.factor} lives {wording.duration(limits.lifetime)}; 10 min is the most"
            yield Hit(limits.where, message, "; ".join(_LIFETIME), "write 'lifetime: 10m' or less")
        if limits.step is not None and limits.step > MAX_STEP:
            message = f"a code of {limits.factor} changes every {wording.duration(limits.step)}; 2 min is the most"
            yield Hit(limits.where, message, "; ".join(_STEP), "write 'step: 30s'")


def many_failures(subject: Subject) -> Iterator[Hit]:
    """L8: more failures than may be, or a count that a new message clears."""
    for limits in subject.policy.factors.values():
        if limits.max_failures is not None and limits.max_failures > MAX_FAILURES:
            message = f"{limits.factor} may fail {limits.max_failures} times in a row; {MAX_FAILURES} is the most"
            yield Hit(limits.where, message)
        if limits.reset_on_resend:
            message = f"a new message clears the count of failures of {limits.factor}, so there is no limit to guessing"
            yield Hit(limits.where, message, _FAILURES[1], "leave reset_on_resend out")


def long_sessions(subject: Subject) -> Iterator[Hit]:
    """L9: a session, or a pause in one, longer than the revision says."""
    for level in subject.policy.levels:
        claims = subject.claims(level)
        applying = {(item.demand.framework, item.what): item for item in SESSION_LIMITS if item.demand.claim in claims}
        for item in applying.values():
            yield from _judged(level, item)


def _judged(level: Level, item: SessionLimit) -> Iterator[Hit]:
    value = level.session_limit if item.what == "session_limit" else level.idle_limit
    if value is not None and value <= item.seconds:
        return
    most = wording.duration(item.seconds)
    limit = f"it {'shall' if item.shall else 'should'} be no more than {most}"
    if value is None and item.must_exist and not item.shall:
        limit = f"there shall be one, and {limit}"
    has = f"has no {item.what}" if value is None else f"has {item.what} {wording.duration(value)}"
    message = f"level '{level.name}' claims {item.demand} and {has}; {limit}"
    strict = item.must_exist if value is None else item.shall
    severity: Severity = "error" if strict else "warning"
    yield Hit(level.where, message, item.demand.clause, f"write '{item.what}: {_written(item.seconds)}'", severity)


def _written(seconds: int) -> str:
    """A duration as a file has it."""
    return wording.duration(seconds).replace(" min", "m").replace(" ", "")


def short_passwords(subject: Subject) -> Iterator[Hit]:
    """L10: a password that is shorter than the revision says for where it stands."""
    limits = subject.policy.factors.get("password")
    length = None if limits is None else limits.min_length
    too_short = tuple(_lone_passwords(subject, length))
    if limits is None or length is None:
        yield from too_short
    elif too_short:
        yield replace(too_short[0], where=limits.where)
    elif length < MIN_LENGTH:
        yield from (replace(hit, where=limits.where) for hit in _passwords(subject, length))


def lone_password(policy: Policy) -> bool:
    """Whether some level that claims revision 4 is reached by a password alone."""
    return any(_lone_passwords(Subject(policy, NOTHING_KNOWN), None))


def _lone_passwords(subject: Subject, length: int | None) -> Iterator[Hit]:
    if length is not None and length >= MIN_LENGTH_ALONE:
        return
    has = "the file does not say how long it is" if length is None else f"{length} characters are enough for it"
    for level, demands in subject.demanding(LONE_PASSWORD):
        for alternative in subject.alternatives(level):
            if subject.can_be_met(alternative, _is_password):
                message = f"{subject.claimed(level, demands)}, and its password stands alone; {has}"
                advice = f"write 'min_length: {MIN_LENGTH_ALONE}' under factors, password"
                yield Hit(alternative.needed.where, message, clauses(demands), advice)


def _passwords(subject: Subject, length: int) -> Iterator[Hit]:
    """The first level that a password helps to reach."""
    for level, demands in subject.demanding(SHORT_PASSWORD):
        columns = (column for alternative in subject.alternatives(level) for column in subject.columns(alternative))
        if any(_is_password(item) for column in columns for item in column):
            message = f"{subject.claimed(level, demands)}; {length} characters are too few for its password"
            yield Hit(level.where, message, clauses(demands))
            return


def _is_password(item: Candidate) -> bool:
    return item.offer.factor == "password" and item.offer.issuer == SELF


RULES: Final = (
    LintRule(
        id="L7",
        title="A code that lives too long",
        why="The longer a code is good for, the longer it can be guessed, or used by whoever got hold of it.",
        clauses=(*_LIFETIME, *_STEP),
        severity="error",
        advice="write 'lifetime: 10m' or less, 'step: 30s'",
        check=lasting_codes,
    ),
    LintRule(
        id="L8",
        title="Guessing without an end",
        why="A short code is as strong as the number of guesses is small.",
        clauses=_FAILURES,
        severity="error",
        advice=f"write 'max_failures: {MAX_FAILURES}' or less",
        check=many_failures,
    ),
    LintRule(
        id="L9",
        title="A session longer than the revision says",
        why="An unattended browser is somebody else's. Revision 3 sets limits for AAL2 that must be kept; revision 4 "
        "asks for a limit there and advises which.",
        clauses=clauses_of(tuple(item.demand for item in SESSION_LIMITS)),
        severity="error",
        advice="write session_limit and idle_limit as the revision says",
        check=long_sessions,
    ),
    LintRule(
        id="L10",
        title="A password that is too short",
        why="A password that stands alone is all that is to be guessed; 15 characters hold out where 8 do not.",
        clauses=clauses_of(SHORT_PASSWORD),
        severity="error",
        advice=f"write 'min_length: {MIN_LENGTH}' or more under factors, password; {MIN_LENGTH_ALONE} where it stands "
        "alone in revision 4",
        check=short_passwords,
    ),
)
