"""How far an interaction is: facts, the policy's decision, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection
from werkzeug.wrappers import Response

from idp.authn import methods
from idp.authn.approval import Approval
from idp.authn.session import AuthnContext, context_of, decide
from idp.authn.stepup import Allowed, AskFactor, AskPassword, Refused, Step, next_step
from idp.errors import CredentialNotChosen, CredentialUnavailable, CredentialUnusable, InteractionLost
from idp.policy.evidence import Evidence
from idp.policy.model import CredentialFacts, Decision, EnrolledFactor, Facts
from idp.storage import decisions, interactions
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator
from idp.storage.engine import writing
from idp.web import browser, choosing, shadow
from idp.web.address import client_address
from idp.web.approval import signing
from idp.web.interaction import Finished, Interaction, finish, grant, page
from idp.web.services import CredentialView, Services, services
from idp.web.shown import documents

_SILENT_ERRORS: Final = {"login": "login_required", "step_up": "interaction_required", "consent": "consent_required"}


@dataclass(frozen=True, slots=True)
class Assessment:
    """Where a signed-in person stands in an interaction."""

    account: Account
    context: AuthnContext
    facts: Facts
    decision: Decision
    step: Step
    authenticators: tuple[Authenticator, ...]
    credential: CredentialView | None


def assess(
    interaction: Interaction, besides: Callable[[Connection, str], None] | None = None
) -> Assessment | None:
    """What the policy says now; None while nobody has proved who they are in this interaction.

    :param besides: puts off what else is to be asked with the person, about the session of this identifier.
    :raises CredentialUnavailable: the credential to be used cannot be read.
    :raises CredentialUnusable: it is not this person's, or disabled.
    :raises CredentialNotChosen: the person has to say first which.
    """
    session = browser.current()
    if session is None or session.account_id is None or interaction.stored.account_id != session.account_id:
        return None
    person = browser.person_of(session, None if besides is None else lambda asked: besides(asked, session.id))
    if person is None:
        return None
    account, owned = person
    intent, with_services = interaction.request.intent, services()
    if intent is not None and not intent.chosen:
        raise CredentialNotChosen("the person has not said with which credential")
    credential = _credential(with_services, interaction, account)
    context = _context(interaction, session, account, None)
    facts, decision = decide(
        with_services.policy,
        _facts(interaction, account, context, owned, credential),
        lambda limit: _context(interaction, session, account, limit).evidence,
    )
    context = replace(context, evidence=facts.evidence)
    return Assessment(account, context, facts, decision, next_step(decision), owned, credential)


def _context(
    interaction: Interaction, session: browser.BrowserSession, account: Account, session_limit: int | None
) -> AuthnContext:
    return context_of(
        account_id=account.id,
        session_id=session.id,
        session_evidence=session.evidence,
        transaction_evidence=interaction.stored.evidence,
        txn=interaction.txn,
        now=services().clock.now(),
        session_limit=session_limit,
        pauses=session.pauses,
    )


def _facts(
    interaction: Interaction,
    account: Account,
    context: AuthnContext,
    owned: tuple[Authenticator, ...],
    credential: CredentialView | None,
) -> Facts:
    asked = interaction.request
    return Facts(
        action=asked.action,
        evidence=context.evidence,
        now=context.now,
        client_id=asked.client_id,
        groups=account.groups,
        attributes=account.attributes,
        proofing=account.proofing,
        credential=None if credential is None else _credential_facts(credential),
        network=client_address(),
        transaction=interaction.txn,
        acr_values=asked.acr_values,
        essential_acr=asked.essential_acr,
        max_age=asked.max_age,
        force_reauthentication=asked.fresh,
        enrolled=enrolled(owned, bound=interaction.binds_evidence, proved=context.evidence),
        replaces=replaced(asked.action, asked.detail, owned),
    )


def _credential_facts(credential: CredentialView) -> CredentialFacts:
    return CredentialFacts(credential.credential_id, "2" if credential.scal == "2" else "1", credential.qualifier)


def enrolled(
    owned: tuple[Authenticator, ...], *, bound: bool, proved: tuple[Evidence, ...] = ()
) -> tuple[EnrolledFactor, ...]:
    """What the person can be asked for now: usable, and with a gateway where a message is needed."""
    now = services().clock.now()
    usable = [item for item in owned if item.usable(now)]
    return methods.enrolled(usable, services().messaging.factors, bound=bound, proved=proved)


def replaced(action: str, detail: Mapping[str, Any], owned: Iterable[Authenticator]) -> str | None:
    """The kind of factor of which an action puts another in the place of the one that the person has, if any."""
    kind = detail.get("factor") if action == "account.enrol_factor" else None
    return kind if kind in methods.SINGLE and any(item.kind == kind and not item.disabled for item in owned) else None


def for_anybody(interaction: Interaction) -> Decision:
    """What is asked of whoever it may be, and why, before it is known who.

    Nothing of it comes from an account, so the page tells nobody whether there is one (OTP-11).
    """
    asked = interaction.request
    facts = Facts(
        action=asked.action,
        evidence=(),
        now=services().clock.now(),
        client_id=asked.client_id,
        proofing="high",
        network=client_address(),
        transaction=interaction.txn,
        acr_values=asked.acr_values,
        essential_acr=asked.essential_acr,
        max_age=asked.max_age,
        force_reauthentication=asked.fresh,
        enrolled=methods.anybodys(services().messaging.factors, bound=interaction.binds_evidence),
    )
    return services().anybody.decide(services().policy, facts)


def _credential(with_services: Services, interaction: Interaction, account: Account) -> CredentialView | None:
    """The credential as the signing service states it, read once an interaction."""
    credential_id = interaction.credential_id
    if credential_id is None:
        return None
    if interaction.stored.credential is not None and interaction.stored.credential["credential_id"] == credential_id:
        return CredentialView(**interaction.stored.credential)
    view = with_services.credentials.read(account.id, interaction.request.client_id, credential_id)
    if view.credential_id != credential_id:
        raise CredentialUnusable("the signing service answered about another credential")
    # One that is suspended or has expired cannot sign, and may still be resumed or deleted.
    if interaction.request.intent is not None and view.status != "enabled":
        raise CredentialUnusable("the credential is not enabled")
    if interaction.request.intent is not None:
        signing.check_can_prove(view)
    with with_services.engine.begin() as connection:
        interactions.set_credential(connection, with_services.seals, interaction.id, asdict(view))
    return view


def _says_which(interaction: Interaction) -> bool:
    intent = interaction.request.intent
    return intent is None or intent.chosen


def advance(interaction: Interaction, then: str | None = None) -> Response:
    """Go as far as it goes without the person: to a page, or to the end.

    :param then: the factor that the way which the person chose asks for next.
    """
    try:
        only = None if _says_which(interaction) else choosing.choose_the_only_one(interaction)
        interaction = only or interaction
    except CredentialUnavailable:
        pass  # as below, where it is said
    asked = interaction.request
    try:
        found = assess(interaction)
    except (CredentialUnavailable, CredentialUnusable) as error:
        if asked.silent:
            return refuse(interaction, "interaction_required", error.code)
        return page(interaction)
    if found is None:
        return refuse(interaction, _SILENT_ERRORS["login"], "login") if asked.silent else page(interaction)
    if isinstance(found.step, Refused):
        if asked.silent or found.step.refusal == "unmet_request":
            return refuse(interaction, found.step.error, found.step.refusal, found)
        return page(interaction)
    if not isinstance(found.step, Allowed):
        # OIDC Core 3.1.2.6: whoever would have to sign in again is as good as nobody who is signed in.
        again = isinstance(found.step, AskPassword) or "password" in found.step.factors or not found.decision.reached
        needed = "login" if again else "step_up"
        if asked.silent:
            return refuse(interaction, _SILENT_ERRORS[needed], needed, found)
        return page(interaction, then if isinstance(found.step, AskFactor) and then in found.step.factors else None)
    if asked.needs_consent and asked.silent:
        return refuse(interaction, _SILENT_ERRORS["consent"], "consent", found)
    if asked.needs_consent:
        documents.arrive(interaction)
        return page(interaction)
    return approve(interaction, found)


def approve(
    interaction: Interaction, found: Assessment, *, signer_proof: Mapping[str, Any] | None = None
) -> Response:
    """End an interaction with an approval; the decision and the approval are recorded in one transaction.

    :param signer_proof: what the person's own device signed about it, where the credential demands that.
    :raises InteractionLost: it has ended already, or the policy does not allow it.
    :raises DocumentsNotShown: a document had to be shown and was not.
    """
    with_services, asked = services(), interaction.request
    approval, shown = approval_of(interaction, found, signer_proof=signer_proof), documents.check(interaction)
    with writing(with_services.engine) as connection:
        closed = interactions.close_later(connection, interaction.id)
        kept = record_decision(connection, interaction, found, approval.decision_id)
        fields = approved_fields(interaction, approval) | {"decision_sha256": kept}
        fields |= documents.record(interaction, shown)
        documents.forget(connection, interaction)
        outcome = grant(connection, asked.kind, Finished(asked.payload, approval=approval))
        if not closed():
            # What was written meanwhile is rolled back with it.
            raise InteractionLost("the interaction has ended")
        with_services.audit.record(connection, "transaction.approved", **fields)
    shadow.compare(approval.decision_id, interaction.txn, found.facts, found.decision)
    return finish(asked.kind, outcome)


def approval_of(
    interaction: Interaction, found: Assessment, *, signer_proof: Mapping[str, Any] | None = None
) -> Approval:
    """The approval that a decision amounts to, under a new name for the decision; nothing is recorded.

    :raises InteractionLost: the policy does not allow it.
    """
    decision, with_services = found.decision, services()
    if not isinstance(found.step, Allowed) or decision.auth_time is None:
        raise InteractionLost("the policy does not allow it")
    return Approval(
        txn=interaction.txn,
        account_id=found.account.id,
        session_id=found.context.session_id,
        client_id=interaction.request.client_id,
        action=interaction.request.action,
        binding=interaction.binding,
        decision_id=browser.new_id(with_services),
        policy_name=with_services.policy.name,
        policy_sha256=with_services.policy.sha256,
        acr=decision.acr,
        loa=decision.loa,
        amr=decision.amr,
        auth_time=decision.auth_time,
        evidence=decision.relied_on,
        approved_at=found.context.now,
        session_limit=decision.session_limit,
        signer_proof=signer_proof,
    )


def refuse(interaction: Interaction, error: str, cause: str, found: Assessment | None = None) -> Response:
    """End an interaction with an error for the relying party.

    :param cause: for the audit chain and the error's description.
    :raises InteractionLost: it has ended already.
    """
    with_services = services()
    fields: dict[str, Any] = {
        "txn": interaction.txn,
        "client_id": interaction.request.client_id,
        "action": interaction.request.action,
        "cause": cause,
    }
    with with_services.engine.begin() as connection:
        if not interactions.close(connection, interaction.id):
            raise InteractionLost("the interaction has ended")
        documents.forget(connection, interaction)
        if found is not None:
            fields |= _decided(connection, interaction, found)
            # What a stranger's browser starts without anybody having signed in is no matter for the chain: it could
            # be filled at will.
            with_services.audit.record(connection, "transaction.refused", **fields)
    if found is not None:
        shadow.compare(fields["decision_id"], interaction.txn, found.facts, found.decision)
    return finish(
        interaction.request.kind,
        Finished(
            interaction.request.payload,
            error=error,
            error_description=_DESCRIPTIONS.get(cause, cause),
            cause=cause,
        ),
    )


def record_refused(interaction: Interaction, found: Assessment) -> None:
    """Record that the policy does not allow it, where there is no interaction in a browser that would end."""
    with services().engine.begin() as connection:
        services().audit.record(
            connection,
            "transaction.refused",
            txn=interaction.txn,
            client_id=interaction.request.client_id,
            action=interaction.request.action,
            cause=found.decision.refusal or "step_up",
            **_decided(connection, interaction, found),
        )


def _decided(connection: Any, interaction: Interaction, found: Assessment) -> dict[str, Any]:
    """Keep the decision; what the record of a refusal says of it."""
    decision_id = browser.new_id(services())
    return {
        "decision_sha256": record_decision(connection, interaction, found, decision_id),
        "account_id": found.account.id,
        "session_id": found.context.session_id,
        "decision_id": decision_id,
        "policy": services().policy.name,
        "policy_sha256": services().policy.sha256,
    }


_DESCRIPTIONS: Final = {
    "login": "nobody is signed in, or not recently enough",
    "step_up": "the person has to prove another factor",
    "consent": "the person has to approve",
    "denied": "the person did not approve",
    "no_rule": "the policy does not allow it",
    "proofing": "the person has not been identified well enough",
    "unreachable": "the person has no factors that reach the level that is needed",
    "unmet_request": "none of the requested authentication context classes can be reached",
    "credential_unavailable": "the credential cannot be read now",
    "credential_not_chosen": "the person has to choose a credential, or has none that fits",
    "credential_unusable": "the credential cannot be used by this person",
}
"""For the relying party's developers, as RFC 6749 4.1.2.1 has them: English and ASCII."""


def record_decision(connection: Any, interaction: Interaction, found: Assessment, decision_id: str) -> str:
    """Keep the decision; returns the digest of its record."""
    return decisions.record(
        connection,
        decision_id=decision_id,
        txn=interaction.txn,
        account_id=found.account.id,
        policy=services().policy,
        facts=found.facts,
        decision=found.decision,
    )


def approved_fields(interaction: Interaction, approval: Approval) -> dict[str, Any]:
    """What the audit record of an approval says."""
    fields: dict[str, Any] = {
        "txn": approval.txn,
        "client_id": approval.client_id,
        "action": approval.action,
        "account_id": approval.account_id,
        "session_id": approval.session_id,
        "decision_id": approval.decision_id,
        "policy": approval.policy_name,
        "policy_sha256": approval.policy_sha256,
        "acr": approval.acr,
        "amr": list(approval.amr),
    }
    intent = interaction.request.intent
    if intent is not None:
        fields["credential_id"] = intent.credential_id
        fields["hash_alg"] = intent.hash_alg
        fields["digests"] = [item.digest.hex() for item in intent.digests]
    detail = interaction.request.detail
    fields |= {name: detail[name] for name in ("profile", "credential_id") if name in detail}
    return fields
