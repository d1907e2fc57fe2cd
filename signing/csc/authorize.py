"""``credentials/authorize``, ``credentials/getChallenge`` and ``credentials/sendOTP`` (CSC API 2.0.0.2 11.6, 11.8;
1.0.4.0 11.5, 11.7): in band where there are answers, out of band where there are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from signing.csc import approval, errors, explicit, parameters
from signing.csc.approval import ApprovalRequest
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.credentials import owned
from signing.csc.explicit import AuthAnswer
from signing.settings import WebSettings

_SHA256: Final = "2.16.840.1.101.3.4.2.1"
"""Where nothing is said of what will be signed; the module holds the digests against it."""
_MAX_ANSWERS: Final = 8
_MAX_ANSWER: Final = 1024
_MAX_OBJECT_ID: Final = 32
_ELSEWHERE: Final = [{"id": "approval"}]
"""Of the object for which nothing is typed, its identifier alone says that it is chosen (CSC API 2.0.0.2 8.3.1.5)."""


def offered(settings: WebSettings) -> bool:
    """Whether anything can be authorised over the API."""
    return settings.explicit or approval.offered(settings)


def explicitly(settings: WebSettings) -> bool:
    """Whether it can be by what a person types."""
    return settings.explicit


def credentials_authorize(rssp: Rssp, call: Call) -> Answer:
    """``credentials/authorize``: the SAD for answers, or a handle while the person is asked elsewhere.

    :raises errors.CscError: with the specification's words.
    """
    request, answers = approval.parse(call.body), _answers(call.body)
    if not answers and approval.offered(rssp.settings):
        return approval.begin(rssp, call, request)
    _, person = approval.of_person(rssp, call)
    view = owned(rssp, person, request.credential_id)
    approval.check(request, view)
    if not rssp.settings.explicit or view.scal != "1":
        raise errors.InvalidRequest(errors.AUTHORIZED_ELSEWHERE)
    if not answers:
        raise errors.missing_array("authData") if call.dialect.nested_auth else errors.invalid("PIN")
    return explicit.activate(rssp, call, view, _wanted(request), answers)


def get_challenge(rssp: Rssp, call: Call) -> Answer:
    """``credentials/getChallenge``: a code is sent to the person, and nothing is answered (204).

    :raises errors.CscError: with the specification's words.
    """
    credential_id = parameters.required_text(call.body, "credentialID")
    object_id = parameters.required_text(call.body, "authObjectID", _MAX_OBJECT_ID)
    return _challenge(rssp, call, credential_id, object_id)


def send_otp(rssp: Rssp, call: Call) -> Answer:
    """``credentials/sendOTP``: the same for the one code that version 1 knows.

    :raises errors.CscError: with the specification's words.
    """
    return _challenge(rssp, call, parameters.required_text(call.body, "credentialID"), explicit.OTP)


def _challenge(rssp: Rssp, call: Call, credential_id: str, object_id: str) -> Answer:
    _, person = approval.of_person(rssp, call)
    explicit.send_challenge(rssp, call, owned(rssp, person, credential_id), object_id)
    return Answer(None)


def _wanted(request: ApprovalRequest) -> dict[str, str]:
    form = approval.asked(request)
    # Nobody reads it: there is no page on which it would be shown.
    form.pop("binding_message", None)
    if not request.digests:
        form["hashAlgorithmOID"] = request.hash_algorithm or _SHA256
    return form


def _answers(body: Mapping[str, Any]) -> tuple[AuthAnswer, ...]:
    """What was typed, under the names of either version; none is told in a refusal.

    :raises errors.InvalidRequest: of another form.
    """
    found = body.get("authData")
    if found is None:
        named = ((name, parameters.optional_text(body, name, _MAX_ANSWER)) for name in ("PIN", "OTP"))
        return tuple(AuthAnswer(name, value) for name, value in named if value is not None)
    if not isinstance(found, list):
        raise errors.missing_array("authData")
    if found == _ELSEWHERE:
        return ()
    if len(found) > _MAX_ANSWERS or not all(_is_answer(item) for item in found):
        raise errors.invalid("authData")
    return tuple(AuthAnswer(item["id"], item["value"]) for item in found)


def _is_answer(item: object) -> bool:
    if not isinstance(item, dict) or item.keys() != {"id", "value"}:
        return False
    limits = {"id": _MAX_OBJECT_ID, "value": _MAX_ANSWER}
    return all(isinstance(item[name], str) and 0 < len(item[name]) <= most for name, most in limits.items())
