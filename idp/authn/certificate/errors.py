"""Why a certificate is not accepted.  ``cause`` goes into the audit chain and chooses what the page says."""

from __future__ import annotations

from typing import Final

from idp.errors import IdpError

CAUSES: Final = frozenset(
    {
        "missing", "malformed", "algorithm", "usage", "expired", "not_yet_valid", "unknown_issuer", "policy", "path",
        "revoked", "not_checked", "unknown_account", "ambiguous", "not_yours",
    }
)  # fmt: skip
"""All of them: what is wrong with the certificate, with its path, with what its authority says, with its owner."""


class CertificateRefused(IdpError):
    """A certificate was not presented, or is not accepted."""

    code = "certificate_refused"

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class NotChecked(CertificateRefused):
    """Nothing that can be relied on says whether the certificate is revoked; ``detail`` names what was wrong."""

    code = "certificate_not_checked"

    def __init__(self, detail: str, text: str) -> None:
        super().__init__("not_checked", text)
        self.detail = detail


class Revoked(CertificateRefused):
    """Its authority revoked the certificate, or suspended it."""

    code = "certificate_revoked"

    def __init__(self, text: str) -> None:
        super().__init__("revoked", text)


class HeaderMalformed(CertificateRefused):
    """Not a header of RFC 9440."""

    code = "certificate_header_malformed"

    def __init__(self, text: str) -> None:
        super().__init__("malformed", text)
