"""The policy in force: its text with everything that is known about each line, its cases, and what was before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flask import abort, request
from werkzeug.wrappers import Response

from idp.policy.cases import CaseReport, parse_cases, run_cases
from idp.policy.diff import Difference, differences
from idp.policy.errors import PolicyLoadError
from idp.policy.lint import Deployment, Finding, lint
from idp.policy.load import parse_policy
from idp.policy.model import Policy
from idp.storage import clients, policies
from idp.storage.engine import reading
from idp.storage.policies import HistoryEntry, State, StoredVersion
from idp.web.admin import difference, source, words
from idp.web.admin.guard import blueprint, page
from idp.web.admin.source import Note
from idp.web.services import services


@dataclass(frozen=True, slots=True)
class InForce:
    """The policy that decides, with what the database knows of it."""

    policy: Policy
    text: str | None
    """None: neither the database nor the file has it."""
    state: State | None
    findings: tuple[Finding, ...]
    cases: bytes | None
    """Of the file of its cases; None: it has none."""
    report: CaseReport | None


def in_force() -> InForce:
    """The policy in force, linted, and tried on its cases."""
    policy, prepared = services().view.policy, services().view.prepared
    with reading(services().engine) as connection:
        state = policies.state(connection, services().seals, "in_force")
        if state is not None and state.sha256 != policy.sha256:
            state = None
        cases = "" if state is None else state.cases_sha256
        version = policies.by_sha256(connection, policy.sha256, cases or None)
    text = source.text_in_force(policy) if version is None else source.decoded(version.content)
    found = None if version is None else version.cases
    # It was tried on them when it was put in force; the linter also knows the relying parties that came since.
    report = _report(policy, found) if prepared is None else prepared.report
    return InForce(policy, text, state, lint(policy, deployment()), found, report)


def _report(policy: Policy, cases: bytes | None) -> CaseReport | None:
    if cases is None:
        return None
    try:
        return run_cases(policy, parse_cases(cases, f"{policy.name}.test.yaml"))
    except PolicyLoadError:
        # They were read when they were put in force; a later version of this program may refuse them.
        return None


def deployment() -> Deployment:
    """What this deployment offers and its relying parties understand, for the linter."""
    with reading(services().engine) as connection:
        accepted = clients.default_acr_values(connection)
    return Deployment(enabled=services().messaging.factors, clients=accepted)


def notes_of(findings: Iterable[Finding]) -> Mapping[int, list[Note]]:
    """Findings at their lines."""
    notes: dict[int, list[Note]] = {}
    for item in findings:
        text = f"{item.message} ({item.clause})" if item.clause else item.message
        notes.setdefault(item.where.line, []).append(Note(item.severity, text, item.rule, item.advice))
    return notes


@blueprint.get("/policy")
def policy() -> Response:
    """The file in force."""
    found = in_force()
    return page(
        "admin_policy.html",
        found=found,
        policy=found.policy,
        lines=None if found.text is None else source.lines(found.text, notes_of(found.findings)),
        levels=words.level_rows(found.policy),
        rules=words.rule_rows(found.policy),
        troubles=services().policies.troubles,
    )


@blueprint.get("/policy/history")
def policy_history() -> Response:
    """What happened to the policy, the latest first."""
    with reading(services().engine) as connection:
        entries = policies.history(connection)
    return page("admin_history.html", parent="admin.policy", entries=entries, current=services().policy.sha256)


@blueprint.get("/policy/history/<digest>")
def policy_version(digest: str) -> Response:
    """A policy that was in force at some time, and what differs from another one."""
    other = request.args.get("from", "").replace("\0", "")[:64]
    with reading(services().engine) as connection:
        version = policies.by_sha256(connection, digest)
        entries = policies.history(connection)
        former = policies.by_sha256(connection, other or _former(entries, digest))
    if version is None:
        abort(404)
    text = source.decoded(version.content)
    return page(
        "admin_version.html",
        parent="admin.policy",
        version=version,
        lines=source.lines(text, {}),
        former=former,
        changes=None if former is None else _changes(former, version),
        differences=() if former is None else difference.lines(source.decoded(former.content), text),
    )


def _former(entries: Iterable[HistoryEntry], digest: str) -> str:
    """Which policy was in force before that one; empty if none was."""
    order = [entry.sha256 for entry in entries if entry.happening == "in_force"]
    later = order[order.index(digest) + 1 :] if digest in order else []
    return next((item for item in later if item != digest), "")


def _changes(former: StoredVersion, version: StoredVersion) -> tuple[Difference, ...] | None:
    """None: one of them is a file that this version of the program does not read."""
    try:
        return differences(parse_policy(former.content, former.name), parse_policy(version.content, version.name))
    except PolicyLoadError:
        return None
