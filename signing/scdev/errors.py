"""What goes wrong around the token itself; refusals of the running device are those of its port."""

from __future__ import annotations

from signing.errors import SigningError


class TokenError(SigningError):
    """Base of the ceremony's errors; never raised itself."""

    code = "token"


class CryptokiError(TokenError):
    """A PKCS#11 function did not answer CKR_OK; ``rv`` is its answer (PKCS #11 2.40, 5.1)."""

    code = "cryptoki"

    def __init__(self, text: str, rv: int) -> None:
        super().__init__(text)
        self.rv = rv


class TokenExists(TokenError):
    """A token of that label is there already; it is never initialised again."""

    code = "token_exists"


class TokenMissing(TokenError):
    """No token of that label, or no slot that could be initialised."""

    code = "token_missing"


class TokenKeysExist(TokenError):
    """The token holds the server's keys already."""

    code = "token_keys_exist"


class TokenPinRefused(TokenError):
    """The token refused a PIN, or the PIN's length; it was tried once."""

    code = "pin_refused"


class CeremonyFailed(TokenError):
    """The child process in which the ceremony runs ended without an answer, or with an unexpected refusal."""

    code = "ceremony_failed"


class FrameBroken(TokenError):
    """The other end of the line between two of our processes closed it, or what came is not a frame."""

    code = "frame_broken"
