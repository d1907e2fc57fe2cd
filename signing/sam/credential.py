"""A credential as the module keeps it, and the octets over which its row's MAC is made."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final, Literal

from contract.order import SubjectClaim
from contract.sad import LoA
from signing.sam.algorithms import KEY_PROFILES, KeyProfile
from signing.sam.errors import RowAltered
from signing.sam.ports import WrappedKey

Status = Literal["pending", "active", "suspended", "revoked", "deleted"]
Origin = Literal["generated", "imported"]
Custody = Literal["wrapped", "token"]
Scal = Literal["1", "2"]

DOMAIN: Final = b"privyseal-credential-4\n"
"""Keeps the row MAC from serving for anything else that the same key may come to protect."""


MOST_SIGNATURES_PER_DAY: Final = 1_000_000
LONGEST_SAD_SECONDS: Final = 3600
"""What a floor may allow at most as ``max_sad_seconds``; revocations are kept in mind for as long as that."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The least that the module asks of a SAD for a credential, whatever the identity provider's policy says."""

    loa: LoA
    min_categories: int
    """Different categories of authentication factors; at SCAL2 never less than two."""
    max_sad_seconds: int
    """Longest time from ``iat`` to ``exp``."""
    max_evidence_age_seconds: int
    """Longest time from the oldest evidence to ``iat``."""
    phishing_resistant: bool = False
    """Whether an authenticator that no look-alike site can use has to be among the evidence; at SCAL2, the one that
    was used for this transaction (NIST SP 800-63B r4 3.2.5)."""
    max_signatures_per_day: int = 0
    """Signatures in any 24 hours, over all SADs; 0: as many as SADs authorise."""
    signer_proof: bool = False
    """Whether a proof by the signer's own device has to be in the SAD (:mod:`contract.proof`)."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What the operator offers under a name: what an order of ``credential.create`` can ask for."""

    name: str
    key: str
    """Name in :data:`signing.sam.algorithms.KEY_PROFILES`."""
    scal: Scal
    qualifier: str | None
    """CSC ``signatureQualifier``."""
    multisign: int
    """Signatures that one SAD may authorise."""
    floor: Floor
    custody: Custody = "wrapped"
    """Where the key is kept: wrapped in the database, or as an object on the token."""
    accepts_imports: bool = False
    """Whether operators may bring a key that was made elsewhere."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A signing key with its certificates, owner, status and floor (CSC API 2.0.0.2 clause 3)."""

    realm: str
    """Which installation it belongs to: a row copied from another one does not verify here (KEY-05)."""
    id: str
    issuer: str
    """The identity provider that ordered it: nobody else's SADs and orders are for it."""
    owner: str
    """Account id there: ``sub`` of SADs and orders."""
    status: Status
    profile: str
    """Name of the operator's profile at the time of creation; its content is copied below."""
    policy: str
    """Decision id of the order on which the last change was made."""
    scal: Scal
    qualifier: str | None
    multisign: int
    floor: Floor
    subject: SubjectClaim
    """Whom the certificate has to name."""
    public_key: bytes
    """DER SubjectPublicKeyInfo."""
    request: bytes
    """DER CertificationRequest, signed once, when the key was made."""
    certificates: tuple[bytes, ...]
    """DER, the signer's first; empty while pending."""
    key: WrappedKey | None = field(repr=False)
    """``None`` once deleted."""
    proof_keys: tuple[bytes, ...]
    """The signer's devices, each as :func:`contract.proof_key.octets` writes it; where there is one, nothing is signed
    without its proof."""
    version: int
    """Goes up by one with every change."""
    created: int
    """NumericDate."""
    origin: Origin
    """Whether the key was made in the device, or came from elsewhere."""
    not_before: int
    """SADs issued before this second are refused.  Never lowered; a resumption puts it past all that were before."""

    def key_profile(self) -> KeyProfile:
        """Kind of key.

        :raises RowAltered: there is no key, or it is of no kind known.
        """
        profile = KEY_PROFILES.get(self.wrapped_key().profile)
        if profile is None:
            raise RowAltered("the credential's key is of no kind that is known")
        return profile

    def wrapped_key(self) -> WrappedKey:
        """The key to sign with.

        :raises RowAltered: there is none: only a deleted credential has none, and that is not asked for it.
        """
        if self.key is None:
            raise RowAltered("the credential has no key")
        return self.key


@dataclass(frozen=True, slots=True)
class SealedCredential:
    """A row as it stands in the database: believed only once :func:`signing.sam.custody.opened` has seen it."""

    credential: Credential
    tag: bytes


def mac_octets(credential: Credential) -> bytes:
    """What the row MAC covers: every field, in a form in which no two different rows are the same.

    A JSON array of fixed length in the order of the dataclass; octet strings in base64.
    """
    key = credential.key
    floor, subject = credential.floor, credential.subject
    fields = [
        credential.realm,
        credential.id,
        credential.issuer,
        credential.owner,
        credential.status,
        credential.profile,
        credential.policy,
        credential.scal,
        credential.qualifier,
        credential.multisign,
        [
            floor.loa,
            floor.min_categories,
            floor.max_sad_seconds,
            floor.max_evidence_age_seconds,
            floor.phishing_resistant,
            floor.max_signatures_per_day,
            floor.signer_proof,
        ],
        [subject.common_name, subject.given_name, subject.surname, subject.serial_number, subject.country],
        _text(credential.public_key),
        _text(credential.request),
        [_text(item) for item in credential.certificates],
        None if key is None else [_text(key.blob), key.kek_id, key.profile, key.mechanism],
        [_text(item) for item in credential.proof_keys],
        credential.version,
        credential.created,
        credential.origin,
        credential.not_before,
    ]
    return DOMAIN + json.dumps(fields, separators=(",", ":")).encode()


def _text(octets: bytes) -> str:
    return b64encode(octets).decode()
