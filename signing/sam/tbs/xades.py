"""SignedProperties and SignedInfo of XAdES baseline, written as the octets that canonicalisation gives.

Exclusive XML Canonicalization, named where XMLDSig wants it named: as CanonicalizationMethod, and as a Transform of the
reference to SignedProperties.  Exclusive, because inclusive octets depend on every namespace and ``xml:`` attribute
around the signature, which only the web tier knows; ADR 31.  Sources: ETSI EN 319 132-1 V1.2.1 clauses 5.1, 5.2 and
6.3, W3C XMLDSig 1.1, RFC 9231, W3C Exclusive XML Canonicalization 1.0 clause 3.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from signing.sam.algorithms import SHA256, SHA384, SHA512, SchemeName
from signing.sam.errors import TemplateRefused
from signing.sam.tbs.common import (
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

_DS: Final = "http://www.w3.org/2000/09/xmldsig#"
_XADES: Final = "http://uri.etsi.org/01903/v1.3.2#"
_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_INCLUSIVE: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
_SIGNED_PROPERTIES: Final = "http://uri.etsi.org/01903#SignedProperties"
_COMMITMENT: Final = "http://uri.etsi.org/01903/v1.2.2#"
_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
"""An NCName in ASCII."""

_TRANSFORMS: Final[dict[Form, tuple[str, ...]]] = {
    "octets": (),
    "base64": (f"{_DS}base64",),
    "element": (_EXCLUSIVE,),
    # Of a whole document nothing is around, and inclusive loses no namespace that only its values use.
    "enveloped": (f"{_DS}enveloped-signature", _INCLUSIVE),
}
"""What a verifier does to data before it digests them; nothing that chooses parts (XPath, XSLT) is here."""

DIGEST_METHODS: Final[dict[str, str]] = {
    SHA256: "http://www.w3.org/2001/04/xmlenc#sha256",
    SHA384: "http://www.w3.org/2001/04/xmldsig-more#sha384",
    SHA512: "http://www.w3.org/2001/04/xmlenc#sha512",
}
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
    certificate = _element("xades:CertDigest", _hashed(signer.certificate_sha256(), SHA256, within_ds=False))
    signature = [
        _element("xades:SigningTime", at),
        _element("xades:SigningCertificateV2", _element("xades:Cert", certificate)),
    ]
    if template.policy is not None:
        signature.append(_policy(template.policy))
    data = [
        _element("xades:DataObjectFormat", _format(reference), ObjectReference=f"#{template.id}-ref-{number}")
        for number, reference in enumerate(template.references)
    ]
    if template.commitment is not None:
        identifier = _element("xades:Identifier", f"{_COMMITMENT}{template.commitment}")
        kind = _element("xades:CommitmentTypeId", identifier)
        data.append(_element("xades:CommitmentTypeIndication", kind, _element("xades:AllSignedDataObjects")))
    return _element(
        "xades:SignedProperties",
        _element("xades:SignedSignatureProperties", *signature),
        _element("xades:SignedDataObjectProperties", *data),
        **{"xmlns:xades": _XADES, "Id": f"{template.id}-properties"},
    )


def _format(reference: XmlDocument) -> str:
    mime_type = _element("xades:MimeType", _text(reference.mime_type))
    return mime_type + (_element("xades:Encoding", f"{_DS}base64") if reference.form == "base64" else "")


def _policy(policy: SignaturePolicy) -> str:
    # Qualifier says which kind of identifier it is: the OID as a URN (EN 319 132-1 5.1.2).
    identifier = _element("xades:Identifier", f"urn:oid:{policy.oid}", Qualifier="OIDAsURN")
    hashed = _element("xades:SigPolicyHash", _hashed(policy.digest, policy.hash_alg, within_ds=False))
    policy_id = _element("xades:SignaturePolicyId", _element("xades:SigPolicyId", identifier), hashed)
    return _element("xades:SignaturePolicyIdentifier", policy_id)


def _signed_info(template: XmlSignature, signer: Signer, properties: bytes) -> str:
    algorithm = signer.algorithm
    references = [
        _reference(
            reference.document,
            algorithm.hash_alg,
            _TRANSFORMS[reference.form],
            {"Id": f"{template.id}-ref-{number}", "URI": _attribute(reference.uri)},
        )
        for number, reference in enumerate(template.references)
    ]
    own = {"Type": _SIGNED_PROPERTIES, "URI": f"#{template.id}-properties"}
    return _element(
        "ds:SignedInfo",
        _element("ds:CanonicalizationMethod", Algorithm=_EXCLUSIVE),
        _element("ds:SignatureMethod", Algorithm=SIGNATURE_METHODS[algorithm.scheme, algorithm.hash_alg]),
        *references,
        _reference(properties, algorithm.hash_alg, (_EXCLUSIVE,), own),
        **{"xmlns:ds": _DS},
    )


def _reference(digest: bytes, hash_alg: str, transforms: tuple[str, ...], attributes: dict[str, str]) -> str:
    steps = [_element("ds:Transform", Algorithm=each) for each in transforms]
    content = _element("ds:Transforms", *steps) if steps else ""
    return _element("ds:Reference", content, _hashed(digest, hash_alg, within_ds=True), **attributes)


def _hashed(digest: bytes, hash_alg: str, *, within_ds: bool) -> str:
    """DigestMethod and DigestValue.

    :param within_ds: whether an element around them has declared ``ds`` in the canonical octets already.
    """
    namespace = {} if within_ds else {"xmlns:ds": _DS}
    method = _element("ds:DigestMethod", **namespace, Algorithm=DIGEST_METHODS[hash_alg])
    return method + _element("ds:DigestValue", b64encode(digest).decode(), **namespace)


def _element(name: str, *content: str, **attributes: str) -> str:
    """An element in canonical form; attributes are given in canonical order: namespace first, then by name."""
    start = "".join(f' {attribute}="{value}"' for attribute, value in attributes.items())
    return f"<{name}{start}>{''.join(content)}</{name}>"


def _text(value: str) -> str:
    """Character data in canonical form (Canonical XML 1.0 clause 2.3); no template lets in a carriage return."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attribute(value: str) -> str:
    """An attribute's value in canonical form; no template lets in white space."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
