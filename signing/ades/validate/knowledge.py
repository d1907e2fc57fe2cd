"""What a document and its surroundings hold to validate with: certificates, OCSP answers, lists, and since when."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils.decode_limits import DecodePurpose
from pyhanko.pdf_utils.reader import HistoricalResolver
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.errors import NoDSSFoundError
from pyhanko.sign.validation.policy_decl import LocalKnowledge
from pyhanko_certvalidator.ltv.poe import KnownPOE, POEManager, POEType, digest_for_poe
from pyhanko_certvalidator.revinfo.archival import CRLContainer, OCSPContainer

from signing.ades.validate.statuses import tells_of
from signing.ades.validation_data import ValidationData

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Knowledge:
    """Everything that may be used, and the earliest time for which each thing's existence is proven."""

    document: ValidationData
    """From the document security store of the last revision (EN 319 142-1 5.4.2)."""
    outside: ValidationData
    at: datetime
    proofs: dict[bytes, datetime] = field(default_factory=dict, repr=False)
    """By SHA-256."""

    def prove(self, things: Iterable[bytes], since: datetime) -> None:
        """These existed at that time (EN 319 102-1 5.6.2.3)."""
        for each in things:
            digest = digest_for_poe(each)
            self.proofs[digest] = min(since, self.proofs.get(digest, since))

    def since(self, thing: bytes) -> datetime:
        """The earliest proven time; the time of validation where nothing else is proven."""
        return self.proofs.get(digest_for_poe(thing), self.at)

    def before(
        self, certificate: asn1_x509.Certificate, issuer: Iterable[asn1_x509.Certificate], end: datetime
    ) -> Knowledge:
        """The same without what is told of this certificate and not proven to be from before an instant."""

        def kept(data: ValidationData) -> ValidationData:
            late = [each for each in (*data.ocsps, *data.crls) if self.since(each) > end]
            told = {each for each in late for above in issuer if tells_of(each, certificate, above, data)}
            return ValidationData(
                data.certificates,
                tuple(each for each in data.ocsps if each not in told),
                tuple(each for each in data.crls if each not in told),
            )

        return Knowledge(kept(self.document), kept(self.outside), self.at, self.proofs)

    def beside(self, certificates: Iterable[asn1_x509.Certificate]) -> Knowledge:
        """The same for a signature with these certificates and anchors; without any status where one poses as another.

        pyHanko takes two certificates for one if their signatures have the same octets, whatever keys they hold, and
        a list as verified if another one with its signature was: a forger would answer for an authority (PKI-02).
        """
        lists = map(asn1_crl.CertificateList.load, (self.document | self.outside).crls)
        by_signature: dict[bytes, bytes] = {}
        for each in (*certificates, *self._certificates(), *lists):
            if by_signature.setdefault(each.signature, each.dump()) != each.dump():
                log.warning("something has the signature of something else; no status is believed")
                certain = [ValidationData(data.certificates) for data in (self.document, self.outside)]
                return Knowledge(certain[0], certain[1], self.at, self.proofs)
        return self

    def _certificates(self) -> Iterator[asn1_x509.Certificate]:
        every = self.document | self.outside
        yield from map(asn1_x509.Certificate.load, every.certificates)
        for answer in map(_ocsp, every.ocsps):
            if answer["response_status"].native == "successful":
                yield from answer["response_bytes"]["response"].parsed["certs"] or ()

    def local(self) -> LocalKnowledge:
        """In pyHanko's form."""
        every = self.document | self.outside
        return LocalKnowledge(
            known_ocsps=[each for der in every.ocsps for each in OCSPContainer.load_multi(_ocsp(der))],
            known_crls=[CRLContainer(asn1_crl.CertificateList.load(der)) for der in every.crls],
            known_certs=[asn1_x509.Certificate.load(der) for der in every.certificates],
            known_poes=list(self._proofs()),
        )

    def manager(self) -> POEManager:
        """The proofs in pyHanko's form; what nothing proves exists since the time of validation."""
        made = POEManager(current_dt_override=self.at)
        for each in self._proofs():
            made.register_known_poe(each)
        return made

    def _proofs(self) -> Iterator[KnownPOE]:
        for digest, since in self.proofs.items():
            yield KnownPOE(poe_type=POEType.PROVIDED, digest=digest, poe_time=since)


def stored(reader: Any, revision: int | None = None) -> ValidationData:
    """What the document security store holds, in the last revision or in an earlier one.

    :raises ValueError: and whatever pyHanko raises about a store that cannot be read.
    """
    handler = reader if revision is None else HistoricalResolver(reader, revision=revision)
    try:
        store: Any = DocumentSecurityStore.read_dss(handler)
    except NoDSSFoundError:
        return ValidationData()
    return ValidationData(
        tuple(each.get_object().read_data(DecodePurpose.CERTIFICATE) for each in store.certs.values()),
        tuple(each.get_object().read_data(DecodePurpose.OCSP_RESPONSE) for each in store.ocsps),
        tuple(each.get_object().read_data(DecodePurpose.CRL) for each in store.crls),
    )


def things(data: ValidationData) -> tuple[bytes, ...]:
    """All of it."""
    return data.certificates + data.ocsps + data.crls


def _ocsp(der: bytes) -> Any:
    return asn1_ocsp.OCSPResponse.load(der)
