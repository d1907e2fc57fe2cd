"""What a client asks of a person's credentials besides signatures: that one be made, or deleted (CSC API 2.2).

The scope says which; the token of that scope carries the order for the signature activation module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from idp.activation.intent import CredentialIntent
from idp.oidc.client import CREATION_SCOPE, DELETION_SCOPE
from idp.oidc.config import OidcConfig
from idp.oidc.errors import RequestInvalid
from idp.oidc.rar import CREDENTIAL_ID

_NEEDS_DEVICE: Final = "this profile needs the person's own device: it is ordered on the account pages"


def asked_of(parameters: Mapping[str, str]) -> str | None:
    """The scope of an order that the request names, if it names one."""
    named = parameters.get("scope", "").split()
    return next((scope for scope in named if scope in {CREATION_SCOPE, DELETION_SCOPE}), None)


def parse_order(scope: str, parameters: Mapping[str, str], config: OidcConfig) -> CredentialIntent:
    """Read the parameters of an authorization request for an order.

    :param scope: as :func:`asked_of` finds it.
    :raises RequestInvalid: anything that is not understood or not offered.
    """
    if "authorization_details" in parameters:
        raise RequestInvalid(f"scope {scope} takes no authorization_details")
    if scope == DELETION_SCOPE:
        return _deletion(parameters)
    return _creation(parameters, config)


def _deletion(parameters: Mapping[str, str]) -> CredentialIntent:
    if "credentialID" not in parameters:
        raise RequestInvalid("Missing parameter credentialID")
    if not CREDENTIAL_ID.match(parameters["credentialID"]):
        raise RequestInvalid("Invalid parameter credentialID")
    return CredentialIntent("credential.delete", credential_id=parameters["credentialID"])


def _creation(parameters: Mapping[str, str], config: OidcConfig) -> CredentialIntent:
    if "credentialID" in parameters:
        # There is none yet; whoever names one means something else.
        raise RequestInvalid("Invalid parameter credentialID")
    qualifier = parameters.get("signatureQualifier")
    fitting = [name for name in config.profiles if qualifier is None or config.qualifiers.get(name) == qualifier]
    if not fitting:
        raise RequestInvalid("Invalid parameter signatureQualifier")
    profile = parameters.get("credentialProfile", fitting[0])
    if profile not in fitting:
        raise RequestInvalid("Invalid parameter credentialProfile")
    if profile in config.device_profiles:
        raise RequestInvalid(_NEEDS_DEVICE)
    return CredentialIntent("credential.create", profile=profile, qualifier=config.qualifiers.get(profile))
