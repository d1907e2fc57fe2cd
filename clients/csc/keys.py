"""How a client shows who it is, and that a token is its own: `private_key_jwt` and DPoP proofs."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote_plus

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from .errors import UsageError

Key = ECKey | OKPKey | RSAKey
Clock = Callable[[], float]
"""Seconds since 1970."""
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS: Final = 60


def wall_clock() -> float:
    """Now."""
    return time.time()  # noqa: TID251 - stands alone: this package has no clock of the product's


class ClientAuthentication(Protocol):
    """How the client authenticates at the authorization server."""

    @property
    def client_id(self) -> str:
        """As registered."""
        ...

    def apply(self, form: dict[str, str], headers: dict[str, str], audience: str) -> None:
        """Add what authenticates to a form or to headers.

        :param audience: the issuer, or the endpoint where the issuer is not known.
        """
        ...


@dataclass(frozen=True, slots=True)
class PublicClient:
    """A client without a secret (`none`); it only says its name."""

    client_id: str

    def apply(self, form: dict[str, str], headers: dict[str, str], audience: str) -> None:
        """See :class:`ClientAuthentication`."""
        form["client_id"] = self.client_id


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """`client_secret_basic`, or `client_secret_post` where the server wants it in the form (RFC 6749 section 2.3.1)."""

    client_id: str
    secret: str = field(repr=False)
    in_form: bool = False

    def apply(self, form: dict[str, str], headers: dict[str, str], audience: str) -> None:
        """See :class:`ClientAuthentication`."""
        if self.in_form:
            form |= {"client_id": self.client_id, "client_secret": self.secret}
            return
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"


@dataclass(frozen=True, slots=True)
class PrivateKeyJwt:
    """`private_key_jwt` (RFC 7523 section 2.2): the server keeps the public key only."""

    client_id: str
    key: Key = field(repr=False)
    kid: str | None = None
    clock: Clock = field(default=wall_clock, repr=False)

    def apply(self, form: dict[str, str], headers: dict[str, str], audience: str) -> None:
        """See :class:`ClientAuthentication`."""
        now = int(self.clock())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
        }
        header = {"typ": "JWT"} if self.kid is None else {"typ": "JWT", "kid": self.kid}
        form |= {
            "client_id": self.client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": _signed(header, claims, self.key),
        }


@dataclass(frozen=True, slots=True)
class DpopKey:
    """A key to which tokens are bound (RFC 9449): a token that leaks is worth nothing without it."""

    key: Key = field(repr=False)
    clock: Clock = field(default=wall_clock, repr=False)

    @classmethod
    def generate(cls) -> DpopKey:
        """A new key, P-256, that exists in this process only."""
        return cls(ECKey.generate_key("P-256"))

    def proof(self, method: str, url: str, token: str | None = None) -> str:
        """A proof for one request, good once.

        :param token: the access token that is shown with it.
        """
        claims: dict[str, Any] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url.partition("?")[0],
            "iat": int(self.clock()),
        }
        if token is not None:
            claims["ath"] = base64url(hashlib.sha256(token.encode()).digest())
        return _signed({"typ": "dpop+jwt", "jwk": self.key.as_dict(private=False)}, claims, self.key)


def read_key(path: Path) -> Key:
    """A private key in PEM, from a file that only its owner can read.

    :raises UsageError: not readable, readable by others too, or a key of another kind.
    """
    content = read_private(path).encode()
    for kind in (ECKey, OKPKey, RSAKey):
        try:
            key: Key = kind.import_key(content)
        except (JoseError, ValueError, TypeError):
            continue
        if key.is_private:
            return key
    raise UsageError(f"{path} is not a private key of a kind that can be used (P-256, Ed25519, RSA)")


def read_private(path: Path) -> str:
    """The text of a file that only its owner can read.

    :raises UsageError: not readable, empty, or readable by others too.
    """
    try:
        mode = path.stat().st_mode
        content = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"{path} cannot be read") from e
    if mode & 0o077:
        raise UsageError(f"{path} must be readable by its owner only (chmod 600)")
    if not content:
        raise UsageError(f"{path} is empty")
    return content


def base64url(data: bytes) -> str:
    """Without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _signed(header: Mapping[str, Any], claims: Mapping[str, Any], key: Key) -> str:
    algorithm = {"EC": "ES256", "OKP": "Ed25519", "RSA": "PS256"}[key.key_type]
    payload = json.dumps(claims, separators=(",", ":"))
    return jws.serialize_compact({"alg": algorithm, **header}, payload, key, algorithms=[algorithm])
