"""Security events: what takes their use from SADs that have not expired yet (RFC 8417).

A Security Event Token (SET) is a compact JWS of type ``secevent+jwt``.  The identity provider signs it with the same
key as SADs and orders, the one that the module's operator pinned; the explicit type keeps the one from serving as the
other (RFC 8725 3.11, ``docs/adr/0010-events-take-away.md``).  It says one thing about one subject (RFC 9493), every
claim is required and none is unknown.  There is no ``exp`` (RFC 8417 2.2: not recommended) and no ``sub`` (RFC 8417
4: so that nothing that looks for a person's token finds one).

================================ ============================ ========================================================
event, after :data:`URI_PREFIX`  subject identifier           from now on refused
================================ ============================ ========================================================
``session-ended``                ``opaque``: transaction      SADs of a transaction that was approved in the session
``transaction-withdrawn``        ``opaque``: transaction      SADs of the transaction
``client-disabled``              ``opaque``: client           the client's SADs issued until ``not_before``
``account-disabled``             ``iss_sub``: account         the person's SADs issued until ``not_before``
``authenticator-changed``        ``iss_sub``: account         the same
================================ ============================ ========================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from contract.errors import EventInvalid
from foundation import claims as read
from foundation.errors import JoseError
from foundation.jose import SigningKey, VerificationKey, sign_compact, verify_compact

EVENT_TYPE: Final = "secevent+jwt"
"""RFC 8417 2.3; also the media type, after ``application/``."""
URI_PREFIX: Final = "urn:privyseal:event:"
MAX_EVENT_OCTETS: Final = 4096
"""Several times what the longest identifiers make; anything longer is refused unread."""

EventName = Literal[
    "session-ended", "transaction-withdrawn", "client-disabled", "account-disabled", "authenticator-changed"
]
Scope = Literal["transaction", "client", "account"]

SCOPES: Final[dict[EventName, Scope]] = {
    "session-ended": "transaction",
    "transaction-withdrawn": "transaction",
    "client-disabled": "client",
    "account-disabled": "account",
    "authenticator-changed": "account",
}
"""What each event is about."""
SUBJECT_LENGTHS: Final[dict[Scope, int]] = {"transaction": 128, "client": 255, "account": 255}
"""Characters that the same identifier may have in a SAD."""

_REQUIRED: Final = frozenset({"iss", "aud", "jti", "iat", "sub_id", "events"})


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """The content of a SET.  Times are NumericDates in whole seconds."""

    iss: str
    aud: str
    """The module's identifier."""
    jti: str
    """One for one event, however often it is sent (RFC 8417 2.2)."""
    iat: int
    event: EventName
    subject: str
    """``txn``, ``client_id`` or ``sub`` of the SADs that it is about; of an account, at the issuer ``iss``."""
    not_before: int
    """SADs issued in this second or earlier no longer serve; never after ``iat``."""

    @property
    def scope(self) -> Scope:
        """What :attr:`subject` names."""
        return SCOPES[self.event]


def encode(event: SecurityEvent, key: SigningKey) -> str:
    """Sign a SET.

    :raises EventInvalid: the content breaks a rule that :func:`decode` would refuse.
    """
    claims = _to_claims(event)
    _from_claims(claims)
    return sign_compact(claims, key, EVENT_TYPE)


def decode(token: str, keys: Iterable[VerificationKey]) -> SecurityEvent:
    """Verify the signature with the pinned keys, then read every claim; time and audience are the caller's.

    :raises EventInvalid: form, signature, type, or a claim missing, unknown or out of bounds.
    """
    try:
        return _from_claims(verify_compact(token, keys, {EVENT_TYPE}, max_octets=MAX_EVENT_OCTETS))
    except JoseError as error:
        raise EventInvalid(str(error)) from error


def _to_claims(event: SecurityEvent) -> dict[str, Any]:
    return {
        "iss": event.iss,
        "aud": event.aud,
        "jti": event.jti,
        "iat": event.iat,
        "sub_id": _subject_to_json(event),
        "events": {URI_PREFIX + event.event: {"not_before": event.not_before}},
    }


def _subject_to_json(event: SecurityEvent) -> dict[str, str]:
    if event.scope == "account":
        return {"format": "iss_sub", "iss": event.iss, "sub": event.subject}
    return {"format": "opaque", "id": event.subject}


def _from_claims(claims: Mapping[str, Any]) -> SecurityEvent:
    try:
        return _read(claims)
    except JoseError as error:
        raise EventInvalid(str(error)) from error


def _read(claims: Mapping[str, Any]) -> SecurityEvent:
    read.check_members(claims, _REQUIRED)
    name, payload = _event(read.mapping(claims, "events"))
    read.check_members(payload, {"not_before"})
    issuer = read.text(claims, "iss", max_length=255)
    event = SecurityEvent(
        iss=issuer,
        aud=read.text(claims, "aud", max_length=255),
        jti=read.text(claims, "jti", max_length=128),
        iat=read.numeric_date(claims, "iat"),
        event=name,
        subject=_subject(read.mapping(claims, "sub_id"), SCOPES[name], issuer),
        not_before=read.numeric_date(payload, "not_before"),
    )
    if event.not_before > event.iat:
        # Of what is still to come nobody knows; and a date far ahead would shut a person out.
        raise EventInvalid("not_before is after iat")
    return event


def _event(events: Mapping[str, Any]) -> tuple[EventName, Mapping[str, Any]]:
    """The one event of a SET; RFC 8417 2.2 allows several views of one, of which somebody might read another."""
    if len(events) != 1:
        raise EventInvalid("claim events has not exactly one event")
    (uri,) = events
    name = uri.removeprefix(URI_PREFIX)
    if name not in SCOPES or name == uri:
        raise EventInvalid("claim events names an event that is not accepted")
    return name, read.mapping(events, uri)


def _subject(value: Mapping[str, Any], scope: Scope, issuer: str) -> str:
    """RFC 9493 3.2.3 (Issuer and Subject) and 3.2.4 (Opaque)."""
    account = scope == "account"
    if value.get("format") != ("iss_sub" if account else "opaque"):
        raise EventInvalid("claim sub_id has another format than the event needs")
    if not account:
        read.check_members(value, {"format", "id"})
        return read.text(value, "id", max_length=SUBJECT_LENGTHS[scope])
    read.check_members(value, {"format", "iss", "sub"})
    if value["iss"] != issuer:
        raise EventInvalid("claim sub_id names an account of another issuer")
    return read.text(value, "sub", max_length=SUBJECT_LENGTHS[scope])
