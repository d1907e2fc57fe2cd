"""What a web tier makes around what the module signed: CMS, XML and PDF, assembled for independent judges."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

from asn1crypto import algos, cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
from pyhanko.sign.signers import ExternalSigner, PdfSignatureMetadata, PdfSigner
from pyhanko_certvalidator.registry import SimpleCertificateStore

from signing.sam.algorithms import SHA256, SHA384, SHA512, SignatureAlgorithm, algorithm_identifier
from signing.sam.tbs.common import Signer

AT = 1_780_000_000
"""NumericDate of the signatures made here."""
_HASHES = {SHA256: hashes.SHA256(), SHA384: hashes.SHA384(), SHA512: hashes.SHA512()}
_PDF_WRITER: Any = PdfFileWriter
_PAGE: Any = PageObject
_STORE: Any = SimpleCertificateStore
"""Partly typed: met here alone."""
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Hand:
    """A key with its self-signed certificate, and the algorithm that it signs with."""

    key: Key
    certificate: x509.Certificate
    algorithm: SignatureAlgorithm

    @property
    def signer(self) -> Signer:
        """The module's view of it."""
        return Signer(self.der, self.algorithm, self.key.key_size, AT)

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def hash_name(self) -> str:
        """Of :mod:`hashlib`."""
        return _HASHES[self.algorithm.hash_alg].name

    def digest(self, octets: bytes) -> bytes:
        """With the algorithm's hash function."""
        return hashlib.new(self.hash_name, octets).digest()

    def sign(self, digest: bytes) -> bytes:
        """A value, as the device makes it."""
        return sign(self.key, self.algorithm, digest)


def sign(key: Key, algorithm: SignatureAlgorithm, digest: bytes) -> bytes:
    """A value over a digest."""
    prehashed = Prehashed(_HASHES[algorithm.hash_alg])
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(digest, ec.ECDSA(prehashed))
    if algorithm.scheme == "rsa-pss":
        return key.sign(digest, padding.PSS(padding.MGF1(_HASHES[algorithm.hash_alg]), len(digest)), prehashed)
    return key.sign(digest, padding.PKCS1v15(), prehashed)


def hand(key: Key, algorithm: SignatureAlgorithm) -> Hand:
    """A hand with that key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Alice Example")])
    moment = datetime.fromtimestamp(AT, UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(moment - timedelta(days=1))
    builder = builder.not_valid_after(moment + timedelta(days=3650))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    usage = x509.KeyUsage(True, True, False, False, False, False, False, False, False)
    return Hand(key, builder.add_extension(usage, True).sign(key, hashes.SHA256()), algorithm)


def raw(hand: Hand, value: bytes) -> bytes:
    """A value as XMLDSig and JWS want it: r and s with ECDSA."""
    if not isinstance(hand.key, ec.EllipticCurvePrivateKey):
        return value
    r, s = decode_dss_signature(value)
    octets = hand.key.key_size // 8
    return r.to_bytes(octets, "big") + s.to_bytes(octets, "big")


def cms_of(certificate: bytes, algorithm: SignatureAlgorithm, attributes: bytes, value: bytes) -> bytes:
    """DER ContentInfo with a detached SignedData."""
    parsed = asn1_x509.Certificate.load(certificate)
    digest = algos.DigestAlgorithm({"algorithm": _HASHES[algorithm.hash_alg].name})
    info = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                "issuer_and_serial_number",
                cms.IssuerAndSerialNumber({"issuer": parsed.issuer, "serial_number": parsed.serial_number}),
            ),
            "digest_algorithm": digest,
            "signed_attrs": cms.CMSAttributes.load(attributes),
            "signature_algorithm": algos.SignedDigestAlgorithm.load(algorithm_identifier(algorithm)),
            "signature": value,
        }
    )
    signed = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [digest],
            "encap_content_info": {"content_type": "data"},
            "certificates": [parsed],
            "signer_infos": [info],
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump())


@dataclass(frozen=True, slots=True)
class PreparedPdf:
    """A PDF with an empty hole, as a web tier streams it."""

    octets: bytes
    approved_octets: int
    byte_range: tuple[int, int, int, int]

    def filled(self, signature: bytes) -> bytes:
        """The file with its signature."""
        _, before, after, _ = self.byte_range
        hexadecimal = signature.hex().encode().ljust(after - before - 2, b"0")
        return self.octets[: before + 1] + hexadecimal + self.octets[after - 1 :]

    def request(self, digest: str) -> dict[str, object]:
        """The link's form of what is said of it; ``digest`` in base64url."""
        range_ = list(self.byte_range)
        return {"document": digest, "approved_octets": self.approved_octets, "byte_range": range_}


def blank_pdf(text: str = "(one page)") -> bytes:
    """A document of one page."""
    writer = _PDF_WRITER()
    stream = generic.StreamObject(stream_data=f"BT /F1 12 Tf 72 720 Td {text} Tj ET".encode())
    page = _PAGE(contents=writer.add_object(stream), media_box=(0, 0, 595, 842))
    writer.insert_page(page)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def prepared_pdf(
    document: bytes,
    hand: Hand,
    octets_reserved: int = 16_384,
    field: str = "Signature1",
    permissions: int | None = None,
) -> PreparedPdf:
    """The document with a revision that holds an empty signature, by a PDF library's hand.

    :param permissions: of a certification (ISO 32000-2 table 257).
    """
    signer = ExternalSigner(
        signing_cert=asn1_x509.Certificate.load(hand.der), cert_registry=_STORE(), signature_value=256
    )
    metadata = PdfSignatureMetadata(
        field_name=field,
        subfilter=SigSeedSubFilter.PADES,
        md_algorithm=hand.hash_name,
        certify=permissions is not None,
        docmdp_permissions=MDPPerm(permissions or MDPPerm.FILL_FORMS),
    )
    writer = IncrementalPdfFileWriter(BytesIO(document))
    out = BytesIO()
    prepared, _, _ = asyncio.run(
        PdfSigner(metadata, signer=signer).async_digest_doc_for_signing(
            writer, bytes_reserved=octets_reserved, output=out
        )
    )
    octets = out.getvalue()
    before, after = prepared.reserved_region_start, prepared.reserved_region_end
    return PreparedPdf(octets, len(document), (0, before, after, len(octets) - after))
