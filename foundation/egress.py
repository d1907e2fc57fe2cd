"""The one way out: where outgoing HTTP may go, and how much it may bring back.

An address that comes from a certificate, a client's metadata or a message is chosen by somebody else.  So every name
is resolved here, an address that is not public is refused unless the operator allowed that host and port, the
connection is made to the very address that was judged (no second look-up for a rebinding name server), redirects are
not followed and answers are capped.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from foundation.errors import EgressRefused

Resolver = Callable[[str, int], list[str]]
_CHUNK: Final = 16 * 1024
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host; ``*.localhost`` is loopback (RFC 6761 6.3), which the C library does not know."""
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1"]
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError as error:
        raise EgressRefused(f"{host} does not resolve") from error


def is_public(address: str) -> bool:
    """Whether an address is one host on the public Internet, by itself and by the IPv4 address that it may carry.

    Translators take whatever is in 64:ff9b::/96 (RFC 6052) to the IPv4 address in its last 32 bits, and 6to4 (RFC 3056)
    to the one behind its prefix: the registries call both global, and the host behind them may be this one.
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        carried = found.ipv4_mapped or found.sixtofour or (_last_32_bits(found) if found in _TRANSLATED else None)
        if carried is not None:
            return is_public(str(carried))
        # Beyond 2000::/3 nothing is given out (IANA's registry of the IPv6 address space), ::127.0.0.1 among it.
        return found in _UNICAST and found.is_global
    return found.is_global and not found.is_multicast


def _last_32_bits(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(address.packed[-4:])


class Egress:
    """Where outgoing requests may go.

    :param allow: ``host:port`` pairs that may be on a private or loopback address.
    :param plain: public addresses may be reached without TLS too: for what is signed itself, such as revocation lists
        and OCSP answers, whose addresses are http by their standards.
    """

    def __init__(self, allow: tuple[str, ...] = (), resolver: Resolver = resolve, *, plain: bool = False) -> None:
        self._allow = frozenset(item.lower() for item in allow)
        self._resolver = resolver
        self._plain = plain

    def address_for(self, url: str) -> str:
        """The address to connect to for a URL.

        :raises EgressRefused: another scheme than http and https, credentials in the URL, a name that does not resolve,
            an address that is not public and was not allowed; http to anything that was not allowed (where it is not
            ``plain``).
        """
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise EgressRefused("the URL cannot be read") from error
        host = (parts.hostname or "").lower()
        credentials = parts.username is not None or parts.password is not None
        if parts.scheme not in {"http", "https"} or not host or credentials:
            raise EgressRefused("only http and https URLs without credentials are requested")
        allowed = f"{host}:{port}" in self._allow
        if parts.scheme == "http" and not allowed and not self._plain:
            raise EgressRefused(f"{host}:{port} may not be reached without TLS")
        addresses = self._resolver(host, port)
        if not addresses or not (allowed or all(is_public(item) for item in addresses)):
            raise EgressRefused(f"{host}:{port} is on an address that is not public and was not allowed")
        return addresses[0]

    def session(self, timeout_seconds: float) -> requests.Session:
        """A session whose every request is judged, bounded in time and not redirected."""
        return _session(_GuardedAdapter(self, timeout_seconds))

    @contextmanager
    def brief_session(self, seconds: float) -> Iterator[requests.Session]:
        """As :meth:`session`, and after so many seconds its connections are cut, whatever goes on there.

        The timeout of a session is from one octet to the next: whoever drips a head of a hundred lines has an hour.
        """
        adapter = _GuardedAdapter(self, seconds)
        cutter = _Cutter()
        adapter.poolmanager.pool_classes_by_scheme = _watched_pools(cutter)
        timer = threading.Timer(seconds, cutter.cut)
        timer.daemon = True
        timer.start()
        try:
            with _session(adapter) as session:
                yield session
        finally:
            timer.cancel()
            cutter.cut()


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Nowhere.

        :raises TooManyRedirects: at once: requests would read the whole body first, however long it is.
        """
        if super().get_redirect_target(resp) is None:
            return None
        resp.close()
        raise requests.TooManyRedirects("a redirect is not followed", response=resp)


def _session(adapter: HTTPAdapter) -> requests.Session:
    session = _Session()
    session.trust_env = False  # no proxies and no .netrc from the surroundings
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _Cutter:
    """Cuts connections, also in the midst of a handshake.  Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_cut = False

    def watch(self, connection: HTTPConnection, made: socket.socket) -> socket.socket:
        with self._lock:
            if self._is_cut:
                made.close()
                raise NewConnectionError(connection, "no time is left")
            # Of its own: TLS takes the other one over.
            self._sockets.append(made.dup())
        return made

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            self._sockets.clear()


def _watched_pools(cutter: _Cutter) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return cutter.watch(self, super()._new_conn())

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return cutter.watch(self, super()._new_conn())

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class _GuardedAdapter(HTTPAdapter):
    def __init__(self, egress: Egress, timeout_seconds: float) -> None:
        self._egress = egress
        self._timeout = timeout_seconds
        super().__init__(max_retries=0)

    def send(  # noqa: PLR0917 - the signature is requests' own
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        url = request.url or ""
        address = self._egress.address_for(url)
        parts = urlsplit(url)
        literal = f"[{address}]" if ":" in address else address
        netloc = literal if parts.port is None else f"{literal}:{parts.port}"
        request.headers.setdefault("Host", parts.netloc)
        request.url = urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
        try:
            return super().send(request, stream, timeout or self._timeout, verify, cert, proxies)
        finally:
            request.url = url

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: Any = None
    ) -> Any:
        """Name the host that the URL named, not the address, in the TLS handshake and its check."""
        host_params, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        pool_kwargs: dict[str, Any] = {**pool}
        if host_params.get("scheme") == "https":
            name = urlsplit(f"//{request.headers['Host']}").hostname
            pool_kwargs["assert_hostname"] = name
            pool_kwargs["server_hostname"] = name
        return host_params, pool_kwargs


def read_limited(response: requests.Response, max_octets: int) -> bytes:
    """Read the body of a response that was requested with ``stream=True``.

    :raises EgressRefused: it is longer than ``max_octets``.
    """
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > max_octets:
            response.close()
            raise EgressRefused(f"the answer is longer than {max_octets} octets")
    return bytes(body)
