"""Orders for the signature activation module: whom they name, and from an approval to the signed order."""

from __future__ import annotations

from contract.order import Order, Parameters, SubjectClaim
from contract.order import encode as encode_order
from idp.activation.orders import order_for
from idp.authn.approval import Approval
from idp.storage.accounts import Account
from idp.web import browser
from idp.web.services import Services


def subject_of(account: Account) -> SubjectClaim:
    """Whom the certificate will name: what the account says, never a form or a client."""
    return SubjectClaim(
        common_name=account.name,
        given_name=account.given_name,
        surname=account.surname,
        serial_number=account.serial_number,
        country=account.country,
    )


def signed_order(services: Services, approval: Approval, parameters: Parameters) -> tuple[Order, str]:
    """The order that an approval gives, and the same signed; nothing is recorded yet.

    :raises NotActivatable: the approval is for something else.
    """
    settings = services.settings
    made = order_for(
        approval,
        parameters,
        issuer=settings.issuer,
        audience=settings.signing.sam_id,
        jti=browser.new_id(services),
        now=services.clock.now(),
        lifetime_seconds=settings.signing.order_seconds,
    )
    return made, encode_order(made, services.keys.activation_key())
