"""What a person is asked to approve, as one hash: one-time codes and consent are bound to it.

Pure.  The hash covers who asks, for what, with which credential and over which digests in which order, so that what was
shown, what a code was sent for and what is approved cannot differ (OAU-10, OTP-05).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

from foundation.json_text import encoder
from idp.activation.intent import SignatureIntent
from idp.authn.approval import Approval
from idp.errors import NotWhatWasApproved

_CANONICAL: Final = encoder(sort_keys=True, separators=(",", ":"))


def digest_of(
    *, action: str, client_id: str, txn: str, intent: SignatureIntent | None, detail: Mapping[str, Any] | None = None
) -> str:
    """Hexadecimal SHA-256 over everything that is approved.

    :param detail: what an action without a signature is about, as JSON.
    """
    content = {
        "action": action,
        "client_id": client_id,
        "txn": txn,
        "intent": None if intent is None else intent.to_json(),
        "detail": dict(detail or {}),
    }
    text = _CANONICAL(content)
    return hashlib.sha256(b"privyseal-approval-1\n" + text.encode()).hexdigest()


def check_approved(
    approval: Approval, *, client_id: str, intent: SignatureIntent | None, detail: Mapping[str, Any] | None = None
) -> None:
    """What is about to be given out is what was shown and approved.

    :param client_id: whom it is given to.
    :raises NotWhatWasApproved: another client, credential, digest, order of digests, name, number or detail.
    """
    found = digest_of(action=approval.action, client_id=client_id, txn=approval.txn, intent=intent, detail=detail)
    same = hmac.compare_digest(found.encode(), approval.binding.encode("utf-8", "surrogatepass"))
    if client_id != approval.client_id or not same:
        raise NotWhatWasApproved("what was approved is something else")
