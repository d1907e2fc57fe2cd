"""Settings of the pages where a person's own device approves: ``[approval]`` in ``idp.toml`` (docs/signer-proof.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_OWN_PORTS: Final = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class DeviceApprovalSettings:
    """Where people approve with a passkey that is for nothing else."""

    origin: str
    """Scheme, host and port of those pages: never where people sign in."""
    rp_id: str = ""
    """Relying party identifier of the passkeys; the origin's host where left out."""
    seconds: int = 300
    """How long a person may take over one approval."""
    profiles: tuple[str, ...] = ()
    """Of ``signing.profiles``, those whose credentials are ordered together with their signer's device."""

    @property
    def party_id(self) -> str:
        """The relying party identifier."""
        return self.rp_id or (urlsplit(self.origin).hostname or "")

    def faults(self) -> Iterable[str]:
        """Bounds."""
        parts = urlsplit(self.origin)
        host = parts.hostname or ""
        if parts.scheme not in {"http", "https"} or not host or f"{parts.scheme}://{parts.netloc}" != self.origin:
            yield "origin is an origin: scheme, host and port, without a path or a trailing slash"
        elif not _as_browsers_write_it(self.origin):
            yield "origin is written as browsers do: small letters, ASCII, without the scheme's own port"
        if host != self.party_id and not host.endswith(f".{self.party_id}"):
            yield "rp_id is the origin's host, or a domain above it"
        if not 60 <= self.seconds <= 540:
            yield "seconds is 60 to 540: a proof lives 600, and the signature has to follow within that"

    def faults_beside(
        self, issuer: str, profiles: tuple[str, ...], certificate_origin: str | None, *, production: bool
    ) -> Iterable[str]:
        """What follows from the other settings."""
        login = urlsplit(issuer).hostname or ""
        # A page may use its host's name and any domain above it: from the login's pages this one must be out of reach.
        if login == self.party_id or login.endswith(f".{self.party_id}"):
            yield "approval.rp_id is neither the issuer's host nor a domain above it: a login could carry a proof"
        if self.origin == certificate_origin:
            yield "approval.origin is not where certificates are presented"
        for name in self.profiles:
            if name not in profiles:
                yield f"approval.profiles: {name!r} is none of signing.profiles"
        if production and not self.origin.startswith("https://"):
            yield "mode is production: approval.origin must be https"


def _as_browsers_write_it(origin: str) -> bool:
    """Whether a request's Host can be the same text: else the pages of the login would be served there as well."""
    scheme, _, place = origin.partition("://")
    return origin.isascii() and origin == origin.lower() and not place.endswith((_OWN_PORTS[scheme], "."))
