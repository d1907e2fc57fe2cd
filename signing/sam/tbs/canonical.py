"""Elements in canonical form, written as text: what Canonical XML 1.0 clause 2.3 makes of them."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from signing.sam.algorithms import SHA256, SHA384, SHA512

DS: Final = "http://www.w3.org/2000/09/xmldsig#"
DIGEST_METHODS: Final[dict[str, str]] = {
    SHA256: "http://www.w3.org/2001/04/xmlenc#sha256",
    SHA384: "http://www.w3.org/2001/04/xmldsig-more#sha384",
    SHA512: "http://www.w3.org/2001/04/xmlenc#sha512",
}
"""XML Encryption 5.7, RFC 9231 2.1."""


def element(name: str, *content: str, **attributes: str) -> str:
    """An element in canonical form; attributes are given in canonical order: namespace first, then by name."""
    start = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{start}>{''.join(content)}</{name}>"


def text(value: str) -> str:
    """Character data in canonical form (Canonical XML 1.0 clause 2.3); no template lets in a carriage return."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def attribute(value: str) -> str:
    """An attribute's value in canonical form; no template lets in white space."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def hashed(digest: bytes, hash_alg: str, *, within_ds: bool) -> str:
    """DigestMethod and DigestValue.

    :param within_ds: whether an element around them has declared ``ds`` in the canonical octets already.
    """
    namespace = {} if within_ds else {"xmlns:ds": DS}
    method = element("ds:DigestMethod", **namespace, Algorithm=DIGEST_METHODS[hash_alg])
    return method + element("ds:DigestValue", b64encode(digest).decode(), **namespace)
