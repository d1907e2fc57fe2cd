"""`signatures/signDoc`: whole documents out, signed documents or signatures back (CSC API v2.0.0.2 section 11.11)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .algorithms import HASH_OIDS, Scheme
from .discovery import DETAILS_2_2, ServiceInfo
from .errors import UsageError

LEVELS: Final = ("Ades-B-B", "Ades-B-T", "Ades-B-LT", "Ades-B-LTA")
"""Conformance levels, the plainest first, spelt as in section 11.11."""
_BASIC: Final = {"ades-b": "Ades-B-B"}


@dataclass(frozen=True, slots=True)
class Document:
    """A document to be signed whole."""

    content: bytes = field(repr=False)
    label: str
    """What the person reads when approving: the document's name."""
    signature_format: str = "P"
    """`P` PAdES, `C` CAdES."""
    level: str = LEVELS[0]
    envelope: str | None = None
    """`signed_envelope_property`; None: the format's default."""
    properties: tuple[Mapping[str, Any], ...] = ()
    """Elements of `signed_props`."""
    location: str | None = None
    """Where the authorization server may fetch it, with a token of its own, to show it before the approval."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Other members of the request's element, as they are."""

    def digest(self, hash_name: str) -> bytes:
        """Over the whole document, as it is approved (`hashType` sdr)."""
        return hashlib.new(hash_name, self.content).digest()

    def as_item(self, scheme: Scheme) -> dict[str, Any]:
        """The element of `documents`."""
        item: dict[str, Any] = {
            "document": base64.b64encode(self.content).decode("ascii"),
            "signature_format": self.signature_format,
            "conformance_level": self.level,
            "signAlgo": scheme.sign_algo,
            "hashAlgorithmOID": scheme.hash_oid,
            **self.more,
        }
        if self.envelope is not None:
            item["signed_envelope_property"] = self.envelope
        if scheme.params_base64 is not None:
            item["signAlgoParams"] = scheme.params_base64
        if self.properties:
            item["signed_props"] = [dict(each) for each in self.properties]
        return item


def document_details(
    credential_id: str, documents: Sequence[Document], hash_name: str, service: str
) -> list[dict[str, Any]]:
    """`authorization_details` for documents (CSC API 2.2, where a digest may be over the document itself).

    :param service: base URL of the API where the token shall be used.
    """
    if not documents:
        raise UsageError("there is no document to be approved")
    locations = [each.location for each in documents if each.location is not None]
    if len(locations) not in {0, len(documents)}:
        raise UsageError("all documents have a location, or none")
    shown = [{"uri": each, "method": {"type": "OAuth_20"}} for each in locations]
    digests = [
        {
            "hash": base64.b64encode(each.digest(hash_name)).decode("ascii"),
            "label": each.label,
            "hashType": "sdr",
        }
        for each in documents
    ]
    return [
        {
            "type": DETAILS_2_2,
            "credentialID": credential_id,
            "documentDigests": digests,
            "hashAlgorithmOID": HASH_OIDS[hash_name],
            "locations": [service],
            **({"documentLocations": shown} if shown else {}),
        }
    ]


def levels(info: ServiceInfo) -> tuple[str, ...]:
    """The conformance levels that a service says it reaches, the plainest first; none where it signs no documents."""
    told = info.answer.get("conformance_levels")
    texts = [each.lower() for each in told if isinstance(each, str)] if isinstance(told, list) else []
    found = {_BASIC.get(each, each).lower() for each in texts}
    return tuple(each for each in LEVELS if each.lower() in found)
