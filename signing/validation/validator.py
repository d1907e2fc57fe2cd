"""Validates documents in confined processes, and asks authorities between two rounds if the operator wants that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from connectors.ports.status import RevocationEvidence, StatusError, StatusSource
from foundation.certificates.errors import CertificateRefused
from foundation.certificates.path import validate
from foundation.certificates.reading import identity, read
from foundation.clock import Clock
from foundation.confinement import Limits
from foundation.errors import SandboxUnavailable, WorkCrashed, WorkTooLarge, WorkTooLong
from foundation.log import get
from signing.ades.validate.policy import Circumstances, Revocation, ValidationPolicy, der_of
from signing.ades.validation_data import ValidationData
from signing.validation.errors import TooComplex, ValidatorUnavailable
from signing.validation.exchange import Result, Task

WORKER: Final = "signing.validation.worker"
"""Does the work; see :mod:`foundation.sandbox`."""
Confined = Callable[[bytes], bytes]
"""Has it done; raises :class:`foundation.errors.SandboxError`."""
_ANSWER_OCTETS: Final = 8 * 1024 * 1024
_TIMES: Final = 12
"""The document's own octets, and what is read of them in all revisions."""
_LEAST_MEMORY: Final = 384 * 1024 * 1024
MAX_QUESTIONS: Final = 12
"""Certificates about which authorities are asked for one document."""

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Trusted:
    """Whom one trusts."""

    anchors: tuple[x509.Certificate, ...]
    """All of them: authorities are asked about certificates below one of these."""
    policy: ValidationPolicy


def trusted(
    anchors: tuple[x509.Certificate, ...], stamping: tuple[x509.Certificate, ...], revocation: Revocation
) -> Trusted:
    """Signers' anchors, and those of time-stamping authorities where they are others."""
    return Trusted((*anchors, *stamping), ValidationPolicy(der_of(anchors), der_of(stamping), revocation))


def limits_for(octets: int, seconds: int) -> Limits:
    """What a process may use for a document of so many octets at most."""
    return Limits(
        address_space=_LEAST_MEMORY + _TIMES * octets,
        cpu_seconds=seconds,
        wall_seconds=3.0 * seconds,
        file_octets=_ANSWER_OCTETS,
    )


class Validator:
    """May be used by any thread."""

    def __init__(self, confined: Confined, trusted: Trusted, clock: Clock, source: StatusSource | None = None) -> None:
        """:param source: who is asked about certificates' status; None: nobody."""
        self._confined = confined
        self._trusted = trusted
        self._clock = clock
        self._source = source

    def validate(self, document: bytes, at: datetime | None = None) -> Result:
        """A report.

        :param at: for which time; None: for now.
        :raises TooComplex: it takes too much.
        :raises ValidatorUnavailable: nobody is free.
        """
        found = self._in_confinement(document, Circumstances(at or self._clock.now()))
        if self._source is None or not found.chains:
            return found
        told = self._told(found, self._source)
        if not told:
            return found
        # What was told after the first round began would be of its future.
        at = max(self._clock.now(), *(each.this_update for each in told))
        return self._in_confinement(document, Circumstances(at, _data(told)))

    def _in_confinement(self, document: bytes, circumstances: Circumstances) -> Result:
        task = Task(self._trusted.policy, circumstances, document)
        try:
            return Result.from_octets(self._confined(task.to_octets()))
        except (WorkTooLong, WorkTooLarge, WorkCrashed) as error:
            raise TooComplex("the document takes more than it may") from error
        except SandboxUnavailable as error:
            raise ValidatorUnavailable("no document can be validated now") from error

    def _told(self, found: Result, source: StatusSource) -> list[RevocationEvidence]:
        """Of certificates whose path to an anchor holds: addresses in any others are a stranger's, and nobody's."""
        told = []
        for certificate, issuer in self._to_ask(found):
            try:
                told.append(source.evidence(certificate, issuer, at_least=None))
            except StatusError as error:
                _log.info("a certificate's status is not known", extra={"fields": {"cause": error.code}})
        return told

    def _to_ask(self, found: Result) -> list[tuple[bytes, bytes]]:
        steps: dict[str, tuple[bytes, bytes]] = {}
        for chain in found.chains:
            try:
                parsed = [read(each) for each in chain]
                path = validate(parsed[0], parsed[1:], self._trusted.anchors, self._clock.now())
            except (CertificateRefused, IndexError):
                continue
            for certificate, issuer in path.steps:
                steps.setdefault(identity(certificate), (_der(certificate), _der(issuer)))
        return list(steps.values())[:MAX_QUESTIONS]


def _data(told: list[RevocationEvidence]) -> ValidationData:
    return ValidationData(
        tuple(each for evidence in told for each in evidence.certificates),
        tuple(each.der for each in told if each.kind == "ocsp"),
        tuple(each.der for each in told if each.kind == "crl"),
    )


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
