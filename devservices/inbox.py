"""The development inbox: an SMTP listener and a Twilio-compatible endpoint whose messages show on one page.

``python -m devservices.inbox --state DIR`` serves both until it is told to end.
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import logging
import secrets
import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from werkzeug.wrappers import Request, Response

from devservices.errors import MethodNotAllowed, NotFound, OptionsInvalid, RequestMalformed
from devservices.messages import CAPACITY, Channel, Message, UnsafeInbox
from devservices.serving import HttpService, bind, json_response, port_number, run, wait_for_termination
from devservices.sms import ACCOUNT_SID, PATH, TwilioMessages
from devservices.smtp import Login, SmtpPolicy, SmtpService
from devservices.state import open_directory, secret_file, write_certificate, write_key
from devservices.tsa import open_authority
from foundation.clock import Clock, SystemClock
from foundation.files import read_secret

log = logging.getLogger(__name__)

DEFAULT_PORT = 8404
DEFAULT_SMTP_PORT = 8425

DEFAULT_ACCOUNT_SID = "AC" + hashlib.sha256(b"privy seal development inbox").hexdigest()[:32]
"""Any account identifier would do; this one is the same on every machine."""

TEMPLATES = Path(__file__).parent / "templates"

REFRESH_SECONDS = 5

PAGE_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


class InboxHandler:
    """The page, its JSON form and the messaging endpoint."""

    def __init__(self, inbox: UnsafeInbox, messaging: TwilioMessages, smtp_address: str) -> None:
        self._inbox = inbox
        self._messaging = messaging
        self._smtp_address = smtp_address
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self._page = environment.get_template("inbox.html")
        self._style = (TEMPLATES / "inbox.css").read_text("utf-8")

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        account = PATH.fullmatch(request.path)
        if account is not None:
            return self._messaging(request, account["account"])
        answers: dict[str, Callable[[Request], Response]] = {
            "/": self._html,
            "/messages.json": self._json,
            "/inbox.css": self._css,
            "/healthz": lambda _request: json_response(200, {"status": "ok"}),
        }
        answer = answers.get(request.path)
        if answer is None:
            raise NotFound("no such resource")
        if request.method not in {"GET", "HEAD"}:
            raise MethodNotAllowed("this resource takes GET")
        return answer(request)

    def _found(self, request: Request) -> list[Message]:
        """The messages a query asks for.

        :raises RequestMalformed: an unknown channel, or ``after`` that is not a number.
        """
        channel, after = request.args.get("channel") or None, request.args.get("after", "0")
        if channel is not None and channel not in set(Channel):
            raise RequestMalformed("channel is email or sms")
        if not (after.isascii() and after.isdigit() and len(after) < 10):
            raise RequestMalformed("after is a message number")
        # A "+" that a person forgot to escape arrives as a space.
        recipient = request.args.get("to", "").strip()
        if recipient.isdigit():
            recipient = f"+{recipient}"
        return self._inbox.find(recipient or None, channel, int(after))

    def _html(self, request: Request) -> Response:
        recipient = request.args.get("to", "").strip()
        refreshing = request.args.get("refresh") == "on"
        html = self._page.render(
            messages=self._found(request),
            recipient=recipient,
            channel=request.args.get("channel", ""),
            smtp_address=self._smtp_address,
            refresh_seconds=REFRESH_SECONDS if refreshing else None,
            capacity=CAPACITY,
        )
        response = Response(html, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = PAGE_POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    def _json(self, request: Request) -> Response:
        return json_response(200, {"messages": [as_json(message) for message in self._found(request)]})

    def _css(self, _request: Request) -> Response:
        return Response(self._style, content_type="text/css; charset=utf-8")


def as_json(message: Message) -> dict[str, str | int]:
    """A message as ``/messages.json`` shows it."""
    return {
        "id": message.number,
        "channel": message.channel.value,
        "to": message.recipient,
        "from": message.sender,
        "subject": message.subject,
        "body": message.body,
        "received_at": message.received_at.isoformat(),
    }


def tls_context(state: Path, ca_state: Path, clock: Clock) -> ssl.SSLContext:
    """A server context for loopback names, with a certificate of the development root made anew at each start.

    :raises devservices.errors.StateUnusable: there is no development CA in ``ca_state``.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.DNSName("smtp.localhost"), *_loopback_addresses()]
    )
    certificate = open_authority(ca_state, clock).issue_tls(key.public_key(), names)
    write_key(state / "smtp.key", key)
    write_certificate(state / "smtp.crt", certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(state / "smtp.crt", state / "smtp.key")
    return context


def _loopback_addresses() -> list[x509.IPAddress]:
    return [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(prog="python -m devservices.inbox", description=__doc__)
    command.add_argument("--state", type=Path, required=True, help="directory for secrets (made, mode 0700)")
    command.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default %(default)s)")
    command.add_argument("--port", type=port_number, default=DEFAULT_PORT, help="default %(default)s; 0: any free port")
    command.add_argument("--smtp-port", type=port_number, default=DEFAULT_SMTP_PORT, help="default %(default)s; 0: any")
    command.add_argument("--account-sid", default=DEFAULT_ACCOUNT_SID, help="messaging account (default %(default)s)")
    command.add_argument(
        "--token-file",
        type=Path,
        help="owner-only file with its auth token (made if missing; default STATE/twilio-token)",
    )
    command.add_argument("--ca-state", type=Path, help="the development CA's state directory; turns STARTTLS on")
    command.add_argument("--require-starttls", action="store_true", help="refuse mail before STARTTLS")
    command.add_argument("--smtp-user", help="demand this login (after STARTTLS)")
    command.add_argument("--smtp-password-file", type=Path, help="owner-only file with its password")
    return command


def smtp_policy(options: argparse.Namespace, clock: Clock) -> SmtpPolicy:
    """What the SMTP listener offers, from the command line.

    :raises OptionsInvalid: options that need each other were given alone.
    """
    if (options.require_starttls or options.smtp_user) and options.ca_state is None:
        raise OptionsInvalid("--require-starttls and --smtp-user need --ca-state")
    if bool(options.smtp_user) != bool(options.smtp_password_file):
        raise OptionsInvalid("--smtp-user and --smtp-password-file go together")
    if options.ca_state is None:
        return SmtpPolicy()
    login = Login(options.smtp_user, read_secret(options.smtp_password_file)) if options.smtp_user else None
    return SmtpPolicy(tls_context(options.state, options.ca_state, clock), options.require_starttls, login)


def start(argv: Sequence[str] | None) -> None:
    """Serve until told to end; prints ``ready <url> smtp://<host>:<port>`` once both listen.

    :raises foundation.errors.PrivySealError: it cannot start.
    """
    options, clock = parser().parse_args(argv), SystemClock()
    if not ACCOUNT_SID.fullmatch(options.account_sid):
        raise OptionsInvalid("--account-sid is AC and 32 hexadecimal digits")
    with ExitStack() as stack:
        web = stack.enter_context(bind(options.host, options.port))
        mail = stack.enter_context(bind(options.host, options.smtp_port))
        open_directory(options.state)
        token = secret_file(options.token_file or options.state / "twilio-token", secrets.token_hex(16).encode())
        log.warning("UnsafeInbox: everybody on this machine can read the messages")
        inbox = UnsafeInbox()
        smtp = SmtpService(mail, inbox, smtp_policy(options, clock), clock)
        messaging = TwilioMessages(inbox, options.account_sid, token, clock)
        http = HttpService(web, InboxHandler(inbox, messaging, smtp.address))
        smtp.start()
        stack.callback(smtp.stop)
        http.start()
        stack.callback(http.stop)
        wait_for_termination(f"ready {http.url} smtp://{smtp.address}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; see :func:`parser`. Returns the exit status."""
    return run(start, argv)


if __name__ == "__main__":
    sys.exit(main())
