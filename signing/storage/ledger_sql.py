"""The ledger's statements about many requests at a time, in SQLite's words and in PostgreSQL's.

Rows come as one parameter, a JSON array of objects: one text that both databases take apart into rows.  Whatever locks
more than one row does so in the order of its key, so that two nodes never wait for each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Final

from signing.storage.rows import COLUMNS

_TEXT: Final = "text"
_NUMBER: Final = "bigint"
_APPROVAL: Final = {"issuer": _TEXT, "txn": _TEXT}
EVER: Final = -(2**62)
"""Before every NumericDate."""


@dataclass(frozen=True, slots=True)
class Statements:
    """Each takes one parameter: rows, or texts, as :func:`rows_parameter` and :func:`texts_parameter` write them."""

    add_approvals: str
    """issuer, txn, allowance -> issuer, txn of those that were not there."""
    lock_approvals: str
    """issuer, txn -> issuer, txn, allowance, live."""
    succeed: str
    """issuer, txn, before, live -> issuer, txn of those whose live SAD was the one before."""
    remove_approvals: str
    """issuer, txn."""
    taken: str
    """issuer, txn -> issuer, txn, position."""
    hold_credentials: str
    """Texts: ids -> the ledger's epoch, the credential's version, and its row; nothing of it changes before the
    commit."""
    revoked: str
    """n, issuer, scope, subject, earliest -> n, of those of whom there is a revocation that late."""
    spent_proofs: str
    """Texts: proofs of possession -> proof, of those that were spent."""
    add_redemptions: str
    add_positions: str
    """issuer, txn, position, redemption_id."""
    add_outcomes: str
    """redemption_id, state, reason, at -> redemption_id of those that had none."""
    outcomes: str
    """Texts: redemption ids -> redemption_id, state."""
    approvals_of: str
    """Texts: redemption ids -> id, issuer, txn."""


def rows_parameter(rows: Iterable[Mapping[str, object]]) -> tuple[str]:
    """Rows, as a statement's parameters."""
    return (json.dumps(list(rows), separators=(",", ":")),)


def texts_parameter(texts: Iterable[str]) -> tuple[str]:
    """Texts, each once, as a statement's parameters."""
    return (json.dumps(sorted(set(texts)), separators=(",", ":")),)


def statements(*, postgresql: bool) -> Statements:
    """In the words of the one or the other."""
    words = _POSTGRESQL if postgresql else _SQLITE
    return Statements(**{each.name: words.put_into(*_TEMPLATES[each.name]) for each in fields(Statements)})


@dataclass(frozen=True, slots=True)
class _Words:
    """Where the two databases differ; what they say for each name with an ``@``."""

    element: str
    """One member of a row; ``{name}`` and ``{kind}`` are its."""
    rows: str
    """The parameter as rows ``r``; ``{members}`` are the elements."""
    texts: str
    """Being one of the parameter's texts."""
    for_update: str
    for_share: str

    def put_into(self, template: str, members: Mapping[str, str]) -> str:
        """The statement."""
        elements = ", ".join(self.element.format(name=name, kind=kind) for name, kind in members.items())
        words = {
            "@rows": self.rows.format(members=elements),
            "@columns": ", ".join(f"c.{name}" for name in COLUMNS),
            "@names": ", ".join(members),
            "@texts": self.texts,
            "@for_update": self.for_update,
            "@for_share": self.for_share,
        }
        for name, word in words.items():
            template = template.replace(name, word)
        return template


_POSTGRESQL: Final = _Words(
    element="{name} {kind}",
    rows="json_to_recordset(CAST(%s AS json)) AS r({members})",
    texts="= ANY (ARRAY(SELECT json_array_elements_text(CAST(%s AS json))))",
    for_update="FOR UPDATE OF a",
    for_share="FOR SHARE",
)
_SQLITE: Final = _Words(
    element="json_extract(value, '$.{name}') AS {name}",
    rows="(SELECT {members} FROM json_each(?)) AS r",
    texts="IN (SELECT value FROM json_each(?))",
    for_update="",
    for_share="",
)
_TEMPLATES: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    # WHERE true keeps SQLite from taking ON CONFLICT for a join's ON.
    "add_approvals": (
        "INSERT INTO approvals (@names) SELECT @names FROM @rows WHERE true ORDER BY issuer, txn"
        " ON CONFLICT DO NOTHING RETURNING issuer, txn",
        {**_APPROVAL, "allowance": _TEXT},
    ),
    "lock_approvals": (
        "SELECT a.issuer, a.txn, a.allowance, a.live FROM @rows"
        " JOIN approvals a ON a.issuer = r.issuer AND a.txn = r.txn ORDER BY a.issuer, a.txn @for_update",
        _APPROVAL,
    ),
    "succeed": (
        "UPDATE approvals SET live = r.live FROM @rows WHERE approvals.issuer = r.issuer AND approvals.txn = r.txn"
        " AND COALESCE(approvals.live, '') = COALESCE(r.before, '') RETURNING approvals.issuer, approvals.txn",
        {**_APPROVAL, "before": _TEXT, "live": _TEXT},
    ),
    "remove_approvals": (
        "DELETE FROM approvals WHERE (issuer, txn) IN (SELECT r.issuer, r.txn FROM @rows)",
        _APPROVAL,
    ),
    "taken": (
        "SELECT p.issuer, p.txn, p.position FROM @rows JOIN positions p ON p.issuer = r.issuer AND p.txn = r.txn",
        _APPROVAL,
    ),
    "hold_credentials": (
        "SELECT s.epoch, c.version, @columns FROM credentials c CROSS JOIN sam_state s WHERE c.id @texts"
        " ORDER BY c.id @for_share",
        {},
    ),
    # A subquery that gives one value is looked up by the index, whatever is known of the table's size.
    "revoked": (
        "SELECT r.n FROM @rows WHERE (SELECT 1 FROM revocations v WHERE v.issuer = r.issuer AND v.scope = r.scope"
        " AND v.subject = r.subject AND v.not_before >= r.earliest LIMIT 1) = 1",
        {"n": _NUMBER, "issuer": _TEXT, "scope": _TEXT, "subject": _TEXT, "earliest": _NUMBER},
    ),
    "spent_proofs": ("SELECT proof FROM redemptions WHERE proof @texts", {}),
    "add_redemptions": (
        "INSERT INTO redemptions (@names) SELECT @names FROM @rows",
        {
            "id": _TEXT,
            "issuer": _TEXT,
            "txn": _TEXT,
            "sad_jti": _TEXT,
            "credential_id": _TEXT,
            "client_id": _TEXT,
            "positions": _TEXT,
            "reserved_at": _NUMBER,
            "proof": _TEXT,
        },
    ),
    "add_positions": (
        "INSERT INTO positions (@names) SELECT @names FROM @rows",
        {**_APPROVAL, "position": _NUMBER, "redemption_id": _TEXT},
    ),
    "add_outcomes": (
        "INSERT INTO outcomes (@names) SELECT @names FROM @rows WHERE true ORDER BY redemption_id"
        " ON CONFLICT DO NOTHING RETURNING redemption_id",
        {"redemption_id": _TEXT, "state": _TEXT, "reason": _TEXT, "at": _NUMBER},
    ),
    "outcomes": ("SELECT redemption_id, state FROM outcomes WHERE redemption_id @texts", {}),
    "approvals_of": ("SELECT id, issuer, txn FROM redemptions WHERE id @texts", {}),
}
