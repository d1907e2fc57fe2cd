"""The browser at the other end: its session, its cookie, and proof that a form came from a page of ours.

The cookie holds a random token and nothing else.  It changes when somebody signs in and at every step-up (SES-01);
the session's row keeps its SHA-256.  Every POST is refused unless it carries the form token of that very session,
signing in included (SES-04).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeVar, cast

from flask import Flask, Response, current_app, g, request
from flask_login import LoginManager
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from foundation.jose import encode_base64url
from idp.authn.session import Pause
from idp.errors import CsrfRefused
from idp.policy.evidence import Evidence
from idp.storage import accounts, authenticators, grants, interactions, sessions
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator
from idp.storage.engine import reading
from idp.storage.interactions import StoredInteraction
from idp.storage.sessions import StoredSession
from idp.web import language, revocation
from idp.web.services import Services, services

CSRF_FIELD: Final = "csrf_token"
_EXEMPT: Final = "privyseal_csrf_exempt"
_KNOWN: Final = "browser_known"
"""In ``g``: the session began in this request, with all that it has."""
_SIGNED_IN: Final = "account_signed_in"
"""In ``g``: who signed in in this request, as the transaction that did it read them."""
_INTERACTION: Final = "interaction_read_with_session"
"""In ``g``: the interaction that the request's path names, as it was read together with the session."""
_WRITTEN: Final = "browser_written"
"""In ``g``: session and interaction as a step-up has written them, for when that is committed."""
_UNREAD: Final = object()
_TOKEN_OCTETS: Final = 32
_ID_OCTETS: Final = 16
_MAX_COOKIE: Final = 128
_REFUSED: Final = 400
_PICKED: Final = frozenset("AEIM")
"""Of the 64 characters with which an identifier may begin."""

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """The live session of the browser that sent this request."""

    id: str
    account_id: str | None
    evidence: tuple[Evidence, ...]
    csrf: str
    """Goes into every form of this session's pages."""
    pauses: tuple[Pause, ...] = ()
    """Times in which nobody used it."""


class User:
    """The signed-in person, as Flask-Login wants one."""

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def __init__(self, account: Account) -> None:
        self.account = account

    def get_id(self) -> str:
        """The account's id."""
        return self.account.id


def new_id(with_services: Services) -> str:
    """A random identifier: 128 bits, base64url."""
    return encode_base64url(with_services.random(_ID_OCTETS))


def cookie_name(with_services: Services) -> str:
    """With https, the prefix by which browsers refuse the cookie to any other host, path or plain connection."""
    return "__Host-privyseal" if with_services.settings.secure_cookies else "privyseal_session"


def current() -> BrowserSession | None:
    """The live session of this request's browser, or None."""
    found = g.get("browser", _UNREAD)
    if found is _UNREAD:
        g.browser = found = _load()
    return cast("BrowserSession | None", found)


def lately() -> str | None:
    """The identifier of the session that this browser has or had, unless it was ended; it proves nothing."""
    found = current()
    token = request.cookies.get(cookie_name(services()), "")
    if found is not None or not 0 < len(token) <= _MAX_COOKIE:
        return None if found is None else found.id
    with reading(services().engine) as connection:
        return sessions.find_ended(connection, services().seals, token)


def ensure() -> BrowserSession:
    """The browser's session; an anonymous one begins if there is none."""
    found = current()
    if found is None:
        with services().engine.begin() as connection:
            found = ensure_in(connection)
    return found


def ensure_in(connection: Connection) -> BrowserSession:
    """The same, in the transaction of what begins in the session."""
    found = current()
    if found is None:
        found = _begin(connection, None)
        # Counting costs as much as there are: chance picks one of sixteen.
        if found.id[0] in _PICKED:
            sessions.evict(connection)
    return found


def id_once_signed_in(account_id: str) -> str:
    """The identifier that the browser's session will have when this person has signed in."""
    before = current()
    return before.id if before is not None and before.account_id == account_id else new_id(services())


def sign_in(connection: Connection, account: Account, item: Evidence, session_id: str) -> BrowserSession:
    """Somebody identified themselves: a new session takes the place of the browser's, with a new cookie.

    When the same person signs in again, the session stays and its cookie changes.

    :param session_id: what :func:`id_once_signed_in` gave.
    """
    now = services().clock.now()
    before = current()
    setattr(g, _SIGNED_IN, account)
    if before is not None and before.account_id == account.id:
        return step_up(connection, before, item)
    after = _begin(connection, account.id, session_id, item=item)
    setattr(g, _KNOWN, True)
    if before is not None:
        # Not those of another person who was signed in: nobody goes on with what they began (SES-07).
        if before.account_id is None:
            interactions.move_unclaimed(connection, services().seals, before.id, after.id)
        else:
            services().outbox.session_ended(connection, before.id)
        sessions.revoke(connection, before.id, now)
        if before.account_id is not None:
            # Whoever redeems a code of it at this moment finds the grant dead: no ID token comes after the logout.
            grants.revoke_sessions(connection, [before.id], now)
    # As with strangers' sessions, chance picks one of sixteen.
    if after.id[0] in _PICKED:
        _make_room(connection, account.id, after.id)
    return after


def _make_room(connection: Connection, account_id: str, kept: str) -> None:
    found = sessions.beyond(connection, account_id, kept, services().clock.now())
    if not found.live and not found.ended:
        return
    revocation.end_sessions(connection, account_id, found.live, "too_many")
    sessions.forget(connection, (*found.live, *found.ended))


def begin_anew(connection: Connection, session_id: str) -> BrowserSession:
    """A new session that nobody is signed in in, in the place of the browser's, which nobody was either.

    Something begins in it that is worth more than what was there, so it has another cookie (SES-01).
    """
    before = current()
    after = _begin(connection, None, session_id)
    if before is not None:
        interactions.move_unclaimed(connection, services().seals, before.id, after.id)
        sessions.revoke(connection, before.id, services().clock.now())
    return after


def step_up(
    connection: Connection,
    session: BrowserSession,
    item: Evidence | None = None,
    *,
    stored: StoredInteraction | None = None,
) -> BrowserSession:
    """The session's cookie changes: one that was stolen before the step-up does not profit from it.

    :param item: what was proved, where it holds for the whole session.
    :param stored: the interaction in which it was proved, as it is once the transaction is committed.
    """
    token = encode_base64url(services().random(_TOKEN_OCTETS))
    row = sessions.change_token(connection, services().seals, session.id, token, item)
    g.browser_cookie = token
    g.browser = session
    g.pop(_KNOWN, None)
    g.pop(_INTERACTION, None)
    # What may yet be rolled back counts for nobody before :func:`reload`.
    setattr(g, _WRITTEN, (_session_of(row), stored))
    return session


def sign_out() -> None:
    """End the browser's session on the server and in the browser, with all that was granted in it."""
    found = current()
    if found is None:
        return
    with services().engine.begin() as connection:
        now = services().clock.now()
        sessions.lock(connection, [found.id])
        services().outbox.session_ended(connection, found.id)
        sessions.revoke(connection, found.id, now)
        grants.revoke_sessions(connection, [found.id], now)
        if found.account_id is not None:
            services().audit.record(
                connection, "session.ended", account_id=found.account_id, session_id=found.id, cause="signed_out"
            )
    g.browser = None
    g.browser_cookie = ""


def reload() -> None:
    """Read the browser's session again in this request: what was committed changed it."""
    found = current()
    if found is None or g.pop(_KNOWN, False):
        return
    written = g.pop(_WRITTEN, None)
    if written is not None:
        # As the transaction had it, with its row locked.
        g.browser, stored = written
        setattr(g, _INTERACTION, stored)
        return
    seals, now = services().seals, services().clock.now()
    named = _interaction_named()
    with reading(services().engine) as connection:
        again = None if named is None else interactions.find_later(connection, seals, named, found.id, now)
        row = sessions.find_by_id(connection, seals, found.id, now, services().settings.session)
        setattr(g, _INTERACTION, None if again is None or row is None else again())
    g.browser = None if row is None else _session_of(row)


def _session_of(row: StoredSession) -> BrowserSession:
    return BrowserSession(row.id, row.account_id, row.evidence, form_token(row.id), row.pauses)


def interaction_read(session: BrowserSession, interaction_id: str) -> StoredInteraction | None:
    """The open interaction as it was when the session was read, once; None: it has to be looked for."""
    stored = cast("StoredInteraction | None", g.pop(_INTERACTION, None))
    return stored if stored is not None and (stored.id, stored.session_id) == (interaction_id, session.id) else None


def _interaction_named() -> str | None:
    found = cast("str | None", (request.view_args or {}).get("interaction_id"))
    # The database takes no NUL: whoever looks for the interaction says so of one that has it, and not of the session.
    return None if found is None or "\0" in found else found


def account_of(session: BrowserSession | None) -> Account | None:
    """The active account that is signed in, or None."""
    if session is None or session.account_id is None:
        return None
    found = _signed_in(session)
    if found is None:
        with reading(services().engine) as connection:
            found = accounts.find(connection, session.account_id)
    return _active(found)


def person_of(
    session: BrowserSession | None, besides: Callable[[Connection], None] | None = None
) -> tuple[Account, tuple[Authenticator, ...]] | None:
    """The active account that is signed in, and its authenticators, disabled ones too: read together.

    :param besides: puts off what else is to be asked with them.
    """
    if session is None or session.account_id is None:
        return None
    found = _signed_in(session)
    with reading(services().engine) as connection:
        if besides is not None:
            besides(connection)
        looked_for = None if found is not None else accounts.later(connection, session.account_id)
        owned = authenticators.of_account(connection, services().seals, session.account_id)
        account = _active(found if looked_for is None else looked_for())
    return None if account is None else (account, owned)


def _signed_in(session: BrowserSession) -> Account | None:
    """Who signed in in this request, if it is theirs."""
    found = cast("Account | None", g.get(_SIGNED_IN))
    return found if found is not None and found.id == session.account_id else None


def _active(found: Account | None) -> Account | None:
    if found is None or not found.active:
        return None
    language.remember(found.locale)
    return found


def csrf_exempt(view: View) -> View:
    """Mark a view that browsers do not post forms to: it authenticates its callers by other means."""

    @wraps(view)
    def marked(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    setattr(marked, _EXEMPT, True)
    return cast("View", marked)


def require_csrf() -> None:
    """Before every request: a POST carries its session's form token.

    :raises CsrfRefused: there is no session, no token, or another session's.
    """
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or getattr(view, _EXEMPT, False):
        return
    found = current()
    given = request.form.get(CSRF_FIELD, "")
    if found is None or not hmac.compare_digest(found.csrf.encode(), given.encode("utf-8", "surrogatepass")):
        raise CsrfRefused("the form does not belong to this browser's session")


def form_token(session_id: str) -> str:
    """What every form of this session's pages carries."""
    key = services().keys.secret("form tokens")
    return encode_base64url(hmac.new(key, session_id.encode(), hashlib.sha256).digest())


def _load() -> BrowserSession | None:
    with_services = services()
    token = request.cookies.get(cookie_name(with_services), "")
    if not token or len(token) > _MAX_COOKIE:
        return None
    now, seals, named = with_services.clock.now(), with_services.seals, _interaction_named()
    with reading(with_services.engine) as connection:
        own = None if named is None else interactions.of_token_later(connection, seals, named, token, now)
        row = sessions.find_by_token(connection, seals, token, now, with_services.settings.session)
        setattr(g, _INTERACTION, None if own is None or row is None else own(row.id))
    if row is None:
        return None
    if sessions.needs_touch(row, now):
        with with_services.engine.begin() as connection:
            sessions.touch(connection, with_services.seals, row, now)
    # Another request may have noted the activity first: this one's session had its pause all the same.
    return BrowserSession(row.id, row.account_id, row.evidence, form_token(row.id), row.pauses_until(now))


def _begin(
    connection: Connection, account_id: str | None, session_id: str = "", *, item: Evidence | None = None
) -> BrowserSession:
    with_services = services()
    g.pop(_WRITTEN, None)
    session_id = session_id or new_id(with_services)
    token = encode_base64url(with_services.random(_TOKEN_OCTETS))
    sessions.create(
        connection,
        with_services.seals,
        session_id=session_id,
        token=token,
        account_id=account_id,
        device=request.user_agent.string,
        now=with_services.clock.now(),
        limits=with_services.settings.session,
        evidence=item,
    )
    g.browser_cookie = token
    g.browser = BrowserSession(session_id, account_id, () if item is None else (item,), form_token(session_id))
    return cast("BrowserSession", g.browser)


def _write_cookie(response: Response) -> Response:
    token = g.pop("browser_cookie", None)
    if token is None or (token and response.status_code >= _REFUSED and not _is_kept(token)):
        return response
    with_services = services()
    name = cookie_name(with_services)
    secure = with_services.settings.secure_cookies
    if token:
        response.set_cookie(name, token, secure=secure, httponly=True, samesite="Lax", path="/")
    else:
        response.delete_cookie(name, secure=secure, httponly=True, samesite="Lax", path="/")
    return response


def _is_kept(token: str) -> bool:
    """Whether the session of a new cookie is there.

    What failed was perhaps rolled back, and the session with it: the browser then keeps the cookie that it has.
    """
    with_services = services()
    now, limits = with_services.clock.now(), with_services.settings.session
    try:
        with reading(with_services.engine) as connection:
            return sessions.find_by_token(connection, with_services.seals, token, now, limits) is not None
    except SQLAlchemyError:
        return False


def install(app: Flask) -> None:
    """Hook the session, the form token and Flask-Login into an app."""
    app.before_request(require_csrf)
    app.after_request(_write_cookie)
    manager = LoginManager()
    # Flask-Login's own cookies and its session are not used: the person is whoever the server-side session names.
    manager.session_protection = None
    manager.request_loader(_load_user)
    # What its init_app does beside this looks after each request for cookies of its own, which there are not, and gives
    # every template the person, for whom the account would be read once more.
    cast("Any", app).login_manager = manager


def _load_user(_request: Any) -> User | None:
    account = account_of(current())
    return None if account is None else User(account)
