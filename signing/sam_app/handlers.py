"""What can be asked over the sockets: each operation reads its members, calls the core, shapes the answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from contract.event import MAX_EVENT_OCTETS
from contract.operation import MAX_OPERATION_OCTETS
from foundation import claims as read
from foundation.errors import JoseError
from foundation.jose import encode_base64url
from signing.link.documents import Asker, SignDocumentsRequest, SignedDocument, SignPdfsRequest
from signing.link.errors import MessageInvalid
from signing.link.frames import MAX_FRAME_OCTETS
from signing.link.messages import (
    MAX_CHAIN,
    MAX_ITEM_CHARACTERS,
    MAX_TOKEN_CHARACTERS,
    CreatedCredential,
    CredentialView,
    ExtendRequest,
    OfferedKey,
    SignRequest,
    credential_id,
    octets_from_json,
    octets_to_json,
)
from signing.link.server import Handler, StreamHandler
from signing.sam.algorithms import KEY_PROFILES, KeyProfile
from signing.sam.binding import Possession
from signing.sam.credential import Credential, SealedCredential
from signing.sam.errors import NotPermitted, RowAltered, SamError, ScdevUnavailable
from signing.sam.operators import IMPORT
from signing.sam.ports import device_errors
from signing.sam.proof import demands_proof, keys_of
from signing.sam.reconcile import unfinished_report
from signing.sam.tbs.cms import PdfSignature
from signing.sam.tbs.common import Built
from signing.sam.tbs.pdf import measured
from signing.sam.tbs.request import documents_of, parse_files, parse_templates, pdf_template
from signing.sam.verify import SignatureRequest
from signing.sam_app.parts import Sam

UNREADABLE: Final = "unreadable"
"""Integrity of a row that has not even the form of one."""
_PAGE_OCTETS: Final = MAX_FRAME_OCTETS // 2
_ROWS: Final = 100


def public_handlers(sam: Sam) -> dict[str, Handler]:
    """What the web tier may ask; nothing here signs or changes anything on the web tier's word."""

    def ping(body: Mapping[str, Any]) -> Mapping[str, Any]:
        _members(body)
        sam.anchor.require(sam.store.epoch())
        if not sam.device_available():
            raise ScdevUnavailable("no worker of the device is ready")
        return {}

    def offered_keys(body: Mapping[str, Any]) -> Mapping[str, Any]:
        _members(body)
        kinds = (KEY_PROFILES[name] for name in sorted({profile.key for profile in sam.policy.profiles.values()}))
        return {"keys": [OfferedKey(kind.bits, kind.schemes).to_json() for kind in kinds]}

    def credential(body: Mapping[str, Any]) -> Mapping[str, Any]:
        _members(body, "credential_id")
        return view(sam.lifecycle.shown(credential_id(body))).to_json()

    def list_credentials(body: Mapping[str, Any]) -> Mapping[str, Any]:
        if body.get("owner") == "":
            raise NotPermitted("everybody's credentials are shown with their integrity only, to the operator")
        body, after = _without_cursor(body)
        (owner,) = _members(body, "owner")
        views = [view(item) for item in sam.lifecycle.credentials(owner)]
        shown = {f"{item.created_at:012}.{item.credential_id}": item.to_json() for item in views}
        return _page((cursor, shown[cursor]) for cursor in sorted(shown) if cursor > after)

    def sign(body: Mapping[str, Any]) -> Mapping[str, Any]:
        request = SignRequest.from_json(body)
        asked = SignatureRequest(
            sad=request.sad,
            client_id=request.client_id,
            credential_id=request.credential_id,
            hash_alg=request.hash_alg,
            digests=request.digests,
            sign_algo=request.sign_algo,
            sign_algo_params=request.sign_algo_params,
            possession=Possession(request.dpop, request.certificate),
        )

        def make() -> Mapping[str, Any]:
            return {"signatures": octets_to_json(sam.activator.sign(asked))}

        return sam.answers.once(body, make, lambda: sam.activator.allow_again(asked))

    def sign_documents(body: Mapping[str, Any]) -> Mapping[str, Any]:
        request = SignDocumentsRequest.from_json(body)
        templates = parse_templates(request.templates)
        asked = replace(_documents_request(request.asker), digests=documents_of(templates), templates=templates)

        def make() -> Mapping[str, Any]:
            return _signatures(sam.activator.sign_documents(asked))

        return sam.answers.once(body, make, lambda: sam.activator.allow_again(asked))

    def allow_again(body: Mapping[str, Any]) -> Mapping[str, Any]:
        request = SignDocumentsRequest.from_json(body)
        templates = parse_templates(request.templates)
        asked = replace(_documents_request(request.asker), digests=documents_of(templates), templates=templates)
        sam.activator.allow_again(asked)
        return {}

    def extend(body: Mapping[str, Any]) -> Mapping[str, Any]:
        request = ExtendRequest.from_json(body)
        sam.activator.extend(request.sad, request.client_id)
        return {}

    def create_credential(body: Mapping[str, Any]) -> Mapping[str, Any]:
        (order,) = _members(body, "order", max_length=MAX_TOKEN_CHARACTERS)
        created = sam.lifecycle.create(order)
        return CreatedCredential(view(created), created.request, created.subject).to_json()

    def link_certificate(body: Mapping[str, Any]) -> Mapping[str, Any]:
        chain = octets_from_json(body, "chain", MAX_CHAIN, MAX_ITEM_CHARACTERS)
        _members({name: body[name] for name in body if name != "chain"}, "credential_id")
        return view(sam.lifecycle.link(credential_id(body), chain)).to_json()

    def execute_order(body: Mapping[str, Any]) -> Mapping[str, Any]:
        (order,) = _members(body, "order", max_length=MAX_TOKEN_CHARACTERS)
        return view(sam.lifecycle.execute(order)).to_json()

    def revoke(body: Mapping[str, Any]) -> Mapping[str, Any]:
        (event,) = _members(body, "event", max_length=MAX_EVENT_OCTETS)
        sam.revocations.record(event)
        return {}

    return {
        "ping": ping,
        "offered_keys": offered_keys,
        "credential": credential,
        "list_credentials": list_credentials,
        "sign": sign,
        "sign_documents": sign_documents,
        "allow_again": allow_again,
        "extend": extend,
        "create_credential": create_credential,
        "link_certificate": link_certificate,
        "execute_order": execute_order,
        "revoke": revoke,
    }


def stream_handlers(sam: Sam) -> dict[str, StreamHandler]:
    """What the web tier may ask with a file that follows."""

    def sign_pdfs(body: Mapping[str, Any], chunks: Iterable[bytes]) -> Mapping[str, Any]:
        request = SignPdfsRequest.from_json(body)
        claims, templates = parse_files(request.pdfs, request.templates)
        stated = {"commitment": request.commitment, "policy": request.policy}

        def measure(hash_alg: str) -> tuple[PdfSignature, ...]:
            return tuple(pdf_template(pdf, stated) for pdf in measured(claims, hash_alg, chunks))

        announced = (*(claim.document for claim in claims), *documents_of(templates))
        asked = replace(_documents_request(request.asker), digests=announced, templates=templates)
        return _signatures(sam.activator.sign_pdfs(asked, measure))

    return {"sign_pdfs": sign_pdfs}


def admin_handlers(sam: Sam) -> dict[str, Handler]:
    """What the operator may look at.  It signs nothing, and changes nothing but on operators' signatures."""
    public = public_handlers(sam)

    def inspect_credentials(body: Mapping[str, Any]) -> Mapping[str, Any]:
        body, after = _without_cursor(body)
        _members(body)
        return _page(_inspected(sam, after))

    def status(body: Mapping[str, Any]) -> Mapping[str, Any]:
        _members(body)
        epoch, head = sam.store.epoch(), sam.store.head()
        return {
            "mode": sam.settings.mode,
            "realm": sam.settings.realm,
            "device_available": sam.device_available(),
            "device": dict(sam.device_report()),
            "epoch": epoch.number,
            "audit_records": head.sequence,
            "redemptions": sam.store.counts(),
            "unfinished": unfinished_report(sam.store.unfinished(), sam.clock.now()),
            **sam.anchor.report(),
        }

    def execute_operation(body: Mapping[str, Any]) -> Mapping[str, Any]:
        (bundle,) = _members(body, "operation", max_length=MAX_OPERATION_OCTETS)
        done = sam.operators.execute(bundle)
        return {
            "operation": done.operation,
            "signers": list(done.signers),
            "epoch": done.epoch,
            "credential": None if done.credential is None else view(done.credential).to_json(),
            "pkcs10": encode_base64url(done.credential.request)
            if done.credential is not None and done.operation == IMPORT
            else None,
        }

    def wrapping_keys(body: Mapping[str, Any]) -> Mapping[str, Any]:
        _members(body)
        with device_errors():
            keks = {kek.kek_id: kek for kek in sam.device.wrapping_keys()}
        rows: dict[str, dict[str, int]] = {kek_id: {} for kek_id in keks}
        for (kek_id, mechanism), count in sam.store.wrapped().items():
            rows.setdefault(kek_id, {})[mechanism] = count
        return {
            "keks": [
                {
                    "kek_id": kek_id,
                    "on_token": kek_id in keks,
                    "trusted": kek_id in keks and keks[kek_id].trusted,
                    "current": kek_id in keks and keks[kek_id].current,
                    "rows": counts,
                }
                for kek_id, counts in rows.items()
            ]
        }

    def rewrap(body: Mapping[str, Any]) -> Mapping[str, Any]:
        body, after = _without_cursor(body)
        (bundle,) = _members(body, "operation", max_length=MAX_OPERATION_OCTETS)
        step = sam.rewrapping.step(bundle, after)
        return {
            "looked_at": step.looked_at,
            "rewrapped": step.rewrapped,
            "failed": [{"credential_id": each, "code": code} for each, code in step.failed],
            "stopped": step.stopped,
            "next": step.next,
        }

    def checkpoint(body: Mapping[str, Any]) -> Mapping[str, Any]:
        _members(body)
        made = sam.checkpoints.make()
        return {"note": None if made is None else made.note}

    def checkpoint_key(body: Mapping[str, Any]) -> Mapping[str, Any]:
        _members(body)
        key = load_der_public_key(sam.checkpoints.public_key())
        return {"pem": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()}

    def credential(body: Mapping[str, Any]) -> Mapping[str, Any]:
        _members(body, "credential_id")
        # The operator asks whether it is as it was written: the device's word, each time.
        return view(sam.lifecycle.credential(credential_id(body))).to_json()

    return {
        "ping": public["ping"],
        "credential": credential,
        "list_credentials": public["list_credentials"],
        "inspect_credentials": inspect_credentials,
        "status": status,
        "execute_operation": execute_operation,
        "wrapping_keys": wrapping_keys,
        "rewrap": rewrap,
        "checkpoint": checkpoint,
        "checkpoint_key": checkpoint_key,
    }


def _documents_request(asker: Asker) -> SignatureRequest:
    """The request as far as it names no document."""
    return SignatureRequest(
        sad=asker.sad,
        client_id=asker.client_id,
        credential_id=asker.credential_id,
        hash_alg=asker.hash_alg,
        digests=(),
        sign_algo=asker.sign_algo,
        sign_algo_params=asker.sign_algo_params,
        possession=Possession(asker.dpop, asker.certificate),
    )


def _signatures(signed: Iterable[tuple[bytes, Built]]) -> Mapping[str, Any]:
    documents = (SignedDocument(value, built.tbs, built.signed_properties, built.manifest) for value, built in signed)
    return {"signatures": [document.to_json() for document in documents]}


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
        proof_required=demands_proof(credential),
        proof_keys=keys_of(credential),
        origin=credential.origin,
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


def _inspected(sam: Sam, after: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row with its integrity."""
    while rows := sam.store.credential_rows(after, _ROWS):
        for each, row in rows:
            yield each, _inspection(sam, each, row)
        after = rows[-1][0]


def _inspection(sam: Sam, each: str, row: SealedCredential | None) -> dict[str, Any]:
    """A credential's view with ``integrity``: "ok", :data:`UNREADABLE`, or why its row is not believed."""
    try:
        return {"integrity": "ok", **view(sam.lifecycle.credential(each)).to_json()}
    except SamError as error:
        integrity = UNREADABLE if row is None else error.code
    except (TypeError, ValueError):
        # SQLite keeps in a column what it is given, of whatever type.
        integrity = UNREADABLE
    return {"integrity": integrity, **_as_far_as_readable(row), "credential_id": each}


def _as_far_as_readable(row: SealedCredential | None) -> dict[str, Any]:
    """What a row says that is not believed: the operator has to see what was altered."""
    with suppress(RowAltered, TypeError, ValueError):
        if row is not None:
            shown = view(row.credential).to_json()
            json.dumps(shown)
            return shown
    return dict.fromkeys(CredentialView.__slots__)


def _page(items: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """As many items as fit a frame with room to spare; ``next`` is where to go on, or null at the end.

    :param items: each with its cursor, which only the operation that made it understands.
    """
    page: list[Mapping[str, Any]] = []
    octets, last = 0, None
    for cursor, item in items:
        octets += len(json.dumps(item))
        if page and octets > _PAGE_OCTETS:
            return {"credentials": page, "next": last}
        page.append(item)
        last = cursor
    return {"credentials": page, "next": None}


def _without_cursor(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The body of a request for a page, and the cursor of the page before; empty for the first."""
    if "after" not in body:
        return body, ""
    (after,) = _members({"after": body["after"]}, "after")
    return {name: body[name] for name in body if name != "after"}, after


def _members(body: Mapping[str, Any], *names: str, max_length: int = 255) -> tuple[str, ...]:
    """The members of a request, all strings, none unknown.

    :raises MessageInvalid: anything else.
    """
    try:
        read.check_members(body, names)
        return tuple(read.text(body, name, max_length=max_length) for name in names)
    except JoseError as error:
        raise MessageInvalid("a request that is not in the form of the link") from error
