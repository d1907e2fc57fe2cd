"""Signing input of JAdES baseline: over documents that lie elsewhere, or over a payload within.

Elsewhere (``sigD``, ObjectIdByURIHash) the payload is empty, so that the module needs the documents' digests alone;
``b64`` is false, so that these are digests of the documents' octets and not of their base64url.  A payload within
comes with the request, since its signing input cannot be made from a digest, and has to give the authorised one.  The
header's JSON has its members sorted and no white space: the same parameters give the same octets.
Sources: ETSI TS 119 182-1 V1.2.1 clauses 5.1, 5.2 and 6.3, RFC 7515 clause 5.1, RFC 7797.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, field
from typing import Any, Final

from foundation.jose import encode_base64url
from signing.sam.algorithms import SHA256, SHA384, SHA512, SchemeName
from signing.sam.errors import DigestNotAuthorized, TemplateRefused
from signing.sam.tbs.common import (
    COMMITMENT_URI,
    Built,
    Signer,
    check_commitment,
    check_digest,
    check_document_count,
    check_file_names,
    check_mime_type,
)

MAX_PAYLOAD_OCTETS: Final = 256 * 1024
"""Of all payloads in a request: what is signed, base64url within base64url, has to fit an answer's frame."""
_BY_URI_HASH: Final = "http://uri.etsi.org/19182/ObjectIdByURIHash"
_HASH_NAMES: Final[dict[str, str]] = {SHA256: "S256", SHA384: "S384", SHA512: "S512"}
_RSA_ALGORITHMS: Final[dict[tuple[SchemeName, str], str]] = {
    ("rsa-pss", SHA256): "PS256",
    ("rsa-pss", SHA384): "PS384",
    ("rsa-pss", SHA512): "PS512",
    ("rsa-pkcs1-v1_5", SHA256): "RS256",
    ("rsa-pkcs1-v1_5", SHA384): "RS384",
    ("rsa-pkcs1-v1_5", SHA512): "RS512",
}
_EC_ALGORITHMS: Final[dict[tuple[int, str], str]] = {(256, SHA256): "ES256", (384, SHA384): "ES384"}
"""RFC 7518 3.1: the name fixes curve and hash function together."""


@dataclass(frozen=True, slots=True)
class JwsDocument:
    """A document that a signature refers to."""

    document: bytes
    """Authorised digest."""
    uri: str
    """A relative reference to a file."""
    mime_type: str

    def __post_init__(self) -> None:
        """:raises TemplateRefused: not in the form of one."""
        check_file_names((self.uri,))
        check_mime_type(self.mime_type)


@dataclass(frozen=True, slots=True)
class JwsSignature:
    """JAdES baseline over one or several detached documents."""

    references: tuple[JwsDocument, ...]
    commitment: str | None = None

    def __post_init__(self) -> None:
        """:raises TemplateRefused: a parameter is not one that the template takes."""
        check_document_count(len(self.references))
        check_file_names(tuple(reference.uri for reference in self.references))
        check_commitment(self.commitment)

    @property
    def documents(self) -> tuple[bytes, ...]:
        """Digests that have to be authorised, in the order of the references."""
        return tuple(reference.document for reference in self.references)

    def build(self, signer: Signer) -> Built:
        """``BASE64URL(header) || '.'`` and nothing: the payload contributes no octet.

        :raises TemplateRefused: a digest is not one of the signer's hash function, or JWS does not name the algorithm.
        """
        for document in self.documents:
            check_digest(document, signer.algorithm.hash_alg)
        by_hash = {
            "b64": False,
            "crit": ["b64", "sigD"],
            "sigD": {
                "mId": _BY_URI_HASH,
                "hashM": _HASH_NAMES[signer.algorithm.hash_alg],
                "pars": [reference.uri for reference in self.references],
                "hashV": [encode_base64url(reference.document) for reference in self.references],
                "ctys": [reference.mime_type for reference in self.references],
            },
        }
        return Built(_encoded({**_header(signer, self.commitment), **by_hash}) + b".")


@dataclass(frozen=True, slots=True)
class JwsPayload:
    """JAdES baseline over a payload within."""

    document: bytes
    """Authorised digest of the payload."""
    payload: bytes = field(repr=False)
    mime_type: str
    commitment: str | None = None

    def __post_init__(self) -> None:
        """:raises TemplateRefused: a parameter is not one that the template takes."""
        if not 1 <= len(self.payload) <= MAX_PAYLOAD_OCTETS:
            raise TemplateRefused("no payload, or one that is too large")
        check_mime_type(self.mime_type)
        check_commitment(self.commitment)

    @property
    def documents(self) -> tuple[bytes, ...]:
        """Digests that have to be authorised."""
        return (self.document,)

    def build(self, signer: Signer) -> Built:
        """``BASE64URL(header) || '.' || BASE64URL(payload)``.

        :raises TemplateRefused: the digest is not the signer's hash function's, or JWS does not name the algorithm.
        :raises DigestNotAuthorized: it is another payload's.
        """
        check_digest(self.document, signer.algorithm.hash_alg)
        if not hmac.compare_digest(signer.hashed(self.payload), self.document):
            raise DigestNotAuthorized("the payload is not the document that was approved")
        header = {**_header(signer, self.commitment), "cty": self.mime_type}
        return Built(_encoded(header) + b"." + encode_base64url(self.payload).encode("ascii"))


def _encoded(header: dict[str, Any]) -> bytes:
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return encode_base64url(text.encode("ascii")).encode("ascii")


def _header(signer: Signer, commitment: str | None) -> dict[str, Any]:
    """What all headers have."""
    algorithm = signer.algorithm
    if algorithm.scheme == "ecdsa":
        name = _EC_ALGORITHMS.get((signer.key_bits, algorithm.hash_alg))
    else:
        name = _RSA_ALGORITHMS.get((algorithm.scheme, algorithm.hash_alg))
    if name is None:
        raise TemplateRefused("JWS has no name for the signature algorithm")
    header: dict[str, Any] = {
        "alg": name,
        # V1.2.1 clauses 5.1.11 and 5.2.1: iat, and no sigT any more.
        "iat": signer.at,
        "x5t#S256": encode_base64url(signer.certificate_sha256()),
    }
    if commitment is not None:
        header["srCms"] = [{"commId": {"id": f"{COMMITMENT_URI}{commitment}"}}]
    return header
