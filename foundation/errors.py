"""The root of every error of the product.

A package derives one base of its own from :class:`PrivySealError`, which it never raises itself, and one subclass a
cause.  ``code`` is what goes over the wire; the text of an exception is for operators and never carries a secret.
"""

from __future__ import annotations

from typing import ClassVar


class PrivySealError(Exception):
    """Base of all errors; never raised itself."""

    code: ClassVar[str] = "server_error"


class SecretFileError(PrivySealError):
    """A secret's file is missing, is a link, is not a regular file or can be read by others."""

    code = "secret_file"


class SettingsError(PrivySealError):
    """The settings have faults; ``faults`` names all of them, one line each."""

    code = "settings"

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(("the settings cannot be used:", *(f"  - {fault}" for fault in faults))))
        self.faults = faults


class AddressInvalid(PrivySealError):
    """A text that should say where something listens does not."""

    code = "address"


class JoseError(PrivySealError):
    """Base of the refusals of :mod:`foundation.jose`; never raised itself."""

    code = "invalid_token"


class TokenMalformed(JoseError):
    """Not a compact JWS in the strict form: size, segments, base64url, header members, JSON."""


class TokenUntrusted(JoseError):
    """No pinned key fits, the algorithm or type is another, or the signature does not verify."""


class TokenClaimsInvalid(JoseError):
    """A claim is missing, unknown, of the wrong type or outside its bounds."""


class TokenExpired(TokenClaimsInvalid):
    """``exp`` has been reached: it is the first second in which a token is refused (RFC 7519 4.1.4)."""

    code = "expired_token"


class EgressRefused(PrivySealError):
    """The address of an outgoing request is not one that the operator allowed."""

    code = "egress_refused"


class ClientCertificateInvalid(PrivySealError):
    """What a request says about its client's certificate cannot be believed, or is none."""

    code = "client_certificate"


class SandboxError(PrivySealError):
    """Base of what can become of work in a confined process; never raised itself."""

    code = "sandbox"


class SandboxUnavailable(SandboxError):
    """No process could be started, or all of them were busy for too long; nothing is known of the input."""

    code = "sandbox_unavailable"


class WorkTooLong(SandboxError):
    """The work took more time than it may, of the processor or of the clock."""

    code = "too_long"


class WorkTooLarge(SandboxError):
    """The work needed more memory than it may, or its answer is larger than it may be."""

    code = "too_large"


class WorkCrashed(SandboxError):
    """The process ended without an answer."""

    code = "crashed"
