"""Settings of the signature activation module (``sam.toml``, prefix ``SAM``)."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from contract.sad import LoA
from foundation.addresses import split_address
from foundation.errors import AddressInvalid
from foundation.settings import Mode

DEVELOPMENT_MODULE: Final = "softhsm"
"""What the file name of a PKCS#11 module contains that is no device: keys in files, no certification."""
_DATABASE_SECONDS: Final = 15
"""How long the two commits of a signature may wait, beside the device."""

KEY_WRAP: Final = re.compile(r"auto|aes-kwp|aes-kw|vendor:0x[89a-f][0-9a-f]{7}")
"""What the token offers, one of the standard's mechanisms, or one of the token's vendor by its number."""

_ROOT: Final = 0


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """An identity provider whose SADs and orders are believed."""

    issuer: str
    """``iss``, exactly."""
    keys: tuple[Path, ...]
    """Public keys, PEM or JWK: the one in use and, ahead of its use, the next."""

    def faults(self) -> Iterator[str]:
        """What types cannot say."""
        if not self.keys:
            yield "an issuer without keys"


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """The PKCS#11 token and the processes that use it; see :class:`signing.scdev.settings.DeviceSettings`."""

    module: Path
    token_label: str
    pin_file: Path
    so_pin_file: Path | None = None
    """Needed by ``privyseal sam init`` and ``kek create`` only; ``so-pin`` beside ``pin_file`` where left out."""
    workers: int = 2
    deadline_seconds: float = 10.0
    environment: Mapping[str, str] = field(default_factory=dict)
    kek_id: str | None = None
    """Which KEK wraps new keys, where there are several."""
    kek_rewraps: bool = True
    """Whether what a KEK that is made from now on has wrapped can be wrapped again by another trusted one."""
    key_wrap: str = "auto"
    """Mechanism by which new keys are wrapped; see :data:`KEY_WRAP`."""
    key_cache: int = 64
    """Unwrapped keys that a worker keeps; 0: none."""
    key_cache_seconds: float = 60.0
    """Longest time for which it keeps one."""
    require_trusted_kek: bool = True

    def so_pin(self) -> Path:
        """Where the security officer's PIN is during the ceremony."""
        return self.so_pin_file or self.pin_file.with_name("so-pin")

    def faults(self) -> Iterator[str]:
        """What types cannot say."""
        if not 1 <= self.workers <= 64:
            yield "device.workers must be from 1 to 64"
        if not 0.1 <= self.deadline_seconds <= 120:
            yield "device.deadline_seconds must be from 0.1 to 120"
        if KEY_WRAP.fullmatch(self.key_wrap) is None:
            yield "device.key_wrap must be auto, aes-kwp, aes-kw or vendor:0x8…, eight lower-case hexadecimal digits"
        if not 0 <= self.key_cache <= 4096 or not 1 <= self.key_cache_seconds <= 3600:
            yield "device.key_cache must be from 0 to 4096, and device.key_cache_seconds from 1 to 3600"


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """What an order of ``credential.create`` can ask for by the table's name; copied into the credential."""

    key: Literal["ec-p256", "ec-p384", "rsa-3072-pss", "rsa-3072-pkcs1"] = "ec-p256"
    """Kind of key."""
    scal: Literal["1", "2"] = "2"
    signature_qualifier: str | None = None
    """CSC ``signatureQualifier``, such as ``eu_eidas_aes``: what the operator claims of it."""
    multisign: int = 100
    """Signatures that one SAD may authorise."""
    loa: LoA = "substantial"
    min_categories: int = 2
    max_sad_seconds: int = 300
    max_evidence_age_seconds: int = 43_200
    phishing_resistant: bool = False
    """An authenticator that no look-alike site can use; at SCAL2, for the very transaction."""
    max_signatures_per_day: int = 0
    """In any 24 hours; 0: no limit."""
    signer_proof: bool = False
    """A proof by the signer's own device has to be in the SAD."""
    custody: Literal["wrapped", "token"] = "wrapped"
    """Where keys are kept: wrapped in the database, or as objects on the token."""
    accepts_imports: bool = False
    """Whether two operators may bring a key that was made elsewhere (``credential.import``)."""

    def faults(self) -> Iterator[str]:
        """What types cannot say."""
        if not 1 <= self.multisign <= 100:
            yield "a profile's multisign must be from 1 to 100"
        if not 1 <= self.min_categories <= 3:
            yield "a profile's min_categories must be from 1 to 3"
        if self.scal == "2" and self.min_categories < 2:
            yield "a profile at SCAL2 needs min_categories of 2 or more"
        if not 1 <= self.max_sad_seconds <= 3600 or self.max_evidence_age_seconds < 1:
            yield "a profile's max_sad_seconds must be from 1 to 3600, and max_evidence_age_seconds above 0"
        if not 0 <= self.max_signatures_per_day <= 1_000_000:
            yield "a profile's max_signatures_per_day must be from 0 to 1000000"
        if self.accepts_imports and self.custody == "token":
            yield "a profile with custody = token cannot accept imports: they come wrapped"


@dataclass(frozen=True, slots=True)
class ProofSettings:
    """Where people approve with a passkey: pages of the identity provider's, on a host that nobody logs in on."""

    rp_id: str
    """Relying party identifier of the passkeys: a domain, such as ``approve.example.org``."""
    origins: tuple[str, ...]
    """Where the pages are: scheme, host and port; on the domain or below it."""

    def faults(self) -> Iterator[str]:
        """What types cannot say."""
        if not self.origins:
            yield "proof.origins must name at least one"
        for origin in self.origins:
            parts = urlsplit(origin)
            host = parts.hostname or ""
            if parts.scheme not in {"http", "https"} or f"{parts.scheme}://{parts.netloc}" != origin:
                yield f"proof.origins: {origin!r} is no origin: scheme, host and port, without a path"
            if host != self.rp_id and not host.endswith(f".{self.rp_id}"):
                yield f"proof.origins: {origin!r} is not on proof.rp_id or below it"


@dataclass(frozen=True, slots=True)
class TlsTable:
    """Table ``tls``: a port for a web tier on another host."""

    listen: str
    """An address of this host and a port."""
    certificate: Path
    """PEM; the module's own, which the web tier has pinned."""
    key: Path
    """Owner-only file with its key."""
    peers: tuple[Path, ...]
    """PEM: the web tiers' certificates, one a file: those in use and, ahead of their use, the next."""

    def faults(self) -> Iterator[str]:
        """What types cannot say."""
        try:
            ipaddress.ip_address(split_address(self.listen)[0])
        except (AddressInvalid, ValueError):
            yield "tls.listen must be an IP address of this host and a port"
        if not self.peers:
            yield "tls.peers must name the web tier's certificate"


@dataclass(frozen=True, slots=True)
class SamSettings:
    """The whole file."""

    mode: Mode
    realm: str
    """Name of the installation; in every row's MAC. Never changed once credentials exist."""
    sam_id: str
    """``aud`` of SADs and orders."""
    socket: Path
    """For the web tier."""
    admin_socket: Path
    """For the operator: this process's own user and root."""
    issuers: Mapping[str, IssuerSettings]
    device: DeviceTable
    profiles: Mapping[str, ProfileSettings]
    certificate_anchors: tuple[Path, ...]
    """PEM certificates of the authorities whose certificates are linked."""
    proof: ProofSettings | None = None
    """None: nobody approves with a passkey here."""
    database_url: str | None = None
    """SQLite only: another URL may hold a password."""
    database_url_file: Path | None = None
    """Owner-only file with the URL."""
    web_uid: int | None = None
    """User of the web tier; left out, only this process's own user may connect."""
    tls: TlsTable | None = None
    reservation_deadline_seconds: int = 60
    """After which a signature without an outcome is closed as indeterminate."""
    reconcile_every_seconds: float = 10.0
    max_transaction_seconds: int = 900
    """From the issue of a transaction's first SAD until no SAD that took its place serves any more; 0: none does."""
    dpop_htu: tuple[str, ...] = ()
    """URIs of ``signatures/signHash``, exactly as clients call it: what their DPoP proofs have to be for."""
    max_order_seconds: int = 900
    """Longest life of an order; at least what the identity provider gives it."""
    max_operation_seconds: int = 86_400
    """Longest life of an operators' operation."""
    anchor_every_seconds: float = 60.0
    """How often the database is compared with the anchor on the token, and the anchor brought up to it."""
    checkpoint_every_seconds: float = 300.0
    """How often a checkpoint of the audit chain is signed."""
    max_connections: int = 32
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def faults(self) -> Iterator[str]:
        """What types cannot say, and what production refuses."""
        if (self.database_url is None) == (self.database_url_file is None):
            yield "one of database_url and database_url_file must be given"
        if self.database_url is not None and not self.database_url.startswith("sqlite:"):
            yield "database_url takes SQLite only: put the URL into an owner-only database_url_file"
        if not self.realm or len(self.realm) > 64:
            yield "realm must have 1 to 64 characters"
        if not self.issuers:
            yield "issuers must name at least one"
        if len({each.issuer for each in self.issuers.values()}) != len(self.issuers):
            yield "issuers has two tables for one issuer: the keys of both belong into one"
        if not self.certificate_anchors:
            yield "certificate_anchors must name at least one"
        if self.reservation_deadline_seconds < 4 * self.device.deadline_seconds + _DATABASE_SECONDS:
            yield f"reservation_deadline_seconds must be 4 times device.deadline_seconds, and {_DATABASE_SECONDS} more"
        if not 0.05 <= self.reconcile_every_seconds <= 3600 or not 1 <= self.max_connections <= 1024:
            yield "reconcile_every_seconds or max_connections is out of bounds"
        if not (1 <= self.max_order_seconds <= 86_400 and 0.1 <= self.checkpoint_every_seconds <= 86_400):
            yield "max_order_seconds must be from 1 to 86400, and checkpoint_every_seconds from 0.1 to 86400"
        if not 1 <= self.max_operation_seconds <= 86_400 or not 0.1 <= self.anchor_every_seconds <= 3600:
            yield "max_operation_seconds must be from 1 to 86400, and anchor_every_seconds from 0.1 to 3600"
        yield from self._sad_faults()
        if self.mode == "production":
            yield from self._production_faults()

    def _sad_faults(self) -> Iterator[str]:
        if not 0 <= self.max_transaction_seconds <= 3600:
            yield "max_transaction_seconds must be from 0 to 3600"
        if not all(uri.startswith(("https://", "http://")) and not {"?", "#"} & set(uri) for uri in self.dpop_htu):
            yield "dpop_htu takes URIs of http or https without query and fragment"

    def _production_faults(self) -> Iterator[str]:
        if self.database_url is not None:
            yield "production needs PostgreSQL: SQLite serves one machine and has no role of its own"
        # The name of what a link leads to, too.
        module = self.device.module
        if any(DEVELOPMENT_MODULE in path.name.lower() for path in (module, module.resolve())):
            yield "production refuses SoftHSM: it is no device, its keys are files"
        if any(not uri.startswith("https://") for uri in self.dpop_htu):
            yield "production needs https in dpop_htu"
        if any(not issuer.issuer.startswith("https://") for issuer in self.issuers.values()):
            yield "production needs https issuers"
        if self.proof is not None and any(not each.startswith("https://") for each in self.proof.origins):
            yield "production needs https in proof.origins"
        if self.web_uid is None and self.tls is None:
            yield "production needs web_uid, as the web tier has a user of its own, or tls for one on another host"
        if self.web_uid in {_ROOT, os.geteuid()}:
            yield "web_uid must be neither this process's own user nor root: whoever is either needs no socket"
