"""Who is believed about a client's certificate, and what of it is read."""

from __future__ import annotations

import base64
import hashlib
from ipaddress import ip_network
from pathlib import Path

import pytest

from foundation.errors import ClientCertificateInvalid, SettingsError
from foundation.files import write_secret
from foundation.jose import encode_base64url
from foundation.proxied import CERTIFICATE, PROXY_SECRET, Proxies, is_proxy_network, secret_hash
from tests import pki

SECRET = "s" * 32
PROXIES = Proxies((ip_network("192.0.2.80"), ip_network("2001:db8::/64")), hashlib.sha256(SECRET.encode()).digest())
DER = pki.authority("Somebody").der
ITEM = f":{base64.b64encode(DER).decode()}:"


def told(peer: str | None, certificates: list[str], secrets: list[str], proxies: Proxies = PROXIES) -> str | None:
    return proxies.thumbprint(peer, {CERTIFICATE: certificates, PROXY_SECRET: secrets}.__getitem__)


@pytest.mark.parametrize("peer", ["192.0.2.80", "::ffff:192.0.2.80", "2001:db8::1"])
def test_a_proxy_tells_the_thumbprint_of_the_certificates_octets(peer: str) -> None:
    assert told(peer, [ITEM], [SECRET]) == encode_base64url(hashlib.sha256(DER).digest())


@pytest.mark.parametrize("given", [[], [""]])
def test_a_client_that_showed_none_has_none(given: list[str]) -> None:
    assert told("192.0.2.80", given, [SECRET]) is None
    assert told("198.51.100.1", [], []) is None


@pytest.mark.parametrize(
    ("peer", "secrets", "proxies"),
    [
        ("198.51.100.1", [SECRET], PROXIES),
        (None, [SECRET], PROXIES),
        ("no address", [SECRET], PROXIES),
        ("192.0.2.80", [], PROXIES),
        ("192.0.2.80", [SECRET, SECRET], PROXIES),
        ("192.0.2.80", [SECRET[:-1]], PROXIES),
        ("192.0.2.80", [""], PROXIES),
        ("192.0.2.80", [SECRET], Proxies()),
        ("192.0.2.80", [SECRET], Proxies(PROXIES.networks)),
    ],
)
def test_SES_10_nobody_else_is_believed(peer: str | None, secrets: list[str], proxies: Proxies) -> None:
    with pytest.raises(ClientCertificateInvalid):
        told(peer, [ITEM], secrets, proxies)


@pytest.mark.parametrize(
    "given",
    [
        [ITEM, ITEM],
        [ITEM[:-1]],
        [f"{ITEM}, {ITEM}"],
        [f"{ITEM};a=1"],
        ["too-long"],
        [":AB==:"],
        [f":{base64.b64encode(b'no certificate').decode()}:"],
        [f":{base64.b64encode(DER + bytes(8 * 1024)).decode()}:"],
    ],
)
def test_what_is_no_certificate_is_refused(given: list[str]) -> None:
    with pytest.raises(ClientCertificateInvalid):
        told("192.0.2.80", given, [SECRET])


def test_a_proxys_secret_has_32_octets(tmp_path: Path) -> None:
    write_secret(tmp_path / "good", SECRET.encode())
    write_secret(tmp_path / "short", SECRET[:-1].encode())
    assert secret_hash(tmp_path / "good", "a") == PROXIES.secret_sha256
    with pytest.raises(SettingsError, match="at least 32 octets"):
        secret_hash(tmp_path / "short", "a")


@pytest.mark.parametrize(
    ("text", "good"), [("10.0.0.0/8", True), ("::1", True), ("0.0.0.0/0", False), ("10.1/8", False)]
)
def test_a_network_of_proxies_leaves_somebody_out(text: str, good: bool) -> None:
    assert is_proxy_network(text) is good
