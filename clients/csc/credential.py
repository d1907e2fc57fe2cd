"""A credential as `credentials/info` describes it, in either version of the API.  Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from cryptography import x509
from cryptography.x509.oid import NameOID

from .errors import ProtocolError
from .transport import optional_text, texts_of

Mode = Literal["oauth2code", "explicit"]


@dataclass(frozen=True, slots=True)
class AuthObject:
    """One thing that a person answers to authorise explicitly (CSC API v2.0.0.2 section 11.5)."""

    id: str
    kind: str
    """`Password`, `PasswordOOB`, `ChallengeResponse`, `ChallengeResponseOOB`."""
    label: str
    description: str
    digits_only: bool
    generator: str | None
    """`totp`, where a device makes the answers."""

    @property
    def sent(self) -> bool:
        """Whether the service has to be asked for a challenge first, as a code by text message."""
        return self.kind in {"PasswordOOB", "ChallengeResponse"}


    @property
    def elsewhere(self) -> bool:
        """Whether nothing is typed, because the person decides elsewhere."""
        return self.kind == "ChallengeResponseOOB"


@dataclass(frozen=True, slots=True)
class Credential:
    """A signing key that a person may use, with its certificates."""

    id: str
    description: str
    certificates: tuple[bytes, ...] = field(repr=False)
    """DER, the signer's first."""
    subject: str
    """Distinguished name, as the service wrote it; so is `issuer`."""
    issuer: str
    valid_to: datetime | None
    key_enabled: bool
    certificate_valid: bool
    algorithms: tuple[str, ...]
    """OIDs that may be given as `signAlgo`."""
    mode: str
    """`oauth2code` or `explicit`; version 1 also has `implicit`."""
    expression: str | None
    """Which of the objects are needed together, as `PIN AND (SMS OR TOTP)`."""
    objects: tuple[AuthObject, ...]
    scal: str
    """`1` or `2`; with `2` every authorisation names the digests."""
    multisign: int
    """Signatures that one authorisation may cover."""
    qualifier: str | None = None

    @property
    def usable(self) -> bool:
        """Whether key and certificate can sign now, as far as the service says."""
        return self.key_enabled and self.certificate_valid and bool(self.certificates)

    @property
    def signer_name(self) -> str:
        """The common name in the signer's certificate."""
        return _common_name(x509.load_der_x509_certificate(self.certificates[0]).subject)

    @property
    def issuer_name(self) -> str:
        """The common name of who issued it."""
        return _common_name(x509.load_der_x509_certificate(self.certificates[0]).issuer)


def parse_credential(credential_id: str, answer: Mapping[str, Any]) -> Credential:
    """From the answer of `credentials/info`, or an element of `credentialInfos`.

    :raises ProtocolError: key, certificate or `multisign` are missing or unsound.
    """
    key, cert = answer.get("key"), answer.get("cert")
    if not isinstance(key, dict) or not isinstance(cert, dict):
        raise ProtocolError("credentials/info does not describe key and certificate")
    multisign = answer.get("multisign")
    if not isinstance(multisign, int) or isinstance(multisign, bool) or multisign < 1:
        raise ProtocolError("credentials/info lacks multisign")
    mode, expression, objects = _authorisation(answer)
    return Credential(
        id=credential_id,
        description=optional_text(answer, "description") or "",
        certificates=_certificates(cert),
        subject=optional_text(cert, "subjectDN") or "",
        issuer=optional_text(cert, "issuerDN") or "",
        valid_to=_time(optional_text(cert, "validTo")),
        key_enabled=key.get("status") == "enabled",
        certificate_valid=cert.get("status", "valid") == "valid",
        algorithms=texts_of(key, "algo"),
        mode=mode,
        expression=expression,
        objects=objects,
        scal=str(answer.get("SCAL") or "1"),
        multisign=multisign,
        qualifier=optional_text(answer, "signatureQualifier"),
    )


def _certificates(cert: Mapping[str, Any]) -> tuple[bytes, ...]:
    try:
        found = tuple(base64.b64decode(item, validate=True) for item in texts_of(cert, "certificates"))
        for item in found:
            x509.load_der_x509_certificate(item)
    except ValueError as e:
        raise ProtocolError("credentials/info has a certificate that is none") from e
    return found


def _time(text: str | None) -> datetime | None:
    """GeneralizedTime (section 11.5)."""
    try:
        return None if text is None else datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _authorisation(answer: Mapping[str, Any]) -> tuple[str, str | None, tuple[AuthObject, ...]]:
    auth = answer.get("auth")
    if isinstance(auth, dict):
        listed = auth.get("objects")
        objects = tuple(
            _object(item, optional_text(item, "id") or "")
            for item in (listed if isinstance(listed, list) else [])
            if isinstance(item, dict) and optional_text(item, "id")
        )
        return optional_text(auth, "mode") or "explicit", optional_text(auth, "expression"), objects
    found = []
    for name in ("PIN", "OTP"):
        item = answer.get(name)
        if isinstance(item, dict) and str(item.get("presence", "false")).lower() in {"true", "optional"}:
            kind = "PasswordOOB" if name == "OTP" and item.get("type") == "online" else "Password"
            found.append(_object({**item, "type": kind}, name))
    return optional_text(answer, "authMode") or "oauth2code", None, tuple(found)


def _object(item: Mapping[str, Any], identifier: str) -> AuthObject:
    return AuthObject(
        id=identifier,
        kind=optional_text(item, "type") or "Password",
        label=optional_text(item, "label") or identifier,
        description=optional_text(item, "description") or "",
        digits_only=item.get("format") == "N",
        generator=optional_text(item, "generator"),
    )


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()
