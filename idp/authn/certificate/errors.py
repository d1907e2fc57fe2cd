"""Why a certificate is not accepted.  ``cause`` goes into the audit chain and chooses what the page says."""

from __future__ import annotations

from typing import Final

from foundation.certificates.errors import CertificateRefused, NotChecked, Revoked

__all__ = ["CAUSES", "CertificateRefused", "HeaderMalformed", "NotChecked", "Revoked"]

CAUSES: Final = frozenset(
    {
        "missing", "malformed", "algorithm", "usage", "expired", "not_yet_valid", "unknown_issuer", "policy", "path",
        "revoked", "not_checked", "unknown_account", "ambiguous", "not_yours",
    }
)  # fmt: skip
"""All of them: what is wrong with the certificate, with its path, with what its authority says, with its owner."""


class HeaderMalformed(CertificateRefused):
    """Not a header of RFC 9440."""

    code = "certificate_header_malformed"

    def __init__(self, text: str) -> None:
        super().__init__("malformed", text)
