"""The pages of an interaction, and what their forms do.

A GET shows where the interaction is and changes nothing; it never sends a message.  A POST does one thing and goes on.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

from flask import Blueprint, g, make_response, render_template, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from idp.authn.methods import MESSAGES
from idp.authn.otp import seconds_until_resend
from idp.authn.stepup import Allowed, AskFactor, AskPassword, Refused
from idp.errors import (
    ConsentMismatch,
    CredentialNotChosen,
    CredentialUnavailable,
    CredentialUnusable,
    InteractionLost,
    LoginBusy,
    LoginCrowded,
    LoginRefused,
    NoSuchFactor,
    OtpBehind,
    OtpCoolDown,
    OtpDead,
    OtpLocked,
    OtpNotSent,
    OtpPaused,
    OtpRefused,
    OtpStopped,
    OtpUsed,
    OtpWrong,
)
from idp.storage import challenges, interactions
from idp.storage.challenges import Challenge
from idp.web import (
    because,
    browser,
    choosing,
    login,
    longer,
    otp,
    passkeys,
    progress,
    proof,
    resume,
    sign_in_page,
    wording,
)
from idp.web.approval import signing
from idp.web.certificates.trust import trust
from idp.web.headers import allow_form_target
from idp.web.interaction import Interaction, load, page
from idp.web.language import gettext as _
from idp.web.offers import Offer, offers, parted
from idp.web.progress import Assessment
from idp.web.prove.registry import page_for
from idp.web.services import services
from idp.web.shown import documents
from idp.web.shown.choice import show_documents

blueprint = Blueprint("interaction", __name__, url_prefix="/interaction/<interaction_id>")

_LIVE: Final = "live_challenge"
_FORBIDDEN: Final = 403
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503


@dataclass(frozen=True, slots=True)
class Notice:
    """What went wrong with the last form, for the page that is shown again."""

    text: str
    status: int = _FORBIDDEN
    retry_after: int | None = None


@blueprint.get("")
def show(interaction_id: str) -> Response:
    """The page that the interaction is at."""
    choose, chosen = "choose" in request.args, request.args.get("factor")
    return render(load(interaction_id), choose=choose, factor=chosen, then=request.args.get("then", ""))


@blueprint.post("/password")
def password(interaction_id: str) -> Response:
    """Somebody typed a password."""
    interaction, then = load(interaction_id), request.form.get("then", "")
    try:
        login.with_password(interaction, request.form.get("username", ""), request.form.get("password", ""))
    except LoginRefused:
        # The same for everybody, though only who tried often has to wait: it says nothing of an account (OTP-11).
        text = _("User name or password is not right. After several tries, wait a few minutes before the next.")
        return render(interaction, Notice(text), then=then)
    except LoginBusy as error:
        status = _TOO_MANY if isinstance(error, LoginCrowded) else _UNAVAILABLE
        busy = Notice(_("Many people are signing in. Please try again in a moment."), status, 5)
        return render(interaction, busy, then=then)
    return progress.advance(load(interaction_id), then)


@blueprint.post("/continue")
def go_on(interaction_id: str) -> Response:
    """The person who is signed in goes on with an interaction that was begun before."""
    interaction = load(interaction_id)
    session = browser.current()
    if session is None or session.account_id is None or interaction.request.fresh:
        return render(interaction)
    with services().engine.begin() as connection:
        if not interactions.claim(connection, services().seals, interaction.id, session.id, session.account_id):
            raise InteractionLost("the interaction is another person's")
    return progress.advance(load(interaction_id))


@blueprint.post("/credential")
def credential(interaction_id: str) -> Response:
    """The person chose with which of their credentials to sign."""
    return progress.advance(choosing.choose(load(interaction_id), request.form.get("credential_id", "")))


@blueprint.post("/factor")
def factor(interaction_id: str) -> Response:
    """The person chose a way: a code is sent, or sent again; what needs no message has a page of its own."""
    interaction = load(interaction_id)
    chosen, then = parted(request.form.get("factor", ""))
    try:
        found = assessed(interaction)
        if chosen not in MESSAGES:
            proof.wanted(found, chosen)
            return page(interaction, factor=chosen, then=then)
        otp.send(interaction, found, chosen)
    except OtpRefused as error:
        return render(interaction, notice_of(error))
    return page(interaction)


@blueprint.post("/code")
def code(interaction_id: str) -> Response:
    """Somebody typed a code."""
    interaction = load(interaction_id)
    try:
        found = assessed(interaction, _ask_live(interaction))
        otp.verify(interaction, found, _live(), request.form.get("code", ""))
    except OtpRefused as error:
        return render(interaction, notice_of(error))
    return progress.advance(load(interaction_id))


@blueprint.errorhandler(CredentialUnavailable)
@blueprint.errorhandler(CredentialUnusable)
def without_credential(_error: CredentialUnavailable | CredentialUnusable) -> Response:
    """What could not be read in the middle of a POST: the page that says so."""
    return render(load((request.view_args or {})["interaction_id"]))


@blueprint.post("/consent")
def consent(interaction_id: str) -> Response:
    """The person approved or denied what the page showed.

    1. The page was about what this transaction is about (OAU-10).  2. The policy still allows it.  3. What is known of
    the documents is what the page said (PSH-04): another page may have had them fetched since.  4. It ends once.
    """
    interaction = load(interaction_id)
    decision = request.form.get("decision", "")
    if decision == "deny":
        return leave(interaction_id)
    about = _octets(request.form.get("binding", ""))
    if decision != "approve" or not hmac.compare_digest(about, _octets(interaction.binding)):
        raise ConsentMismatch("what was approved is not what this transaction is about")
    found = assessed(interaction)
    if not isinstance(found.step, Allowed):
        return render(interaction)
    showing = documents.view(interaction)
    if showing is not None and not showing.approvable:
        return render(interaction, Notice(_("This cannot be approved: not every document could be shown.")))
    seen, mark = request.form.get("shown", ""), documents.mark_of(interaction, showing)
    if not hmac.compare_digest(_octets(seen), _octets(mark)):
        return render(interaction, Notice(_("Look at the documents once more: what is known of them has changed.")))
    if interaction.request.intent is not None and signing.wanted(found.credential):
        return signing.send(interaction, found.account.id)
    return progress.approve(interaction, found)


def _octets(text: str) -> bytes:
    """For a comparison of what may be any text."""
    return text.encode("utf-8", "surrogatepass")


@blueprint.post("/leave")
def leave(interaction_id: str) -> Response:
    """The person goes back to the relying party without an approval."""
    interaction = load(interaction_id)
    try:
        found = progress.assess(interaction)
    except (CredentialUnavailable, CredentialUnusable) as error:
        return progress.refuse(interaction, "access_denied", error.code)
    if found is not None and isinstance(found.step, Refused):
        return progress.refuse(interaction, found.step.error, found.step.refusal, found)
    return progress.refuse(interaction, "access_denied", "denied", found)


def assessed(
    interaction: Interaction, besides: Callable[[Connection, str], None] | None = None
) -> Assessment:
    """Where the person who is signed in stands.

    :param besides: see :func:`idp.web.progress.assess`.
    :raises InteractionLost: nobody is signed in.
    :raises CredentialUnavailable: :raises CredentialUnusable: see :func:`idp.web.progress.assess`.
    """
    found = progress.assess(interaction, besides)
    if found is None:
        raise InteractionLost("nobody is signed in")
    return found


def notice_of(error: OtpRefused) -> Notice:
    """What a person is told about a factor that was refused."""
    if isinstance(error, OtpCoolDown):
        text = _("A code was sent a moment ago. You can ask again in %(wait)s.", wait=wording.duration(error.seconds))
        return Notice(text, _TOO_MANY, error.seconds)
    if isinstance(error, OtpStopped):
        text = _("No text messages are sent at the moment. Please use another way or try again later.")
        return Notice(text, _UNAVAILABLE)
    if isinstance(error, OtpPaused):
        text = _("Too many wrong codes. You can try again in %(wait)s.", wait=wording.duration(error.seconds))
        return Notice(text, _TOO_MANY, error.seconds)
    if isinstance(error, OtpBehind):
        return Notice(
            _(
                "This code is from %(minutes)d minutes ago. The clock of your device seems to be slow: "
                "let it set its time by itself, then type the new code.",
                minutes=max(1, round(error.seconds / 60)),
            )
        )
    texts: dict[type[OtpRefused], str] = {
        OtpUsed: _("This code was used before. Please wait for the next one."),
        OtpWrong: _("That is not the right code. Please check it and try again."),
        OtpDead: _("This code can no longer be used. Please ask for a new one."),
        OtpLocked: _("This way of proving who you are is locked for now. Please use another one or try tomorrow."),
        OtpNotSent: _(
            "We cannot tell whether the message went out. If no code arrives, ask again in a moment or use another way."
        ),
        NoSuchFactor: _("This way is not available here."),
    }
    return Notice(texts[type(error)])


# Pages


def render(
    interaction: Interaction,
    notice: Notice | None = None,
    *,
    choose: bool = False,
    factor: str | None = None,
    then: str = "",
) -> Response:
    """The page that the interaction is at now.

    :param choose: let the person choose among the ways that there are.
    :param factor: the way that they chose.
    :param then: what that way asks for after it.
    """
    if interaction.request.return_to:
        allow_form_target(interaction.request.return_to)
    try:
        found = progress.assess(interaction, _ask_live(interaction))
    except CredentialNotChosen:
        return _choose(interaction, notice)
    except (CredentialUnavailable, CredentialUnusable) as error:
        return _page("credential.html", interaction, Notice("", 503), unusable=isinstance(error, CredentialUnusable))
    if found is None:
        return _identify(interaction, notice)
    if isinstance(found.step, AskPassword):
        return _again(interaction, found, notice, then)
    if isinstance(found.step, AskFactor):
        return _ask(interaction, found, notice, _Choice(None if choose else factor, then, choose))
    if isinstance(found.step, Refused):
        return _page("refused.html", interaction, Notice("", _FORBIDDEN), found, refusal=found.step.refusal)
    if interaction.request.needs_consent:
        signing.allow_form(found.credential)
        showing = show_documents(interaction, request.args)
        mark = documents.mark_of(interaction, None if showing is None else showing.view)
        values = {"wording": wording, "unfinished": tuple, "showing": showing, "mark": mark}
        return _page("consent.html", interaction, notice, found, **values)
    return _page("continue.html", interaction, notice, found)


def _choose(interaction: Interaction, notice: Notice | None) -> Response:
    try:
        found = choosing.candidates(interaction)
    except CredentialUnavailable:
        return _page("credential.html", interaction, Notice("", 503), unusable=False)
    if not found:
        return _page("credential.html", interaction, Notice("", 503), unusable=True)
    return _page("choose_credential.html", interaction, notice, credentials=found, wording=wording)


def _identify(interaction: Interaction, notice: Notice | None) -> Response:
    session = browser.current()
    account = browser.account_of(session)
    if account is not None and not interaction.request.fresh:
        return _page("continue.html", interaction, notice, account=account)
    hint = account.username if account is not None else interaction.request.login_hint or ""
    username = request.form.get("username", "") if request.method == "POST" else hint
    decision = progress.for_anybody(interaction)
    reasons, asked = decision.reasons, passkeys.offered(interaction, decision)
    # With none of these the page has nothing of anybody's but its blanks: nearly everybody gets that one first.
    if session is not None and not (notice or username or trust() or resume.unfinished(interaction)):
        return make_response(sign_in_page.written(interaction, session.csrf, reasons, asked))
    values: dict[str, Any] = {"username": username, "again": False, "reasons": reasons, "passkey": asked}
    return _page(sign_in_page.TEMPLATE, interaction, notice, **values)


def _again(interaction: Interaction, found: Assessment, notice: Notice | None, then: str) -> Response:
    values: dict[str, Any] = {"username": found.account.username, "again": True, "passkey": None, "then": then}
    return _page(sign_in_page.TEMPLATE, interaction, notice, found, **values)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a person chose: a factor, what follows it, or to choose again."""

    factor: str | None
    then: str
    again: bool


def _ask(interaction: Interaction, found: Assessment, notice: Notice | None, choice: _Choice) -> Response:
    """The page of the way that was chosen, that a code was sent by, or that is the only one; else the choice."""
    ways, chosen = offers(found), choice.factor
    kinds = {offer.parts[0].kind: offer.parts[0].recognised for offer in ways}
    if chosen not in kinds and not choice.again:
        chosen = _sent_by(found)
        if chosen is None and len(kinds) == 1 and not kinds.keys() & MESSAGES.keys():
            chosen = next(iter(kinds))
    if choice.again or chosen not in kinds:
        return _page("choose.html", interaction, notice, found, offers=ways)
    if chosen == "password":
        return _again(interaction, found, notice, choice.then)
    own = page_for(chosen)
    if own is None:
        return _code(interaction, found, notice, ways, chosen)
    mine = tuple(item for item in found.authenticators if item.kind == chosen and item.usable(found.context.now))
    labels = [item.label for item in mine if item.label]
    values = own.values(interaction, found, mine)
    return _page(own.template, interaction, notice, found, others=len(ways) > 1, labels=labels, **values)


def _ask_live(interaction: Interaction) -> Callable[[Connection, str], None]:
    """Has the live challenge asked for with the person: while one page is made, the database is asked once."""

    def ask(connection: Connection, session_id: str) -> None:
        now = services().clock.now()
        setattr(g, _LIVE, cache(challenges.latest_later(connection, session_id, interaction.txn, now)))

    return ask


def _live() -> Challenge | None:
    """The challenge whose code would be right now, as :func:`_ask_live` has asked for it."""
    return cast("Callable[[], Challenge | None]", getattr(g, _LIVE))()


def _sent_by(found: Assessment) -> str | None:
    """The kind of the authenticator that a live code was sent to."""
    challenge = _live()
    kinds = {item.id: item.kind for item in found.authenticators}
    return None if challenge is None else kinds.get(challenge.purpose.authenticator_id)


def _code(
    interaction: Interaction, found: Assessment, notice: Notice | None, ways: tuple[Offer, ...], factor: str
) -> Response:
    """Where a code that was sent is typed; without a live one, the choice."""
    challenge = _live() if _sent_by(found) == factor else None
    if challenge is None:
        return _page("choose.html", interaction, notice, found, offers=ways)
    return _page(
        "otp.html",
        interaction,
        notice,
        found,
        factor=factor,
        address=next(offer.parts[0].recognised for offer in ways if offer.parts[0].kind == factor),
        wait=seconds_until_resend(challenge.sent, services().clock.now(), services().settings.otp),
        final=challenge.sent.sends >= services().settings.otp.max_sends,
        others=len(ways) > 1,
    )


def _because(found: Assessment) -> tuple[str, ...]:
    """What the authors of the rules that apply say for them, in their own words."""
    applied = {reason.rule for reason in found.decision.reasons}
    return tuple(rule.because for rule in services().policy.rules if rule.because and rule.id in applied)


def _page(
    template: str, interaction: Interaction, notice: Notice | None, found: Assessment | None = None, **values: Any
) -> Response:
    session, short = browser.current(), None if found is None else longer.wanted(found)
    response = make_response(
        render_template(
            template,
            interaction=interaction,
            asked=interaction.request,
            found=found,
            notice=notice.text if notice else "",
            because=() if found is None else _because(found),
            need=() if found is None else because.in_words(interaction.request, found, short),
            longer=short,
            until=interaction.stored.expires_at,
            reference=otp.reference(interaction.txn),
            csrf=session.csrf if session else "",
            **{
                "reasons": () if found is None else found.decision.reasons,
                "unfinished": lambda: resume.unfinished(interaction),
                "then": "",
                **values,
            },
        ),
        notice.status if notice else 200,
    )
    if notice and notice.retry_after is not None:
        response.headers["Retry-After"] = str(notice.retry_after)
    return response
