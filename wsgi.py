"""WSGI factories of the web applications, each importing only its own side.

For granian: ``granian --interface wsgi --factory wsgi:idp``. ``PRIVYSEAL_IDP_CONFIG``, ``PRIVYSEAL_WEB_CONFIG`` and
``PRIVYSEAL_PORTAL_CONFIG`` name the settings' files; secrets are never in the environment, because servers copy it into
every request.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


def _config(component: str) -> Path:
    from foundation.settings import process_environment

    name = component.lower()
    return Path(process_environment().get(f"PRIVYSEAL_{component}_CONFIG", f"/etc/privyseal/{name}.toml"))


def idp() -> WSGIApplication:
    """The identity provider and authorisation server."""
    from foundation import log
    from foundation.settings import load
    from foundation.termination import wake_for_signals
    from idp.app import create_app
    from idp.serving import served
    from idp.settings import IdpSettings

    wake_for_signals()
    log.configure("idp")
    return served(create_app(load(IdpSettings, _config("IDP"), prefix="IDP")))


def signing() -> WSGIApplication:
    """The signing web tier: the CSC API."""
    from foundation.memory import give_back_large_blocks, keep_for_good
    from foundation.settings import load
    from foundation.termination import wake_for_signals
    from signing.app import create_app, start_jobs
    from signing.settings import WebSettings

    wake_for_signals()
    app = create_app(load(WebSettings, _config("WEB"), prefix="WEB"))
    start_jobs(app)
    keep_for_good()
    give_back_large_blocks()
    return app


def portal() -> WSGIApplication:
    """The page for people: a relying party of both."""
    from foundation import log
    from foundation.memory import keep_for_good
    from foundation.settings import load
    from foundation.termination import wake_for_signals
    from portal.app import create_app
    from portal.purger import Purger
    from portal.settings import PortalSettings
    from portal.web.parts import of

    wake_for_signals()
    log.configure("portal")
    app = create_app(load(PortalSettings, _config("PORTAL"), prefix="PORTAL"))
    Purger(of(app)).start()
    keep_for_good()
    return app
