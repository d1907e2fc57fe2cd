"""What can be asked over the sockets: each operation reads its members, calls the core, shapes the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from foundation import claims as read
from foundation.errors import JoseError
from signing.link.errors import MessageInvalid
from signing.link.messages import (
    MAX_CHAIN,
    MAX_ITEM_CHARACTERS,
    MAX_TOKEN_CHARACTERS,
    CreatedCredential,
    CredentialView,
    SignRequest,
    octets_from_json,
    octets_to_json,
)
from signing.link.server import Handler
from signing.sam.algorithms import KEY_PROFILES, KeyProfile
from signing.sam.credential import Credential
from signing.sam.errors import NotPermitted, RowAltered, SamError, ScdevUnavailable
from signing.sam.verify import SignatureRequest
from signing.sam_app.parts import Sam


def public_handlers(sam: Sam) -> dict[str, Handler]:
    """What the web tier may ask; nothing here signs or changes anything on the web tier's word."""

    def ping(body: Mapping[str, Any]) -> Mapping[str, Any]:
        _members(body)
        sam.store.epoch()
        if not sam.device_available():
            raise ScdevUnavailable("no worker of the device is ready")
        return {}

    def credential(body: Mapping[str, Any]) -> Mapping[str, Any]:
        (credential_id,) = _members(body, "credential_id")
        return view(sam.lifecycle.credential(credential_id)).to_json()

    def list_credentials(body: Mapping[str, Any]) -> Mapping[str, Any]:
        owner = body.get("owner")
        if owner == "":
            raise NotPermitted("everybody's credentials are shown on the administration socket only")
        (owner,) = _members(body, "owner")
        return {"credentials": [view(item).to_json() for item in sam.lifecycle.credentials(owner)]}

    def sign(body: Mapping[str, Any]) -> Mapping[str, Any]:
        request = SignRequest.from_json(body)
        values = sam.activator.sign(
            SignatureRequest(
                sad=request.sad,
                client_id=request.client_id,
                credential_id=request.credential_id,
                hash_alg=request.hash_alg,
                digests=request.digests,
                sign_algo=request.sign_algo,
                sign_algo_params=request.sign_algo_params,
            )
        )
        return {"signatures": octets_to_json(values)}

    def create_credential(body: Mapping[str, Any]) -> Mapping[str, Any]:
        (order,) = _members(body, "order", max_length=MAX_TOKEN_CHARACTERS)
        created = sam.lifecycle.create(order)
        return CreatedCredential(view(created), created.request, created.subject).to_json()

    def link_certificate(body: Mapping[str, Any]) -> Mapping[str, Any]:
        chain = octets_from_json(body, "chain", MAX_CHAIN, MAX_ITEM_CHARACTERS)
        (credential_id,) = _members({name: body[name] for name in body if name != "chain"}, "credential_id")
        return view(sam.lifecycle.link(credential_id, chain)).to_json()

    def execute_order(body: Mapping[str, Any]) -> Mapping[str, Any]:
        (order,) = _members(body, "order", max_length=MAX_TOKEN_CHARACTERS)
        return view(sam.lifecycle.execute(order)).to_json()

    return {
        "ping": ping,
        "credential": credential,
        "list_credentials": list_credentials,
        "sign": sign,
        "create_credential": create_credential,
        "link_certificate": link_certificate,
        "execute_order": execute_order,
    }


def admin_handlers(sam: Sam) -> dict[str, Handler]:
    """What the operator may look at.  It signs nothing, and changes nothing either."""
    public = public_handlers(sam)

    def list_credentials(body: Mapping[str, Any]) -> Mapping[str, Any]:
        if body.get("owner") != "":
            return public["list_credentials"](body)
        return {"credentials": [view(row.credential).to_json() for row in sam.store.credentials(None)]}

    def inspect_credentials(body: Mapping[str, Any]) -> Mapping[str, Any]:
        _members(body)
        return {
            "credentials": [
                {"integrity": _integrity(sam, row.credential.id), **view(row.credential).to_json()}
                for row in sam.store.credentials(None)
            ]
        }

    def status(body: Mapping[str, Any]) -> Mapping[str, Any]:
        _members(body)
        epoch, head = sam.store.epoch(), sam.store.head()
        return {
            "mode": sam.settings.mode,
            "realm": sam.settings.realm,
            "device_available": sam.device_available(),
            "epoch": epoch.number,
            "audit_records": head.sequence,
            "redemptions": sam.store.counts(),
        }

    return {
        "ping": public["ping"],
        "credential": public["credential"],
        "list_credentials": list_credentials,
        "inspect_credentials": inspect_credentials,
        "status": status,
    }


def view(credential: Credential) -> CredentialView:
    """What the web tier may know of it.

    :raises RowAltered: its public key is of no kind that the module makes.
    """
    profile = _profile_of(credential)
    return CredentialView(
        credential_id=credential.id,
        owner=credential.owner,
        status=credential.status,
        profile=credential.profile,
        key_kind=profile.kind,
        key_bits=profile.bits,
        curve=profile.curve,
        schemes=profile.schemes if credential.key is not None else (),
        certificates=credential.certificates,
        scal=credential.scal,
        signature_qualifier=credential.qualifier,
        multisign=credential.multisign,
        created_at=credential.created,
    )


def _profile_of(credential: Credential) -> KeyProfile:
    """Kind of key; a deleted credential has its public key left."""
    if credential.key is not None:
        return credential.key_profile()
    try:
        key = load_der_public_key(credential.public_key)
    except ValueError as error:
        raise RowAltered("the public key cannot be read") from error
    kind = "EC" if isinstance(key, ec.EllipticCurvePublicKey) else "RSA"
    if isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)):
        for profile in KEY_PROFILES.values():
            if (profile.kind, profile.bits) == (kind, key.key_size):
                return profile
    raise RowAltered("the public key is of no kind that is known")


def _integrity(sam: Sam, credential_id: str) -> str:
    try:
        sam.lifecycle.credential(credential_id)
    except SamError as error:
        return error.code
    return "ok"


def _members(body: Mapping[str, Any], *names: str, max_length: int = 255) -> tuple[str, ...]:
    """The members of a request, all strings, none unknown.

    :raises MessageInvalid: anything else.
    """
    try:
        read.check_members(body, names)
        return tuple(read.text(body, name, max_length=max_length) for name in names)
    except JoseError as error:
        raise MessageInvalid("a request that is not in the form of the link") from error
