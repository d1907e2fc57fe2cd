"""People's documents.  Every function takes the owner's marks, and finds nothing of anybody else's; but one.

A person's marks are the one by today's key, and those by former ones: what was brought before the key was exchanged is
theirs as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from portal.errors import NoSuchDocument, QuotaReached
from portal.placement import Sheet, packed, unpacked
from portal.settings import LimitSettings
from portal.store.seal import Sealer
from portal.store.tables import contents, documents

_ID: Final = re.compile(r"[0-9a-f]{1,64}\Z", re.ASCII)
Kind = Literal["original", "signed"]
KINDS: Final[tuple[Kind, ...]] = ("original", "signed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a document that was signed."""

    level: str
    """Conformance level, as ``Ades-B-LT``."""
    signer: str
    octets: int


@dataclass(frozen=True, slots=True)
class Document:
    """One document of one person, without its content."""

    id: str
    owner: str
    name: str
    octets: int
    """Of the original."""
    sha256: str
    """Of the original, hexadecimal."""
    brought: int
    until: int
    signed: int | None = None
    """When."""
    outcome: Outcome | None = None
    sheets: tuple[Sheet, ...] = ()
    """Its pages."""
    notes: tuple[str, ...] = ()
    """What is said of it before it is signed: ``active``, ``appearance``."""

    @property
    def signed_name(self) -> str:
        """What the signed document is called."""
        stem = self.name[:-4] if self.name.lower().endswith(".pdf") else self.name
        return f"{stem}-signed.pdf"


def add(
    connection: Connection,
    seal: Sealer,
    limits: LimitSettings,
    document: Document,
    content: bytes,
    *,
    owners: Sequence[str],
) -> None:
    """Keep a new document.  In a transaction that holds the person's sessions (:func:`portal.store.sessions.hold`).

    :param owners: all marks of its person, for the quota.
    :raises QuotaReached: this person may keep no more.
    """
    _check_quota(connection, limits, owners, 1, len(content))
    connection.execute(
        insert(documents).values(
            id=document.id,
            owner=document.owner,
            sealed=_seal(seal, document),
            octets=len(content),
            brought=document.brought,
            until=document.until,
        )
    )
    _keep(connection, seal, document, "original", content)


def everyone_of(connection: Connection, seal: Sealer, owners: Sequence[str], now: int) -> list[Document]:
    """All of a person's documents, the newest first."""
    chosen = select(documents).where(documents.c.owner.in_(owners), documents.c.until > now)
    rows = connection.execute(chosen.order_by(documents.c.brought.desc(), documents.c.id))
    return [_document(seal, row) for row in rows]


def find(connection: Connection, seal: Sealer, owners: Sequence[str], document_id: str, now: int) -> Document:
    """One of a person's documents.

    :raises NoSuchDocument: none, another person's, or expired.
    """
    _check_id(document_id)
    chosen = select(documents).where(
        documents.c.id == document_id, documents.c.owner.in_(owners), documents.c.until > now
    )
    row = connection.execute(chosen).first()
    if row is None:
        raise NoSuchDocument("no such document")
    return _document(seal, row)


def find_any(connection: Connection, seal: Sealer, document_id: str, now: int) -> Document:
    """Whose ever it is: for somebody who has shown that they may know this very document.

    :raises NoSuchDocument: none, or expired.
    """
    _check_id(document_id)
    chosen = select(documents).where(documents.c.id == document_id, documents.c.until > now)
    row = connection.execute(chosen).first()
    if row is None:
        raise NoSuchDocument("no such document")
    return _document(seal, row)


def find_all(
    connection: Connection, seal: Sealer, owners: Sequence[str], ids: Sequence[str], now: int
) -> list[Document]:
    """Several, in the order asked for, each once."""
    return [find(connection, seal, owners, each, now) for each in dict.fromkeys(ids)]


def content_of(connection: Connection, seal: Sealer, document: Document, kind: Kind) -> bytes:
    """:raises NoSuchDocument: it is not signed."""
    chosen = select(contents.c.sealed).where(contents.c.document == document.id, contents.c.kind == kind)
    sealed = connection.scalar(chosen)
    if sealed is None:
        raise NoSuchDocument(f"there is no {kind} content")
    return seal.open(sealed, *about(document.id, document.owner, kind))


def store_signed(
    connection: Connection,
    seal: Sealer,
    document: Document,
    content: bytes,
    *,
    outcome: Outcome,
    now: int,
    until: int,
) -> None:
    """Keep a document's signed form, in the place of an earlier one.

    It is kept whatever the quota: the signature exists, and was paid for with an approval.

    :raises NoSuchDocument: the document was deleted meanwhile.
    """
    after = replace(document, until=until, signed=now, outcome=outcome)
    changed = connection.execute(
        update(documents)
        .where(documents.c.id == document.id, documents.c.owner == document.owner)
        .values(sealed=_seal(seal, after), octets=document.octets + len(content), signed=now, until=until)
    )
    if not changed.rowcount:
        raise NoSuchDocument("the document was deleted while it was being signed")
    connection.execute(delete(contents).where(contents.c.document == document.id, contents.c.kind == "signed"))
    _keep(connection, seal, after, "signed", content)


def remove(connection: Connection, owners: Sequence[str], document_id: str) -> None:
    """:raises NoSuchDocument: none, or another person's."""
    mine = select(documents.c.id).where(documents.c.id == document_id, documents.c.owner.in_(owners))
    connection.execute(delete(contents).where(contents.c.document.in_(mine)))
    its = (documents.c.id == document_id, documents.c.owner.in_(owners))
    gone = connection.execute(delete(documents).where(*its))
    if not gone.rowcount:
        raise NoSuchDocument("no such document")


def purge(connection: Connection, now: int) -> int:
    """Delete what has expired; how many documents."""
    expired = select(documents.c.id).where(documents.c.until <= now)
    connection.execute(delete(contents).where(contents.c.document.in_(expired)))
    return connection.execute(delete(documents).where(documents.c.until <= now)).rowcount


def _check_id(document_id: str) -> None:
    """What has never been an identifier is not looked up: PostgreSQL has no text with a NUL."""
    if not _ID.match(document_id):
        raise NoSuchDocument("no such document")


def _check_quota(
    connection: Connection, limits: LimitSettings, owners: Sequence[str], count: int, octets: int
) -> None:
    asked = select(func.count(), func.coalesce(func.sum(documents.c.octets), 0)).where(documents.c.owner.in_(owners))
    there, used = connection.execute(asked).one()
    if there + count > limits.documents or int(used) + octets > limits.octets:
        raise QuotaReached("this person keeps as much as one person may")


def _keep(connection: Connection, seal: Sealer, document: Document, kind: Kind, content: bytes) -> None:
    sealed = seal.seal(content, *about(document.id, document.owner, kind))
    connection.execute(insert(contents).values(document=document.id, kind=kind, sealed=sealed))


def about(document_id: str, owner: str, kind: str) -> tuple[str, ...]:
    """What a sealed value of a document's is about.

    :param kind: of the content; or ``description``.
    """
    return ("document", document_id, owner, kind)


def _seal(seal: Sealer, document: Document) -> bytes:
    value = {
        "name": document.name,
        "octets": document.octets,
        "sha256": document.sha256,
        "outcome": None if document.outcome is None else asdict(document.outcome),
        "sheets": packed(document.sheets),
        "notes": document.notes,
    }
    return seal.seal_json(value, *about(document.id, document.owner, "description"))


def _document(seal: Sealer, row: Row[Any]) -> Document:
    value = seal.open_json(row.sealed, *about(row.id, row.owner, "description"))
    outcome = None if value["outcome"] is None else Outcome(**value["outcome"])
    return Document(
        id=row.id,
        owner=row.owner,
        name=value["name"],
        octets=value["octets"],
        sha256=value["sha256"],
        brought=row.brought,
        until=row.until,
        signed=row.signed,
        outcome=outcome,
        sheets=unpacked(value["sheets"]),
        notes=tuple(value["notes"]),
    )
