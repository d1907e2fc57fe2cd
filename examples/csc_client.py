"""The signing service as an application sees it: CSC API v2.0.0.2 over HTTP, the four calls that signing needs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from cryptography import x509
from cryptography.x509.oid import NameOID
from requests.utils import parse_dict_header

from examples.errors import ProtocolError, ServiceRefusedError, StepUpRequiredError, UnreachableError


@dataclass(frozen=True, slots=True)
class Credential:
    """A signing key that a person may use, with its certificates (section 11.5)."""

    credential_id: str
    description: str
    certificates: tuple[bytes, ...] = field(repr=False)
    """DER, the signer's first."""
    subject: str
    issuer: str
    valid_to: str
    """GeneralizedTime, `YYYYMMDDHHMMSSZ`."""
    key_enabled: bool
    certificate_valid: bool
    algorithms: tuple[str, ...]
    """OIDs that may be given as `signAlgo`."""
    scal: str
    multisign: int

    @property
    def usable(self) -> bool:
        return self.key_enabled and self.certificate_valid

    @property
    def signer_name(self) -> str:
        """The name in the signer's certificate."""
        return _common_name(x509.load_der_x509_certificate(self.certificates[0]).subject)

    @property
    def issuer_name(self) -> str:
        return _common_name(x509.load_der_x509_certificate(self.certificates[0]).issuer)

    @property
    def prefers_pss(self) -> bool:
        """RSASSA-PSS where the service offers it for this key."""
        return "1.2.840.113549.1.1.10" in self.algorithms


def service_info(http: requests.Session, csc: str) -> dict[str, Any]:
    """`info`: what the service is and can do; needs no token."""
    return _call(http, csc, "info", None, {})


def list_credentials(http: requests.Session, csc: str, token: str) -> list[str]:
    """`credentials/list`: ids of the credentials of the person whose service token this is."""
    answer = _call(http, csc, "credentials/list", token, {})
    ids = answer.get("credentialIDs")
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        message = "credentials/list did not return credentialIDs."
        raise ProtocolError(message)
    return ids


def credential_info(http: requests.Session, csc: str, token: str, credential_id: str) -> Credential:
    """`credentials/info` with the certificate chain."""
    answer = _call(
        http,
        csc,
        "credentials/info",
        token,
        {"credentialID": credential_id, "certificates": "chain", "certInfo": True, "authInfo": True},
    )
    key, cert = answer.get("key"), answer.get("cert")
    if not isinstance(key, dict) or not isinstance(cert, dict):
        message = "credentials/info did not describe key and certificate."
        raise ProtocolError(message)
    try:
        certificates = tuple(base64.b64decode(each, validate=True) for each in cert["certificates"])
        for certificate in certificates:
            x509.load_der_x509_certificate(certificate)
        multisign = int(answer["multisign"])
    except (KeyError, TypeError, ValueError) as e:
        message = "credentials/info lacks multisign or sound certificates."
        raise ProtocolError(message) from e
    if not certificates:
        message = "credentials/info returned no certificate."
        raise ProtocolError(message)
    return Credential(
        credential_id=credential_id,
        description=str(answer.get("description") or ""),
        certificates=certificates,
        subject=str(cert.get("subjectDN") or ""),
        issuer=str(cert.get("issuerDN") or ""),
        valid_to=str(cert.get("validTo") or ""),
        key_enabled=key.get("status") == "enabled",
        certificate_valid=cert.get("status", "valid") == "valid",
        algorithms=tuple(str(oid) for oid in key.get("algo", [])),
        scal=str(answer.get("SCAL", "1")),
        multisign=multisign,
    )


def create_credential(http: requests.Session, csc: str, token: str) -> str:
    """`credentials/create` (2.2), with the token of scope `credential-creation`: the new credential's id.

    Safe to repeat with the same token after an answer that was lost.
    """
    credential_id = _call(http, csc, "credentials/create", token, {}).get("credentialID")
    if not isinstance(credential_id, str):
        message = "credentials/create did not return a credentialID."
        raise ProtocolError(message)
    return credential_id


def delete_credential(http: requests.Session, csc: str, token: str, credential_id: str) -> None:
    """`credentials/delete` (2.2), with the token of scope `credential-deletion`.  Safe to repeat, too."""
    _call(http, csc, "credentials/delete", token, {"credentialID": credential_id})


def sign_hash(
    http: requests.Session,
    csc: str,
    sad: str,
    *,
    credential_id: str,
    hashes: Sequence[str],
    hash_algorithm_oid: str,
    sign_algo: str,
    sign_algo_params: str | None = None,
) -> list[bytes]:
    """`signatures/signHash` with the SAD as bearer: one value for each digest, in the same order.

    :param hashes: base64, as they were authorised.
    """
    body: dict[str, Any] = {
        "credentialID": credential_id,
        "hashes": list(hashes),
        "hashAlgorithmOID": hash_algorithm_oid,
        "signAlgo": sign_algo,
        "operationMode": "S",
    }
    if sign_algo_params is not None:
        body["signAlgoParams"] = sign_algo_params
    values = _call(http, csc, "signatures/signHash", sad, body).get("signatures")
    if not isinstance(values, list) or len(values) != len(hashes):
        message = "signatures/signHash did not return one value for each digest."
        raise ProtocolError(message)
    try:
        return [base64.b64decode(value, validate=True) for value in values]
    except (TypeError, binascii.Error) as e:
        message = "signatures/signHash returned something that is not base64."
        raise ProtocolError(message) from e


def sign_document(
    http: requests.Session,
    csc: str,
    sad: str,
    *,
    credential_id: str,
    document: bytes,
    level: str,
    hash_algorithm_oid: str,
    sign_algo: str,
    sign_algo_params: str | None = None,
) -> bytes:
    """`signatures/signDoc` of one PDF with the SAD as bearer: the signed PDF.

    :param level: of `conformance_levels` in the service's `info`.
    """
    item: dict[str, Any] = {
        "document": base64.b64encode(document).decode(),
        "signature_format": "P",
        "conformance_level": level,
        "signed_envelope_property": "Revision",
        "hashAlgorithmOID": hash_algorithm_oid,
        "signAlgo": sign_algo,
    }
    if sign_algo_params is not None:
        item["signAlgoParams"] = sign_algo_params
    body = {"credentialID": credential_id, "documents": [item]}
    signed = _call(http, csc, "signatures/signDoc", sad, body).get("DocumentWithSignature")
    if not isinstance(signed, list) or len(signed) != 1:
        message = "signatures/signDoc did not return one document."
        raise ProtocolError(message)
    try:
        return base64.b64decode(signed[0], validate=True)
    except (TypeError, binascii.Error) as e:
        message = "signatures/signDoc returned something that is not base64."
        raise ProtocolError(message) from e


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _call(http: requests.Session, csc: str, method: str, token: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
    headers = {"Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        response = http.post(f"{csc.rstrip('/')}/{method}", json=body, headers=headers, allow_redirects=False)
    except requests.RequestException as e:
        message = f"No answer from {urlsplit(csc).netloc}."
        raise UnreachableError(message) from e
    if response.status_code == requests.codes.no_content:
        return {}
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if response.status_code != requests.codes.ok:
        details = answer if isinstance(answer, dict) else {}
        error, description = str(details.get("error", "")), str(details.get("error_description", ""))
        if response.status_code == requests.codes.unauthorized and error == "insufficient_user_authentication":
            raise _step_up(description, response.headers.get("WWW-Authenticate", ""))
        raise ServiceRefusedError(response.status_code, error, description)
    if not isinstance(answer, dict):
        message = f"{method} did not answer with a JSON object."
        raise ProtocolError(message)
    return answer


def _step_up(description: str, challenge: str) -> StepUpRequiredError:
    """What the challenge asks for (RFC 9470 section 3)."""
    parameters = parse_dict_header(challenge.partition(" ")[2])  # type: ignore[no-untyped-call] # requests has none
    max_age = parameters.get("max_age") or ""
    return StepUpRequiredError(
        description,
        tuple((parameters.get("acr_values") or "").split()),
        int(max_age) if max_age.isascii() and max_age.isdecimal() else None,
    )
