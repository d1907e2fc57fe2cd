"""A telephone number or a mail address: typed, proved with a code that is sent there, bound.

A changed one counts only after a while, and the former one is told (OTP-08); an account's first counts at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from connectors.ports.messaging import Delivery, MessagingError, OutcomeUnknown
from connectors.ports.sms_text import plain
from foundation import log
from foundation.clock import from_epoch
from idp.authn.otp import derive_code, mask, matches, seconds_until_resend
from idp.authn.pending import PendingCode, asked, not_sent
from idp.errors import AddressRefused, EnrolmentRefused, InputRefused, OtpNotSent, OtpStopped
from idp.policy.limits import otp_limits
from idp.settings import ACCOUNT_CLIENT_ID, OtpSettings
from idp.storage import authenticators, enrolments, messages
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator, NewAuthenticator, check_address
from idp.storage.caps import Cap
from idp.storage.engine import reading
from idp.storage.enrolments import Enrolment
from idp.web import browser, caps, otp
from idp.web.address import client_address
from idp.web.enrol.registry import Enroller, Prepared
from idp.web.language import gettext as _
from idp.web.services import services

TEMPLATE: Final = "enrol_address.html"
_CODE_CHARACTERS: Final = 16
_logger = log.get(__name__)


def enroller(kind: str) -> Enroller:
    """The enrolment of one kind of address."""
    return Enroller(kind, TEMPLATE, _prepare, _values, _confirm, settled=_settled, send=_send)


def _prepare(_enrolment_id: str, _account: Account) -> Prepared:
    return Prepared()


def _values(enrolment: Enrolment, account: Account) -> Mapping[str, Any]:
    pending, now = PendingCode.from_json(enrolment.data), services().clock.now()
    live = pending is not None and pending.live(now)
    return {
        "kind": enrolment.kind,
        "pending": pending if live else None,
        "masked": mask(enrolment.kind, pending.address) if pending is not None and live else "",
        "counts_from": _not_before(enrolment, _owned(account), now),
        "reference": otp.reference(enrolment.txn),
        **_again(enrolment, pending, now),
    }


def _again(enrolment: Enrolment, pending: PendingCode | None, now: datetime) -> Mapping[str, Any]:
    """When the same code may be sent again, for the page to say."""
    if pending is None:
        return {"wait": 0, "final": False}
    limits = _limits(enrolment.kind)
    limits = replace(limits, max_sends=min(limits.max_sends, caps.to_bind(limits)))
    return {"wait": seconds_until_resend(pending.sent(), now, limits), "final": pending.sends >= limits.max_sends}


def _send(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> None:
    """Send a code to the address that was typed, or the same one again.

    :raises AddressRefused: it is none that a message goes to.
    :raises OtpCoolDown: :raises OtpStopped: no message may go out yet.
    :raises OtpNotSent: the gateway did not take it.
    """
    kind, now, limits = enrolment.kind, services().clock.now(), _limits(enrolment.kind)
    before = PendingCode.from_json(enrolment.data)
    typed = form.get("address", "")[:300]
    address = before.address if before is not None and not typed else _checked(kind, typed)
    if any(item.address == address and item.kind == kind for item in _owned(account) if not item.disabled):
        raise AddressRefused("the account has this address", _("This is the one that you have now."))
    own = _counted_for(enrolment, address, now)
    try:
        caps.check_prefix(own, limits)
    except caps.PrefixRefused:
        raise AddressRefused("no message goes there", _("We send no messages to numbers like this one.")) from None
    counts, new_id = caps.of(own, limits, client_address(), bound=False), browser.new_id(services())

    def advanced(data: Mapping[str, Any]) -> Mapping[str, Any]:
        return asked(PendingCode.from_json(data), address, now, limits, new_id).to_json()

    try:
        with services().engine.begin() as connection:
            data = enrolments.advance(connection, services().seals, enrolment.id, advanced)
            caps.count(connection, counts, now)
    except OtpStopped as error:
        caps.stop(error, limits, now)
        raise
    pending, message_id = PendingCode(**data), browser.new_id(services())
    try:
        delivery = _deliver(enrolment, pending, message_id)
    except MessagingError as error:
        _refused(enrolment, pending, message_id, counts, error)
        raise OtpNotSent("the gateway did not take the message") from None
    with services().engine.begin() as connection:
        _went_out(connection, enrolment, pending, message_id, delivery)
        fields = _fields(enrolment, pending)
        services().audit.record(connection, "otp.sent", **fields, sends=pending.sends)


def _checked(kind: str, typed: str) -> str:
    try:
        return check_address(kind, typed)
    except InputRefused:
        raise AddressRefused("that is no address of its kind", _how_to_write(kind)) from None


def _how_to_write(kind: str) -> str:
    if kind == "sms_otp":
        return _("Please write the number with a plus sign and the country code, for example +34 600 000 000.")
    return _("Please write the whole mail address, for example name@example.org.")


def _counted_for(enrolment: Enrolment, address: str, now: datetime) -> Authenticator:
    """The authenticator that there would be, as far as limits on messages look at it (OTP-07)."""
    return Authenticator(
        id=enrolment.id,
        account_id=enrolment.account_id,
        kind=enrolment.kind,
        address=address,
        secret_hash=None,
        failures=0,
        blocked_until=now,
        last_success_at=now,
        disabled=False,
        not_before=now,
        created_at=now,
    )


def _went_out(
    connection: Connection, enrolment: Enrolment, pending: PendingCode, message_id: str, delivery: Delivery | None
) -> None:
    """Keep what became of it, and that a code is out that may be used or not.

    :param delivery: None: the gateway did not say whether it took it.
    """
    messages.add(connection, message_id, pending.challenge_id, delivery, services().clock.now())
    messages.bind_by(
        connection,
        pending.challenge_id,
        account_id=enrolment.account_id,
        kind=enrolment.kind,
        expires_at=from_epoch(pending.expires_at),
    )


def _refused(
    enrolment: Enrolment, pending: PendingCode, message_id: str, counts: tuple[Cap, ...], error: MessagingError
) -> None:
    _logger.warning("a message was not sent", extra={"fields": {"factor": enrolment.kind, "cause": error.code}})
    with services().engine.begin() as connection:
        if isinstance(error, OutcomeUnknown):
            _went_out(connection, enrolment, pending, message_id, None)
        else:
            enrolments.advance(connection, services().seals, enrolment.id, lambda _: not_sent(pending).to_json())
            caps.give_back(connection, counts, services().clock.now())
        services().audit.record(connection, "otp.not_sent", **_fields(enrolment, pending), cause=error.code)


def _confirm(enrolment: Enrolment, account: Account, form: Mapping[str, str]) -> NewAuthenticator:
    pending, now = PendingCode.from_json(enrolment.data), services().clock.now()
    if pending is None or not pending.live(now):
        shown = _("This code can no longer be used. Please ask for a new one.")
        raise EnrolmentRefused("no code is live", shown, counted=True)
    # The try is used up before it is judged, so that many at once are no more tries than may be (OTP-01).
    with services().engine.begin() as connection:
        enrolments.spend(connection, enrolment.id)
    binding = pending.binding(enrolment.id, enrolment.session_id, enrolment.txn)
    if not matches(services().keys.secret(otp.KEY), binding, form.get("code", "")[:_CODE_CHARACTERS]):
        shown = _("That is not the right code. Please check it and try again.")
        raise EnrolmentRefused("the code is not the one that was sent", shown, counted=True)
    with services().engine.begin() as connection:
        enrolments.give_back(connection, enrolment.id)
        messages.bound_by(connection, pending.challenge_id)
    return NewAuthenticator(enrolment.id, account.id, enrolment.kind, address=pending.address)


def _settled(connection: Connection, enrolment: Enrolment, new: NewAuthenticator) -> NewAuthenticator:
    owned = authenticators.of_account(connection, services().seals, enrolment.account_id)
    return replace(new, not_before=_not_before(enrolment, owned, services().clock.now()))


def _not_before(enrolment: Enrolment, owned: Sequence[Authenticator], now: datetime) -> datetime | None:
    """From when the address counts; None: at once.

    Any that the account ever had makes it a change, so nobody gets round the wait by removing that one first.  Whoever
    activates an account does so after the help desk has seen to it, under dual control.
    """
    changed = any(item.kind == enrolment.kind for item in owned)
    if enrolment.origin == "activation" or not changed:
        return None
    return now + timedelta(hours=services().settings.otp.address_wait_hours)


def _owned(account: Account) -> tuple[Authenticator, ...]:
    with reading(services().engine) as connection:
        return authenticators.of_account(connection, services().seals, account.id)


def _limits(kind: str) -> OtpSettings:
    return otp_limits(services().settings.otp, services().policy, kind)


def _deliver(enrolment: Enrolment, pending: PendingCode, message_id: str) -> Delivery:
    binding = pending.binding(enrolment.id, enrolment.session_id, enrolment.txn)
    code = derive_code(services().keys.secret(otp.KEY), binding)
    party = services().settings.service_name
    text = otp.sentence(code, party, _("add this to your account"), enrolment.txn)
    short = plain(text + otp.bound_to_origin(code))
    message = otp.Message(_("Your code for %(party)s", party=party), text, short, message_id)
    return otp.deliver(enrolment.kind, pending.address, message)


def _fields(enrolment: Enrolment, pending: PendingCode) -> dict[str, Any]:
    return {
        "account_id": enrolment.account_id,
        "session_id": enrolment.session_id,
        "factor": enrolment.kind,
        "authenticator_id": enrolment.id,
        "challenge_id": pending.challenge_id,
        "txn": enrolment.txn,
        "client_id": ACCOUNT_CLIENT_ID,
        "action": "account.enrol_factor",
    }
