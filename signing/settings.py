"""Settings of the signing web tier."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from foundation.addresses import split_address
from foundation.errors import AddressInvalid
from foundation.proxied import is_proxy_network
from foundation.settings import Mode

MAX_ACR_VALUES: Final = 10
"""What our identity provider takes in one request."""
MAX_AGE: Final = 999_999_999
"""The same."""
_ACR: Final = re.compile(r"[!#-\[\]-~]{1,255}\Z")
"""What stands in a quoted string of a header, between spaces (RFC 9470 3)."""
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\Z")
_BASE_OF_2_2: Final = re.compile(r"(/[A-Za-z0-9._~-]+){1,8}/csc/v2\Z")
"""Clients of 2.2 take no other (there is one version 2 at ``/csc/v2`` already)."""


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """Table ``issuer``: the identity provider whose service tokens are accepted."""

    url: str
    """Issuer identifier, exactly as in the tokens' ``iss``."""
    client_id: str
    """This web tier's own client there: for introspection (RFC 7662 2.1), and to ask in a person's name."""
    client_secret_file: Path | None = None
    """Owner-only file.  This or ``client_key_file``."""
    client_key_file: Path | None = None
    """Owner-only file with a private key (PKCS#8 PEM) for ``private_key_jwt``."""
    jwks_uri: str | None = None
    """Default: ``<url>/oauth2/jwks``."""
    introspection_endpoint: str | None = None
    """Default: ``<url>/oauth2/introspect``."""
    token_endpoint: str | None = None
    """Default: ``<url>/oauth2/token``."""
    backchannel_endpoint: str | None = None
    """Default: ``<url>/oauth2/bc-authorize``."""
    introspection_cache_seconds: float = 5.0
    sad_keys: tuple[Path, ...] = ()
    """Public activation keys (PEM), so that a SAD can be the bearer of ``credentials/info``; signing never relies on
    them, the module verifies for itself."""
    timeout_seconds: float = 5.0

    def faults(self) -> Iterator[str]:
        """What the types cannot say."""
        if (self.client_secret_file is None) == (self.client_key_file is None):
            yield "one of client_secret_file and client_key_file must be given"
        if not 0 <= self.introspection_cache_seconds <= 5:
            yield "introspection_cache_seconds must be 0 to 5: a revoked token may not live on longer"
        if not 0 < self.timeout_seconds <= 30:
            yield "timeout_seconds must be above 0 and at most 30"


@dataclass(frozen=True, slots=True)
class ServiceTexts:
    """Table ``service.languages.<tag>``: what ``info`` tells in another language."""

    name: str | None = None
    """Default: ``service.name``."""
    description: str | None = None
    """Default: ``service.description``; the answer's ``lang`` is then that one's."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Table ``service``: what ``info`` tells about the service (CSC API 2.0.0.2 11.1)."""

    name: str = "Privy Seal"
    description: str = "Remote signing with sole control"
    region: str = "EU"
    """ISO 3166-1 alpha-2."""
    lang: str = "en"
    """Of the texts here, and where there are none in the language that is asked for."""
    languages: Mapping[str, ServiceTexts] = field(default_factory=dict)
    """By language tag (RFC 5646)."""
    logo: str | None = None
    """Default: the logo that the service itself serves."""

    def faults(self) -> Iterator[str]:
        """What the types cannot say."""
        texts = [(self.name, self.description), *((each.name, each.description) for each in self.languages.values())]
        if any(text is not None and not 0 < len(text) <= 255 for pair in texts for text in pair):
            yield "name and description must have 1 to 255 characters"
        if not all(_LANGUAGE.match(tag) for tag in (self.lang, *self.languages)):
            yield "lang and the names below languages must be language tags"
        if len(self.region) != 2 or not self.region.isascii() or not self.region.isupper():
            yield "region must be two capital letters"


@dataclass(frozen=True, slots=True)
class AuthenticationDemand:
    """How people must have authenticated for a group of methods (RFC 9470); nothing given demands nothing."""

    required_acr: tuple[str, ...] = ()
    """Any of these is enough; clients are told them in this order."""
    max_authentication_age: int | None = None
    """Seconds since ``auth_time``."""

    def faults(self) -> Iterator[str]:
        """What the types cannot say."""
        if len(self.required_acr) > MAX_ACR_VALUES or not all(_ACR.match(value) for value in self.required_acr):
            yield f"required_acr must be at most {MAX_ACR_VALUES} URIs or registered names"
        if self.max_authentication_age is not None and not 0 < self.max_authentication_age <= MAX_AGE:
            yield f"max_authentication_age must be 1 to {MAX_AGE}"


@dataclass(frozen=True, slots=True)
class AuthenticationSettings:
    """Table ``authentication``: demands by group of methods."""

    credentials: AuthenticationDemand = field(default_factory=AuthenticationDemand)
    """``credentials/list`` and ``credentials/info``: of the bearer."""
    signatures: AuthenticationDemand = field(default_factory=AuthenticationDemand)
    """``signatures/signHash``: of the SAD."""


@dataclass(frozen=True, slots=True)
class DocumentsSettings:
    """Table ``documents``: what ``signatures/signDoc`` takes."""

    max_body: int = 32 * 1024 * 1024
    """Octets of a request, its documents in base64; a request takes several times as much memory."""
    max_objects: int = 200_000
    """Of a PDF, over all its revisions."""
    max_pages: int = 5_000
    max_expanded: int = 128 * 1024 * 1024
    """Octets of a PDF's streams, decompressed, and eight times its own size beyond."""
    max_seconds: int = 20
    """Of processor time for one PDF; a small one has less."""
    max_memory: int = 512 * 1024 * 1024
    """Octets of address space of a process that examines; a small PDF has less."""
    workers: int = 2
    """Processes, of each web process, that examine PDFs."""
    refuse: tuple[str, ...] = ()
    """Codes of findings with which no PDF is signed here, whatever the signer approved."""

    def faults(self) -> Iterator[str]:
        """What the types cannot say."""
        if not 1024 * 1024 <= self.max_body <= 256 * 1024 * 1024:
            yield "max_body must be 1 MiB to 256 MiB"
        if not 10 <= self.max_objects <= 5_000_000 or not 1 <= self.max_pages <= 100_000:
            yield "max_objects must be 10 to 5000000, max_pages 1 to 100000"
        if not 1024 * 1024 <= self.max_expanded <= 4 * 1024 * 1024 * 1024:
            yield "max_expanded must be 1 MiB to 4 GiB"
        if not 192 * 1024 * 1024 <= self.max_memory <= 16 * 1024 * 1024 * 1024:
            yield "max_memory must be 192 MiB to 16 GiB"
        if not 1 <= self.max_seconds <= 300 or not 1 <= self.workers <= 64:
            yield "max_seconds must be 1 to 300, workers 1 to 64"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests, in each process."""

    per_second: float
    """In the long run."""
    burst: int
    """At once, after a while without any."""

    def faults(self) -> Iterator[str]:
        """What the types cannot say."""
        if not 0 < self.per_second <= 1_000_000 or not 1 <= self.burst <= 1_000_000:
            yield "per_second must be above 0, burst 1 or more, and either at most 1000000"


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """Table ``limits``: how much may be asked for before it is answered 429."""

    client: Rate = Rate(1000.0, 5000)
    """By one relying party."""
    user: Rate = Rate(1000.0, 5000)
    """In the name of one person."""
    credential: Rate = Rate(1000.0, 5000)
    """Signatures and looks at one credential."""
    strangers: Rate = Rate(200.0, 1000)
    """Without a good token, by all of them together."""


@dataclass(frozen=True, slots=True)
class JobsSettings:
    """Table ``jobs``: asynchronous operations (``operationMode`` ``A``); without it there are none."""

    key_file: Path
    """Owner-only file, 32 octets or more: what the database holds is encrypted with keys derived from it.  All web
    nodes over one database have the same."""
    database_url: str | None = None
    """``sqlite:///path``, for one machine; or ``postgresql+psycopg://...``, in a role of the web tier's own."""
    database_url_file: Path | None = None
    """Owner-only file with the URL, where it holds a password."""
    workers: int = 2
    """Threads of each web process that carry jobs out."""
    default_validity_seconds: int = 3600
    """How long values are kept where the request does not say."""
    max_validity_seconds: int = 86_400
    max_jobs: int = 100_000
    max_jobs_of_a_client: int = 1000
    max_octets: int = 1024 * 1024 * 1024
    """Of all requests and outcomes in the database, where documents are among them."""
    max_octets_of_a_client: int = 256 * 1024 * 1024
    response_uris: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By client: where it may be told that values can be fetched.  One that ends with a slash allows all below it."""
    response_authorities: Path | None = None
    """PEM of the authorities that are trusted at those URIs; default: the public ones."""
    notice_attempts: int = 8
    notice_seconds: float = 5.0
    """For one attempt."""

    def faults(self) -> Iterator[str]:
        """What the types cannot say."""
        if (self.database_url is None) == (self.database_url_file is None):
            yield "one of database_url and database_url_file must be given"
        if not 1 <= self.default_validity_seconds <= self.max_validity_seconds <= 30 * 86_400:
            yield "default_validity_seconds must be 1 to max_validity_seconds, and that at most 30 days"
        if not 1 <= self.workers <= 16 or not 1 <= self.notice_attempts <= 16 or not 0 < self.notice_seconds <= 15:
            yield "workers and notice_attempts must be 1 to 16, notice_seconds above 0 and at most 15"
        if min(self.max_jobs, self.max_jobs_of_a_client, self.max_octets, self.max_octets_of_a_client) < 1:
            yield "max_jobs, max_octets, and those of a client must be positive"
        for uris in self.response_uris.values():
            for uri in uris:
                parts = urlsplit(uri)
                plain = not (parts.query or parts.fragment or "@" in parts.netloc)
                if parts.scheme != "https" or not parts.hostname or not parts.path or not plain:
                    yield "response_uris must be https URIs with a path, and without query and fragment"


@dataclass(frozen=True, slots=True)
class PkiSettings:
    """Table ``pki``: where certificates come from."""

    connector: str
    profile: str = "signer"
    settings: dict[str, Any] = field(default_factory=dict)
    """The connector's own table."""


@dataclass(frozen=True, slots=True)
class TimestampSettings:
    """One of ``timestamp_authorities``: a connector, as for the audit chain's anchors."""

    connector: str
    settings: dict[str, Any] = field(default_factory=dict)
    """The connector's own table."""


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """Table ``status``: who is asked whether certificates are revoked."""

    connector: str
    trust_anchors: tuple[Path, ...]
    """PEM files with the authorities to which certificates, signers' and time-stamping units', have to lead."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The connector's own table."""
    unknown: Literal["refuse", "sign"] = "refuse"
    """What becomes of a signature when nobody says whether the certificate is good."""
    freshness: Literal["after_stamp", "as_published"] = "after_stamp"
    """How young what a signature carries has to be: as its time-stamp, or as the authority publishes it."""

    def faults(self) -> Iterator[str]:
        """What the types cannot say."""
        if not self.trust_anchors:
            yield "trust_anchors must name at least one file"


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """Table ``validation``: signed PDFs that anybody may have validated; without it nobody may."""

    trust_anchors: tuple[Path, ...]
    """PEM files with the authorities to which signers' certificates have to lead."""
    timestamp_anchors: tuple[Path, ...] = ()
    """The same for time-stamping authorities, where they are others."""
    revocation: Literal["required", "declared", "none"] = "required"
    """Whose certificates' status has to be known."""
    fetch: bool = False
    """Whether authorities are asked, through the connector of table ``status``."""
    max_octets: int = 20 * 1024 * 1024
    """Of a document."""
    workers: int = 1
    """Confined processes at one time, in each web process."""
    seconds: int = 20
    """Of processor time for one document."""
    rate: Rate = Rate(2.0, 20)
    """Of all together."""

    def faults(self) -> Iterator[str]:
        """What the types cannot say."""
        if not self.trust_anchors:
            yield "trust_anchors must name at least one file"
        if not 1024 <= self.max_octets <= 256 * 1024 * 1024:
            yield "max_octets is 1024 to 268435456"
        if not 1 <= self.workers <= 64 or not 1 <= self.seconds <= 300:
            yield "workers is 1 to 64, seconds 1 to 300"


@dataclass(frozen=True, slots=True)
class SamTlsSettings:
    """Table ``sam_tls``: the module on another host."""

    address: str
    """``host:port`` of ``tls.listen`` in its settings."""
    certificate: Path
    """PEM; this web tier's own, which the module has pinned."""
    key: Path
    """Owner-only file with its key."""
    peers: tuple[Path, ...]
    """PEM: the module's certificate and, ahead of its use, the next."""

    def faults(self) -> Iterator[str]:
        """What the types cannot say."""
        try:
            split_address(self.address)
        except AddressInvalid as error:
            yield f"sam_tls.address {error}"
        if not self.peers:
            yield "sam_tls.peers must name the module's certificate"


@dataclass(frozen=True, slots=True)
class MutualTlsSettings:
    """Table ``mutual_tls``: the TLS server in front that says which certificate a client showed (RFC 8705)."""

    trusted_proxies: tuple[str, ...]
    """Addresses or networks from which it connects."""
    proxy_secret_file: Path
    """Owner-only file with what it proves itself by."""

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """``trusted_proxies``, read."""
        return tuple(ip_network(text) for text in self.trusted_proxies)

    def faults(self) -> Iterator[str]:
        """What the types cannot say."""
        if not self.trusted_proxies:
            yield "trusted_proxies names at least one"
        for text in self.trusted_proxies:
            if not is_proxy_network(text):
                yield f"trusted_proxies: {text!r} is no address or network, has host bits set, or is every network"


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Settings of the signing web tier, one TOML file; environment prefix ``PRIVYSEAL_WEB_``."""

    mode: Mode
    public_url: str
    """Without a path and without a slash at the end; the API's bases are below it."""
    issuer: IssuerSettings
    sam_socket: Path | None = None
    sam_tls: SamTlsSettings | None = None
    service: ServiceSettings = field(default_factory=ServiceSettings)
    pki: PkiSettings | None = None
    timestamp_authorities: tuple[TimestampSettings, ...] = ()
    """Asked in this order; none: ``signatures/timestamp`` is not offered."""
    status: StatusSettings | None = None
    """None: nobody is asked about certificates, and no signature is made to last."""
    validation: ValidationSettings | None = None
    """None: no document is validated for anybody."""
    documents: DocumentsSettings = field(default_factory=DocumentsSettings)
    authentication: AuthenticationSettings = field(default_factory=AuthenticationSettings)
    limits: LimitsSettings = field(default_factory=LimitsSettings)
    jobs: JobsSettings | None = None
    mutual_tls: MutualTlsSettings | None = None
    """None: nobody is believed about a client's certificate, and what is bound to one is refused."""
    descriptions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What people are told a credential is: by its profile, then by language tag."""
    egress_allow: tuple[str, ...] = ()
    """``host:port`` pairs that may be on private addresses, such as an identity provider in the same network."""
    user_listing_clients: tuple[str, ...] = ()
    """Clients whose own (not user-specific) service token may name a ``userID`` in ``credentials/list``."""
    explicit: bool = False
    """Whether people may type into applications what authorises signatures (SCAL1 only)."""
    login_client: str | None = None
    """Client id of the relying party whose users ``auth/login`` signs in; None: it does so for nobody."""
    approval: bool = False
    """Whether ``credentials/authorize`` asks people on their own pages at the identity provider."""
    csc_2_2_path: str = "/2.2/csc/v2"
    """Path of the base that speaks version 2.2; empty: there is none."""
    sam_timeout_seconds: float = 15.0
    log_level: str = "INFO"

    def faults(self) -> Iterator[str]:
        """What the types cannot say, and what production refuses."""
        parts = urlsplit(self.public_url)
        if (self.sam_socket is None) == (self.sam_tls is None):
            yield "one of sam_socket and sam_tls must be given"
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query or parts.fragment:
            yield "public_url must be a scheme and a host, and nothing behind them"
        for texts in self.descriptions.values():
            if not all(_LANGUAGE.match(tag) and 0 < len(text) <= 255 for tag, text in texts.items()):
                yield "descriptions must have language tags, and texts of 1 to 255 characters"
        if self.csc_2_2_path and not _BASE_OF_2_2.match(self.csc_2_2_path):
            yield "csc_2_2_path must be a path of its own that ends in /csc/v2, or empty"
        if self.validation is not None and self.validation.fetch and self.status is None:
            yield "validation.fetch needs the table status: who is asked stands there"
        if self.jobs is not None and not self.issuer.sad_keys:
            yield "jobs needs issuer.sad_keys: what is taken in is verified first"
        if self.mode == "production":
            if self.jobs is not None and (self.jobs.database_url or "").startswith("sqlite"):
                yield "jobs.database_url must be PostgreSQL's in production mode"
            for name, url in (("public_url", self.public_url), ("issuer.url", self.issuer.url)):
                if not url.startswith("https://"):
                    yield f"{name} must begin with https:// in production mode"
            if (parts.hostname or "").endswith("localhost"):
                yield "public_url names a loopback host in production mode"

    @property
    def resource(self) -> str:
        """The resource indicator of the API, ``aud`` of its service tokens (RFC 8707, RFC 9068)."""
        return f"{self.public_url}/csc/v2"
