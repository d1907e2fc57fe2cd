"""Settings of certificates that are refused, all at once and by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foundation.errors import SecretFileError, SettingsError
from foundation.files import write_secret
from foundation.settings import from_table
from idp.certificate_settings import CertificateSettings
from tests import pki
from tests.fakes.idp import make_idp

ROOT = pki.authority("Root")


def table(**other: Any) -> dict[str, Any]:
    return {"origin": "https://cert.idp.example", "anchors": {"root": {"file": "root.pem"}}, **other}


def anchor(**other: Any) -> dict[str, Any]:
    return table(anchors={"root": {"file": "root.pem", **other}})


def faults_of(given: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as refused:
        from_table(CertificateSettings, given, base=Path("/etc/privyseal"), prefix="IDP")
    return "\n".join(refused.value.faults)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (table(origin="https://cert.idp.example/"), "origin is an origin"),
        (table(anchors={}), "anchors names at least one"),
        (table(anchors={"Root CA": {"file": "root.pem"}}), "anchors: 'Root CA'"),
        (table(timeout_seconds=20), "timeout_seconds"),
        (table(cache_seconds=100_000), "cache_seconds"),
        (table(max_age_seconds=1), "max_age_seconds"),
        (table(max_crl_octets=1), "max_crl_octets"),
        (table(handover_seconds=1), "handover_seconds"),
        (table(revocation="never"), "revocation must be one of"),
        (anchor(policies=["1.2.x"]), "anchors.root.policies: '1.2.x' is no object identifier"),
        (anchor(match=["common_name"]), "anchors.root.match.0 must be one of"),
        (anchor(match=["upn", "upn"]), "anchors.root.match names an attribute twice"),
        (anchor(evidence=[{"flags": ["attested"]}]), "evidence.0: names at least one policy or statement"),
        (anchor(evidence=[{"policies": ["1.2.3"]}]), "evidence.0: gives at least one flag"),
        (anchor(evidence=[{"policies": ["1.2.3"], "flags": ["backup_eligible"]}]), "evidence.0: flags: 'backup_"),
        (anchor(evidence=[{"policies": ["1.2.3"], "attestation": "a b"}]), "evidence.0: attestation"),
        (anchor(trusted=True), "anchors.root.trusted is not a setting"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], words: str) -> None:
    assert words in faults_of(given)


@pytest.mark.parametrize("origin", ["https://idp.example:8443", "https://cert.idp.example", "https://a.b.idp.example"])
def test_certificates_are_presented_on_the_issuers_host_or_below(origin: str) -> None:
    made = from_table(CertificateSettings, table(origin=origin), base=Path("/"), prefix="IDP")
    assert list(made.faults_beside("https://idp.example", production=True)) == []


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("https://idp.example", "not the issuer's own"),
        ("https://cert.example", "on the issuer's host"),
        ("https://evilidp.example", "on the issuer's host"),
        ("http://cert.idp.example", "must be https"),
    ],
)
def test_elsewhere_or_in_clear_they_are_not(origin: str, words: str) -> None:
    made = from_table(CertificateSettings, table(origin=origin), base=Path("/"), prefix="IDP")
    assert words in "\n".join(made.faults_beside("https://idp.example", production=True))


def test_production_demands_that_revocation_is_known() -> None:
    made = from_table(CertificateSettings, table(revocation="if_available"), base=Path("/"), prefix="IDP")
    assert list(made.faults_beside("https://idp.example", production=False)) == []
    assert "revocation must be required" in "\n".join(made.faults_beside("https://idp.example", production=True))


def test_files_that_hold_no_authority_are_all_named_when_the_server_starts(tmp_path: Path) -> None:
    (tmp_path / "two.pem").write_bytes(ROOT.pem + ROOT.pem)
    (tmp_path / "person.pem").write_bytes(ROOT.issue().pem)
    (tmp_path / "text.pem").write_text("no certificate")
    write_secret(tmp_path / "short", b"short")
    files = {name: {"file": f"{name}.pem"} for name in ("two", "person", "text", "none")}
    given = table(origin="http://cert.idp.localhost:8403", anchors=files, proxy_secret_file="short")
    made = from_table(CertificateSettings, given, base=tmp_path, prefix="IDP")
    with pytest.raises(SettingsError) as refused:
        make_idp(tmp_path, certificate=made)
    faults = "\n".join(refused.value.faults)
    for words in (
        "anchors.two.file", "more than one certificate", "anchors.person", "no authority's certificate",
        "anchors.text.file", "holds no certificate", "anchors.none.file", "cannot be read", "at least 32 octets",
    ):  # fmt: skip
        assert words in faults


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(ROOT.pem)
    (tmp_path / "secret").write_bytes(b"s" * 32)
    (tmp_path / "secret").chmod(0o644)
    given = table(origin="http://cert.idp.localhost:8403", proxy_secret_file="secret")
    with pytest.raises(SecretFileError):
        make_idp(tmp_path, certificate=from_table(CertificateSettings, given, base=tmp_path, prefix="IDP"))
