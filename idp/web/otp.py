"""Sending one-time codes and judging what comes back, at the edge: gateways, database, audit."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from connectors.ports.messaging import (
    Delivery,
    MailMessage,
    MessagingError,
    OutcomeUnknown,
    SmsMessage,
    refuse_swapped,
)
from connectors.ports.sms_text import plain, segments
from foundation import log
from idp.authn.methods import evidence_of
from idp.authn.otp import derive_code
from idp.errors import NoSuchFactor, OtpDead, OtpLocked, OtpNotSent, OtpRefused, OtpStopped, OtpWrong
from idp.policy.keys import SIGN, SIGN_IN_BAND
from idp.policy.limits import otp_limits
from idp.settings import OtpSettings
from idp.storage import challenges, messages
from idp.storage.authenticators import Authenticator
from idp.storage.challenges import Challenge, Purpose, Verdict
from idp.storage.engine import writing
from idp.web import browser, caps, proof
from idp.web.interaction import BeginInteraction, Interaction
from idp.web.language import gettext as _
from idp.web.language import ngettext
from idp.web.notice_texts import method_name
from idp.web.progress import Assessment
from idp.web.services import services

KEY: Final = "one-time codes"
_LABEL_CHARACTERS: Final = 40
_SHORTER_LABELS: Final = (28, 20, 14, 10)
"""For text messages that would take more than one segment."""
_LEAST_OF_PARTY: Final = 20
_CODE_CHARACTERS: Final = 16
_logger = log.get(__name__)


def reference(txn: str) -> str:
    """Four letters by which a person sees that a message and a page belong together; not a secret."""
    return base64.b32encode(hashlib.sha256(txn.encode()).digest()).decode()[:4]


def send(interaction: Interaction, found: Assessment, factor: str) -> None:
    """Send a code for this transaction, or the same code again while it is valid.

    The challenge is committed before the message goes out, and nothing is locked while the gateway is waited for.  A
    message counts unless the gateway certainly did not take it: one that answers too late, or not at all, may have
    delivered it.

    :raises NoSuchFactor: the policy does not ask for this factor now.
    :raises OtpCoolDown: :raises OtpLocked: :raises OtpStopped: no message may go out.
    :raises OtpNotSent: the gateway did not take it.
    """
    item = proof.wanted(found, factor)[-1]
    now = services().clock.now()
    limits = _limits(item)
    own = caps.of(item, limits, found.facts.network)
    try:
        with writing(services().engine) as connection:
            challenge = challenges.open_or_resend(
                connection,
                _purpose(interaction, found, item),
                new_id=browser.new_id(services()),
                now=now,
                limits=limits,
            )
            caps.count(connection, own, now)
    except OtpStopped as error:
        caps.stop(error, limits, now)
        raise
    fields = {**proof.fields(interaction, found, item), "challenge_id": challenge.id}
    message_id = browser.new_id(services())
    try:
        caps.check_prefix(item, limits)
        delivery = _deliver(interaction, item, challenge, message_id)
    except MessagingError as error:
        _logger.warning("a message was not sent", extra={"fields": {"factor": factor, "cause": error.code}})
        with services().engine.begin() as connection:
            if isinstance(error, OutcomeUnknown):
                messages.add(connection, message_id, challenge.id, None, now)
            else:
                challenges.not_sent(connection, challenge.id)
                caps.give_back(connection, own, now)
            services().audit.record(connection, "otp.not_sent", **fields, cause=error.code)
        raise OtpNotSent("the gateway did not take the message") from None
    with writing(services().engine) as connection:
        messages.add(connection, message_id, challenge.id, delivery, now)
        services().audit.record(connection, "otp.sent", **fields, sends=challenge.sent.sends)


def verify(interaction: Interaction, found: Assessment, latest: Challenge | None, typed: str) -> None:
    """Judge a code; a right one becomes evidence, once, and the session's cookie changes.

    :param latest: the live challenge of the transaction, as it was a moment ago: it tells whose code is judged.
    :raises OtpRefused: wrong, dead, locked, or nothing was sent.
    """
    judge(interaction, found, latest, typed, proof.accept)
    browser.reload()


def judge(
    interaction: Interaction, found: Assessment, latest: Challenge | None, typed: str, accept: proof.Accept
) -> None:
    """Judge a code; a right one becomes evidence, once.

    :param latest: as above.
    :raises OtpRefused: wrong, dead, locked, or nothing was sent.
    """
    now = services().clock.now()
    if latest is None:
        with services().engine.begin() as connection:
            challenges.close_expired(connection, found.context.session_id, interaction.txn, now)
        raise OtpDead("no code is live for this transaction")
    item = next((own for own in found.authenticators if own.id == latest.purpose.authenticator_id), None)
    if item is None:
        raise NoSuchFactor("the authenticator is not this person's")
    fields = proof.fields(interaction, found, item)
    with writing(services().engine) as connection:
        verdict, challenge_id = challenges.attempt(
            connection,
            _purpose(interaction, found, item),
            typed[:_CODE_CHARACTERS],
            key=services().keys.secret(KEY),
            now=now,
            limits=_limits(item),
        )
        if verdict is Verdict.ACCEPTED:
            evidence = evidence_of(item, now, interaction.txn, bound=interaction.binds_evidence)
            accept(connection, interaction, found, evidence)
            services().audit.record(connection, "otp.accepted", **fields, challenge_id=challenge_id)
        else:
            extra = {} if challenge_id is None else {"challenge_id": challenge_id}
            services().audit.record(connection, "otp.refused", **fields, **extra, cause=verdict.value)
    if verdict is not Verdict.ACCEPTED:
        raise _REFUSALS[verdict]("the code was not accepted")


def _limits(item: Authenticator) -> OtpSettings:
    return otp_limits(services().settings.otp, services().policy, item.kind)


_REFUSALS: Final[dict[Verdict, type[OtpRefused]]] = {
    Verdict.WRONG: OtpWrong,
    Verdict.DEAD: OtpDead,
    Verdict.LOCKED: OtpLocked,
}


def _purpose(interaction: Interaction, found: Assessment, item: Authenticator) -> Purpose:
    return Purpose(item.id, found.context.session_id, interaction.txn, interaction.binding)


def _deliver(interaction: Interaction, item: Authenticator, challenge: Challenge, message_id: str) -> Delivery:
    code = derive_code(services().keys.secret(KEY), challenge.binding)
    subject = _("Your code for %(party)s", party=_plain(interaction.request.display_name))
    message = Message(subject, _text(interaction, code), _short(interaction, code), message_id)
    return deliver(item.kind, item.address or "", message)


@dataclass(frozen=True, slots=True)
class Message:
    """A code on its way, as each channel takes it."""

    subject: str
    text: str = field(repr=False)
    """For e-mail."""
    short: str = field(repr=False)
    """For a text message, with :func:`bound_to_origin`."""
    id: str = ""
    """The same for every attempt at it; empty: it has none."""


def deliver(kind: str, address: str, message: Message) -> Delivery:
    """Hand a message with a code to the gateway of its channel.

    :raises NoSuchFactor: there is none.
    :raises MessagingError: it did not take it, or did not say whether it did.
    """
    messaging = services().messaging
    if kind == "sms_otp" and messaging.sms is not None:
        refuse_swapped(messaging.sms, address)
        return messaging.sms.send_sms(SmsMessage(address, message.short, message.id))
    if kind == "email_otp" and messaging.mail is not None:
        return messaging.mail.send_mail(MailMessage(address, message.subject, message.text + "\n"))
    raise NoSuchFactor("no gateway is enabled for this factor")


def sentence(code: str, party: str, purpose: str, txn: str) -> str:
    """What every message with a code says; the code first, so that a preview shows it."""
    return _(
        "%(code)s is your code for %(party)s: %(purpose)s. Reference %(reference)s. Never tell it to anyone.",
        code=code,
        party=party,
        purpose=purpose,
        reference=reference(txn),
    )


def bound_to_origin(code: str) -> str:
    """The last line of a text message, by which a browser knows whose code it is."""
    return f"\n@{urlsplit(services().settings.issuer).hostname} #{code}"


def _short(interaction: Interaction, code: str) -> str:
    """The text message, of one segment where names can be cut so far, and without accents where those would cost one.

    Its last line binds the code to our origin (WICG, Origin-bound one-time codes delivered via SMS, 4): a browser fills
    it in on our pages, and on nobody else's.
    """
    bound = bound_to_origin(code)
    texts = (plain(_text(interaction, code, most) + bound) for most in (_LABEL_CHARACTERS, *_SHORTER_LABELS))
    written = list(texts)
    return next((text for text in written if segments(text) == 1), written[0])


def _text(interaction: Interaction, code: str, most: int = _LABEL_CHARACTERS) -> str:
    """The message: what the code is for, in the person's language.

    :param most: characters of each document's name, and of the relying party's, which keeps 20.
    """
    asked = interaction.request
    party = _plain(asked.display_name, max(most, _LEAST_OF_PARTY))
    return sentence(code, party, _purpose_of(asked, most), interaction.txn)


def _purpose_of(asked: BeginInteraction, most: int) -> str:
    if asked.intent is None:
        return PURPOSES[asked.action](asked.detail)
    count = len(asked.intent.digests) or asked.intent.sign_count
    # Once more over all of them: what one name must not hold, two must not hold between them.
    names = _without_codes(", ".join(_plain(item.label, most) for item in asked.intent.digests[:2] if item.label))
    what = ngettext("sign %(num)d document", "sign %(num)d documents", count)
    return f"{what} ({names}{', ...' if len(asked.intent.digests) > 2 else ''})" if names else what


PURPOSES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "sign_in": lambda _detail: _("sign in"),
    # With what is to be signed in hand, the message names that.
    SIGN: lambda _detail: _("sign documents in its application"),
    SIGN_IN_BAND: lambda _detail: _("sign documents in its application"),
    "credential.create": lambda _detail: _("order a signing credential"),
    "credential.suspend": lambda _detail: _("suspend a signing credential"),
    "credential.resume": lambda _detail: _("resume a signing credential"),
    "credential.revoke": lambda _detail: _("revoke a signing credential"),
    "credential.delete": lambda _detail: _("delete a signing credential"),
    "account.enrol_factor": lambda detail: _(
        "add a way to sign in (%(method)s)", method=method_name(str(detail.get("factor", "")))
    ),
    "account.reset_factor": lambda detail: _(
        "remove a way to sign in (%(method)s)", method=method_name(str(detail.get("factor", "")))
    ),
    **dict.fromkeys(
        ("admin.roles.propose", "admin.roles.confirm", "admin.roles.reject"),
        lambda _detail: _("change who administers"),
    ),
    **dict.fromkeys(
        ("admin.accounts.reset.propose", "admin.accounts.reset.confirm", "admin.accounts.reset.reject"),
        lambda _detail: _("reset what a person signs in with"),
    ),
    "admin.clients.change": lambda _detail: _("change a relying party"),
    **dict.fromkeys(
        (
            "admin.view", "admin.policy.view", "admin.policy.explore", "admin.policy.try", "admin.clients.view",
            "admin.audit.view", "admin.audit.export", "admin.roles.view", "admin.accounts.view",
        ),
        lambda _detail: _("administer this service"),
    ),
}  # fmt: skip
"""What a code is for, by action: whoever is asked for one on the telephone reads what it would do (OTP-05)."""


def _plain(text: str, most: int = _LABEL_CHARACTERS) -> str:
    """Somebody else's words in a message of ours: no line breaks, no links, nothing that reads like a code, not long.

    A message is where people look for the code, so a relying party must not be able to put one there (OTP-10).  Dots
    stand for what is left out: an ellipsis is outside GSM's alphabet and would halve what a text message can hold.

    1. Compatibility forms become what they look like: circled digits, wide letters and dots.  2. What is neither a
    letter, a digit nor plain punctuation goes.  3. Dots between words go: telephones make links of them.  4. Digits.
    """
    words = re.sub(r"[^\w .,()&'-]|_", " ", unicodedata.normalize("NFKC", text))
    words = _without_codes(re.sub(r"(?<=\w)\.(?=\w)", " ", words))
    short = " ".join(words.split())
    return short if len(short) <= most else short[: most - 3] + "..."


def _without_codes(words: str) -> str:
    """Five digits and more lose all but three, whatever stands between them that is not a letter."""
    return re.sub(r"\d(?:[ .,()&'-]*\d){4,}", lambda run: "".join(re.findall(r"\d", run.group())[:3]) + "...", words)
