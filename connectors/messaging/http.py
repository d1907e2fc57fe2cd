"""What an HTTP request that failed says of the message that it carried."""

from __future__ import annotations

import ssl

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, NewConnectionError

from connectors.ports.messaging import GatewayUnavailable, OutcomeUnknown
from foundation.errors import EgressRefused


def failed(error: requests.RequestException | EgressRefused) -> GatewayUnavailable:
    """The port's error: unavailable where no request was sent for certain, else an unknown outcome."""
    name = type(error).__name__
    if isinstance(error, EgressRefused) or _before_sending(error):
        return GatewayUnavailable(f"the SMS gateway cannot be reached ({name})")
    return OutcomeUnknown(f"the SMS gateway did not answer ({name})")


def _before_sending(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    if isinstance(reason, NewConnectionError | ConnectTimeoutError | NameResolutionError):
        return True
    # A certificate is judged before anything is sent; what else TLS complains of may come later.
    while isinstance(reason, Exception) and not isinstance(reason, ssl.SSLCertVerificationError):
        reason = reason.args[0] if reason.args and isinstance(reason.args[0], Exception) else reason.__cause__
    return isinstance(reason, ssl.SSLCertVerificationError)
