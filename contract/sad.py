"""Signature activation data (SAD, EN 419 241-1 3.1): one approval by one person for exactly these digests.

A compact JWS of type ``sad+jwt``.  The identity provider mints it with a key that serves nothing else; the signature
activation module decodes it with keys that its operator pinned.  Every claim is required unless said otherwise, and
an unknown one is refused: a claim that one side adds and the other ignores would be a condition nobody checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from contract.confirmation import Confirmation, confirmation_of
from contract.digests import HASH_LENGTHS, MAX_DIGESTS
from contract.errors import ConfirmationInvalid, SadInvalid
from foundation import claims as read
from foundation.errors import JoseError, TokenMalformed
from foundation.jose import (
    SigningKey,
    VerificationKey,
    decode_base64url,
    encode_base64url,
    sign_compact,
    verify_compact,
    verify_issued,
)

SAD_TYPE: Final = "sad+jwt"

HashType = Literal["dtbsr", "sdr"]
LoA = Literal["low", "substantial", "high"]
Category = Literal["knowledge", "possession", "inherence"]

LOA_ORDER: Final[dict[str, int]] = {"low": 1, "substantial": 2, "high": 3}
"""Levels of (EU) 2015/1502, from weak to strong."""

_CATEGORIES: Final = frozenset({"knowledge", "possession", "inherence"})
_REQUIRED: Final = frozenset(
    {
        "iss", "aud", "sub", "client_id", "txn", "jti", "iat", "exp", "credential_id", "hash_alg", "dtbsr",
        "hash_type", "sign_count", "acr", "loa", "amr", "auth_time", "evidence", "policy",
    }
)  # fmt: skip
_OPTIONAL: Final = frozenset({"signer_proof", "cnf", "supersedes", "in_band"})
MAX_PREDECESSORS: Final = 16
"""How many SADs of one transaction there may have been before one that takes their place."""


@dataclass(frozen=True, slots=True)
class EvidenceClaim:
    """One authenticator, used at one time."""

    factor: str
    category: Category
    at: int
    """NumericDate of the authentication."""
    authenticator_id: str
    phishing_resistant: bool
    user_verified: bool
    restricted: bool
    """NIST SP 800-63B 3.2.9: SMS and voice."""
    transaction_bound: bool
    """Made for this ``txn`` and no other."""


@dataclass(frozen=True, slots=True)
class PolicyClaim:
    """Which policy decided."""

    name: str
    sha256: str
    """Hexadecimal SHA-256 of the policy file's octets."""
    decision_id: str
    """Finds the decision with all its reasons in the identity provider's audit chain."""


@dataclass(frozen=True, slots=True)
class Succession:
    """The SADs of the same transaction whose place another one takes."""

    since: int
    """``iat`` of the first of them: the approval is as old as that, however late the last one was issued."""
    jtis: tuple[str, ...]
    """All of them, the first one first.  So whoever saw one knows of each other whether it came before or after."""


@dataclass(frozen=True, slots=True)
class Sad:
    """The content of a SAD.  Times are NumericDates in whole seconds."""

    iss: str
    aud: str
    sub: str
    """Account id of the signer, as the module knows the credential's owner."""
    client_id: str
    """The relying party it was given to."""
    txn: str
    """The approval; several SADs minted for one approval share its allowance."""
    jti: str
    iat: int
    exp: int
    """The first second in which it is refused."""
    credential_id: str
    hash_alg: str
    """OID of the hash function."""
    dtbsr: tuple[bytes, ...]
    """The authorised digests, in order, with repetitions."""
    hash_type: HashType
    sign_count: int
    """Signatures permitted; at SCAL2 the number of digests."""
    acr: str
    loa: LoA
    amr: tuple[str, ...]
    auth_time: int
    """NumericDate of the oldest evidence relied on."""
    evidence: tuple[EvidenceClaim, ...]
    policy: PolicyClaim
    signer_proof: Mapping[str, Any] | None = None
    cnf: Confirmation | None = None
    """The key that whoever redeems it has to show."""
    supersedes: Succession | None = None
    """The SADs of the same ``txn`` that it replaces; its allowance is theirs."""
    in_band: bool = False
    """What the signer proved came through the signing service, which could have kept it and asked for something else:
    SCAL1 at most."""

    @property
    def since(self) -> int:
        """NumericDate since when the approval can have been used: ``iat`` of the transaction's first SAD."""
        return self.iat if self.supersedes is None else self.supersedes.since

    @property
    def predecessors(self) -> tuple[str, ...]:
        """``jti`` of the SADs whose place it took; empty: it is the first."""
        return () if self.supersedes is None else self.supersedes.jtis


def encode(sad: Sad, key: SigningKey) -> str:
    """Sign a SAD.

    :raises SadInvalid: the content breaks a rule that :func:`decode` would refuse.
    """
    claims = _to_claims(sad)
    _from_claims(claims)
    return sign_compact(claims, key, SAD_TYPE)


def decode_issued(token: str, keys_of: Callable[[str], Iterable[VerificationKey]]) -> Sad:
    """As :func:`decode`, with the keys of whoever the SAD says that issued it.

    :param keys_of: the pinned keys of an issuer; none of one that is not pinned.
    :raises SadInvalid: as :func:`decode`.
    """

    def found(claims: Mapping[str, Any]) -> Iterable[VerificationKey]:
        issuer = claims.get("iss")
        return keys_of(issuer) if isinstance(issuer, str) else ()

    try:
        return _from_claims(verify_issued(token, found, {SAD_TYPE}))
    except JoseError as error:
        raise SadInvalid(str(error)) from error


def decode(token: str, keys: Iterable[VerificationKey]) -> Sad:
    """Verify the signature with the pinned keys, then read every claim.

    Time, audience, owner and digests are not judged here: that takes the credential and the request, and is
    ``signing.sam.verify``.

    :raises SadInvalid: form, signature, type, or a claim missing, unknown or out of bounds.
    """
    try:
        return _from_claims(verify_compact(token, keys, {SAD_TYPE}))
    except JoseError as error:
        raise SadInvalid(str(error)) from error


def _to_claims(sad: Sad) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "iss": sad.iss,
        "aud": sad.aud,
        "sub": sad.sub,
        "client_id": sad.client_id,
        "txn": sad.txn,
        "jti": sad.jti,
        "iat": sad.iat,
        "exp": sad.exp,
        "credential_id": sad.credential_id,
        "hash_alg": sad.hash_alg,
        "dtbsr": [encode_base64url(digest) for digest in sad.dtbsr],
        "hash_type": sad.hash_type,
        "sign_count": sad.sign_count,
        "acr": sad.acr,
        "loa": sad.loa,
        "amr": list(sad.amr),
        "auth_time": sad.auth_time,
        "evidence": [_evidence_to_json(item) for item in sad.evidence],
        "policy": {"name": sad.policy.name, "sha256": sad.policy.sha256, "decision_id": sad.policy.decision_id},
    }
    if sad.signer_proof is not None:
        claims["signer_proof"] = sad.signer_proof
    if sad.cnf is not None:
        claims["cnf"] = sad.cnf.to_json()
    if sad.supersedes is not None:
        claims["supersedes"] = {"since": sad.supersedes.since, "jti": list(sad.supersedes.jtis)}
    if sad.in_band:
        claims["in_band"] = True
    return claims


def _evidence_to_json(item: EvidenceClaim) -> dict[str, Any]:
    return {
        "factor": item.factor,
        "category": item.category,
        "at": item.at,
        "authenticator_id": item.authenticator_id,
        "phishing_resistant": item.phishing_resistant,
        "user_verified": item.user_verified,
        "restricted": item.restricted,
        "transaction_bound": item.transaction_bound,
    }


def _from_claims(claims: Mapping[str, Any]) -> Sad:
    try:
        return _read(claims)
    except (JoseError, ConfirmationInvalid) as error:
        raise SadInvalid(str(error)) from error


def _read(claims: Mapping[str, Any]) -> Sad:
    read.check_members(claims, _REQUIRED, _OPTIONAL)
    hash_alg = _choice(claims, "hash_alg", HASH_LENGTHS)
    sad = Sad(
        iss=read.text(claims, "iss", max_length=255),
        aud=read.text(claims, "aud", max_length=255),
        sub=read.text(claims, "sub", max_length=255),
        client_id=read.text(claims, "client_id", max_length=255),
        txn=read.text(claims, "txn", max_length=128),
        jti=read.text(claims, "jti", max_length=128),
        iat=read.numeric_date(claims, "iat"),
        exp=read.numeric_date(claims, "exp"),
        credential_id=read.text(claims, "credential_id", max_length=128),
        hash_alg=hash_alg,
        dtbsr=_digests(claims, HASH_LENGTHS[hash_alg]),
        hash_type=cast("HashType", _choice(claims, "hash_type", ("dtbsr", "sdr"))),
        sign_count=read.integer(claims, "sign_count", low=1, high=MAX_DIGESTS),
        acr=read.text(claims, "acr", max_length=255),
        loa=cast("LoA", _choice(claims, "loa", LOA_ORDER)),
        amr=read.texts(claims, "amr", max_items=16, max_length=32),
        auth_time=read.numeric_date(claims, "auth_time"),
        evidence=_evidence(claims),
        policy=_policy(claims),
        signer_proof=read.mapping(claims, "signer_proof") if "signer_proof" in claims else None,
        cnf=confirmation_of(read.mapping(claims, "cnf")) if "cnf" in claims else None,
        supersedes=_succession(claims) if "supersedes" in claims else None,
        in_band=_in_band(claims),
    )
    _check_consistency(sad)
    return sad


def _check_consistency(sad: Sad) -> None:
    if sad.exp <= sad.iat:
        raise SadInvalid("exp is not after iat")
    if sad.auth_time > sad.iat:
        raise SadInvalid("auth_time is after iat")
    if sad.dtbsr and sad.sign_count != len(sad.dtbsr):
        raise SadInvalid("sign_count is not the number of digests")
    if any(item.at > sad.iat for item in sad.evidence):
        raise SadInvalid("evidence is later than iat")
    if sad.in_band and sad.signer_proof is not None:
        raise SadInvalid("a proof of the signer's own device does not come in band")
    if sad.supersedes is not None:
        _check_succession(sad, sad.supersedes)


def _check_succession(sad: Sad, replaced: Succession) -> None:
    if not sad.dtbsr:
        # Without digests there is nothing that two SADs could be seen to share (SCAL1).
        raise SadInvalid("supersedes goes with digests only")
    if not replaced.jtis or len({*replaced.jtis, sad.jti}) != len(replaced.jtis) + 1:
        raise SadInvalid("supersedes names none, one twice, or the SAD itself")
    if not max(sad.auth_time, *(item.at for item in sad.evidence)) <= replaced.since <= sad.iat:
        # What is newer than the first SAD was not there when the transaction was approved.
        raise SadInvalid("supersedes says a time that is after iat, or before the evidence")


def _choice(claims: Mapping[str, Any], name: str, allowed: Iterable[str]) -> str:
    value = read.text(claims, name, max_length=64)
    if value not in tuple(allowed):
        raise SadInvalid(f"claim {name} has a value that is not accepted")
    return value


def _digests(claims: Mapping[str, Any], length: int) -> tuple[bytes, ...]:
    values = read.texts(claims, "dtbsr", max_items=MAX_DIGESTS, max_length=128)
    try:
        digests = tuple(decode_base64url(value.encode()) for value in values)
    except TokenMalformed as error:
        raise SadInvalid("claim dtbsr has an item that is not base64url") from error
    if any(len(digest) != length for digest in digests):
        raise SadInvalid("claim dtbsr has a digest of another length than hash_alg has")
    return digests


def _evidence(claims: Mapping[str, Any]) -> tuple[EvidenceClaim, ...]:
    items = claims.get("evidence")
    if not isinstance(items, list) or not 1 <= len(items) <= 16:
        raise SadInvalid("claim evidence is not a list of 1 to 16")
    return tuple(_evidence_item(item) for item in items)


def _evidence_item(item: object) -> EvidenceClaim:
    if not isinstance(item, dict):
        raise SadInvalid("claim evidence has an item that is not an object")
    read.check_members(item, EvidenceClaim.__slots__)
    category = read.text(item, "category", max_length=16)
    if category not in _CATEGORIES:
        raise SadInvalid("claim evidence names a category that is not accepted")
    return EvidenceClaim(
        factor=read.text(item, "factor", max_length=64),
        category=cast("Category", category),
        at=read.numeric_date(item, "at"),
        authenticator_id=read.text(item, "authenticator_id", max_length=128),
        phishing_resistant=read.boolean(item, "phishing_resistant"),
        user_verified=read.boolean(item, "user_verified"),
        restricted=read.boolean(item, "restricted"),
        transaction_bound=read.boolean(item, "transaction_bound"),
    )


def _succession(claims: Mapping[str, Any]) -> Succession:
    value = read.mapping(claims, "supersedes")
    read.check_members(value, {"since", "jti"})
    return Succession(
        since=read.numeric_date(value, "since"),
        jtis=read.texts(value, "jti", max_items=MAX_PREDECESSORS, max_length=128),
    )


def _in_band(claims: Mapping[str, Any]) -> bool:
    # There or not: with two ways to say no, one of them would be misread some day.
    if "in_band" in claims and not read.boolean(claims, "in_band"):
        raise SadInvalid("claim in_band is true where it is there")
    return "in_band" in claims


def _policy(claims: Mapping[str, Any]) -> PolicyClaim:
    value = read.mapping(claims, "policy")
    read.check_members(value, PolicyClaim.__slots__)
    sha256 = read.text(value, "sha256", max_length=64)
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise SadInvalid("claim policy has a sha256 that is not 64 hexadecimal digits")
    return PolicyClaim(
        name=read.text(value, "name", max_length=128),
        sha256=sha256,
        decision_id=read.text(value, "decision_id", max_length=128),
    )
