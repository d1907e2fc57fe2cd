"""The rollback anchor: what a data object on the token says the database must not be behind.  Pure: content and codec.

A MAC shows that the module wrote a row, not that it is the last one.  So the token, which a backup of the database
does not bring back, holds where the database stood: the epoch, a record of the audit chain, a sum over the credentials'
versions.  It also holds who the operators are: that is nobody's to set back either.

The sum is over HMACs under a key that only the device can make, modulo 2**256, so that a change costs two terms and not
a look at every row.  It is on the token and nowhere else: whoever could watch it could look for rows to exchange.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from auditlog.chain import Head
from contract.errors import OperationInvalid
from contract.operation import operator_key
from foundation.errors import TokenMalformed
from foundation.jose import VerificationKey, parse_json
from signing.sam.errors import OperationRefused, OperationUsed
from signing.sam.ports import MacInvalid, SignatureDevice
from signing.sam.store import Epoch

DOMAIN: Final = b"privyseal-anchor-1\n"
VERSIONS_DOMAIN: Final = b"privyseal-versions-1\n"
MAX_OPERATORS: Final = 16
MAX_USED: Final = 64
"""Operations that are remembered at a time, until they expire."""
MAX_USED_BY_ONE: Final = 48
"""From so many on there is room for what two have signed only: one alone must not keep two from a restore (ADM-01)."""
_MODULUS: Final = 2**256
_TAG: Final = 32


@dataclass(frozen=True, slots=True)
class Anchor:
    """What the token says."""

    realm: str
    number: int
    """Goes up by one with each that is written."""
    epoch: Epoch
    head: Head
    """A record of the audit chain that the database must have."""
    versions: int
    """:func:`sum_of` all credentials' versions."""
    operators: tuple[VerificationKey, ...]
    """Keys of the operators, by thumbprint."""
    used: tuple[tuple[str, int], ...] = ()
    """Operations that were carried out: SHA-256 of the ``jti`` in hexadecimal, and ``exp``."""


@dataclass(frozen=True, slots=True)
class Held:
    """An anchor with the octets that the token holds."""

    value: bytes
    anchor: Anchor


def label_of(realm: str) -> str:
    """Label of the data object: installations may share a token."""
    return f"privyseal-anchor/{realm}"


def versions_key(device: SignatureDevice, realm: str) -> bytes:
    """The key of the sum's terms; never stored.

    :raises DeviceError: the device gives none.
    """
    return device.mac(VERSIONS_DOMAIN + realm.encode())


def term(key: bytes, credential_id: str, version: int) -> int:
    """What a credential's version adds to the sum."""
    # The version, a number, first: no two pairs make the same text.
    return int.from_bytes(hmac.digest(key, f"{version}:{credential_id}".encode(), "sha256"), "big")


def sum_of(key: bytes, versions: Iterable[tuple[str, int]]) -> int:
    """The sum over all credentials, deleted ones included."""
    return sum(term(key, credential_id, version) for credential_id, version in versions) % _MODULUS


def moved(anchor: Anchor, key: bytes, credential_id: str, version: int) -> Anchor:
    """The anchor after a credential got that version; version 1 is a new credential's."""
    before = term(key, credential_id, version - 1) if version > 1 else 0
    return replace(anchor, versions=(anchor.versions + term(key, credential_id, version) - before) % _MODULUS)


def with_used(anchor: Anchor, jti: str, expires: int, signers: Collection[str], now: int) -> Anchor:
    """The anchor after an operation by these operators; what has expired is forgotten.

    :raises OperationRefused: one of them is no operator any more, or too many operations are remembered.
    :raises OperationUsed: it has been carried out, whatever the database says (ADM-02).
    """
    if not set(signers) <= {key.kid for key in anchor.operators}:
        raise OperationRefused("an operator who signed has been retired meanwhile")
    name = hashlib.sha256(jti.encode()).hexdigest()
    left = tuple((each, exp) for each, exp in anchor.used if exp > now)
    if name in {each for each, _ in left}:
        raise OperationUsed("the operation has been carried out")
    most = MAX_USED if len(signers) > 1 else MAX_USED_BY_ONE
    if len(left) >= most:
        raise OperationRefused(f"more than {most} operations at a time")
    return replace(anchor, used=(*left, (name, expires)))


def sealed(anchor: Anchor, device: SignatureDevice) -> bytes:
    """The octets for the token, with their MAC.

    :raises DeviceError: there is no MAC to be had.
    """
    fields = [
        anchor.realm,
        anchor.number,
        [anchor.epoch.number, anchor.epoch.not_before],
        [anchor.head.sequence, anchor.head.hash],
        f"{anchor.versions:064x}",
        [key.key.as_dict(private=False) for key in anchor.operators],
        [list(each) for each in anchor.used],
    ]
    content = json.dumps(fields, separators=(",", ":")).encode()
    return content + device.mac(DOMAIN + content)


def opened(value: bytes, realm: str, device: SignatureDevice) -> Anchor | None:
    """The anchor, or None where the octets are not one that the module wrote for this realm.

    :raises DeviceError: the MAC could not be looked at.
    """
    content, tag = value[:-_TAG], value[-_TAG:]
    try:
        device.verify_mac(DOMAIN + content, tag)
    except MacInvalid:
        return None
    try:
        anchor = _read(parse_json(content))
    except (ValueError, TypeError, TokenMalformed, OperationInvalid):
        return None  # another version of the module wrote it
    return anchor if anchor.realm == realm else None


def _read(fields: Any) -> Anchor:
    realm, number, epoch, head, versions, operators, used = fields
    return Anchor(
        realm=realm,
        number=number,
        epoch=Epoch(*epoch),
        head=Head(*head),
        versions=int(versions, 16),
        operators=tuple(operator_key(jwk) for jwk in operators),
        used=tuple((name, exp) for name, exp in used),
    )
