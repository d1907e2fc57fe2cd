"""What stands in a person's certificate, and what the operator takes it for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from asn1crypto import core
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from foundation.certificates.reading import identity
from idp.authn.certificate.chain import ValidPath
from idp.authn.certificate.errors import CertificateRefused
from idp.certificate_settings import EvidenceRule

QC_STATEMENTS: Final = ObjectIdentifier("1.3.6.1.5.5.7.1.3")
QC_TYPE: Final = "0.4.0.1862.1.6"
"""ETSI EN 319 412-5, 4.2.3: esign (.1), eseal (.2) or web (.3)."""
_UPN: Final = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_MAX_STATEMENTS: Final = 32


class _Statement(core.Sequence):  # type: ignore[misc] # asn1crypto is untyped
    """QCStatement (RFC 3739, 3.2.6.1)."""

    _fields = [("statement_id", core.ObjectIdentifier), ("statement_info", core.Any, {"optional": True})]  # noqa: RUF012 - asn1crypto's way


class _Statements(core.SequenceOf):  # type: ignore[misc] # asn1crypto is untyped
    _child_spec = _Statement


class _Types(core.SequenceOf):  # type: ignore[misc] # asn1crypto is untyped
    _child_spec = core.ObjectIdentifier


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a validated certificate says."""

    identity: str
    """Lower-case hex SHA-256 of issuer, serial number and public key: which certificate it is."""
    anchor: str
    subject: str
    """RFC 4514."""
    issuer: str
    serial: str
    """Lower-case hex."""
    not_after: datetime
    common_name: str | None
    serial_number: str | None
    """The subject's serialNumber, where there is exactly one."""
    upns: tuple[str, ...]
    emails: tuple[str, ...]
    policies: frozenset[str]
    statements: frozenset[str]
    """Object identifiers of its QCStatements, and of its QcType's types."""


def of(path: ValidPath) -> CertificateFacts:
    """What the person's certificate of a valid path says.

    :raises CertificateRefused: ``malformed``: an extension that is looked at cannot be read.
    """
    leaf = path.leaf
    try:
        names = _names(leaf)
        statements = _statements(leaf)
    except (ValueError, TypeError) as error:
        raise CertificateRefused("malformed", "an extension of the certificate cannot be read") from error
    return CertificateFacts(
        identity=identity(leaf),
        anchor=path.anchor.name,
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        serial=format(leaf.serial_number, "x"),
        not_after=leaf.not_valid_after_utc,
        common_name=_one(leaf.subject, NameOID.COMMON_NAME),
        serial_number=_one(leaf.subject, NameOID.SERIAL_NUMBER),
        upns=tuple(name.upn for name in names if isinstance(name, _Upn)),
        emails=tuple(name.value for name in names if isinstance(name, x509.RFC822Name)),
        policies=path.policies,
        statements=statements,
    )


def assurance(facts: CertificateFacts, rules: Iterable[EvidenceRule]) -> tuple[frozenset[str], str | None]:
    """The flags of the operator's rules that hold of a certificate, and the first attestation that they give."""
    flags: set[str] = set()
    attestation: str | None = None
    for rule in rules:
        meant = not rule.policies or bool(facts.policies & set(rule.policies))
        if meant and facts.statements.issuperset(rule.statements):
            flags |= set(rule.flags)
            attestation = attestation or rule.attestation
    return frozenset(flags), attestation


@dataclass(frozen=True, slots=True)
class _Upn:
    upn: str


def _one(name: x509.Name, oid: ObjectIdentifier) -> str | None:
    found = [attribute.value for attribute in name.get_attributes_for_oid(oid)]
    return found[0] if len(found) == 1 and isinstance(found[0], str) and found[0] else None


def _names(leaf: x509.Certificate) -> list[_Upn | x509.GeneralName]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [_Upn(_utf8(name.value)) if _is_upn(name) else name for name in names]


def _is_upn(name: x509.GeneralName) -> bool:
    return isinstance(name, x509.OtherName) and name.type_id == _UPN


def _utf8(der: bytes) -> str:
    value: Any = core.UTF8String.load(der, strict=True).native
    return str(value)


def _statements(leaf: x509.Certificate) -> frozenset[str]:
    try:
        extension = leaf.extensions.get_extension_for_oid(QC_STATEMENTS).value
    except x509.ExtensionNotFound:
        return frozenset()
    found: set[str] = set()
    statements = _Statements.load(extension.public_bytes(), strict=True)
    if len(statements) > _MAX_STATEMENTS:
        raise ValueError("more statements than anybody makes")
    for statement in statements:
        oid = str(statement["statement_id"].dotted)
        found.add(oid)
        if oid == QC_TYPE:
            found |= {str(item.dotted) for item in _Types.load(statement["statement_info"].dump(), strict=True)}
    return frozenset(found)
