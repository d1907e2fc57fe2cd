"""A public key infrastructure in memory: all is right with it but what a test makes wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID as Access
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from idp.authn.certificate.facts import QC_STATEMENTS

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def name(common_name: str, **others: str) -> x509.Name:
    """A distinguished name; further attributes by their names in :class:`NameOID`."""
    attributes = [x509.NameAttribute(getattr(NameOID, key.upper()), value) for key, value in others.items()]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def usage(*purposes: str) -> x509.KeyUsage:
    """A key usage."""
    return x509.KeyUsage(**{use: use in purposes for use in _USES})


def policies(*oids: str) -> x509.CertificatePolicies:
    """Certificate policies."""
    return x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(oid), None) for oid in oids])


def statements(*der: bytes) -> x509.UnrecognizedExtension:
    """QCStatements, each given in DER."""
    body = b"".join(der)
    return x509.UnrecognizedExtension(QC_STATEMENTS, bytes([0x30, len(body)]) + body)


def upn(text: str) -> x509.OtherName:
    """A Microsoft userPrincipalName."""
    return x509.OtherName(ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), core.UTF8String(text).dump())


QC_SSCD = bytes.fromhex("3008 0606 04008e460104".replace(" ", ""))
"""QcSSCD (ETSI EN 319 412-5, 4.2.2)."""
QC_TYPE_ESIGN = bytes.fromhex("3013 0606 04008e460106 3009 0607 04008e46010601".replace(" ", ""))


@dataclass(frozen=True)
class Leaf:
    """What a person's certificate is like, unless a test says otherwise."""

    subject: x509.Name = field(default_factory=lambda: name("Ana Example", serial_number="PNOES-12345678Z"))
    begin: datetime = NOW - 30 * DAY
    end: datetime = NOW + 300 * DAY
    uses: tuple[str, ...] = ("digital_signature",)
    extended: tuple[ObjectIdentifier, ...] | None = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    policies: tuple[str, ...] = ()
    names: tuple[x509.GeneralName, ...] = ()
    ocsp: tuple[str, ...] = ()
    crl: tuple[str, ...] = ()
    issuers: tuple[str, ...] = ()
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    key: Key | None = None


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Authority(Issued):
    """A certification authority."""

    def issue(self, leaf: Leaf | None = None) -> Issued:
        """A person's certificate."""
        leaf = leaf or Leaf()
        key = leaf.key or ec.generate_private_key(ec.SECP256R1())
        builder = _begin(leaf.subject, self.certificate.subject, key, leaf.begin, leaf.end)
        extensions: list[tuple[x509.ExtensionType, bool]] = [(usage(*leaf.uses), True)] if leaf.uses else []
        if leaf.extended is not None:
            extensions.append((x509.ExtendedKeyUsage(leaf.extended), False))
        if leaf.policies:
            extensions.append((policies(*leaf.policies), False))
        if leaf.names:
            extensions.append((x509.SubjectAlternativeName(leaf.names), False))
        if leaf.ocsp or leaf.issuers:
            places = [(Access.OCSP, url) for url in leaf.ocsp] + [(Access.CA_ISSUERS, url) for url in leaf.issuers]
            access = [x509.AccessDescription(kind, x509.UniformResourceIdentifier(url)) for kind, url in places]
            extensions.append((x509.AuthorityInformationAccess(access), False))
        if leaf.crl:
            uris = [x509.UniformResourceIdentifier(url) for url in leaf.crl]
            points = [x509.DistributionPoint([uri], None, None, None) for uri in uris]
            extensions.append((x509.CRLDistributionPoints(points), False))
        for extension, critical in (*extensions, *leaf.more):
            builder = builder.add_extension(extension, critical)
        return Issued(builder.sign(self.key, hashes.SHA256()), key)

    def authority(self, common_name: str, *more: x509.ExtensionType, path_length: int | None = None) -> Authority:
        """An authority below this one."""
        return authority(common_name, *more, issuer=self, path_length=path_length)

    def crl(
        self, revoked: Iterable[x509.Certificate] = (), *more: tuple[x509.ExtensionType, bool], **times: Any
    ) -> bytes:
        """A revocation list, DER; ``signer``, ``last_update``, ``next_update``, ``reason`` may differ."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(times.get("last_update", NOW - timedelta(hours=1)))
            .next_update(times.get("next_update", NOW + DAY))
        )
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            entry = entry.revocation_date(NOW - DAY)
            if times.get("reason") is not None:
                entry = entry.add_extension(x509.CRLReason(times["reason"]), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        for extension, critical in more:
            builder = builder.add_extension(extension, critical)
        return builder.sign(times.get("signer", self.key), hashes.SHA256()).public_bytes(Encoding.DER)

    def ocsp(self, certificate: x509.Certificate, nonce: bytes | None = None, **other: Any) -> bytes:
        """An OCSP answer, DER; ``signer`` (an :class:`Issued`), status, reason, certificates and times may differ."""
        signer: Issued = other.get("signer", self)
        status = other.get("status", ocsp.OCSPCertStatus.GOOD)
        revoked = status is ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            certificate,
            other.get("issuer", self.certificate),
            hashes.SHA1(),
            status,
            other.get("this_update", NOW - timedelta(minutes=5)),
            other.get("next_update", NOW + timedelta(hours=1)),
            NOW - DAY if revoked else None,
            other.get("reason"),
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, signer.certificate)
        if "certificates" in other:
            builder = builder.certificates(other["certificates"])
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def responder(self, *, extended: bool = True, nocheck: bool = True, end: datetime = NOW + DAY) -> Issued:
        """A certificate for a delegated OCSP responder."""
        more: tuple[tuple[x509.ExtensionType, bool], ...] = ((x509.OCSPNoCheck(), False),) if nocheck else ()
        kinds = (ExtendedKeyUsageOID.OCSP_SIGNING,) if extended else (ExtendedKeyUsageOID.CLIENT_AUTH,)
        return self.issue(Leaf(subject=name("OCSP"), extended=kinds, more=more, end=end))


def authority(
    common_name: str,
    *more: x509.ExtensionType,
    issuer: Authority | None = None,
    key: Key | None = None,
    path_length: int | None = None,
    at: datetime = NOW,
) -> Authority:
    """A self-signed authority, or one below ``issuer``, valid at ``at``."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = name(common_name)
    above = subject if issuer is None else issuer.certificate.subject
    builder = _begin(subject, above, key, at - 300 * DAY, at + 3000 * DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = builder.add_extension(usage("key_cert_sign", "crl_sign"), critical=True)
    for extension in more:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.NameConstraints))
    return Authority(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)


def _begin(subject: x509.Name, issuer: x509.Name, key: Key, begin: datetime, end: datetime) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=begin,
        not_valid_after=end,
    )
