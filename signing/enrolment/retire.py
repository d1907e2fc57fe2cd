"""The end of an enrolment: the authority revokes the certificate of a key that signs no more."""

from __future__ import annotations

from typing import Final

from connectors.ports.pki import CertificateAuthority
from signing.enrolment.errors import StillInUse
from signing.link.messages import CredentialView

REASON: Final = "cessationOfOperation"
"""RFC 5280 5.3.1.  Nothing is known of the key but that it is not used any more: `keyCompromise` would say of every
signature ever made with it that it may be forged."""
_ENDED: Final = frozenset({"revoked", "deleted"})


def revoke_certificate(view: CredentialView, *, authority: CertificateAuthority) -> None:
    """Have the certificate of an ended credential revoked; repeating it changes nothing.

    One that never got a certificate has none to revoke.

    :param view: the credential as the activation module shows it.
    :raises StillInUse: it has not ended; the certificate would be gone, and the key would go on signing.
    :raises connectors.ports.pki.PkiError: the authority refused or did not answer.
    """
    if view.status not in _ENDED:
        raise StillInUse(f"the credential is {view.status}")
    if view.certificates:
        authority.revoke(view.certificates[0], REASON)
