"""Answers of the API, in the shape of each dialect (CSC API 1.0.4.0 and 2.0.0.2 clauses 11.1, 11.4, 11.5)."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any, Final

from cryptography import x509

from contract import proof_key
from foundation.names import distinguished_name
from signing.csc.dialect import Dialect
from signing.csc.requests import Detail
from signing.link.messages import CredentialView
from signing.settings import WebSettings

ECDSA_WITH_SHA: Final = {256: "1.2.840.10045.4.3.2", 384: "1.2.840.10045.4.3.3"}
RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
RSA_WITH_SHA: Final = ("1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13")


def service_info(dialect: Dialect, settings: WebSettings, lang: str, methods: list[str]) -> dict[str, Any]:
    """The answer of ``info`` (11.1)."""
    service = settings.service
    return {
        "specs": dialect.specs,
        "name": service.name,
        "logo": service.logo or f"{settings.public_url}/static/logo.png",
        "region": service.region,
        "lang": lang,
        "description": service.description,
        "authType": ["oauth2code", "oauth2client"],
        **_authorization_server(dialect, settings),
        "asynchronousOperationMode": False,
        "methods": methods,
        "validationInfo": False,
        "signAlgorithms": {"algos": [*ECDSA_WITH_SHA.values(), RSASSA_PSS, *RSA_WITH_SHA, RSA_ENCRYPTION]},
        # signDoc is not offered, so neither are formats and levels; both members are required, and so are empty.
        "signature_formats": {"formats": [], "envelope_properties": []},
        "conformance_levels": [],
    }


def _authorization_server(dialect: Dialect, settings: WebSettings) -> dict[str, str]:
    # v1 knows only the base URI; v2 has the issuer, whose metadata names every endpoint (RFC 8414).
    return {"oauth2Issuer": settings.issuer.url} if dialect.nested_auth else {"oauth2": f"{settings.issuer.url}/"}


def sign_algorithms(view: CredentialView) -> list[str]:
    """OIDs with which a key may be asked to sign, the most specific first."""
    found: list[str] = []
    if "ecdsa" in view.schemes:
        found.append(ECDSA_WITH_SHA.get(view.key_bits, ECDSA_WITH_SHA[256]))
    if "rsa-pss" in view.schemes:
        found.append(RSASSA_PSS)
    if "rsa-pkcs1-v1_5" in view.schemes:
        found.extend((*RSA_WITH_SHA, RSA_ENCRYPTION))
    return found


def certificate_status(view: CredentialView, now: datetime) -> str | None:
    """``valid``, ``expired``, ``revoked`` or ``suspended``; ``None`` where there is no certificate yet.

    What the authority says is not looked up; a credential that was revoked or suspended here is told as that.
    """
    if not view.certificates:
        return None
    if view.status == "revoked":
        return "revoked"
    certificate = x509.load_der_x509_certificate(view.certificates[0])
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return "expired"
    return "suspended" if view.status == "suspended" else "valid"


def usable(view: CredentialView, now: datetime) -> bool:
    """Whether the credential can sign now."""
    return view.status == "active" and certificate_status(view, now) == "valid"


def credential_info(
    dialect: Dialect, view: CredentialView, detail: Detail, *, now: datetime, lang: str
) -> dict[str, Any]:
    """The attributes of a credential, without ``credentialID`` (11.5).

    ``soleControl`` is ours, and stands there only where the credential demands proofs by the signer's device.
    """
    key: dict[str, Any] = {
        "status": "enabled" if view.status == "active" else "disabled",
        "algo": sign_algorithms(view),
        "len": view.key_bits,
    }
    if view.curve is not None:
        key["curve"] = view.curve
    answer: dict[str, Any] = {
        "key": key,
        "cert": _certificate(view, detail, now),
        "SCAL": view.scal,
        "multisign": view.multisign,
        "lang": lang,
    }
    if view.signature_qualifier is not None and dialect.nested_auth:
        answer["signatureQualifier"] = view.signature_qualifier
    if view.proof_required:
        answer["soleControl"] = {"required": True, "keys": [proof_key.to_json(key) for key in view.proof_keys]}
    if not dialect.nested_auth:
        # In v1 authMode is required whatever was asked for.
        answer["authMode"] = "oauth2code"
    elif detail.auth_info:
        answer["auth"] = {"mode": "oauth2code", "expression": None, "objects": None}
    return answer


def _certificate(view: CredentialView, detail: Detail, now: datetime) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    status = certificate_status(view, now)
    if status is None:
        return answer
    answer["status"] = status
    if detail.certificates != "none":
        wanted = view.certificates if detail.certificates == "chain" else view.certificates[:1]
        answer["certificates"] = [base64.b64encode(item).decode() for item in wanted]
    if detail.cert_info:
        certificate = x509.load_der_x509_certificate(view.certificates[0])
        answer["issuerDN"] = distinguished_name(certificate.issuer)
        answer["serialNumber"] = f"{certificate.serial_number:X}"
        answer["subjectDN"] = distinguished_name(certificate.subject)
        answer["validFrom"] = certificate.not_valid_before_utc.strftime("%Y%m%d%H%M%SZ")
        answer["validTo"] = certificate.not_valid_after_utc.strftime("%Y%m%d%H%M%SZ")
    return answer


def expired_certificate_text(view: CredentialView) -> str:
    """The description of the refusal of an expired certificate (CSC API 1.0.4.0 11.9)."""
    subject = x509.load_der_x509_certificate(view.certificates[0]).subject
    parts = [
        f"{short}={subject.get_attributes_for_oid(oid)[0].value!s}"
        for short, oid in (("O", x509.NameOID.ORGANIZATION_NAME), ("CN", x509.NameOID.COMMON_NAME))
        if subject.get_attributes_for_oid(oid)
    ]
    return f"Signing certificate '{','.join(parts)}' is expired"
