"""The end of an enrolment: whose certificate is revoked, and whose is not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from connectors.ports.pki import CertificateRequest, IssuedCertificate, PkiUnavailable
from signing.enrolment.errors import StillInUse
from signing.enrolment.retire import REASON, revoke_certificate
from signing.link.messages import Status
from tests.unit.signing_enrolment.test_enrol import PENDING

CHAIN = (b"leaf", b"issuing")


@dataclass
class PlayedAuthority:
    failures: int = 0
    revoked: list[tuple[bytes, str]] = field(default_factory=list)

    def issue(self, request: CertificateRequest) -> IssuedCertificate:
        raise AssertionError("nothing is issued here")

    def revoke(self, certificate: bytes, reason: str) -> None:
        if self.failures:
            self.failures -= 1
            raise PkiUnavailable("later")
        self.revoked.append((certificate, reason))


@pytest.mark.parametrize("status", ["revoked", "deleted"])
def test_the_persons_own_certificate_of_an_ended_credential_is_revoked(status: Status) -> None:
    authority = PlayedAuthority()
    revoke_certificate(replace(PENDING, status=status, certificates=CHAIN), authority=authority)
    assert authority.revoked == [(b"leaf", REASON)]


@pytest.mark.parametrize("status", ["pending", "active", "suspended"])
def test_a_key_that_may_sign_again_keeps_its_certificate(status: Status) -> None:
    authority = PlayedAuthority()
    with pytest.raises(StillInUse):
        revoke_certificate(replace(PENDING, status=status, certificates=CHAIN), authority=authority)
    assert authority.revoked == []


def test_one_that_never_got_a_certificate_has_none_to_revoke() -> None:
    authority = PlayedAuthority()
    revoke_certificate(replace(PENDING, status="revoked"), authority=authority)
    assert authority.revoked == []


def test_what_the_authority_did_not_answer_can_be_repeated() -> None:
    authority, view = PlayedAuthority(failures=1), replace(PENDING, status="deleted", certificates=CHAIN)
    with pytest.raises(PkiUnavailable):
        revoke_certificate(view, authority=authority)
    revoke_certificate(view, authority=authority)
    assert authority.revoked == [(b"leaf", REASON)]
