"""``account_token`` at the one place where it can be verified: a pushed request of a client with a secret."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from idp.oidc.account_token import AccountToken, read_account_token
from idp.oidc.client import Presented, PresentedSecret
from idp.oidc.errors import RequestInvalid
from idp.oidc.request import AuthorizationRequest
from idp.storage import single_use
from idp.web.services import Services


def take(services: Services, parameters: dict[str, str], presented: Presented) -> AccountToken | None:
    """Take the token out of a request whose client has authenticated.

    What is left in, because the client showed no secret, :mod:`idp.oidc.request` refuses.

    :raises RequestInvalid: it is not good.
    """
    if "account_token" not in parameters or not isinstance(presented, PresentedSecret):
        return None
    token = parameters.pop("account_token")
    return read_account_token(token, presented.secret, presented.client_id, services.clock.now())


def narrowed(asked: AuthorizationRequest, stated: AccountToken | None) -> AuthorizationRequest:
    """The request with the account that has to be the one signed in.

    :raises RequestInvalid: ``id_token_hint`` names another one.
    """
    if stated is None:
        return asked
    if asked.subject_hint not in {None, stated.subject}:
        raise RequestInvalid("account_token and id_token_hint name two accounts")
    return replace(asked, subject_hint=stated.subject)


def spend(connection: Connection, stated: AccountToken | None) -> None:
    """Remember a token, in the transaction of what it obtains.

    :raises RequestInvalid: it was used before; that ends the transaction.
    """
    if stated is not None and not single_use.remember_assertion(connection, stated.use):
        raise RequestInvalid("Invalid parameter account_token")
