"""What a TLS-terminating proxy hands on: ``Client-Cert`` and ``Client-Cert-Chain`` (RFC 9440).

Both are structured fields (RFC 8941): a byte sequence, and a list of byte sequences.  Parsed strictly: no parameters,
no blanks but those a list may have, canonical base64, bounded lengths.  Whoever sent the headers is for the caller to
know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from foundation.certificates.reading import read
from foundation.errors import ClientCertificateInvalid
from foundation.proxied import MAX_ITEM, byte_sequence
from idp.authn.certificate.errors import HeaderMalformed

MAX_CHAIN: Final = 3
"""Certificates above the person's.  Each multiplies the paths that may have to be tried: three have 15 orders, five
325."""
_MAX_LIST: Final = MAX_CHAIN * (MAX_ITEM + 2)
_SEPARATOR: Final = re.compile(r"[ \t]*,[ \t]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Presented:
    """A certificate whose key was used in a TLS handshake, and what came with it; nothing of it is validated."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """The person's certificate, DER."""
        return self.certificate.public_bytes(Encoding.DER)


def from_headers(certificate: Sequence[str], chain: Sequence[str]) -> Presented | None:
    """What the two headers say; None: the browser presented nothing.

    :param certificate: the values of all lines of ``Client-Cert``.
    :param chain: those of ``Client-Cert-Chain``; in the order of the handshake, without the person's own.
    :raises HeaderMalformed: a header comes twice, or is not of its form, or a chain comes alone.
    :raises CertificateRefused: what they hold is no certificate.
    """
    if len(certificate) > 1 or len(chain) > 1:
        raise HeaderMalformed("a header comes twice")
    if not certificate or not certificate[0]:
        if chain and chain[0]:
            raise HeaderMalformed("a chain without a certificate")
        return None
    leaf = _byte_sequence(certificate[0])
    above = _list(chain[0]) if chain and chain[0] else ()
    return Presented(read(leaf), tuple(read(item) for item in above))


def _list(text: str) -> tuple[bytes, ...]:
    if len(text) > _MAX_LIST:
        raise HeaderMalformed("the chain is too long")
    items = _SEPARATOR.split(text)
    if len(items) > MAX_CHAIN:
        raise HeaderMalformed(f"the chain has more than {MAX_CHAIN} certificates")
    return tuple(_byte_sequence(item) for item in items)


def _byte_sequence(text: str) -> bytes:
    try:
        return byte_sequence(text)
    except ClientCertificateInvalid as error:
        raise HeaderMalformed(str(error)) from error
