"""What stands in a certificate, what the operator takes it for, and whose it may be."""

from __future__ import annotations

import pytest
from cryptography import x509

from foundation.certificates.reading import identity as identity_of
from idp.authn.certificate import facts, mapping
from idp.authn.certificate.chain import Anchor, validate
from idp.authn.certificate.errors import CertificateRefused
from idp.authn.certificate.facts import CertificateFacts
from idp.authn.certificate.mapping import Claim, claims
from idp.authn.certificate.presented import Presented
from idp.certificate_settings import EvidenceRule
from tests import pki
from tests.pki import NOW, QC_SSCD, QC_TYPE_ESIGN, Issued, Leaf

ROOT = pki.authority("Root")
QCP_QSCD, QSSCD, ESIGN = "0.4.0.194112.1.2", "0.4.0.1862.1.4", "0.4.0.1862.1.6.1"


def facts_of(issued: Issued) -> CertificateFacts:
    return facts.of(validate(Presented(issued.certificate), [Anchor("root", ROOT.certificate)], NOW))


def test_what_stands_in_it() -> None:
    names = (pki.upn("ana@corp.example"), x509.RFC822Name("ana@mail.example"), x509.DNSName("host.example"))
    more = ((pki.statements(QC_SSCD, QC_TYPE_ESIGN), False),)
    found = facts_of(ROOT.issue(Leaf(names=names, policies=(QCP_QSCD,), more=more)))
    assert (found.anchor, found.common_name, found.serial_number) == ("root", "Ana Example", "PNOES-12345678Z")
    assert (found.upns, found.emails) == (("ana@corp.example",), ("ana@mail.example",))
    assert found.policies == {QCP_QSCD}
    assert found.statements == {QSSCD, ESIGN, facts.QC_TYPE}


def test_its_identity_is_issuer_serial_number_and_key() -> None:
    ana = ROOT.issue()
    again = pki.authority("Root").issue(Leaf(key=ana.key))
    assert identity_of(ana.certificate) == identity_of(x509.load_der_x509_certificate(ana.der))
    assert len({identity_of(item.certificate) for item in (ana, again, ROOT.issue(), ROOT)}) == 4


@pytest.mark.parametrize("body", [b"\x30\x03\x30\x01\x02", b"\x04\x00", b"\x30\x00\x00"])
def test_statements_that_cannot_be_read_are_refused(body: bytes) -> None:
    broken = x509.UnrecognizedExtension(facts.QC_STATEMENTS, body)
    with pytest.raises(CertificateRefused) as refused:
        facts_of(ROOT.issue(Leaf(more=((broken, False),))))
    assert refused.value.cause == "malformed"


def test_two_serial_numbers_are_none() -> None:
    two = x509.Name([*pki.name("Ana", serial_number="PNOES-1"), *pki.name("Ana", serial_number="PNOES-2")])
    assert facts_of(ROOT.issue(Leaf(subject=two))).serial_number is None


def test_flags_are_the_operators_words_for_policies_and_statements() -> None:
    card = EvidenceRule(policies=(QCP_QSCD, "1.2.3"), statements=(QSSCD,), flags=("attested", "user_verified"))
    named = EvidenceRule(policies=(QCP_QSCD,), attestation="qscd")
    with_both = facts_of(ROOT.issue(Leaf(policies=(QCP_QSCD,), more=((pki.statements(QC_SSCD), False),))))
    only_policy = facts_of(ROOT.issue(Leaf(policies=(QCP_QSCD,))))
    only_statement = facts_of(ROOT.issue(Leaf(more=((pki.statements(QC_SSCD), False),))))
    assert facts.assurance(with_both, ()) == (frozenset(), None), "without a rule a certificate claims nothing"
    assert facts.assurance(with_both, (card, named)) == (frozenset({"attested", "user_verified"}), "qscd")
    assert facts.assurance(only_policy, (card, named)) == (frozenset(), "qscd")
    assert facts.assurance(only_statement, (card, named)) == (frozenset(), None)


def test_only_what_the_anchor_allows_names_an_account() -> None:
    names = (pki.upn("Ana@corp.example"), x509.RFC822Name("ana@mail.example"))
    found = facts_of(ROOT.issue(Leaf(names=names)))
    assert claims(found, ()) == ()
    assert claims(found, ("serial_number",)) == (Claim("serial_number", "PNOES-12345678Z"),)
    assert claims(found, ("upn",)) == (Claim("username", "ana@corp.example"),)
    both = (Claim("username", "ana@mail.example"), Claim("username", "ana@corp.example"))
    assert claims(found, ("email", "upn")) == both


@pytest.mark.parametrize(
    ("number", "names_somebody"),
    [
        ("PNOES-12345678Z", True),
        ("IDCBE-592123456789", True),
        ("EI:SE-2000072923", True),
        ("12345678Z", False),
        ("PNOes-12345678Z", False),
        ("PNOES-", False),
        ("PNOES-1 2", False),
        ("VATES-12345678", False),
    ],
)
def test_a_bare_number_names_nobody(number: str, names_somebody: bool) -> None:
    found = facts_of(ROOT.issue(Leaf(subject=pki.name("Ana", serial_number=number))))
    assert bool(claims(found, ("serial_number",))) is names_somebody


@pytest.mark.parametrize("text", ["", " ana", "ana\0", "аna@corp.example", "a" * 257])
def test_a_name_that_no_account_has_names_nobody(text: str) -> None:
    assert not mapping._usable(text)
