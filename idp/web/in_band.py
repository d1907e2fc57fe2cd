"""Signatures that are authorised in band: what a person types into somebody else's application.

It comes here through the signing service, which judges none of it.  Everything is verified by the very code that stands
behind this server's own pages, with their counts, locks, pauses, budgets and one-time rules; guesses here and there add
up.  What differs is the place: there is no browser and no session.  A code that is sent belongs to the relying
party's service token, the credential and the transaction, and what was proved is kept nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from idp.activation.binding import digest_of
from idp.activation.intent import SignatureIntent
from idp.authn import methods
from idp.authn.approval import Approval
from idp.authn.methods import MESSAGES
from idp.authn.session import AuthnContext, decide
from idp.authn.stepup import Allowed, AskFactor, Step, next_step
from idp.errors import (
    LoginBusy,
    LoginRefused,
    OtpCoolDown,
    OtpLocked,
    OtpNotSent,
    OtpPaused,
    OtpRefused,
    OtpStopped,
)
from idp.oidc.errors import (
    AuthenticationDataInvalid,
    CodeInvalid,
    CodeLocked,
    GrantInvalid,
    NotAllowed,
    NotNow,
    PinInvalid,
    PinLocked,
    RequestInvalid,
    TooManyRequests,
)
from idp.policy.evidence import Evidence
from idp.policy.facts import CredentialFacts, Facts
from idp.policy.keys import SIGN_IN_BAND
from idp.storage import accounts, authenticators, challenges
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator
from idp.storage.challenges import Challenge
from idp.storage.engine import reading
from idp.storage.interactions import StoredInteraction
from idp.web import login, otp, progress, proof, shadow
from idp.web.browser import new_id
from idp.web.interaction import BeginInteraction, Interaction
from idp.web.on_behalf import Principal
from idp.web.progress import Assessment
from idp.web.prove import hotp, totp, typed
from idp.web.services import Services

KINDS: Final = ("password", "totp", "hotp", "sms_otp", "email_otp")
"""Kinds whose secret can be typed into somebody else's application, in the order in which they are judged: the
password first, so that no code is used up by whoever does not know it."""
PIN: Final = "PIN"
OTP: Final = "OTP"
"""What version 1 of the CSC API calls the two answers that it has."""

_JUDGES: Final[Mapping[str, tuple[Callable[[str], typed.Uses], typed.Chance]]] = {
    totp.KIND: (totp.uses_of, totp.chance),
    hotp.KIND: (hotp.uses_of, hotp.chance),
}
_MAX_CODE: Final = 16


@dataclass(frozen=True, slots=True)
class InBand:
    """A signature that is to be authorised in band: whose, for whom, with which credential."""

    services: Services
    principal: Principal
    account: Account
    owned: tuple[Authenticator, ...]
    credential: CredentialFacts
    txn: str

    @property
    def interaction(self) -> Interaction:
        """What the code behind the pages knows of it: no browser has it, and no row."""
        client, now = self.principal.client, self.services.clock.now()
        request = BeginInteraction(
            kind="in_band",
            action=SIGN_IN_BAND,
            client_id=client.client_id,
            payload={},
            client_name=client.name,
            detail={"credential_id": self.credential.id},
        )
        stored = StoredInteraction(
            id="",
            session_id=self.principal.grant.id,
            account_id=self.account.id,
            txn=self.txn,
            request={},
            evidence=(),
            credential=None,
            created_at=now,
            expires_at=now,
        )
        return Interaction(stored, request)

    @property
    def ways(self) -> tuple[tuple[str, ...], ...]:
        """The sets of kinds whose answers would be enough, the policy's preference first."""
        return tuple(dict.fromkeys(option.missing for option in self.assessed().decision.options if option.missing))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind that is in a way."""
        return tuple(dict.fromkeys(kind for way in self.ways for kind in way))

    def assessed(self, evidence: tuple[Evidence, ...] = (), step: Step | None = None) -> Assessment:
        """What the policy says of it with this evidence and no other."""
        services, account, now = self.services, self.account, self.services.clock.now()
        usable = [item for item in self.owned if item.usable(now) and item.kind in KINDS]
        facts, decision = decide(
            services.policy,
            Facts(
                action=SIGN_IN_BAND,
                evidence=evidence,
                now=now,
                client_id=self.principal.client.client_id,
                groups=account.groups,
                attributes=account.attributes,
                proofing=account.proofing,
                credential=self.credential,
                # The service's own address says nothing of where the person is.
                network=None,
                transaction=self.txn,
                enrolled=methods.enrolled(usable, services.messaging.factors, bound=True),
            ),
            # All of it was made for this transaction: no limit of a session leaves anything out.
            lambda _limit: evidence,
        )
        context = AuthnContext(account.id, self.principal.grant.id, evidence, now)
        return Assessment(account, context, facts, decision, step or next_step(decision), self.owned, None)


def begun(services: Services, principal: Principal, credential: CredentialFacts) -> InBand:
    """The signature that somebody is about to authorise in band: the one that a live code was sent for, or a new one.

    :raises GrantInvalid: the account is gone.
    """
    with reading(services.engine) as connection:
        account = accounts.find(connection, principal.account_id)
        if account is None:
            raise GrantInvalid("the account has ended")
        owned = authenticators.of_account(connection, services.seals, account.id)
        sent = challenges.in_session(connection, principal.grant.id, services.clock.now())
    mine = (
        item.purpose.txn
        for item in sent
        if item.purpose.intent_sha256 == _binding(principal, credential, item.purpose.txn)
    )
    txn = next(mine, None)
    return InBand(services, principal, account, owned, credential, txn or new_id(services))


def _binding(principal: Principal, credential: CredentialFacts, txn: str) -> str:
    return digest_of(
        action=SIGN_IN_BAND,
        client_id=principal.client.client_id,
        txn=txn,
        intent=None,
        detail={"credential_id": credential.id},
    )


def send(asked: InBand, object_id: str) -> None:
    """Send a code.  The person has signed in to the relying party; nothing more is asked first (OTP-07).

    :param object_id: a kind whose codes are sent, or :data:`OTP` for the first that there is.
    :raises RequestInvalid: no such code can be sent.
    :raises TooManyRequests: not so soon, or not so many.
    :raises CodeLocked: no code of that kind is taken now.
    :raises NotNow: the gateway did not take it, or messages are stopped.
    """
    sendable = [kind for kind in asked.kinds if kind in MESSAGES]
    kind = next(iter(sendable), None) if object_id == OTP else object_id
    if kind not in sendable or kind is None:
        raise RequestInvalid("Invalid parameter auth_object")
    try:
        otp.send(asked.interaction, asked.assessed(step=AskFactor((kind,))), kind)
    except OtpCoolDown as error:
        raise TooManyRequests(f"the next code can be sent in {error.seconds} seconds") from error
    except OtpLocked as error:
        raise CodeLocked("no code of this kind is taken now") from error
    except (OtpNotSent, OtpStopped) as error:
        raise NotNow("the code could not be sent") from error
    except OtpRefused as error:
        raise RequestInvalid("Invalid parameter auth_object") from error


def proved(asked: InBand, answers: Mapping[str, str]) -> tuple[Evidence, ...]:
    """Judge the answers: of one way that the policy offers, all of it and nothing else.

    Answers to something else are not judged, so that they cost no try and no code.

    :param answers: by kind, or by :data:`PIN` and :data:`OTP`.
    :raises AuthenticationDataInvalid: not such a set, or one of them was not accepted: see its subclasses.
    :raises NotNow: too many passwords are being verified.
    """
    named = {_kind(asked, name): value for name, value in answers.items()}
    if len(named) != len(answers) or frozenset(named) not in {frozenset(way) for way in asked.ways}:
        raise AuthenticationDataInvalid("these are not the answers that are asked for")
    found: list[Evidence] = []
    for kind in sorted(named, key=KINDS.index):
        if kind == "password":
            _password(asked, named[kind], found)
        else:
            _code(asked, kind, named[kind], found)
    return tuple(found)


def _kind(asked: InBand, name: str) -> str:
    """What version 1 calls an OTP is the code that was sent; where none was, the one that a device makes."""
    if name == PIN:
        return "password"
    if name != OTP:
        return name
    sent = _latest(asked)
    kinds = {item.id: item.kind for item in asked.owned}
    if sent is not None and sent.purpose.authenticator_id in kinds:
        return kinds[sent.purpose.authenticator_id]
    return next((kind for kind in asked.kinds if kind in _JUDGES), OTP)


def _latest(asked: InBand) -> Challenge | None:
    with reading(asked.services.engine) as connection:
        now = asked.services.clock.now()
        return challenges.latest(connection, asked.principal.grant.id, asked.txn, now)


def _password(asked: InBand, value: str, found: list[Evidence]) -> None:
    own = [item for item in asked.owned if item.kind == "password" and not item.disabled]
    if not login.may_be_tried(own[-1] if own else None):
        raise PinLocked("the password is not tried now")
    interaction = asked.interaction
    assessed = asked.assessed(step=AskFactor(("password",)))

    def succeed(connection: Connection, _account: Account, item: Authenticator, evidence: Evidence) -> None:
        authenticators.succeeded(connection, item.id, evidence.at)
        asked.services.audit.record(connection, "factor.accepted", **proof.fields(interaction, assessed, item))
        found.append(evidence)

    occasion = login.Occasion(
        asked.txn,
        interaction.request.client_id,
        interaction.request.action,
        asked.account.id,
        succeed,
        # Who asks knows whose account it is.
        lambda _connection: None,
    )
    try:
        login.prove(occasion, asked.account.username, value)
    except LoginRefused as error:
        raise PinInvalid("the password is not right") from error
    except LoginBusy as error:
        raise NotNow("too many passwords are being verified") from error


def _code(asked: InBand, kind: str, value: str, found: list[Evidence]) -> None:
    def accept(_connection: Connection, _interaction: Interaction, _found: Assessment, evidence: Evidence) -> None:
        found.append(evidence)

    interaction, assessed = asked.interaction, asked.assessed(step=AskFactor((kind,)))
    try:
        if kind in MESSAGES:
            mine = tuple(item for item in asked.owned if item.kind == kind)
            otp.judge(interaction, replace(assessed, authenticators=mine), _latest(asked), value, accept)
        else:
            uses, chance = _JUDGES[kind]
            typed.judge(interaction, assessed, kind, uses(value[:_MAX_CODE]), chance, accept)
    except (OtpLocked, OtpPaused) as error:
        raise CodeLocked("no code of this kind is taken now") from error
    except OtpRefused as error:
        raise CodeInvalid("the code is not right") from error


@dataclass(frozen=True, slots=True)
class Approved:
    """A signature that was authorised in band, not recorded yet."""

    asked: InBand
    interaction: Interaction
    found: Assessment
    approval: Approval

    def record(self, connection: Connection) -> None:
        """Record decision and approval, in the transaction of what is given for them."""
        kept = progress.record_decision(connection, self.interaction, self.found, self.approval.decision_id)
        fields = progress.approved_fields(self.interaction, self.approval)
        self.asked.services.audit.record(connection, "transaction.approved", **fields, decision_sha256=kept)

    def compare(self) -> None:
        """Have a candidate policy say what it would have said."""
        shadow.compare(self.approval.decision_id, self.approval.txn, self.found.facts, self.found.decision)


def approved(asked: InBand, intent: SignatureIntent, evidence: tuple[Evidence, ...]) -> Approved:
    """The approval of a signature, if the policy allows it with what was proved.

    :raises NotAllowed: it does not; the refusal is recorded.
    """
    begun_as = asked.interaction
    interaction = replace(begun_as, request=replace(begun_as.request, intent=intent, detail={}))
    found = asked.assessed(evidence)
    if not isinstance(found.step, Allowed):
        progress.record_refused(interaction, found)
        raise NotAllowed("the policy does not allow it")
    made = progress.approval_of(interaction, found)
    # The session in which the person signed in to the relying party: when it ends, this ends.
    approval = replace(made, session_id=asked.principal.grant.session_id or "")
    return Approved(asked, interaction, found, approval)
