"""The way on from a page at which something ends: back to the relying party that asked, or to the person's own pages.

It never leads to an address that somebody sent (SES-08): only to the site of a redirect URI that is registered.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from flask import g, request, url_for

from idp.errors import InteractionExpired
from idp.oidc.client import Client
from idp.storage import clients, interactions
from idp.storage.engine import reading
from idp.web import browser
from idp.web.certificates.transport import LISTENER
from idp.web.language import text_on_page as _
from idp.web.services import services

WayOn = tuple[str, str]
"""An address, and what its link says."""


def account() -> WayOn:
    """The person's own pages, which are on the issuer's host alone."""
    settings = services().settings
    apart = {urlsplit(host.origin).netloc for host in (settings.approval, settings.certificate) if host is not None}
    elsewhere = request.host in apart or LISTENER in request.environ
    return (settings.issuer if elsewhere else "") + url_for("account.overview"), _("Your account")


def of_expired(error: InteractionExpired) -> WayOn:
    """The site of whoever asked, as it was checked when the interaction began."""
    return _site(error.return_to, error.party) or account()


def of_client(client: Client | None) -> WayOn:
    """The site of a relying party that is served."""
    if client is None:
        return account()
    # It may have been registered with the settings of another mode.
    served = client.without_plain_uris() if services().settings.production else client
    sites = (_site(uri, client.registration.name) for uri in served.registration.redirect_uris)
    return next((site for site in sites if site is not None), account())


def of_request() -> WayOn:
    """Back to whoever asked for the interaction that this request's address names, where this browser was in it.

    Administrators go on among the pages to which they were admitted.
    """
    if "administrator" in g:
        return url_for("admin.overview"), _("Administration")
    interaction_id = (request.view_args or {}).get("interaction_id")
    # The database takes no NUL: an address with one is refused, and this looks for the refusal's way on.
    session_id = None if interaction_id is None or "\0" in interaction_id else browser.lately()
    if session_id is None:
        return account()
    with reading(services().engine) as connection:
        client_id = interactions.whose(connection, str(interaction_id), session_id)
        return of_client(None if client_id is None else clients.find_active(connection, client_id))


def _site(uri: str, name: str) -> WayOn | None:
    """The first page there; None where a program of the person's own waits for the answer (RFC 8252 7.3), or nobody."""
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or not parts.netloc or _loopback(parts):
        return None
    return f"{parts.scheme}://{parts.netloc}/", _("Go back to %(party)s", party=name)


def _loopback(parts: SplitResult) -> bool:
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
