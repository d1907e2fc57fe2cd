"""The product beside the development authorities, now and over HTTP: signatures as outsiders can judge them."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation.generic_cms import extract_tst_data_iter
from werkzeug.test import TestResponse

from connectors.pki.devca import UnsafeDevelopmentCa
from connectors.ports.pki import CertificateRequest, SubjectName
from connectors.status.http import HttpStatus
from devservices import tsa
from foundation.clock import FixedClock, SystemClock
from idp.oidc.rar import TYPE_CSC_2_2
from signing.ades.validation_data import ValidationData
from signing.sam.algorithms import pss_parameters
from signing.scdev.device import Pkcs11Device
from signing.settings import StatusSettings, TimestampSettings, ValidationSettings
from signing.validation.start import PROCESSES
from tests.documents import blank_pdf
from tests.fakes.sam import ALICE, Authority
from tests.fakes.softhsm import make_token
from tests.integration.devservices import RunningCa, running_ca, served
from tests.integration.whole_world import Cast, Whole, whole

_READER: Any = PdfFileReader
KEYS: Final[Mapping[str, str]] = {"alice": "standard", "petra": "p384", "pablo": "pss", "pekka": "pkcs1"}
"""Whose credential has a key of which profile: P-256, P-384, RSA-3072 with PSS, RSA-3072 with PKCS#1 v1.5."""
HASHES: Final[Mapping[str, str]] = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_ECDSA: Final = {"sha256": "1.2.840.10045.4.3.2", "sha384": "1.2.840.10045.4.3.3", "sha512": "1.2.840.10045.4.3.4"}
_PKCS1: Final = {
    "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12",
    "sha512": "1.2.840.113549.1.1.13",
}
_PSS: Final = "1.2.840.113549.1.1.10"


def algorithm(profile: str, hash_name: str) -> dict[str, str]:
    """Members of a request that say how to sign with a key of that profile."""
    if profile == "pss":
        parameters = base64.b64encode(pss_parameters(HASHES[hash_name])).decode()
        return {"signAlgo": _PSS, "hashAlgorithmOID": HASHES[hash_name], "signAlgoParams": parameters}
    return {"signAlgo": (_PKCS1 if profile == "pkcs1" else _ECDSA)[hash_name]}


class RealTime(FixedClock):
    """The system's clock: whoever advances it waits.  Authorities stamp by theirs, and times have to fit together."""

    def __init__(self) -> None:
        super().__init__(SystemClock().now())

    def now(self) -> datetime:
        """The system's time."""
        return SystemClock().now()

    def advance(self, seconds: float) -> None:
        """Wait until it is so late."""
        until = self.now() + timedelta(seconds=seconds)
        while (left := (until - self.now()).total_seconds()) > 0:
            time.sleep(left)


class DevelopmentChain(Authority):
    """Alice's and the others' certificates from the development authority, over HTTP."""

    def __init__(self, ca: RunningCa) -> None:
        self._port = UnsafeDevelopmentCa({"base_url": ca.url, "token_file": str(ca.state / "token")})
        self.certificate = _read(ca, "root")
        self.key = None  # type: ignore[assignment] # nothing is signed with it here

    def chain(self, request: bytes) -> list[bytes]:
        """Up to the root."""
        subject = SubjectName(
            common_name=ALICE.common_name,
            given_name=ALICE.given_name,
            surname=ALICE.surname,
            serial_number=ALICE.serial_number,
            country=ALICE.country,
        )
        issued = self._port.issue(CertificateRequest(request, subject, "signer", secrets.token_hex(8)))
        return list(issued.chain)


@dataclass(frozen=True)
class Desk:
    """Where documents are signed."""

    everything: Whole
    ca: RunningCa

    @property
    def root(self) -> bytes:
        """The one trust anchor, DER."""
        return _der(_read(self.ca, "root"))

    def now(self) -> datetime:
        """A moment after whatever was signed until now."""
        return SystemClock().now() + timedelta(seconds=1)

    def told(self, pdf: bytes) -> ValidationData:
        """What the authorities say now of everybody's certificates in the file."""
        source = HttpStatus({"egress_allow": [self.ca.url.removeprefix("http://")]})
        issuers = [_read(self.ca, name) for name in ("issuing", "root")]
        found = ValidationData(tuple(_certificates(pdf)))
        for certificate in map(x509.load_der_x509_certificate, found.certificates):
            (issuer,) = (each for each in issuers if each.subject == certificate.issuer)
            if certificate.subject == issuer.subject:
                continue
            said = source.evidence(_der(certificate), _der(issuer), at_least=None)
            ocsps, crls = ((said.der,), ()) if said.kind == "ocsp" else ((), (said.der,))
            found |= ValidationData(said.certificates, ocsps, crls)
        return found

    def levels(self) -> tuple[str, ...]:
        """What the service offers."""
        return tuple(self.everything.call("info", {}).get_json()["conformance_levels"])

    def signed(
        self,
        username: str,
        level: str,
        document: bytes | None = None,
        hash_name: str = "sha256",
        *,
        seen: Mapping[str, str] | None = None,
        certifies: bool = True,
    ) -> bytes:
        """A PDF that somebody approved and the product signed.

        :param level: of the CSC API's, such as ``Ades-B-LT``.
        :param seen: what is seen of the signature, by the names of the API.
        """
        answer = self.post(*self.approved(username, level, document, hash_name, seen=seen, certifies=certifies))
        assert answer.status_code == 200, answer.get_data(as_text=True)
        (made,) = answer.get_json()["DocumentWithSignature"]
        return base64.b64decode(made)

    def post(self, body: Mapping[str, Any], sad: str) -> TestResponse:
        """Send a request to sign."""
        return self.everything.call("signatures/signDoc", body, sad)

    def approved(
        self,
        username: str,
        level: str,
        document: bytes | None = None,
        hash_name: str = "sha256",
        *,
        seen: Mapping[str, str] | None = None,
        certifies: bool = True,
    ) -> tuple[dict[str, Any], str]:
        """What somebody approved, as a request, and their SAD."""
        document = document or blank_pdf(f"({level} for {username})")
        person, rp = self.everything.people[username], self.everything.idp.rp()
        digest = base64.b64encode(hashlib.new(hash_name, document).digest()).decode()
        asked = rp.signing(
            type=TYPE_CSC_2_2,
            documentDigests=[{"hash": digest, "hashType": "sdr", "label": "contract.pdf"}],
            hashAlgorithmOID=HASHES[hash_name],
            credentialID=person.credential_id,
        )
        wish = {
            "document": base64.b64encode(document).decode(),
            "signature_format": "P",
            "conformance_level": level,
            "signed_envelope_property": "Certification" if certifies else "Revision",
            "signed_props": [
                {"attribute_name": name, "attribute_value": base64.b64encode(value.encode()).decode()}
                for name, value in (seen or {}).items()
            ],
            **algorithm(KEYS[username], hash_name),
        }
        sad = self.everything.approved(rp, asked, username)
        return {"credentialID": person.credential_id, "documents": [wish]}, sad


def _read(ca: RunningCa, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((ca.state / f"{name}.crt").read_bytes())


def _certificates(pdf: bytes) -> Iterator[bytes]:
    """In signatures, their time-stamps, and the document's, each once."""
    seen: dict[bytes, None] = {}
    for each in _READER(BytesIO(pdf)).embedded_signatures:
        for signed in (each.signed_data, *extract_tst_data_iter(each.signer_info, signed=False)):
            seen |= dict.fromkeys(choice.chosen.dump() for choice in signed["certificates"])
    yield from seen


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@contextmanager
def desk(directory: Path) -> Iterator[Desk]:
    """The product with an authority, its OCSP responder and lists, and a time-stamping unit."""
    with ExitStack() as stack:
        ca = stack.enter_context(running_ca(directory / "ca"))
        stamping = stack.enter_context(served(tsa.build(directory / "tsa", ca.state)))
        root, allowed = ca.state / "root.crt", [url.removeprefix("http://") for url in (ca.url, stamping)]
        stamps = {"url": f"{stamping}/tsa", "trust_anchors": [str(root)], "egress_allow": allowed}
        device = stack.enter_context(Pkcs11Device(make_token(directory / "token")))
        running = stack.enter_context(
            whole(
                directory,
                device,
                cast=Cast(KEYS, DevelopmentChain(ca), RealTime()),
                timestamp_authorities=(TimestampSettings("rfc3161", stamps),),
                status=StatusSettings("http", (root,), {"egress_allow": allowed}),
                validation=ValidationSettings((root,), fetch=True, max_octets=1024 * 1024),
            )
        )
        stack.callback(running.web.extensions[PROCESSES].close)
        yield Desk(running, ca)
