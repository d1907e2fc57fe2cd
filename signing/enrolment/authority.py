"""The certification authority that the settings name."""

from __future__ import annotations

from connectors.ports.pki import CertificateAuthority
from connectors.registry import load
from signing.settings import PkiSettings, WebSettings


def authority_of(pki: PkiSettings, settings: WebSettings) -> CertificateAuthority:
    """Build the connector.

    :raises ConnectorError: there is none of that name, it is refused in production, or it refused its settings.
    """
    authority: CertificateAuthority = load("pki", pki.connector, pki.settings, production=settings.mode == "production")
    return authority
