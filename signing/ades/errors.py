"""What is wrong with a document or a signature that is to be assembled."""

from __future__ import annotations

from signing.errors import SigningError


class AdesError(SigningError):
    """Base of these; never raised itself."""


class DocumentNotAcceptable(AdesError):
    """The document cannot be signed in this format; the text says why and quotes nothing of it."""

    code = "document_not_acceptable"


class DocumentNotReadable(AdesError):
    """The document that should be validated is no PDF, is damaged, or is encrypted; the text quotes nothing of it."""

    code = "document_not_readable"


class FieldNotAcceptable(AdesError):
    """The signature cannot be put where it is wished, or not as it is wished there; quotes nothing of the document."""

    code = "field_not_acceptable"


class AppearanceNotAcceptable(AdesError):
    """What a signature is to show cannot be shown."""

    code = "appearance_not_acceptable"


class SignatureTooLarge(AdesError):
    """The signature does not fit into the room that was left for it."""

    code = "signature_too_large"


class AttributesInvalid(AdesError):
    """What the activation module says that it signed are no signed attributes of this certificate and algorithm."""

    code = "attributes_invalid"


class ChainNotTrusted(AdesError):
    """No path leads from a certificate to a trust anchor, or it does not hold; ``cause`` says what was wrong."""

    code = "chain_not_trusted"

    def __init__(self, cause: str) -> None:
        super().__init__("a certificate's path to a trust anchor does not hold")
        self.cause = cause
        """Of :class:`foundation.certificates.errors.CertificateRefused`."""


class CertificateRevoked(AdesError):
    """A certificate of the path was revoked, or is suspended (``status``)."""

    code = "certificate_revoked"

    def __init__(self, status: str) -> None:
        super().__init__(f"a certificate of the path is {status}")
        self.status = status


class EvidenceMissing(AdesError):
    """What would validate a signature is not to be had now, or not freshly enough."""

    code = "evidence_missing"


class TokenUnreadable(AdesError):
    """A time-stamp token is none, or does not hold its signer's certificate."""

    code = "token_unreadable"


class NothingSigned(AdesError):
    """The document has no signature that could be lifted."""

    code = "nothing_signed"


class NotExtendable(AdesError):
    """A signature is not good enough to be lifted, or the level was not reached; the text says which and why."""

    code = "not_extendable"
