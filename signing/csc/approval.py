"""Approval out of band: 202 with a handle, and ``credentials/authorizeCheck`` (CSC API 2.0.0.2 11.6, 11.7).

The handle is the identity provider's ``auth_req_id`` (OpenID Connect CIBA Core 1.0), so nothing is kept here.  Whoever
asks and whoever collects shows the relying party's own service token, which is passed on: this service gets nothing
that the relying party could not get itself.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from contract.digests import HASH_LENGTHS, MAX_DIGESTS
from foundation import claims as read
from foundation.errors import JoseError
from foundation.jose import MAX_TOKEN_OCTETS
from foundation.log import get
from signing.csc import errors, parameters
from signing.csc.bearer import Bearer
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.credentials import owned
from signing.csc.facade import BACKCHANNEL, TOKEN, FacadeRefused, FacadeUnavailable
from signing.link.messages import CredentialView
from signing.settings import WebSettings

GRANT: Final = "urn:openid:params:grant-type:ciba"
MAX_DESCRIPTION: Final = 500
_HANDLE: Final = re.compile(r"[A-Za-z0-9_-]{16,128}\Z")
_SHA2_BY_LENGTH: Final = {
    32: "2.16.840.1.101.3.4.2.1",
    48: "2.16.840.1.101.3.4.2.2",
    64: "2.16.840.1.101.3.4.2.3",
}
_RETRY_SECONDS: Final = 60
"""Where too many requests are open: the oldest ends in minutes."""
_WAITING: Final = frozenset({"authorization_pending", "slow_down"})
_DETAILS: Final = "credential"
"""Type of the authorization details of CSC API 2.0.0.2."""

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """``credentials/authorize`` without authentication data (11.6)."""

    credential_id: str
    count: int
    digests: tuple[bytes, ...]
    """Empty: only how many is said."""
    hash_algorithm: str | None
    description: str | None


def offered(settings: WebSettings) -> bool:
    """Whether people are asked on their own pages at the identity provider."""
    return settings.approval


def begin(rssp: Rssp, call: Call, request: ApprovalRequest) -> Answer:
    """Ask the person; 202 with the handle.

    :raises errors.CscError: with the specification's words.
    """
    bearer, person = of_person(rssp, call)
    view = owned(rssp, person, request.credential_id)
    check(request, view)
    try:
        answer = rssp.facade.post_for(bearer.token, BACKCHANNEL, asked(request))
        return Answer({"handle": read.text(answer, "auth_req_id", max_length=128)}, 202)
    except FacadeRefused as error:
        _refuse(error)
    except (FacadeUnavailable, JoseError) as error:
        raise _unreachable(error) from error


def authorize_check(rssp: Rssp, call: Call) -> Answer:
    """``credentials/authorizeCheck``: the SAD, once; or 202 with the same handle, to ask again.

    :raises errors.CscError: with the specification's words.
    """
    bearer, _ = of_person(rssp, call)
    handle = parameters.required_text(call.body, "handle")
    if not _HANDLE.match(handle):
        raise errors.invalid("handle")
    try:
        answer = rssp.facade.post_for(bearer.token, TOKEN, {"grant_type": GRANT, "auth_req_id": handle})
        seconds = read.integer(answer, "expires_in", low=1, high=3600)
        return Answer({"SAD": read.text(answer, "access_token", max_length=MAX_TOKEN_OCTETS), "expiresIn": seconds})
    except FacadeRefused as error:
        if error.error in _WAITING:
            return Answer({"handle": handle}, 202)
        _refuse_handle(error)
    except (FacadeUnavailable, JoseError) as error:
        raise _unreachable(error) from error


def parse(body: Mapping[str, Any]) -> ApprovalRequest:
    """Read a request whose members have their v2 names.

    :raises errors.InvalidRequest: with the specification's words.
    """
    credential_id = parameters.required_text(body, "credentialID")
    count = body.get("numSignatures")
    if isinstance(count, bool) or not isinstance(count, int):
        raise errors.missing("integer", "numSignatures")
    if count < 1:
        raise errors.InvalidRequest(errors.INVALID_NUMBER)
    digests = _digests(body)
    return ApprovalRequest(
        credential_id=credential_id,
        count=count,
        digests=digests,
        hash_algorithm=_hash_algorithm(body, digests),
        description=parameters.optional_text(body, "description", MAX_DESCRIPTION),
    )


def _digests(body: Mapping[str, Any]) -> tuple[bytes, ...]:
    hashes = body.get("hashes")
    if hashes is None:
        return ()
    if not isinstance(hashes, list):
        raise errors.missing_array("hash")
    if not hashes:
        raise errors.InvalidRequest(errors.EMPTY_HASHES)
    if len(hashes) > MAX_DIGESTS:
        raise errors.invalid("hash")
    try:
        return tuple(parameters.base64_octets(item if isinstance(item, str) else "?") for item in hashes)
    except ValueError as error:
        raise errors.InvalidRequest(errors.INVALID_BASE64) from error


def _hash_algorithm(body: Mapping[str, Any], digests: tuple[bytes, ...]) -> str | None:
    """What is stated, or, as version 1 has no word for it here, what the length tells."""
    stated = parameters.optional_oid(body, "hashAlgorithmOID")
    if stated is not None and stated not in HASH_LENGTHS:
        raise errors.invalid("hashAlgorithmOID")
    if not digests:
        return stated
    algorithm = stated or _SHA2_BY_LENGTH.get(len(digests[0]))
    if algorithm is None or any(len(item) != HASH_LENGTHS[algorithm] for item in digests):
        raise errors.InvalidRequest(errors.INVALID_LENGTH)
    return algorithm


def check(request: ApprovalRequest, view: CredentialView) -> None:
    """What can be said of it from here.

    :raises errors.InvalidRequest: it cannot be authorised so.
    """
    if view.status != "active":
        raise errors.InvalidRequest(errors.CREDENTIAL_DISABLED)
    if request.count > view.multisign:
        raise errors.InvalidRequest(errors.TOO_MANY_SIGNATURES)
    if not request.digests and view.scal == "2":
        # At SCAL2 what is signed is what the person saw by its digest.
        raise errors.missing_array("hash")
    if request.digests and len(request.digests) != request.count:
        raise errors.InvalidRequest(errors.INVALID_NUMBER)


def asked(request: ApprovalRequest) -> dict[str, str]:
    """What is to be signed, as the identity provider takes it."""
    form = {"scope": "credential"}
    if request.description is not None:
        form["binding_message"] = request.description
    if not request.digests:
        return {**form, "credentialID": request.credential_id, "numSignatures": str(request.count)}
    details = {
        "type": _DETAILS,
        "credentialID": request.credential_id,
        "documentDigests": [{"hash": base64.b64encode(item).decode(), "label": ""} for item in request.digests],
        "hashAlgorithmOID": request.hash_algorithm,
    }
    return {**form, "authorization_details": json.dumps([details])}


def of_person(rssp: Rssp, call: Call) -> tuple[Bearer, str]:
    """A service token that speaks for a person, and which: nobody else can be asked.

    :raises errors.InvalidToken: another one.
    """
    bearer = call.bearer
    token = rssp.service_token(bearer) if bearer.kind == "service" else None
    if token is None or not token.user_specific:
        raise errors.InvalidToken
    return bearer, token.subject


def _refuse(error: FacadeRefused) -> NoReturn:
    if error.error == "invalid_binding_message":
        raise errors.invalid("description") from error
    if error.status == 429:
        raise errors.TooManyRequests(_RETRY_SECONDS) from error
    if error.error in {"unauthorized_client", "invalid_scope", "invalid_dpop_proof"}:
        raise errors.UnauthorizedClient(errors.NOT_REGISTERED) from error
    if error.error == "invalid_grant":
        # The token was good a moment ago, where it was introspected.
        raise errors.ExpiredToken from error
    raise errors.InvalidRequest(errors.OUT_OF_BOUNDS) from error


def _refuse_handle(error: FacadeRefused) -> NoReturn:
    if error.error == "access_denied":
        raise errors.AccessDenied from error
    if error.error == "expired_token":
        raise errors.InvalidRequest(errors.HANDLE_EXPIRED) from error
    if error.error in {"unauthorized_client", "invalid_dpop_proof"}:
        raise errors.UnauthorizedClient(errors.NOT_REGISTERED) from error
    raise errors.invalid("handle") from error


def _unreachable(error: Exception) -> errors.TemporarilyUnavailable:
    _log.error("the identity provider cannot be asked", extra={"fields": {"reason": str(error)}})
    return errors.TemporarilyUnavailable(errors.ISSUER_UNREACHABLE)
