"""Signatures that the module made and that could not be finished: the same request, sent again, finishes them.

A stamp or a word about a certificate may not be to be had just after the SAD was spent.  The values are not lost then:
they are kept here, in the memory of this process, at most until the SAD expires.  A later request need not wish for the
same level: one that is content with a lower one gets that.

Jobs have what was made for them in their own rows instead (:mod:`signing.csc.work`), in the form that is written here.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from foundation.jose import decode_base64url, encode_base64url
from signing.ades.pades import PreparedPdf
from signing.csc.document_assembly import Prepared, Signed
from signing.csc.document_requests import Wish
from signing.link.documents import SignedDocument

_MOST_OCTETS: Final = 16 * 1024 * 1024
_NOT_NAMED: Final = frozenset({"conformance_level", "allow_lower_level", "document"})
"""What is of the level, and what is known by its digest."""
_OF_THE_CARRIER: Final = frozenset({"SAD", "lang", "clientData"})


@dataclass(frozen=True, slots=True)
class _Part:
    """What cannot be made again of one signature: the document and the wish come again with the request."""

    document: SignedDocument
    revision: PreparedPdf | None
    """Of a PDF, the last revision alone."""

    @property
    def octets(self) -> int:
        """About how many."""
        own = len(self.document.tbs) + len(self.document.value)
        return own if self.revision is None else own + len(self.revision.octets)


@dataclass(frozen=True, slots=True)
class _Kept:
    parts: tuple[_Part, ...] = field(repr=False)
    until: int

    @property
    def octets(self) -> int:
        """Of all parts."""
        return sum(part.octets for part in self.parts)


class Unfinished:
    """Of one process.  Thread-safe."""

    def __init__(self, most_octets: int = _MOST_OCTETS) -> None:
        """:param most_octets: beyond it what was kept first is forgotten: spent, and lost."""
        self._most = most_octets
        self._lock = threading.Lock()
        self._kept: dict[bytes, _Kept] = {}
        self._octets = 0

    def __len__(self) -> int:
        """Requests."""
        with self._lock:
            return len(self._kept)

    def __contains__(self, name: bytes) -> bool:
        """Whether something is kept for a request."""
        with self._lock:
            return name in self._kept

    def keep(self, name: bytes, signed: Sequence[Signed], until: int) -> None:
        """Keep what was made for a request.

        :param name: of :func:`name_of`.
        :param until: NumericDate.
        """
        kept = _Kept(tuple(map(_part, signed)), until)
        with self._lock:
            self._drop(name)
            if kept.octets <= self._most:
                self._kept[name] = kept
                self._octets += kept.octets
                while self._octets > self._most:
                    self._drop(next(iter(self._kept)))

    def of(self, name: bytes, wishes: Sequence[Wish], now: int) -> list[Signed] | None:
        """What was kept for a request, with the levels that are wished now; ``None``: nothing.

        :param now: NumericDate.
        """
        with self._lock:
            for each in [each for each, kept in self._kept.items() if kept.until <= now]:
                self._drop(each)
            kept = self._kept.get(name)
        if kept is None:
            return None
        return [_whole(part, wish) for part, wish in zip(kept.parts, wishes, strict=True)]

    def forget(self, name: bytes) -> None:
        """It is finished."""
        with self._lock:
            self._drop(name)

    def _drop(self, name: bytes) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._octets -= kept.octets


def name_of(sad: str, client_id: str | None, body: Mapping[str, Any], wishes: Sequence[Wish]) -> bytes:
    """What two requests share that are the same but for the levels that they wish for.

    :param client_id: of whoever presented the SAD, where that was another token's.
    :param wishes: of the body; their digests stand for the documents, which are not copied again for it.
    """
    asked = {member: _without_level(value) for member, value in body.items() if member not in _OF_THE_CARRIER}
    digests = [wish.digest.hex() for wish in wishes]
    return hashlib.sha256(json.dumps([sad, client_id, asked, digests], sort_keys=True).encode()).digest()


def _without_level(value: object) -> object:
    if not isinstance(value, list):
        return value
    return [
        {name: each for name, each in item.items() if name not in _NOT_NAMED} if isinstance(item, dict) else item
        for item in value
    ]


def parts_to_json(signed: Sequence[Signed]) -> list[dict[str, Any]]:
    """What cannot be made again of a request's signatures, in its order."""
    return [_part_to_json(_part(each)) for each in signed]


def parts_from_json(value: Sequence[Mapping[str, Any]], wishes: Sequence[Wish]) -> list[Signed]:
    """The same, with the wishes that they were made for.

    :raises MessageInvalid: what is said of one is not what :func:`parts_to_json` gives.
    """
    return [_whole(_part_from_json(each), wish) for each, wish in zip(value, wishes, strict=True)]


def _part_to_json(part: _Part) -> dict[str, Any]:
    pdf = part.revision
    revision = None
    if pdf is not None:
        octets = encode_base64url(pdf.octets)
        revision = {"octets": octets, "approved_octets": pdf.approved_octets, "byte_range": list(pdf.byte_range)}
    return {"document": part.document.to_json(), "revision": revision}


def _part_from_json(value: Mapping[str, Any]) -> _Part:
    kept = value["revision"]
    revision = None
    if kept is not None:
        start, before, after, rest = kept["byte_range"]
        octets = decode_base64url(kept["octets"].encode())
        revision = PreparedPdf(octets, kept["approved_octets"], (start, before, after, rest))
    return _Part(SignedDocument.from_json(value["document"]), revision)


def _part(signed: Signed) -> _Part:
    pdf = signed.prepared.pdf
    return _Part(signed.document, None if pdf is None else replace(pdf, octets=pdf.octets[pdf.approved_octets :]))


def _whole(part: _Part, wish: Wish) -> Signed:
    pdf = part.revision
    if pdf is not None and wish.document is not None:
        pdf = replace(pdf, octets=wish.document + pdf.octets)
    return Signed(Prepared(wish, pdf), part.document)
