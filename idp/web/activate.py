"""Activation: somebody who has nothing yet to prove who they are with types a code that they were given (ENR-01).

The code opens a few minutes in this browser in which a password may be set and then one further factor be added, and
nothing else.  It is evidence of nothing: whoever has finished signs in like everybody else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, cast

from flask import Blueprint, Flask, current_app, make_response, redirect, render_template, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from idp.authn.activation import Code, read_code
from idp.authn.rate import FailureRate, site_of
from idp.errors import ActivationLost, ActivationRefused
from idp.storage import accounts, activations, authenticators, enrolments
from idp.storage.activations import Tried
from idp.storage.engine import reading
from idp.storage.enrolments import NewEnrolment
from idp.web import browser, faults
from idp.web.address import client_address
from idp.web.enrol.origin import FIRST, Activated, activated, allows, held
from idp.web.enrol.registry import enroller_of, kinds
from idp.web.language import gettext as _
from idp.web.services import services

blueprint = Blueprint("activate", __name__, url_prefix="/activate")

_EXTENSION: Final = "privyseal.activation_rate"
_MOST_FAILURES: Final = 30
_WINDOW: Final = timedelta(minutes=10)
_MAX_USERNAME: Final = 256
_FORBIDDEN: Final = 403
_TOO_MANY: Final = 429


def setup(app: Flask) -> None:
    """Put the pages into an app."""
    app.register_blueprint(blueprint)
    app.extensions[_EXTENSION] = FailureRate(_MOST_FAILURES, _WINDOW)


@blueprint.get("")
def show() -> Response:
    """Where a code is typed; in the browser in which it was, what is to be done next."""
    session = browser.ensure()
    if session.account_id is not None:
        return _page("activate_other.html", account=browser.account_of(session))
    begun = activated()
    return _form() if begun is None else _next(begun)


@blueprint.post("")
def typed() -> Response:
    """Somebody typed a code.  Whatever is wrong with it, the answer is the same (OTP-11)."""
    session = browser.current()
    if session is None or session.account_id is not None:
        return redirect(url_for("activate.show"), 303)
    rate, site, now = cast("FailureRate", current_app.extensions[_EXTENSION]), site_of(client_address()), _now()
    wait = rate.wait_seconds(site, now)
    if wait:
        response = _form(_("Too many codes were not right. Please try again in a few minutes."), _TOO_MANY)
        response.headers["Retry-After"] = str(wait)
        return response
    try:
        opened = _open(request.form.get("username", ""), read_code(request.form.get("code", "")))
    except ActivationRefused:
        opened = False
    if not opened:
        rate.failed(site, now)
        return _form(
            _("That cannot be used. Check both, and whether the code is still the last one that you were given."),
            _FORBIDDEN,
        )
    return redirect(url_for("activate.show"), 303)


@blueprint.post("/factors")
def choose() -> Response:
    """Begin to bind what is next; it is bound by the pages of :mod:`idp.web.enrol`."""
    begun, kind = _begun(), request.form.get("factor", "")
    enroller = enroller_of(kind)
    if enroller is None or kind not in _offered(begun):
        return redirect(url_for("activate.show"), 303)
    enrolment_id, now = browser.new_id(services()), _now()
    prepared = enroller.prepare(enrolment_id, begun.account)
    new = NewEnrolment(
        enrolment_id,
        begun.account.id,
        browser.ensure().id,
        kind,
        begun.activation.id,
        "",
        prepared.secret_box,
        prepared.data,
        origin="activation",
    )
    with services().engine.begin() as connection:
        enrolments.purge(connection, now)
        enrolments.begin(connection, services().seals, new, now)
    return redirect(url_for("enrol.show", enrolment_id=enrolment_id), 303)


@blueprint.post("/finish")
def finish() -> Response:
    """The person has a further factor already and needs no other one."""
    begun = _begun()
    if not _may_finish(begun):
        return redirect(url_for("activate.show"), 303)
    with services().engine.begin() as connection:
        activations.proceed(connection, begun.activation.id, browser.ensure().id, _now(), last=True)
    return redirect(url_for("activate.done"), 303)


@blueprint.get("/done")
def done() -> Response:
    """The person can sign in now."""
    return _page("activate_done.html")


@blueprint.errorhandler(ActivationLost)
def lost(_error: ActivationLost) -> Response:
    """It is over, or was begun in another browser."""
    return faults.page(
        _("This request is over"),
        _("It has ended or expired. What you have set up stays. If something is missing, ask for another code."),
        400,
        way_on=(url_for("activate.show"), _("I have an activation code")),
    )


def _open(username: str, code: Code) -> bool:
    """Try a code; a right one gives the browser another session, in which the activation goes on (SES-01)."""
    # PostgreSQL takes no NUL in a text; nobody's name has one.
    name = "" if "\0" in username else username[:_MAX_USERNAME]
    with_services, session_id = services(), browser.new_id(services())
    with with_services.engine.begin() as connection:
        account = accounts.find_by_username(connection, name)
        tried = activations.open_with(
            connection,
            with_services.seals,
            with_services.keys.secret,
            account_id=account.id if account is not None and account.active else "",
            code=code,
            session_id=session_id,
            life=timedelta(seconds=with_services.settings.session.interaction_seconds),
            now=_now(),
        )
        if tried.opened:
            browser.begin_anew(connection, session_id)
        _record(connection, tried, session_id)
    return tried.opened


def _record(connection: Connection, tried: Tried, session_id: str) -> None:
    if tried.found is None:
        return
    fields: dict[str, Any] = {
        "account_id": tried.found.account_id,
        "activation_id": tried.found.id,
        "purpose": tried.found.purpose,
    }
    if tried.opened:
        services().audit.record(connection, "activation.opened", **fields, session_id=session_id)
    else:
        services().audit.record(connection, "activation.refused", **fields, failures=tried.failures)


def _begun() -> Activated:
    """Whoever is in the middle of an activation in this browser.

    :raises ActivationLost: nobody is.
    """
    begun = activated()
    if begun is None:
        raise ActivationLost("no activation is open in this browser")
    return begun


def _offered(begun: Activated) -> tuple[str, ...]:
    """What may be bound next: the password, then what is enabled here and the person has not."""
    with reading(services().engine) as connection:
        having = held(connection, begun.account.id)
    enabled = services().messaging.factors
    return tuple(kind for kind in kinds() if kind in enabled and allows(having, kind))


def _may_finish(begun: Activated) -> bool:
    with reading(services().engine) as connection:
        owned = authenticators.of_account(connection, services().seals, begun.account.id)
    usable = {item.kind for item in owned if not item.disabled}
    return FIRST in usable and bool((usable - {FIRST}) & services().messaging.factors)


def _next(begun: Activated) -> Response:
    offered = _offered(begun)
    return _page(
        "activate_next.html",
        account=begun.account,
        offered=offered,
        first=FIRST in offered,
        finish=_may_finish(begun),
        until=begun.activation.expires_at,
    )


def _form(notice: str = "", status: int = 200) -> Response:
    username = request.form.get("username", "")[:_MAX_USERNAME] if request.method == "POST" else ""
    return _page("activate.html", status, notice=notice, username=username)


def _page(template: str, status: int = 200, **values: Any) -> Response:
    session = browser.current()
    return make_response(render_template(template, csrf="" if session is None else session.csrf, **values), status)


def _now() -> Any:
    return services().clock.now()
