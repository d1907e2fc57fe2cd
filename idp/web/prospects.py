"""What a person could do with other authenticators than those they can use now: the policy is asked, nothing changes.

Without one that is about to go, for the pages that warn of it; and with those that are only out of use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from idp.authn import methods
from idp.authn.approval import Approval
from idp.policy.evaluate import evaluate
from idp.policy.evidence import Evidence
from idp.policy.limits import failure_limit
from idp.policy.model import CredentialFacts, Decision, Facts
from idp.settings import ACCOUNT_CLIENT_ID
from idp.storage.accounts import Account
from idp.storage.authenticators import Authenticator
from idp.web import browser
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


def can_replace(account: Account, owned: Iterable[Authenticator], kind: str, proved: tuple[Evidence, ...]) -> bool:
    """Whether the policy lets the person put another authenticator of a kind in the place of the one that they have.

    :param proved: what they proved in this browser.
    """
    usable = [item for item in owned if item.usable(services().clock.now())]
    facts = replace(_facts(account, usable, "account.enrol_factor", bound=True), evidence=proved, replaces=kind)
    return evaluate(services().policy, facts).outcome != "deny"


def proves_enough(
    account: Account, owned: Iterable[Authenticator], approval: Approval, replaces: str | None = None
) -> bool:
    """Whether a change of factors was approved with what the person proves when nothing of theirs is out of use.

    An address that does not count yet, or a factor that met too many wrong codes, is still what the person has: whoever
    has the password alone could bring either about, and does not bind something of their own behind it (ENR-02).
    What was locked counts until something was bound after it, as the help desk sees to; a recovery code that was used
    for the change stands for it, as everywhere.

    :param replaces: see :attr:`idp.policy.model.Facts.replaces`.
    """
    owned, now = tuple(owned), services().clock.now()
    usable = [item for item in owned if item.usable(now)]
    asleep = [item for item in owned if _asleep(item, usable, now)]
    if not asleep:
        return True
    facts = _facts(account, [*usable, *asleep], approval.action, bound=True)
    proved = replace(facts, evidence=approval.evidence, transaction=approval.txn, replaces=replaces)
    return evaluate(services().policy, proved).outcome == "allow"


def _asleep(item: Authenticator, usable: Iterable[Authenticator], now: datetime) -> bool:
    """Whether it is the person's, and out of use for now: not yet counting, or locked by wrong codes."""
    if not item.disabled:
        return not item.usable(now)
    if item.failures < failure_limit(services().settings.otp.max_wrong_ever, services().policy, item.kind):
        return False
    return not any(other.created_at > item.created_at and other.kind != "password" for other in usable)


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
    usable = [item for item in owned if item.usable(services().clock.now())]
    return evaluate(services().policy, _facts(account, usable, action, bound=bound, credential=credential))


def _facts(
    account: Account,
    having: Iterable[Authenticator],
    action: str,
    *,
    bound: bool,
    credential: CredentialFacts | None = None,
) -> Facts:
    """Of somebody with these authenticators who has proved nothing yet."""
    return Facts(
        action=action,
        evidence=(),
        now=services().clock.now(),
        client_id=ACCOUNT_CLIENT_ID,
        groups=account.groups,
        attributes=account.attributes,
        proofing=account.proofing,
        credential=credential,
        network=client_address(),
        transaction=_NOBODYS,
        enrolled=methods.enrolled(having, services().messaging.factors, bound=bound, proved=_proved(account)),
    )


def _proved(account: Account) -> tuple[Evidence, ...]:
    """What this browser's session remembers of the person: a password may be too short to be the last way in."""
    session = browser.current()
    return () if session is None or session.account_id != account.id else session.evidence
