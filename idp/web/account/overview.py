"""The first page: what the person signs in with, and where they are signed in."""

from __future__ import annotations

from flask import redirect, url_for
from werkzeug.wrappers import Response

from idp.authn.methods import NATIVE, SINGLE, known_length
from idp.authn.recovery import LOW
from idp.policy.evidence import MIN_LENGTH_ALONE
from idp.storage import authenticators, history, recovery, sessions
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from idp.storage.sessions import StoredSession
from idp.web import browser, faults, revocation, wording
from idp.web.account.common import blueprint, me, page, refused, signed_in
from idp.web.enrol.registry import kinds as enrolled_kinds
from idp.web.language import gettext as _
from idp.web.services import services


@blueprint.get("/")
@signed_in
def overview() -> Response:
    """Factors and sessions, also those idle for too long for a browser, while what was granted in them lasts."""
    account, now = me(), services().clock.now()
    with reading(services().engine) as connection:
        owned = authenticators.of_account(connection, services().seals, account.id)
        lasting = sessions.lasting(connection, services().seals, account.id, now)
        networks = history.networks(connection, account.id, [item.id for item in lasting])
    shown = sorted(_shown(owned), key=lambda item: NATIVE.index(item.kind))
    offered = [kind for kind in enrolled_kinds() if kind in services().messaging.factors]
    replaceable = [kind for kind in offered if kind in SINGLE and any(item.kind == kind for item in shown)]
    return page(
        "account.html",
        factors=[described(item) for item in shown],
        sessions=sorted(lasting, key=lambda item: item.last_seen_at, reverse=True),
        networks=networks,
        wording=wording,
        addable=[kind for kind in offered if kind not in replaceable],
        replaceable=replaceable,
    )


def described(item: Authenticator) -> dict[str, object]:
    """What the pages say of an authenticator."""
    now = services().clock.now()
    waiting = not item.disabled and item.not_before > now
    return {
        "id": item.id,
        "kind": item.kind,
        "address": " · ".join(text for text in (item.masked_address, item.label) if text),
        "state": "off" if item.disabled else "waiting" if waiting else "on",
        "since": item.created_at,
        "used": item.last_used,
        "not_before": item.not_before,
        "manageable": not item.disabled,
        "few_left": _few_left(item),
        "longer": _longer(item),
    }


def _longer(item: Authenticator) -> int | None:
    """Characters that a password would need to stand alone, where it is known in this browser that it has fewer."""
    session, needed = browser.current(), services().settings.password.min_length
    known = None if session is None else known_length(item.id, session.evidence)
    return needed if known is not None and known < MIN_LENGTH_ALONE <= needed else None


def _few_left(item: Authenticator) -> int | None:
    """How many recovery codes are left, where the person should make new ones."""
    if item.kind != "recovery_code" or item.disabled:
        return None
    with reading(services().engine) as connection:
        left = recovery.left(connection, item.id)
    return left if left <= LOW else None


def _shown(owned: tuple[Authenticator, ...]) -> list[Authenticator]:
    """The enabled ones, and of a kind that has none, the last one."""
    last = {item.kind: item for item in owned}
    enabled = [item for item in owned if not item.disabled]
    return enabled + [item for kind, item in last.items() if kind not in {found.kind for found in enabled}]


@blueprint.post("/sessions/<session_id>/revoke")
@signed_in
def revoke(session_id: str) -> Response:
    """End one of the person's sessions; another person's is left alone."""
    return _end([item.id for item in _mine() if item.id == session_id])


@blueprint.post("/sessions/revoke-others")
@signed_in
def revoke_others() -> Response:
    """End all of the person's sessions but this browser's."""
    current = browser.current()
    return _end([item.id for item in _mine() if current is not None and item.id != current.id])


def _mine() -> tuple[StoredSession, ...]:
    with reading(services().engine) as connection:
        return sessions.lasting(connection, services().seals, me().id, services().clock.now())


def _end(session_ids: list[str]) -> Response:
    if not session_ids:
        return refused()
    with services().engine.begin() as connection:
        revocation.end_sessions(connection, me().id, session_ids, "revoked")
    return redirect(url_for("account.overview"), 303)


@blueprint.post("/sign-out")
def sign_out() -> Response:
    """End this browser's session."""
    browser.sign_out()
    again = (url_for("account.overview"), _("Sign in"))
    return faults.page(_("You are signed out"), _("Your session on this device has ended."), 200, way_on=again)
