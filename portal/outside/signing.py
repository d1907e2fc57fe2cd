"""The signing service: who can sign, at which level, and documents signed after their approval."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from clients.csc import (
    Bearer,
    BusyError,
    Credential,
    Document,
    Sad,
    Service,
    ServiceInfo,
    Tokens,
    UnreachableError,
    document_details,
    levels,
    scheme_for,
)
from clients.csc.oauth import details_of
from portal.errors import NoCredential, NotApproved, ServiceUnavailable

PREFERRED: Final = "Ades-B-LT"
"""Valid for as long as the archive of the validation data is: what a person wants who asks for nothing."""
_TRIES: Final = 2
_LONGEST_PAUSE: Final = 5.0
"""Seconds that a person waits before their page, besides what it takes."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One document on its way to be signed."""

    id: str
    name: str
    content: bytes = field(repr=False)
    properties: tuple[Mapping[str, Any], ...] = ()
    """Of ``signed_props``: where the signature shows."""
    location: str | None = None
    """Where the identity provider fetches it."""


def best_level(info: ServiceInfo) -> str:
    """The level to ask for: B-LT, or the best that the service offers below.

    :raises ServiceUnavailable: the service signs no documents.
    """
    offered = levels(info)
    if not offered or not info.has("signatures/signDoc"):
        raise ServiceUnavailable("the signing service signs no documents")
    return PREFERRED if PREFERRED in offered else next((each for each in reversed(offered)), offered[0])


def usable_credentials(service: Service, service_token: str) -> list[Credential]:
    """A person's credentials that can sign now."""
    return [each for each in service.credentials(Bearer(service_token)) if each.usable and each.mode == "oauth2code"]


def chosen_credential(usable: Sequence[Credential], wanted: str | None) -> Credential:
    """The one that was chosen, or the only one.

    :raises NoCredential: none that can sign, or not this one.
    """
    for each in usable:
        if wanted == each.id or (wanted is None and len(usable) == 1):
            return each
    raise NoCredential("no such credential can sign now")


def details(service: Service, credential: Credential, wishes: Sequence[Wish], level: str) -> str:
    """``authorization_details`` over all the documents: one approval for all."""
    documents = [_document(wish, level) for wish in wishes]
    asked = document_details(credential.id, documents, _scheme(credential).hash_name, service.info.base)
    return details_of(asked)


def sign(
    service: Service,
    credential: Credential,
    tokens: Tokens,
    wishes: Sequence[Wish],
    level: str,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> list[bytes]:
    """The signed PDFs, in the order of the wishes.

    Where no answer came, or a time-stamp or what is said of certificates was not to be had, the identical request is
    sent once more, the approval being spent: the service finishes what it began, and signs nothing a second time.

    :param pause: seconds to wait.
    :raises ServiceUnavailable: no answer, or other documents than were approved.
    """
    if tokens.credential_id is not None and tokens.credential_id != credential.id:
        raise NotApproved("another credential was approved")
    sad = Sad(tokens.access_token, is_token=True, expires_in=tokens.expires_in)
    documents = [_document(wish, level) for wish in wishes]
    for tried in range(_TRIES):
        try:
            signed = service.sign_documents(None, sad, credential, documents, _scheme(credential))
            _check_signed(wishes, signed)
            return signed
        except (UnreachableError, BusyError) as error:
            if tried + 1 == _TRIES:
                raise
            if isinstance(error, BusyError):
                pause(min(error.retry_after or _LONGEST_PAUSE, _LONGEST_PAUSE))
    raise ServiceUnavailable("no answer")


def _check_signed(wishes: Sequence[Wish], signed: Sequence[bytes]) -> None:
    """Each is the document that was approved, as it is, with a revision behind: a signature changes nothing else.

    :raises ServiceUnavailable: one is another document, or nothing was added.
    """
    for wish, found in zip(wishes, signed, strict=True):
        if not found.startswith(wish.content) or b"/ByteRange" not in found[len(wish.content) :]:
            raise ServiceUnavailable("the signing service gave back another document than was approved")


def _scheme(credential: Credential) -> Any:
    return scheme_for(credential.certificates[0], credential.algorithms)


def _document(wish: Wish, level: str) -> Document:
    return Document(
        wish.content,
        wish.name,
        level=level,
        envelope="Revision",
        properties=wish.properties,
        location=wish.location,
    )
