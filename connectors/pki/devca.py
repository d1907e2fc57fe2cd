"""The development CA over HTTP: a stand-in for an authority that identifies people before it certifies them."""

from __future__ import annotations

import base64
import binascii
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import requests
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID
from urllib3.exceptions import HTTPError

from connectors.ports.pki import (
    CertificateRequest,
    IssuedCertificate,
    PkiAnswerInvalid,
    PkiRefused,
    PkiUnavailable,
    SubjectName,
)
from foundation.egress import Egress
from foundation.errors import EgressRefused, TokenMalformed
from foundation.files import read_secret
from foundation.jose import parse_json_object
from foundation.settings import from_table

log = logging.getLogger(__name__)

_MAX_ANSWER: Final = 64 * 1024
"""Octets; a chain of three is about 4 KiB."""

_MAX_CHAIN: Final = 5

_CODE: Final = re.compile(r"[a-z_]{1,40}")

_SUBJECT_OIDS: Final = {
    "common_name": NameOID.COMMON_NAME,
    "given_name": NameOID.GIVEN_NAME,
    "surname": NameOID.SURNAME,
    "serial_number": NameOID.SERIAL_NUMBER,
    "country": NameOID.COUNTRY_NAME,
}


@dataclass(frozen=True, slots=True)
class DevelopmentCaSettings:
    """Table ``settings`` of the ``pki`` settings when the connector is ``devca``."""

    base_url: str
    """Scheme, host and port of the development CA."""
    token_file: Path
    """Owner-only file with the bearer token that the CA knows us by."""
    timeout: float = 10.0
    """Seconds for the whole of a request."""

    def faults(self) -> list[str]:
        """What the types cannot say."""
        found = []
        try:
            parts = urlsplit(self.base_url)
            host, _port = parts.hostname or "", parts.port
        except ValueError:
            return ["base_url cannot be read"]
        if parts.scheme not in {"http", "https"} or not host or parts.path.strip("/") or parts.query or parts.fragment:
            found.append("base_url must be a scheme, a host and a port, and nothing behind them")
        if host not in {"127.0.0.1", "::1", "localhost"} and not host.endswith(".localhost"):
            found.append("base_url must be on loopback: the development CA is nowhere else")
        if parts.username is not None or parts.password is not None:
            found.append("base_url must not carry credentials")
        if not 0 < self.timeout <= 60:
            found.append("timeout must be above 0 and at most 60")
        return found


class UnsafeDevelopmentCa:
    """A :class:`connectors.ports.pki.CertificateAuthority` that certifies whoever is named to it."""

    unsafe_in_production: ClassVar[bool] = True

    def __init__(self, settings: Mapping[str, object]) -> None:
        """Read the token; nothing is requested yet.

        :param settings: ``base_url``, ``token_file`` and optionally ``timeout``: see :class:`DevelopmentCaSettings`.
        :raises foundation.errors.SettingsError: all faults of the settings.
        :raises foundation.errors.SecretFileError: the token's file is missing or open to others.
        """
        log.warning("UnsafeDevelopmentCa: certificates of this authority mean nothing")
        self._settings = from_table(DevelopmentCaSettings, settings, base=Path())
        self._token = read_secret(self._settings.token_file).decode("ascii")
        parts = urlsplit(self._settings.base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._egress = Egress(allow=(f"{parts.hostname}:{port}",))

    def issue(self, request: CertificateRequest) -> IssuedCertificate:
        """Ask for a certificate and check that what comes is what was asked for.

        :raises PkiUnavailable: no answer in time, 429 or 5xx.
        :raises PkiRefused: any other refusal, or a PKCS#10 that cannot be read.
        :raises PkiAnswerInvalid: see :func:`check_chain`; also a redirect and an answer of another form.
        """
        subject = {name: getattr(request.subject, name) for name in _SUBJECT_OIDS}
        answer = self._post(
            "/ca/issue",
            {
                "csr": base64.b64encode(request.pkcs10).decode(),
                "subject": {name: value for name, value in subject.items() if value is not None},
                "idempotency_key": request.idempotency_key,
                "profile": request.profile,
            },
        )
        chain = _chain_of(answer)
        check_chain(chain, request)
        return IssuedCertificate(chain)

    def revoke(self, certificate: bytes, reason: str) -> None:
        """Revoke a certificate; one that is revoked already stays as it is.

        :raises PkiUnavailable: no answer in time, 429 or 5xx.
        :raises PkiRefused: not issued there, or the reason is none it knows.
        :raises PkiAnswerInvalid: a redirect or an answer of another form.
        """
        answer = self._post("/ca/revoke", {"certificate": base64.b64encode(certificate).decode(), "reason": reason})
        if not isinstance(answer.get("revoked_at"), str) or not answer["revoked_at"]:
            raise PkiAnswerInvalid("the authority did not say when it revoked the certificate")

    def _post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        settings = self._settings
        deadline = time.monotonic() + settings.timeout
        headers = {"Authorization": f"Bearer {self._token}", "Accept-Encoding": "identity"}
        try:
            with self._egress.session(settings.timeout) as session:
                response = session.post(
                    settings.base_url.rstrip("/") + path, json=body, headers=headers, allow_redirects=False, stream=True
                )
                with response:
                    return _object_of(response.status_code, _read(response, deadline))
        except requests.TooManyRedirects as error:  # the guarded session allows none
            raise PkiAnswerInvalid("the development CA answered with a redirect") from error
        except (requests.RequestException, HTTPError, EgressRefused, OSError) as error:
            raise PkiUnavailable(f"the development CA cannot be reached ({type(error).__name__})") from error


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, within a size and a time: one octet now and then does not keep us here."""
    body = bytearray()
    while piece := response.raw.read1(_MAX_ANSWER):
        body += piece
        if len(body) > _MAX_ANSWER:
            raise PkiAnswerInvalid(f"the answer is longer than {_MAX_ANSWER} octets")
        if time.monotonic() > deadline:
            raise PkiUnavailable("the answer did not end in time")
    return bytes(body)


def _object_of(status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = parse_json_object(body)
    except TokenMalformed as error:
        if status == 200:
            raise PkiAnswerInvalid("the answer is not a JSON object") from error
        answer = {}
    if status == 200:
        return answer
    code = answer.get("error")
    told = code if isinstance(code, str) and _CODE.fullmatch(code) else "no reason given"
    summary = f"the development CA answered {status} ({told})"
    if status == 429 or status >= 500:
        raise PkiUnavailable(summary)
    if status >= 400:
        raise PkiRefused(summary)
    raise PkiAnswerInvalid(summary)


def _chain_of(answer: Mapping[str, Any]) -> tuple[bytes, ...]:
    certificates = answer.get("certificates")
    if not isinstance(certificates, list) or not all(isinstance(item, str) for item in certificates):
        raise PkiAnswerInvalid("the answer has no list of certificates")
    if not 2 <= len(certificates) <= _MAX_CHAIN:
        raise PkiAnswerInvalid(f"the chain has {len(certificates)} certificates")
    try:
        return tuple(base64.b64decode(item.encode("ascii"), validate=True) for item in certificates)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise PkiAnswerInvalid("a certificate is not in base64") from error


def check_chain(chain: tuple[bytes, ...], request: CertificateRequest) -> None:
    """Check that a chain answers a request; whether its root is trusted is for those who hold trust anchors.

    :raises PkiRefused: the request's PKCS#10 cannot be read.
    :raises PkiAnswerInvalid: see the steps.
    """
    asked = _asked_key(request.pkcs10)
    # 1. Certificates, all of them.
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        leaf, issuers = certificates[0], certificates[1:]
        key = leaf.public_key()
    except (ValueError, IndexError, UnsupportedAlgorithm) as error:
        raise PkiAnswerInvalid("the chain cannot be read") from error
    # 2. The key that was asked for.
    if key != asked:
        raise PkiAnswerInvalid("the certificate is for another public key")
    # 3. The subject that was asked for, and nothing beside it.
    if not _is_subject(leaf.subject, request.subject):
        raise PkiAnswerInvalid("the certificate is for another subject")
    # 4. A person's certificate for signing, below authorities.
    check_use(leaf, issuers)
    # 5. Each signed by the next.
    try:
        for certificate, issuer in zip(certificates, issuers, strict=False):
            certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise PkiAnswerInvalid("the chain is not signed from one certificate to the next") from error


def _asked_key(pkcs10: bytes) -> object:
    try:
        return x509.load_der_x509_csr(pkcs10).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PkiRefused("the PKCS#10 cannot be read") from error


def _is_subject(name: x509.Name, subject: SubjectName) -> bool:
    wanted = {(oid, getattr(subject, field)) for field, oid in _SUBJECT_OIDS.items()}
    wanted = {pair for pair in wanted if pair[1] is not None}
    found = [(attribute.oid, attribute.value) for attribute in name]
    return len(found) == len(wanted) and set(found) == wanted


def check_use(leaf: x509.Certificate, issuers: list[x509.Certificate]) -> None:
    """Check that a leaf is for signing and no authority, and that its issuers are authorities.

    :raises PkiAnswerInvalid: they are not.
    """
    try:
        if not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.content_commitment:
            raise PkiAnswerInvalid("the certificate is not for signing (keyUsage)")
        if _is_authority(leaf) or not all(_is_authority(issuer) for issuer in issuers):
            raise PkiAnswerInvalid("the chain is not a person's certificate below authorities (basicConstraints)")
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise PkiAnswerInvalid("a certificate's extensions cannot be used") from error


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
