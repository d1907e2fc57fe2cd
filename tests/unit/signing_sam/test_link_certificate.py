"""KEY-14: the certificate that is linked is the one for this key and this person, from a pinned anchor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from signing.sam import errors
from signing.sam.credential import Credential
from tests.fakes.sam import NOW, Authority, World, key_usage


def named(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


ALICE_NAME = (
    (NameOID.COUNTRY_NAME, "BE"),
    (NameOID.COMMON_NAME, "Alice Example"),
    (NameOID.GIVEN_NAME, "Alice"),
    (NameOID.SURNAME, "Example"),
    (NameOID.SERIAL_NUMBER, "PNOBE-85073003328"),
)


@pytest.fixture
def pending(world: World) -> Credential:
    return world.lifecycle().create(world.order_token())


def link(world: World, pending: Credential, *chain: bytes) -> Credential:
    return world.lifecycle().link(pending.id, chain)


def test_the_right_certificate_makes_the_credential_active(world: World, pending: Credential) -> None:
    certificate = world.authority.issue(pending.request)
    active = link(world, pending, certificate)
    assert (active.status, active.certificates, active.version) == ("active", (certificate,), 2)
    assert link(world, pending, certificate) == active


def test_another_certificate_for_an_active_credential_is_refused(world: World, pending: Credential) -> None:
    link(world, pending, world.authority.issue(pending.request))
    with pytest.raises(errors.CredentialDisabled):
        link(world, pending, world.authority.issue(pending.request))


def test_the_anchor_may_stand_at_the_end(world: World, pending: Credential) -> None:
    anchor = world.authority.certificate.public_bytes(Encoding.DER)
    assert len(link(world, pending, world.authority.issue(pending.request), anchor).certificates) == 2


def test_a_subject_in_another_order_is_the_same(world: World, pending: Credential) -> None:
    certificate = world.authority.issue(pending.request, subject=named(*reversed(ALICE_NAME)))
    assert link(world, pending, certificate).status == "active"


OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
FOREIGN = Authority(name="Foreign Root")
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("another key", {"key": OTHER_KEY.public_key()}),
    ("another person", {"subject": named((NameOID.COMMON_NAME, "Mallory"))}),
    ("one attribute fewer", {"subject": named(*ALICE_NAME[:-1])}),
    ("one attribute more", {"subject": named(*ALICE_NAME, (NameOID.ORGANIZATION_NAME, "Example"))}),
    ("a CA's", {"is_ca": True}),
    ("for encryption", {"usage": key_usage(key_encipherment=True)}),
    ("without key usage", {"usage": None}),
    ("for certificates", {"usage": key_usage(digital_signature=True, key_cert_sign=True)}),
    ("not yet valid", {"not_before": NOW + timedelta(seconds=1)}),
    ("expired", {"not_after": NOW - timedelta(seconds=1)}),
    ("signed by another key", {"signed_by": OTHER_KEY}),
    ("of a foreign root", {"signed_by": FOREIGN.key, "issuer": FOREIGN.name}),
    ("with SHA-224", {"hash": hashes.SHA224()}),
    (
        "with a critical extension that nobody understands",
        {"extensions": (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),)},
    ),
    (
        "with an extension that cannot be read",
        {"usage": None, "extensions": (x509.UnrecognizedExtension(x509.KeyUsage.oid, b"\x04\x00"),)},
    ),
    (
        "critically for other purposes",
        {
            "extensions": (
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.OCSP_SIGNING]),
            )
        },
    ),
    (
        "with critical name constraints",
        {"extensions": (x509.NameConstraints([x509.DNSName("example.org")], None),)},
    ),
]


@pytest.mark.parametrize(("reason", "change"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_certificate_with_one_thing_wrong_is_refused(
    world: World, pending: Credential, reason: str, change: dict[str, Any]
) -> None:
    with pytest.raises(errors.CertificateRefused):
        link(world, pending, world.authority.issue(pending.request, **change))
    assert world.lifecycle().credential(pending.id).status == "pending", reason


@pytest.mark.parametrize("purpose", ["1.3.6.1.5.5.7.3.36", "1.3.6.1.5.5.7.3.4", "2.5.29.37.0"])
def test_a_certificate_that_is_for_documents_among_others_is_linked(
    world: World, pending: Credential, purpose: str
) -> None:
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, x509.ObjectIdentifier(purpose)])
    assert link(world, pending, world.authority.issue(pending.request, extensions=(usage,))).status == "active"


UNREADABLE: list[tuple[str, str, str, tuple[x509.ExtensionType, ...]]] = [
    ("a key of a kind that nobody knows", "06072a8648ce3d0201", "06072a8648ce3d0207", ()),
    ("a curve that nobody knows", "06082a8648ce3d030107", "06082a8648ce3d030177", ()),
    ("a signature of a kind that nobody knows", "06082a8648ce3d040302", "06082a8648ce3d040339", ()),
    (
        "an extension twice",
        "0603551d63",
        "0603551d13",
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x30\x00"),),
    ),
    (
        "a general name of a kind that nobody knows",
        "0603551d63",
        "0603551d11",
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), bytes.fromhex("3004a3020500")),),
    ),
    ("a version that nobody knows", "a003020102", "a003020107", ()),
]


@pytest.mark.parametrize(("reason", "old", "new", "extensions"), UNREADABLE, ids=[case[0] for case in UNREADABLE])
def test_KEY_14_a_certificate_that_the_library_cannot_read_is_refused_and_not_a_crash(
    world: World, pending: Credential, reason: str, old: str, new: str, extensions: tuple[x509.ExtensionType, ...]
) -> None:
    good = world.authority.issue(pending.request, extensions=extensions)
    spoilt = good.replace(bytes.fromhex(old), bytes.fromhex(new))
    assert spoilt != good
    for chain in ((spoilt,), (spoilt, world.authority.certificate.public_bytes(Encoding.DER)), (good, spoilt)):
        with pytest.raises(errors.CertificateRefused):
            link(world, pending, *chain)
    assert world.lifecycle().credential(pending.id).status == "pending", reason


@pytest.mark.parametrize("chain", [(), (b"no certificate",), (b"",) * 9])
def test_what_is_no_chain_is_refused(world: World, pending: Credential, chain: tuple[bytes, ...]) -> None:
    with pytest.raises(errors.CertificateRefused):
        link(world, pending, *chain)


@dataclass
class Intermediate:
    """A CA below the root, and a signer's certificate below it."""

    world: World
    pending: Credential

    def chain(self, **changes: Any) -> list[bytes]:
        key: Any = changes.get("ca_key", ec.generate_private_key(ec.SECP256R1()))
        name = named((NameOID.COMMON_NAME, "Example Test Intermediate"))
        root = self.world.authority
        builder = root._builder(name, key.public_key(), **changes.get("ca", {}))
        if constraints := changes.get("constraints", x509.BasicConstraints(ca=True, path_length=0)):
            builder = builder.add_extension(constraints, True)
        if usage := changes.get("ca_usage", key_usage(key_cert_sign=True)):
            builder = builder.add_extension(usage, True)
        ca = builder.sign(root.key, hashes.SHA256())
        hashing = None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()
        signer = root.issue(self.pending.request, signed_by=key, issuer=name, hash=hashing)
        return [signer, ca.public_bytes(Encoding.DER)]


@pytest.fixture
def below(world: World, pending: Credential) -> Intermediate:
    return Intermediate(world, pending)


@pytest.mark.parametrize(
    "changes", [{}, {"ca_usage": None}, {"ca_key": ed25519.Ed25519PrivateKey.generate()}], ids=["", "no usage", "EdDSA"]
)
def test_a_path_over_an_intermediate_is_followed(
    world: World, pending: Credential, below: Intermediate, changes: dict[str, Any]
) -> None:
    assert link(world, pending, *below.chain(**changes)).status == "active"


PATH_REFUSED: list[tuple[str, Callable[[Intermediate], list[bytes]]]] = [
    ("the intermediate left out", lambda below: below.chain()[:1]),
    ("the wrong way round", lambda below: below.chain()[::-1]),
    (
        "an issuer that is no CA",
        lambda below: below.chain(constraints=x509.BasicConstraints(ca=False, path_length=None)),
    ),
    ("an issuer without constraints", lambda below: below.chain(constraints=None)),
    ("an issuer that may not sign certificates", lambda below: below.chain(ca_usage=key_usage(crl_sign=True))),
    ("an issuer that has expired", lambda below: below.chain(ca={"not_after": NOW - timedelta(seconds=1)})),
    ("an issuer's key of another kind", lambda below: below.chain(ca_key=ed448.Ed448PrivateKey.generate())),
    ("an issuer that did not issue it", lambda below: [below.chain()[0], below.chain()[1]]),
]


@pytest.mark.parametrize(("reason", "chain"), PATH_REFUSED, ids=[case[0] for case in PATH_REFUSED])
def test_a_path_with_one_thing_wrong_is_refused(
    world: World, pending: Credential, below: Intermediate, reason: str, chain: Callable[[Intermediate], list[bytes]]
) -> None:
    with pytest.raises(errors.CertificateRefused):
        link(world, pending, *chain(below))
    assert world.lifecycle().credential(pending.id).status == "pending", reason


def test_a_path_longer_than_an_issuer_allows_is_refused(world: World, pending: Credential) -> None:
    root = Authority(name="Short Root")
    root.certificate = root.ca(root.name, root.key.public_key(), path_length=0)
    world.authority = root
    with pytest.raises(errors.CertificateRefused, match="longer"):
        link(world, pending, *Intermediate(world, pending).chain())


@pytest.mark.parametrize("given", [True, False], ids=["given", "left out"])
@pytest.mark.parametrize(
    "life",
    [{"not_after": NOW - timedelta(seconds=1)}, {"not_before": NOW + timedelta(seconds=1)}],
    ids=["expired", "not yet valid"],
)
def test_an_anchor_that_is_not_valid_now_is_refused(
    world: World, pending: Credential, life: dict[str, Any], *, given: bool
) -> None:
    root = world.authority
    root.certificate = root.ca(root.name, root.key.public_key(), **life)
    chain = [root.issue(pending.request), root.certificate.public_bytes(Encoding.DER)]
    with pytest.raises(errors.CertificateRefused, match="not valid at this time"):
        link(world, pending, *chain[: 2 if given else 1])


def test_KEY_14_a_certificate_is_not_its_own_anchor(world: World, pending: Credential) -> None:
    """The operator pinned issuers: a signer's certificate among them has still to be issued by one."""
    alone = world.authority.issue(pending.request, signed_by=FOREIGN.key, issuer=FOREIGN.name)
    lifecycle = world.lifecycle(anchors=[x509.load_der_x509_certificate(alone)])
    with pytest.raises(errors.CertificateRefused, match="pinned anchor"):
        lifecycle.link(pending.id, [alone])


def test_an_issuer_for_other_purposes_is_refused(world: World, pending: Credential) -> None:
    root = world.authority
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    builder = root._builder(root.name, root.key.public_key()).add_extension(usage, False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    root.certificate = builder.sign(root.key, hashes.SHA256())
    with pytest.raises(errors.CertificateRefused, match="extended key usage"):
        link(world, pending, root.issue(pending.request))
