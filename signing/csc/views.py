"""The API over HTTP: all methods are POST with JSON (CSC API 2.0.0.2 clause 7).

A method's requests are answered before Flask sees them.  Its rules are there nevertheless: they know who asks for a
method in another way, and whatever reaches a method through them is answered by the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, request
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
from signing.csc.exchange import JSON, Environ, Header, Incoming, Reply, json_reply
from signing.csc.openapi import document, page
from signing.csc.openapi.validation import RequestCheck
from signing.csc.streaming import length, pieces

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

STRANGE: Final = (errors.MissingToken, errors.InvalidToken, errors.ExpiredToken, errors.InvalidDpopProof)
"""Whoever is refused so has not shown who they are."""
_ALGORITHMS: Final = " ".join(ALGORITHMS)
_log = get(__name__)

Exchange = Callable[[Environ], Reply]
"""Answers a request, whatever becomes of it."""


@dataclass(frozen=True, slots=True)
class Api:
    """The API in one dialect."""

    exchanges: Mapping[str, Exchange]
    """By the path that is asked with POST."""
    blueprint: Blueprint
    """The same and all else that is there, as Flask knows it."""


def csc_api(dialect: Dialect, rssp: Rssp) -> Api:
    """The API in one dialect, at its path."""
    blueprint = Blueprint(f"csc_{dialect.name}", __name__, url_prefix=dialect.path)
    offered = methods.offered(dialect, rssp.settings)
    described = document.build(dialect, rssp.settings, [method.name for method in offered])
    exchanges: dict[str, Exchange] = {method.name: _Endpoint.of(dialect, rssp, method, described) for method in offered}
    absent = _refusal(errors.NotImplementedHere(), dialect)
    exchanges |= {name: lambda _environ: absent for name in methods.missing(dialect, rssp.settings)}
    for name, exchange in exchanges.items():
        blueprint.add_url_rule(f"/{name}", name.replace("/", "_"), _view(exchange), methods=["POST"])
    page.add(blueprint, described)
    return Api({f"{dialect.path}/{name}": exchange for name, exchange in exchanges.items()}, blueprint)


def in_front(exchanges: Mapping[str, Exchange], rest: WSGIApplication) -> WSGIApplication:
    """Answer what is asked of a method, and leave all else to ``rest``."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        exchange = exchanges.get(environ["PATH_INFO"])
        if exchange is None or environ["REQUEST_METHOD"] != "POST" or environ.get("SCRIPT_NAME"):
            return rest(environ, start_response)
        return exchange(environ).start(start_response)

    return app


def _view(exchange: Exchange) -> Callable[[], Response]:
    return lambda: response_of(exchange(request.environ))


def response_of(reply: Reply) -> Response:
    """A reply as Flask has it, where Flask adds the headers of every answer."""
    return Response(reply.body, reply.status, list(reply.headers))


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """A method in one dialect; answers a request, whatever becomes of it."""

    dialect: Dialect
    rssp: Rssp
    method: Method
    uri: str
    """As proofs of possession name it (RFC 9449 4.2)."""
    check: RequestCheck | None
    """What the API's document says of a request's body; None: nothing."""
    names: Mapping[str, str]
    """The dialect's own, of parameters."""
    most: int
    """Octets that a body may have."""

    @classmethod
    def of(cls, dialect: Dialect, rssp: Rssp, method: Method, described: Mapping[str, Any]) -> _Endpoint:
        schema = document.request_schema(described, method.name)
        return cls(
            dialect,
            rssp,
            method,
            uri=f"{rssp.settings.public_url}{dialect.path}/{method.name}",
            check=None if schema is None else RequestCheck(schema),
            names=document.own_names(dialect, method.name),
            most=method.max_body(rssp.settings),
        )

    def __call__(self, environ: Environ) -> Reply:
        try:
            return self._limited(Incoming(environ))
        except errors.CscError as error:
            return _refusal(error, self.dialect)
        except HTTPException as error:
            return http_error(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours is answered, not shown
            return unexpected(error)

    def _limited(self, incoming: Incoming) -> Reply:
        if not self.method.bearer:
            self.rssp.limits.stranger()
        try:
            return self._answered(incoming)
        except errors.CscError as error:
            # To a proxy that is still sending an early answer is a failure (502).
            incoming.allow(self.most)
            incoming.throw_away()
            if isinstance(error, STRANGE):
                self.rssp.limits.stranger()
            raise

    def _answered(self, incoming: Incoming) -> Reply:
        header = incoming.header("HTTP_AUTHORIZATION")
        bearer = None
        if self.method.bearer:
            shown = Shown(self.uri, tuple(incoming.lines("DPoP")), _certificate(self.rssp.proxies, incoming))
            bearer = parse_authorization(header, shown)
        _bound(self.rssp, bearer, incoming, self.most)
        call = Call(self.dialect, _checked(self.check, self.names, _json_body(incoming)), bearer, header)
        _note(self.dialect, self.method, call.body)
        answer = self.method.handler(self.rssp, call)
        # A document that came is not kept while others go out.
        del call
        return _answer(answer)


def _certificate(proxies: Proxies, incoming: Incoming) -> str | None:
    """Thumbprint of the client's; one of which nobody knows who says so counts for none."""
    try:
        return proxies.thumbprint(incoming.peer, incoming.lines)
    except ClientCertificateInvalid as error:
        fields = {"peer": incoming.peer, "cause": str(error)}
        _log.warning("a client's certificate was ignored", extra={"fields": fields})
        return None


def _bound(rssp: Rssp, bearer: Bearer | None, incoming: Incoming, most: int) -> None:
    """Let a request be as long as it may; what is longer than any other method's, only with a good token (DOS-01).

    :raises errors.CscError: the token is not good.
    """
    incoming.allow(most)
    length = incoming.content_length
    if length is not None and (length <= MAX_BODY or length > most):
        return
    if most <= MAX_BODY:
        return
    if bearer is None:
        raise errors.MissingToken
    rssp.check_known(bearer)


def _json_body(incoming: Incoming) -> dict[str, Any]:
    if not incoming.is_json():
        raise errors.InvalidRequest(errors.NOT_JSON)
    try:
        # The body is free as soon as it is a text: one with a document is large, and its members are copies.
        return parse_json_object(str(incoming.body(), "utf-8"))
    except (TokenMalformed, UnicodeDecodeError) as error:
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


def _answer(answer: Answer) -> Reply:
    if answer.body is None:
        return Reply(204)
    if answer.documents and not isinstance(answer.body, bytes):
        headers = (("Content-Type", JSON), ("Content-Length", str(length(answer.body))))
        return Reply(200, headers, pieces(answer.body))
    return json_reply(answer.body, answer.status)


def _refusal(error: errors.CscError, dialect: Dialect) -> Reply:
    headers: list[Header] = []
    if error.status == 401:
        headers += [("WWW-Authenticate", challenge) for challenge in _challenges(error)]
    if error.status in {429, 503}:
        headers.append(("Retry-After", str(getattr(error, "retry_after", 5))))
    body = {"error": error.code, "error_description": to_own_names(dialect, error.description)}
    return json_reply(body, error.status, *headers)


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


def http_error(error: HTTPException) -> Reply:
    """Errors that arise before a method is reached, in the API's own form."""
    if isinstance(error, RequestEntityTooLarge):
        return _plain(413, errors.TOO_LARGE)
    if isinstance(error, MethodNotAllowed):
        return _plain(405, errors.NO_SUCH_METHOD, ("Allow", "POST"))
    if isinstance(error, NotFound):
        return _plain(404, errors.NO_SUCH_METHOD)
    return _plain(error.code or 400, errors.UNREADABLE)


def unexpected(error: Exception) -> Reply:
    """A fault of ours: logged with type and place, answered with neither."""
    _log.error("unexpected error", exc_info=error)
    return _refusal(errors.ServerError(), V2)


def _plain(status: int, description: str, *headers: Header) -> Reply:
    return json_reply({"error": errors.InvalidRequest.code, "error_description": description}, status, *headers)
