"""HTTP sessions whose connections to `*.localhost` go to 127.0.0.1.

RFC 6761 section 6.3 gives the name to the loopback interface, browsers obey, the C library's resolver does not. The
URL and the Host header stay as they are, so cookies and origins behave as in a browser.
"""

from __future__ import annotations

import socket
from typing import Any

import requests
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import create_connection

TIMEOUT = (3.05, 30.0)
"""Seconds to connect, seconds between two bytes of the answer."""


def is_local_name(host: str) -> bool:
    """Whether the name is `localhost` or ends in `.localhost`."""
    return host.rstrip(".").lower().split(".")[-1] == "localhost"


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
    """A transport adapter for `requests`, with a timeout for callers who give none."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _LocalPool, "https": _LocalTlsPool}

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = kwargs.get("timeout") or TIMEOUT
        return super().send(*args, **kwargs)


class LocalhostResolver(AbstractResolver):
    """For aiohttp: resolves `*.localhost` to 127.0.0.1 (RFC 6761 section 6.3), everything else as usual."""

    def __init__(self) -> None:
        self._usual = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if not is_local_name(host):
            return await self._usual.resolve(host, port, family)
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        await self._usual.close()


def prepare_session(session: requests.Session) -> None:
    """Give a session the adapter, and nothing from the environment (no proxy, no .netrc)."""
    session.trust_env = False
    session.mount("http://", LocalhostAdapter())
    session.mount("https://", LocalhostAdapter())


def local_session() -> requests.Session:
    """A new session."""
    session = requests.Session()
    prepare_session(session)
    return session
