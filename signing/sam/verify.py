"""Whether a SAD authorises a request: one pure function, raising at the first thing that is wrong.

The signature has been verified and every claim read (:func:`contract.sad.decode`), the credential's row has been opened
(:func:`signing.sam.custody.opened`); that the digests are *unspent* is the ledger's, at the moment it reserves them.

Sources: EN 419 241-2 FMT_MSA and FDP_ACF for what binds SAD, signer, key and data; CSC API 2.0.0.2 clause 8.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract.digests import HASH_LENGTHS
from contract.sad import LOA_ORDER, EvidenceClaim, Sad
from foundation.clock import epoch
from foundation.jose import VerificationKey
from signing.sam.algorithms import SignatureAlgorithm, signature_algorithm
from signing.sam.binding import Possession, verify_binding
from signing.sam.credential import Credential, Profile
from signing.sam.errors import (
    AlgorithmNotAllowed,
    CertificateExpired,
    CredentialDisabled,
    DigestLengthInvalid,
    DigestNotAuthorized,
    DigestsMissing,
    FloorNotMet,
    NotPermitted,
    RowAltered,
    SadExpired,
    SadRefused,
    SadRevoked,
    TooManySignatures,
    WrongClient,
    WrongCredential,
    WrongOwner,
)
from signing.sam.proof import ProofPolicy, check_proof
from signing.sam.revocation import Revocation
from signing.sam.tbs.request import Template, documents_of

TWO_CATEGORIES: Final = 2
"""EN 419 241-1 SRA_SAP.1.1 for SCAL2: at least two authentication factors of different categories."""
TRANSACTION_EVIDENCE_SECONDS: Final = 900
"""How old the evidence that was made for the transaction may be at ``iat``, whatever else the floor says."""
LEEWAY_SECONDS: Final = 5
"""How far an issuer's clock may be ahead of ours; never applied to ``exp``."""


@dataclass(frozen=True, slots=True)
class SignatureRequest:
    """What the web tier says it was asked for; none of it is believed."""

    sad: str = field(repr=False)
    client_id: str | None
    """The client that presented the SAD; ``None`` where the SAD itself was its authentication."""
    credential_id: str
    hash_alg: str | None
    digests: tuple[bytes, ...]
    """What has to be authorised: with templates, the digests of their documents, in their order."""
    sign_algo: str
    sign_algo_params: bytes | None = None
    possession: Possession = field(default_factory=Possession)
    """What shows the key to which the SAD is bound."""
    templates: tuple[Template, ...] = ()
    """For digests of documents: what to build around them, one a signature."""


@dataclass(frozen=True, slots=True)
class SamPolicy:
    """What this module's operator laid down."""

    realm: str
    sam_id: str
    """``aud`` of SADs and orders."""
    issuers: Mapping[str, tuple[VerificationKey, ...]]
    """Pinned keys, by issuer."""
    profiles: Mapping[str, Profile]
    epoch_not_before: int
    """Start of the ledger's epoch: SADs issued before it are refused (SAD-12)."""
    sads_not_before: int = 0
    """SADs issued before it are refused: what this process cannot know of, see :func:`first_second_after`."""
    max_transaction_seconds: int = 900
    """From the issue of a transaction's first SAD until none that took its place serves any more; 0: none does."""
    dpop_htu: tuple[str, ...] = ()
    """URIs of ``signatures/signHash`` as clients see them: what DPoP proofs are for (RFC 9449 4.2, ``htu``)."""
    max_order_seconds: int = 900
    max_operation_seconds: int = 86_400
    """Longest life of an operators' operation."""
    proof: ProofPolicy | None = None
    """Where people approve with a passkey; None: no passkey is bound here."""

    def last_second(self, sad: Sad) -> int:
        """The first second in which no SAD of the transaction serves any more: NumericDate."""
        return max(sad.exp, sad.since + self.max_transaction_seconds) if sad.dtbsr else sad.exp


@dataclass(frozen=True, slots=True)
class _Claim:
    sad: Sad
    request: SignatureRequest
    policy: SamPolicy
    now: datetime


@dataclass(frozen=True, slots=True)
class _Case(_Claim):
    credential: Credential
    revocations: Collection[Revocation]


def first_second_after(at: datetime) -> int:
    """The first ``iat`` that no token can have which was issued until then, by a clock that is ahead as far as allowed.

    :returns: NumericDate.
    """
    return epoch(at) + LEEWAY_SECONDS + 1


def verify_claim(sad: Sad, request: SignatureRequest, policy: SamPolicy, now: datetime) -> str | None:
    """Verify what takes neither the credential nor the database: the steps of :data:`CLAIM_CHECKS`, in that order,
    and that the key to which the SAD is bound was shown (SAD-14).

    A SAD that is old or another's thereby costs no read and no call of the device (SAD-15).

    :returns: the proof of that key which the redemption spends; ``None`` where there is none.
    :raises SamError: the subclass that the step which failed names.
    """
    claim = _Claim(sad, request, policy, now)
    for check in CLAIM_CHECKS:
        check(claim)
    return verify_binding(sad, request.sad, request.possession, method="POST", uris=policy.dpop_htu, now=now)


def verify_sad(  # noqa: PLR0917 - the whole case, each part of it decided by somebody else
    sad: Sad,
    request: SignatureRequest,
    credential: Credential,
    revocations: Collection[Revocation],
    policy: SamPolicy,
    now: datetime,
) -> SignatureAlgorithm:
    """Verify that the SAD authorises the request: :data:`CLAIM_CHECKS`, then :data:`CHECKS`, in that order.

    :param revocations: all that may be about the SAD; others among them change nothing.
    :returns: the signature algorithm to use, which is a part of what was verified.
    :raises SamError: the subclass that the step which failed names.
    """
    verify_claim(sad, request, policy, now)
    case = _Case(sad, request, policy, now, credential, revocations)
    for check in CHECKS:
        check(case)
    return _algorithm(case)


def verify_successor(  # noqa: PLR0917 - the whole case, each part of it decided by somebody else
    sad: Sad,
    request: SignatureRequest,
    credential: Credential,
    revocations: Collection[Revocation],
    policy: SamPolicy,
    now: datetime,
) -> None:
    """Verify that a SAD may take the place of those before it: all but what is about the digests of a request.

    No key has to be shown: it redeems nothing, and whoever stops the transaction gains nothing.

    :param request: its digests and algorithm are not looked at.
    :raises SamError: the subclass that the step which failed names.
    """
    claim = _Claim(sad, request, policy, now)
    for claim_check in CLAIM_CHECKS:
        claim_check(claim)
    case = _Case(sad, request, policy, now, credential, revocations)
    for check in SUCCESSOR_CHECKS:
        check(case)
    if sad.supersedes is None:
        raise SadRefused("the SAD takes nobody's place")


def _check_issuer(case: _Claim) -> None:
    if case.sad.iss not in case.policy.issuers:
        raise SadRefused("the SAD's issuer is not pinned")


def _check_audience(case: _Claim) -> None:
    if case.sad.aud != case.policy.sam_id:
        raise SadRefused("the SAD is for another module")


def _check_expiry(case: _Claim) -> None:
    check_expiry(case.sad, case.now)


def _check_issue(case: _Claim) -> None:
    if case.sad.iat > epoch(case.now) + LEEWAY_SECONDS:
        raise SadRefused("the SAD was issued in the future")


def _check_start(case: _Claim) -> None:
    if case.sad.since < case.policy.sads_not_before:
        raise SadRefused("the SAD may have been issued, and used, before this process started")


def _check_requested(case: _Claim) -> None:
    if case.sad.credential_id != case.request.credential_id:
        raise WrongCredential("the SAD is for another credential")


def _check_client(case: _Claim) -> None:
    if case.request.client_id is not None and case.request.client_id != case.sad.client_id:
        raise WrongClient("the SAD was given to another client")


def _check_lifetime(case: _Case) -> None:
    if case.sad.exp - case.sad.iat > case.credential.floor.max_sad_seconds:
        raise SadRefused("the SAD lives longer than the credential allows")


def _check_epoch(case: _Case) -> None:
    if case.sad.since < case.policy.epoch_not_before:
        raise SadRefused("the SAD was issued before the ledger's epoch")


def _check_credential_not_before(case: _Case) -> None:
    if case.sad.since < case.credential.not_before:
        raise SadRefused("the SAD was issued before the credential's last change of status")


def _check_revocations(case: _Case) -> None:
    if any(revocation.refuses(case.sad, LEEWAY_SECONDS) for revocation in case.revocations):
        raise SadRevoked("the SAD was revoked by its issuer")


def _check_credential(case: _Case) -> None:
    if case.sad.credential_id != case.credential.id:
        raise WrongCredential("the SAD is for another credential")


def _check_owner(case: _Case) -> None:
    # An account is one only together with whose it is: two issuers may know different persons by one `sub`.
    if (case.sad.iss, case.sad.sub) != (case.credential.issuer, case.credential.owner):
        raise WrongOwner("the SAD is another person's")


def _check_status(case: _Case) -> None:
    if case.credential.status != "active":
        raise CredentialDisabled("the credential is not active")


def _check_certificate(case: _Case) -> None:
    check_certificate(case.credential, case.now)


def _check_level(case: _Case) -> None:
    if LOA_ORDER[case.sad.loa] < LOA_ORDER[case.credential.floor.loa]:
        raise FloorNotMet("the level of assurance is below the credential's floor")


def _check_evidence_age(case: _Case) -> None:
    oldest = min(case.sad.auth_time, *(item.at for item in case.sad.evidence))
    if case.sad.iat - oldest > case.credential.floor.max_evidence_age_seconds:
        raise FloorNotMet("the oldest evidence is older than the credential allows")


def _check_categories(case: _Case) -> None:
    floor = case.credential.floor.min_categories
    needed = max(floor, TWO_CATEGORIES) if case.credential.scal == "2" else floor
    categories = {str(item.category) for item in case.sad.evidence}
    if any(item.category == "possession" and item.user_verified for item in case.sad.evidence):
        # A multi-factor authenticator asked for its PIN or biometric itself (NIST SP 800-63B 5.1.8, 5.1.9).
        categories.add("activation of the authenticator")
    if len(categories) < needed:
        raise FloorNotMet("the evidence has fewer categories than the credential demands")
    if not case.sad.amr:
        raise FloorNotMet("amr names no method")


def _check_transaction(case: _Case) -> None:
    """EN 419 241-1, SCAL2: the authentication is for these data, not for a session that is still open."""
    if case.credential.scal == "2" and not any(_for_now(case, item) for item in case.sad.evidence):
        raise FloorNotMet("no recent evidence was made for this transaction")


def _check_in_band(case: _Case) -> None:
    """ETSI TS 119 432 V1.3.1 5.3.2: what is typed into somebody else's application is no sole control at SCAL2."""
    if case.sad.in_band and case.credential.scal == "2":
        raise FloorNotMet("the secrets came through the signing service, and the credential is SCAL2")


def _check_phishing_resistance(case: _Case) -> None:
    if not case.credential.floor.phishing_resistant:
        return
    scal2 = case.credential.scal == "2"
    if not any(item.phishing_resistant and (not scal2 or _for_now(case, item)) for item in case.sad.evidence):
        raise FloorNotMet("no phishing-resistant authenticator was used for this transaction")


def _for_now(case: _Case, item: EvidenceClaim) -> bool:
    """Whether evidence was made for this transaction, a moment ago."""
    return item.transaction_bound and item.at >= case.sad.iat - TRANSACTION_EVIDENCE_SECONDS


def _check_hash_type(case: _Case) -> None:
    """Digests of documents are never signed themselves, and what is to be signed itself is nothing to build around."""
    if (case.sad.hash_type == "sdr") != bool(case.request.templates):
        raise NotPermitted("digests of documents are signed through templates, and nothing else is")
    if case.request.templates and documents_of(case.request.templates) != case.request.digests:
        raise DigestNotAuthorized("the templates are for other documents")


def _check_count(case: _Case) -> None:
    if not case.request.digests:
        raise DigestsMissing("there is nothing to sign")
    if case.sad.sign_count > case.credential.multisign:
        raise TooManySignatures("the SAD authorises more signatures than the credential allows")
    if not case.sad.dtbsr and len(case.request.digests) > case.sad.sign_count:
        raise TooManySignatures("more signatures than the SAD authorises")


def _check_digest_lengths(case: _Case) -> None:
    length = HASH_LENGTHS[case.sad.hash_alg]
    if any(len(digest) != length for digest in case.request.digests):
        raise DigestLengthInvalid("a digest does not have its hash function's length")


def _check_digests(case: _Case) -> None:
    if not case.sad.dtbsr:
        if case.credential.scal == "2":
            raise DigestNotAuthorized("the SAD names no digests, and the credential demands them")
        return
    # As a rule all of them, in their order; to count them takes longer than all other checks together.
    if case.request.digests != case.sad.dtbsr and Counter(case.request.digests) - Counter(case.sad.dtbsr):
        raise DigestNotAuthorized("a digest is not authorised by the SAD")


def _check_algorithm(case: _Case) -> None:
    if _algorithm(case).hash_alg != case.sad.hash_alg:
        raise DigestNotAuthorized("the digests were authorised with another hash function")


def _check_succession(case: _Case) -> None:
    """What was spent through the SADs before it is known for so long (:meth:`SamPolicy.last_second`)."""
    sad = case.sad
    if sad.supersedes is not None and sad.exp - sad.since > case.policy.max_transaction_seconds:
        raise SadRefused("the SADs of its transaction serve for longer than this module allows")


def _check_proof(case: _Case) -> None:
    check_proof(case.sad, case.credential, case.policy.proof, case.now)


CLAIM_CHECKS: Final[tuple[Callable[[_Claim], None], ...]] = (
    # 1. Whose word it is, and for whom.
    _check_issuer,
    _check_audience,
    # 2. Time: `exp` is the first second refused.
    _check_expiry,
    _check_issue,
    _check_start,
    # 3. For what is asked, by who asks.
    _check_requested,
    _check_client,
)
CHECKS: Final[tuple[Callable[[_Case], None], ...]] = (
    # 1. Credential and owner.
    _check_credential,
    _check_owner,
    # 2. Time, as ledger and credential see it: of what took the place of earlier SADs, by when the first was issued.
    _check_lifetime,
    _check_succession,
    _check_epoch,
    _check_credential_not_before,
    # 3. Its issuer has not taken it back: transaction, client, account (SAD-06, SAD-11).
    _check_revocations,
    # 4. The credential can sign now.
    _check_status,
    _check_certificate,
    # 5. Level and factors against the credential's own floor; for SCAL2 two categories, one of them for this
    #    transaction, and nothing in band.
    _check_level,
    _check_evidence_age,
    _check_categories,
    _check_transaction,
    _check_in_band,
    _check_phishing_resistance,
    # 6. Digests: how many, how long, a sub-multiset of those authorised.
    _check_hash_type,
    _check_count,
    _check_digest_lengths,
    _check_digests,
    # 7. Algorithm and padding of the key, with the hash function that was authorised.
    _check_algorithm,
    # 8. The signer's own device approved it, where the credential demands that.
    _check_proof,
)


_OF_A_REQUEST: Final = frozenset(
    {_check_hash_type, _check_count, _check_digest_lengths, _check_digests, _check_algorithm}
)
SUCCESSOR_CHECKS: Final = tuple(check for check in CHECKS if check not in _OF_A_REQUEST)
"""Those that need no digests to be asked for."""


def check_announced(sad: Sad, documents: Collection[bytes]) -> None:
    """What can be said of documents before they are read: no file is read for a SAD that is not over them.

    It permits nothing; :func:`verify_sad` comes after it, with the documents' digests as they were found.

    :raises NotPermitted: the SAD is not over documents.
    :raises DigestNotAuthorized: it names digests, and not these.
    """
    if sad.hash_type != "sdr":
        raise NotPermitted("the SAD is not over documents")
    if sad.dtbsr and Counter(documents) - Counter(sad.dtbsr):
        raise DigestNotAuthorized("a document is not authorised by the SAD")


def check_expiry(sad: Sad, now: datetime) -> None:
    """:raises SadExpired: ``exp`` has been reached; it is the first second refused (SAD-06)."""
    if epoch(now) >= sad.exp:
        raise SadExpired("the SAD has expired")


def check_certificate(credential: Credential, now: datetime) -> None:
    """The signer's certificate is valid now, and certifies the credential's key (KEY-02).

    :raises CertificateExpired: before notBefore or after notAfter (RFC 5280 4.1.2.5: both inclusive).
    :raises RowAltered: there is none, it cannot be read, or certifies another key.
    """
    if not credential.certificates:
        raise RowAltered("an active credential has no certificate")
    certified = _certified(credential.certificates[0])
    if certified.public_key != credential.public_key:
        raise RowAltered("the certificate certifies another key")
    if not certified.not_before <= now.replace(microsecond=0) <= certified.not_after:
        raise CertificateExpired("the certificate is not valid at this time")


@dataclass(frozen=True, slots=True)
class _Certified:
    """What is looked at in a certificate."""

    public_key: bytes
    """DER SubjectPublicKeyInfo."""
    not_before: datetime
    not_after: datetime


@lru_cache(maxsize=1024)
def _certified(certificate: bytes) -> _Certified:
    """Parsed once for many signatures: nothing but the octets decides what comes of it.

    :raises RowAltered: it cannot be read.
    """
    try:
        found = x509.load_der_x509_certificate(certificate)
    except ValueError as error:
        raise RowAltered("the certificate cannot be read") from error
    public_key = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return _Certified(public_key, found.not_valid_before_utc, found.not_valid_after_utc)


def _algorithm(case: _Case) -> SignatureAlgorithm:
    request = case.request
    if request.hash_alg is not None and request.hash_alg not in HASH_LENGTHS:
        raise AlgorithmNotAllowed("the hash function is not known")
    return signature_algorithm(
        request.sign_algo, request.sign_algo_params, request.hash_alg, case.credential.key_profile()
    )
