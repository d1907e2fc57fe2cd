"""ASiC-E with CAdES: a manifest that names the files of a container, and the SignedAttributes over it.

The manifest is written here, so that the digests in it are the authorised ones; it goes into the container as it is.
Source: ETSI EN 319 162-1 V1.1.1 clauses 4.4.3 and A.4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from signing.sam.errors import TemplateRefused
from signing.sam.tbs.canonical import DS, attribute, element, hashed
from signing.sam.tbs.cms import CmsSignature
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

_ASIC: Final = "http://uri.etsi.org/02918/v1.2.1#"
_SIGNATURE_FILE: Final = re.compile(r"META-INF/[A-Za-z0-9_-]{0,32}signature[A-Za-z0-9_-]{0,32}\.p7s\Z")


@dataclass(frozen=True, slots=True)
class AsicDocument:
    """A file of the container."""

    document: bytes
    """Authorised digest."""
    uri: str
    """Its path in the container."""
    mime_type: str

    def __post_init__(self) -> None:
        """:raises TemplateRefused: not in the form of one."""
        check_file_names((self.uri,))
        check_mime_type(self.mime_type)
        if self.uri.upper().startswith("META-INF/"):
            raise TemplateRefused("what describes the container is none of its documents")


@dataclass(frozen=True, slots=True)
class AsicSignature:
    """CAdES baseline over the manifest of one or several files."""

    signature_uri: str
    """Path in the container of the signature that is made."""
    references: tuple[AsicDocument, ...]
    commitment: str | None = None
    policy: SignaturePolicy | None = None

    def __post_init__(self) -> None:
        """:raises TemplateRefused: a parameter is not one that the template takes."""
        if not _SIGNATURE_FILE.match(self.signature_uri):
            raise TemplateRefused("a signature of a container is META-INF/*signature*.p7s")
        check_document_count(len(self.references))
        check_file_names(tuple(reference.uri for reference in self.references))
        check_commitment(self.commitment)

    @property
    def documents(self) -> tuple[bytes, ...]:
        """Digests that have to be authorised, in the order of the references."""
        return tuple(reference.document for reference in self.references)

    def build(self, signer: Signer) -> Built:
        """The manifest, and SignedAttributes over its octets.

        :raises TemplateRefused: a document's digest is not one of the signer's hash function.
        """
        for document in self.documents:
            check_digest(document, signer.algorithm.hash_alg)
        manifest = _manifest(self, signer.algorithm.hash_alg).encode("ascii")
        attributes = CmsSignature(signer.hashed(manifest), commitment=self.commitment, policy=self.policy)
        return Built(attributes.build(signer).tbs, manifest=manifest)


def _manifest(template: AsicSignature, hash_alg: str) -> str:
    files = [
        element(
            "asic:DataObjectReference",
            hashed(reference.document, hash_alg, within_ds=True),
            MimeType=attribute(reference.mime_type),
            URI=attribute(reference.uri),
        )
        for reference in template.references
    ]
    signature = element("asic:SigReference", MimeType="application/pkcs7-signature", URI=template.signature_uri)
    return element("asic:ASiCManifest", signature, *files, **{"xmlns:asic": _ASIC, "xmlns:ds": DS})
