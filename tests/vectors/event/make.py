"""Makes the SET vectors, with the keys of the SAD vectors: ``python -m tests.vectors.event.make``.

``keys.json`` has the pinned public keys; ``valid/`` and ``invalid/`` have a file a vector: the token, the reason, and
what a decoder finds.  The signatures differ from run to run (ECDSA is randomised); everything else is fixed.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from contract import event as events
from contract import order as orders
from contract import sad as sads
from contract.event import SecurityEvent
from contract.order import CredentialParameters, Order
from foundation.jose import encode_base64url, sign_compact
from tests.vectors.sad import make as sad_vectors
from tests.vectors.sad.make import FOREIGN, IAT, KEY, signed, signing_key

HERE = Path(__file__).parent
EVENT = SecurityEvent(
    iss="https://idp.example.org",
    aud="urn:privyseal:sam:example",
    jti="event-1",
    iat=IAT,
    event="authenticator-changed",
    subject="account-1",
    not_before=IAT,
)
CLAIMS = events._to_claims(EVENT)
URI = "urn:privyseal:event:authenticator-changed"
HEADER = {"alg": "ES256", "typ": "secevent+jwt", "kid": KEY.kid}


def valid() -> Iterator[tuple[str, str, SecurityEvent]]:
    """Name, reason, content."""
    yield "authenticator-changed", "a person's factor was replaced", EVENT
    yield "account-disabled", "a person's account was disabled", replace(EVENT, event="account-disabled")
    client = replace(EVENT, event="client-disabled", subject="example-contracts")
    yield "client-disabled", "a relying party was disabled", client
    ended = replace(EVENT, event="session-ended", subject="txn-1")
    yield "session-ended", "the session ended in which the transaction was approved", ended
    yield "transaction-withdrawn", "the approval was withdrawn", replace(ended, event="transaction-withdrawn")
    yield "sent-later", "not_before is when it happened, iat when it was told", replace(EVENT, not_before=IAT - 30)


def encoded(claims: Mapping[str, Any] | bytes) -> str:
    """Signed as an event, without any of the checks of our own encoder."""
    return signed(claims, HEADER)


def changed(**changes: Any) -> str:
    """Signed, with claims of other values."""
    return encoded({**CLAIMS, **changes})


def invalid() -> Iterator[tuple[str, str, str]]:
    """Name, reason, token."""
    for name in CLAIMS:
        claims = {key: value for key, value in CLAIMS.items() if key != name}
        yield f"missing-{name}", f"every claim is required: {name} is missing", encoded(claims)
    yield "unknown-claim", "a claim that nobody checks", changed(extra=1)
    yield "exp", "a SET has none", changed(exp=IAT + 300)
    yield "sub", "a SET has none: it is nobody's token", changed(sub="account-1")
    yield from _forged()
    yield from _other_tokens()
    yield from _events()
    yield from _subjects()


def _forged() -> Iterator[tuple[str, str, str]]:
    head, payload, signature = encoded(CLAIMS).split(".")
    none = encode_base64url(json.dumps({**HEADER, "alg": "none"}).encode())
    yield "alg-none", "no signature", f"{none}.{payload}.AAAA"
    hs256 = encode_base64url(json.dumps({**HEADER, "alg": "HS256"}).encode())
    public = json.dumps(KEY.key.as_dict(private=False)).encode()
    mac = encode_base64url(hmac.digest(public, f"{hs256}.{payload}".encode(), "sha256"))
    yield "alg-hs256", "HMAC with the public key as its secret", f"{hs256}.{payload}.{mac}"
    foreign = signing_key(FOREIGN, KEY.kid)
    yield "foreign-key", "another key under the pinned kid", sign_compact(CLAIMS, foreign, "secevent+jwt")
    other = signing_key(FOREIGN, "activation-2")
    yield "unknown-kid", "a kid that is not pinned", sign_compact(CLAIMS, other, "secevent+jwt")
    altered = encode_base64url(json.dumps({**CLAIMS, "jti": "event-2"}).encode())
    yield "payload-altered", "another event under the same signature", f"{head}.{altered}.{signature}"
    duplicate = json.dumps(CLAIMS)[:-1] + ', "jti": "event-2"}'
    yield "duplicate-claim", "a claim twice: two parsers, two meanings", encoded(duplicate.encode())
    yield "too-long", "longer than an event may be", f"{head}.{payload}.{signature}" + "A" * 4096
    yield "empty", "nothing", ""


def _other_tokens() -> Iterator[tuple[str, str, str]]:
    """What the same key signed, or could have, as something else (RFC 8725 3.11)."""
    for typ in ("sad+jwt", "order+jwt", "at+jwt", "JWT", "logout+jwt", None):
        header = {"alg": "ES256", "kid": KEY.kid} | ({} if typ is None else {"typ": typ})
        name = "typ-missing" if typ is None else f"typ-{typ.replace('+', '-').lower()}"
        yield name, "a token of another type", signed(CLAIMS, header)
    yield "a-sad", "a SAD", sads.encode(sad_vectors.SAD, KEY)
    parameters = CredentialParameters("credential-1")
    order = Order(EVENT.iss, EVENT.aud, "account-1", "jti-1", IAT, IAT + 600, "credential.suspend", parameters, "d-1")
    yield "an-order", "an order", orders.encode(order, KEY)
    yield "a-sad-s-claims", "a SAD's claims under an event's type", encoded(sad_vectors.CLAIMS)
    id_token = {"iss": EVENT.iss, "aud": EVENT.aud, "sub": "account-1", "iat": IAT, "exp": IAT + 300}
    yield "an-id-token-s-claims", "an id_token's claims under an event's type", encoded(id_token)


def _events() -> Iterator[tuple[str, str, str]]:
    content = {"not_before": IAT}
    for name, reason, value in (
        ("events-none", "no event", {}),
        ("events-two", "two events: which of them counts?", {URI: content, f"{URI}d": content}),
        ("events-unknown", "an event that does not exist", {"urn:privyseal:event:person-bored": content}),
        ("events-bare", "an event's name without its URI", {"authenticator-changed": content}),
        ("events-other-uri", "somebody else's event", {"https://schemas.openid.net/secevent/caep/x": content}),
        ("events-list", "events that are a list", [URI]),
        ("event-text", "an event that is a text", {URI: "now"}),
        ("event-empty", "an event that does not say when", {URI: {}}),
        ("event-unknown-member", "a member nobody checks", {URI: {**content, "reason": "x"}}),
        ("not-before-text", "a time that is a text", {URI: {"not_before": str(IAT)}}),
        ("not-before-later", "a time that is still to come", {URI: {"not_before": IAT + 1}}),
        ("not-before-negative", "a time before 1970", {URI: {"not_before": -1}}),
    ):
        yield name, reason, changed(events=value)
    yield "iat-text", "a time that is a text", changed(iat=str(IAT))
    yield "aud-list", "several audiences", changed(aud=[EVENT.aud])
    yield "jti-empty", "an event without a name", changed(jti="")


def _subjects() -> Iterator[tuple[str, str, str]]:
    right = CLAIMS["sub_id"]
    for name, reason, value in (
        ("subject-text", "a subject that is a text", "account-1"),
        ("subject-opaque", "an account in a transaction's format", {"format": "opaque", "id": "account-1"}),
        ("subject-email", "a format that is not accepted", {"format": "email", "email": "alice@example.org"}),
        ("subject-foreign", "an account of another issuer", {**right, "iss": "https://other.example.org"}),
        ("subject-empty", "nobody", {**right, "sub": ""}),
        ("subject-long", "longer than an account id may be", {**right, "sub": "x" * 256}),
        ("subject-unknown-member", "a member nobody checks", {**right, "uri": "x"}),
        ("subject-incomplete", "an account without its issuer", {"format": "iss_sub", "sub": "account-1"}),
    ):
        yield name, reason, changed(sub_id=value)
    transaction = {"urn:privyseal:event:session-ended": {"not_before": IAT}}
    yield "transaction-as-account", "a transaction in an account's format", changed(events=transaction)
    for name, value in (
        ("transaction-long", {"format": "opaque", "id": "x" * 129}),
        ("transaction-unknown-member", {"format": "opaque", "id": "txn-1", "iss": EVENT.iss}),
    ):
        yield name, "a transaction's subject out of form", changed(events=transaction, sub_id=value)


def main() -> None:
    """Write all files anew."""
    for folder in ("valid", "invalid"):
        (HERE / folder).mkdir(exist_ok=True)
        for old in (HERE / folder).glob("*.json"):
            old.unlink()
    _write(HERE / "keys.json", {"keys": [KEY.verification_key().as_jwk()]})
    for name, reason, event in valid():
        content = {"reason": reason, "token": events.encode(event, KEY), "claims": events._to_claims(event)}
        _write(HERE / "valid" / f"{name}.json", content)
    for name, reason, token in invalid():
        _write(HERE / "invalid" / f"{name}.json", {"reason": reason, "token": token})


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
