"""A source of certificates' status over authorities in memory: what it gives out verifies."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.x509 import ocsp

from connectors.ports.status import RevocationEvidence, StatusError, StatusInvalid, StatusUnavailable
from foundation.certificates.reading import identity
from tests.pki import DAY, NOW, Authority, Issued

UPDATED = NOW - timedelta(minutes=5)


@dataclass
class FakeStatus:
    """Answers for these authorities by OCSP, as :mod:`tests.pki` signs it."""

    authorities: tuple[Authority, ...] = ()
    revoked: dict[str, x509.ReasonFlags | None] = field(default_factory=dict)
    """By :func:`identity`, with the reason."""
    failure: StatusError | None = None
    this_update: datetime = UPDATED
    delegate: Issued | None = None
    """Who signs the answers; None: each authority itself."""
    asked: list[tuple[str, datetime | None]] = field(default_factory=list)

    def evidence(self, certificate: bytes, issuer: bytes, *, at_least: datetime | None) -> RevocationEvidence:
        """As the port says."""
        asked = x509.load_der_x509_certificate(certificate)
        self.asked.append((identity(asked), at_least))
        if self.failure is not None:
            raise self.failure
        if at_least is not None and self.this_update < at_least.replace(microsecond=0):
            raise StatusUnavailable("an answer about revocation is older than it has to be")
        authority = next((each for each in self.authorities if each.der == issuer), None)
        if authority is None:
            raise StatusInvalid("the certificate does not say where its status can be asked")
        return self._answer(authority, asked)

    def _answer(self, authority: Authority, asked: x509.Certificate) -> RevocationEvidence:
        gone = identity(asked) in self.revoked
        reason = self.revoked.get(identity(asked))
        signer: dict[str, Any] = {}
        if self.delegate is not None:
            signer = {"signer": self.delegate, "certificates": [self.delegate.certificate]}
        der = authority.ocsp(
            asked,
            this_update=self.this_update,
            next_update=self.this_update + DAY,
            status=ocsp.OCSPCertStatus.REVOKED if gone else ocsp.OCSPCertStatus.GOOD,
            reason=reason,
            **signer,
        )
        held = reason is x509.ReasonFlags.certificate_hold
        return RevocationEvidence(
            kind="ocsp",
            der=der,
            certificates=() if self.delegate is None else (self.delegate.der,),
            this_update=self.this_update,
            next_update=self.this_update + DAY,
            status="good" if not gone else "suspended" if held else "revoked",
            revoked_at=NOW - DAY if gone else None,
            reason=None if reason is None else reason.value,
        )
