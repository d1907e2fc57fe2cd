"""One interaction: from what a relying party asks to what a person proved and approved.

A protocol's endpoint begins an interaction of its kind and is called back, through the finisher that it registered,
when the interaction has ended.  In between nobody but this package talks to the browser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, cast

from flask import Flask, current_app, g, redirect, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from foundation.clock import epoch
from idp.activation import binding
from idp.activation.intent import SignatureIntent
from idp.authn.approval import Approval
from idp.authn.roles import VISITS, AdminAction
from idp.errors import InteractionExpired, InteractionLost
from idp.storage import accounts, challenges, history, interactions, sessions, shown_documents
from idp.storage.accounts import Account
from idp.storage.engine import reading, writing
from idp.storage.interactions import StoredInteraction
from idp.web import browser, language, tidying
from idp.web.services import Services, services

Action = (
    Literal[
        "sign_in",
        "signature.activate",
        "signature.activate_in_band",
        "credential.create",
        "credential.suspend",
        "credential.resume",
        "credential.revoke",
        "credential.delete",
        "account.enrol_factor",
        "account.reset_factor",
    ]
    | AdminAction
)
_CLAIMED: Final = "interaction_claimed"
"""In ``g``: an interaction as this request itself has just written it."""
_FINISHERS: Final = "privyseal.finishers"
_FRESH_PROMPTS: Final = frozenset({"login", "select_account"})


@dataclass(frozen=True, slots=True)
class BeginInteraction:
    """What a protocol wants to know about the person."""

    kind: str
    """Whose finisher is called at the end."""
    action: Action
    client_id: str
    payload: Mapping[str, Any]
    """JSON that the finisher gets back unread."""
    prompt: tuple[str, ...] = ()
    """OIDC Core 3.1.2.1."""
    max_age: int | None = None
    acr_values: tuple[str, ...] = ()
    essential_acr: tuple[str, ...] = ()
    intent: SignatureIntent | None = None
    login_hint: str | None = None
    ui_locales: tuple[str, ...] = ()
    client_name: str = ""
    """How the relying party is named to the person; its identifier if empty."""
    return_to: str = ""
    """The redirect URI, already checked: forms may end at its origin."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What an action without a signature is about, as JSON; part of what is approved."""

    @property
    def silent(self) -> bool:
        """No page may be shown."""
        return "none" in self.prompt

    @property
    def fresh(self) -> bool:
        """Whoever is there proves it anew."""
        return bool(_FRESH_PROMPTS & set(self.prompt))

    @property
    def opens_pages(self) -> bool:
        """Nothing is given out or changed in the person's name: a sign-in, or a visit to the administration's pages."""
        return self.action == "sign_in" or self.action in VISITS

    @property
    def needs_consent(self) -> bool:
        """A person is asked before it ends well: always, but where it only opens pages."""
        return not self.opens_pages or "consent" in self.prompt

    @property
    def names_nobody(self) -> bool:
        """A credential is to be made, and it is not said yet whom its certificate names."""
        return self.action == "credential.create" and "subject" not in self.detail

    @property
    def display_name(self) -> str:
        """The relying party's name."""
        return self.client_name or self.client_id

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which :meth:`from_json` makes the same request."""
        return {
            "kind": self.kind,
            "action": self.action,
            "client_id": self.client_id,
            "payload": dict(self.payload),
            "prompt": list(self.prompt),
            "max_age": self.max_age,
            "acr_values": list(self.acr_values),
            "essential_acr": list(self.essential_acr),
            "intent": None if self.intent is None else self.intent.to_json(),
            "login_hint": self.login_hint,
            "ui_locales": list(self.ui_locales),
            "client_name": self.client_name,
            "return_to": self.return_to,
            "detail": dict(self.detail),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BeginInteraction:
        """The request that :meth:`to_json` wrote; not for input from outside."""
        fields: dict[str, Any] = dict(value)
        for name in ("prompt", "acr_values", "essential_acr", "ui_locales"):
            fields[name] = tuple(value[name])
        if value["intent"] is not None:
            fields["intent"] = SignatureIntent.from_json(value["intent"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Finished:
    """How an interaction ended: with an approval, or with an error of OAuth's and OIDC's names."""

    payload: Mapping[str, Any]
    approval: Approval | None = None
    error: str | None = None
    error_description: str | None = None
    """For the relying party's developers."""
    cause: str | None = None
    """Why there is no approval: ``denied`` by the person, or what the policy or the request lacks."""
    granted: Any = None
    """What was given for the approval, in its own transaction: see :func:`register_finisher`."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """An open interaction of the browser that sent this request."""

    stored: StoredInteraction
    request: BeginInteraction

    @property
    def id(self) -> str:
        """Its place in the address line; worth nothing without the session's cookie."""
        return self.stored.id

    @property
    def txn(self) -> str:
        """The transaction."""
        return self.stored.txn

    @property
    def credential_id(self) -> str | None:
        """The credential that it is about: to be used, suspended, resumed, revoked or deleted."""
        if self.request.intent is not None:
            return self.request.intent.credential_id
        found: str | None = self.request.detail.get("credential_id")
        return found

    @property
    def binds_evidence(self) -> bool:
        """Whether step-up evidence counts for this transaction only: where more is done than pages opened (SES-06)."""
        return not self.request.opens_pages

    @property
    def binding(self) -> str:
        """The hash of what is approved."""
        request = self.request
        return binding.digest_of(
            action=request.action,
            client_id=request.client_id,
            txn=self.txn,
            intent=request.intent,
            detail=request.detail,
        )


Finisher = Callable[[Finished], Response]
Granter = Callable[[Connection, Finished], Any]
Completer = Callable[[BeginInteraction, Account, str | None], BeginInteraction]
"""The last: the credential that was chosen, where one was."""


@dataclass(slots=True)
class _Registry:
    finishers: dict[str, Finisher] = field(default_factory=dict)
    granters: dict[str, Granter] = field(default_factory=dict)
    completers: dict[str, Completer] = field(default_factory=dict)


def register_finisher(
    app: Flask, kind: str, finisher: Finisher, granter: Granter | None = None, completer: Completer | None = None
) -> None:
    """Name who turns the end of an interaction of this kind into an answer to the browser.

    :param granter: what is asked before that, where there is an approval, in the transaction that records it: either
        both are written or nothing.  The finisher gets what it gave as ``granted``.
    :param completer: gives a request that says less than is to be approved what it lacks, once somebody has signed in.
    :raises ValueError: the kind has one already.
    """
    registry = cast("_Registry", app.extensions.setdefault(_FINISHERS, _Registry()))
    if kind in registry.finishers:
        raise ValueError(f"interactions of kind {kind} have a finisher already")
    registry.finishers[kind] = finisher
    if granter is not None:
        registry.granters[kind] = granter
    if completer is not None:
        registry.completers[kind] = completer


def grant(connection: Connection, kind: str, outcome: Finished) -> Finished:
    """Have the granter of its kind, if there is one, write what goes with an approval."""
    granter = cast("_Registry", current_app.extensions[_FINISHERS]).granters.get(kind)
    return outcome if granter is None else replace(outcome, granted=granter(connection, outcome))


def finish(kind: str, outcome: Finished) -> Response:
    """Hand the outcome to the finisher of its kind."""
    registry = cast("_Registry", current_app.extensions[_FINISHERS])
    return registry.finishers[kind](outcome)


def begin(request: BeginInteraction, *, seconds: int | None = None) -> Response:
    """Begin an interaction and go as far as it goes without the person: to a page, or to its end.

    :param seconds: how long it may take, where what it is about does not wait for as long as interactions may take.
    """
    from idp.web.progress import advance

    before = browser.current()
    with_services = services()
    now = with_services.clock.now()
    _tidy_sometimes(with_services)
    interaction_id, txn = browser.new_id(with_services), browser.new_id(with_services)
    longest = with_services.settings.session.interaction_seconds
    with writing(with_services.engine) as connection:
        session = browser.ensure_in(connection)
        if before is not None and session.account_id is None:
            sessions.prolong(connection, with_services.seals, session.id, now, with_services.settings.session)
        stored = interactions.create(
            connection,
            with_services.seals,
            interaction_id=interaction_id,
            txn=txn,
            session_id=session.id,
            account_id=None if request.fresh else session.account_id,
            request=request.to_json(),
            now=now,
            life_seconds=longest if seconds is None else min(seconds, longest),
            first=before is None,
        )
    language.prefer(request.ui_locales)
    return advance(_completed(Interaction(stored, request)))


def _tidy_sometimes(with_services: Services) -> None:
    purges = (
        sessions.purge,
        interactions.purge,
        lambda connection, now: shown_documents.purge(connection, epoch(now)),
        challenges.purge,
        history.purge,
    )
    tidying.tidy_sometimes(with_services, "sessions and interactions", purges)


def load(interaction_id: str) -> Interaction:
    """The open interaction of this id in this browser.

    :raises InteractionExpired: its time was over before it ended.
    :raises InteractionLost: there is none, it has ended, or it is another browser's or another person's.
    """
    session = browser.current()
    with_services = services()
    if session is None:
        raise expired(interaction_id) or InteractionLost("the browser has no session")
    stored = cast("StoredInteraction | None", g.pop(_CLAIMED, None))
    if stored is None or (stored.id, stored.session_id) != (interaction_id, session.id):
        stored = browser.interaction_read(session, interaction_id)
    if stored is None:
        with reading(with_services.engine) as connection:
            stored = interactions.find(
                connection, with_services.seals, interaction_id, session.id, with_services.clock.now()
            )
    if stored is None:
        raise expired(interaction_id) or InteractionLost("no open interaction of that id belongs to this session")
    if stored.account_id is not None and stored.account_id != session.account_id:
        raise InteractionLost("the interaction is another person's")
    request = BeginInteraction.from_json(stored.request)
    language.prefer(request.ui_locales)
    return _completed(Interaction(stored, request))


def _completed(interaction: Interaction) -> Interaction:
    """The interaction with whom a certificate will name in its request, as soon as it is known who is asked."""
    request, account_id = interaction.request, interaction.stored.account_id
    if account_id is None or not request.names_nobody:
        return interaction
    with reading(services().engine) as connection:
        account = accounts.find(connection, account_id)
    return interaction if account is None else completed(interaction, account)


def completed(interaction: Interaction, account: Account, credential_id: str | None = None) -> Interaction:
    """The interaction with all in its request that is approved, which is kept.

    :param credential_id: the credential that the person chose.
    :raises InteractionLost: it has ended, or was completed otherwise.
    """
    request = interaction.request
    completer = cast("_Registry", current_app.extensions[_FINISHERS]).completers.get(request.kind)
    if completer is None:
        return interaction
    fuller = completer(request, account, credential_id)
    content = fuller.to_json()
    with services().engine.begin() as connection:
        interactions.set_request(connection, services().seals, interaction.id, interaction.stored.request, content)
    return Interaction(replace(interaction.stored, request=content), fuller)


def claimed(stored: StoredInteraction) -> None:
    """Somebody has just proved who they are in this interaction: :func:`load` need not read it once more."""
    setattr(g, _CLAIMED, stored)


def expired(interaction_id: str) -> InteractionExpired | None:
    """What to say of an interaction of this browser whose time is over; None if there is nothing to be said of it.

    The session may be over as well: the cookie still tells whose it was, and opens nothing.
    """
    session_id = browser.lately()
    if session_id is None:
        return None
    with reading(services().engine) as connection:
        stored = interactions.find_expired(connection, services().seals, interaction_id, session_id)
    if stored is None or stored.expires_at > services().clock.now():
        return None
    request = BeginInteraction.from_json(stored.request)
    language.prefer(request.ui_locales)
    return InteractionExpired(request.display_name, request.return_to)


def page(interaction: Interaction, factor: str | None = None, then: str | None = None) -> Response:
    """Send the browser to the interaction's page.

    :param factor: the way that the person chose.
    :param then: what that way asks for after it.
    """
    target = url_for("interaction.show", interaction_id=interaction.id, factor=factor, then=then or None)
    return redirect(target, 303)
