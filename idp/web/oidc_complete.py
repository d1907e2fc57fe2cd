"""What an authorization request leaves open: whom a certificate names, and which credential of those that fit."""

from __future__ import annotations

from dataclasses import replace

from idp.oidc.request import AuthorizationRequest
from idp.storage.accounts import Account
from idp.web.interaction import BeginInteraction
from idp.web.orders import subject_of


def complete(request: BeginInteraction, account: Account, credential_id: str | None) -> BeginInteraction:
    """The request in full words; what it says already stays.

    :param credential_id: the credential that the person chose.
    """
    asked = AuthorizationRequest.from_json(request.payload)
    if asked.order is not None and asked.order.operation == "credential.create":
        asked = replace(asked, order=replace(asked.order, subject=subject_of(account)))
    if asked.intent is not None and not asked.intent.chosen and credential_id is not None:
        asked = replace(asked, intent=replace(asked.intent, credential_id=credential_id))
    return replace(request, payload=asked.to_json(), detail=asked.detail, intent=asked.intent)
