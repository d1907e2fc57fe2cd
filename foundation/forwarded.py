"""Where a request comes from, behind the reverse proxies that an operator names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

FORWARDED: Final = "X-Forwarded-For"


def address_behind(
    peer: str | None, forwarded: Iterable[str], trusted: Sequence[IPv4Network | IPv6Network]
) -> str | None:
    """The nearest address that is no trusted proxy's, read from the connection backwards.

    Each proxy appends the address of whoever connected to it; whatever stands before the first one that is not
    trusted was written by a stranger, and is not looked at.  Where a trusted proxy wrote nothing, or what cannot be
    read, the address is unknown rather than the proxy's own, which a condition might take for the office's.

    :param peer: the other end of the connection.
    :param forwarded: values of ``X-Forwarded-For``, in the order of the header lines.
    """
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    address = _read(peer)
    if not hops and address is not None and any(address in network for network in trusted):
        return None
    while address is not None and hops and any(address in network for network in trusted):
        address = _read(hops.pop())
    return None if address is None else str(address)


@lru_cache(maxsize=1024)
def _read(text: str | None) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    # A socket for both families shows an IPv4 peer as ``::ffff:192.0.2.7`` (RFC 4291, 2.5.5.2).
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
