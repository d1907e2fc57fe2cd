"""What a browser is asked for: options of WebAuthn 5.4 and 5.5, in the JSON of 5.1.8 and 5.1.9."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from webauthn import generate_authentication_options, generate_registration_options, options_to_json
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from idp.authn.passkey.challenge import LIFETIME

ALGORITHMS: Final = (
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
)
"""EdDSA on Ed25519, ES256 on P-256, RS256: WebAuthn 5.4.3 recommends these three."""
Preference = Literal["preferred", "required"]
_MILLISECONDS: Final = int(LIFETIME.total_seconds()) * 1000


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Us, as authenticators know us."""

    id: str
    """The host of the issuer: a passkey is bound to it for good."""
    origin: str
    name: str


@dataclass(frozen=True, slots=True)
class Known:
    """A passkey that is registered already."""

    credential_id: bytes
    transports: tuple[str, ...] = ()


def relying_party(issuer: str, name: str) -> RelyingParty | None:
    """Who we are at this issuer; None where the host is an address, for which there are no passkeys.

    :param issuer: an origin without a path.
    """
    parts = urlsplit(issuer)
    host = (parts.hostname or "").lower()
    try:
        ip_address(host)
    except ValueError:
        default = {"https": 443, "http": 80}.get(parts.scheme)
        port = "" if parts.port in {None, default} else f":{parts.port}"
        return RelyingParty(host, f"{parts.scheme}://{host}{port}", name)
    return None


def creation_options(
    party: RelyingParty,
    *,
    challenge: bytes,
    user_handle: bytes,
    username: str,
    display_name: str,
    registered: Iterable[Known],
    user_verification: Preference,
    resident_key: Preference,
    attestation: bool,
) -> dict[str, Any]:
    """Options for ``navigator.credentials.create()``.

    :param registered: what the account has: an authenticator that holds one of them makes no second one.
    :param attestation: ask for a statement of the authenticator's make.
    """
    options = generate_registration_options(
        rp_id=party.id,
        rp_name=party.name,
        user_name=username,
        user_id=user_handle,
        user_display_name=display_name,
        challenge=challenge,
        timeout=_MILLISECONDS,
        attestation=AttestationConveyancePreference.DIRECT if attestation else AttestationConveyancePreference.NONE,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement(resident_key),
            user_verification=UserVerificationRequirement(user_verification),
        ),
        exclude_credentials=_descriptors(registered),
        supported_pub_key_algs=list(ALGORITHMS),
    )
    return _plain(options_to_json(options))


def request_options(
    party: RelyingParty, *, challenge: bytes, allowed: Iterable[Known], user_verification: Preference
) -> dict[str, Any]:
    """Options for ``navigator.credentials.get()``.

    :param allowed: the passkeys that may answer; none: whichever the person has for us (a discoverable one).
    """
    options = generate_authentication_options(
        rp_id=party.id,
        challenge=challenge,
        timeout=_MILLISECONDS,
        allow_credentials=_descriptors(allowed),
        user_verification=UserVerificationRequirement(user_verification),
    )
    return _plain(options_to_json(options))


def _plain(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def _descriptors(known: Iterable[Known]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            item.credential_id, transports=[AuthenticatorTransport(name) for name in item.transports]
        )
        for item in known
    ]
