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

# Made once: json.dumps makes an encoder for each text.
_COMPACT: Final = json.JSONEncoder(separators=(",", ":")).encode
_TEXT: Final = "text"
_NUMBER: Final = "bigint"
_APPROVAL: Final = {"issuer": _TEXT, "txn": _TEXT}
EVER: Final = -(2**62)
"""Before every NumericDate."""


@dataclass(frozen=True, slots=True)
class Statements:
    """Each takes one parameter: rows, or texts, as :func:`rows_parameter` and :func:`texts_parameter` write them."""

    hold_approvals: str
    """issuer, txn, allowance -> issuer, txn, allowance, whether it was not there, its live SAD; PostgreSQL adds it."""
    add_approvals: str
    """issuer, txn, allowance; on SQLite, after :attr:`hold_approvals`.  Empty on PostgreSQL."""
    succeed: str
    """issuer, txn, before, live.  That the live SAD was the one before is a constraint's to refuse."""
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
    """PostgreSQL adds them to what is undecided."""
    open_redemptions: str
    """Texts: redemption ids -> nothing; on SQLite, after :attr:`add_redemptions`.  Empty on PostgreSQL."""
    add_positions: str
    """issuer, txn, position, redemption_id."""
    add_outcomes: str
    """redemption_id, state, reason, at -> redemption_id of those that had none; PostgreSQL takes them from what is
    undecided."""
    close_redemptions: str
    """Texts: redemption ids -> nothing; on SQLite, after :attr:`add_outcomes`.  Empty on PostgreSQL."""
    outcomes: str
    """Texts: redemption ids -> redemption_id, state."""
    approvals_of: str
    """Texts: redemption ids -> issuer, txn, id."""
    free_positions: str
    """Not rows but issuer, txn, redemption id."""
    made_since: str
    """Not rows but credential id, second -> how many positions were taken after it, and not released."""
    lock_head: str
    """Nothing -> sequence, hash."""
    add_entries: str
    """sequence, at, event, fields, previous, hash."""
    move_head: str
    """Not rows but sequence before, sequence and hash after.  That it was not before is a constraint's to refuse."""


def rows_parameter(rows: Iterable[Mapping[str, object]]) -> tuple[str]:
    """Rows, as a statement's parameters."""
    return (_COMPACT(list(rows)),)


def texts_parameter(texts: Iterable[str]) -> tuple[str]:
    """Texts, each once, as a statement's parameters."""
    return (_COMPACT(sorted(set(texts))),)


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
    hold: str
    """Of :attr:`Statements.hold_approvals`."""
    add: str
    """Of :attr:`Statements.add_approvals`."""
    open: str
    """Of :attr:`Statements.open_redemptions`."""
    close: str
    """Of :attr:`Statements.close_redemptions`."""
    opening: str
    """Of :attr:`Statements.add_redemptions`, with what it adds in ``{added}``."""
    closing: str
    """Of :attr:`Statements.add_outcomes`, with what it adds in ``{added}``."""
    value: str
    """The place of a parameter, before its number."""

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
            "@hold": self.hold,
            "@add": self.add,
            "@open": self.open,
            "@close": self.close,
            "@redeem": self.opening.format(added=_ADD_REDEMPTIONS),
            "@conclude": self.closing.format(added=_ADD_OUTCOMES),
            "@value": self.value,
        }
        while "@" in template:
            for name, word in words.items():
                template = template.replace(name, word)
        return template


_ADD_REDEMPTIONS: Final = "INSERT INTO redemptions (@names) SELECT @names FROM @rows"
_ADD_OUTCOMES: Final = (
    "INSERT INTO outcomes (@names) SELECT @names FROM @rows WHERE true ORDER BY redemption_id"
    " ON CONFLICT DO NOTHING RETURNING redemption_id"
)
_POSTGRESQL: Final = _Words(
    element="{name} {kind}",
    rows="json_to_recordset(CAST($1 AS json)) AS r({members})",
    texts="= ANY (ARRAY(SELECT json_array_elements_text(CAST($1 AS json))))",
    for_update="FOR UPDATE",
    for_share="FOR SHARE",
    # The row is locked whether it was there or not; where it was, it is put there again as it is.
    hold=(
        "INSERT INTO approvals AS a (@names) SELECT @names FROM @rows ORDER BY issuer, txn"
        " ON CONFLICT (issuer, txn) DO UPDATE SET allowance = a.allowance"
        " RETURNING a.issuer, a.txn, a.allowance, a.xmax = 0, a.live"
    ),
    add="",
    open="",
    close="",
    opening="WITH added AS ({added} RETURNING id) INSERT INTO undecided (redemption_id) SELECT id FROM added",
    # What waits for another transaction's outcome has waited before it looks for the rows to remove.
    closing=(
        "WITH added AS ({added}), closed AS"
        " (DELETE FROM undecided WHERE redemption_id = ANY (ARRAY(SELECT redemption_id FROM added)))"
        " SELECT redemption_id FROM added"
    ),
    value="$",
)
_SQLITE: Final = _Words(
    element="json_extract(value, '$.{name}') AS {name}",
    rows="(SELECT {members} FROM json_each(?)) AS r",
    texts="IN (SELECT value FROM json_each(?))",
    for_update="",
    for_share="",
    hold=(
        "SELECT r.issuer, r.txn, coalesce(a.allowance, r.allowance), a.allowance IS NULL, a.live FROM @rows"
        " LEFT JOIN approvals a ON a.issuer = r.issuer AND a.txn = r.txn"
    ),
    open="INSERT INTO undecided (redemption_id) SELECT value FROM json_each(?)",
    close="DELETE FROM undecided WHERE redemption_id @texts",
    opening="{added}",
    closing="{added}",
    # WHERE true keeps SQLite from taking ON CONFLICT for a join's ON.
    add="INSERT INTO approvals (@names) SELECT @names FROM @rows WHERE true ON CONFLICT DO NOTHING",
    value="?",
)
_TEMPLATES: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "hold_approvals": ("@hold", {**_APPROVAL, "allowance": _TEXT}),
    "add_approvals": ("@add", {**_APPROVAL, "allowance": _TEXT}),
    "succeed": (
        "UPDATE approvals SET live = r.live, allowance = CASE"
        " WHEN COALESCE(approvals.live, '') = COALESCE(r.before, '') THEN approvals.allowance END"
        " FROM @rows WHERE approvals.issuer = r.issuer AND approvals.txn = r.txn",
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
        "@redeem",
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
    "open_redemptions": ("@open", {}),
    "add_positions": (
        "INSERT INTO positions (@names) SELECT @names FROM @rows",
        {**_APPROVAL, "position": _NUMBER, "redemption_id": _TEXT},
    ),
    "add_outcomes": (
        "@conclude",
        {"redemption_id": _TEXT, "state": _TEXT, "reason": _TEXT, "at": _NUMBER},
    ),
    "close_redemptions": ("@close", {}),
    "outcomes": ("SELECT redemption_id, state FROM outcomes WHERE redemption_id @texts", {}),
    "approvals_of": ("SELECT issuer, txn, id FROM redemptions WHERE id @texts", {}),
    "free_positions": (
        "DELETE FROM positions WHERE issuer = @value1 AND txn = @value2 AND redemption_id = @value3",
        {},
    ),
    "made_since": (
        "SELECT count(*) FROM redemptions r JOIN positions p"
        " ON p.issuer = r.issuer AND p.txn = r.txn AND p.redemption_id = r.id"
        " WHERE r.credential_id = @value1 AND r.reserved_at > @value2",
        {},
    ),
    "lock_head": ("SELECT sequence, hash FROM audit_head WHERE id = 1 @for_update", {}),
    "add_entries": (
        "INSERT INTO audit_entries (@names) SELECT @names FROM @rows",
        {"sequence": _NUMBER, "at": _NUMBER, "event": _TEXT, "fields": _TEXT, "previous": _TEXT, "hash": _TEXT},
    ),
    "move_head": (
        "UPDATE audit_head SET sequence = CASE WHEN sequence = @value1 THEN CAST(@value2 AS bigint) END, hash = @value3"
        " WHERE id = 1",
        {},
    ),
}
