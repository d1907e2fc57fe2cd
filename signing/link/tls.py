"""The link between two hosts: TLS 1.3 (RFC 8446), both ends with a certificate, and only those that are pinned.

No authority is trusted: each end has files with exactly the certificates that the other may show, two of them while one
replaces the other.  The certificates are the trust anchors themselves, so that OpenSSL refuses one that has expired;
what it accepted is then compared octet by octet, so that a pinned certificate cannot vouch for others.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from foundation.errors import SecretFileError, SettingsError
from foundation.files import read_secret
from signing.link.errors import LinkUnavailable, PeerRefused

_KEEPALIVE: Final = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
"""A peer whose host is gone says nothing; after a minute of that its connection is closed (tcp(7))."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What one end has."""

    certificate: Path
    """PEM; its own, and nothing else is sent."""
    key: Path
    """Owner-only PEM file, not encrypted."""
    peers: tuple[Path, ...]
    """PEM, one certificate each: whoever shows one of them, and has its key, is the other end."""


@dataclass(frozen=True, slots=True)
class TlsEndpoint:
    """Where the module listens, for the web tier."""

    host: str
    port: int
    files: TlsFiles


class Tls:
    """One end's context and pins."""

    def __init__(self, files: TlsFiles, *, server: bool) -> None:
        """Read the files; they are not read again.

        :raises SettingsError: one cannot be read or is not what it should be, or others can read the key.
        """
        pinned = tuple(_certificate(path) for path in files.peers)
        if not pinned:
            raise SettingsError(("the link over TLS names no certificate of the other end",))
        self._server = server
        self._pins: Final = frozenset(each.public_bytes(Encoding.DER) for each in pinned)
        self._context = _context(files, server=server)
        try:
            self._context.load_verify_locations(
                cadata="".join(each.public_bytes(Encoding.PEM).decode() for each in pinned)
            )
        except ssl.SSLError as error:
            raise SettingsError(("a pinned certificate cannot be used",)) from error

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Take over a connection; nothing is sent or received yet.

        :raises OSError: the connection is gone.
        """
        return self._context.wrap_socket(connection, server_side=self._server, do_handshake_on_connect=False)

    def shake_hands(self, link: ssl.SSLSocket, deadline: float) -> None:
        """Do the handshake, all of it by ``deadline`` (a value of ``time.monotonic``).

        :raises PeerRefused: no certificate, one that is not pinned, an earlier version of TLS, or no TLS.
        :raises LinkUnavailable: the deadline passed, or the connection broke.
        """
        try:
            link.settimeout(max(0.001, deadline - time.monotonic()))
            link.do_handshake()
        except ssl.SSLError as error:
            raise PeerRefused(f"the handshake failed: {error.reason or 'not TLS'}") from error
        except OSError as error:
            raise LinkUnavailable("the handshake was not finished in time") from error
        if link.getpeercert(binary_form=True) not in self._pins:
            raise PeerRefused("the certificate is not one of those that are pinned")


def prepare(connection: socket.socket) -> None:
    """No delay for small frames, and a word now and then where nobody speaks (tcp(7))."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def connect(endpoint: TlsEndpoint, tls: Tls, deadline: float) -> ssl.SSLSocket:
    """A connection on which both ends know one another.

    That the module refused this end's certificate shows only when it is asked something: in TLS 1.3 the client finishes
    first.

    :raises LinkUnavailable: nobody listens there, it is not the pinned module, or not in time.
    """
    try:
        plain = socket.create_connection((endpoint.host, endpoint.port), max(0.001, deadline - time.monotonic()))
    except OSError as error:
        raise LinkUnavailable("the signature activation module does not listen") from error
    try:
        prepare(plain)
        link = tls.wrap(plain)
    except OSError as error:
        plain.close()
        raise LinkUnavailable("the signature activation module closed the connection") from error
    try:
        tls.shake_hands(link, deadline)
    except LinkUnavailable:
        link.close()
        raise
    return link


def _context(files: TlsFiles, *, server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    # The certificate itself is pinned, whatever name is in it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    if server:
        # A session resumed would be one in which no certificate was shown.
        context.num_tickets = 0
    try:
        read_secret(files.key)
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except SecretFileError as error:
        raise SettingsError((str(error),)) from error
    except (OSError, ssl.SSLError) as error:
        raise SettingsError((f"{files.certificate}, {files.key}: not a certificate and its key",)) from error
    return context


def _no_password() -> NoReturn:
    """In place of OpenSSL's question on the terminal."""
    raise SettingsError(("the key of the link over TLS is encrypted; nobody is there to type its password",))


def _certificate(path: Path) -> x509.Certificate:
    try:
        (found,) = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise SettingsError((f"{path}: cannot be read ({error.strerror})",)) from error
    except ValueError as error:
        raise SettingsError((f"{path}: not one certificate in PEM",)) from error
    return found
