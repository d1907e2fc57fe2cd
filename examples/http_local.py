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

from clients.csc import localhost
from clients.csc.localhost import is_local_name

__all__ = ["LocalhostAdapter", "LocalhostResolver", "is_local_name", "local_session", "prepare_session"]

TIMEOUT = (3.05, 30.0)
"""Seconds to connect, seconds between two bytes of the answer."""


class LocalhostAdapter(localhost.LocalhostAdapter):
    """The client's transport adapter for `requests`, with a timeout for callers who give none."""

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
