"""Building blocks of validation, on pyHanko (EN 319 102-1 clauses 5.2, 5.3, 5.4, 5.6.2)."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from pyhanko.sign.ades.report import AdESIndeterminate, AdESPassed, AdESStatus, AdESSubIndic
from pyhanko.sign.general import CMSExtractionError, extract_certificate_info
from pyhanko.sign.validation.ades import (
    ades_basic_validation,
    ades_timestamp_validation,
)
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.policy_decl import (
    CertificateFetchingRule,
    RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec,
    SignatureValidationSpec,
    bootstrap_validation_data_handlers,
)
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.status import TimestampSignatureStatus
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.errors import InvalidCertificateError, PathBuildingError, ValidationError
from pyhanko_certvalidator.ltv.ades_past import past_validate
from pyhanko_certvalidator.ltv.types import ValidationTimingInfo
from pyhanko_certvalidator.policy_decl import (
    NO_REVOCATION,
    REQUIRE_REVINFO,
    CertRevTrustPolicy,
    RevocationCheckingPolicy,
    RevocationCheckingRule,
)
from pyhanko_certvalidator.registry import PathBuilder, SimpleTrustManager

from signing.ades.validate.knowledge import Knowledge
from signing.ades.validate.parts import printable
from signing.ades.validate.policy import Revocation, ValidationPolicy
from signing.ades.validate.report import Indication, Verdict

log = logging.getLogger(__name__)

MAX_CERTIFICATES: Final = 64
"""Of one signature that are looked at."""
Chain = tuple[asn1_x509.Certificate, ...]
Imprint = Callable[[str], bytes]
"""The digest that was stamped, by the name of a hash function."""
_CHECKED: Final[dict[Revocation, RevocationCheckingPolicy]] = {
    "required": REQUIRE_REVINFO,
    "declared": RevocationCheckingPolicy(
        RevocationCheckingRule.CHECK_IF_DECLARED, RevocationCheckingRule.CHECK_IF_DECLARED
    ),
    "none": NO_REVOCATION,
}
_USAGE: Final = KeyUsageConstraints(key_usage={"non_repudiation", "digital_signature"})
_USAGE_OF_STAMPS: Final = TimestampSignatureStatus.default_usage_constraints()
_OFFLINE: Final = RevocationInfoGatheringSpec(
    RevinfoOnlineFetchingRule.LOCAL_ONLY, certificate_fetching_rule=CertificateFetchingRule.NEVER_FETCH
)
_WORDS: Final[dict[AdESStatus, Indication]] = {
    AdESStatus.PASSED: "TOTAL_PASSED",
    AdESStatus.INDETERMINATE: "INDETERMINATE",
    AdESStatus.FAILED: "TOTAL_FAILED",
}
EXPLAINED: Final = {
    "HASH_FAILURE": "what was signed is not what is there",
    "SIG_CRYPTO_FAILURE": "the signature's value does not verify with the signer's key",
    "FORMAT_FAILURE": "this is not a signature in the form that the standards give it",
    "REVOKED": "the certificate was revoked before the signature was made",
    "NO_CERTIFICATE_CHAIN_FOUND": "no chain leads from the certificate to a trust anchor",
    "CERTIFICATE_CHAIN_GENERAL_FAILURE": "the chain of certificates cannot be validated, commonly since the status of "
    "one of them is not known",
    "CHAIN_CONSTRAINTS_FAILURE": "a certificate is not for this use",
    "CRYPTO_CONSTRAINTS_FAILURE": "an algorithm is not one that may be relied on",
    "CRYPTO_CONSTRAINTS_FAILURE_NO_POE": "an algorithm may no longer be relied on, and nothing proves that the "
    "signature is from before",
    "NO_SIGNING_CERTIFICATE_FOUND": "the signature does not say which certificate it belongs to, or names another one",
    "REVOKED_NO_POE": "the certificate is revoked, and nothing proves that the signature is from before",
    "REVOKED_CA_NO_POE": "an authority's certificate is revoked, and nothing proves that the signature is from before",
    "OUT_OF_BOUNDS_NO_POE": "the certificate is not valid at this time, and nothing proves that the signature is from "
    "when it was",
    "OUT_OF_BOUNDS_NOT_REVOKED": "the certificate has expired, and nothing proves that the signature is from before",
    "TRY_LATER": "what is known of a certificate's status is not fresh enough",
    "TIMESTAMP_ORDER_FAILURE": "the time-stamps contradict one another",
    "SIG_CONSTRAINTS_FAILURE": "the signature lacks what its form asks for",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one signature or time-stamp."""

    outcome: AdESSubIndic
    status: Any
    """pyHanko's; None where the signature could not even be read."""
    chain: Chain
    """From the signer's certificate up to an anchor, whether or not it validates; empty: there is none."""
    explanation: str | None = None

    @property
    def passed(self) -> bool:
        """TOTAL_PASSED."""
        return self.outcome.status is AdESStatus.PASSED

    def verdict(self) -> Verdict:
        """In the report's words."""
        if self.passed:
            return Verdict("TOTAL_PASSED")
        word = self.outcome.standard_name
        # The library's texts quote certificates.
        said = printable(self.explanation) if self.explanation else EXPLAINED.get(word)
        return Verdict(_WORDS[self.outcome.status], word, said)

    def now(self, outcome: AdESSubIndic, explanation: str | None = None) -> Judged:
        """With another outcome."""
        return Judged(outcome, self.status, self.chain, explanation)


def spec(policy: ValidationPolicy, knowledge: Knowledge) -> SignatureValidationSpec:
    """The policy in pyHanko's form, over what is known; nothing is fetched."""
    return SignatureValidationSpec(
        cert_validation_policy=_chains(policy.anchors, policy.revocation),
        ts_cert_validation_policy=_chains(policy.timestamp_anchors or policy.anchors, policy.revocation),
        revinfo_gathering_policy=_OFFLINE,
        local_knowledge=knowledge.local(),
        key_usage_settings=_USAGE,
    )


def _chains(anchors: tuple[bytes, ...], revocation: Revocation) -> CertValidationPolicySpec:
    trusted: Any = SimpleTrustManager
    return CertValidationPolicySpec(
        trust_manager=trusted.build(trust_roots=[asn1_x509.Certificate.load(each) for each in anchors]),
        revinfo_policy=CertRevTrustPolicy(_CHECKED[revocation]),
    )


def certificates_of(signed: cms.SignedData, policy: ValidationPolicy) -> list[asn1_x509.Certificate]:
    """All that a signature or time-stamp carries, and the anchors."""
    anchors = map(asn1_x509.Certificate.load, (*policy.anchors, *policy.timestamp_anchors))
    return [*anchors, *(each.chosen for each in signed["certificates"] if each.name == "certificate")]


async def signature_at(
    signed: cms.SignedData, digest: bytes, how: SignatureValidationSpec, knowledge: Knowledge, at: datetime
) -> Judged:
    """Validation for basic signatures (5.3), for one time."""
    timing, handlers = _timing(at), _handlers(how, knowledge, at)
    found = await ades_basic_validation(
        signed, how, timing_info=timing, raw_digest=digest, validation_data_handlers=handlers
    )
    chain = await _chain(signed, how.cert_validation_policy, handlers)
    return Judged(found.ades_subindic, found.api_status, chain, found.failure_msg)


async def timestamp_at(
    signed: cms.SignedData, imprint: Imprint, how: SignatureValidationSpec, knowledge: Knowledge, at: datetime
) -> Judged:
    """Validation for time-stamps (5.4), for one time."""
    timing, handlers = _timing(at), _handlers(how, knowledge, at)
    chain = await _chain(signed, _stamps(how), handlers)
    try:
        found = await ades_timestamp_validation(
            signed, how, imprint, timing_info=timing, validation_data_handlers=handlers
        )
    except SignatureValidationError as error:
        known: AdESSubIndic | None = error.ades_subindication
        return Judged(AdESIndeterminate.GENERIC if known is None else known, None, chain, error.failure_message)
    return Judged(found.ades_subindic, found.api_status, chain, found.failure_msg)


async def in_the_past(
    signed: cms.SignedData, now: Judged, how: SignatureValidationSpec, knowledge: Knowledge, *, stamps: bool
) -> Judged:
    """Past signature validation (5.6.2.4): what has ended since is measured by what proves existence before.

    :param stamps: it is a time-stamp.
    """
    if not now.chain:
        return now
    try:
        # pyHanko asks what a certificate is for only where its path is valid now.
        (_USAGE_OF_STAMPS if stamps else _USAGE).validate(now.chain[0])
    except InvalidCertificateError:
        return now.now(AdESIndeterminate.CHAIN_CONSTRAINTS_FAILURE)
    policy = _stamps(how) if stamps else how.cert_validation_policy
    leaf, existed = now.chain[0], knowledge.since(signed["signer_infos"][0]["signature"].native)
    # What is told of the signer's certificate has to be from before it ended: later, nobody answers for its issuer.
    past = dataclasses.replace(
        how, local_knowledge=knowledge.before(leaf, now.chain[1:2], leaf.not_valid_after).local()
    )
    handlers = _handlers(past, knowledge, knowledge.at)
    handlers.cert_registry.register_multiple(_certificates(signed))
    paths: Any = PathBuilder(policy.trust_manager, handlers.cert_registry).async_build_paths_lazy(leaf)
    try:
        async for path in paths:
            try:
                control = await past_validate(path, policy, handlers, init_control_time=knowledge.at)
            except ValidationError as error:
                log.info("not valid in the past either (%s)", type(error).__name__)
                continue
            if leaf.not_valid_before <= existed <= min(control, leaf.not_valid_after):
                return now.now(AdESPassed.OK)
    finally:
        await paths.cancel()
    return now


def _stamps(how: SignatureValidationSpec) -> CertValidationPolicySpec:
    return how.ts_cert_validation_policy or how.cert_validation_policy


async def _chain(signed: cms.SignedData, policy: CertValidationPolicySpec, handlers: Any) -> Chain:
    """The first that leads to an anchor; pyHanko's result does not have it where something is wrong with it."""
    try:
        leaf: asn1_x509.Certificate = extract_certificate_info(signed).signer_cert
    except CMSExtractionError:
        return ()
    handlers.cert_registry.register_multiple(_certificates(signed))
    paths: Any = PathBuilder(policy.trust_manager, handlers.cert_registry).async_build_paths_lazy(leaf)
    try:
        async for path in paths:
            return tuple(reversed(list(path.iter_certs(include_root=True))))
    except PathBuildingError:
        return ()
    finally:
        await paths.cancel()
    return ()


def _certificates(signed: cms.SignedData) -> list[asn1_x509.Certificate]:
    return [each.chosen for each in signed["certificates"] if each.name == "certificate"][:MAX_CERTIFICATES]


def _timing(at: datetime) -> ValidationTimingInfo:
    return ValidationTimingInfo(validation_time=at, best_signature_time=at, point_in_time_validation=True)


def _handlers(how: SignatureValidationSpec, knowledge: Knowledge, at: datetime) -> Any:
    then = dataclasses.replace(knowledge, at=at)
    return bootstrap_validation_data_handlers(how, timing_info=_timing(at), poe_manager_override=then.manager())
