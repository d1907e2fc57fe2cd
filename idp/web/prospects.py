"""What a person could still do after one of their authenticators is gone: the policy is asked, nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from idp.authn import methods
from idp.policy.evaluate import evaluate
from idp.policy.model import CredentialFacts, Decision, Facts
from idp.settings import ACCOUNT_CLIENT_ID
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator
from idp.web.address import client_address
from idp.web.services import CredentialView, services

_NOBODYS: Final = "prospect"
"""The transaction that is asked about, which never is one."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What the account loses with an authenticator."""

    locks_out: bool
    """Nobody could sign in any more."""
    stops_signing: tuple[str, ...]
    """Credentials (by their ids) that could be signed with before, and not after."""
    needs_help: bool
    """Nothing could be added any more without the help desk."""


def locks_out(account: Account, owned: Iterable[Authenticator], gone: Authenticator) -> bool:
    """Whether without this one nothing is left that somebody could sign in with."""
    rest = [item for item in owned if item.id != gone.id]
    return not _signs_in(_asked(account, rest, "sign_in", bound=False))


def prospect(
    account: Account, owned: Iterable[Authenticator], gone: Authenticator, credentials: Iterable[CredentialView] = ()
) -> Prospect:
    """What would no longer be possible without this one."""
    owned = tuple(owned)
    rest = tuple(item for item in owned if item.id != gone.id)

    def can(having: tuple[Authenticator, ...], credential: CredentialView) -> bool:
        facts = CredentialFacts(
            credential.credential_id, "2" if credential.scal == "2" else "1", credential.qualifier
        )
        return _asked(account, having, "signature.activate", bound=True, credential=facts).outcome != "deny"

    def can_add(having: tuple[Authenticator, ...]) -> bool:
        return _asked(account, having, "account.enrol_factor", bound=True).outcome != "deny"

    return Prospect(
        locks_out(account, owned, gone),
        tuple(item.credential_id for item in credentials if can(owned, item) and not can(rest, item)),
        can_add(owned) and not can_add(rest),
    )


def _signs_in(decision: Decision) -> bool:
    """Whether somebody can begin: by a password, a passkey or a certificate they are recognised, by nothing else."""
    return any(methods.IDENTIFYING & set(option.missing) for option in decision.options)


def _asked(
    account: Account,
    owned: Iterable[Authenticator],
    action: str,
    *,
    bound: bool,
    credential: CredentialFacts | None = None,
) -> Decision:
    """What the policy says of somebody who has proved nothing yet."""
    now = services().clock.now()
    usable = [item for item in owned if item.usable(now)]
    facts = Facts(
        action=action,
        evidence=(),
        now=now,
        client_id=ACCOUNT_CLIENT_ID,
        groups=account.groups,
        attributes=account.attributes,
        proofing=account.proofing,
        credential=credential,
        network=client_address(),
        transaction=_NOBODYS,
        enrolled=methods.enrolled(usable, services().messaging.factors, bound=bound),
    )
    return evaluate(services().policy, facts)
