"""How often one address may ask for what costs something: an upload, an approval, a validation, a sign-in (DOS-03).

Token buckets (:mod:`foundation.buckets`), taken from before anything of the request's body is read: a flood from many
addresses costs memory for so many and no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, cast

from flask import Flask, current_app, request

from foundation.buckets import MOST, Buckets
from foundation.forwarded import FORWARDED, address_behind
from portal.errors import TooManyRequests
from portal.settings import LimitSettings
from portal.web.parts import parts

COSTLY: Final = frozenset({"library.bring", "pages.sign_in", "signing.begin", "validation.validate"})
"""POSTs that examine a file, ask another service, or end there."""
_IPV6_SITE: Final = 64
"""Bits of an address that a subscriber has at least: within them one may have any number."""
_UNKNOWN: Final = "unknown"
_MINUTE: Final = 60.0
_EXTENSION: Final = "privyseal-portal-limits"


class AddressLimit:
    """So many requests at once, and so many a minute.  Thread-safe.

    :param monotonic: seconds of a clock that is never set.
    """

    def __init__(
        self, settings: LimitSettings, monotonic: Callable[[], float] = time.monotonic, most: int = MOST
    ) -> None:
        self._buckets = Buckets(
            burst=settings.address_burst,
            per_second=settings.address_per_minute / _MINUTE,
            monotonic=monotonic,
            most=most,
        )

    def __len__(self) -> int:
        """Addresses that are remembered."""
        return len(self._buckets)

    def take(self, site: str) -> None:
        """One request.

        :raises TooManyRequests: too many came from there; none is taken.
        """
        wait = self._buckets.take(site)
        if wait:
            raise TooManyRequests(wait)


def install(app: Flask, settings: LimitSettings) -> None:
    """Limit an app's costly requests; before anything that reads a body."""
    app.extensions[_EXTENSION] = AddressLimit(settings)
    app.before_request(_take)


def site_of(address: str | None) -> str:
    """What is counted together: an IPv4 address, an IPv6 network of a subscriber; all that are not known."""
    if address is None:
        return _UNKNOWN
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((int(found), _IPV6_SITE), strict=False))
    return str(found)


def _take() -> None:
    if request.method == "POST" and request.endpoint in COSTLY:
        trusted = parts().settings.trusted_networks
        address = address_behind(request.remote_addr, request.headers.getlist(FORWARDED), trusted)
        cast("AddressLimit", current_app.extensions[_EXTENSION]).take(site_of(address))
