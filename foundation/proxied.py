"""Certificates of TLS clients, as the proxy that ended TLS tells of them: ``Client-Cert`` (RFC 9440).

Only a TLS server can know that somebody has a certificate's key.  A proxy is believed where it connects from an
address of the operator's list and proves itself by a secret besides: the address alone may be shared with others, the
secret alone may have been copied.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final

from cryptography import x509

from foundation.errors import ClientCertificateInvalid, SettingsError
from foundation.files import read_secret
from foundation.jose import encode_base64url

CERTIFICATE: Final = "Client-Cert"
PROXY_SECRET: Final = "X-Privyseal-Proxy"
MAX_CERTIFICATE_OCTETS: Final = 8 * 1024
"""Qualified certificates have 1.5 to 3 KiB; what is larger costs more to read than it can be worth."""
MAX_ITEM: Final = (MAX_CERTIFICATE_OCTETS + 2) // 3 * 4 + 2
"""Characters of a byte sequence with a certificate."""
_MIN_SECRET_OCTETS: Final = 32
_ITEM: Final = re.compile(r":([A-Za-z0-9+/]+={0,2}):", re.ASCII)


def is_proxy_network(text: str) -> bool:
    """Whether it is an address or network that leaves somebody out: whoever trusts everybody lets everybody write."""
    try:
        return ip_network(text).prefixlen > 0
    except ValueError:
        return False


def secret_hash(path: Path, name: str) -> bytes:
    """SHA-256 of what a proxy proves itself by.

    :param name: of the setting, for the fault.
    :raises SecretFileError: the file cannot be used.
    :raises SettingsError: it is short.
    """
    secret = read_secret(path)
    if len(secret) < _MIN_SECRET_OCTETS:
        raise SettingsError((f"{name}: at least {_MIN_SECRET_OCTETS} octets",))
    return hashlib.sha256(secret).digest()


@dataclass(frozen=True, slots=True)
class Proxies:
    """Who is believed about certificates of clients; nobody by default."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    secret_sha256: bytes | None = field(default=None, repr=False)

    def reason_against(self, peer: str | None, secrets: Sequence[str]) -> str | None:
        """Why whoever connects is no proxy of ours: ``address`` or ``secret``; None: it is one.

        :param peer: the address of the connection.
        :param secrets: the values of all lines of :data:`PROXY_SECRET`; compared in constant time.
        """
        try:
            address = ip_address(peer or "")
        except ValueError:
            return "address"
        address = getattr(address, "ipv4_mapped", None) or address
        if not any(address in network for network in self.networks):
            return "address"
        if len(secrets) != 1 or self.secret_sha256 is None:
            return "secret"
        given = hashlib.sha256(secrets[0].encode("utf-8", "surrogatepass")).digest()
        return None if hmac.compare_digest(given, self.secret_sha256) else "secret"

    def thumbprint(self, peer: str | None, lines: Callable[[str], Sequence[str]]) -> str | None:
        """``x5t#S256`` (RFC 8705 3.1) of the certificate whose key was used in the handshake; None: there was none.

        Who issued it and until when is not looked at: a token is bound to these octets, whatever they say.

        :param lines: the values of all lines of a header.
        :raises ClientCertificateInvalid: there are headers about one, and no proxy of ours sent them, or they do not
            hold one.
        """
        given, secrets = lines(CERTIFICATE), lines(PROXY_SECRET)
        if not given and not secrets:
            # Nothing is said, so it does not matter who says it.
            return None
        reason = self.reason_against(peer, secrets)
        if reason is not None:
            if given or secrets:
                raise ClientCertificateInvalid(f"headers about a certificate came from no proxy of ours ({reason})")
            return None
        if len(given) > 1:
            raise ClientCertificateInvalid("the header comes twice")
        if not given or not given[0]:
            return None
        der = byte_sequence(given[0])
        try:
            x509.load_der_x509_certificate(der)
        except ValueError as error:
            raise ClientCertificateInvalid("not a certificate") from error
        return encode_base64url(hashlib.sha256(der).digest())


def byte_sequence(text: str) -> bytes:
    """A byte sequence (RFC 8941 3.3.5) of a certificate's length, without parameters.

    :raises ClientCertificateInvalid: anything else, such as base64 that is not canonical.
    """
    found = _ITEM.fullmatch(text) if len(text) <= MAX_ITEM else None
    if found is None:
        raise ClientCertificateInvalid("not a byte sequence of a certificate's length")
    try:
        value = base64.b64decode(found[1], validate=True)
    except binascii.Error as error:
        raise ClientCertificateInvalid("not base64") from error
    if base64.b64encode(value).decode() != found[1]:
        raise ClientCertificateInvalid("base64 with bits or padding that it should not have")
    return value
