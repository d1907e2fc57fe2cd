"""The walk of an enrolment: module makes the key, authority issues, module links."""

from __future__ import annotations

from typing import Protocol

from connectors.ports.pki import CertificateAuthority, CertificateRequest, SubjectName
from signing.link.messages import CreatedCredential, CredentialView


class EnrolmentModule(Protocol):
    """What is needed of the activation module; :class:`signing.link.client.SamClient` has it."""

    def create_credential(self, order: str) -> CreatedCredential:
        """Carry out an order; the same order gives the same pending credential."""
        ...

    def link_certificate(self, credential_id: str, chain: tuple[bytes, ...]) -> CredentialView:
        """Give a pending credential its certificate."""
        ...


def enrol(order: str, *, sam: EnrolmentModule, authority: CertificateAuthority, profile: str) -> CredentialView:
    """Carry out an order of operation ``credential.create`` to the end.

    Every step may be repeated with the same order after a failure: the module answers with the credential that it
    already made, active or not, and the authority, by the idempotency key, with the certificate that it already issued.

    :param profile: the authority's certificate profile.
    :raises signing.link.errors.LinkError: the module refused or did not answer.
    :raises connectors.ports.pki.PkiError: the authority refused or did not answer.
    """
    created = sam.create_credential(order)
    if created.credential.status == "active":
        # It was carried out before, and whoever asked never heard of it.
        return created.credential
    subject = created.subject
    issued = authority.issue(
        CertificateRequest(
            pkcs10=created.pkcs10,
            subject=SubjectName(
                common_name=subject.common_name,
                given_name=subject.given_name,
                surname=subject.surname,
                serial_number=subject.serial_number,
                country=subject.country,
            ),
            profile=profile,
            idempotency_key=created.credential.credential_id,
        )
    )
    # The module compares the certificate with the key it made and the person it was ordered for: this tier and the
    # authority are not taken at their word.
    return sam.link_certificate(created.credential.credential_id, issued.chain)
