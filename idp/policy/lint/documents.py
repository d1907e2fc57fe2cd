"""The documents that clauses are of, and where they can be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DOCUMENTS: Final[Mapping[str, str | None]] = {
    "NIST SP 800-63B-3": "https://pages.nist.gov/800-63-3/sp800-63b.html",
    "NIST SP 800-63B-4": "https://pages.nist.gov/800-63-4/sp800-63b.html",
    "(EU) 2015/1502": "https://eur-lex.europa.eu/eli/reg_impl/2015/1502/oj",
    "(EU) No 910/2014": "https://eur-lex.europa.eu/eli/reg/2014/910/oj",
    "eIDAS SAML Message Format 1.2": "https://ec.europa.eu/digital-building-blocks/sites/display/DIGITAL/"
    "eIDAS+eID+Profile",
    "ITU-T X.1254": "https://www.itu.int/rec/T-REC-X.1254",
    "ISO/IEC 29115:2013": "https://www.iso.org/standard/45138.html",
    "EN 419 241-1:2018": None,
    "CSC API 2.0.0.2": "https://cloudsignatureconsortium.org/resources/download-api-specifications/",
    "OIDC Core": "https://openid.net/specs/openid-connect-core-1_0.html",
    "SAML 2.0 Core": "https://docs.oasis-open.org/security/saml/v2.0/saml-core-2.0-os.pdf",
    "SAML 2.0 Authentication Context": "https://docs.oasis-open.org/security/saml/v2.0/saml-authn-context-2.0-os.pdf",
    "RFC 6238": "https://www.rfc-editor.org/rfc/rfc6238",
    "REFEDS MFA Profile": "https://refeds.org/profile/mfa",
    "BSI TR-03107-1": "https://www.bsi.bund.de/tr03107",
    "YAML 1.2.2": "https://yaml.org/spec/1.2.2/",
    "policy language 1": None,
}
"""By the beginning of the clause.  None: it is sold, or it is ours and stands in ``docs/policy-language.md``."""


def document_of(clause: str) -> str | None:
    """The document that the clause names; None if it is no known one."""
    return next((name for name in DOCUMENTS if clause.startswith(name)), None)


def uri_of(clause: str) -> str | None:
    """Where its document can be read."""
    name = document_of(clause)
    return None if name is None else DOCUMENTS[name]
