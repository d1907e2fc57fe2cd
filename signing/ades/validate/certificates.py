"""Chains and qualified statements of certificates, for the report (RFC 5280; ETSI EN 319 412-5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from asn1crypto import x509 as asn1_x509
from pyhanko.sign.ades.qualified_asn1 import get_qc_statements

from signing.ades.validate.parts import printable
from signing.ades.validate.report import CertificateReport, QualifiedStatements

_TYPES: Final = {"qct_esign": "esign", "qct_eseal": "eseal", "qct_web": "web"}


def reported(chain: Iterable[asn1_x509.Certificate], anchors: Iterable[bytes]) -> tuple[CertificateReport, ...]:
    """In the report's form."""
    trusted = set(anchors)
    return tuple(
        CertificateReport(
            subject=printable(each.subject.human_friendly),
            issuer=printable(each.issuer.human_friendly),
            serial_number=f"{each.serial_number:x}",
            sha256=each.sha256.hex(),
            not_before=each.not_valid_before,
            not_after=each.not_valid_after,
            trust_anchor=each.dump() in trusted,
        )
        for each in chain
    )


def common_name(certificate: asn1_x509.Certificate) -> str:
    """The subject's, or else the whole subject."""
    name = certificate.subject.native.get("common_name")
    return printable(name if isinstance(name, str) else certificate.subject.human_friendly)


def qualified(certificate: asn1_x509.Certificate) -> QualifiedStatements | None:
    """What the certificate states; None where it has no qcStatements, or none that can be read."""
    try:
        return _stated(certificate)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _stated(certificate: asn1_x509.Certificate) -> QualifiedStatements | None:
    found = {each["statement_id"].native: each["statement_info"] for each in get_qc_statements(certificate)}
    if not found:
        return None
    types = found["qc_type"].native if "qc_type" in found else []
    countries = found["qc_cc_legislation"].native if "qc_cc_legislation" in found else []
    return QualifiedStatements(
        compliance="qc_compliance" in found,
        sscd="qc_sscd" in found,
        types=tuple(_TYPES.get(each, str(each)) for each in types),
        countries=tuple(map(printable, countries)),
    )
