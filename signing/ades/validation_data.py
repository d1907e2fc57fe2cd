"""What a signature carries so that it can be validated for long: certificates, OCSP answers, revocation lists.

The form is that of a DSS dictionary's and of the CSC API's ``validationInfo`` (ETSI EN 319 142-1 5.4.2; CSC API 2.0.0.2
11.11).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ValidationData:
    """Each once, DER, in the order in which they were found."""

    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    """Of the chains, from the end entity's up to the trust anchor's, and of the OCSP responders."""
    ocsps: tuple[bytes, ...] = field(default=(), repr=False)
    """OCSPResponse (RFC 6960 4.2.1)."""
    crls: tuple[bytes, ...] = field(default=(), repr=False)
    """CertificateList (RFC 5280 5.1)."""

    def __or__(self, other: ValidationData) -> ValidationData:
        """Both together."""
        return ValidationData(
            tuple(dict.fromkeys(self.certificates + other.certificates)),
            tuple(dict.fromkeys(self.ocsps + other.ocsps)),
            tuple(dict.fromkeys(self.crls + other.crls)),
        )
