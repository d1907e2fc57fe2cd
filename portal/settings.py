"""Settings of the portal: ``portal.toml``, environment prefix ``PRIVYSEAL_PORTAL_``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from foundation.proxied import is_proxy_network
from foundation.settings import Mode

LANGUAGES: Final = ("en", "es", "de", "fr")
"""Languages in which the pages exist; the first is their source."""
SQLITE_IN_PRODUCTION: Final = "mode is production: SQLite serves one process on one machine; use PostgreSQL"
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What one person may bring and keep."""

    file_octets: int = 20 * _MIB
    """Of one document."""
    request_octets: int = 20 * _MIB
    """Of the documents that are signed with one approval: base64 adds a third, and the signing service takes
    ``documents.max_body`` octets in one request."""
    documents_at_once: int = 100
    """Documents in one approval; the signing service has a limit of its own."""
    documents: int = 100
    """Documents of one person."""
    octets: int = 200 * _MIB
    """Of one person's documents, signed ones included."""
    address_burst: int = 60
    """Requests that cost something, from one address at once."""
    address_per_minute: int = 30
    """So many more a minute."""

    def faults(self) -> Iterable[str]:
        """What types cannot say."""
        if not 1024 <= self.file_octets <= 256 * _MIB:
            yield "file_octets is from 1 KiB to 256 MiB"
        if not self.file_octets <= self.request_octets <= 1024 * _MIB:
            yield "request_octets is at least file_octets and at most 1 GiB"
        if not 1 <= self.documents_at_once <= 100:
            yield "documents_at_once is 1 to 100"
        if self.documents < 1 or self.octets < self.file_octets:
            yield "documents is at least 1, octets at least file_octets"
        if self.address_burst < 1 or self.address_per_minute < 1:
            yield "address_burst and address_per_minute are at least 1"


@dataclass(frozen=True, slots=True)
class KeepingSettings:
    """How long things are kept, in seconds."""

    document_seconds: int = 7 * 24 * 60 * 60
    """From the upload; a signed document from its signature."""
    purge_seconds: int = 60
    """Between two purges of what has expired."""
    idle_seconds: int = 30 * 60
    """A session that nobody used."""
    session_seconds: int = 8 * 60 * 60
    """Any session."""
    request_seconds: int = 15 * 60
    """A person's way to the identity provider and back."""

    def faults(self) -> Iterable[str]:
        """What types cannot say."""
        if not 60 <= self.document_seconds <= 366 * 24 * 60 * 60:
            yield "document_seconds is from a minute to a year"
        if not 1 <= self.purge_seconds <= 24 * 60 * 60:
            yield "purge_seconds is from a second to a day"
        if not 60 <= self.idle_seconds <= self.session_seconds <= 7 * 24 * 60 * 60:
            yield "idle_seconds is at least 60 and at most session_seconds, which is at most a week"
        if not 60 <= self.request_seconds <= 60 * 60:
            yield "request_seconds is 60 to 3600"


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """All of ``portal.toml``."""

    public_url: str
    """Where browsers reach the portal; ``/callback`` below it is the registered redirect URI."""
    issuer: str
    """The identity provider."""
    csc_base: str
    """Base URL of the signing service's API, version 2, as ``https://sign.example.org/csc/v2``."""
    client_id: str
    """At the identity provider; scopes ``openid``, ``service`` and ``credential``."""
    client_key_file: Path
    """PKCS#8 PEM, owner-only: the key of ``private_key_jwt``."""
    key_file: Path
    """At least 32 octets, owner-only: what everything that is kept is sealed with."""
    mode: Mode = "production"
    database_url: str | None = field(default=None, repr=False)
    database_url_file: Path | None = None
    service_name: str = "Privy Seal"
    show_documents: bool = True
    """The identity provider fetches the documents and shows them before the approval; it has to have registered the
    client for that (``--document-location``)."""
    validate_url: str | None = None
    """The signing service's ``POST /validate``; without it there is no page that validates."""
    languages: tuple[str, ...] = LANGUAGES
    """The first is used where the browser asks for none of them."""
    ca_file: Path | None = None
    """PEM of the certification authorities of the identity provider's and the signing service's TLS, where the usual
    ones are not meant."""
    timeout_seconds: float = 120.0
    """For one answer of the signing service, from request to end."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose ``X-Forwarded-For`` is believed."""
    limits: LimitSettings = LimitSettings()
    keeping: KeepingSettings = KeepingSettings()

    @property
    def production(self) -> bool:
        """Whether unsafe stand-ins are refused."""
        return self.mode == "production"

    @property
    def secure_cookies(self) -> bool:
        """Whether browsers reach the portal over https."""
        return self.public_url.startswith("https://")

    @property
    def redirect_uri(self) -> str:
        """As registered."""
        return f"{self.public_url}/callback"

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """``trusted_proxies``, read."""
        return tuple(ip_network(text) for text in self.trusted_proxies)

    def faults(self) -> Iterable[str]:
        """What types cannot say, production refusals among them."""
        for name in ("public_url", "issuer", "csc_base"):
            yield from _address_faults(name, getattr(self, name), https=self.production)
        if self.validate_url is not None:
            yield from _address_faults("validate_url", self.validate_url, https=self.production)
        if urlsplit(self.public_url).path:
            yield "public_url has no path: cookies with the prefix __Host- hold for a whole host"
        if (self.database_url is None) == (self.database_url_file is None):
            yield "exactly one of database_url and database_url_file is set"
        if self.production and (self.database_url or "").startswith("sqlite"):
            yield SQLITE_IN_PRODUCTION
        if not self.languages or not set(self.languages) <= set(LANGUAGES):
            yield f"languages are some of {', '.join(LANGUAGES)}"
        for text in self.trusted_proxies:
            if not is_proxy_network(text):
                yield f"trusted_proxies: {text!r} is no address or network, has host bits set, or is every network"
        if not 1 <= self.timeout_seconds <= 600:
            yield "timeout_seconds is 1 to 600"
        if not self.service_name.strip() or len(self.service_name) > 60:
            yield "service_name has 1 to 60 characters"


def _address_faults(name: str, url: str, *, https: bool) -> Iterable[str]:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        yield f"{name} is not an address"
        return
    plain = parts.username is None and not parts.query and not parts.fragment
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain or url.endswith("/"):
        yield f"{name} is an http or https address without a slash at its end, query, fragment or user"
    elif https and parts.scheme != "https":
        yield f"{name} must be https: mode is production"
