"""E-mail through an SMTP server (RFC 5321), with STARTTLS (RFC 3207) or TLS from the start (RFC 8314)."""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import Any, Final, Literal

from connectors.ports.messaging import (
    Delivery,
    GatewayMisconfigured,
    GatewayUnavailable,
    MailMessage,
    OutcomeUnknown,
    RecipientRefused,
)
from foundation.files import read_secret
from foundation.settings import from_table

_ADDRESS: Final = re.compile(r"[^\s@<>\"(),:;\\\[\]]{1,64}@[A-Za-z0-9.-]{1,255}\Z")
_TRANSIENT: Final = range(400, 500)


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Table ``[messaging.mail.settings]`` of idp.toml."""

    host: str
    sender: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    """``none`` only to a loopback address: a code must not cross a network in clear."""
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    """PEM; the system's authorities otherwise."""
    timeout_seconds: float = 10.0

    def faults(self) -> list[str]:
        """What the types cannot say."""
        found = []
        if self.security == "none" and self.host not in {"127.0.0.1", "::1", "localhost"}:
            found.append("security may be none only where host is a loopback address")
        if (self.username is None) != (self.password_file is None):
            found.append("username and password_file go together")
        if self.username is not None and self.security == "none":
            found.append("a password is never sent without TLS")
        if not _ADDRESS.match(self.sender):
            found.append("sender is not a mail address")
        if not 0 < self.timeout_seconds <= 60:
            found.append("timeout_seconds must be above 0 and at most 60")
        return found


class _Watched(smtplib.SMTP):
    """Knows whether the message was handed over: from then on a connection that breaks leaves the outcome open."""

    handed = False

    def data(self, msg: Any) -> tuple[int, bytes]:
        """Send the message itself (RFC 5321 4.1.1.4)."""
        self.handed = True
        return super().data(msg)


class _WatchedTls(_Watched, smtplib.SMTP_SSL):
    """The same with TLS from the start."""


class SmtpMailer:
    """A :class:`connectors.ports.messaging.Mailer` over SMTP; a connection a message, so that it holds no state."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = from_table(SmtpSettings, settings, base=Path())
        self._password = read_secret(self._settings.password_file) if self._settings.password_file else None

    def send_mail(self, message: MailMessage) -> Delivery:
        """Hand a message to the server.

        :raises GatewayUnavailable: no connection, time out, TLS failure, or a 4xx reply.
        :raises OutcomeUnknown: the connection broke, or time was out, after the message was handed over.
        :raises GatewayMisconfigured: the server refuses our login, our sender, or lacks STARTTLS.
        :raises RecipientRefused: not a mail address, or refused by a 5xx reply.
        """
        if not _ADDRESS.match(message.to):
            raise RecipientRefused("the recipient is not a mail address")
        mail = self._compose(message)
        server: _Watched | None = None
        try:
            server = self._connect()
            self._login(server)
            server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _text in error.recipients.values()]
            if codes and all(code in _TRANSIENT for code in codes):
                raise GatewayUnavailable("the mail server put the recipient off") from None
            raise RecipientRefused("the mail server refused the recipient") from None
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPSenderRefused, smtplib.SMTPNotSupportedError) as error:
            raise GatewayMisconfigured(f"the mail server refused us ({type(error).__name__})") from None
        except smtplib.SMTPResponseException as error:
            # The reply's text may quote the message, and with it the code: only its number is passed on.
            kind = GatewayUnavailable if error.smtp_code in _TRANSIENT else GatewayMisconfigured
            raise kind(f"the mail server answered {error.smtp_code}") from None
        except (smtplib.SMTPException, OSError) as error:
            if server is not None and server.handed:
                raise OutcomeUnknown(f"the mail server did not say that it took it ({type(error).__name__})") from None
            raise GatewayUnavailable(f"the mail server cannot be reached ({type(error).__name__})") from None
        finally:
            if server is not None:
                _leave(server)
        return Delivery(str(mail["Message-ID"]))

    def _compose(self, message: MailMessage) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self._settings.sender
        mail["To"] = message.to
        # A line break would begin a header of somebody else's.
        mail["Subject"] = " ".join(message.subject.split())
        mail["Message-ID"] = make_msgid(domain=self._settings.sender.partition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834 5: no vacation replies
        mail.set_content(message.text)
        return mail

    def _connect(self) -> _Watched:
        settings = self._settings
        if settings.security == "none":
            return _Watched(settings.host, settings.port, timeout=settings.timeout_seconds)
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.security == "tls":
            return _WatchedTls(settings.host, settings.port, timeout=settings.timeout_seconds, context=context)
        server = _Watched(settings.host, settings.port, timeout=settings.timeout_seconds)
        try:
            server.starttls(context=context)
        except (smtplib.SMTPException, OSError):
            server.close()
            raise
        return server

    def _login(self, server: smtplib.SMTP) -> None:
        if self._settings.username is not None and self._password is not None:
            server.login(self._settings.username, self._password.decode())


def _leave(server: smtplib.SMTP) -> None:
    # The message was taken or was not: how the good-bye goes changes nothing.
    with contextlib.suppress(smtplib.SMTPException, OSError):
        server.quit()
    server.close()
