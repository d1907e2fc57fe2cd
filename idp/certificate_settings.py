"""Settings of certificates: people's, ``[certificate]`` in ``idp.toml`` (docs/certificates.md), and those of clients,
``[mutual_tls]`` (docs/oidc.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

Attribute = Literal["serial_number", "upn", "email"]
"""What of a certificate may name an account: the subject's serialNumber (ETSI EN 319 412-1, 5.1.3) its serial number,
the Microsoft userPrincipalName or an rfc822Name its user name."""
ATTRIBUTES: Final[tuple[Attribute, ...]] = get_args(Attribute)

OID: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,17})){1,31}\Z", re.ASCII)
CONFIGURABLE_FLAGS: Final = frozenset({"attested", "user_verified"})
"""Flags that a certificate's policy may stand for; an operator says so, no certificate does."""
_ANCHOR_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class EvidenceRule:
    """What holds of a certificate that has one of these policies and all of these statements."""

    policies: tuple[str, ...] = ()
    """Object identifiers; one of them stands in the certificate, valid along the path (RFC 5280, 6.1)."""
    statements: tuple[str, ...] = ()
    """Object identifiers of QCStatements (RFC 3739, 3.2.6; ETSI EN 319 412-5); all of them stand in it."""
    flags: tuple[str, ...] = ()
    """``attested``: the key lives in a device that it cannot leave.  ``user_verified``: that device asks for a PIN."""
    attestation: str | None = None
    """The device's make, for the policy's conditions, such as ``qscd``."""

    def faults(self) -> Iterable[str]:
        """An empty rule would hold of everything."""
        if not self.policies and not self.statements:
            yield "names at least one policy or statement"
        if not self.flags and self.attestation is None:
            yield "gives at least one flag or an attestation"
        for oid in (*self.policies, *self.statements):
            if not OID.match(oid):
                yield f"{oid!r} is no object identifier"
        for flag in self.flags:
            if flag not in CONFIGURABLE_FLAGS:
                yield f"flags: {flag!r} is none of {', '.join(sorted(CONFIGURABLE_FLAGS))}"
        if self.attestation is not None and not re.fullmatch(r"[\x21-\x7e]{1,64}", self.attestation):
            yield "attestation is 1 to 64 printable characters without blanks"


@dataclass(frozen=True, slots=True)
class AnchorSettings:
    """One trust anchor, and what its certificates may do here."""

    file: Path
    """The authority's certificate, PEM."""
    intermediates: tuple[Path, ...] = ()
    """Certificates between it and people's, for browsers that send none; PEM, several to a file."""
    policies: tuple[str, ...] = ()
    """One of these certificate policies is demanded (RFC 5280, 6.1.1 (c) and (e)); empty: none is."""
    match: tuple[Attribute, ...] = ()
    """What of a certificate names an account.  Empty: only certificates that a person enrolled sign in."""
    evidence: tuple[EvidenceRule, ...] = ()

    def faults(self) -> Iterable[str]:
        """Each is of its form, and none twice."""
        for oid in self.policies:
            if not OID.match(oid):
                yield f"policies: {oid!r} is no object identifier"
        if len(set(self.match)) != len(self.match):
            yield "match names an attribute twice"
        for number, rule in enumerate(self.evidence):
            yield from (f"evidence.{number}: {fault}" for fault in rule.faults())


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """How browsers present certificates, and which are believed."""

    origin: str
    """Where browsers present them: the issuer's host on another port, or a host below it."""
    anchors: Mapping[str, AnchorSettings]
    proxy_secret_file: Path | None = None
    """Owner-only file with what the proxy in front proves itself by; None: only the direct listener is used."""
    revocation: Literal["required", "if_available"] = "required"
    """Whether a certificate whose status nobody could tell is refused; production knows nothing else."""
    ocsp_nonce: Literal["required", "if_answered"] = "if_answered"
    """RFC 9654: responders that sign ahead of time answer without."""
    timeout_seconds: float = 4.0
    """For one answer to begin."""
    deadline_seconds: float = 12.0
    """For all that is asked about one certificate."""
    cache_seconds: int = 3600
    """How long an answer serves again, at most; never beyond its nextUpdate."""
    max_age_seconds: int = 7 * 24 * 60 * 60
    """From an answer's thisUpdate; what is older says nothing, whatever its nextUpdate."""
    max_crl_octets: int = 16 * 1024 * 1024
    handover_seconds: int = 120
    """From the certificate's presentation to its use."""

    def faults(self) -> Iterable[str]:
        """Bounds."""
        parts = urlsplit(self.origin)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query or parts.fragment:
            yield "origin is an origin: scheme, host and port, without a path or a trailing slash"
        if not self.anchors:
            yield "anchors names at least one"
        for name in self.anchors:
            if not _ANCHOR_NAME.match(name):
                yield f"anchors: {name!r} is not 1 to 64 of a-z, 0-9 and . _ -"
        if not 0.5 <= self.timeout_seconds <= self.deadline_seconds <= 60:
            yield "timeout_seconds is at least 0.5 and at most deadline_seconds, which is at most 60"
        if not 0 <= self.cache_seconds <= 24 * 60 * 60:
            yield "cache_seconds is 0 to 86400"
        if not 60 <= self.max_age_seconds <= 31 * 24 * 60 * 60:
            yield "max_age_seconds is 60 to 2678400"
        if not 64 * 1024 <= self.max_crl_octets <= 256 * 1024 * 1024:
            yield "max_crl_octets is 65536 to 268435456"
        if not 30 <= self.handover_seconds <= 600:
            yield "handover_seconds is 30 to 600"

    def faults_beside(self, issuer: str, *, production: bool) -> Iterable[str]:
        """What follows from the issuer and the mode."""
        host, theirs = urlsplit(self.origin).hostname or "", urlsplit(issuer).hostname or ""
        # Elsewhere the browser would not send the session's cookie along when it comes back (SameSite=Lax).
        if host != theirs and not host.endswith(f".{theirs}"):
            yield "certificate.origin is on the issuer's host, or on one below it"
        if self.origin == issuer:
            yield "certificate.origin is not the issuer's own: its listener asks every visitor for a certificate"
        if production and not self.origin.startswith("https://"):
            yield "mode is production: certificate.origin must be https"
        if production and self.revocation != "required":
            yield "mode is production: certificate.revocation must be required"


@dataclass(frozen=True, slots=True)
class MutualTlsSettings:
    """Where clients show certificates to which their tokens are bound (RFC 8705)."""

    origin: str
    """Of that host; its TLS server asks for a certificate and hands it on."""
    proxy_secret_file: Path
    """Owner-only file with what that server proves itself by."""

    def faults(self) -> Iterable[str]:
        """Its form."""
        parts = urlsplit(self.origin)
        bare = f"{parts.scheme}://{parts.netloc}" == self.origin
        if parts.scheme not in {"http", "https"} or not parts.hostname or not bare:
            yield "origin is an origin: scheme, host and port, without a path or a trailing slash"

    def faults_beside(self, others: Iterable[str | None], *, production: bool) -> Iterable[str]:
        """What follows from the other settings.

        :param others: origins that are for people.
        """
        if self.origin in others:
            yield "mutual_tls.origin is a host of its own: its server asks every browser for a certificate"
        if production and not self.origin.startswith("https://"):
            yield "mode is production: mutual_tls.origin must be https"
