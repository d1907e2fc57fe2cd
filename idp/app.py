"""Puts the identity provider together."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final, cast

from flask import Flask, Request, redirect, request, url_for
from flask.sessions import NullSession, SessionInterface, SessionMixin
from flask.templating import Environment
from sqlalchemy import Engine
from werkzeug.wrappers import Response

from connectors.failover import MailFailover, Ordered, SmsFailover
from connectors.ports.messaging import Mailer, SmsGateway
from connectors.registry import load as load_connector
from contract.errors import OperationInvalid
from contract.operation import operator_key_from
from foundation.clock import Clock, SystemClock
from foundation.egress import Egress
from foundation.errors import SettingsError
from foundation.files import read_secret
from foundation.jose import VerificationKey
from idp.authn.password import Passwords
from idp.errors import PlainRedirect
from idp.policy.limits import code_limits, password_limits
from idp.policy.lint import Deployment
from idp.policy.model import Policy
from idp.settings import ApprovalSettings, ConnectorSettings, IdpSettings
from idp.storage import clients
from idp.storage.audit import DatabaseAudit
from idp.storage.engine import check_schema, open_engine, reading
from idp.storage.keys import KeyStore
from idp.storage.seal import Sealer
from idp.web import (
    activate,
    altered,
    browser,
    faults,
    headers,
    health,
    language,
    login,
    mutual_tls,
    oidc,
    pages,
    sign_in_page,
    wording,
)
from idp.web import services as composition
from idp.web.account import setup as account
from idp.web.admin import setup as admin
from idp.web.approval import pages as approval
from idp.web.certificates import present, trust
from idp.web.credential_info import CscCredentialReader
from idp.web.enrol import flow as enrol
from idp.web.policies import FixedPolicy, Policies, Surroundings
from idp.web.prove import setup as prove
from idp.web.remembered import RememberingTrail
from idp.web.services import CredentialReader, Messaging, Services, services
from idp.web.shown import documents
from idp.web.shown import pages as shown

__all__ = ["Services", "create_app", "open_database", "services"]

_MAX_REQUEST_OCTETS: Final = 256 * 1024
_MOST_FILES: Final = 256


def open_database(settings: IdpSettings) -> Engine:
    """An engine on the database that the settings name.

    :raises SecretFileError: the file with its URL cannot be used.
    :raises SettingsError: it names SQLite, in production.
    """
    url = settings.database_url or ""
    if settings.database_url_file is not None:
        url = read_secret(settings.database_url_file).decode()
    return open_engine(url, production=settings.production)


def create_app(
    settings: IdpSettings,
    *,
    clock: Clock | None = None,
    engine: Engine | None = None,
    messaging: Messaging | None = None,
    credentials: CredentialReader | None = None,
    policy: Policy | None = None,
    passwords: Passwords | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Flask:
    """The WSGI application; what is not given is made from the settings.

    No setting takes the place of ``passwords``: it is for whoever measures what a login costs apart from the hash.

    :raises PrivySealError: the database, a key, the policy or a connector cannot be used.
    """
    engine, clock = engine or open_database(settings), clock or SystemClock()
    _check_database(engine, settings)
    keys = KeyStore(engine, settings.key_dir)
    app = _flask(keys)
    seals, audit = Sealer(keys.secret), RememberingTrail(DatabaseAudit(clock), clock)
    messaging = messaging or _messaging(settings)
    around = Surroundings(
        settings=settings,
        clock=clock,
        engine=engine,
        seals=seals,
        audit=audit,
        tighten=_tightened,
        deployment=Deployment(enabled=messaging.factors),
        operators=_operators(settings.policy.approval),
    )
    made = Services(
        policies=Policies(around) if policy is None else FixedPolicy(_tightened(settings, policy), policy),
        clock=clock,
        engine=engine,
        keys=keys,
        seals=seals,
        audit=audit,
        messaging=messaging,
        credentials=credentials or _reader(app, settings),
        random=random,
    )
    composition.install(app, made)
    if settings.certificate is not None:
        trust.install(app, made, settings.certificate)
    documents.install(app, made)
    _assemble(app, passwords)
    mutual_tls.setup(app, settings.mutual_tls)
    return app


class _NoSession(SessionInterface):
    """Flask's own session is always empty, and whoever writes to it fails: what there is of a browser is kept by
    :mod:`idp.web.browser`."""

    def open_session(self, app: Flask, request: Request) -> NullSession:
        """Without a look at any cookie."""
        return self.make_null_session(app)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Nothing: Flask does not even ask for it where the session is a null session."""


class _Templates(Environment):
    """Templates share one set of globals: with one of its own, each would compare it, name by name, with that of every
    other that it takes macros from, for every page."""

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """The common ones, unless somebody gives a template others."""
        return super().make_globals(d) if d else self.globals


class _Flask(Flask):
    """Without coroutines: Flask looks at every function, whenever it is called, whether it is one."""

    jinja_environment = _Templates

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself."""
        return func


def _flask(keys: KeyStore) -> Flask:
    app = _Flask("idp", template_folder="web/templates", static_folder="web/static")
    app.config.update(MAX_CONTENT_LENGTH=_MAX_REQUEST_OCTETS, MAX_FORM_MEMORY_SIZE=_MAX_REQUEST_OCTETS)
    app.session_interface = _NoSession()
    # For Flask-Login, which would otherwise trip over a cookie that somebody made up.
    app.secret_key = keys.secret("flask")
    return app


def _check_database(engine: Engine, settings: IdpSettings) -> None:
    check_schema(engine)
    if not settings.production:
        return
    with reading(engine) as connection:
        served = [client for client in clients.everyone(connection) if client.active]
    plain = ", ".join(client.client_id for client in served if client.registration.plain_uris)
    if plain:
        raise PlainRedirect(f"mode is production: disable the clients with redirect URIs that are not https: {plain}")


def _assemble(app: Flask, passwords: Passwords | None) -> None:
    headers.install(app)
    language.install(app)
    app.jinja_env.filters["duration"] = wording.duration
    browser.install(app)
    altered.install(app)
    faults.install(app)
    login.install(app, passwords)
    sign_in_page.install(app)
    for blueprint in (pages.blueprint, shown.blueprint, health.blueprint, oidc.blueprint):
        app.register_blueprint(blueprint)
    account.setup(app)
    present.setup(app)
    approval.setup(app)
    prove.setup(app)
    enrol.setup(app)
    activate.setup(app)
    admin.setup(app)
    oidc.setup(app)
    app.add_url_rule("/", "home", _home)
    app.context_processor(_page_values)
    app.jinja_env.globals["url_for"] = _addresses(app)


def _addresses(app: Flask) -> Callable[..., str]:
    """``url_for`` of templates.  Where a file of ours is does not change: it is worked out once for each, not half a
    dozen times for every page."""
    files: dict[tuple[str, str], str] = {}

    def url_for(endpoint: str, **values: Any) -> str:
        if endpoint != "static" or values.keys() != {"filename"}:
            return app.url_for(endpoint, **values)
        # Below which path the application is served is the server's to say.
        key = request.script_root, values["filename"]
        found = files.get(key)
        if found is None:
            found = app.url_for(endpoint, **values)
            if len(files) < _MOST_FILES:
                files[key] = found
        return found

    return url_for


def _home() -> Response:
    return redirect(url_for("account.overview"), 303)


def _page_values() -> dict[str, Any]:
    return {"service_name": services().settings.service_name}


def _tightened(settings: IdpSettings, policy: Policy) -> IdpSettings:
    """The settings with the policy's limits.

    Each level's own idle limit lowers a session (:func:`idp.policy.matching.slept`); one that no level bears any more
    ends.
    """
    limits = [level.idle_limit for level in policy.levels]
    longest = max((limit for limit in limits if limit is not None), default=0)
    idle = settings.session.idle_seconds if None in limits else min(settings.session.idle_seconds, longest)
    return dataclasses.replace(
        settings,
        session=dataclasses.replace(settings.session, idle_seconds=idle),
        password=password_limits(settings.password, policy),
        codes=code_limits(settings.codes, policy),
    )


def _operators(approval: ApprovalSettings | None) -> tuple[VerificationKey, ...]:
    """:raises SettingsError: a file is not an operator's key, or two are the same one's."""
    keys: dict[str, VerificationKey] = {}
    faults: list[str] = []
    for path in () if approval is None else approval.operators:
        try:
            key = operator_key_from(path.read_bytes())
        except OSError as error:
            faults.append(f"policy.approval.operators: {path}: cannot be read ({error.strerror})")
        except OperationInvalid as error:
            faults.append(f"policy.approval.operators: {path}: {error}")
        else:
            if key.kid in keys:
                faults.append(f"policy.approval.operators: {path}: the same key as another's")
            keys[key.kid] = key
    if faults:
        raise SettingsError(tuple(faults))
    return tuple(keys.values())


def _messaging(settings: IdpSettings) -> Messaging:
    sms = cast("list[tuple[str, SmsGateway]]", _connectors(settings, settings.messaging.ordered("sms")))
    mail = cast("list[tuple[str, Mailer]]", _connectors(settings, settings.messaging.ordered("mail")))
    return Messaging(
        sms=SmsFailover(Ordered(sms)) if len(sms) > 1 else next((gateway for _, gateway in sms), None),
        mail=MailFailover(Ordered(mail)) if len(mail) > 1 else next((gateway for _, gateway in mail), None),
        certificates=settings.certificate is not None,
    )


def _connectors(settings: IdpSettings, chosen: Iterable[tuple[str, ConnectorSettings]]) -> list[tuple[str, object]]:
    return [
        (name, load_connector("messaging", item.connector, item.settings, production=settings.production))
        for name, item in chosen
    ]


def _reader(app: Flask, settings: IdpSettings) -> CscCredentialReader:
    def token_for(account_id: str, client_id: str) -> str:
        return oidc.self_service_token(composition.of(app), account_id, client_id)

    signing = settings.signing
    return CscCredentialReader(Egress(settings.egress_allow), signing.csc_base, signing.timeout_seconds, token_for)
