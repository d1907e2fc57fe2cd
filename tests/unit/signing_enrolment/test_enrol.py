"""Enrolment: the walk over the module and the authority, and what a failure in the middle leaves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from connectors.ports.pki import CertificateRequest, IssuedCertificate, PkiUnavailable
from contract.order import SubjectClaim
from signing.enrolment.enrol import enrol
from signing.link.errors import LinkRefused
from signing.link.messages import CreatedCredential, CredentialView

PENDING = CredentialView(
    "cred-1", "alice", "pending", "personal", "EC", 256, "1.2.840.10045.3.1.7", ("ecdsa",), (), "2", None, 1, 0
)
SUBJECT = SubjectClaim("Alice Example", "Alice", "Example", "PNOBE-1", "BE")


@dataclass
class PlayedModule:
    refusal: LinkRefused | None = None
    made: CredentialView = PENDING
    orders: list[str] = field(default_factory=list)
    linked: list[tuple[str, tuple[bytes, ...]]] = field(default_factory=list)

    def create_credential(self, order: str) -> CreatedCredential:
        if self.refusal:
            raise self.refusal
        self.orders.append(order)
        return CreatedCredential(self.made, b"request", SUBJECT)

    def link_certificate(self, credential_id: str, chain: tuple[bytes, ...]) -> CredentialView:
        self.linked.append((credential_id, chain))
        return replace(PENDING, status="active", certificates=chain)


@dataclass
class PlayedAuthority:
    failures: int = 0
    asked: list[CertificateRequest] = field(default_factory=list)

    def issue(self, request: CertificateRequest) -> IssuedCertificate:
        self.asked.append(request)
        if len(self.asked) <= self.failures:
            raise PkiUnavailable("later")
        return IssuedCertificate((b"leaf", b"issuing"))

    def revoke(self, certificate: bytes, reason: str) -> None:
        raise AssertionError("nothing is revoked here")


def test_the_order_becomes_an_active_credential_for_the_ordered_person() -> None:
    module, authority = PlayedModule(), PlayedAuthority()
    view = enrol("order", sam=module, authority=authority, profile="signer")
    assert (view.status, view.certificates) == ("active", (b"leaf", b"issuing"))
    (request,) = authority.asked
    assert (request.pkcs10, request.subject.common_name, request.profile) == (b"request", "Alice Example", "signer")
    assert module.linked == [("cred-1", (b"leaf", b"issuing"))]


def test_PKI_04_a_repeated_order_asks_with_the_same_idempotency_key() -> None:
    module, authority = PlayedModule(), PlayedAuthority(failures=1)
    with pytest.raises(PkiUnavailable):
        enrol("order", sam=module, authority=authority, profile="signer")
    assert module.linked == []
    enrol("order", sam=module, authority=authority, profile="signer")
    assert authority.asked[0] == authority.asked[1]
    assert authority.asked[0].idempotency_key == "cred-1"


def test_an_order_that_the_module_refuses_asks_nobody_for_a_certificate() -> None:
    authority = PlayedAuthority()
    with pytest.raises(LinkRefused):
        enrol("order", sam=PlayedModule(LinkRefused("invalid_order")), authority=authority, profile="signer")
    assert authority.asked == []


def test_an_order_that_was_carried_out_shows_its_credential_and_asks_nobody() -> None:
    active, authority = replace(PENDING, status="active", certificates=(b"leaf",)), PlayedAuthority()
    module = PlayedModule(made=active)
    assert enrol("order", sam=module, authority=authority, profile="signer") == active
    assert (authority.asked, module.linked) == ([], [])
