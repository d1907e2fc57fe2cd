"""Where a request comes from, behind the reverse proxies that the operator names."""

from __future__ import annotations

from flask import request

from foundation.forwarded import FORWARDED, address_behind
from idp.web.services import services

__all__ = ["address_behind", "client_address"]


def client_address() -> str | None:
    """The address that a policy's conditions on networks look at in this request; None: it is not known.

    Nothing but this comes from a forwarded header: the issuer, links and cookies are the settings' (SES-10).
    """
    trusted = services().settings.trusted_networks
    # Of lines with the same name a WSGI server makes one, in their order (RFC 9110 5.3).
    forwarded = request.headers.get(FORWARDED)
    return address_behind(request.remote_addr, () if forwarded is None else (forwarded,), trusted)
