"""Who says that a browser presented a certificate: the proxy in front, or our own listener.

Only a TLS server can know that somebody has a certificate's key.  A proxy tells it in two headers (RFC 9440), and is
believed where it connects from one of ``trusted_proxies`` and proves itself by a secret of the operator's besides: the
address alone may be shared with others, the secret alone may have been copied.  Our own listener puts the certificate
where no header of a client's can reach.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from flask import Request

from foundation import log
from idp.authn.certificate.errors import CertificateRefused
from idp.authn.certificate.presented import Presented, from_headers, read
from idp.web.certificates.trust import Trust
from idp.web.services import services

PROXY_SECRET: Final = "X-Privyseal-Proxy"
LISTENER: Final = "privyseal.client_certificate"
"""In the WSGI environment of our own listener: the certificate, DER, or nothing where none was presented.  Names of
headers begin with ``HTTP_`` there, so no client can write it."""
_CERTIFICATE: Final = "Client-Cert"
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
    certificate, chain = request.headers.getlist(_CERTIFICATE), request.headers.getlist(_CHAIN)
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
    secrets = request.headers.getlist(PROXY_SECRET)
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return "address"
    address = getattr(address, "ipv4_mapped", None) or address
    if not any(address in network for network in services().settings.trusted_networks):
        return "address"
    if len(secrets) != 1 or not trust.is_proxy(secrets[0]):
        return "secret"
    return None
