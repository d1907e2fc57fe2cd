"""``credentials/create`` and ``credentials/delete`` (CSC API 2.2 11.4, 11.5): what an order is for.

The token is the authority: signed by the identity provider after the person approved it, for one client and one person,
and with the module's own order in it.  What a request says besides is compared with that order; nothing in a request
names anybody, chooses a key or widens anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.ports.pki import CertificateAuthority, PkiError
from foundation import claims as read
from foundation.errors import JoseError
from foundation.jose import peek_claims
from foundation.log import get
from signing.csc import errors, parameters, requests
from signing.csc.authentication import check_authentication
from signing.csc.bearer import Bearer
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.credentials import render
from signing.csc.service_token import ServiceToken
from signing.enrolment.enrol import enrol
from signing.enrolment.retire import revoke_certificate
from signing.link import codes
from signing.link.errors import LinkRefused
from signing.link.messages import CredentialView
from signing.settings import PkiSettings, WebSettings

CREATION_SCOPE: Final = "credential-creation"
DELETION_SCOPE: Final = "credential-deletion"
_SUBJECT: Final = {
    "common_name": "common_name",
    "given_name": "given_name",
    "family_name": "surname",
    "serial_number": "serial_number",
    "country": "country",
}
"""Members that name the person (ETSI TS 119 432), each with the order's name of it."""
_MAX_NAME: Final = 64
_log = get(__name__)


@dataclass(frozen=True, slots=True)
class _Ordered:
    """A verified token with the order in it.  Its claims are read unverified: one that lies fails in the module."""

    token: ServiceToken
    order: str = field(repr=False)
    parameters: Mapping[str, Any]


def offered(settings: WebSettings) -> bool:
    """Whether there is an authority that issues certificates, and revokes them."""
    return settings.pki is not None


def credentials_create(rssp: Rssp, call: Call) -> Answer:
    """``credentials/create``: a key, its certificate, and the answer of ``credentials/info``.

    Repeated with the same token it goes on where it stopped, and shows what is there already.

    :raises errors.CscError: with the API's words.
    """
    ordered = _ordered(rssp, call.bearer, CREATION_SCOPE, "credential.create")
    detail = requests.parse_detail(call.body)
    _check_creation(ordered, call.body)
    authority, pki = _authority(rssp)
    view = _at_authority(
        rssp, lambda order: enrol(order, sam=rssp.sam, authority=authority, profile=pki.profile), ordered.order
    )
    if view.owner != ordered.token.subject:
        raise errors.InvalidToken
    return Answer({"credentialID": view.credential_id, **render(rssp, call, view, detail)})


def credentials_delete(rssp: Rssp, call: Call) -> Answer:
    """``credentials/delete``: the key is destroyed, then the certificate revoked.

    Repeated with the same token it asks the authority again.

    :raises errors.CscError: with the API's words.
    """
    ordered = _ordered(rssp, call.bearer, DELETION_SCOPE, "credential.delete")
    credential_id = requests.parse_credential_id(call.body)
    if credential_id != ordered.parameters.get("credential_id"):
        raise errors.invalid("credentialID")
    # Before the order, which serves once: without an authority to tell nothing is ended here.
    authority, _pki = _authority(rssp)

    def deleted(order: str) -> CredentialView:
        try:
            view = rssp.sam.execute_order(order)
        except LinkRefused as refusal:
            if refusal.refusal == codes.WRONG_OWNER:
                raise errors.invalid("credentialID") from refusal
            if refusal.refusal not in {codes.ORDER_USED, codes.CREDENTIAL_DISABLED}:
                raise
            view = rssp.sam.credential(credential_id)
            if view.status != "deleted" or view.owner != ordered.token.subject:
                raise
        revoke_certificate(view, authority=authority)
        return view

    _at_authority(rssp, deleted, ordered.order)
    return Answer(None)


def _ordered(rssp: Rssp, bearer: Bearer, scope: str, operation: str) -> _Ordered:
    if bearer.kind != "service":
        raise errors.InvalidToken
    token = rssp.service_token(bearer, scope)
    if token.order is None or not token.user_specific:
        raise errors.InvalidToken
    check_authentication(token.authentication, rssp.settings.authentication.credentials, rssp.clock.now())
    try:
        claims = peek_claims(token.order)
        if claims.get("operation") != operation or claims.get("sub") != token.subject:
            raise errors.InvalidToken
        return _Ordered(token, token.order, read.mapping(claims, "parameters"))
    except JoseError as error:
        raise errors.InvalidToken from error


def _check_creation(ordered: _Ordered, body: Mapping[str, Any]) -> None:
    """A request may say again what was ordered, and nothing else."""
    if body.get("userID") is not None:
        raise errors.InvalidRequest(errors.USER_ID_NOT_NULL)
    subject = ordered.parameters.get("subject")
    named = subject if isinstance(subject, dict) else {}
    allowed = {
        "credentialProfile": ordered.parameters.get("profile"),
        "signatureQualifier": ordered.token.qualifier,
        **{member: named.get(name) for member, name in _SUBJECT.items()},
    }
    for member, value in allowed.items():
        said = parameters.optional_text(body, member, _MAX_NAME)
        if said is not None and said != value:
            raise errors.invalid(member)


def _authority(rssp: Rssp) -> tuple[CertificateAuthority, PkiSettings]:
    if rssp.authority is None or rssp.settings.pki is None:
        raise errors.NotImplementedHere
    return rssp.authority, rssp.settings.pki


def _at_authority(rssp: Rssp, work: Callable[[str], CredentialView], order: str) -> CredentialView:
    """Carry out an order with module and authority, their refusals in the API's words."""
    try:
        return rssp.ask(work, order)
    except PkiError as error:
        _log.error("the certification authority did not do it", extra={"fields": {"code": error.code}})
        if error.code == "pki_unavailable":
            raise errors.TemporarilyUnavailable(errors.AUTHORITY_UNREACHABLE) from error
        raise errors.ServerError from error


__all__ = ["credentials_create", "credentials_delete", "offered"]
