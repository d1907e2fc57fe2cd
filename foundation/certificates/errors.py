"""Why a certificate, or what is said about it, is not accepted; ``cause`` and ``detail`` are for logs and audit."""

from __future__ import annotations

from foundation.errors import PrivySealError


class CertificateRefused(PrivySealError):
    """A certificate is not accepted."""

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
