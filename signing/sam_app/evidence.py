"""The module's part of a signature's evidence: what its chain says of one transaction and of the credential's key."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from auditlog.errors import EvidenceMissing
from auditlog.evidence import Found, part, search, stamped
from signing.sam.credential import Credential
from signing.storage.store import SqlStore
from signing.storage.tables import audit
from signing.storage.transactions import Transactions

_OF_A_CREDENTIAL: Final = "credential."


def evidence(store: SqlStore, txn: str, anchors: Path | None, checkpoint: Callable[[], str | None]) -> dict[str, Any]:
    """The part.

    :param anchors: the anchor process's file; a checkpoint of it that is late enough is used, with its time-stamp.
    :param checkpoint: has a new one signed, where there is none such.
    :raises EvidenceMissing: the chain has nothing of that transaction.
    :raises AuditError: the chain is not whole.
    :raises SamError: the database cannot be read, or no checkpoint is to be had.
    """
    transactions = Transactions(store.engine)
    with transactions.snapshot() as connection:
        mine = list(search(connection, audit.entries, (txn,), lambda found: found.fields.get("txn") == txn))
        if not mine:
            raise EvidenceMissing("the module's audit chain has no record of that transaction")
        names = {str(found.fields["credential_id"]) for found in mine if "credential_id" in found.fields}
        keys = list(search(connection, audit.entries, names, lambda found: _about(found, names))) if names else []
    sequences = {found.sequence for found in (*mine, *keys)}
    anchor = None
    if anchors is not None:
        anchor = stamped(anchors.read_text(encoding="ascii").splitlines(), max(sequences))
    note = checkpoint() if anchor is None else str(anchor["note"])
    if note is None:
        raise EvidenceMissing("there is no checkpoint")
    rows = {name: store.credential(name) for name in sorted(names)}
    attachments = {"credentials": {name: _shown(row.credential) for name, row in rows.items() if row is not None}}
    with transactions.snapshot() as connection:
        made = part(connection, audit, note=note, sequences=sequences, attachments=attachments, anchor=anchor)
    return {**made, "side": "sam", "txn": txn}


def _about(found: Found, names: set[str]) -> bool:
    return found.event.startswith(_OF_A_CREDENTIAL) and found.fields.get("credential_id") in names


def _shown(credential: Credential) -> dict[str, Any]:
    """What records name by its SHA-256: the row itself is nobody's evidence."""
    return {
        "public_key": _text(credential.public_key),
        "certificates": [_text(each) for each in credential.certificates],
        "origin": credential.origin,
        "proof_keys": [_text(each) for each in credential.proof_keys],
    }


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
