"""Who says that a browser presented a certificate: the proxy in front, or our own listener.

A proxy tells it in two headers (RFC 9440), and is believed as :mod:`foundation.proxied` says.  Our own listener puts
the certificate where no header of a client's can reach.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from flask import Request

from foundation import log
from foundation.certificates.reading import read
from foundation.proxied import CERTIFICATE, PROXY_SECRET, Proxies
from idp.authn.certificate.errors import CertificateRefused
from idp.authn.certificate.presented import Presented, from_headers
from idp.web.certificates.trust import Trust
from idp.web.services import services

LISTENER: Final = "privyseal.client_certificate"
"""In the WSGI environment of our own listener: the certificate, DER, or nothing where none was presented.  Names of
headers begin with ``HTTP_`` there, so no client can write it."""
_CHAIN: Final = "Client-Cert-Chain"
_logger = log.get(__name__)


class Ignored(CertificateRefused):
    """Somebody sent the headers of a proxy and is none."""

    code = "certificate_header_ignored"

    def __init__(self, reason: str) -> None:
        super().__init__("missing", "headers about a certificate came from somebody who is no proxy of ours")
        self.reason = reason


def is_certificate_host(request: Request, trust: Trust) -> bool:
    """Whether this request came to where certificates are presented."""
    return LISTENER in request.environ or request.host == urlsplit(trust.settings.origin).netloc


def presented(request: Request, trust: Trust) -> Presented | None:
    """The certificate that the browser presented in the handshake; None: it presented none.

    :raises Ignored: there are headers about one, and no proxy of ours sent them.
    :raises CertificateRefused: what a proxy of ours sent is no certificate.
    """
    if LISTENER in request.environ:
        der: bytes = request.environ[LISTENER]
        return Presented(read(der)) if der else None
    certificate, chain = request.headers.getlist(CERTIFICATE), request.headers.getlist(_CHAIN)
    reason = _no_proxy(request, trust)
    if reason is not None:
        if certificate or chain or PROXY_SECRET in request.headers:
            fields = {"peer": request.remote_addr, "cause": reason}
            _logger.warning("headers about a certificate were ignored", extra={"fields": fields})
            raise Ignored(reason)
        return None
    return from_headers(certificate, chain)


def _no_proxy(request: Request, trust: Trust) -> str | None:
    """Why whoever connects is no proxy of ours; None: it is one."""
    proxies = Proxies(services().settings.trusted_networks, trust.proxy_secret_sha256)
    return proxies.reason_against(request.remote_addr, request.headers.getlist(PROXY_SECRET))
