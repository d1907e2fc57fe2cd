"""Names below `localhost` lead to the loopback interface (RFC 6761 section 6.3), whatever the resolver thinks.

Browsers do so, the C library does not.  The URL and the Host header stay as they are.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import create_connection


def is_local_name(host: str) -> bool:
    """Whether the name is `localhost` or ends in `.localhost`."""
    return host.rstrip(".").lower().split(".")[-1] == "localhost"


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine: such a name, or an address of the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return is_local_name(host)


def _connect(connection: HTTPConnection) -> socket.socket:
    """What urllib3 does in `_new_conn`, with the loopback address in place of the name."""
    host = "127.0.0.1" if is_local_name(connection.host) else connection.host
    try:
        return create_connection(
            (host, connection.port or connection.default_port),
            connection.timeout,
            socket_options=connection.socket_options,
        )
    except TimeoutError as e:
        raise ConnectTimeoutError(connection, f"connecting to {connection.host} took too long") from e
    except OSError as e:
        raise NewConnectionError(connection, f"no connection to {connection.host}: {e}") from e


class _LocalConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _LocalTlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _LocalPool(HTTPConnectionPool):
    ConnectionCls = _LocalConnection


class _LocalTlsPool(HTTPSConnectionPool):
    ConnectionCls = _LocalTlsConnection


class LocalhostAdapter(HTTPAdapter):
    """A transport adapter for `requests` that knows where `*.localhost` is."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _LocalPool, "https": _LocalTlsPool}
