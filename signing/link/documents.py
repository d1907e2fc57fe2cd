"""Requests for documents' signatures, and answers, as dataclasses with their JSON; as strict as :mod:`messages`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from foundation import claims as read
from foundation.dpop import MAX_PROOF_OCTETS
from foundation.errors import JoseError
from foundation.jose import encode_base64url
from signing.link.errors import MessageInvalid
from signing.link.messages import (
    MAX_DIGESTS_IN_REQUEST,
    MAX_ITEM_CHARACTERS,
    MAX_OID_CHARACTERS,
    MAX_PARAMETERS_CHARACTERS,
    MAX_TOKEN_CHARACTERS,
    credential_id,
    octets,
    optional_octets,
    optional_text,
)

MAX_TBS_CHARACTERS: Final = 512 * 1024
"""Of what was built for one signature, in base64url: SignedInfo with a hundred references, and room to spare."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and with which algorithm: what all these requests have."""

    sad: str = field(repr=False)
    client_id: str | None
    credential_id: str
    hash_alg: str | None
    sign_algo: str
    sign_algo_params: bytes | None = None
    dpop: str | None = field(default=None, repr=False)
    certificate: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The members."""
        return {
            "sad": self.sad,
            "client_id": self.client_id,
            "credential_id": self.credential_id,
            "hash_alg": self.hash_alg,
            "sign_algo": self.sign_algo,
            "sign_algo_params": _optional_to_json(self.sign_algo_params),
            "dpop": self.dpop,
            "certificate": self.certificate,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Asker:
        """:raises MessageInvalid, JoseError: a member has not its form."""
        read.check_members(value, cls.__slots__)
        return cls(
            sad=read.text(value, "sad", max_length=MAX_TOKEN_CHARACTERS),
            client_id=optional_text(value, "client_id", 255),
            credential_id=credential_id(value),
            hash_alg=optional_text(value, "hash_alg", MAX_OID_CHARACTERS),
            sign_algo=read.text(value, "sign_algo", max_length=MAX_OID_CHARACTERS),
            sign_algo_params=optional_octets(value, "sign_algo_params", MAX_PARAMETERS_CHARACTERS),
            dpop=optional_text(value, "dpop", MAX_PROOF_OCTETS),
            certificate=optional_text(value, "certificate", 43),
        )


@dataclass(frozen=True, slots=True)
class SignDocumentsRequest:
    """Signatures wanted over documents whose digests a SAD of ``hash_type`` "sdr" authorises."""

    asker: Asker
    templates: tuple[Mapping[str, Any], ...]
    """What to build, one a signature, in the forms of ``docs/signing.md``; only the module reads them."""

    def to_json(self) -> dict[str, Any]:
        """The request's members."""
        return {"asker": self.asker.to_json(), "templates": [dict(template) for template in self.templates]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SignDocumentsRequest:
        """:raises MessageInvalid: not such a request."""
        try:
            read.check_members(value, cls.__slots__)
            asker = Asker.from_json(read.mapping(value, "asker"))
            return cls(asker, _objects(value, "templates", MAX_DIGESTS_IN_REQUEST))
        except JoseError as error:
            raise MessageInvalid("not a request for documents' signatures") from error


@dataclass(frozen=True, slots=True)
class SignPdfsRequest:
    """Signatures wanted over PDFs, whose octets follow the request one after another: so many as their ranges say.

    With them, under the same redemption and the same proof, those over other documents.
    """

    asker: Asker
    pdfs: tuple[Mapping[str, Any], ...]
    """Of each ``document``, ``approved_octets``, ``byte_range``; only the module reads them, and what follows."""
    commitment: str | None = None
    """Of the PDFs, as ``policy``."""
    policy: Mapping[str, Any] | None = None
    templates: tuple[Mapping[str, Any], ...] = ()
    """As in :class:`SignDocumentsRequest`."""

    def to_json(self) -> dict[str, Any]:
        """The request's members."""
        return {
            "asker": self.asker.to_json(),
            "pdfs": [dict(pdf) for pdf in self.pdfs],
            "commitment": self.commitment,
            "policy": None if self.policy is None else dict(self.policy),
            "templates": [dict(template) for template in self.templates],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SignPdfsRequest:
        """:raises MessageInvalid: not such a request."""
        try:
            read.check_members(value, cls.__slots__)
            return cls(
                asker=Asker.from_json(read.mapping(value, "asker")),
                pdfs=_objects(value, "pdfs", MAX_DIGESTS_IN_REQUEST),
                commitment=optional_text(value, "commitment", 64),
                policy=None if value["policy"] is None else read.mapping(value, "policy"),
                templates=_objects(value, "templates", MAX_DIGESTS_IN_REQUEST),
            )
        except JoseError as error:
            raise MessageInvalid("not a request for PDFs' signatures") from error


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """One signature over documents, with what was signed."""

    value: bytes
    tbs: bytes
    """SignedAttributes (DER, SET OF), canonical SignedInfo, or JWS signing input."""
    signed_properties: bytes | None
    """XAdES: the canonical SignedProperties."""
    manifest: bytes | None = None
    """ASiC-E with CAdES: the manifest."""

    def to_json(self) -> dict[str, Any]:
        """The members."""
        return {
            "value": encode_base64url(self.value),
            "tbs": encode_base64url(self.tbs),
            "signed_properties": _optional_to_json(self.signed_properties),
            "manifest": _optional_to_json(self.manifest),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SignedDocument:
        """:raises MessageInvalid: not such an answer."""
        try:
            read.check_members(value, cls.__slots__)
            return cls(
                value=octets(value, "value", MAX_ITEM_CHARACTERS),
                tbs=octets(value, "tbs", MAX_TBS_CHARACTERS),
                signed_properties=optional_octets(value, "signed_properties", MAX_TBS_CHARACTERS),
                manifest=optional_octets(value, "manifest", MAX_TBS_CHARACTERS),
            )
        except JoseError as error:
            raise MessageInvalid("not a document's signature") from error


def documents_from_json(answer: Mapping[str, Any]) -> tuple[SignedDocument, ...]:
    """The answer to :class:`SignDocumentsRequest` and :class:`SignPdfsRequest`: there the PDFs' come first.

    :raises MessageInvalid: anything else.
    """
    try:
        read.check_members(answer, {"signatures"})
        return tuple(map(SignedDocument.from_json, _objects(answer, "signatures", MAX_DIGESTS_IN_REQUEST)))
    except JoseError as error:
        raise MessageInvalid("not an answer with signatures") from error


def _optional_to_json(octets: bytes | None) -> str | None:
    return None if octets is None else encode_base64url(octets)


def _objects(value: Mapping[str, Any], name: str, max_items: int) -> tuple[Mapping[str, Any], ...]:
    items = value[name]
    if not isinstance(items, list) or len(items) > max_items or not all(isinstance(item, dict) for item in items):
        raise MessageInvalid(f"member {name} is not a list of objects")
    return tuple(items)
