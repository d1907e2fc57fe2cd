"""What the development certificates look like (RFC 5280, ETSI EN 319 412-2).

Pure: keys, time and serial numbers are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier

SIGNER_POLICY = ObjectIdentifier("2.999.1.1")
"""The policy of signers' certificates, below the arc that ITU-T X.660 reserves for examples: it claims nothing."""

TSA_POLICY = ObjectIdentifier("2.999.1.2")
"""The policy under which the development time-stamping authority works; from the same arc."""

ANY_POLICY = ObjectIdentifier("2.5.29.32.0")

ORGANISATION = "Privy Seal development (unsafe)"

LIFETIMES = {
    "root": timedelta(days=3650),
    "issuing": timedelta(days=1825),
    "signer": timedelta(days=730),
    "ocsp": timedelta(days=365),
    "tsa": timedelta(days=1825),
    "tls": timedelta(days=365),
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where relying parties find what they need to check a certificate."""

    public_url: str
    """Scheme, host and port of the trust services, without a trailing slash."""

    def issuer_certificate(self, issuer: str) -> str:
        """Where ``issuer`` (root or issuing) has its own certificate, DER."""
        return f"{self.public_url}/ca/{issuer}.crt"

    def crl(self, issuer: str) -> str:
        """Where ``issuer`` has its revocation list, DER."""
        return f"{self.public_url}/crl/{issuer}.crl"

    def ocsp(self) -> str:
        """The OCSP responder, of both authorities."""
        return f"{self.public_url}/ocsp"


@dataclass(frozen=True, slots=True)
class Issuer:
    """A certification authority's name and key, for one signature after another."""

    label: str
    """``root`` or ``issuing``; part of its addresses."""
    name: x509.Name
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Draft:
    """What distinguishes one certificate from the next of its profile."""

    subject: x509.Name
    key: CertificatePublicKeyTypes
    serial: int
    now: datetime
    """Start of validity; fractions of a second are dropped."""


def ca_name(common_name: str) -> x509.Name:
    """The name of one of our own authorities."""
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION)
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def key_usage(*purposes: str) -> x509.KeyUsage:
    """A KeyUsage with the named bits set, in the words of :mod:`cryptography`, and no other."""
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in purposes for name in names})


def _begin(draft: Draft, issuer: Issuer, life: timedelta) -> x509.CertificateBuilder:
    start = draft.now.replace(microsecond=0)
    return (
        x509.CertificateBuilder(
            subject_name=draft.subject, public_key=draft.key, issuer_name=issuer.name, serial_number=draft.serial
        )
        .not_valid_before(start)
        .not_valid_after(start + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(draft.key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )


def _with_addresses(builder: x509.CertificateBuilder, addresses: Addresses, issuer: str) -> x509.CertificateBuilder:
    access = [
        _access(AuthorityInformationAccessOID.CA_ISSUERS, addresses.issuer_certificate(issuer)),
        _access(AuthorityInformationAccessOID.OCSP, addresses.ocsp()),
    ]
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(addresses.crl(issuer))], None, None, None)
    return builder.add_extension(x509.AuthorityInformationAccess(access), critical=False).add_extension(
        x509.CRLDistributionPoints([point]), critical=False
    )


def _access(method: ObjectIdentifier, url: str) -> x509.AccessDescription:
    return x509.AccessDescription(method, x509.UniformResourceIdentifier(url))


def _policies(*oids: ObjectIdentifier) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(oid, None) for oid in oids])


def _sign(builder: x509.CertificateBuilder, issuer: Issuer) -> x509.Certificate:
    return builder.sign(issuer.key, hashes.SHA256())


def root_certificate(root: Issuer, serial: int, now: datetime) -> x509.Certificate:
    """The self-signed trust anchor."""
    builder = _begin(Draft(root.name, root.key.public_key(), serial, now), root, LIFETIMES["root"])
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return _sign(builder.add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True), root)


def issuing_certificate(draft: Draft, root: Issuer, addresses: Addresses) -> x509.Certificate:
    """The authority below the root that issues to signers; it may not have authorities below it."""
    builder = _begin(draft, root, LIFETIMES["issuing"])
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
    builder = builder.add_extension(_policies(ANY_POLICY), critical=False)
    return _sign(_with_addresses(builder, addresses, root.label), root)


def signer_certificate(draft: Draft, issuer: Issuer, addresses: Addresses) -> x509.Certificate:
    """A natural person's signing certificate: contentCommitment alone, as type A of ETSI EN 319 412-2 clause 4.3.2."""
    builder = _begin(draft, issuer, LIFETIMES["signer"])
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(key_usage("content_commitment"), critical=True)
    builder = builder.add_extension(_policies(SIGNER_POLICY), critical=False)
    return _sign(_with_addresses(builder, addresses, issuer.label), issuer)


def ocsp_certificate(draft: Draft, issuer: Issuer) -> x509.Certificate:
    """A delegated responder (RFC 6960 clause 4.2.2.2) whose own revocation is not asked (4.2.2.2.1)."""
    builder = _begin(draft, issuer, LIFETIMES["ocsp"])
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(key_usage("digital_signature"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    return _sign(builder.add_extension(x509.OCSPNoCheck(), critical=False), issuer)


def tsa_certificate(draft: Draft, issuer: Issuer, addresses: Addresses) -> x509.Certificate:
    """A time-stamping unit: its extended key usage is critical and alone (RFC 3161 clause 2.3)."""
    builder = _begin(draft, issuer, LIFETIMES["tsa"])
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(key_usage("digital_signature"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return _sign(_with_addresses(builder, addresses, issuer.label), issuer)


def tls_certificate(draft: Draft, issuer: Issuer, names: x509.SubjectAlternativeName) -> x509.Certificate:
    """A server on loopback; it has no revocation addresses because TLS clients of today would not look."""
    builder = _begin(draft, issuer, LIFETIMES["tls"])
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(key_usage("digital_signature"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return _sign(builder.add_extension(names, critical=False), issuer)
