"""RFC 5280, clause 6: paths to the operator's anchors, and the person's certificate at their end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from asn1crypto import keys
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from idp.authn.certificate.chain import Anchor, ValidPath, validate
from idp.authn.certificate.errors import CertificateRefused
from idp.authn.certificate.presented import Presented
from tests import pki
from tests.pki import DAY, NOW, Issued, Leaf

NCP, QCP = "0.4.0.2042.1.2", "0.4.0.194112.1.2"
ROOT = pki.authority("Root")
ISSUING = ROOT.authority("Issuing", pki.policies(NCP, QCP), path_length=0)
ANCHOR = Anchor("root", ROOT.certificate, (ISSUING.certificate,))


def path_of(issued: Issued, *anchors: Anchor, chain: tuple[x509.Certificate, ...] = ()) -> ValidPath:
    return validate(Presented(issued.certificate, chain), anchors or (ANCHOR,), NOW)


def cause_of(issued: Issued, *anchors: Anchor, chain: tuple[x509.Certificate, ...] = ()) -> str:
    with pytest.raises(CertificateRefused) as refused:
        path_of(issued, *anchors, chain=chain)
    return refused.value.cause


def test_a_path_leads_over_the_operators_intermediates_or_those_presented() -> None:
    ana = ISSUING.issue(Leaf(policies=(NCP, "1.2.3.4")))
    for found in (path_of(ana), path_of(ana, Anchor("root", ROOT.certificate), chain=(ISSUING.certificate,))):
        assert found.certificates == (ana.certificate, ISSUING.certificate)
        assert found.steps[-1] == (ISSUING.certificate, ROOT.certificate)
        assert found.policies == {NCP}, "a policy that the authority above may not issue under counts for nothing"
    assert cause_of(ana, Anchor("root", ROOT.certificate)) == "unknown_issuer"


def test_the_first_anchor_that_a_path_leads_to_is_taken() -> None:
    other = Anchor("other", pki.authority("Other").certificate)
    assert path_of(ISSUING.issue(), other, ANCHOR).anchor is ANCHOR


def with_sha1(issued: Issued) -> Issued:
    """The same certificate, signed as nobody's library signs any more."""
    loaded = asn1.Certificate.load(issued.der)
    for algorithm in (loaded["tbs_certificate"]["signature"], loaded["signature_algorithm"]):
        algorithm["algorithm"] = "sha1_ecdsa"
    signature = ISSUING.key.sign(loaded["tbs_certificate"].dump(force=True), ec.ECDSA(hashes.SHA1()))  # type: ignore[call-arg, arg-type] # an EC key
    loaded["signature_value"] = signature
    return Issued(x509.load_der_x509_certificate(loaded.dump(force=True)), issued.key)


def as_authority(person: Issued) -> pki.Authority:
    return pki.Authority(person.certificate, person.key)


CASES: dict[str, tuple[Callable[[], Issued], str]] = {
    "expired": (lambda: ISSUING.issue(Leaf(end=NOW - timedelta(seconds=1))), "expired"),
    "not yet": (lambda: ISSUING.issue(Leaf(begin=NOW + timedelta(seconds=1))), "not_yet_valid"),
    "an authority of the same name with another key": (lambda: pki.authority("Issuing").issue(), "path"),
    "another authority's": (lambda: pki.authority("Other").issue(), "unknown_issuer"),
    "no authority's": (lambda: pki.authority("Self"), "usage"),
    "signed with SHA-1": (lambda: with_sha1(ISSUING.issue()), "algorithm"),
    "RSA 1024": (lambda: ISSUING.issue(Leaf(key=rsa.generate_private_key(65537, 1024))), "algorithm"),
    "P-192": (lambda: ISSUING.issue(Leaf(key=ec.generate_private_key(ec.SECP192R1()))), "algorithm"),
    "for signatures of documents": (lambda: ISSUING.issue(Leaf(uses=("content_commitment",))), "usage"),
    "without key usage": (lambda: ISSUING.issue(Leaf(uses=())), "usage"),
    "for servers": (lambda: ISSUING.issue(Leaf(extended=(ExtendedKeyUsageOID.SERVER_AUTH,))), "usage"),
    "for anything": (lambda: ISSUING.issue(Leaf(extended=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,))), "usage"),
    "an authority below one that may have none": (lambda: ISSUING.authority("Deep").issue(), "unknown_issuer"),
    "issued by a person": (
        lambda: as_authority(ISSUING.issue()).issue(),
        "unknown_issuer",
    ),
    "an unknown critical extension": (
        lambda: ISSUING.issue(Leaf(more=((x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4.5"), b"\5\0"), True),))),
        "path",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_hold_is_refused_with_its_cause(case: str) -> None:
    make, cause = CASES[case]
    assert cause_of(make()) == cause


def test_authorities_that_a_stranger_presents_lead_nowhere() -> None:
    deep = ISSUING.authority("Deep")
    assert cause_of(deep.issue(), chain=(deep.certificate,)) == "path", "ISSUING may have no authority below it"
    ana = ISSUING.issue()
    assert cause_of(as_authority(ana).issue(), chain=(ana.certificate,)) == "path", "a person is no authority"
    other = pki.authority("Other")
    assert cause_of(other.issue(), chain=(other.certificate,)) == "unknown_issuer", "a root that came along is none"


def copy_with(issued: Issued, key: ec.EllipticCurvePrivateKey) -> Issued:
    """Issuer, serial number and signature are the real one's; the key is another."""
    loaded = asn1.Certificate.load(issued.der)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    loaded["tbs_certificate"]["subject_public_key_info"] = keys.PublicKeyInfo.load(public)
    return Issued(x509.load_der_x509_certificate(loaded.dump(force=True)), key)


def test_PKI_02_copies_of_certificates_that_hold_another_key_lead_nowhere() -> None:
    """Caches of libraries have taken such a copy for the real one."""
    key = ec.generate_private_key(ec.SECP256R1())
    ana, issuing, root = ISSUING.issue(), copy_with(ISSUING, key), copy_with(ROOT, key)
    bare = Anchor("root", ROOT.certificate)
    assert path_of(ana, bare, chain=(ISSUING.certificate,)).anchor is bare
    assert cause_of(copy_with(ana, key)) == "path"
    for chain in ((issuing.certificate,), (issuing.certificate, ISSUING.certificate), (root.certificate,)):
        forged = as_authority(root if chain[0] == root.certificate else issuing).issue()
        for anchor in (ANCHOR, bare):
            assert cause_of(forged, anchor, chain=(*chain, ana.certificate)) in {"path", "unknown_issuer"}


def test_extended_key_usage_may_be_absent() -> None:
    path_of(ISSUING.issue(Leaf(extended=None)))


def test_the_second_of_expiry_is_still_valid_and_the_first_of_validity_already() -> None:
    path_of(ISSUING.issue(Leaf(begin=NOW, end=NOW)))


@pytest.mark.parametrize(("has", "cause"), [((QCP,), None), ((NCP,), "policy"), ((), "policy"), (("1.2.3",), "policy")])
def test_a_policy_that_the_anchor_demands_is_valid_along_the_path(has: tuple[str, ...], cause: str | None) -> None:
    anchor = Anchor("root", ROOT.certificate, (ISSUING.certificate,), frozenset({QCP}))
    issued = ISSUING.issue(Leaf(policies=has))
    if cause is None:
        assert path_of(issued, anchor).policies == {QCP}
    else:
        assert cause_of(issued, anchor) == cause


@pytest.mark.parametrize(("address", "holds"), [("ana@in.example", True), ("ana@out.example", False)])
def test_name_constraints_hold(address: str, holds: bool) -> None:
    constraints = x509.NameConstraints([x509.RFC822Name("in.example")], None)
    below = ROOT.authority("Constrained", constraints)
    issued = below.issue(Leaf(names=(x509.RFC822Name(address),)))
    if holds:
        path_of(issued, chain=(below.certificate,))
    else:
        assert cause_of(issued, chain=(below.certificate,)) == "path"


def test_an_anchor_with_a_weak_key_vouches_for_nobody() -> None:
    weak = pki.authority("Weak", key=rsa.generate_private_key(65537, 1024))
    assert cause_of(weak.issue(), Anchor("weak", weak.certificate)) == "algorithm"


def test_an_expired_authority_on_the_path_is_told_apart_from_an_unknown_one() -> None:
    later = NOW + 4000 * DAY
    with pytest.raises(CertificateRefused) as refused:
        validate(Presented(ISSUING.issue(Leaf(end=later + DAY)).certificate), [ANCHOR], later)
    assert refused.value.cause == "expired"
