"""An SMTP listener (RFC 5321) with STARTTLS (RFC 3207) and AUTH (RFC 4954) whose mail goes to the inbox."""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
import ssl
import threading
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from devservices.messages import Channel, UnsafeInbox
from foundation.clock import Clock

MAX_MAIL_BYTES = 256 * 1024
MAX_RECIPIENTS = 20
IDLE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Login:
    """The one user who may send when authentication is asked for."""

    user: str
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SmtpPolicy:
    """What the listener offers and demands."""

    tls: ssl.SSLContext | None = None
    """STARTTLS is offered when there is a context."""
    require_tls: bool = False
    """MAIL is refused before STARTTLS."""
    login: Login | None = None
    """AUTH is demanded when there is a login; it is offered after STARTTLS only, so it needs ``tls``."""


class InboxHandler:
    """aiosmtpd's hooks."""

    def __init__(self, inbox: UnsafeInbox, clock: Clock) -> None:
        self._inbox = inbox
        self._clock = clock

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name and signature of the hook
        self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Take a recipient, up to a number."""
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 recipient ok"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep the message, once for each recipient."""
        mail = message_from_bytes(envelope.content, policy=default_policy)
        subject, body = str(mail.get("subject", "")), text_of(mail)
        now = self._clock.now()
        for recipient in envelope.rcpt_tos:
            self._inbox.deliver(
                Channel.EMAIL, recipient, envelope.mail_from or "", subject=subject, body=body, received_at=now
            )
        return "250 2.0.0 kept in the development inbox"


def text_of(mail: EmailMessage) -> str:
    """The text a person would read: the plain part, else the source of the HTML part, else nothing."""
    part = mail.get_body(preferencelist=("plain", "html"))
    if part is None:
        return ""
    try:
        content = part.get_content()
    except (LookupError, ValueError):  # an unknown or wrong charset
        return ""
    return content.replace("\r\n", "\n") if isinstance(content, str) else ""


class Authenticator:
    """Checks LOGIN and PLAIN against one user."""

    def __init__(self, login: Login) -> None:
        self._login = login

    def __call__(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> Any:
        """Success or a refusal that aiosmtpd words (535)."""
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        right_user = hmac.compare_digest(data.login, self._login.user.encode())
        right_password = hmac.compare_digest(data.password, self._login.password)
        return AuthResult(success=right_user and right_password, handled=False)


class SmtpService:
    """The listener in a thread with an event loop of its own, on an already bound socket."""

    def __init__(self, listener: socket.socket, inbox: UnsafeInbox, policy: SmtpPolicy, clock: Clock) -> None:
        self._listener = listener
        self._policy = policy
        self._handler = InboxHandler(inbox, clock)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="smtp", daemon=True)
        self._listening = threading.Event()
        host, port = listener.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.port = int(port)

        # aiosmtpd logs every command: addresses, and the password of AUTH.
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)

    def _session(self) -> Any:
        login = self._policy.login
        return SMTP(
            self._handler,
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="Privy Seal development inbox",
            tls_context=self._policy.tls,
            require_starttls=self._policy.require_tls,
            timeout=IDLE_SECONDS,
            auth_required=login is not None,
            authenticator=None if login is None else Authenticator(login),
            loop=self._loop,
        )

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._loop.create_server(self._session, sock=self._listener))
        self._loop.call_soon(self._listening.set)
        try:
            self._loop.run_forever()
        finally:
            server.close()
            sessions = asyncio.all_tasks(self._loop)
            for session in sessions:
                session.cancel()
            self._loop.run_until_complete(asyncio.gather(*sessions, return_exceptions=True))
            self._loop.run_until_complete(server.wait_closed())
            self._loop.close()

    def start(self) -> None:
        """Listen; returns when connections are accepted."""
        self._thread.start()
        self._listening.wait()

    def stop(self) -> None:
        """Close the listener and cut the sessions that are open."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
