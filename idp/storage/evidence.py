"""The identity provider's part of a signature's evidence: who approved it, how they were known, what was decided."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, select

from auditlog.errors import EvidenceMissing
from auditlog.evidence import Found, part, search, stamped
from idp.storage.audit import TABLES
from idp.storage.checkpoints import SIDE, Checkpoints
from idp.storage.engine import reading
from idp.storage.models import decisions

_OF_A_SESSION: Final = frozenset({"login.succeeded", "factor.accepted", "otp.accepted"})
"""What a session has of authentication, also from before the transaction; never from after it, when the same session
may have served other relying parties that are nobody's business here."""


def evidence(engine: Engine, checkpoints: Checkpoints, txn: str, anchors: Path | None, policy: Path) -> dict[str, Any]:
    """The part.

    :param anchors: the anchor process's file; a checkpoint of it that is late enough is used, with its time-stamp.
    :param policy: the policy file; attached where it is the one that decided.
    :raises EvidenceMissing: the chain has nothing of that transaction.
    :raises AuditError: the chain is not whole.
    """
    with reading(engine) as connection:
        mine = list(search(connection, TABLES.entries, (txn,), lambda found: found.fields.get("txn") == txn))
        if not mine:
            raise EvidenceMissing("the identity provider's audit chain has no record of that transaction")
        last = max(found.sequence for found in mine)
        sessions = {str(found.fields["session_id"]) for found in mine if "session_id" in found.fields}

        def earlier(found: Found) -> bool:
            of_it = found.event in _OF_A_SESSION and found.fields.get("session_id") in sessions
            return of_it and found.sequence < last

        known = list(search(connection, TABLES.entries, sessions, earlier)) if sessions else []
        names = sorted({str(found.fields["decision_id"]) for found in mine if "decision_id" in found.fields})
        rows = connection.execute(select(decisions.c.id, decisions.c.detail).where(decisions.c.id.in_(names)))
        made_by = {row.id: row.detail for row in rows}
    sequences = {found.sequence for found in (*mine, *known)}
    anchor = None
    if anchors is not None:
        anchor = stamped(anchors.read_text(encoding="ascii").splitlines(), max(sequences))
    made = None if anchor is not None else checkpoints.make()
    note = str(anchor["note"]) if anchor is not None else "" if made is None else made.note
    hashes = {str(found.fields["policy_sha256"]) for found in mine if "policy_sha256" in found.fields}
    attachments = {"decisions": made_by, "policies": _policies(policy, hashes)}
    with reading(engine) as connection:
        shown = part(connection, TABLES, note=note, sequences=sequences, attachments=attachments, anchor=anchor)
    return {**shown, "side": SIDE, "txn": txn}


def _policies(path: Path, wanted: set[str]) -> dict[str, str]:
    try:
        octets = path.read_bytes()
    except OSError:
        return {}
    sha256 = hashlib.sha256(octets).hexdigest()
    return {sha256: base64.b64encode(octets).decode()} if sha256 in wanted else {}
