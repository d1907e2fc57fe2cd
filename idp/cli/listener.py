"""``privyseal idp certificate-listener``: ask browsers for certificates without a proxy in front."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any

from foundation import log
from foundation.errors import SettingsError
from foundation.files import read_secret
from idp.cli.common import add
from idp.settings import IdpSettings


def add_commands(commands: Any) -> None:
    """Add ``certificate-listener``."""
    text = "serve the page where certificates are presented, over TLS, until it is told to end"
    command = add(commands, "certificate-listener", _serve, text)
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    command.add_argument("--port", type=int, default=8443, help="default %(default)s; 0: any free port")
    command.add_argument("--certificate", type=Path, required=True, metavar="FILE", help="the server's chain, PEM")
    command.add_argument("--key", type=Path, required=True, metavar="FILE", help="its key, PEM, owner-only")


def _serve(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    """:raises SettingsError: certificates are not configured, or it cannot listen with these files there."""
    from idp.app import create_app
    from idp.certificate_listener import Listening, serving
    from idp.web.certificates.trust import of

    if settings.certificate is None:
        raise SettingsError(("certificate is missing: there is nothing to serve",))
    log.configure("idp")
    read_secret(options.key)  # looked at for its mode; OpenSSL reads it itself
    app = create_app(settings)
    issuers = tuple(item for anchor in of(app).anchors for item in (anchor.certificate, *anchor.intermediates))
    # Before its thread begins, so that the signal is for this one.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        with serving(app, Listening(options.host, options.port, options.certificate, options.key), issuers) as port:
            print(f"listening on {options.host}:{port}", flush=True)
            signal.sigwait(signals)
    except OSError as error:
        raise SettingsError((f"certificate-listener: {error.strerror or error}",)) from error
    return {"ended": options.host, "port": port}
