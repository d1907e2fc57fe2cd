"""`python -m examples.relying_party`: serve the site on the loopback interface until stopped."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from werkzeug.serving import WSGIRequestHandler, make_server

from examples.errors import ExampleError, UsageError
from examples.oauth_client import Client, read_secret
from examples.options import add_ways
from examples.pdf_signing import load_certificates
from examples.relying_party.app import Settings, create_app


class QuietHandler(WSGIRequestHandler):
    """Logs method, path and status; never the query, which carries authorization codes."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        status = getattr(code, "value", code)
        path = self.path.partition("?")[0].encode("unicode_escape").decode("ascii")
        print(f"{self.command} {path} {status}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 0 when stopped by a signal, 2 for an option or a port that cannot be used."""
    options = _options(arguments)
    logging.getLogger("pyhanko").setLevel(logging.CRITICAL)
    try:
        app_settings = _settings(options)
        server = make_server(
            "127.0.0.1", options.port, create_app(app_settings), threaded=True, request_handler=QuietHandler
        )
    except ExampleError as e:
        print(e, file=sys.stderr)
        return e.exit_status
    except (OSError, SystemExit) as e:
        # werkzeug leaves by SystemExit when the port is taken, and has said so on standard error.
        print(f"cannot listen on port {options.port}: {e}", file=sys.stderr)
        return 2

    def stop(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    print(f"ready {app_settings.public_url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(prog="python -m examples.relying_party", description="Serves Example Contracts.")
    made.add_argument("--port", type=int, default=8405)
    made.add_argument("--public-url", help="where browsers reach the site; default http://rp.localhost:<port>")
    made.add_argument("--state", type=Path, required=True, help="folder for documents; emptied at start")
    made.add_argument("--client-id", default="example-contracts")
    made.add_argument("--client-secret-file", type=Path, required=True)
    made.add_argument("--issuer", default="http://idp.localhost:8401")
    made.add_argument("--csc", default="http://sign.localhost:8402/csc/v2")
    made.add_argument("--root", type=Path, help="PEM file of the root certificates the verification summary trusts")
    made.add_argument("--no-revocation", action="store_true", help="do not ask OCSP and CRL when verifying")
    add_ways(made)
    made.add_argument(
        "--show-documents", action="store_true", help="let the identity provider fetch documents to show them"
    )
    return made.parse_args(arguments)


def _settings(options: argparse.Namespace) -> Settings:
    public_url = (options.public_url or f"http://rp.localhost:{options.port}").rstrip("/")
    try:
        roots = tuple(load_certificates(options.root.read_bytes())) if options.root else ()
    except (OSError, ValueError) as e:
        raise UsageError(str(e)) from e
    return Settings(
        public_url=public_url,
        issuer=options.issuer,
        csc=options.csc.rstrip("/"),
        client=Client(options.client_id, read_secret(options.client_secret_file), f"{public_url}/callback"),
        state=options.state,
        roots=roots,
        check_revocation=not options.no_revocation,
        way=options.way,
        level=options.level,
        show_documents=options.show_documents,
    )


if __name__ == "__main__":
    sys.exit(main())
