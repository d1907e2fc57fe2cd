"""What all templates share: who signs, how texts are restricted, commitments and policies."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from signing.sam.algorithms import SHA256, SHA384, SHA512, SignatureAlgorithm
from signing.sam.errors import TemplateRefused

MAX_DOCUMENTS: Final = 100
"""Documents in one signature: no more than a SAD has positions."""
MAX_TEXT_CHARACTERS: Final = 255

HASHES: Final[dict[str, str]] = {SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}
"""OID of a hash function to its name in :mod:`hashlib`."""

COMMITMENTS: Final[dict[str, int]] = {
    "ProofOfOrigin": 1,
    "ProofOfReceipt": 2,
    "ProofOfDelivery": 3,
    "ProofOfSender": 4,
    "ProofOfApproval": 5,
    "ProofOfCreation": 6,
}
"""Commitment types of ETSI EN 319 122-1 5.2.3 and EN 319 132-1 5.2.3, to the last arc of their OID."""
COMMITMENT_URI: Final = "http://uri.etsi.org/01903/v1.2.2#"
"""What comes before the type's name where a format has a URI for it (EN 319 132-1 5.2.3)."""

_MIME_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,62}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\Z")
"""RFC 6838 4.2, without parameters."""
_OID: Final = re.compile(r"(?:[01]\.[1-3]?\d|2\.(?:0|[1-9]\d{0,8}))(?:\.(?:0|[1-9]\d{0,8})){1,16}\Z", re.ASCII)
_FILE: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=@-]|%[0-9A-F]{2}|/){1,255}\Z")
"""``path-noscheme`` of RFC 3986 4.2, without colons: no scheme, no query, no fragment."""
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""General categories of what is not seen, or makes something else be seen."""


@dataclass(frozen=True, slots=True)
class Signer:
    """What no template takes from a request."""

    certificate: bytes
    """DER, the credential's own."""
    algorithm: SignatureAlgorithm
    """Its hash function is that of documents and octets to be signed alike."""
    key_bits: int
    """Curve size or modulus length."""
    at: int
    """NumericDate: the module's clock, wherever a format has a time of signing."""

    def hashed(self, octets: bytes) -> bytes:
        """The octets' digest.

        :raises TemplateRefused: no signature is made with that hash function.
        """
        return hashlib.new(hash_name(self.algorithm.hash_alg), octets).digest()

    def certificate_sha256(self) -> bytes:
        """Digest by which a signature is bound to the certificate."""
        return hashlib.sha256(self.certificate).digest()


@dataclass(frozen=True, slots=True)
class Built:
    """What was built for one signature."""

    tbs: bytes
    """Of these the digest is signed."""
    signed_properties: bytes | None = None
    """XAdES: the canonical SignedProperties, whose digest is in ``tbs``."""
    manifest: bytes | None = None
    """ASiC-E with CAdES: the manifest, whose digest is in ``tbs``."""


@dataclass(frozen=True, slots=True)
class SignaturePolicy:
    """An explicit signature policy (EN 319 122-1 5.2.9, EN 319 132-1 5.2.9)."""

    oid: str
    hash_alg: str
    digest: bytes

    def __post_init__(self) -> None:
        """:raises TemplateRefused: not in the form of one."""
        if not _OID.match(self.oid):
            raise TemplateRefused("a signature policy's identifier is not an OID")
        check_digest(self.digest, self.hash_alg)


def hash_name(hash_alg: str) -> str:
    """:raises TemplateRefused: no signature is made with that hash function."""
    if hash_alg not in HASHES:
        raise TemplateRefused("no document is signed with that hash function")
    return HASHES[hash_alg]


def check_digest(digest: bytes, hash_alg: str) -> None:
    """:raises TemplateRefused: unknown hash function, or not its length."""
    if len(digest) != hashlib.new(hash_name(hash_alg)).digest_size:
        raise TemplateRefused("a digest does not have its hash function's length")


def check_document_count(count: int) -> None:
    """:raises TemplateRefused: a signature of nothing, or of too much."""
    if not 1 <= count <= MAX_DOCUMENTS:
        raise TemplateRefused("a signature is over one to a hundred documents")


def check_commitment(commitment: str | None) -> None:
    """:raises TemplateRefused: not ``None`` and not one of :data:`COMMITMENTS`."""
    if commitment is not None and commitment not in COMMITMENTS:
        raise TemplateRefused("the commitment is none of the standard's")


def check_mime_type(mime_type: str) -> None:
    """:raises TemplateRefused: not in the form of a media type without parameters."""
    if not _MIME_TYPE.match(mime_type):
        raise TemplateRefused("not a media type")


def check_text(text: str) -> None:
    """:raises TemplateRefused: empty, too long, or with what cannot be seen, turns text round or is no UTF-8."""
    if not 0 < len(text) <= MAX_TEXT_CHARACTERS:
        raise TemplateRefused("a text is empty or too long")
    if any(unicodedata.category(each) in _INVISIBLE for each in text):
        raise TemplateRefused("a text has a character that cannot be seen")


def check_file_names(uris: tuple[str, ...]) -> None:
    """Each names another file beside or below the signature, and can name nothing else.

    A verifier may follow what it reads: neither another host nor a folder above is let in.

    :raises TemplateRefused: otherwise.
    """
    for uri in uris:
        if not _FILE.match(uri) or any(part.strip(".") == "" for part in _decoded(uri).split("/")):
            raise TemplateRefused("not a relative reference to a file")
    if len(set(uris)) != len(uris):
        raise TemplateRefused("one file is referred to twice")


def _decoded(uri: str) -> str:
    """The path with what stands in for a dot, a slash or a backslash undone, as a careless reader sees it."""
    for quoted, plain in (("%2E", "."), ("%2F", "/"), ("%5C", "/")):
        uri = uri.replace(quoted, plain)
    return uri
