"""Answers of the API, in the shape of each dialect (CSC API 1.0.4.0 and 2.0.0.2 clauses 11.1, 11.4, 11.5)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, Final

from asn1crypto import core
from cryptography import x509

from contract import proof_key
from foundation.names import distinguished_name
from signing.csc import errors, languages
from signing.csc.algorithms import algorithm_parameters, sign_algorithms
from signing.csc.auth_options import AuthOptions
from signing.csc.dialect import Dialect
from signing.csc.document_requests import ENVELOPES, levels
from signing.csc.exchange import written
from signing.csc.requests import Detail
from signing.link.messages import CredentialView
from signing.settings import ServiceSettings, ServiceTexts, WebSettings

About = tuple[str | None, str]
"""A description, where there is one, and the language of what is said."""
SIGN_DOC: Final = "signatures/signDoc"


class _Statement(core.Sequence):  # type: ignore[misc] # asn1crypto is untyped
    """QCStatement (RFC 3739 3.2.6)."""

    _fields: ClassVar = [("id", core.ObjectIdentifier), ("info", core.Any, {"optional": True})]


class _Statements(core.SequenceOf):  # type: ignore[misc] # asn1crypto is untyped
    """QCStatements."""

    _child_spec = _Statement


_QC_STATEMENTS: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.3")
_REMEMBERED_OCTETS: Final = 16 * 1024
"""Of a credential's certificates: a chain of qualified ones has 8 to 12 KiB."""


def service_info(
    dialect: Dialect, settings: WebSettings, lang: str | None, methods: Sequence[str], algorithms: Sequence[str]
) -> dict[str, Any]:
    """The answer of ``info`` (11.1).

    :param lang: the language that is asked for.
    :param methods: that the deployment has in the dialect.
    :param algorithms: OIDs of what the module signs with.
    """
    service = settings.service
    name, description, language = _service_texts(service, lang)
    answer: dict[str, Any] = {
        "specs": dialect.specs,
        "name": name,
        "logo": service.logo or f"{settings.public_url}/static/logo.png",
        "region": service.region,
        "lang": language,
        "description": description,
        "authType": [*(["basic"] if "auth/login" in methods else []), "oauth2code", "oauth2client"],
        **_authorization_server(dialect, settings),
        "asynchronousOperationMode": "signatures/signPolling" in methods,
        "methods": list(methods),
        "validationInfo": SIGN_DOC in methods and settings.status is not None,
        "signAlgorithms": _sign_algorithms(algorithms),
        # Where documents are not signed these are empty; both members are required.
        "signature_formats": _formats(methods),
        "conformance_levels": list(levels(settings)) if SIGN_DOC in methods else [],
    }
    if dialect.hash_types:
        answer |= {"supportsRar": True, "supportedHashTypes": _hash_types(methods), "documentTypes": []}
        answer["signature_formats"]["allowMix"] = SIGN_DOC in methods
    return answer


def _service_texts(service: ServiceSettings, lang: str | None) -> tuple[str, str, str]:
    tag = languages.lookup(lang, service.languages, service.lang)
    texts = service.languages.get(tag, ServiceTexts())
    language = service.lang if texts.description is None else tag
    return texts.name or service.name, texts.description or service.description, language


def _sign_algorithms(algorithms: Sequence[str]) -> dict[str, Any]:
    parameters = algorithm_parameters(algorithms)
    return {"algos": list(algorithms), **({"algoParams": parameters} if parameters else {})}


def _hash_types(methods: Sequence[str]) -> list[str]:
    """What a SAD's digests may be of: data to be signed, and documents where these are signed."""
    return ["dtbsr", "sdr"] if SIGN_DOC in methods else ["dtbsr"]


def _formats(methods: Sequence[str]) -> dict[str, list[Any]]:
    offered = ENVELOPES if SIGN_DOC in methods else {}
    return {"formats": list(offered), "envelope_properties": [list(names) for names in offered.values()]}


def _authorization_server(dialect: Dialect, settings: WebSettings) -> dict[str, str]:
    # A base URI is what clients put /oauth2/authorize behind; an issuer's metadata names every endpoint (RFC 8414).
    slash = "/" if dialect.base_uri_ends_with_slash else ""
    return {dialect.authorization_server: f"{settings.issuer.url}{slash}"}


@lru_cache(maxsize=1024)
def _parsed(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def certificate_status(view: CredentialView, now: datetime) -> str | None:
    """``valid``, ``expired``, ``revoked`` or ``suspended``; ``None`` where there is no certificate yet.

    What the authority says is not looked up; a credential that was revoked or suspended here is told as that.
    """
    if not view.certificates:
        return None
    if view.status == "revoked":
        return "revoked"
    certificate = _parsed(view.certificates[0])
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return "expired"
    return "suspended" if view.status == "suspended" else "valid"


def usable(view: CredentialView, now: datetime) -> bool:
    """Whether the credential can sign now."""
    return view.status == "active" and certificate_status(view, now) == "valid"


def credential_info(
    dialect: Dialect, view: CredentialView, detail: Detail, options: AuthOptions, *, status: str | None, about: About
) -> dict[str, Any]:
    """The attributes of a credential, without ``credentialID`` (11.5).

    ``soleControl`` is ours, and stands there only where the credential demands proofs by the signer's device.

    :param options: how it can be authorised.
    :param status: of its certificate, now.
    :param about: the description with its language.
    """
    description, lang = about
    key: dict[str, Any] = {
        "status": "enabled" if view.status == "active" else "disabled",
        "algo": sign_algorithms(view),
        "len": view.key_bits,
    }
    if view.curve is not None:
        key["curve"] = view.curve
    answer: dict[str, Any] = {
        "key": key,
        "cert": _certificate(dialect, view, detail, status),
        "SCAL": view.scal,
        "multisign": view.multisign,
        "lang": lang,
    }
    if description is not None:
        answer["description"] = description
    if view.signature_qualifier is not None and dialect.qualifiers:
        answer["signatureQualifier"] = view.signature_qualifier
    if view.proof_required:
        answer["soleControl"] = {"required": True, "keys": [proof_key.to_json(key) for key in view.proof_keys]}
    if not dialect.nested_auth:
        # In v1 authMode is required whatever was asked for.
        answer |= options.to_v1()
    elif detail.auth_info:
        answer["auth"] = options.to_v2()
    return answer


def written_info(
    dialect: Dialect, view: CredentialView, detail: Detail, options: AuthOptions, *, status: str | None, about: About
) -> bytes:
    """The same as it goes out.

    Remembered by all that it is made of, so that nothing makes it wrong: the module has just said ``view``, and the
    clock has just said ``status``.  512 answers of up to some 24 KiB, the view beside each.
    """
    is_short = sum(map(len, view.certificates)) <= _REMEMBERED_OCTETS
    write = _written_info if is_short else _written_info.__wrapped__
    return write(dialect, view, detail, options, status=status, about=about)


@lru_cache(maxsize=512)
def _written_info(
    dialect: Dialect, view: CredentialView, detail: Detail, options: AuthOptions, *, status: str | None, about: About
) -> bytes:
    return written(credential_info(dialect, view, detail, options, status=status, about=about))


def _certificate(dialect: Dialect, view: CredentialView, detail: Detail, status: str | None) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    if status is None:
        return answer
    answer["status"] = status
    if detail.certificates != "none":
        wanted = view.certificates if detail.certificates == "chain" else view.certificates[:1]
        answer["certificates"] = [base64.b64encode(item).decode() for item in wanted]
    certificate = _parsed(view.certificates[0])
    if detail.cert_info or dialect.names_always:
        answer["issuerDN"] = distinguished_name(certificate.issuer)
        answer["subjectDN"] = distinguished_name(certificate.subject)
    if detail.cert_info:
        answer["serialNumber"] = f"{certificate.serial_number:X}"
        answer["validFrom"] = certificate.not_valid_before_utc.strftime("%Y%m%d%H%M%SZ")
        answer["validTo"] = certificate.not_valid_after_utc.strftime("%Y%m%d%H%M%SZ")
        if dialect.certificate_policies:
            answer |= {"qcStatements": _qc_statements(certificate), "policy": _policies(certificate)}
    return answer


def _qc_statements(certificate: x509.Certificate) -> list[str]:
    """Identifiers of the statements (RFC 3739 3.2.6); none where the extension cannot be read."""
    try:
        extension = certificate.extensions.get_extension_for_oid(_QC_STATEMENTS).value
        octets = extension.value if isinstance(extension, x509.UnrecognizedExtension) else b""
        return [statement["id"].dotted for statement in _Statements.load(octets, strict=True)]
    except (x509.ExtensionNotFound, ValueError, TypeError, KeyError, IndexError):
        return []


def _policies(certificate: x509.Certificate) -> list[str]:
    try:
        policies = certificate.extensions.get_extension_for_class(x509.CertificatePolicies).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [policy.policy_identifier.dotted_string for policy in policies]


def expired_certificate(view: CredentialView) -> errors.InvalidRequest:
    """The refusal of an expired certificate, by its names."""
    subject = x509.load_der_x509_certificate(view.certificates[0]).subject

    def named(oid: x509.ObjectIdentifier) -> str | None:
        found = subject.get_attributes_for_oid(oid)
        return str(found[0].value) if found else None

    return errors.expired_certificate(named(x509.NameOID.ORGANIZATION_NAME), named(x509.NameOID.COMMON_NAME))
