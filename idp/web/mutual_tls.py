"""The host where clients show a certificate (RFC 8705): some endpoints of the authorization server once more.

A host of its own, because a TLS server that asks for certificates asks every browser too.  Nothing else is served
there, and nowhere else is a certificate of a client's looked at.
"""

from __future__ import annotations

from typing import Final, cast
from urllib.parse import urlsplit

from flask import Flask, abort, current_app, request

from foundation import log
from foundation.errors import ClientCertificateInvalid
from foundation.proxied import Proxies, secret_hash
from idp.certificate_settings import MutualTlsSettings
from idp.oidc.metadata import MUTUAL_TLS_ENDPOINTS
from idp.web.services import services

_EXTENSION: Final = "privyseal.mutual_tls"
_PATHS: Final = frozenset(MUTUAL_TLS_ENDPOINTS.values())
_logger = log.get(__name__)


def setup(app: Flask, settings: MutualTlsSettings | None) -> None:
    """Serve those endpoints there, and nothing else.

    :raises SettingsError: :raises SecretFileError: the proxy's secret cannot be used.
    """
    if settings is not None:
        app.extensions[_EXTENSION] = secret_hash(settings.proxy_secret_file, "mutual_tls.proxy_secret_file")
        app.before_request(_apart)


def _is_here() -> bool:
    settings = services().settings.mutual_tls
    return settings is not None and request.host == urlsplit(settings.origin).netloc


def _apart() -> None:
    if _is_here() and request.path not in _PATHS:
        abort(404)


def thumbprint() -> str | None:
    """``x5t#S256`` of the certificate that the client of this request showed; None: it showed none.

    One of which nobody knows who says so counts for none: a client that needs one is refused for that.
    """
    if not _is_here():
        return None
    secret = cast("bytes | None", current_app.extensions.get(_EXTENSION))
    try:
        return Proxies(services().settings.trusted_networks, secret).thumbprint(
            request.remote_addr, request.headers.getlist
        )
    except ClientCertificateInvalid as error:
        fields = {"peer": request.remote_addr, "cause": str(error)}
        _logger.warning("a client's certificate was ignored", extra={"fields": fields})
        return None
