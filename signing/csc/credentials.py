"""``credentials/list`` and ``credentials/info`` (CSC API 2.0.0.2 11.4, 11.5)."""

from __future__ import annotations

from typing import Any, Final

from signing.csc import errors, languages, paging, requests, responses
from signing.csc.auth_options import OAUTH2CODE, AuthOptions
from signing.csc.authentication import Authentication, check_authentication
from signing.csc.bearer import Bearer
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.explicit import auth_options
from signing.csc.service_token import ServiceToken
from signing.link.messages import CredentialView

_SHOWN: Final = frozenset({"active", "suspended", "revoked"})
"""What a person is told of: not one that waits for its certificate, nor one that was deleted."""


def credentials_list(rssp: Rssp, call: Call) -> Answer:
    """``credentials/list``: of the person that the token speaks for, or that a client may name.

    :raises errors.CscError: with the specification's words.
    """
    token = rssp.reading_token(call.bearer)
    request = requests.parse_credentials_list(call.body)
    owner = _owner_to_list(rssp, token, request.user_id)
    now = rssp.clock.now()
    views = [view for view in rssp.ask(rssp.sam.list_credentials, owner) if view.status in _SHOWN]
    if request.only_valid:
        views = [view for view in views if responses.usable(view, now)]
    views, next_page = paging.page(views, request.page, listing=(token.client_id, owner, request.only_valid))
    answer: dict[str, Any] = {"credentialIDs": [view.credential_id for view in views]}
    if request.credential_info:
        answer["credentialInfos"] = [
            {"credentialID": view.credential_id, **render(rssp, call, view, request.detail)} for view in views
        ]
    if request.only_valid:
        answer["onlyValid"] = True
    if next_page is not None:
        answer["nextPageToken"] = next_page
    return Answer(answer)


def credentials_info(rssp: Rssp, call: Call) -> Answer:
    """``credentials/info``: for the owner's service token, or for a SAD of the very credential.

    :raises errors.CscError: with the specification's words.
    """
    owner, credential_id = _reader(rssp, call.bearer)
    request = requests.parse_credentials_info(call.body)
    if credential_id is not None and credential_id != request.credential_id:
        raise errors.invalid("credentialID")
    view, detail = owned(rssp, owner, request.credential_id), request.detail
    options, status, about = _circumstances(rssp, call, view, detail)
    return Answer(responses.written_info(call.dialect, view, detail, options, status=status, about=about))


def owned(rssp: Rssp, owner: str, credential_id: str) -> CredentialView:
    """A credential that a person is told of.

    :raises errors.InvalidRequest: in the same words whether it is another's or nobody's.
    """
    view = rssp.ask(rssp.sam.credential, credential_id)
    if view.owner != owner or view.status not in _SHOWN:
        raise errors.invalid("credentialID")
    rssp.limits.take((("credential", credential_id),))
    return view


def _reader(rssp: Rssp, bearer: Bearer) -> tuple[str, str | None]:
    """Whose credentials the bearer may read, and which one only."""
    if bearer.kind == "sad":
        sad = rssp.sad_bearer(bearer)
        made = Authentication(sad.acr, sad.auth_time)
        check_authentication(made, rssp.settings.authentication.credentials, rssp.clock.now())
        return sad.sub, sad.credential_id
    return rssp.reading_token(bearer).subject, None


def _owner_to_list(rssp: Rssp, token: ServiceToken, user_id: str | None) -> str:
    if token.user_specific:
        if user_id is not None:
            raise errors.InvalidRequest(errors.USER_ID_NOT_NULL)
        return token.subject
    if token.client_id not in rssp.settings.user_listing_clients:
        raise errors.UnauthorizedClient(errors.MAY_NOT_NAME_USER)
    if user_id is None:
        raise errors.invalid("userID")
    return user_id


def render(rssp: Rssp, call: Call, view: CredentialView, detail: requests.Detail) -> dict[str, Any]:
    """What is told of a credential, in as much detail as was asked for."""
    options, status, about = _circumstances(rssp, call, view, detail)
    return responses.credential_info(call.dialect, view, detail, options, status=status, about=about)


def _circumstances(
    rssp: Rssp, call: Call, view: CredentialView, detail: requests.Detail
) -> tuple[AuthOptions, str | None, responses.About]:
    """What is told besides the view, and is not in it: of now, of here, and for whoever asks."""
    texts = rssp.settings.descriptions.get(view.profile, {})
    about = languages.text(call.lang, texts, rssp.settings.service.lang)
    wanted = detail.auth_info or not call.dialect.nested_auth
    options = auth_options(rssp, call, view) if wanted else OAUTH2CODE
    return options, responses.certificate_status(view, rssp.clock.now()), about
