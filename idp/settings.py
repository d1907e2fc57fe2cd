"""Settings of the identity provider: ``idp.toml``, environment prefix ``PRIVYSEAL_IDP_``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from contract.sad import MAX_PREDECESSORS
from foundation.proxied import is_proxy_network
from idp.approval_settings import DeviceApprovalSettings
from idp.certificate_settings import CertificateSettings, MutualTlsSettings
from idp.code_settings import CodeSettings
from idp.document_settings import DocumentSettings

LANGUAGES: Final = ("en", "es", "de", "fr")
"""Languages in which the pages exist; the first is their source."""
SQLITE_IN_PRODUCTION: Final = "mode is production: SQLite serves one process on one machine; use PostgreSQL"
ACCOUNT_CLIENT_ID: Final = "privyseal-account"
"""The account pages, as a policy's conditions and the audit chain name them; no relying party may."""
ADMIN_CLIENT_ID: Final = "privyseal-admin"
"""The administration's pages, in the same way."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Limits of a browser's session, in seconds; a policy may set shorter ones for a level."""

    idle_seconds: int = 30 * 60
    """NIST SP 800-63B r3 4.2.3 for AAL2."""
    absolute_seconds: int = 12 * 60 * 60
    interaction_seconds: int = 15 * 60
    """How long a person may take over one sign-in or one approval."""

    def faults(self) -> Iterable[str]:
        """What types cannot say."""
        if not 60 <= self.idle_seconds <= self.absolute_seconds <= 30 * 24 * 60 * 60:
            yield "idle_seconds is at least 60 and at most absolute_seconds, which is at most 30 days"
        if not 60 <= self.interaction_seconds <= 60 * 60:
            yield "interaction_seconds is 60 to 3600"


_LEAST_COSTS: Final = ((7168, 5), (9216, 4), (12288, 3), (19456, 2), (47104, 1))
"""KiB and iterations of argon2id that are enough (OWASP, Password Storage Cheat Sheet): fewer iterations want more
memory than their product says."""


@dataclass(frozen=True, slots=True)
class PasswordSettings:
    """Cost of argon2id (RFC 9106) and what a new password must be."""

    memory_kib: int = 7168
    iterations: int = 5
    parallelism: int = 1
    concurrent: int = 4
    """Verifications at one time: each takes ``memory_kib``."""
    waiting: int = 32
    """Logins that may wait for their turn; the next is refused at once.  With ``concurrent``, fewer than the server has
    threads: then somebody is free to answer everything else during a flood of logins (DOS-03)."""
    min_length: int = 8
    """NIST SP 800-63B r4 3.1.1: 8 where it is one of two factors; 15 hold by themselves where a policy's level of r4
    is reached by a password alone."""
    blocklist_file: Path | None = None
    """Passwords that nobody may choose besides those that are shipped, one a line, UTF-8."""
    blocked_words: tuple[str, ...] = ()
    """Names of the operator, its products, its places: refused as passwords, alone or with a few characters more."""

    def faults(self) -> Iterable[str]:
        """Not weaker than what OWASP recommends, which differs with the memory."""
        if not any(self.memory_kib >= memory and self.iterations >= times for memory, times in _LEAST_COSTS):
            pairs = ", ".join(f"{memory} and {times}" for memory, times in _LEAST_COSTS)
            yield f"memory_kib and iterations are at least {pairs}"
        if not 1 <= self.parallelism <= 16 or not 1 <= self.concurrent <= 256:
            yield "parallelism is 1 to 16, concurrent is 1 to 256"
        if not 0 <= self.waiting <= 1024:
            yield "waiting is 0 to 1024"
        if self.min_length < 8:
            yield "min_length is at least 8"
        if any(len(word.strip()) < 3 for word in self.blocked_words):
            yield "blocked_words have at least 3 characters each"


_CAPS: Final = (
    "max_per_address", "max_per_account", "max_per_network", "max_per_prefix", "budget_an_hour", "budget_a_day",
)  # fmt: skip

_MAX_COUNTED: Final = 7
"""Digits of a prefix that is counted by itself: E.164 numbers begin with up to so many, and no person's is so short."""


@dataclass(frozen=True, slots=True)
class OtpSettings:
    """Limits of one-time codes."""

    lifetime_seconds: int = 300
    max_wrong: int = 5
    """Wrong codes after which a challenge is dead."""
    max_failed_challenges_a_day: int = 10
    """Their wrong codes, however spread over challenges, lock the authenticator until a day has passed."""
    max_wrong_ever: int = 100
    """Without a success in between: then the authenticator is disabled (NIST SP 800-63B r4 3.2.2)."""
    cool_down_seconds: int = 30
    """Between two messages of one transaction."""
    max_sends: int = 3
    """Messages with the same code."""
    max_messages_an_hour: int = 30
    """To one authenticator, over all transactions."""
    cap_minutes: int = 10
    """The window of the next three, which holds at every moment."""
    max_per_address: int = 3
    """To one number or mail address, whoever's it is."""
    max_per_account: int = 10
    max_per_network: int = 30
    """For browsers at one IPv4 address, or in one IPv6 network of 64 bits."""
    max_per_prefix: int = 500
    """Text messages in an hour to the numbers of one country; then none go there for :attr:`stop_seconds`."""
    prefix_limits: Mapping[str, int] = field(default_factory=dict)
    """In place of that, by prefix of telephone numbers without the plus sign; of those that fit the longest counts."""
    budget_an_hour: int = 1000
    """Text messages to everybody; then none go out for :attr:`stop_seconds`."""
    budget_a_day: int = 5000
    stop_seconds: int = 600
    conversion_least: int = 50
    """An alarm is given where of so many codes by text message in an hour, or more, ..."""
    conversion_percent: int = 20
    """... less than this part was used.  0: none is given."""
    allowed_prefixes: tuple[str, ...] = ()
    """Of telephone numbers, without the plus sign; none: all country codes that belong to a country."""
    denied_prefixes: tuple[str, ...] = ()
    """Whatever is allowed: ranges of premium numbers, for example."""
    address_wait_hours: int = 72
    """Until a changed number or mail address counts, its person having been told (OTP-08)."""

    def faults(self) -> Iterable[str]:
        """The ceilings of NIST SP 800-63B, and what limits need to be limits."""
        yield from self._cap_faults()
        if not 30 <= self.lifetime_seconds <= 600:
            yield "lifetime_seconds is 30 to 600"
        if not 1 <= self.max_wrong <= 10:
            yield "max_wrong is 1 to 10"
        if not 1 <= self.max_failed_challenges_a_day <= 20 or not 1 <= self.max_wrong_ever <= 100:
            yield "max_failed_challenges_a_day is 1 to 20, max_wrong_ever is 1 to 100"
        if not 1 <= self.address_wait_hours <= 720:
            yield "address_wait_hours is 1 to 720"
        if not 1 <= self.cool_down_seconds <= 300 or not 1 <= self.max_sends <= 10 or self.max_messages_an_hour < 1:
            yield "cool_down_seconds is 1 to 300, max_sends is 1 to 10, max_messages_an_hour is at least 1"

    def _cap_faults(self) -> Iterable[str]:
        if not 1 <= self.cap_minutes <= 24 * 60:
            yield "cap_minutes is 1 to 1440"
        for name in _CAPS:
            if getattr(self, name) < 1:
                yield f"{name} is at least 1"
        if any(limit < 1 for limit in self.prefix_limits.values()):
            yield "prefix_limits are at least 1; denied_prefixes names those to which nothing goes"
        if any(len(prefix) > _MAX_COUNTED for prefix in self.prefix_limits):
            yield f"prefix_limits names prefixes of at most {_MAX_COUNTED} digits: records name what is stopped"
        if self.budget_a_day < self.budget_an_hour:
            yield "budget_a_day is at least budget_an_hour"
        if not 60 <= self.stop_seconds <= 24 * 60 * 60:
            yield "stop_seconds is 60 to 86400"
        if not 0 <= self.conversion_percent <= 100 or self.conversion_least < 1:
            yield "conversion_percent is 0 to 100, conversion_least is at least 1"
        for prefix in (*self.allowed_prefixes, *self.denied_prefixes, *self.prefix_limits):
            if not re.fullmatch(r"[1-9][0-9]{0,14}", prefix, re.ASCII):
                yield f"{prefix!r} is no prefix: digits of a number in E.164 without the plus sign"


@dataclass(frozen=True, slots=True)
class ActivationSettings:
    """Activation codes, by which people bind their first factors."""

    life_hours: int = 72

    def faults(self) -> Iterable[str]:
        """A code that lies about for a month is found by somebody."""
        if not 1 <= self.life_hours <= 30 * 24:
            yield "life_hours is 1 to 720"


@dataclass(frozen=True, slots=True)
class PasskeySettings:
    """What is asked of authenticators; see docs/passkeys.md."""

    user_verification: Literal["preferred", "required"] = "preferred"
    """When a passkey is made: ``required`` lets none in that cannot ask for a PIN or a biometric."""
    resident_key: Literal["preferred", "required"] = "preferred"
    """``required`` lets none in that cannot be found without a user name."""
    trust_file: Path | None = None
    """Makes of authenticators that are believed: the payload of a FIDO metadata BLOB.  Without, none is asked for."""


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Lifetimes, in seconds, of what the token endpoint gives out."""

    code_seconds: int = 60
    par_seconds: int = 90
    access_token_seconds: int = 600
    id_token_seconds: int = 600
    refresh_token_seconds: int = 12 * 60 * 60
    sad_seconds: int = 300
    transaction_seconds: int = 900
    """From the issue of a transaction's first SAD until the last one that took its place has expired."""
    extensions: int = 4
    """How often a SAD may be replaced in one transaction; 0: never."""

    def faults(self) -> Iterable[str]:
        """Bounds: RFC 6749 4.1.2 for the code, the module's ceiling for the SAD."""
        if not 10 <= self.code_seconds <= 600 or not 10 <= self.par_seconds <= 600:
            yield "code_seconds and par_seconds are 10 to 600"
        if not 30 <= self.sad_seconds <= 300:
            yield "sad_seconds is 30 to 300"
        if not self.sad_seconds <= self.transaction_seconds <= 3600 or not 0 <= self.extensions <= MAX_PREDECESSORS:
            yield f"transaction_seconds is sad_seconds to 3600, and extensions 0 to {MAX_PREDECESSORS}"
        if not 30 <= self.access_token_seconds <= 3600 or not 30 <= self.id_token_seconds <= 3600:
            yield "access_token_seconds and id_token_seconds are 30 to 3600"
        if not 60 <= self.refresh_token_seconds <= 90 * 24 * 60 * 60:
            yield "refresh_token_seconds is 60 seconds to 90 days"


@dataclass(frozen=True, slots=True)
class InBandSettings:
    """What people may type into other people's applications, which pass it on through the signing service."""

    signatures: bool = False
    """Passwords and codes that authorise signatures with SCAL1 credentials (CSC API 2.0.0.2 11.6, ``explicit``)."""
    login: bool = False
    """User names and passwords that sign in (CSC API 2.0.0.2 11.2, ``auth/login``)."""


@dataclass(frozen=True, slots=True)
class ConnectorSettings:
    """A connector by its registered name, with the settings that it defines itself."""

    connector: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MessagingSettings:
    """How messages go out."""

    sms: ConnectorSettings | None = None
    mail: ConnectorSettings | None = None
    sms_fallback: tuple[ConnectorSettings, ...] = ()
    """Asked in this order where the one before did not take a message."""
    mail_fallback: tuple[ConnectorSettings, ...] = ()

    def faults(self) -> Iterable[str]:
        """What types cannot say."""
        for name, first, others in (("sms", self.sms, self.sms_fallback), ("mail", self.mail, self.mail_fallback)):
            if others and first is None:
                yield f"{name}_fallback without {name}"
            if len(others) > 4:
                yield f"{name}_fallback names at most 4"

    def ordered(self, channel: str) -> tuple[tuple[str, ConnectorSettings], ...]:
        """The gateways of a channel as they are asked, with the names by which records tell them apart."""
        first = self.sms if channel == "sms" else self.mail
        others = self.sms_fallback if channel == "sms" else self.mail_fallback
        every = () if first is None else (first, *others)
        return tuple((f"{number}-{item.connector}", item) for number, item in enumerate(every, start=1))


@dataclass(frozen=True, slots=True)
class SigningSettings:
    """The signing service that this identity provider activates signatures for."""

    csc_base: str
    """Base of its CSC API, such as ``https://sign.example.org/csc/v2``; also the audience of service tokens."""
    sam_id: str
    """Audience of SADs and orders: the signature activation module's identifier."""
    profiles: tuple[str, ...] = ("default",)
    """Credential profiles that a person may order, by the module's names; the first is the default."""
    qualifiers: Mapping[str, str] = field(default_factory=dict)
    """``signatureQualifier`` of what a profile makes, by its name: what clients choose by."""
    order_seconds: int = 600
    timeout_seconds: float = 5.0
    """For an answer of ``credentials/info``, and of :attr:`events_url`."""
    events_endpoint: str | None = None
    """Where security events are pushed to (RFC 8935); ``/events`` beside the CSC API where left out."""

    @property
    def events_url(self) -> str:
        """Where security events are pushed to."""
        if self.events_endpoint is not None:
            return self.events_endpoint
        parts = urlsplit(self.csc_base)
        return f"{parts.scheme}://{parts.netloc}/events"


@dataclass(frozen=True, slots=True)
class ApprovalSettings:
    """Whose approval a policy needs before it may be put in force."""

    operators: tuple[Path, ...] = ()
    """Files of their public keys, a JWK or PEM each: P-256 or Ed25519."""
    needed: int = 1

    def faults(self) -> Iterable[str]:
        """Enough operators for what is asked."""
        if self.needed not in {1, 2}:
            yield "needed is 1 or 2"
        if len(set(self.operators)) != len(self.operators):
            yield "operators names a file twice"
        if len(self.operators) < self.needed:
            yield "operators names at least as many as are needed"


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """How a policy file gets into force."""

    shadow_file: Path | None = None
    """A candidate that is asked as well, and decides nothing."""
    cases_required: bool = True
    """In production: a policy without a file of cases is refused."""
    approval: ApprovalSettings | None = None


@dataclass(frozen=True, slots=True)
class IdpSettings:
    """Everything in ``idp.toml``."""

    mode: Literal["development", "production"]
    issuer: str
    """Issuer identifier: an https origin without a path."""
    key_dir: Path
    """Owner-only directory of the private keys."""
    policy_file: Path
    signing: SigningSettings
    database_url: str | None = None
    database_url_file: Path | None = None
    """Owner-only file, for a URL that carries a password."""
    service_name: str = "Privy Seal"
    languages: tuple[str, ...] = LANGUAGES
    egress_allow: tuple[str, ...] = ()
    """``host:port`` pairs on private or loopback addresses that may be reached."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of the reverse proxies in front whose ``X-Forwarded-For`` is believed."""
    session: SessionSettings = field(default_factory=SessionSettings)
    password: PasswordSettings = field(default_factory=PasswordSettings)
    otp: OtpSettings = field(default_factory=OtpSettings)
    activation: ActivationSettings = field(default_factory=ActivationSettings)
    passkeys: PasskeySettings = field(default_factory=PasskeySettings)
    codes: CodeSettings = field(default_factory=CodeSettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)
    in_band: InBandSettings = field(default_factory=InBandSettings)
    documents: DocumentSettings = field(default_factory=DocumentSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    messaging: MessagingSettings = field(default_factory=MessagingSettings)
    certificate: CertificateSettings | None = None
    """None: nobody signs in with a certificate."""
    approval: DeviceApprovalSettings | None = None
    """None: nobody approves with a device of their own."""
    mutual_tls: MutualTlsSettings | None = None
    """None: no token is bound to a client's certificate."""

    @property
    def production(self) -> bool:
        """Whether development stand-ins are refused."""
        return self.mode == "production"

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies carry ``Secure`` and the ``__Host-`` prefix: always over https."""
        return self.issuer.startswith("https://")

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """``trusted_proxies``, read."""
        return tuple(ip_network(text) for text in self.trusted_proxies)

    def faults(self) -> Iterable[str]:
        """What types cannot say, production's refusals among them."""
        yield from self._issuer_faults()
        for text in self.trusted_proxies:
            if not is_proxy_network(text):
                yield f"trusted_proxies: {text!r} is no address or network, has host bits set, or is every network"
        if (self.database_url is None) == (self.database_url_file is None):
            yield "exactly one of database_url and database_url_file is given"
        for language in self.languages:
            if language not in LANGUAGES:
                yield f"languages: there are no pages in {language!r}; there are {', '.join(LANGUAGES)}"
        if not self.languages:
            yield "languages names at least one"
        if not self.signing.profiles:
            yield "signing.profiles names at least one"
        if not self.signing.qualifiers.keys() <= set(self.signing.profiles):
            yield "signing.qualifiers names profiles of signing.profiles only"
        if self.certificate is not None:
            yield from self.certificate.faults_beside(self.issuer, production=self.production)
        if self.approval is not None:
            presented = None if self.certificate is None else self.certificate.origin
            yield from self.approval.faults_beside(
                self.issuer, self.signing.profiles, presented, production=self.production
            )
        if self.mutual_tls is not None:
            theirs = [item.origin for item in (self.certificate, self.approval) if item is not None]
            yield from self.mutual_tls.faults_beside((self.issuer, *theirs), production=self.production)
        if self.production:
            yield from self._production_faults()

    def _issuer_faults(self) -> Iterable[str]:
        parts = urlsplit(self.issuer)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query or parts.fragment:
            yield "issuer is an origin: scheme, host and port, without a path or a trailing slash"
        if not re.match(r"https?://[^/\s]+/\S+\Z", self.signing.csc_base) or self.signing.csc_base.endswith("/"):
            yield "signing.csc_base is a URL with a path and without a trailing slash"
        endpoint = self.signing.events_endpoint
        if endpoint is not None and not re.match(r"https?://[^/\s]+/\S+\Z", endpoint):
            yield "signing.events_endpoint is a URL with a path"

    def _production_faults(self) -> Iterable[str]:
        if not self.issuer.startswith("https://"):
            yield "mode is production: issuer must be https"
        if not self.signing.csc_base.startswith("https://"):
            yield "mode is production: signing.csc_base must be https"
        if self.signing.events_endpoint is not None and not self.signing.events_endpoint.startswith("https://"):
            yield "mode is production: signing.events_endpoint must be https"
        if self.database_url is not None:
            # Whether a URL carries a password depends on the driver that reads it; an owner-only file fits them all.
            yield "mode is production: the database's URL belongs in database_url_file"
        for channel in ("sms", "mail"):
            for name, connector in self.messaging.ordered(channel):
                if _looks_local(connector.settings):
                    yield f"mode is production: messaging.{channel} ({name}) points at this machine or at plain http"


def _looks_local(settings: Mapping[str, Any]) -> bool:
    texts = [value for value in settings.values() if isinstance(value, str)]
    return any(
        text.lower().startswith("http://")
        or re.search(r"(^|[/@.])(localhost|127\.0\.0\.1|\[?::1\]?)(:|/|$)", text) is not None
        for text in texts
    )
