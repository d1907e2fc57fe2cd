"""Asks authorities whether a certificate is revoked: OCSP first, then revocation lists; within one deadline.

The addresses stand in certificates whose path to a trust anchor holds; :mod:`foundation.certificates.fetching` says how
they are requested all the same.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from foundation import log
from foundation.certificates import crl, ocsp
from foundation.certificates.fetching import Fetcher, Question
from foundation.certificates.reading import identity
from foundation.clock import Clock
from foundation.egress import Egress
from idp.authn.certificate.chain import ValidPath
from idp.authn.certificate.errors import NotChecked
from idp.certificate_settings import CertificateSettings

_MAX_STATUSES: Final = 10_000
_MAX_LISTS: Final = 32
_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known about a whole path."""

    sources: tuple[str, ...]
    """For each certificate, the person's first: ``ocsp``, ``crl`` or ``none``."""


@dataclass(slots=True)
class _Cache:
    """Until when certificates are good, and lists that were read; bounded, the oldest go first."""

    statuses: OrderedDict[str, tuple[datetime, str]] = field(default_factory=OrderedDict)
    lists: OrderedDict[str, tuple[datetime, x509.CertificateRevocationList]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class _Step:
    """One certificate of a path, its issuer, and the moment at which nobody waits any longer."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    deadline: float


class RevocationChecker:
    """Tells whether the certificates of a path are good; safe to use from several threads."""

    def __init__(
        self,
        settings: CertificateSettings,
        egress: Egress,
        clock: Clock,
        random: Callable[[int], bytes],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._fetcher = Fetcher(egress, settings.timeout_seconds, monotonic=monotonic)
        self._clock = clock
        self._random = random
        self._monotonic = monotonic
        self._max_age = timedelta(seconds=settings.max_age_seconds)
        self._cache = _Cache()

    def check(self, path: ValidPath) -> Checked:
        """Whether every certificate of a path is good; the anchor is the operator's to take away.

        :raises Revoked: one is revoked.
        :raises NotChecked: nobody can be relied on to say, and the settings demand it.
        """
        deadline = self._monotonic() + self._settings.deadline_seconds
        sources = []
        for certificate, issuer in path.steps:
            try:
                sources.append(self._status(_Step(certificate, issuer, deadline)))
            except NotChecked as error:
                if self._settings.revocation == "required":
                    raise
                _logger.warning("a certificate was accepted unchecked", extra={"fields": {"cause": error.detail}})
                sources.append("none")
        return Checked(tuple(sources))

    def _status(self, step: _Step) -> str:
        # With the issuer's: another authority of the same name says nothing about this one's certificates.
        both = identity(step.certificate) + identity(step.issuer)
        now = self._clock.now()
        with self._cache.lock:
            known = self._cache.statuses.get(both)
        if known is not None and now < known[0]:
            return known[1]
        with self._fetcher.place(step.deadline):
            end, source = self._ask(step, now)
        with self._cache.lock:
            self._cache.statuses[both] = (self._capped(end, now), source)
            self._cache.statuses.move_to_end(both)
            while len(self._cache.statuses) > _MAX_STATUSES:
                self._cache.statuses.popitem(last=False)
        return source

    def _capped(self, end: datetime, now: datetime) -> datetime:
        return min(end, now + timedelta(seconds=self._settings.cache_seconds))

    def _ask(self, step: _Step, now: datetime) -> tuple[datetime, str]:
        """The first answer that can be relied on: from OCSP, which is newer, or else from a list."""
        failure = NotChecked("no_address", "the certificate does not say where its status can be asked")
        for url in ocsp.addresses(step.certificate):
            try:
                return self._by_ocsp(url, step, now), "ocsp"
            except NotChecked as error:
                failure = self._noted(error, url)
        for url in crl.addresses(step.certificate):
            try:
                return self._by_crl(url, step, now), "crl"
            except NotChecked as error:
                failure = self._noted(error, url)
        raise failure

    @staticmethod
    def _noted(error: NotChecked, url: str) -> NotChecked:
        _logger.warning("an authority's answer does not serve", extra={"fields": {"cause": error.detail, "url": url}})
        return error

    def _by_ocsp(self, url: str, step: _Step, now: datetime) -> datetime:
        asked = ocsp.Asked(
            step.certificate,
            step.issuer,
            nonce=self._random(ocsp.NONCE_OCTETS),
            nonce_required=self._settings.ocsp_nonce == "required",
            max_age=self._max_age,
        )
        answer = self._fetcher.fetch(Question(url, ocsp.MAX_ANSWER_OCTETS, asked.request()), step.deadline)
        return ocsp.judge(answer, asked, now)

    def _by_crl(self, url: str, step: _Step, now: datetime) -> datetime:
        with self._cache.lock:
            known = self._cache.lists.get(url)
        if known is not None and now < known[0]:
            return crl.judge(known[1], step.certificate, step.issuer, now, self._max_age)
        loaded = crl.load(self._fetcher.fetch(Question(url, self._settings.max_crl_octets), step.deadline))
        end = crl.judge(loaded, step.certificate, step.issuer, now, self._max_age)
        with self._cache.lock:
            self._cache.lists[url] = (self._capped(end, now), loaded)
            self._cache.lists.move_to_end(url)
            while len(self._cache.lists) > _MAX_LISTS:
                self._cache.lists.popitem(last=False)
        return end
