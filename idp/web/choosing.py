"""With which of their credentials a person signs, where the relying party says only of what kind."""

from __future__ import annotations

from idp.errors import CredentialNotChosen
from idp.storage.accounts import Account
from idp.web import browser
from idp.web.interaction import Interaction, completed
from idp.web.services import CredentialView, services


def candidates(interaction: Interaction) -> tuple[CredentialView, ...]:
    """The credentials of whoever signed in that can sign what is asked for.

    :raises CredentialUnavailable: the signing service does not say.
    """
    intent, account = interaction.request.intent, _signed_in(interaction)
    if intent is None or intent.qualifier is None or account is None:
        return ()
    held = services().credentials.of_account(account.id, interaction.request.client_id)
    return tuple(item for item in held if item.qualifier == intent.qualifier and item.status == "enabled")


def choose(interaction: Interaction, credential_id: str) -> Interaction:
    """The interaction with the credential that the person chose; one that says which stays as it is.

    :raises CredentialNotChosen: it is none of those that there are.
    :raises CredentialUnavailable: the signing service does not say.
    :raises InteractionLost: it has ended, or another one was chosen meanwhile.
    """
    intent, account = interaction.request.intent, _signed_in(interaction)
    if intent is None or intent.chosen or account is None:
        return interaction
    if credential_id not in {item.credential_id for item in candidates(interaction)}:
        raise CredentialNotChosen("no such credential can sign this")
    return completed(interaction, account, credential_id)


def choose_the_only_one(interaction: Interaction) -> Interaction | None:
    """The interaction with the one credential that there is; None where the person has to say which.

    :raises CredentialUnavailable: the signing service does not say.
    """
    found = candidates(interaction)
    return choose(interaction, found[0].credential_id) if len(found) == 1 else None


def _signed_in(interaction: Interaction) -> Account | None:
    account = browser.account_of(browser.current())
    return account if account is not None and interaction.stored.account_id == account.id else None
