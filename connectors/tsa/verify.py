"""Verifying a time-stamp token offline, on pyHanko (RFC 3161 2.3, 2.4.2; ETSI EN 319 422)."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from asn1crypto import cms, core, pem, tsp, x509
from cryptography.exceptions import UnsupportedAlgorithm

from connectors.ports.tsa import HashName, TimestampToken, TsaAnswerInvalid

_VERSION: Final = "v1"
_UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, UnsupportedAlgorithm)
"""What the parsers raise, and pyHanko about algorithms that it has never heard of."""


def read_anchors(files: Iterable[Path]) -> tuple[x509.Certificate, ...]:
    """Trust anchors from PEM files.

    :raises ValueError: a file has none, or cannot be read.
    """
    found: list[x509.Certificate] = []
    for path in files:
        try:
            data = path.read_bytes()
            before = len(found)
            found.extend(
                x509.Certificate.load(der, strict=True)
                for kind, _headers, der in pem.unarmor(data, multiple=True)
                if kind == "CERTIFICATE"
            )
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: trust anchors cannot be read") from error
        if len(found) == before:
            raise ValueError(f"{path}: there is no certificate in it")
    return tuple(found)


def verify(
    token: bytes, imprint: bytes, hash_name: HashName, anchors: Sequence[x509.Certificate]
) -> TimestampToken:
    """The token stamps this imprint, and one of the anchors answers for who made it, at the time that it states.

    :raises TsaAnswerInvalid: anything else.
    """
    try:
        return _read(token, imprint, hash_name, anchors)
    except _UNREADABLE as error:
        # Parts are parsed where they are first looked at.
        raise TsaAnswerInvalid("the stamp cannot be read") from error


def _read(
    token: bytes, imprint: bytes, hash_name: HashName, anchors: Sequence[x509.Certificate]
) -> TimestampToken:
    signed, info = _parsed(token)
    stamped = info["message_imprint"]
    if stamped["hash_algorithm"]["algorithm"].native != hash_name:
        raise TsaAnswerInvalid("the stamp is over another hash function")
    if not hmac.compare_digest(stamped["hashed_message"].native, imprint):
        raise TsaAnswerInvalid("the stamp is of something else")
    certificate = _verified(signed, info, imprint, anchors)
    return TimestampToken(
        der=token,
        at=info["gen_time"].native,
        serial=info["serial_number"].native,
        policy=info["policy"].dotted,
        authority=certificate.subject.human_friendly,
    )


def _parsed(token: bytes) -> tuple[cms.SignedData, tsp.TSTInfo]:
    content = cms.ContentInfo.load(token, strict=True)
    if content["content_type"].native != "signed_data":
        raise TsaAnswerInvalid("the stamp is not signed data")
    signed = content["content"]
    wrapped = signed["encap_content_info"]
    inner = wrapped["content"]
    info = inner.parsed if isinstance(inner, core.ParsableOctetString) else None
    if wrapped["content_type"].native != "tst_info" or not isinstance(info, tsp.TSTInfo):
        raise TsaAnswerInvalid("the signed data is not a stamp")
    if info["version"].native != _VERSION or len(signed["signer_infos"]) != 1:
        raise TsaAnswerInvalid("the stamp is of another version, or several signed it")
    return signed, info


def _verified(
    signed: cms.SignedData, info: tsp.TSTInfo, imprint: bytes, anchors: Sequence[x509.Certificate]
) -> x509.Certificate:
    # pyHanko is slow to import: only who verifies a stamp waits for it.
    from pyhanko.sign.validation.errors import SignatureValidationError
    from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
    from pyhanko.sign.validation.status import TimestampSignatureStatus
    from pyhanko_certvalidator import ValidationContext
    from pyhanko_certvalidator.errors import ValidationError

    # At the stamp's own time: an authority whose certificate has expired since has not stamped in vain.
    context: Any = ValidationContext(
        trust_roots=list(anchors), moment=info["gen_time"].native, allow_fetching=False, revocation_mode="soft-fail"
    )
    try:
        found = asyncio.run(validate_tst_signed_data(signed, context, lambda _name: imprint))
        status = TimestampSignatureStatus(**found)
    except (SignatureValidationError, ValidationError) as error:
        raise TsaAnswerInvalid("the stamp's signature cannot be verified") from error
    if not (status.intact and status.valid and status.trusted):
        raise TsaAnswerInvalid("the stamp's signature does not verify, or nobody answers for who made it")
    _check_purpose(status.signing_cert)
    certificate: x509.Certificate = status.signing_cert
    return certificate


def _check_purpose(certificate: x509.Certificate) -> None:
    """RFC 3161 2.3: the key is for time-stamping and nothing else, and the extension that says so is critical."""
    usages = certificate.extended_key_usage_value
    critical = "extended_key_usage" in certificate.critical_extensions
    if usages is None or usages.native != ["time_stamping"] or not critical:
        raise TsaAnswerInvalid("the certificate that made the stamp is not for time-stamping alone")
