"""Whose make of authenticator is believed: roots by AAGUID, and the chain that leads to one of them.

The roots come from a file that the operator configured, in the form of the payload of the FIDO Metadata Service's BLOB
(FIDO Metadata Service 3.0, 3.1).  The library checks a statement's signature; whom it was issued by is decided here,
at a time that is given.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from foundation.errors import JoseError
from foundation.jose import parse_json_object
from idp.errors import PasskeyRefused, TrustRefused

_AAGUID_EXTENSION: Final = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
"""``id-fido-gen-ce-aaguid`` (WebAuthn 8.2.1): an OCTET STRING of 16 octets."""
_MAX_CERTIFICATES: Final = 5
_COMPROMISED: Final = frozenset(
    {
        "REVOKED",
        "USER_VERIFICATION_BYPASS",
        "ATTESTATION_KEY_COMPROMISE",
        "USER_KEY_REMOTE_COMPROMISE",
        "USER_KEY_PHYSICAL_COMPROMISE",
    }
)
"""FIDO Metadata Service 3.0, 3.1.4: a model that was ever reported so is trusted no more."""


@dataclass(frozen=True, slots=True)
class Model:
    """One make and model of authenticator."""

    description: str = ""
    roots: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Trust:
    """What the operator believes of models, by AAGUID in its canonical form."""

    models: Mapping[str, Model] = field(default_factory=dict)

    @property
    def asks(self) -> bool:
        """Whether there is a root, and so a reason to ask for attestation."""
        return any(model.roots for model in self.models.values())

    def describe(self, aaguid: str) -> str:
        """The model's name, or nothing."""
        return self.models[aaguid].description if aaguid in self.models else ""

    def pem_roots(self, aaguid: str) -> list[bytes]:
        """The model's roots in PEM."""
        model = self.models.get(aaguid, Model())
        return [root.public_bytes(Encoding.PEM) for root in model.roots]


def parse_trust(data: bytes) -> Trust:
    """Read a file of models.

    :raises TrustRefused: it is not of the form, names a model twice, or a certificate cannot be read.
    """
    try:
        entries = parse_json_object(data)["entries"]
        models: dict[str, Model] = {}
        for entry in entries:
            if "aaguid" not in entry:
                continue  # an authenticator of U2F or UAF: the metadata service lists those too
            aaguid = str(UUID(entry["aaguid"]))
            if aaguid in models:
                raise TrustRefused(f"the model {aaguid} is there twice")
            models[aaguid] = _model(entry)
    except (JoseError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrustRefused("not the payload of a FIDO metadata BLOB: 'entries' with 'aaguid'") from error
    return Trust(models)


def _model(entry: Mapping[str, Any]) -> Model:
    statement = entry["metadataStatement"]
    reported = {report["status"] for report in entry.get("statusReports", [])}
    texts = [] if reported & _COMPROMISED else statement.get("attestationRootCertificates", [])
    roots = tuple(
        x509.load_der_x509_certificate(base64.b64decode("".join(text.split()), validate=True)) for text in texts
    )
    return Model(str(statement.get("description", ""))[:64], roots)


def is_attested(trust: Trust, aaguid: str, statement: Mapping[str, Any], form: str, now: datetime) -> bool:
    """Whether the authenticator's make is proved, its statement's signature having been verified.

    A model that the operator says nothing about is not; nor is one that sent no certificate.  One that claims to be a
    model that there are roots for, and comes with another chain, is refused: somebody made it up.

    :param statement: ``attStmt``, parsed.
    :param form: its format.
    :raises PasskeyRefused: ``attestation_untrusted``, or ``attestation`` for a certificate that is not of the form.
    """
    roots = trust.models.get(aaguid, Model()).roots
    given = statement.get("x5c")
    if given is None:
        return False
    chain = _certificates(given)
    _check_leaf(chain[0], aaguid, form)
    if not roots:
        return False
    if not any(chain[0] == root for root in roots):
        _check_chain(chain, roots, now)
    elif not chain[0].not_valid_before_utc <= now <= chain[0].not_valid_after_utc:
        raise PasskeyRefused("attestation_untrusted", "the attestation certificate is not valid now")
    return True


def _certificates(given: Any) -> tuple[x509.Certificate, ...]:
    if not isinstance(given, list) or not 1 <= len(given) <= _MAX_CERTIFICATES:
        raise PasskeyRefused("attestation", f"x5c holds one to {_MAX_CERTIFICATES} certificates")
    try:
        return tuple(x509.load_der_x509_certificate(item) for item in given)
    except (TypeError, ValueError) as error:
        raise PasskeyRefused("attestation", "x5c holds what is no certificate") from error


def _check_leaf(leaf: x509.Certificate, aaguid: str, form: str) -> None:
    """WebAuthn 8.2.1 for ``packed``; the model that a certificate names is the one that the authenticator names."""
    try:
        extensions = leaf.extensions
        named = [item.value.value for item in extensions if item.oid == _AAGUID_EXTENSION]
        authority = [item.value.ca for item in extensions if isinstance(item.value, x509.BasicConstraints)]
        units = [item.value for item in leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
    except (ValueError, AttributeError, x509.DuplicateExtension) as error:
        raise PasskeyRefused("attestation", "the attestation certificate cannot be read") from error
    if named and named[0] != b"\x04\x10" + UUID(aaguid).bytes:
        raise PasskeyRefused("attestation", "the attestation certificate is for another model")
    if form != "packed":
        return
    if leaf.version != x509.Version.v3 or authority != [False] or "Authenticator Attestation" not in units:
        raise PasskeyRefused("attestation", "the attestation certificate is not of the form of WebAuthn 8.2.1")


def _check_chain(chain: tuple[x509.Certificate, ...], roots: tuple[x509.Certificate, ...], now: datetime) -> None:
    authorities = ExtensionPolicy.permit_all().require_present(
        x509.BasicConstraints, Criticality.AGNOSTIC, lambda _policy, _certificate, value: _must_be_authority(value)
    )
    verifier = (
        PolicyBuilder()
        .store(Store(list(roots)))
        .time(now)
        .max_chain_depth(_MAX_CERTIFICATES)
        .extension_policies(ca_policy=authorities, ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    try:
        verifier.verify(chain[0], list(chain[1:]))
    except (VerificationError, ValueError) as error:
        raise PasskeyRefused("attestation_untrusted", "the chain does not lead to a root of this model") from error


def _must_be_authority(value: x509.BasicConstraints) -> None:
    if not value.ca:
        raise ValueError("a certificate that is no authority's issued another")
