"""The site: hand in a PDF, sign in, review, approve at the identity provider, download the signed PDF."""

from __future__ import annotations

import hmac
import threading
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import Flask, Response, abort, g, redirect, render_template, request, send_file, url_for
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, SecurityError
from werkzeug.wrappers import Response as BaseResponse

from examples import csc_client, oauth_client, pdf_signing, shown_documents, ways
from examples.errors import (
    AuthorizationRefusedError,
    ExampleError,
    FormNotCurrentError,
    PdfNotAcceptableError,
    ResponseForgedError,
    ServiceRefusedError,
    StepUpRequiredError,
    UnreachableError,
)
from examples.http_local import local_session
from examples.oauth_client import Client, ServerMetadata
from examples.relying_party.explain import Explanation, explain
from examples.relying_party.visits import Document, Visit, Visits
from examples.sample_contract import make_sample_pdf
from examples.ways import DEFAULT_LEVEL, WAYS

COOKIE = "example_contracts"
MAX_PDF_BYTES = 20 * 1024 * 1024
FORM_OVERHEAD = 64 * 1024
"""Room for the rest of the upload form around the file."""
MAX_DRAIN = 200 * 1024 * 1024
MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says."""

    public_url: str
    """Where browsers reach this site; `/callback` below it is the registered redirect URI."""
    issuer: str
    csc: str
    client: Client
    state: Path
    roots: tuple[bytes, ...] = field(default=(), repr=False)
    """DER certificates that the verification summary trusts."""
    check_revocation: bool = True
    way: str = WAYS[0]
    level: str = DEFAULT_LEVEL
    show_documents: bool = False
    """Whether the identity provider fetches documents here, below `/shown/`, and shows them for the approval."""


class Services:
    """The identity provider and the signing service, as this site reaches them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.http = local_session()
        self.visits = Visits(settings.state / "documents")
        self._metadata: ServerMetadata | None = None
        self._lock = threading.Lock()

    @property
    def metadata(self) -> ServerMetadata:
        """Discovered when first needed, so that the site may start before the provider."""
        with self._lock:
            if self._metadata is None:
                self._metadata = oauth_client.discover(self.http, self.settings.issuer)
            return self._metadata


def create_app(settings: Settings) -> Flask:
    """The WSGI application. Keeps visits in memory: run it in one process."""
    app = Flask(__name__)
    hosts = [urlsplit(settings.public_url).hostname, "127.0.0.1", "localhost"]
    app.config.update(MAX_CONTENT_LENGTH=MAX_PDF_BYTES + FORM_OVERHEAD, TRUSTED_HOSTS=hosts)
    app.jinja_env.filters["filesize"] = _filesize
    app.jinja_env.filters["certificate_date"] = _certificate_date
    services = Services(settings)
    app.extensions["example_contracts"] = services
    _register_security(app, services)
    _register_pages(app, services)
    _register_flow(app, services)
    _register_errors(app)
    return app


def _register_security(app: Flask, services: Services) -> None:
    origin = _origin(services.settings.issuer)
    # Chromium applies form-action to the redirects that follow a form, hence the provider's origin.
    policy = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        f"form-action 'self' {origin}; base-uri 'none'; frame-ancestors 'none'"
    )

    @app.before_request
    def canonical_host() -> BaseResponse | None:
        if request.endpoint != "health" and _origin(request.url) != _origin(services.settings.public_url):
            if request.method != "GET":
                raise BadRequest
            return redirect(services.settings.public_url + "/")
        return None

    @app.before_request
    def find_visit() -> None:
        g.cookie = request.cookies.get(COOKIE, "")
        found = services.visits.find(g.cookie) if g.cookie else None
        g.visit = found or Visit()
        g.known = found is not None

    @app.before_request
    def check_csrf() -> None:
        if request.method != "POST":
            return
        if request.content_length is not None and request.content_length > app.config["MAX_CONTENT_LENGTH"]:
            raise RequestEntityTooLarge
        sent = request.form.get("csrf_token", "")
        if not g.known or not hmac.compare_digest(sent.encode(), g.visit.csrf.encode()):
            message = "the form's token is not that of this visit"
            raise FormNotCurrentError(message)

    @app.after_request
    def add_headers(response: Response) -> Response:
        if request.endpoint not in ("static", "health", "shown") and not g.get("known", True):
            _set_cookie(response, services.visits.add(g.visit), services.settings)
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
        response.headers["Cache-Control"] = "no-cache" if request.endpoint == "static" else "no-store"
        return response

    @app.context_processor
    def common() -> dict[str, Any]:
        return {"visit": g.get("visit") or Visit(), "max_megabytes": MAX_PDF_BYTES // 1024 // 1024}


def _register_pages(app: Flask, services: Services) -> None:
    @app.get("/")
    def home() -> str:
        return render_template("home.html", step=1)

    @app.get("/healthz")
    def health() -> tuple[str, int]:
        return "ok\n", 200

    @app.post("/documents")
    def hand_in() -> BaseResponse:
        upload = request.files.get("document")
        if upload is None or not upload.filename:
            message = "Choose a PDF file first."
            raise PdfNotAcceptableError(message)
        content = upload.stream.read(MAX_PDF_BYTES + 1)
        if len(content) > MAX_PDF_BYTES:
            raise RequestEntityTooLarge
        return _accept(services, upload.filename, content)

    @app.post("/documents/sample")
    def hand_in_sample() -> BaseResponse:
        return _accept(services, "service-agreement.pdf", make_sample_pdf())

    @app.get("/documents/original.pdf")
    def original() -> Response:
        document = _document()
        return send_file(document.path.resolve(), mimetype="application/pdf", download_name=document.name)

    @app.get("/shown/<name>.pdf")
    def shown(name: str) -> Response:
        visit = services.visits.with_document(name) if services.settings.show_documents else None
        if visit is None or visit.document is None or visit.order is None:
            abort(404)
        authorization = request.headers.get("Authorization", "")
        try:
            shown_documents.check_fetch(
                services.http, services.metadata, services.settings.client, authorization, visit.order.digest
            )
        except ResponseForgedError:
            abort(401)
        return send_file(visit.document.path.resolve(), mimetype="application/pdf")

    @app.get("/documents/signed.pdf")
    def download() -> Response:
        document = _document()
        if document.signed_path is None:
            abort(404)
        return send_file(
            document.signed_path.resolve(),
            mimetype="application/pdf",
            as_attachment=True,
            download_name=document.signed_name,
        )

    @app.get("/signed")
    def signed() -> str | BaseResponse:
        if g.visit.document is None or g.visit.document.verdict is None:
            return redirect(url_for("home"), 303)
        return render_template("signed.html", step=4, document=g.visit.document, verdict=g.visit.document.verdict)


def _register_flow(app: Flask, services: Services) -> None:
    client, settings = services.settings.client, services.settings

    @app.get("/sign-in")
    def sign_in() -> BaseResponse:
        g.visit.pending, url = oauth_client.begin_sign_in(services.metadata, client, step_up=g.visit.step_up)
        return redirect(url, 303)

    @app.get("/callback")
    def callback() -> BaseResponse:
        pending = g.visit.take_pending()
        if pending is None:
            message = "Nothing was asked of the identity provider in this browser, or the answer came twice."
            raise ResponseForgedError(message)
        parameters = oauth_client.response_parameters(request.url)
        tokens = oauth_client.finish(services.http, services.metadata, client, pending, parameters)
        if pending.scope == oauth_client.SIGNING_SCOPE:
            _sign(services, g.visit, tokens.access_token)
            return redirect(url_for("signed"), 303)
        g.visit.forget_person()
        g.visit.tokens = tokens
        response = redirect(url_for("review" if g.visit.document else "home"), 303)
        # A new cookie at sign-in: whoever planted the old one gains nothing (session fixation).
        _set_cookie(response, services.visits.renew(g.cookie, g.visit), settings)
        return response

    @app.get("/review")
    def review() -> str | BaseResponse:
        visit: Visit = g.visit
        if visit.document is None:
            return redirect(url_for("home"), 303)
        if visit.document.verdict is not None:
            return redirect(url_for("signed"), 303)
        if "again" in request.args:
            visit.credentials, visit.credential_id, visit.order = (), None, None
        if visit.tokens is None or not _load_credentials(services, visit):
            return redirect(url_for("sign_in"), 303)
        usable = [each for each in visit.credentials if each.usable]
        if len(usable) == 1:
            visit.credential_id = usable[0].credential_id
        if visit.credential is None:
            return render_template("choose.html", step=2, document=visit.document, credentials=usable)
        if visit.order is None:
            pdf = visit.document.path.read_bytes()
            visit.order = ways.prepare(settings.way, pdf, visit.credential, settings.level)
        return render_template(
            "review.html",
            step=3,
            document=visit.document,
            credential=visit.credential,
            order=visit.order,
            several=len(usable) > 1,
            provider=urlsplit(settings.issuer).netloc,
        )

    @app.post("/credential")
    def choose() -> BaseResponse:
        wanted = request.form.get("credential_id", "")
        offered = [each.credential_id for each in g.visit.credentials if each.usable]
        g.visit.order = None
        g.visit.credential_id = wanted if wanted in offered else None
        return redirect(url_for("review"), 303)

    @app.post("/sign")
    def sign() -> BaseResponse:
        visit: Visit = g.visit
        if visit.document is None or visit.credential is None or visit.order is None:
            return redirect(url_for("review"), 303)
        place = _place(settings, visit.document)
        details = visit.order.details(visit.credential.credential_id, visit.document.name, settings.csc, place)
        visit.pending, url = oauth_client.begin_signing(services.metadata, client, details)
        return redirect(url, 303)

    @app.post("/sign-out")
    def sign_out() -> BaseResponse:
        visit: Visit = g.visit
        tokens = visit.tokens
        visit.drop_document()
        visit.forget_person()
        if tokens is None:
            return redirect(url_for("home"), 303)
        if tokens.refresh_token:
            oauth_client.revoke(services.metadata, client, tokens.refresh_token, "refresh_token")
        url = oauth_client.end_session_url(services.metadata, client, settings.public_url + "/")
        return redirect(url or url_for("home"), 303)


def _register_errors(app: Flask) -> None:
    @app.errorhandler(PdfNotAcceptableError)
    def not_acceptable(error: PdfNotAcceptableError) -> tuple[str, int]:
        return render_template("home.html", step=1, problem=str(error)), 400

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> tuple[str, int]:
        _drain()
        limit = MAX_PDF_BYTES // 1024 // 1024
        return render_template("home.html", step=1, problem=f"This file is larger than {limit} MB."), 413

    @app.errorhandler(ExampleError)
    def failed(error: ExampleError) -> tuple[str, int]:
        g.visit.order = None
        status = 502
        if isinstance(error, (AuthorizationRefusedError, FormNotCurrentError, ResponseForgedError)):
            status = 400
        elif isinstance(error, UnreachableError):
            status = 503
        return _error_page(explain(error), status)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[str, int]:
        if isinstance(error, SecurityError):
            # A host name that is not ours: Flask has no routes for it, so no page either.
            return "This is another site.\n", 400
        status = error.code or 500
        if status == requests.codes.not_found:
            return _error_page(Explanation("This page does not exist", "The address may be old or mistyped."), status)
        return _error_page(Explanation("That did not work", "Please go back and try again."), status)


def _error_page(explanation: Explanation, status: int) -> tuple[str, int]:
    return render_template("error.html", explanation=explanation), status


def _drain() -> None:
    """Read what is left of a body: a browser that is cut off while sending shows its own error in place of ours."""
    left = min(request.content_length or 0, MAX_DRAIN)
    while left > 0:
        chunk = request.environ["wsgi.input"].read(min(left, 256 * 1024))
        if not chunk:
            return
        left -= len(chunk)


def _document() -> Document:
    document: Document | None = g.visit.document
    if document is None:
        abort(404)
    return document


def _accept(services: Services, filename: str, content: bytes) -> BaseResponse:
    pdf_signing.check_acceptable(content)
    visit: Visit = g.visit
    visit.drop_document()
    visit.credential_id, visit.credentials = None, ()
    path = services.visits.new_path()
    path.write_bytes(content)
    visit.document = Document(name=clean_name(filename), size=len(content), path=path)
    return redirect(url_for("review" if visit.tokens else "sign_in"), 303)


def clean_name(filename: str) -> str:
    """A file's name to show: no path, no control or direction-changing characters, not too long, ending in .pdf."""
    base = PurePosixPath(filename.replace("\\", "/")).name
    visible = "".join(each for each in base if unicodedata.category(each)[0] != "C").strip()
    stem = visible[:-4] if visible.lower().endswith(".pdf") else visible
    return f"{stem[:MAX_NAME] or 'document'}.pdf"


def _load_credentials(services: Services, visit: Visit) -> bool:
    """Ask the signing service what this person can sign with. False if the person must sign in again."""
    if visit.credentials:
        return True
    for attempt in (1, 2):
        if visit.tokens is None:
            return False
        try:
            visit.credentials = _fetch_credentials(services, visit.tokens.access_token)
        except StepUpRequiredError as challenge:
            # Followed once: a provider that cannot do what the service demands would send the browser round for ever.
            followed, visit.step_up, visit.tokens = visit.step_up, challenge, None
            if followed is not None:
                visit.step_up = None
                raise
        except ServiceRefusedError as e:
            if e.status != requests.codes.unauthorized:
                raise
            if attempt == 1:
                _refresh(services, visit)
        else:
            visit.step_up = None
            return True
    return False


def _fetch_credentials(services: Services, token: str) -> tuple[csc_client.Credential, ...]:
    csc = services.settings.csc
    ids = csc_client.list_credentials(services.http, csc, token)
    return tuple(csc_client.credential_info(services.http, csc, token, each) for each in ids)


def _refresh(services: Services, visit: Visit) -> None:
    old, visit.tokens = visit.tokens, None
    if old is None or old.refresh_token is None:
        return
    try:
        new = oauth_client.refresh(services.metadata, services.settings.client, old.refresh_token)
    except AuthorizationRefusedError:
        return
    visit.tokens = oauth_client.Tokens(
        access_token=new.access_token,
        expires_in=new.expires_in,
        refresh_token=new.refresh_token or old.refresh_token,
        id_token=new.id_token or old.id_token,
        claims=old.claims,
    )


def _sign(services: Services, visit: Visit, sad: str) -> None:
    """Spend the SAD, verify the signed PDF, keep both."""
    order, document, credential = visit.order, visit.document, visit.credential
    if order is None or document is None or credential is None:
        message = "The document is no longer here. Please hand it in again."
        raise ResponseForgedError(message)
    settings = services.settings
    signed = order.redeem(services.http, settings.csc, sad, credential.credential_id)
    path = services.visits.new_path()
    path.write_bytes(signed)
    document.signed_path = path
    document.verdict = ways.judge(order, signed, settings.roots, revocation=settings.check_revocation)
    visit.order = None


def _place(settings: Settings, document: Document) -> dict[str, object] | None:
    """Where the identity provider finds a document, to show it."""
    if not settings.show_documents:
        return None
    return shown_documents.location(f"{settings.public_url}/shown/{document.shown_as}.pdf")


def _set_cookie(response: BaseResponse, value: str, settings: Settings) -> None:
    secure = settings.public_url.startswith("https://")
    response.set_cookie(COOKIE, value, httponly=True, samesite="Lax", secure=secure, path="/")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _filesize(size: int) -> str:
    if size < 1024 * 1024:
        return f"{max(1, round(size / 1024))} KB"
    return f"{size / 1024 / 1024:.1f} MB"


def _certificate_date(value: str) -> str:
    """`20271122...Z` as `2027-11-22`; anything else as it is."""
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}" if value[:8].isdigit() and len(value) >= 8 else value
