"""Composition root of the signing web tier: the CSC API, and the receiver of security events, over the link."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from connectors.ports.pki import CertificateAuthority
from connectors.registry import load as load_connector
from documents.examiner import Examiner
from foundation import log
from foundation.certificates.reading import read_anchors
from foundation.clock import Clock, SystemClock
from foundation.egress import Egress
from foundation.proxied import Proxies, secret_hash
from signing.csc.algorithms import OfferedKeys
from signing.csc.call import MAX_BODY
from signing.csc.certificate_status import CertificateStatus
from signing.csc.core import Rssp
from signing.csc.dialect import dialects
from signing.csc.exchange import EVERY_ANSWER, POLICY
from signing.csc.facade import Facade
from signing.csc.issuer import Issuer
from signing.csc.stamper import Stamper
from signing.csc.views import Exchange, csc_api, http_error, in_front, response_of, unexpected
from signing.csc.work import SigningWork
from signing.enrolment.authority import authority_of
from signing.link.client import SamClient
from signing.link.endpoint import open_client
from signing.link.errors import LinkError
from signing.receiver import receiver_blueprint
from signing.settings import WebSettings

if TYPE_CHECKING:
    from signing.jobs.queue import Jobs
    from signing.jobs.runner import Background

_RSSP: Final = "privyseal-rssp"


def create_app(
    settings: WebSettings,
    *,
    clock: Clock | None = None,
    sam: SamClient | None = None,
    authority: CertificateAuthority | None = None,
    examiner: Examiner | None = None,
) -> Flask:
    """Build the application.

    :param sam: the link's client, where a test has one already; so are ``authority`` and ``examiner``.
    :raises SettingsError: the files of a link over TLS cannot be used, or the proxy's secret.
    :raises ConnectorError: the connector of an authority, for certificates or time-stamps, cannot be used.
    :raises SettingsError: the jobs' database, or a trust anchor, cannot be used.
    :raises JobsUnavailable: the jobs' database does not answer.
    """
    log.configure("signing-web", settings.log_level)
    clock = clock or SystemClock()
    sam = sam or open_client(settings)
    facade = Facade(settings.issuer, clock, Egress(settings.egress_allow))
    if authority is None and settings.pki is not None:
        authority = authority_of(settings.pki, settings)
    issuer = Issuer(settings.issuer, settings.resource, clock, facade)
    keys = OfferedKeys(sam, clock)
    proxies, stamper, evidence = _proxies(settings), _stamper(settings), _evidence(settings, clock)
    jobs = _jobs(settings, clock)
    rssp = Rssp(
        settings,
        sam,
        issuer,
        facade,
        clock,
        keys,
        proxies=proxies,
        authority=authority,
        stamper=stamper,
        evidence=evidence,
        jobs=jobs,
        examiner=examiner,
    )
    app = Flask("signing", static_folder=str(Path(__file__).parent / "static"))
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    exchanges: dict[str, Exchange] = {}
    for dialect in dialects(settings.csc_2_2_path):
        api = csc_api(dialect, rssp)
        app.register_blueprint(api.blueprint)
        exchanges |= api.exchanges
    app.register_blueprint(receiver_blueprint(sam))
    if settings.validation is not None:
        # A web tier that validates nothing loads nothing for it.
        from signing.validation.start import install

        install(app, settings, settings.validation, clock)
    app.register_error_handler(HTTPException, lambda error: response_of(http_error(error)))
    app.register_error_handler(Exception, lambda error: response_of(unexpected(error)))
    app.after_request(_headers)
    app.wsgi_app = in_front(exchanges, app.wsgi_app)  # type: ignore[assignment] # as Flask's documentation has it
    _add_health(app, sam)
    app.extensions[_RSSP] = rssp
    return app


def _proxies(settings: WebSettings) -> Proxies:
    table = settings.mutual_tls
    if table is None:
        return Proxies()
    return Proxies(table.networks, secret_hash(table.proxy_secret_file, "mutual_tls.proxy_secret_file"))


def _stamper(settings: WebSettings) -> Stamper:
    production = settings.mode == "production"
    tables = settings.timestamp_authorities
    return Stamper([load_connector("tsa", item.connector, item.settings, production=production) for item in tables])


def _evidence(settings: WebSettings, clock: Clock) -> CertificateStatus | None:
    table = settings.status
    if table is None:
        return None
    source = load_connector("status", table.connector, table.settings, production=settings.mode == "production")
    anchors = read_anchors(table.trust_anchors, "status.trust_anchors")
    # A connector of an operator's own may know nothing of issuers: then chains have to be complete.
    return CertificateStatus(source, anchors, clock, table, source if hasattr(source, "issuers") else None)


def _jobs(settings: WebSettings, clock: Clock) -> Jobs | None:
    if settings.jobs is None:
        return None
    # A web tier without asynchronous operation loads no database library.
    from signing.jobs.queue import open_jobs

    return open_jobs(settings.jobs, Egress(settings.egress_allow), clock)


def start_jobs(app: Flask) -> Background | None:
    """Carry asynchronous operations out in the background of an app's process; None where it has none."""
    rssp: Rssp = app.extensions[_RSSP]
    if rssp.jobs is None:
        return None
    background = rssp.jobs.background(SigningWork(rssp))
    background.start()
    return background


def _add_health(app: Flask, sam: SamClient) -> None:
    def live() -> Response:
        return jsonify({"status": "ok"})

    def ready() -> Response:
        try:
            sam.ping()
        except LinkError:
            answer = jsonify({"status": "unavailable", "cause": "activation module"})
            answer.status_code = 503
            return answer
        return jsonify({"status": "ok"})

    app.add_url_rule("/health/live", "live", live)
    app.add_url_rule("/health/ready", "ready", ready)


def _headers(response: Response) -> Response:
    for name, value in EVERY_ANSWER:
        response.headers[name] = value
    response.headers.setdefault(*POLICY)
    return response
