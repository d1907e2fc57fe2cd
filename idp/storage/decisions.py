"""Decisions of the policy, with all that led to them: the other end of a SAD's ``decision_id``.

A row's ``detail`` is the record of :mod:`idp.policy.records`, from which the decision can be replayed.  The audit chain
names each decision with the digest of its record, in the same transaction; so the chain tells which records are to be
believed, and reading them begins there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select

from auditlog.chain import microseconds
from foundation.clock import epoch
from idp.policy.model import Decision, Facts, Policy
from idp.policy.records import digest, to_json
from idp.storage.audit import TABLES
from idp.storage.models import decisions
from idp.storage.statements import Statement

_EVENTS: Final = ("transaction.approved", "transaction.refused")
_PAGE: Final = 500
_KEEP: Final = Statement(insert(decisions))


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The audit chain and the table do not say the same."""

    decision_id: str
    text: str


def record(
    connection: Connection,
    *,
    decision_id: str,
    txn: str,
    account_id: str,
    policy: Policy,
    facts: Facts,
    decision: Decision,
) -> str:
    """Keep a decision; returns the digest of its record, for the audit chain."""
    detail = to_json(
        decision_id=decision_id, txn=txn, account_id=account_id, policy=policy, facts=facts, decision=decision
    )
    values = {
        "id": decision_id,
        "at": epoch(facts.now),
        "txn": txn,
        "account_id": account_id,
        "client_id": facts.client_id or "",
        "action": facts.action,
        "effect": decision.outcome,
        "policy_name": policy.name,
        "policy_sha256": policy.sha256,
        "detail": detail,
    }
    _KEEP.put_off(connection, values)
    return digest(detail)


def audited(
    connection: Connection,
    *,
    since: datetime | None = None,
    limit: int | None = None,
    disagrees: Callable[[Disagreement], None],
) -> Iterator[Mapping[str, Any]]:
    """The records that the audit chain names, the newest first, read in pages.

    The chain's own hashes are not checked here: ``privyseal audit verify`` does that.

    :param disagrees: told of each decision of the chain that the table lacks or has otherwise, which is left out; and,
        where everything was read, of how many decisions the table has that the chain does not name.
    """
    # One statement, so that both are of one moment.
    last, rows = connection.execute(
        select(
            select(func.coalesce(func.max(TABLES.entries.c.sequence), -1)).scalar_subquery(),
            select(func.count()).select_from(decisions).scalar_subquery(),
        )
    ).one()
    found = given = 0
    for page in _pages(connection, last, since):
        kept = _kept(connection, [named["decision_id"] for named in page])
        found += len(kept)
        for named in page:
            decision_id = named["decision_id"]
            text = _disagreement(named, kept.get(decision_id))
            if text is not None:
                disagrees(Disagreement(decision_id, text))
                continue
            if limit is not None and given == limit:
                return
            given += 1
            yield kept[decision_id]
    if since is None and rows > found:
        disagrees(Disagreement("", f"the table has {rows - found} decisions that the audit chain does not name"))


def _pages(connection: Connection, last: int, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
    """Fields of the chain's entries that name a decision, the newest first."""
    entries = TABLES.entries.c
    query = select(entries.sequence, entries.fields).where(entries.event.in_(_EVENTS))
    if since is not None:
        query = query.where(entries.at >= microseconds(since))
    before = last + 1
    while True:
        page = connection.execute(
            query.where(entries.sequence < before).order_by(entries.sequence.desc()).limit(_PAGE)
        ).all()
        fields = (json.loads(row.fields) for row in page)
        yield [named for named in fields if "decision_id" in named]
        if len(page) < _PAGE:
            return
        before = page[-1].sequence


def _kept(connection: Connection, ids: list[str]) -> dict[str, Mapping[str, Any]]:
    rows = connection.execute(select(decisions.c.id, decisions.c.detail).where(decisions.c.id.in_(ids)))
    return {row.id: row.detail for row in rows}


def _disagreement(named: Mapping[str, Any], kept: Mapping[str, Any] | None) -> str | None:
    """What is wrong with a record, by the chain; its digest covers everything in it."""
    if kept is None:
        return "the audit chain names this decision, and the table does not have it"
    if digest(kept) != named.get("decision_sha256"):
        return "the table's record is not the one that the audit chain names"
    return None
