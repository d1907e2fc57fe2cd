"""RFC 9440: what a proxy hands on, and what is refused of it."""

from __future__ import annotations

import base64

import pytest

from foundation.proxied import MAX_CERTIFICATE_OCTETS
from idp.authn.certificate.errors import CertificateRefused
from idp.authn.certificate.presented import MAX_CHAIN, from_headers
from tests import pki

ROOT = pki.authority("Root")
ANA = ROOT.issue()


def item(der: bytes) -> str:
    return f":{base64.b64encode(der).decode()}:"


def test_a_certificate_and_its_chain_are_read() -> None:
    found = from_headers([item(ANA.der)], [f"{item(ROOT.der)},\t{item(ROOT.der)}"])
    assert found is not None
    assert found.der == ANA.der
    assert found.chain == (ROOT.certificate, ROOT.certificate)


def test_no_header_and_an_empty_one_mean_that_nothing_was_presented() -> None:
    assert from_headers([], []) is None
    assert from_headers([""], [""]) is None


@pytest.mark.parametrize(
    ("certificate", "chain"),
    [
        ([item(ANA.der)] * 2, []),
        ([item(ANA.der)], [item(ROOT.der)] * 2),
        ([f"{item(ANA.der)}, {item(ANA.der)}"], []),
        ([], [item(ROOT.der)]),
        ([item(ANA.der) + ";a=1"], []),
        ([" " + item(ANA.der)], []),
        ([item(ANA.der) + "\n"], []),
        ([base64.b64encode(ANA.der).decode()], []),
        ([ANA.pem.decode()], []),
        ([item(ANA.der).replace("=", "") if "=" in item(ANA.der) else item(ANA.der)[:-1] + "=:"], []),
        ([":A:"], []),
        ([":QQF=:"], []),
        (["::"], []),
        ([item(b"\x30" * (MAX_CERTIFICATE_OCTETS + 1))], []),
        ([item(ANA.der)], [", ".join([item(ROOT.der)] * (MAX_CHAIN + 1))]),
        ([item(ANA.der)], [item(ROOT.der) + ","]),
        ([item(ANA.der + b"\0")], []),
        ([item(ANA.der[:-1])], []),
        ([item(b"\x30\x00")], []),
    ],
)
def test_what_is_not_of_the_form_is_refused(certificate: list[str], chain: list[str]) -> None:
    with pytest.raises(CertificateRefused) as refused:
        from_headers(certificate, chain)
    assert refused.value.cause == "malformed"
