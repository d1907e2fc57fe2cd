"""The signer's proof: a statement about one approval that the signer's own device signed.

With a proof demanded, whoever holds the identity provider's key still cannot activate a signature.  The device signs
a **statement**: what is to be signed, for whom, with which key, and what the person was shown.  There are two forms:

* ``mobile_id``: ECDSA on P-256 with SHA-256 over the statement's octets, as r and s of 32 octets each (RFC 7518 3.4);
* ``webauthn``: an assertion (WebAuthn Level 3 7.2) whose challenge is the SHA-256 of the statement's octets, made with
  user verification under a relying party identifier and origin of its own: a login ceremony cannot carry a proof.

A proof says only what the SAD does not: form, key, time, display and signature.  Everything else of the statement is
taken from the SAD that carries it, so a proof fits no other.  Vectors for both forms: ``tests/vectors/proof/``.

Pure; nothing here knows which key is whose: that stands under the credential's row MAC in the module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from contract import assertion
from contract.assertion import Assertion, ProofOrigin
from contract.digests import HASH_LENGTHS
from contract.errors import ProofInvalid
from contract.sad import HashType, Sad
from foundation import claims as read
from foundation.clock import epoch
from foundation.errors import JoseError
from foundation.jose import VerificationKey, decode_base64url, encode_base64url

DOMAIN: Final = b"privyseal-proof-1"
"""First field of every statement: no other protocol's message begins with its length and these octets."""
MAX_LIFE_SECONDS: Final = 600
"""Between ``iat`` and ``exp``: as long as a person may take over one approval, and no longer than an OTP lives."""
LEEWAY_SECONDS: Final = 60
"""By how much the device's clock may be ahead of the module's."""

Form = Literal["mobile_id", "webauthn"]
Decision = Literal["approve", "refuse"]

_COMMON: Final = frozenset({"form", "kid", "iat", "exp", "display", "signature"})
_WEBAUTHN: Final = frozenset({"client_data", "authenticator_data"})
_DISPLAY_OCTETS: Final = 32
_MAX_SIGNATURE: Final = 128
_MAX_CLIENT_DATA: Final = 4096
_MAX_AUTHENTICATOR_DATA: Final = 1024


@dataclass(frozen=True, slots=True)
class Statement:
    """What the device signs.  Times are NumericDates in whole seconds."""

    service: str
    """The signature activation module's identifier, ``aud`` of the SAD."""
    txn: str
    client_id: str
    credential_id: str
    hash_alg: str
    """OID of the hash function."""
    hash_type: HashType
    digests: tuple[bytes, ...]
    """All of them, in order, with repetitions."""
    display: bytes
    """SHA-256 of the text that the person was shown, in UTF-8."""
    iat: int
    exp: int
    """The first second in which it is refused."""
    decision: Decision


@dataclass(frozen=True, slots=True)
class WebAuthnParts:
    """What an assertion has besides its signature (WebAuthn Level 3 5.2.2)."""

    client_data: bytes
    """The octets of ``clientDataJSON``."""
    authenticator_data: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof as the SAD carries it."""

    kid: str
    """Thumbprint (RFC 7638) of the device's key."""
    iat: int
    exp: int
    display: bytes
    signature: bytes
    """``mobile_id``: r and s, 64 octets.  ``webauthn``: as the authenticator gave it; DER for ECDSA."""
    webauthn: WebAuthnParts | None = None
    """None: the form is ``mobile_id``."""

    @property
    def form(self) -> Form:
        """Which of the two it is."""
        return "mobile_id" if self.webauthn is None else "webauthn"


@dataclass(frozen=True, slots=True)
class ProofKey:
    """A device's key as the module knows it for a credential."""

    key: VerificationKey
    """P-256, or for WebAuthn also Ed25519."""
    origin: ProofOrigin | None = None
    """Where WebAuthn proofs are made; None: it is a Mobile ID key."""


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof that verified says besides."""

    form: Form
    sign_count: int | None
    """The authenticator's counter; None where the form has none.  The caller compares it where it is not zero
    (WebAuthn Level 3 7.2, step 22)."""


def statement_octets(statement: Statement) -> bytes:
    """The octets that are signed, or whose SHA-256 is the challenge.

    Every field is its length in four octets, most significant first, and its octets: :data:`DOMAIN`, service, txn,
    client, credential, hash algorithm, hash type, the number of digests in decimal, each digest, display, iat and exp
    in decimal, decision.  Texts are UTF-8.  No two statements have the same octets.
    """
    parts = [
        DOMAIN,
        statement.service.encode(),
        statement.txn.encode(),
        statement.client_id.encode(),
        statement.credential_id.encode(),
        statement.hash_alg.encode(),
        statement.hash_type.encode(),
        str(len(statement.digests)).encode(),
        *statement.digests,
        statement.display,
        str(statement.iat).encode(),
        str(statement.exp).encode(),
        statement.decision.encode(),
    ]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def challenge_of(statement: Statement) -> bytes:
    """The challenge of a WebAuthn proof: SHA-256, 32 octets."""
    return hashlib.sha256(statement_octets(statement)).digest()


def statement_of(sad: Sad, proof: Proof) -> Statement:
    """The approving statement that a SAD and the proof in it must have been made for.

    :raises ProofInvalid: the SAD names no digests: nobody can have approved them.
    """
    if not sad.dtbsr:
        raise ProofInvalid("a proof is about digests, and the SAD names none")
    return Statement(
        service=sad.aud,
        txn=sad.txn,
        client_id=sad.client_id,
        credential_id=sad.credential_id,
        hash_alg=sad.hash_alg,
        hash_type=sad.hash_type,
        digests=sad.dtbsr,
        display=proof.display,
        iat=proof.iat,
        exp=proof.exp,
        decision="approve",
    )


def to_claim(proof: Proof) -> dict[str, Any]:
    """The value of the SAD's claim ``signer_proof``."""
    claim: dict[str, Any] = {
        "form": proof.form,
        "kid": proof.kid,
        "iat": proof.iat,
        "exp": proof.exp,
        "display": encode_base64url(proof.display),
        "signature": encode_base64url(proof.signature),
    }
    if proof.webauthn is not None:
        claim["client_data"] = encode_base64url(proof.webauthn.client_data)
        claim["authenticator_data"] = encode_base64url(proof.webauthn.authenticator_data)
    return claim


def from_claim(value: Mapping[str, Any]) -> Proof:
    """Read the claim strictly; nothing is verified.

    :raises ProofInvalid: a member missing, unknown or out of bounds.
    """
    try:
        return _read(value)
    except JoseError as error:
        raise ProofInvalid(str(error)) from error


def verify(proof: Proof, sad: Sad, trusted: ProofKey, now: datetime) -> Proved:
    """The device that the credential knows approved what this SAD is for.

    1. The key is that one, in that form.  2. The time.  3. The form's own checks and the signature, over the statement
    made from the SAD.

    :raises ProofInvalid: with the first that fails.
    """
    check_device(proof, trusted)
    check_time(proof, now, MAX_LIFE_SECONDS)
    return verify_octets(proof, statement_octets(statement_of(sad, proof)), trusted)


def verify_octets(proof: Proof, octets: bytes, trusted: ProofKey) -> Proved:
    """The device signed these octets; what they say, and when, is the caller's.

    :raises ProofInvalid: another device or form, or the form's own checks or the signature fail.
    """
    check_device(proof, trusted)
    if proof.webauthn is None or trusted.origin is None:
        assertion.verify_raw(trusted.key, octets, proof.signature)
        return Proved("mobile_id", None)
    given = Assertion(proof.webauthn.client_data, proof.webauthn.authenticator_data, proof.signature)
    challenge = hashlib.sha256(octets).digest()
    return Proved("webauthn", assertion.verify(trusted.key, trusted.origin, challenge, given))


def check_device(proof: Proof, trusted: ProofKey) -> None:
    """The key is that one, in that form.

    :raises ProofInvalid: another.
    """
    if proof.kid != trusted.key.kid or (proof.form == "webauthn") != (trusted.origin is not None):
        raise ProofInvalid("the proof is of another device, or of another form")


def check_time(proof: Proof, now: datetime, longest: int) -> None:
    """The proof is in its time.

    :param longest: seconds from ``iat`` to ``exp`` that it may have at most.
    :raises ProofInvalid: it is not.
    """
    at = epoch(now)
    if not proof.iat < proof.exp <= proof.iat + longest:
        raise ProofInvalid("the proof's life is longer than a proof may have, or none")
    if proof.iat > at + LEEWAY_SECONDS:
        raise ProofInvalid("the proof was made in the future")
    if at >= proof.exp:
        raise ProofInvalid("the proof has expired")


def _read(value: Mapping[str, Any]) -> Proof:
    form = read.text(value, "form", max_length=16)
    if form not in {"mobile_id", "webauthn"}:
        raise ProofInvalid("the proof is of no form that is accepted")
    read.check_members(value, _COMMON | (_WEBAUTHN if form == "webauthn" else frozenset()))
    parts = None
    if form == "webauthn":
        parts = WebAuthnParts(
            _octets(value, "client_data", _MAX_CLIENT_DATA),
            _octets(value, "authenticator_data", _MAX_AUTHENTICATOR_DATA),
        )
    display = _octets(value, "display", _DISPLAY_OCTETS)
    if len(display) != _DISPLAY_OCTETS:
        raise ProofInvalid("display is not a SHA-256")
    return Proof(
        kid=read.text(value, "kid", max_length=64),
        iat=read.numeric_date(value, "iat"),
        exp=read.numeric_date(value, "exp"),
        display=display,
        signature=_octets(value, "signature", _MAX_SIGNATURE),
        webauthn=parts,
    )


def _octets(value: Mapping[str, Any], name: str, most: int) -> bytes:
    return decode_base64url(read.text(value, name, max_length=2 * most).encode())


def check_statement(statement: Statement) -> None:
    """What a device or a page must see to before anybody is asked to sign a statement.

    :raises ProofInvalid: digests of another length than their algorithm has, none at all, or another display's.
    """
    length = HASH_LENGTHS.get(statement.hash_alg)
    if not statement.digests or any(len(digest) != length for digest in statement.digests):
        raise ProofInvalid("the digests are not those of the hash algorithm")
    if len(statement.display) != _DISPLAY_OCTETS:
        raise ProofInvalid("display is not a SHA-256")
