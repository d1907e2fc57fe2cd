"""What the policy says of what a browser's session has proved, where pages are opened: no interaction is begun for it.

Somebody has a session as soon as they have proved one thing; whether that is enough, and is still, the policy says on
every page.
"""

from __future__ import annotations

from idp.authn.session import context_of, decide
from idp.policy.evidence import Evidence
from idp.policy.model import Decision, Facts
from idp.storage import authenticators
from idp.storage.accounts import Account
from idp.storage.engine import reading
from idp.web.address import client_address
from idp.web.browser import BrowserSession
from idp.web.interaction import Action
from idp.web.progress import enrolled
from idp.web.services import services


def judged(
    action: Action, client_id: str, account: Account, session: BrowserSession, *, transaction: str | None = None
) -> Decision:
    """The decision on what the session remembers, under the limits that each level has of its own.

    :param transaction: for what a rule asks for each transaction: the one whose end the pages are.
    """
    with reading(services().engine) as connection:
        owned = authenticators.of_account(connection, services().seals, account.id)
    facts = Facts(
        action=action,
        evidence=_evidence(account, session, None),
        now=services().clock.now(),
        client_id=client_id,
        groups=account.groups,
        attributes=account.attributes,
        proofing=account.proofing,
        network=client_address(),
        transaction=transaction,
        enrolled=enrolled(owned, bound=False),
    )
    return decide(services().policy, facts, lambda limit: _evidence(account, session, limit))[1]


def _evidence(account: Account, session: BrowserSession, session_limit: int | None) -> tuple[Evidence, ...]:
    # Of no transaction: what was proved in the one that led here is as old as all the rest.
    return context_of(
        account_id=account.id,
        session_id=session.id,
        session_evidence=session.evidence,
        transaction_evidence=(),
        txn="",
        now=services().clock.now(),
        session_limit=session_limit,
        pauses=session.pauses,
    ).evidence
