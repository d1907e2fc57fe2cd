"""SignedProperties and SignedInfo of XAdES baseline, written as the octets that canonicalisation gives.

Exclusive XML Canonicalization, named where XMLDSig wants it named: as CanonicalizationMethod, and as a Transform of the
reference to SignedProperties.  Exclusive, because inclusive octets depend on every namespace and ``xml:`` attribute
around the signature, which only the web tier knows; ADR 31.  Sources: ETSI EN 319 132-1 V1.2.1 clauses 5.1, 5.2 and
6.3, W3C XMLDSig 1.1, RFC 9231, W3C Exclusive XML Canonicalization 1.0 clause 3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from signing.sam.algorithms import SHA256, SHA384, SHA512, SchemeName
from signing.sam.errors import TemplateRefused
from signing.sam.tbs.canonical import DS, attribute, element, hashed, text
from signing.sam.tbs.common import (
    COMMITMENT_URI,
    Built,
    SignaturePolicy,
    Signer,
    check_commitment,
    check_digest,
    check_document_count,
    check_file_names,
    check_mime_type,
)

Form = Literal["octets", "base64", "element", "enveloped"]

_XADES: Final = "http://uri.etsi.org/01903/v1.3.2#"
_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_INCLUSIVE: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
_SIGNED_PROPERTIES: Final = "http://uri.etsi.org/01903#SignedProperties"
_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
"""An NCName in ASCII."""

_TRANSFORMS: Final[dict[Form, tuple[str, ...]]] = {
    "octets": (),
    "base64": (f"{DS}base64",),
    "element": (_EXCLUSIVE,),
    # Of a whole document nothing is around, and inclusive loses no namespace that only its values use.
    "enveloped": (f"{DS}enveloped-signature", _INCLUSIVE),
}
"""What a verifier does to data before it digests them; nothing that chooses parts (XPath, XSLT) is here."""

_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_MORE_2007: Final = "http://www.w3.org/2007/05/xmldsig-more#"
SIGNATURE_METHODS: Final[dict[tuple[SchemeName, str], str]] = {
    ("ecdsa", SHA256): f"{_MORE}ecdsa-sha256",
    ("ecdsa", SHA384): f"{_MORE}ecdsa-sha384",
    ("ecdsa", SHA512): f"{_MORE}ecdsa-sha512",
    ("rsa-pss", SHA256): f"{_MORE_2007}sha256-rsa-MGF1",
    ("rsa-pss", SHA384): f"{_MORE_2007}sha384-rsa-MGF1",
    ("rsa-pss", SHA512): f"{_MORE_2007}sha512-rsa-MGF1",
    ("rsa-pkcs1-v1_5", SHA256): f"{_MORE}rsa-sha256",
    ("rsa-pkcs1-v1_5", SHA384): f"{_MORE}rsa-sha384",
    ("rsa-pkcs1-v1_5", SHA512): f"{_MORE}rsa-sha512",
}
"""RFC 9231 2.3."""


@dataclass(frozen=True, slots=True)
class XmlDocument:
    """A document that a signature refers to."""

    document: bytes
    """Authorised digest: of the octets that the form's transforms give."""
    form: Form
    """``octets``: a file as it is; ``base64``: what an element of the same document holds, decoded; ``element``: such
    an element; ``enveloped``: the document that the signature stands in, without it."""
    uri: str
    """``octets``: a relative reference to a file; ``base64``, ``element``: ``#`` and the element's Id; else empty."""
    mime_type: str

    def __post_init__(self) -> None:
        """:raises TemplateRefused: not in the form of one."""
        if self.form not in _TRANSFORMS:
            raise TemplateRefused("a form of reference that is not offered")
        check_mime_type(self.mime_type)
        if self.form == "octets":
            check_file_names((self.uri,))
        elif self.form == "enveloped":
            if self.uri:
                raise TemplateRefused("the document that a signature stands in has no reference")
        elif not self.uri.startswith("#") or not _ID.match(self.uri[1:]):
            raise TemplateRefused("not a reference to an element of the same document")


@dataclass(frozen=True, slots=True)
class XmlSignature:
    """XAdES baseline over one or several documents."""

    id: str
    """Of the ds:Signature; the Ids within begin with it."""
    references: tuple[XmlDocument, ...]
    commitment: str | None = None
    policy: SignaturePolicy | None = None

    def __post_init__(self) -> None:
        """:raises TemplateRefused: a parameter is not one that the template takes."""
        if not _ID.match(self.id):
            raise TemplateRefused("a signature's Id is not a name in ASCII")
        check_document_count(len(self.references))
        check_commitment(self.commitment)
        uris = [reference.uri for reference in self.references]
        if len(set(uris)) != len(uris):
            raise TemplateRefused("one document is referred to twice")
        if any(uri.removeprefix("#").startswith(self.id) for uri in uris if uri.startswith("#")):
            raise TemplateRefused("a document has an Id of the signature's")

    @property
    def documents(self) -> tuple[bytes, ...]:
        """Digests that have to be authorised, in the order of the references."""
        return tuple(reference.document for reference in self.references)

    def build(self, signer: Signer) -> Built:
        """SignedProperties, and the SignedInfo that refers to them last.

        :raises TemplateRefused: a document's digest is not one of the signer's hash function.
        """
        for document in self.documents:
            check_digest(document, signer.algorithm.hash_alg)
        properties = _signed_properties(self, signer).encode("ascii")
        return Built(_signed_info(self, signer, signer.hashed(properties)).encode("ascii"), properties)


def _signed_properties(template: XmlSignature, signer: Signer) -> str:
    at = datetime.fromtimestamp(signer.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    certificate = element("xades:CertDigest", hashed(signer.certificate_sha256(), SHA256, within_ds=False))
    signature = [
        element("xades:SigningTime", at),
        element("xades:SigningCertificateV2", element("xades:Cert", certificate)),
    ]
    if template.policy is not None:
        signature.append(_policy(template.policy))
    data = [
        element("xades:DataObjectFormat", _format(reference), ObjectReference=f"#{template.id}-ref-{number}")
        for number, reference in enumerate(template.references)
    ]
    if template.commitment is not None:
        identifier = element("xades:Identifier", f"{COMMITMENT_URI}{template.commitment}")
        kind = element("xades:CommitmentTypeId", identifier)
        data.append(element("xades:CommitmentTypeIndication", kind, element("xades:AllSignedDataObjects")))
    return element(
        "xades:SignedProperties",
        element("xades:SignedSignatureProperties", *signature),
        element("xades:SignedDataObjectProperties", *data),
        **{"xmlns:xades": _XADES, "Id": f"{template.id}-properties"},
    )


def _format(reference: XmlDocument) -> str:
    mime_type = element("xades:MimeType", text(reference.mime_type))
    return mime_type + (element("xades:Encoding", f"{DS}base64") if reference.form == "base64" else "")


def _policy(policy: SignaturePolicy) -> str:
    # Qualifier says which kind of identifier it is: the OID as a URN (EN 319 132-1 5.1.2).
    identifier = element("xades:Identifier", f"urn:oid:{policy.oid}", Qualifier="OIDAsURN")
    digest = element("xades:SigPolicyHash", hashed(policy.digest, policy.hash_alg, within_ds=False))
    policy_id = element("xades:SignaturePolicyId", element("xades:SigPolicyId", identifier), digest)
    return element("xades:SignaturePolicyIdentifier", policy_id)


def _signed_info(template: XmlSignature, signer: Signer, properties: bytes) -> str:
    algorithm = signer.algorithm
    references = [
        _reference(
            reference.document,
            algorithm.hash_alg,
            _TRANSFORMS[reference.form],
            {"Id": f"{template.id}-ref-{number}", "URI": attribute(reference.uri)},
        )
        for number, reference in enumerate(template.references)
    ]
    own = {"Type": _SIGNED_PROPERTIES, "URI": f"#{template.id}-properties"}
    return element(
        "ds:SignedInfo",
        element("ds:CanonicalizationMethod", Algorithm=_EXCLUSIVE),
        element("ds:SignatureMethod", Algorithm=SIGNATURE_METHODS[algorithm.scheme, algorithm.hash_alg]),
        *references,
        _reference(properties, algorithm.hash_alg, (_EXCLUSIVE,), own),
        **{"xmlns:ds": DS},
    )


def _reference(digest: bytes, hash_alg: str, transforms: tuple[str, ...], attributes: dict[str, str]) -> str:
    steps = [element("ds:Transform", Algorithm=each) for each in transforms]
    content = element("ds:Transforms", *steps) if steps else ""
    return element("ds:Reference", content, hashed(digest, hash_alg, within_ds=True), **attributes)
