"""Credentials and revocations to rows and back."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import RowMapping

from contract.order import SubjectClaim
from signing.sam.credential import Credential, Floor, SealedCredential
from signing.sam.errors import RowAltered
from signing.sam.ports import WrappedKey
from signing.sam.revocation import Revocation, SealedRevocation
from signing.storage.tables import credentials

COLUMNS: Final = tuple(column.name for column in credentials.c)
"""Of a credential's row."""


def to_row(sealed: SealedCredential) -> dict[str, Any]:
    """Column values."""
    credential = sealed.credential
    subject, floor, key = credential.subject, credential.floor, credential.key
    return {
        "id": credential.id,
        "realm": credential.realm,
        "issuer": credential.issuer,
        "owner": credential.owner,
        "status": credential.status,
        "profile": credential.profile,
        "policy": credential.policy,
        "scal": credential.scal,
        "qualifier": credential.qualifier,
        "multisign": credential.multisign,
        "floor_loa": floor.loa,
        "floor_categories": floor.min_categories,
        "floor_sad_seconds": floor.max_sad_seconds,
        "floor_evidence_seconds": floor.max_evidence_age_seconds,
        "floor_phishing_resistant": int(floor.phishing_resistant),
        "floor_signatures_per_day": floor.max_signatures_per_day,
        "floor_signer_proof": int(floor.signer_proof),
        "subject": json.dumps({name: getattr(subject, name) for name in SubjectClaim.__slots__}),
        "public_key": credential.public_key,
        "request": credential.request,
        "certificates": _list(credential.certificates),
        "wrapped_key": None if key is None else key.blob,
        "kek_id": None if key is None else key.kek_id,
        "key_profile": None if key is None else key.profile,
        "key_mechanism": None if key is None else key.mechanism,
        "proof_keys": _list(credential.proof_keys),
        "version": credential.version,
        "created": credential.created,
        "origin": credential.origin,
        "not_before": credential.not_before,
        "mac": sealed.tag,
    }


def from_row(row: RowMapping) -> SealedCredential:
    """A sealed credential, of which nothing is believed yet.

    :raises RowAltered: a column cannot be read: nobody but the module writes them.
    """
    return from_columns(tuple(row[name] for name in COLUMNS))


def from_columns(values: Sequence[Any]) -> SealedCredential:
    """The same, of the values of :data:`COLUMNS` in their order.

    :raises RowAltered: a column cannot be read.
    """
    try:
        return _parsed(*values)
    except TypeError as error:
        raise RowAltered("a credential's row cannot be read") from error


# By type as well as by value: SQLite keeps in a column what it is given, and 1 is not 1.0 to the MAC.
@lru_cache(maxsize=1024, typed=True)
def _parsed(*values: Any) -> SealedCredential:
    row = dict(zip(COLUMNS, values, strict=True))
    try:
        key = None
        if row["wrapped_key"] is not None:
            key = WrappedKey(bytes(row["wrapped_key"]), row["kek_id"], row["key_profile"], row["key_mechanism"])
        credential = Credential(
            realm=row["realm"],
            id=row["id"],
            issuer=row["issuer"],
            owner=row["owner"],
            status=row["status"],
            profile=row["profile"],
            policy=row["policy"],
            scal=row["scal"],
            qualifier=row["qualifier"],
            multisign=row["multisign"],
            floor=Floor(
                loa=row["floor_loa"],
                min_categories=row["floor_categories"],
                max_sad_seconds=row["floor_sad_seconds"],
                max_evidence_age_seconds=row["floor_evidence_seconds"],
                phishing_resistant=bool(row["floor_phishing_resistant"]),
                max_signatures_per_day=row["floor_signatures_per_day"],
                signer_proof=bool(row["floor_signer_proof"]),
            ),
            subject=SubjectClaim(**json.loads(row["subject"])),
            public_key=bytes(row["public_key"]),
            request=bytes(row["request"]),
            certificates=_octets(row["certificates"]),
            key=key,
            proof_keys=_octets(row["proof_keys"]),
            version=row["version"],
            created=row["created"],
            origin=row["origin"],
            not_before=row["not_before"],
        )
        return SealedCredential(credential, bytes(row["mac"]))
    except (ValueError, TypeError, RecursionError) as error:
        raise RowAltered("a credential's row cannot be read") from error


def revocation_to_row(sealed: SealedRevocation) -> dict[str, Any]:
    """Column values."""
    return {**{name: getattr(sealed.revocation, name) for name in Revocation.__slots__}, "mac": sealed.tag}


def revocation_from_row(row: RowMapping) -> SealedRevocation:
    """A sealed revocation, of which nothing is believed yet.

    :raises RowAltered: a column cannot be read: nobody but the module writes them.
    """
    try:
        return SealedRevocation(Revocation(**{name: row[name] for name in Revocation.__slots__}), bytes(row["mac"]))
    except (ValueError, TypeError) as error:
        raise RowAltered("a revocation's row cannot be read") from error


def _list(items: Sequence[bytes]) -> str:
    return json.dumps([b64encode(item).decode() for item in items])


def _octets(text: str) -> tuple[bytes, ...]:
    return tuple(b64decode(item, validate=True) for item in json.loads(text))
