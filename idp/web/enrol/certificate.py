"""Binding a certificate: exactly the one that this browser presented just now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from idp.authn.certificate.errors import CertificateRefused
from idp.authn.certificate.facts import CertificateFacts
from idp.authn.certificate.mapping import Claim, claims
from idp.errors import EnrolmentRefused
from idp.storage.accounts import Account
from idp.storage.authenticators import NewAuthenticator
from idp.storage.enrolments import Enrolment
from idp.web.certificates import owner
from idp.web.certificates.offer import handed_over, offer
from idp.web.certificates.trust import trust
from idp.web.enrol.registry import Enroller, Prepared


def _prepare(_enrolment_id: str, _account: Account) -> Prepared:
    return Prepared()


def _values(enrolment: Enrolment, _account: Account) -> Mapping[str, Any]:
    return {"offer": offer("enrolment", enrolment.id)}


def _confirm(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> NewAuthenticator:
    believed = trust()
    try:
        facts = handed_over("enrolment", enrolment.id, form.get("handover", ""))
    except CertificateRefused as error:
        raise EnrolmentRefused("no certificate was presented for this enrolment") from error
    if believed is None or not _may_be(account, facts):
        raise EnrolmentRefused("the certificate is another person's")
    return owner.new_authenticator(believed, enrolment.id, account, facts, form.get("label", ""))


def _may_be(account: Account, facts: CertificateFacts) -> bool:
    """Whether the two do not contradict each other: each may say which person it is (ETSI EN 319 412-1, 5.1.3)."""
    said = claims(facts, ("serial_number",))
    return account.serial_number is None or not said or said == (Claim("serial_number", account.serial_number),)


ENROLLER: Final = Enroller(owner.KIND, "enrol_certificate.html", _prepare, _values, _confirm)
