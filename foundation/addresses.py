"""Where something listens: a host and a port in one text."""

from __future__ import annotations

from foundation.errors import AddressInvalid

_HIGHEST_PORT = 65_535


def split_address(text: str) -> tuple[str, int]:
    """``host:port``; an IPv6 address stands in brackets (RFC 3986 3.2.2).

    :raises AddressInvalid: it is not of that form.
    """
    host, separator, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressInvalid("an IPv6 address stands in brackets")
    if not separator or not host or host != host.strip() or not (port.isascii() and port.isdigit()):
        raise AddressInvalid("must be a host and a port")
    if not 0 < int(port[:6]) <= _HIGHEST_PORT:
        raise AddressInvalid("the port must be from 1 to 65535")
    return host, int(port)
