"""What is wrong with a document or a signature that is to be assembled."""

from __future__ import annotations

from signing.errors import SigningError


class AdesError(SigningError):
    """Base of these; never raised itself."""


class DocumentNotAcceptable(AdesError):
    """The document cannot be signed in this format; the text says why and quotes nothing of it."""

    code = "document_not_acceptable"


class SignatureTooLarge(AdesError):
    """The signature does not fit into the room that was left for it."""

    code = "signature_too_large"


class AttributesInvalid(AdesError):
    """What the activation module says that it signed are no signed attributes of this certificate and algorithm."""

    code = "attributes_invalid"
