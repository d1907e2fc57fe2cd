"""A stand-in for identity provider, signing service and inbox on one port, just enough to talk to the examples.

It is obedient by default; a test turns one screw (`Screws`) and looks whether the examples notice.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, jsonify, make_response, redirect, request
from joserfc import jwt
from joserfc.jwk import ECKey
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response as BaseResponse

from examples import pdf_signing
from foundation.clock import SystemClock
from tests.unit.examples.certificates import Signer, make_signer

CLIENT_ID = "example-contracts"
CLIENT_SECRET = "not-a-real-secret-4711"
PASSWORD = "correct horse battery staple"
PHONE = "+15550100"
EMAIL = "alice@example.org"
ORDER = b"eyJhbGciOiJFUzI1NiJ9.e30.c2ln"


@dataclass(slots=True)
class Screws:
    """What the stub does wrong, or otherwise, on demand."""

    response_iss: str | None = None
    metadata_issuer: str | None = None
    no_pkce: bool = False
    nonce: str | None = None
    id_token_key: ECKey | None = None
    id_token_claims: dict[str, Any] = field(default_factory=dict)
    id_token_type: str = "ES256"
    drop_id_token: bool = False
    refuse: tuple[str, str] | None = None
    push_error: str | None = None
    token_error: str | None = None
    wrong_value: bool = False
    expired_access: bool = False
    refuse_refresh: bool = False
    credentials: tuple[str, ...] = ("alice-1",)
    silent_inbox: bool = False
    scal: str = "2"
    refuse_signing: str | None = None
    redirect_loop: bool = False
    shown_digest: str | None = None
    demanded: tuple[str, str] | None = None
    """`acr_values` and `max_age` without which the signing service answers nothing."""
    demand_again: bool = False
    """Ask for them whatever was authorised."""


@dataclass(slots=True)
class _Interaction:
    parameters: dict[str, str]
    wants_code: bool
    code: str = ""
    signed_in: bool = False
    proved: bool = False


class Stub:
    """The server's state; `app` serves it."""

    def __init__(self) -> None:
        self.screws = Screws()
        self.signer: Signer = make_signer()
        self.key = ECKey.generate_key("P-256", {"kid": "one"})
        self.port = 0
        self.interactions: dict[str, _Interaction] = {}
        self.pushed: dict[str, dict[str, str]] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.sads: dict[str, list[str]] = {}
        self.access_tokens: set[str] = set()
        self.messages: list[dict[str, Any]] = []
        self.revoked: list[str] = []
        self.seen: list[str] = []
        self.last_push: dict[str, str] = {}
        self.last_authorize: dict[str, str] = {}
        self.signed_hashes: list[str] = []
        self.digest_types: set[str] = set()
        self.asked_level = ""
        self.sessions: set[str] = set()
        self.refreshes = 0
        self.app = _app(self)

    @property
    def issuer(self) -> str:
        return f"http://idp.localhost:{self.port}"

    @property
    def csc(self) -> str:
        return f"http://sign.localhost:{self.port}/csc/v2"

    @property
    def csc_v1(self) -> str:
        return f"http://sign.localhost:{self.port}/csc/v1"

    @property
    def inbox(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send_code(self, to: str, channel: str) -> str:
        code = f"{secrets.randbelow(10**6):06d}"
        if not self.screws.silent_inbox:
            body = f"Example: your code for 2 documents is {code}. It is valid for 5 minutes."
            self.messages.insert(0, {"to": to, "channel": channel, "body": body, "id": len(self.messages) + 1})
        return code

    def new_access_token(self) -> str:
        token = secrets.token_urlsafe(16)
        self.access_tokens.add(token)
        return token

    def id_token(self, nonce: str, access_token: str) -> str:
        now = int(SystemClock().now().timestamp())
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "5b1e",
            "name": "Alice Example",
            "iat": now,
            "exp": now + 300,
            "nonce": self.screws.nonce or nonce,
            "acr": "substantial",
            "amr": ["pwd"],
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            **self.screws.id_token_claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.screws.id_token_type == "none":
            parts = [{"alg": "none"}, claims]
            return (
                ".".join(base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts)
                + "."
            )
        return jwt.encode({"alg": "ES256", "kid": "one"}, claims, self.screws.id_token_key or self.key)


class _Silent(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@contextmanager
def running_stub() -> Iterator[Stub]:
    """A stub that listens on a free port of 127.0.0.1."""
    stub = Stub()
    server = make_server("127.0.0.1", 0, stub.app, threaded=True, request_handler=_Silent)
    stub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _app(stub: Stub) -> Flask:
    app = Flask("stub")

    @app.before_request
    def note() -> None:
        stub.seen.append(f"{request.method} {request.host.partition(':')[0]} {request.path}")

    _provider(app, stub)
    _pages(app, stub)
    _service(app, stub)

    @app.get("/messages.json")
    def messages() -> Response:
        return jsonify(messages=[each for each in stub.messages if each["to"] == request.args["to"]])

    return app


def _client_authenticated() -> bool:
    given = request.authorization
    return given is not None and (given.username, given.password) == (CLIENT_ID, CLIENT_SECRET)


def _provider(app: Flask, stub: Stub) -> None:
    @app.get("/.well-known/openid-configuration")
    def discovery() -> Response:
        base = stub.issuer
        return jsonify(
            issuer=stub.screws.metadata_issuer or base,
            authorization_endpoint=f"{base}/oauth2/authorize",
            token_endpoint=f"{base}/oauth2/token",
            pushed_authorization_request_endpoint=f"{base}/oauth2/pushed_authorize",
            revocation_endpoint=f"{base}/oauth2/revoke",
            end_session_endpoint=f"{base}/oauth2/logout",
            jwks_uri=f"{base}/oauth2/jwks",
            code_challenge_methods_supported=["plain"] if stub.screws.no_pkce else ["S256"],
        )

    @app.get("/oauth2/jwks")
    def jwks() -> Response:
        return jsonify(keys=[stub.key.as_dict(private=False)])

    @app.post("/oauth2/pushed_authorize")
    def push() -> tuple[Response, int]:
        if not _client_authenticated():
            return jsonify(error="invalid_client"), 401
        if stub.screws.push_error:
            return jsonify(error=stub.screws.push_error, error_description="as the test wished"), 400
        stub.last_push = request.form.to_dict()
        reference = f"urn:ietf:params:oauth:request_uri:{secrets.token_hex(8)}"
        stub.pushed[reference] = stub.last_push
        return jsonify(request_uri=reference, expires_in=60), 201

    @app.get("/oauth2/authorize")
    def authorize() -> BaseResponse:
        stub.last_authorize = request.args.to_dict()
        if stub.screws.redirect_loop:
            return redirect("/oauth2/authorize")
        reference = request.args.get("request_uri")
        parameters = stub.pushed.pop(reference) if reference else request.args.to_dict()
        name = secrets.token_hex(8)
        interaction = _Interaction(parameters, wants_code="credential" in parameters["scope"].split())
        interaction.signed_in = request.cookies.get("session", "") in stub.sessions
        stub.interactions[name] = interaction
        return redirect(f"/interaction/{name}")

    @app.post("/oauth2/token")
    def token() -> tuple[Response, int]:
        if not _client_authenticated():
            return jsonify(error="invalid_client"), 401
        if stub.screws.token_error:
            return jsonify(error=stub.screws.token_error), 400
        if request.form["grant_type"] == "refresh_token":
            if stub.screws.refuse_refresh:
                return jsonify(error="invalid_grant"), 400
            stub.refreshes += 1
            stub.screws.expired_access = False
            return jsonify(access_token=stub.new_access_token(), token_type="Bearer", refresh_token="r2"), 200
        parameters = stub.codes.pop(request.form["code"])
        digest = hashlib.sha256(request.form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != parameters["code_challenge"]:
            return jsonify(error="invalid_grant"), 400
        if "authorization_details" in parameters:
            details = json.loads(parameters["authorization_details"])
            sad = secrets.token_urlsafe(24)
            stub.sads[sad] = [each["hash"] for each in details[0]["documentDigests"]]
            stub.digest_types = {each.get("hashType", "dtbsr") for each in details[0]["documentDigests"]}
            return jsonify(
                access_token=sad, token_type="Bearer", expires_in=300, credentialID=details[0]["credentialID"]
            ), 200
        access = stub.new_access_token()
        answer: dict[str, object] = {"access_token": access, "token_type": "Bearer", "expires_in": 300}
        answer["refresh_token"] = "r1"
        if not stub.screws.drop_id_token:
            answer["id_token"] = stub.id_token(parameters["nonce"], access)
        return jsonify(answer), 200

    @app.post("/oauth2/revoke")
    def revoke() -> tuple[str, int]:
        stub.revoked.append(request.form["token"])
        return "", 200


_REASON = (
    '<p data-reason data-rule="sign-needs-two" data-file="policies/default.yaml" data-line="12">'
    "A signature needs a second factor</p>"
)


_SIGN_IN_REASON = (
    '<p data-reason data-rule="sign-in" data-file="policies/default.yaml" data-line="7">Signing in needs a password</p>'
)


def _page(form: str, body: str, fields: str, extra: str = "") -> Response:
    html = (
        f"<!doctype html><title>{form}</title>{extra}"
        f'<form method="post" data-form="{form}"><input type="hidden" name="csrf_token" value="c">{fields}{body}</form>'
    )
    return make_response(html)


def _pages(app: Flask, stub: Stub) -> None:
    @app.route("/interaction/<name>", methods=["GET", "POST"])
    def interaction(name: str) -> BaseResponse:
        state = stub.interactions[name]
        if request.method == "GET":
            return _show(stub, state)
        if request.form.get("csrf_token") != "c":
            return make_response("no csrf token", 403)
        here = redirect(f"/interaction/{name}", 303)
        if "password" in request.form:
            if request.form["password"] != PASSWORD:
                return _page("sign-in", "", _SIGN_IN, '<div role="alert">That did not match.</div>')
            cookie = secrets.token_hex(8)
            stub.sessions.add(cookie)
            here.set_cookie("session", cookie)
            state.signed_in = True
            if not state.wants_code:
                return _finish(stub, state.parameters)
        elif "factor" in request.form:
            sms = request.form["factor"] == "sms_otp"
            state.code = stub.send_code(PHONE if sms else EMAIL, "sms" if sms else "email")
        elif "code" in request.form:
            if request.form["code"] != state.code:
                return _page("otp", "", _CODE, '<div role="alert">That code is wrong.</div>')
            state.proved = True
        elif not state.wants_code:
            return _finish(stub, state.parameters)
        elif "decision" in request.form:
            if request.form["decision"] != "approve":
                return _back(stub, state.parameters, error="access_denied", error_description="The signer declined")
            return _finish(stub, state.parameters)
        return here

    @app.get("/account/")
    def account() -> BaseResponse:
        return redirect("/interaction/account")

    @app.route("/account/credentials", methods=["GET", "POST"])
    def account_credentials() -> BaseResponse:
        if request.method == "GET":
            return _page("order-credential", "<button>Order</button>", "")
        response = make_response(ORDER)
        response.content_type = "application/jose"
        return response

    stub.interactions["account"] = _Interaction(
        {"redirect_uri": "/account/credentials", "state": "", "scope": "", "nonce": ""}, wants_code=False
    )


_SIGN_IN = '<input name="username"><input name="password" type="password"><button>Sign in</button>'
_CODE = '<input name="code"><button>Check</button>'


def _show(stub: Stub, state: _Interaction) -> Response:
    if not state.signed_in:
        return _page("sign-in", "", _SIGN_IN, _SIGN_IN_REASON)
    if not state.wants_code:
        return _page("continue", "<button>Continue</button>", "")
    if state.proved:
        buttons = '<button name="decision" value="approve">y</button><button name="decision" value="deny">n</button>'
        details = json.loads(state.parameters["authorization_details"])[0]["documentDigests"]
        digests = [stub.screws.shown_digest or base64.b64decode(each["hash"]).hex() for each in details]
        shown = "".join(f'<p data-digest="{digest}">{digest}</p>' for digest in digests)
        return _page("consent", buttons, "", _REASON + shown)
    if state.code:
        return _page("otp", "", _CODE, _REASON)
    email = '<form method="post" data-form="choose"><input type="hidden" name="csrf_token" value="c">'
    email += '<button name="factor" value="email_otp">E-mail</button></form>'
    return _page("choose", '<button name="factor" value="sms_otp">SMS</button>', "", _REASON + email)


def _finish(stub: Stub, parameters: dict[str, str]) -> BaseResponse:
    if stub.screws.refuse is not None:
        error, description = stub.screws.refuse
        return _back(stub, parameters, error=error, error_description=description)
    code = secrets.token_urlsafe(8)
    stub.codes[code] = parameters
    return _back(stub, parameters, code=code)


def _back(stub: Stub, parameters: dict[str, str], **answer: str) -> BaseResponse:
    answer |= {"state": parameters["state"], "iss": stub.screws.response_iss or stub.issuer}
    response = redirect(f"{parameters['redirect_uri']}?{urlencode(answer)}", 303)
    cookie = secrets.token_hex(8)
    stub.sessions.add(cookie)
    response.set_cookie("session", cookie)
    return response


def _service(app: Flask, stub: Stub) -> None:
    def bearer() -> str:
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    @app.post("/csc/v2/info")
    def info() -> Response:
        return jsonify(name="Stub", specs="2.0.0.2")

    @app.post("/csc/v2/credentials/list")
    def listing() -> tuple[Response, int]:
        if bearer() not in stub.access_tokens or stub.screws.expired_access:
            return jsonify(error="invalid_token", error_description="Expired access token"), 401
        asked = (stub.last_authorize.get("acr_values"), stub.last_authorize.get("max_age"))
        if stub.screws.demanded and (stub.screws.demand_again or asked != stub.screws.demanded):
            challenge = 'Bearer error="insufficient_user_authentication", acr_values="{}", max_age="{}"'
            refusal = jsonify(error="insufficient_user_authentication", error_description="More is required")
            refusal.headers["WWW-Authenticate"] = challenge.format(*stub.screws.demanded)
            return refusal, 401
        return jsonify(credentialIDs=list(stub.screws.credentials)), 200

    @app.post("/csc/<version>/credentials/info")
    def credential(version: str) -> tuple[Response, int]:
        if bearer() not in stub.access_tokens:
            return jsonify(error="invalid_token"), 401
        wanted = request.get_json()["credentialID"]
        certificates = [base64.b64encode(each).decode() for each in stub.signer.chain]
        return jsonify(
            description=f"Key {wanted} ({version})",
            key={"status": "enabled", "algo": ["1.2.840.10045.4.3.2"], "len": 256},
            cert={
                "status": "valid",
                "certificates": certificates,
                "subjectDN": "CN=Alice Example",
                "issuerDN": "CN=Development root",
                "validTo": "20271122000000Z",
            },
            auth={"mode": "oauth2code", "objects": []},
            SCAL=stub.screws.scal,
            multisign=10,
        ), 200

    @app.post("/csc/v2/signatures/signDoc")
    def sign_document() -> tuple[Response, int]:
        (item,) = request.get_json()["documents"]
        stub.asked_level = item["conformance_level"]
        if stub.screws.refuse_signing:
            return jsonify(error="invalid_request", error_description=stub.screws.refuse_signing), 400
        document = base64.b64decode(item["document"])
        digest = base64.b64encode(hashlib.sha256(document).digest()).decode()
        if stub.sads.pop(bearer(), None) != [digest] or stub.digest_types != {"sdr"}:
            return jsonify(error="invalid_hash", error_description="not what was authorised"), 403
        stub.signed_hashes.append(digest)
        prepared = pdf_signing.prepare(document, stub.signer.chain)
        signed = pdf_signing.assemble(prepared, stub.signer.sign_digest(prepared.dtbsr))
        if stub.screws.wrong_value:
            signed = signed.replace(b"%PDF-", b"%pdf-", 1)
        return jsonify(DocumentWithSignature=[base64.b64encode(signed).decode()]), 200

    @app.post("/csc/<version>/signatures/signHash")
    def sign(version: str) -> tuple[Response, int]:
        body = request.get_json()
        if stub.screws.refuse_signing:
            return jsonify(error="invalid_request", error_description=stub.screws.refuse_signing), 400
        sad = body["SAD"] if version == "v1" else bearer()
        hashes = body["hash" if version == "v1" else "hashes"]
        authorised = stub.sads.pop(sad, None)
        if authorised != hashes:
            return jsonify(error="invalid_request", error_description="Hash is not authorized by the SAD"), 400
        stub.signed_hashes += hashes
        values = [stub.signer.sign_digest(base64.b64decode(each)) for each in hashes]
        if stub.screws.wrong_value:
            values = [stub.signer.sign_digest(bytes(32)) for _ in hashes]
        return jsonify(signatures=[base64.b64encode(each).decode() for each in values]), 200
