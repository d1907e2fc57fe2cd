"""Certificates' status over HTTP: OCSP and revocation lists at the addresses that stand in a certificate.

OCSP (RFC 6960 4.2.2.1: newer) is asked first, then the lists (RFC 5280 4.2.1.13); whoever does not answer in time, or
not so that it can be relied on, is passed over while the deadline lasts (PKI-05).  What is given out was verified.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from connectors.ports.status import RevocationEvidence, StatusError, StatusInvalid, StatusUnavailable
from connectors.status.issuers import issuer_addresses, read_issuers
from connectors.status.memory import Memory
from connectors.status.settings import HttpStatusSettings
from foundation import log
from foundation.certificates import crl, ocsp
from foundation.certificates.answers import Finding, Window
from foundation.certificates.errors import CertificateRefused, NotChecked
from foundation.certificates.fetching import Fetcher, Question
from foundation.certificates.reading import identity, read
from foundation.clock import Clock, SystemClock
from foundation.egress import Egress
from foundation.settings import from_table

_MAX_EVIDENCE: Final = 10_000
_MAX_ISSUERS: Final = 1000
_MAX_SILENT: Final = 1000
_PAUSE: Final = timedelta(seconds=60)
"""For which an address that did not answer is asked after the others."""
_UNANSWERED: Final = frozenset({"deadline", "unreachable"})
_MAX_ISSUER_OCTETS: Final = 64 * 1024
_MAX_GET_OCTETS: Final = 255
"""RFC 6960 A.1; RFC 5019 5."""
_TEMPORARY: Final = frozenset(
    {"busy", "deadline", "unreachable", "address_refused", "try_later", "internal_error", "stale", "too_old"}
)
"""Details of what may be otherwise another time."""
_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class _List:
    """A revocation list, and its octets as they came."""

    der: bytes
    parsed: x509.CertificateRevocationList


@dataclass(frozen=True, slots=True)
class _Inquiry:
    """One certificate, its issuer, and until when somebody waits."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    at_least: datetime | None
    now: datetime
    deadline: float
    """Of the monotonic clock."""

    @property
    def key(self) -> str:
        """With the issuer's: another authority of the same name says nothing about this one's certificates."""
        return identity(self.certificate) + identity(self.issuer)

    def is_fresh(self, this_update: datetime) -> bool:
        """Whether an answer of that time is as young as it has to be."""
        return self.at_least is None or this_update >= self.at_least.replace(microsecond=0)

    def check_fresh(self, finding: Finding) -> None:
        """:raises NotChecked: the answer is older than it may be; that something is revoked is never too old."""
        if finding.status == "good" and not self.is_fresh(finding.window.this_update):
            raise NotChecked("too_old", "an answer about revocation is older than it has to be")


class HttpStatus:
    """A :class:`connectors.ports.status.StatusSource`, and an :class:`connectors.ports.status.IssuerSource`."""

    def __init__(
        self,
        settings: Mapping[str, object],
        *,
        clock: Clock | None = None,
        egress: Egress | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is requested yet.

        :param settings: see :class:`HttpStatusSettings`.
        :param egress: where requests may go; None: to public addresses, and where the settings say.
        :raises foundation.errors.SettingsError: all faults of the settings.
        """
        own = self._settings = from_table(HttpStatusSettings, settings, base=Path())
        self._clock = clock or SystemClock()
        self._random = random
        self._monotonic = monotonic
        egress = egress or Egress(own.egress_allow, plain=True)
        waiting = (own.concurrent + 1) // 2
        self._fetcher = Fetcher(
            egress, own.timeout_seconds, concurrent=own.concurrent, waiting=waiting, monotonic=monotonic
        )
        self._max_age = timedelta(seconds=own.max_age_seconds)
        self._evidence: Memory[RevocationEvidence] = Memory(_MAX_EVIDENCE)
        self._lists: Memory[_List] = Memory(2 * own.max_crl_octets, lambda item: len(item.der))
        self._issuers: Memory[tuple[bytes, ...]] = Memory(_MAX_ISSUERS)
        self._silent: Memory[str] = Memory(_MAX_SILENT)
        """Addresses that did not answer just now, and how."""

    def evidence(self, certificate: bytes, issuer: bytes, *, at_least: datetime | None) -> RevocationEvidence:
        """See :meth:`connectors.ports.status.StatusSource.evidence`."""
        try:
            asked, by = read(certificate), read(issuer)
        except CertificateRefused as error:
            raise StatusInvalid("the certificate cannot be read") from error
        inquiry = _Inquiry(asked, by, at_least, self._clock.now(), self._monotonic() + self._settings.deadline_seconds)
        known = self._evidence.get(inquiry.key, inquiry.now)
        if known is not None and inquiry.is_fresh(known.this_update):
            return known
        try:
            with self._fetcher.place(inquiry.deadline):
                return self._ask(inquiry)
        except NotChecked as error:  # no place
            raise _failure(error) from error

    def issuers(self, certificate: bytes) -> tuple[bytes, ...]:
        """See :meth:`connectors.ports.status.IssuerSource.issuers`."""
        try:
            addresses = issuer_addresses(read(certificate))
        except CertificateRefused as error:
            raise StatusInvalid("the certificate cannot be read") from error
        now, deadline = self._clock.now(), self._monotonic() + self._settings.deadline_seconds
        failures: list[StatusError] = []
        for url in addresses:
            known = self._issuers.get(url, now)
            if known is not None:
                return known
            try:
                with self._fetcher.place(deadline):
                    found = read_issuers(self._fetch(url, _MAX_ISSUER_OCTETS, deadline))
            except NotChecked as error:
                failures.append(self._noted(error, url))
            else:
                self._issuers.keep(url, found, now + timedelta(seconds=self._settings.cache_seconds))
                return found
        if failures:
            raise _worst(failures)
        return ()

    # -- revocation ----------------------------------------------------------------------------------------------

    def _ask(self, inquiry: _Inquiry) -> RevocationEvidence:
        """The first answer that can be relied on."""
        failures: list[StatusError] = []
        for url, ask in self._ways(inquiry):
            try:
                return ask(url, inquiry)
            except NotChecked as error:
                if error.detail in _UNANSWERED:
                    self._silent.keep(url, error.detail, inquiry.now + _PAUSE)
                failures.append(self._noted(error, url))
        if not failures:
            raise StatusInvalid("the certificate does not say where its status can be asked")
        raise _worst(failures)

    def _ways(self, inquiry: _Inquiry) -> list[tuple[str, Callable[[str, _Inquiry], RevocationEvidence]]]:
        """Whom to ask, in order."""
        by_ocsp = [(url, self._by_ocsp) for url in ocsp.addresses(inquiry.certificate)]
        by_crl = [(url, self._by_crl) for url in crl.addresses(inquiry.certificate)]
        ways = by_ocsp + by_crl if self._settings.prefer == "ocsp" else by_crl + by_ocsp
        return sorted(ways, key=lambda way: self._silent.get(way[0], inquiry.now) is not None)

    def _by_ocsp(self, url: str, inquiry: _Inquiry) -> RevocationEvidence:
        policy = self._settings.ocsp_nonce
        asked = ocsp.Asked(
            inquiry.certificate,
            inquiry.issuer,
            nonce=None if policy == "never" else self._random(ocsp.NONCE_OCTETS),
            nonce_required=policy == "required",
            max_age=self._max_age,
        )
        answer = self._post_or_get(url, asked.request(), inquiry.deadline)
        finding = ocsp.read(answer, asked, inquiry.now)
        inquiry.check_fresh(finding)
        responder = () if finding.responder is None else (finding.responder.public_bytes(Encoding.DER),)
        return self._kept(replace(_evidence("ocsp", answer, finding), certificates=responder), finding, inquiry)

    def _by_crl(self, url: str, inquiry: _Inquiry) -> RevocationEvidence:
        listed = self._lists.get(url, inquiry.now)
        if listed is None or not inquiry.is_fresh(listed.parsed.last_update_utc):
            der = self._fetch(url, self._settings.max_crl_octets, inquiry.deadline)
            listed = _List(der, crl.load(der))
        finding = crl.read(listed.parsed, inquiry.certificate, inquiry.issuer, inquiry.now, self._max_age)
        inquiry.check_fresh(finding)
        # Whoever signed it: only a list that was verified is kept, and it is verified again for each certificate.
        self._lists.keep(url, listed, self._latest(finding.window, inquiry.now))
        return self._kept(_evidence("crl", listed.der, finding), finding, inquiry)

    def _kept(self, evidence: RevocationEvidence, finding: Finding, inquiry: _Inquiry) -> RevocationEvidence:
        self._evidence.keep(inquiry.key, evidence, self._kept_until(finding, inquiry.now))
        return evidence

    def _kept_until(self, finding: Finding, now: datetime) -> datetime:
        # A suspension may be lifted at any time; a revocation is asked for again.
        return now if finding.status != "good" else self._latest(finding.window, now)

    def _latest(self, window: Window, now: datetime) -> datetime:
        try:
            return min(window.check(now, self._max_age), now + timedelta(seconds=self._settings.cache_seconds))
        except NotChecked:  # old, and believed all the same: that something is revoked
            return now

    # -- requests ------------------------------------------------------------------------------------------------

    def _post_or_get(self, url: str, request: bytes, deadline: float) -> bytes:
        if self._settings.ocsp_method == "get":
            address = f"{url.rstrip('/')}/{quote(base64.b64encode(request).decode(), safe='')}"
            if len(address) <= _MAX_GET_OCTETS:
                return self._fetch(address, ocsp.MAX_ANSWER_OCTETS, deadline)
        return self._fetch(url, ocsp.MAX_ANSWER_OCTETS, deadline, request)

    def _fetch(self, url: str, max_octets: int, deadline: float, request: bytes | None = None) -> bytes:
        # One that drips, or keeps silent, leaves time for the next.
        until = min(deadline, self._monotonic() + self._settings.timeout_seconds)
        return self._fetcher.fetch(Question(url, max_octets, request), until)

    @staticmethod
    def _noted(error: NotChecked, url: str) -> StatusError:
        _log.warning("an authority's answer does not serve", extra={"fields": {"cause": error.detail, "url": url}})
        return _failure(error)


def _evidence(kind: str, der: bytes, finding: Finding) -> RevocationEvidence:
    return RevocationEvidence(
        kind="ocsp" if kind == "ocsp" else "crl",
        der=der,
        certificates=(),
        this_update=finding.window.this_update,
        next_update=finding.window.next_update,
        status=finding.status,
        revoked_at=finding.revoked_at,
        reason=None if finding.reason is None else finding.reason.value,
        produced_at=finding.produced_at,
    )


def _failure(error: NotChecked) -> StatusError:
    kind = StatusUnavailable if error.detail in _TEMPORARY else StatusInvalid
    return kind(f"{error} ({error.detail})")


def _worst(failures: list[StatusError]) -> StatusError:
    """That of the last address, unless another time may be better at one of them."""
    return next((each for each in failures if isinstance(each, StatusUnavailable)), failures[-1])
