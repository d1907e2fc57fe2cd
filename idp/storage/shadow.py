"""Where a candidate would have decided otherwise than the policy in force; see :mod:`idp.web.shadow`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Column, Connection, Integer, String, Table, func, insert, select

from foundation.clock import epoch, from_epoch
from idp.policy.replay import Cause, Change
from idp.storage.models import decisions, metadata

MAX_DIFFERENCES: Final = 10_000
"""So many are kept of one candidate; what comes after them is only counted and logged."""

policy_differences: Final = Table(
    "policy_differences",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("decision_id", String(64), nullable=False),
    Column("txn", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("client_id", String(255), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("candidate_sha256", String(64), nullable=False, index=True),
    # What a replay of the decision would say as well: kind of change, outcomes, rules.
    Column("kind", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("candidate_outcome", String(16), nullable=False),
    Column("rules", JSON, nullable=False),
    Column("causes", JSON, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A decision that the candidate would have made otherwise."""

    at: datetime
    decision_id: str
    """Finds facts and reasons in the table ``decisions``."""
    txn: str
    action: str
    client_id: str
    sha256: str
    """Of the policy that decided."""
    kind: str
    """See :data:`idp.policy.replay.Kind`."""
    outcome: str
    candidate_outcome: str
    rules: tuple[str, ...]
    """Of the policy in force: those that its reasons rest on."""
    causes: tuple[Cause, ...]
    """Of the candidate: those that bring the difference about."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of the decisions since a candidate is asked."""

    decisions: int
    """How many there were."""
    changed: tuple[tuple[str, str, int], ...]
    """Action, kind of change and how many, the most frequent first."""


def record(connection: Connection, txn: str, sha256: str, candidate_sha256: str, change: Change) -> None:
    """Keep a difference."""
    connection.execute(
        insert(policy_differences).values(
            at=epoch(change.facts.now),
            decision_id=change.decision_id,
            txn=txn,
            action=change.facts.action,
            client_id=change.facts.client_id or "",
            sha256=sha256,
            candidate_sha256=candidate_sha256,
            kind=change.kind,
            outcome=change.before.outcome,
            candidate_outcome=change.after.outcome,
            rules=list(change.before.rules),
            causes=[[cause.rule, cause.file, cause.line] for cause in change.causes],
        )
    )


def count(connection: Connection, candidate_sha256: str) -> int:
    """How many are kept of a candidate."""
    query = select(func.count()).where(policy_differences.c.candidate_sha256 == candidate_sha256)
    return int(connection.execute(query).scalar_one())


def differences(connection: Connection, candidate_sha256: str, limit: int = 100) -> tuple[Difference, ...]:
    """The latest of them, the last one first."""
    table = policy_differences
    query = select(table).where(table.c.candidate_sha256 == candidate_sha256).order_by(table.c.id.desc()).limit(limit)
    return tuple(_difference(row) for row in connection.execute(query))


def summary(connection: Connection, candidate_sha256: str, since: datetime) -> Summary:
    """What would have changed.

    :param since: since when the candidate is asked (:func:`idp.storage.policies.state` of ``shadow``).
    """
    table = policy_differences
    made = select(func.count()).where(decisions.c.at >= epoch(since))
    found = (
        select(table.c.action, table.c.kind, func.count().label("many"))
        .where(table.c.candidate_sha256 == candidate_sha256)
        .group_by(table.c.action, table.c.kind)
    )
    rows: Sequence[Any] = connection.execute(found).all()
    changed = sorted(((row.action, row.kind, row.many) for row in rows), key=lambda item: (-item[2], item))
    return Summary(int(connection.execute(made).scalar_one()), tuple(changed))


def _difference(row: Any) -> Difference:
    return Difference(
        from_epoch(row.at),
        row.decision_id,
        row.txn,
        row.action,
        row.client_id,
        row.sha256,
        row.kind,
        row.outcome,
        row.candidate_outcome,
        tuple(row.rules),
        tuple(Cause(*cause) for cause in row.causes),
    )
