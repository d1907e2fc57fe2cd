"""The API over HTTP: one blueprint a dialect.  All methods are POST with JSON (CSC API 2.0.0.2 clause 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from foundation.errors import ClientCertificateInvalid, TokenMalformed
from foundation.jose import ALGORITHMS, parse_json_object
from foundation.log import get
from foundation.proxied import Proxies
from signing.csc import errors, methods
from signing.csc.bearer import Bearer, parse_authorization
from signing.csc.binding import Shown
from signing.csc.call import MAX_BODY, Answer, Call, Method
from signing.csc.core import Rssp
from signing.csc.dialect import V2, Dialect, to_own_names, to_v2_names, with_own_names
from signing.csc.openapi import document, page
from signing.csc.openapi.validation import RequestCheck
from signing.csc.streaming import length, pieces

STRANGE: Final = (errors.MissingToken, errors.InvalidToken, errors.ExpiredToken, errors.InvalidDpopProof)
"""Whoever is refused so has not shown who they are."""
_ALGORITHMS: Final = " ".join(ALGORITHMS)
_PIECE: Final = 64 * 1024
_log = get(__name__)


def csc_blueprint(dialect: Dialect, rssp: Rssp) -> Blueprint:
    """The API in one dialect, at its path."""
    blueprint = Blueprint(f"csc_{dialect.name}", __name__, url_prefix=dialect.path)
    base = f"{rssp.settings.public_url}{dialect.path}"

    offered = methods.offered(dialect, rssp.settings)
    described = document.build(dialect, rssp.settings, [method.name for method in offered])

    def view_of(method: Method) -> Callable[[], Response]:
        schema = document.request_schema(described, method.name)
        check = None if schema is None else RequestCheck(schema)
        names = document.own_names(dialect, method.name)
        most = method.max_body(rssp.settings)

        def view() -> Response:
            header = request.headers.get("Authorization")
            bearer = None
            if method.bearer:
                uri, proofs = f"{base}/{method.name}", tuple(request.headers.getlist("DPoP"))
                shown = Shown(uri, proofs, _certificate(rssp.proxies))
                bearer = parse_authorization(header, shown)
            _bound(rssp, bearer, most)
            call = Call(dialect, _checked(check, names, _json_body()), bearer, header)
            _note(dialect, method, call.body)
            answer = method.handler(rssp, call)
            # A document that came is not kept while others go out.
            del call
            return _answer(answer)

        def limited() -> Response:
            if not method.bearer:
                rssp.limits.stranger()
            try:
                return view()
            except errors.CscError as error:
                _throw_away(most)
                if isinstance(error, STRANGE):
                    rssp.limits.stranger()
                raise

        return limited

    def missing() -> Response:
        raise errors.NotImplementedHere

    def serve(name: str, view: Callable[[], Response]) -> None:
        blueprint.add_url_rule(f"/{name}", name.replace("/", "_"), view, methods=["POST"])

    for method in offered:
        serve(method.name, view_of(method))
    for name in methods.missing(dialect, rssp.settings):
        serve(name, missing)
    page.add(blueprint, described)
    blueprint.register_error_handler(errors.CscError, lambda error: _refusal(error, dialect))
    return blueprint


def _certificate(proxies: Proxies) -> str | None:
    """Thumbprint of the client's; one of which nobody knows who says so counts for none."""
    try:
        return proxies.thumbprint(request.remote_addr, request.headers.getlist)
    except ClientCertificateInvalid as error:
        fields = {"peer": request.remote_addr, "cause": str(error)}
        _log.warning("a client's certificate was ignored", extra={"fields": fields})
        return None


def _bound(rssp: Rssp, bearer: Bearer | None, most: int) -> None:
    """Let a request be as long as it may; what is longer than any other method's, only with a good token (DOS-01).

    :raises errors.CscError: the token is not good.
    """
    request.max_content_length = most
    length = request.content_length
    if length is not None and (length <= MAX_BODY or length > most):
        return
    if most <= MAX_BODY:
        return
    if bearer is None:
        raise errors.MissingToken
    rssp.check_known(bearer)


def _throw_away(most: int) -> None:
    """Take what is left of a request's body, and keep nothing of it.

    To a proxy that is still sending an early answer is a failure (502).
    """
    request.max_content_length = most
    if (request.content_length or 0) <= most:
        while request.stream.read(_PIECE):
            pass


def _json_body() -> dict[str, Any]:
    if request.mimetype != "application/json":
        raise errors.InvalidRequest(errors.NOT_JSON)
    try:
        return parse_json_object(request.get_data(cache=False))
    except TokenMalformed as error:
        raise errors.InvalidRequest(errors.NO_JSON_OBJECT) from error


def _checked(check: RequestCheck | None, names: Mapping[str, str], body: dict[str, Any]) -> dict[str, Any]:
    """The members that the document has, under v2 names, where they are what it says.

    :raises errors.InvalidRequest: they are not.
    """
    if check is None:
        return body
    own = {name: value for name, value in with_own_names(body, names).items() if name in check.members}
    check.check(own)
    return to_v2_names(own, names)


def _note(dialect: Dialect, method: Method, body: Mapping[str, Any]) -> None:
    # For whoever compares their log with ours (CSC API 2.0.0.2 7.4).
    if body.get("clientData") is not None:
        fields = {"method": method.name, "dialect": dialect.name, "client_data": body["clientData"]}
        _log.info("a request with client data", extra={"fields": fields})


def _answer(answer: Answer) -> Response:
    if answer.documents:
        response = Response(pieces(answer.body), mimetype="application/json")
        response.content_length = length(answer.body)
        return response
    response = Response() if answer.body is None else jsonify(answer.body)
    response.status_code = 204 if answer.body is None else answer.status
    return response


def _refusal(error: errors.CscError, dialect: Dialect) -> Response:
    answer = jsonify({"error": error.code, "error_description": to_own_names(dialect, error.description)})
    answer.status_code = error.status
    if error.status == 401:
        for challenge in _challenges(error):
            answer.headers.add("WWW-Authenticate", challenge)
    if error.status in {429, 503}:
        answer.headers["Retry-After"] = str(getattr(error, "retry_after", 5))
    return answer


def _challenges(error: errors.CscError) -> list[str]:
    """One for each scheme that can help (RFC 9449 7.1): where there is no token yet, either."""
    if isinstance(error, errors.MalformedAuthentication):
        return ['Basic realm="CSC API", charset="UTF-8"']
    if isinstance(error, errors.MissingToken):
        return ["Bearer", f'DPoP algs="{_ALGORITHMS}"']
    if isinstance(error, errors.InvalidDpopProof):
        return [f'DPoP error="{error.code}", error_description="{error.description}", algs="{_ALGORITHMS}"']
    return [_challenge(error)]


def _challenge(error: errors.CscError) -> str:
    # RFC 6750 3.1 knows no expired_token: over HTTP an expired token is an invalid one.
    code = "invalid_token"
    parameters = {}
    if isinstance(error, errors.InsufficientUserAuthentication):
        code = error.code
        if error.acr_values:
            parameters["acr_values"] = " ".join(error.acr_values)
        if error.max_age is not None:
            parameters["max_age"] = str(error.max_age)
    parameters = {"error": code, "error_description": error.description, **parameters}
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())


def http_error(error: HTTPException) -> Response:
    """Errors that arise before a method is reached, in the API's own form."""
    if isinstance(error, RequestEntityTooLarge):
        return _plain(413, errors.TOO_LARGE)
    if isinstance(error, NotFound | MethodNotAllowed):
        answer = _plain(error.code or 404, errors.NO_SUCH_METHOD)
        if isinstance(error, MethodNotAllowed):
            answer.headers["Allow"] = "POST"
        return answer
    return _plain(error.code or 400, errors.UNREADABLE)


def unexpected(error: Exception) -> Response:
    """A fault of ours: logged with type and place, answered with neither."""
    _log.error("unexpected error", exc_info=error)
    return _refusal(errors.ServerError(), V2)


def _plain(status: int, description: str) -> Response:
    answer = jsonify({"error": errors.InvalidRequest.code, "error_description": description})
    answer.status_code = status
    return answer
