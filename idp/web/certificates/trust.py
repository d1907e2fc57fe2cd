"""The operator's trust anchors, read once, and what they make of a certificate that is presented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

from cryptography import x509
from flask import Flask, current_app

from foundation.certificates.reading import extension_of
from foundation.clock import from_epoch
from foundation.egress import Egress
from foundation.errors import SettingsError
from foundation.proxied import secret_hash
from idp.authn.certificate import chain
from idp.authn.certificate import facts as certificate_facts
from idp.authn.certificate.chain import Anchor
from idp.authn.certificate.facts import CertificateFacts
from idp.authn.certificate.presented import Presented
from idp.certificate_settings import AnchorSettings, CertificateSettings
from idp.web.certificates.revocation import RevocationChecker
from idp.web.services import Services

_EXTENSION: Final = "privyseal.certificates"
_MAX_FILE_OCTETS: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trust:
    """Everything that certificate authentication stands on."""

    settings: CertificateSettings
    anchors: tuple[Anchor, ...]
    revocation: RevocationChecker
    proxy_secret_sha256: bytes | None

    def accept(self, presented: Presented, services: Services) -> CertificateFacts:
        """What a certificate says whose path holds and that nobody revoked.

        :raises CertificateRefused: with the cause.
        """
        path = chain.validate(presented, self.anchors, services.clock.now())
        found = certificate_facts.of(path)
        self.revocation.check(path)
        return found

    def assurance(self, facts: CertificateFacts) -> tuple[frozenset[str], str | None]:
        """The flags and the attestation that the operator takes a certificate for."""
        anchor = self.settings.anchors.get(facts.anchor)
        return certificate_facts.assurance(facts, () if anchor is None else anchor.evidence)


def install(app: Flask, services: Services, settings: CertificateSettings) -> None:
    """Read anchors and the proxy's secret.

    :raises SettingsError: a file holds no certificate, or not what it has to; all of them are named.
    :raises SecretFileError: the secret's file cannot be used.
    """
    faults: list[str] = []
    anchors = tuple(_anchor(name, item, faults) for name, item in sorted(settings.anchors.items()))
    secret: bytes | None = None
    if settings.proxy_secret_file is not None:
        try:
            secret = secret_hash(settings.proxy_secret_file, "certificate.proxy_secret_file")
        except SettingsError as error:
            faults += error.faults
    if faults:
        raise SettingsError(tuple(faults))
    egress = Egress(services.settings.egress_allow, plain=True)
    app.extensions[_EXTENSION] = Trust(
        settings,
        tuple(item for item in anchors if item is not None),
        RevocationChecker(settings, egress, services.clock, services.random),
        secret,
    )


def trust() -> Trust | None:
    """What the current app believes; None: certificates are not asked for here."""
    return cast("Trust | None", current_app.extensions.get(_EXTENSION))


def of(app: Flask) -> Trust:
    """What an app believes that asks for certificates."""
    return cast("Trust", app.extensions[_EXTENSION])


def facts_to_json(facts: CertificateFacts) -> dict[str, Any]:
    """A JSON object from which :func:`facts_from_json` makes the same facts."""
    found = asdict(facts)
    return found | {
        "not_after": int(facts.not_after.timestamp()),
        "policies": sorted(facts.policies),
        "statements": sorted(facts.statements),
        "upns": list(facts.upns),
        "emails": list(facts.emails),
    }


def facts_from_json(value: Mapping[str, Any]) -> CertificateFacts:
    """The facts that :func:`facts_to_json` wrote; not for input from outside."""
    fields = dict(value)
    fields["not_after"] = from_epoch(value["not_after"])
    for name in ("policies", "statements"):
        fields[name] = frozenset(value[name])
    for name in ("upns", "emails"):
        fields[name] = tuple(value[name])
    return CertificateFacts(**fields)


def _anchor(name: str, settings: AnchorSettings, faults: list[str]) -> Anchor | None:
    where = f"certificate.anchors.{name}"
    own = _certificates(settings.file, f"{where}.file", faults)
    if len(own) > 1:
        faults.append(f"{where}.file: {settings.file}: more than one certificate; others belong into intermediates")
    between = [
        item
        for number, path in enumerate(settings.intermediates)
        for item in _certificates(path, f"{where}.intermediates.{number}", faults)
    ]
    for certificate in (*own, *between):
        basic = extension_of(certificate.extensions, x509.BasicConstraints)
        if basic is None or not basic.ca:
            faults.append(f"{where}: {certificate.subject.rfc4514_string()} is no authority's certificate")
    return Anchor(name, own[0], tuple(between), frozenset(settings.policies)) if own else None


def _certificates(path: Path, where: str, faults: list[str]) -> list[x509.Certificate]:
    try:
        data = path.read_bytes()
        if len(data) > _MAX_FILE_OCTETS:
            raise ValueError("too large")
        return x509.load_pem_x509_certificates(data)
    except OSError as error:
        faults.append(f"{where}: {path}: cannot be read ({error.strerror})")
    except ValueError:
        faults.append(f"{where}: {path}: holds no certificate in PEM, or one that cannot be read")
    return []
