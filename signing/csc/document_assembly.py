"""Documents before and after the activation module: what can be signed is prepared, what was signed is assembled.

Knows the formats and their levels (ETSI EN 319 122-1, EN 319 142-1); nothing of who asks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from signing.ades import pades
from signing.ades.cms import SignedByModule, room_for, signed_data
from signing.ades.errors import DocumentNotAcceptable
from signing.ades.pades import PreparedPdf, Stated
from signing.csc import errors
from signing.csc.document_requests import STAMPED, Wish
from signing.csc.stamper import Stamper, TimestampRequest
from signing.link.documents import SignedDocument

_SIGNATURE_OCTETS: Final = 512
"""Of the longest value of a key that is offered."""
_TOKEN_OCTETS: Final = 16 * 1024
"""Of the largest time-stamp token that a PDF has room for."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A wish that can be carried out."""

    wish: Wish
    pdf: PreparedPdf | None = field(default=None, repr=False)


def prepare(wish: Wish, chain: tuple[bytes, ...]) -> Prepared:
    """:raises errors.InvalidRequest: the document cannot be signed as it is wished."""
    if wish.form != "P" or wish.document is None:
        return Prepared(wish)
    try:
        pdf = pades.prepare(
            wish.document,
            chain[0],
            hash_name=wish.hash_name,
            room=_room(wish, chain),
            stated=Stated(wish.reason, wish.location, wish.contact),
            certify=wish.envelope == "Certification",
        )
    except DocumentNotAcceptable as error:
        raise errors.InvalidRequest(errors.NOT_SIGNABLE) from error
    return Prepared(wish, pdf)


def _room(wish: Wish, chain: tuple[bytes, ...]) -> int:
    token = _TOKEN_OCTETS if wish.level == STAMPED else 0
    return room_for(chain, signature_octets=_SIGNATURE_OCTETS, timestamp_octets=token)


def assemble(stamper: Stamper, each: Prepared, signed: SignedDocument, chain: tuple[bytes, ...]) -> bytes:
    """The signed PDF, or the signature.

    :raises errors.TemporarilyUnavailable: no authority gives a stamp.
    """
    by_module, stamp = SignedByModule(signed.tbs, signed.value, chain), None
    if each.wish.level == STAMPED:
        # EN 319 122-1 5.3: over the value's octets.
        stamp = stamper.stamp(TimestampRequest(hashlib.sha256(signed.value).digest(), "sha256", None)).der
    if each.pdf is not None:
        return each.pdf.filled(signed_data(by_module, timestamp=stamp))
    attached = each.wish.document if each.wish.envelope == "Attached" else None
    return signed_data(by_module, content=attached, timestamp=stamp)
