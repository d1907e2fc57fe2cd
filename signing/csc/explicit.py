"""Explicit authorisation, as far as it is this service's: what the identity provider is asked, and its refusals in the
API's words (CSC API 2.0.0.2 8.3, 11.6, 11.8; 1.0.4.0 11.5, 11.7).

Answers pass through here on their way to the identity provider, which alone judges them: nothing here looks at one, and
none is kept, logged or told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, cast

from foundation import claims as read
from foundation.errors import JoseError
from foundation.jose import MAX_TOKEN_OCTETS
from foundation.log import get
from signing.csc import errors
from signing.csc.auth_options import OAUTH2CODE, AuthObject, AuthOptions, AuthOptionsInvalid, ObjectType
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.facade import TOKEN, FacadeRefused, FacadeUnavailable
from signing.link.messages import CredentialView

OPTIONS: Final = "/oauth2/activation-options"
CHALLENGE: Final = "/oauth2/activation-challenge"
GRANT: Final = "urn:privyseal:params:oauth:grant-type:explicit-activation"
OTP: Final = "OTP"
"""Whichever code can be sent: version 1 names none."""

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class AuthAnswer:
    """An answer to one authentication object."""

    id: str
    value: str = field(repr=False)


def auth_options(rssp: Rssp, call: Call, view: CredentialView) -> AuthOptions:
    """How a credential can be authorised by whoever presented the service token.

    :raises errors.TemporarilyUnavailable: the identity provider cannot be asked.
    """
    presented = call.presented
    typed, approved = rssp.settings.explicit and view.scal == "1", rssp.settings.approval
    if not (typed or approved) or presented is None or presented.kind != "service":
        return OAUTH2CODE
    # A level that nothing is typed for, where this service would not take what is typed.
    form = {**_about(call, view), **({} if typed else {"scal": ""}), **({"approval": "true"} if approved else {})}
    try:
        return _options(rssp.facade.post_for(presented.token, OPTIONS, form))
    except FacadeRefused:
        # Of a client's own token, or this server's own reading: nobody is there to be asked.
        return OAUTH2CODE
    except (FacadeUnavailable, JoseError, AuthOptionsInvalid) as error:
        raise unreachable(error) from error


def send_challenge(rssp: Rssp, call: Call, view: CredentialView, object_id: str) -> None:
    """Have a code sent to the person.

    :raises errors.CscError: none can be, or not now.
    """
    form = {**_about(call, view), "auth_object": object_id}
    try:
        rssp.facade.post_for(call.bearer.token, CHALLENGE, form)
    except FacadeRefused as error:
        if error.error == "invalid_request":
            raise errors.invalid("authObjectID") from error
        if error.error == "otp_locked":
            raise errors.InvalidRequest(errors.LOCKED) from error
        _refuse(call, error)
    except FacadeUnavailable as error:
        raise unreachable(error) from error


def activate(
    rssp: Rssp, call: Call, view: CredentialView, wanted: Mapping[str, str], answers: Sequence[AuthAnswer]
) -> Answer:
    """The SAD for answers.

    :param wanted: what is to be signed, as the identity provider takes it.
    :raises errors.CscError: with the specification's words.
    """
    if view.scal != "1":
        # The identity provider and the module say so too.
        raise errors.InvalidRequest(errors.AUTHORIZED_ELSEWHERE)
    given = json.dumps([{"id": item.id, "value": item.value} for item in answers])
    form = {**wanted, **_about(call, view), "grant_type": GRANT, "auth_data": given}
    try:
        answer = rssp.facade.post_for(call.bearer.token, TOKEN, form)
        seconds = read.integer(answer, "expires_in", low=1, high=3600)
        return Answer({"SAD": read.text(answer, "access_token", max_length=MAX_TOKEN_OCTETS), "expiresIn": seconds})
    except FacadeRefused as error:
        _refuse(call, error)
    except (FacadeUnavailable, JoseError) as error:
        raise unreachable(error) from error


def unreachable(error: Exception) -> errors.TemporarilyUnavailable:
    """The identity provider gave no usable answer; the cause is for the log."""
    _log.error("the identity provider cannot be asked", extra={"fields": {"reason": str(error)}})
    return errors.TemporarilyUnavailable(errors.ISSUER_UNREACHABLE)


def _about(call: Call, view: CredentialView) -> dict[str, str]:
    found = {"credentialID": view.credential_id, "scal": view.scal}
    if view.signature_qualifier:
        found["signatureQualifier"] = view.signature_qualifier
    if call.lang is not None:
        found["lang"] = call.lang
    return found


def _options(answer: Mapping[str, Any]) -> AuthOptions:
    if read.text(answer, "mode") != "explicit":
        return OAUTH2CODE
    objects = answer.get("objects")
    if not isinstance(objects, list) or not all(isinstance(item, dict) for item in objects):
        raise AuthOptionsInvalid("objects is not a list of objects")
    return AuthOptions("explicit", read.text(answer, "expression", max_length=1024), tuple(map(_object, objects)))


def _object(value: Mapping[str, Any]) -> AuthObject:
    def optional(name: str) -> str | None:
        return read.text(value, name, max_length=255) if name in value else None

    return AuthObject(
        type=cast("ObjectType", read.text(value, "type", max_length=32)),
        id=read.text(value, "id", max_length=32),
        format="N" if optional("format") == "N" else None,
        generator=optional("generator"),
        label=optional("label"),
        description=optional("description"),
    )


def _refuse(call: Call, error: FacadeRefused) -> NoReturn:
    """The identity provider's refusal, in the words of the version that asks."""
    if error.error in {"invalid_pin", "invalid_otp", "pin_locked", "otp_locked", "invalid_authentication_data"}:
        raise _not_proved(error.error, pins=not call.dialect.nested_auth) from error
    if error.error == "unauthorized_client":
        raise errors.InvalidRequest(errors.AUTHORIZED_ELSEWHERE) from error
    if error.error == "access_denied":
        raise errors.AccessDenied from error
    if error.error == "invalid_grant":
        # The token was good a moment ago, where it was introspected.
        raise errors.ExpiredToken from error
    if error.status == 429:
        raise errors.TemporarilyUnavailable(errors.TOO_SOON) from error
    _log.warning("the identity provider refused", extra={"fields": {"error": error.error}})
    raise errors.InvalidRequest(errors.OUT_OF_BOUNDS) from error


def _not_proved(code: str, *, pins: bool) -> errors.CscError:
    """:param pins: whether it is told which of PIN and OTP it was (CSC API 1.0.4.0 11.5)."""
    if pins:
        in_version_1: dict[str, errors.CscError] = {
            "invalid_pin": errors.InvalidPin(errors.WRONG_PIN),
            "pin_locked": errors.InvalidPin(errors.PIN_LOCKED),
            "invalid_otp": errors.InvalidOtp(errors.WRONG_OTP),
            "otp_locked": errors.InvalidOtp(errors.OTP_LOCKED),
        }
        if code in in_version_1:
            return in_version_1[code]
    if code in {"pin_locked", "otp_locked"}:
        return errors.InvalidRequest(errors.LOCKED)
    return errors.InvalidAuthenticationData()
