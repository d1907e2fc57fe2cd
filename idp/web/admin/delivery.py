"""How the code of a reset reaches the person: over a channel that is left to them, or by whoever confirmed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import Connection

from connectors.ports.messaging import MailMessage, MessagingError, SmsMessage, refuse_swapped
from foundation import log
from idp.authn.otp import mask
from idp.authn.resets import ResetProposal
from idp.desk import Issued
from idp.errors import NoticesHeldBack, TooManyNotices
from idp.storage import accounts, activations, authenticators
from idp.storage.engine import reading
from idp.web import caps
from idp.web.language import gettext as _
from idp.web.language import in_language
from idp.web.services import services

Handed = Literal["sent", "shown", "failed"]
"""``failed``: a gateway did not take it; the code no longer counts, and another one has to be proposed."""

_PREFERRED: Final = ("email_otp", "sms_otp")
_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Channel:
    """Where a code can be sent."""

    kind: str
    address: str = field(repr=False)

    @property
    def masked(self) -> str:
        """As much of the address as an administrator may see."""
        return mask(self.kind, self.address)


def channel_of(connection: Connection, found: ResetProposal) -> Channel | None:
    """A channel that is left to the person once the proposal is carried out; None: none is.

    An address that does not count yet is none: whoever put it there may be who asked for the reset (OTP-08).
    """
    with_services, now = services(), services().clock.now()
    gone = {item.id for item in found.factors}
    owned = authenticators.of_account(connection, with_services.seals, found.account_id)
    there = {item.kind: item.address for item in owned if item.id not in gone and item.address and item.usable(now)}
    enabled = with_services.messaging.factors
    kind = next((name for name in _PREFERRED if name in there and name in enabled), None)
    return None if kind is None else Channel(kind, there[kind] or "")


def hand_over(account_id: str, issued: Issued, channel: Channel | None) -> Handed:
    """Send the code, after the transaction in which it was made; without a channel it is for the page to show."""
    if channel is None:
        return "shown"
    try:
        _send(account_id, issued, channel)
    except (MessagingError, TooManyNotices, NoticesHeldBack) as error:
        _log.warning("an activation code was not sent", extra={"fields": {"cause": error.code}})
        with services().engine.begin() as connection:
            activations.revoke(connection, account_id)
            _record(connection, "activation.revoked", account_id, issued, channel, cause=error.code)
        return "failed"
    with services().engine.begin() as connection:
        _record(connection, "activation.sent", account_id, issued, channel)
    return "sent"


def _send(account_id: str, issued: Issued, channel: Channel) -> None:
    with_services = services()
    with reading(with_services.engine) as connection:
        account = accounts.find(connection, account_id)
    with in_language(None if account is None else account.locale):
        service = with_services.settings.service_name
        text = _(
            "Your activation code for %(service)s: %(code)s. Type it with your user name at %(address)s within "
            "%(hours)d hours. You did not ask the help desk? Tell us at once.",
            service=service,
            code=issued.code.shown,
            address=f"{with_services.settings.issuer}/activate",
            hours=with_services.settings.activation.life_hours,
        )
        subject = _("%(service)s: your activation code", service=service)
    messaging = with_services.messaging
    if channel.kind == "sms_otp" and messaging.sms is not None:
        caps.check_number(channel.address, with_services.settings.otp)
        refuse_swapped(messaging.sms, channel.address)
        # As notices do, and with them: two of the help desk cost no more than anybody else.
        caps.count_notice(channel.address, with_services.clock.now(), first=True)
        messaging.sms.send_sms(SmsMessage(channel.address, text))
    elif messaging.mail is not None:
        messaging.mail.send_mail(MailMessage(channel.address, subject, text))


def _record(
    connection: Connection, event: str, account_id: str, issued: Issued, channel: Channel, **fields: Any
) -> None:
    services().audit.record(
        connection,
        event,
        account_id=account_id,
        activation_id=issued.activation.id,
        purpose=issued.activation.purpose,
        channel=channel.kind,
        **fields,
    )
