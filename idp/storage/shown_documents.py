"""Documents that were fetched for an approval, while it is open: encrypted, bounded, and gone with it.

They are in the database so that whichever process or node a browser's next request comes to has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    insert,
    select,
)

from idp.errors import BoxBroken
from idp.storage.models import metadata

shown_documents: Final = Table(
    "shown_documents",
    metadata,
    Column("interaction_id", String(64), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    # What is known of it, and its octets: boxes of AES-256-GCM, as in idp.storage.boxes, but binary.
    Column("about", LargeBinary, nullable=False),
    Column("content", LargeBinary),
    Column("octets", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
_D: Final = shown_documents.c
_KEY: Final = "shown documents"
_NONCE_OCTETS: Final = 12


@dataclass(frozen=True, slots=True)
class Keys:
    """What boxes are closed and opened with."""

    secret: Callable[[str], bytes]
    """Derives 32 octets for a purpose, as :meth:`idp.storage.keys.KeyStore.secret` does."""
    random: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Place:
    """A document's place: its digest's position among those of the interaction, from 0."""

    interaction_id: str
    position: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A document, or why there is none."""

    about: Mapping[str, Any]
    """JSON: what is known of it."""
    content: bytes | None
    expires_at: int
    """Seconds since the epoch."""


def put(connection: Connection, keys: Keys, place: Place, kept: Kept) -> None:
    """Keep a document, in the place of what was there."""
    connection.execute(delete(shown_documents).where(_at(place)))
    connection.execute(
        insert(shown_documents).values(
            interaction_id=place.interaction_id,
            position=place.position,
            about=_close(keys, place, "about", json.dumps(kept.about).encode()),
            content=None if kept.content is None else _close(keys, place, "content", kept.content),
            octets=0 if kept.content is None else len(kept.content),
            expires_at=kept.expires_at,
        )
    )


def of_interaction(connection: Connection, keys: Keys, interaction_id: str) -> dict[int, dict[str, Any]]:
    """What is known of an interaction's documents, by position.

    :raises BoxBroken: a row is not as it was written.
    """
    rows = connection.execute(select(_D.position, _D.about).where(_D.interaction_id == interaction_id)).all()
    return {
        row.position: json.loads(_unlock(keys, Place(interaction_id, row.position), "about", row.about)) for row in rows
    }


def content(connection: Connection, keys: Keys, place: Place) -> bytes | None:
    """A document's octets; None if they are not here.

    :raises BoxBroken: the row is not as it was written.
    """
    box = connection.execute(select(_D.content).where(_at(place))).scalar()
    return None if box is None else _unlock(keys, place, "content", box)


def kept_octets(connection: Connection, now: int) -> int:
    """Of all documents that are kept."""
    query = select(func.coalesce(func.sum(_D.octets), 0)).where(_D.expires_at > now)
    return int(connection.execute(query).scalar_one())


def forget(connection: Connection, interaction_id: str) -> None:
    """Its approval has ended."""
    connection.execute(delete(shown_documents).where(_D.interaction_id == interaction_id))


def purge(connection: Connection, now: int) -> None:
    """Forget documents of interactions whose time is over."""
    connection.execute(delete(shown_documents).where(_D.expires_at <= now))


def _at(place: Place) -> ColumnElement[bool]:
    return (_D.interaction_id == place.interaction_id) & (_D.position == place.position)


def _close(keys: Keys, place: Place, column: str, data: bytes) -> bytes:
    nonce = keys.random(_NONCE_OCTETS)
    return nonce + AESGCM(keys.secret(_KEY)).encrypt(nonce, data, _associated(place, column))


def _unlock(keys: Keys, place: Place, column: str, box: bytes) -> bytes:
    try:
        return AESGCM(keys.secret(_KEY)).decrypt(box[:_NONCE_OCTETS], box[_NONCE_OCTETS:], _associated(place, column))
    except (InvalidTag, ValueError) as error:
        raise BoxBroken("a document in the database is not as this program wrote it") from error


def _associated(place: Place, column: str) -> bytes:
    return json.dumps(["privyseal-shown-1", place.interaction_id, place.position, column]).encode()
