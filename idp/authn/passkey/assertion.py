"""Judging what a passkey signed (WebAuthn 7.2)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from webauthn import verify_authentication_response

from idp.authn.passkey.answer import Assertion, authenticator_data, check_client_data
from idp.authn.passkey.foreign import translated
from idp.authn.passkey.options import RelyingParty
from idp.authn.passkey.record import Passkey
from idp.errors import PasskeyRefused


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a passkey."""

    counter: int
    """What the authenticator says now; 0 where it does not count."""
    flags: frozenset[str]
    """Of the evidence: what this very use showed of ``user_verified``, ``backup_eligible``, ``backed_up`` and
    ``attested``."""
    backed_up: bool
    """Whether it has been copied by now (BS)."""


def verify(
    party: RelyingParty,
    answer: Assertion,
    passkey: Passkey,
    *,
    challenge: bytes,
    counter: int,
    require_uv: bool,
    require_handle: bool,
) -> Use:
    """What an answer proves.  That the challenge is used once, and the counter moved on, is the caller's.

    1. The browser's part: type, challenge, origin.  2. Whose passkey it is.  3. The authenticator's part: our site,
    somebody present, verified where that is needed.  4. Whether it could be copied has not changed.  5. The counter
    went up.  6. The signature.

    ``user_verified`` is what this use showed, and only of a passkey that showed it when it was registered: one that
    begins to later has verified somebody whom we never met (WebAuthn 4, ``uvInitialized``).

    :param counter: the last one seen.
    :param require_handle: nobody had said who they are, so the answer has to (7.2, step 6).
    :raises PasskeyRefused: with the cause.
    """
    check_client_data(answer.client_data, "webauthn.get", challenge, party)
    _check_owner(answer, passkey, require_handle=require_handle)
    data = authenticator_data(answer.authenticator_data, party, require_uv=require_uv)
    if data.flags.at:
        raise PasskeyRefused("malformed", "an assertion registers nothing")
    if data.flags.be != passkey.backup_eligible:
        raise PasskeyRefused("backup_changed", "whether the passkey can be copied never changes (WebAuthn 6.1.3)")
    if (data.sign_count or counter) and data.sign_count <= counter:
        raise PasskeyRefused("counter", "the counter did not go up: the passkey may have been copied (WebAuthn 6.1.1)")
    with translated("signature"):
        verify_authentication_response(
            credential=answer.plain,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=counter,
            require_user_verification=require_uv,
        )
    shown = {
        "user_verified": data.flags.uv and passkey.user_verified,
        "backup_eligible": data.flags.be,
        "backed_up": data.flags.bs,
        "attested": passkey.attested,
    }
    return Use(data.sign_count, frozenset(flag for flag, there in shown.items() if there), data.flags.bs)


def _check_owner(answer: Assertion, passkey: Passkey, *, require_handle: bool) -> None:
    if not hmac.compare_digest(answer.credential_id, passkey.credential_id):
        raise PasskeyRefused("unknown", "the answer is another passkey's")
    if answer.user_handle is None and not require_handle:
        return
    if not hmac.compare_digest(answer.user_handle or b"", passkey.user_handle):
        raise PasskeyRefused("user_handle", "the passkey was made for another account")
