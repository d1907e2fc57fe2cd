"""ID tokens that are somebody else's, old, or nobody's sign nobody in (OpenID Connect Core 3.1.3.7)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from clients.csc import Tokens
from foundation.jose import encode_base64url, generate_signing_key, sign_compact
from portal.errors import IdTokenInvalid
from portal.outside.identity import subject_of

KEY = generate_signing_key()
NOW = 1_800_000_000
ISSUER, CLIENT, NONCE, ACCESS = "https://id.example.org", "portal", "n-1", "access"
HALF = encode_base64url(hashlib.sha256(ACCESS.encode()).digest()[:16])


def claims(**changes: Any) -> dict[str, Any]:
    made = {"iss": ISSUER, "aud": CLIENT, "sub": "alice", "exp": NOW + 600, "iat": NOW, "nonce": NONCE, "at_hash": HALF}
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def subject(id_token: str | None) -> str:
    tokens = Tokens(ACCESS, bound=False, expires_in=300, id_token=id_token)
    return subject_of(tokens, [KEY.verification_key()], ISSUER, CLIENT, NONCE, NOW)


def test_a_sound_id_token_names_the_person() -> None:
    assert subject(sign_compact(claims(), KEY, "JWT")) == "alice"
    assert subject(sign_compact(claims(aud=[CLIENT], azp=CLIENT, at_hash=None), KEY, "JWT")) == "alice"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example.org"},
        {"aud": "another"},
        {"aud": [CLIENT, "another"]},
        {"azp": "another"},
        {"exp": NOW - 60},
        {"exp": None},
        {"exp": True},
        {"iat": NOW + 61},
        {"iat": None},
        {"nonce": "n-2"},
        {"nonce": None},
        {"at_hash": "AAAA"},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a" * 256},
    ],
)
def test_an_id_token_that_is_not_the_answer_to_our_request_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(IdTokenInvalid):
        subject(sign_compact(claims(**changes), KEY, "JWT"))


def test_an_id_token_of_another_key_or_type_and_none_at_all_are_refused() -> None:
    strange = sign_compact(claims(), generate_signing_key(), "JWT")
    for token in (strange, sign_compact(claims(), KEY, "sad+jwt"), "e30.e30.", None):
        with pytest.raises(IdTokenInvalid):
            subject(token)
