"""The development CA over HTTP: issue, revoke, certificates, revocation lists, OCSP.

``python -m devservices.ca_http --state DIR`` serves; ``--init-only`` makes the state directory and ends.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hmac
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from werkzeug.wrappers import Request, Response

from devservices.ca import ISSUERS, Issuance, UnsafeDevelopmentCertificateAuthority
from devservices.errors import CallerUnknown, MethodNotAllowed, NotFound, OptionsInvalid, RequestMalformed
from devservices.names import person_from_mapping
from devservices.ocsp import OcspResponder
from devservices.serving import Handler, bind, json_response, port_number, run, serve, url_of
from devservices.state import open_directory, secret_file
from foundation.clock import Clock, SystemClock, from_epoch
from foundation.errors import TokenMalformed
from foundation.jose import parse_json_object

DEFAULT_PORT = 8403

ISSUE_MEMBERS = frozenset({"csr", "subject", "idempotency_key", "profile"})
REVOKE_MEMBERS = frozenset({"certificate", "reason"})

MAX_OCSP_BYTES = 4096
"""A request about one certificate has some 120 octets."""


class CaHandler:
    """The routes; callers of ``/ca/issue`` and ``/ca/revoke`` show the bearer token, everything else is public."""

    def __init__(self, authority: UnsafeDevelopmentCertificateAuthority, token: bytes, clock: Clock) -> None:
        self._authority = authority
        self._token = token
        self._responder = OcspResponder(authority, clock)
        self._routes: dict[str, tuple[str, Callable[[Request], Response]]] = {
            "/ca/issue": ("POST", self._issue),
            "/ca/revoke": ("POST", self._revoke),
            "/healthz": ("GET", lambda _request: json_response(200, {"status": "ok"})),
        }
        for label in ISSUERS:
            self._routes[f"/ca/{label}.crt"] = ("GET", self._certificate_of(label))
            self._routes[f"/crl/{label}.crl"] = ("GET", self._crl_of(label))

    def __call__(self, request: Request) -> Response:
        """Answer one request; refusals are exceptions."""
        path = request.path
        if path == "/ocsp" or path.startswith("/ocsp/"):
            return self._ocsp(request, path.removeprefix("/ocsp").removeprefix("/"))
        route = self._routes.get(path)
        if route is None:
            raise NotFound("no such resource")
        method, handler = route
        if request.method != method and not (method == "GET" and request.method == "HEAD"):
            raise MethodNotAllowed(f"this resource takes {method}")
        return handler(request)

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            raise CallerUnknown("a bearer token is needed")

    def _issue(self, request: Request) -> Response:
        self._authenticate(request)
        body = json_object(request, ISSUE_MEMBERS)
        issuance = Issuance(
            pkcs10=strict_base64(text_member(body, "csr")),
            subject=person_from_mapping(body.get("subject")),
            idempotency_key=text_member(body, "idempotency_key"),
            **({"profile": text_member(body, "profile")} if "profile" in body else {}),
        )
        chain = self._authority.issue(issuance)
        return json_response(200, {"certificates": [base64.b64encode(der).decode() for der in chain]})

    def _revoke(self, request: Request) -> Response:
        self._authenticate(request)
        body = json_object(request, REVOKE_MEMBERS)
        certificate = strict_base64(text_member(body, "certificate"))
        status = self._authority.revoke(certificate, text_member(body, "reason"))
        at = "" if status.revoked_at is None else from_epoch(status.revoked_at).isoformat()
        return json_response(200, {"serial": format(status.serial, "x"), "revoked_at": at, "reason": status.reason})

    def _certificate_of(self, label: str) -> Callable[[Request], Response]:
        der = self._authority.certificate(label).public_bytes(Encoding.DER)
        return lambda _request: Response(der, content_type="application/pkix-cert")

    def _crl_of(self, label: str) -> Callable[[Request], Response]:
        return lambda _request: _fresh(self._authority.crl(label), "application/pkix-crl")

    def _ocsp(self, request: Request, encoded: str) -> Response:
        """RFC 6960 appendix A.1: POST with the request as body, or GET with it in base64 behind the address."""
        if request.method == "POST" and not encoded:
            asked = request.get_data()
        elif request.method in {"GET", "HEAD"} and encoded:
            asked = strict_base64(encoded)
        else:
            raise MethodNotAllowed("OCSP takes POST, or GET with the request in the path")
        if len(asked) > MAX_OCSP_BYTES:
            raise RequestMalformed("no OCSP request about one certificate is that large")
        return _fresh(self._responder.answer(asked), "application/ocsp-response")


def _fresh(body: bytes, content_type: str) -> Response:
    response = Response(body, content_type=content_type)
    response.headers["Cache-Control"] = "no-cache"
    return response


def json_object(request: Request, members: frozenset[str]) -> dict[str, Any]:
    """The request's JSON object.

    :raises RequestMalformed: not JSON, not an object, a member twice, a member that is not among ``members``.
    """
    if request.mimetype != "application/json":
        raise RequestMalformed("the body is not application/json")
    try:
        body = parse_json_object(request.get_data())
    except TokenMalformed as error:
        raise RequestMalformed("the body is not a JSON object with each member once") from error
    if not members.issuperset(body):
        raise RequestMalformed("the body has unknown members")
    return body


def text_member(body: dict[str, Any], name: str) -> str:
    """A string member of a JSON object.

    :raises RequestMalformed: absent or not a string.
    """
    value = body.get(name)
    if not isinstance(value, str):
        raise RequestMalformed(f"{name} is missing or not a string")
    return value


def strict_base64(text: str) -> bytes:
    """Decode base64 of RFC 4648 clause 4: no other characters, padded.

    :raises RequestMalformed: anything else.
    """
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise RequestMalformed("not base64") from error


def build(
    state: Path, public_url: str, token_file: Path | None = None, clock: Clock | None = None
) -> tuple[UnsafeDevelopmentCertificateAuthority, Handler]:
    """The authority over a state directory and its HTTP handler; makes directory and token file when missing."""
    open_directory(state)
    clock = clock or SystemClock()
    authority = UnsafeDevelopmentCertificateAuthority(state, public_url, clock=clock)
    token = secret_file(token_file or state / "token", secrets.token_urlsafe(32).encode())
    return authority, CaHandler(authority, token, clock)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(prog="python -m devservices.ca_http", description=__doc__)
    command.add_argument("--state", type=Path, required=True, help="directory for keys and register (made, mode 0700)")
    command.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default %(default)s)")
    command.add_argument("--port", type=port_number, default=DEFAULT_PORT, help="default %(default)s; 0: any free port")
    command.add_argument("--public-url", help="address that goes into certificates (default: where it listens)")
    command.add_argument(
        "--token-file",
        type=Path,
        help="owner-only file with the callers' bearer token (made if missing; default STATE/token)",
    )
    command.add_argument("--init-only", action="store_true", help="make the state directory and end")
    return command


def start(argv: Sequence[str] | None) -> None:
    """Serve until told to end.

    :raises foundation.errors.PrivySealError: it cannot start.
    """
    options = parser().parse_args(argv)
    if options.init_only:
        if not options.public_url and options.port == 0:
            raise OptionsInvalid("--init-only needs --public-url or a fixed --port")
        build(options.state, options.public_url or f"http://{options.host}:{options.port}", options.token_file)
        return
    with bind(options.host, options.port) as listener:
        handler = build(options.state, options.public_url or url_of(listener), options.token_file)[1]
        serve(listener, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; see :func:`parser`. Returns the exit status."""
    return run(start, argv)


if __name__ == "__main__":
    sys.exit(main())
