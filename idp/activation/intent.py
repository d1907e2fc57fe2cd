"""What a relying party asks for: the part of an authorization request that a person approves."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from contract.order import SubjectClaim

HashType = Literal["dtbsr", "sdr"]
CredentialOperation = Literal["credential.create", "credential.delete"]


@dataclass(frozen=True, slots=True)
class DocumentDigest:
    """One digest to be signed, with the name that the relying party gives its document."""

    digest: bytes
    label: str
    """As stated by the relying party: nobody has compared it with a document."""


@dataclass(frozen=True, slots=True)
class DocumentLocation:
    """Where the document of one digest is kept, so that it can be shown before it is approved."""

    uri: str
    bearer: bool
    """Whether it is fetched with a token that shows who comes for it."""


@dataclass(frozen=True, slots=True)
class SignatureIntent:
    """A request to activate one credential for exactly these digests (CSC API 2.0.0.2 clause 8.3.3, RFC 9396)."""

    credential_id: str
    """Empty until the person has chosen, where the request names a ``qualifier`` only."""
    hash_alg: str
    """OID, a key of ``contract.digests.HASH_LENGTHS``."""
    digests: tuple[DocumentDigest, ...]
    hash_type: HashType
    sign_count: int
    locations: tuple[str, ...] = ()
    qualifier: str | None = None
    """``signatureQualifier`` of the credentials among which the person chooses."""
    documents: tuple[DocumentLocation, ...] = ()
    """Of each digest, in their order; none where the request names no locations."""

    @property
    def chosen(self) -> bool:
        """Whether it says with which credential."""
        return bool(self.credential_id)

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which :meth:`from_json` makes the same intent."""
        qualified = {} if self.qualifier is None else {"qualifier": self.qualifier}
        documents = [{"uri": item.uri, "bearer": item.bearer} for item in self.documents]
        return {
            **qualified,
            **({"documents": documents} if documents else {}),
            "credential_id": self.credential_id,
            "hash_alg": self.hash_alg,
            "digests": [
                {"digest": base64.b64encode(item.digest).decode(), "label": item.label} for item in self.digests
            ],
            "hash_type": self.hash_type,
            "sign_count": self.sign_count,
            "locations": list(self.locations),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SignatureIntent:
        """The intent that :meth:`to_json` wrote; not for input from outside."""
        return cls(
            credential_id=value["credential_id"],
            hash_alg=value["hash_alg"],
            digests=tuple(
                DocumentDigest(base64.b64decode(item["digest"]), item["label"]) for item in value["digests"]
            ),
            hash_type=cast("HashType", value["hash_type"]),
            sign_count=value["sign_count"],
            locations=tuple(value["locations"]),
            qualifier=value.get("qualifier"),
            documents=tuple(DocumentLocation(**item) for item in value.get("documents", ())),
        )


@dataclass(frozen=True, slots=True)
class CredentialIntent:
    """A request to make or delete a credential (CSC API 2.2: ``credentials/create``, ``credentials/delete``)."""

    operation: CredentialOperation
    profile: str | None = None
    """Of the credential to be made."""
    qualifier: str | None = None
    """The ``signatureQualifier`` that the operator claims for the profile."""
    subject: SubjectClaim | None = None
    """Whom the certificate is to name: what the account says, so None until somebody has signed in."""
    credential_id: str | None = None
    """The credential to be deleted."""

    @property
    def detail(self) -> dict[str, Any]:
        """What is approved, as pages and orders name it."""
        if self.operation == "credential.delete":
            return {"credential_id": self.credential_id}
        named = {} if self.subject is None else {"subject": _subject_to_json(self.subject)}
        return {"profile": self.profile, **named}

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which :meth:`from_json` makes the same intent."""
        return {
            "operation": self.operation,
            "profile": self.profile,
            "qualifier": self.qualifier,
            "subject": None if self.subject is None else _subject_to_json(self.subject),
            "credential_id": self.credential_id,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CredentialIntent:
        """The intent that :meth:`to_json` wrote; not for input from outside."""
        subject = None if value["subject"] is None else SubjectClaim(**value["subject"])
        return cls(**{**value, "subject": subject})


def _subject_to_json(subject: SubjectClaim) -> dict[str, Any]:
    return {name: getattr(subject, name) for name in SubjectClaim.__slots__}
