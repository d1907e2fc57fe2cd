"""An approval and the intent it was given for become signature activation data.  Pure: signing it is the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from contract.confirmation import Confirmation
from contract.sad import EvidenceClaim, PolicyClaim, Sad, Succession
from foundation.clock import epoch
from idp.activation.binding import check_approved
from idp.activation.intent import SignatureIntent
from idp.authn.approval import Approval
from idp.errors import NotActivatable
from idp.policy.evidence import Evidence
from idp.policy.keys import SIGN, SIGN_IN_BAND

ACTION: Final = SIGN
"""The policy's action under which signatures are approved on this server's own pages."""

MAX_LIFETIME_SECONDS: Final = 300
"""The default ceiling of the module's credential profiles; a longer life would be refused there."""


def sad_for(
    approval: Approval,
    intent: SignatureIntent,
    *,
    issuer: str,
    audience: str,
    jti: str,
    now: datetime,
    lifetime_seconds: int,
    confirmation: Confirmation | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Sad:
    """The content of the SAD for one approved transaction (EN 419 241-1 3.1).

    :param confirmation: the key that whoever redeems it has to show.
    :param detail: what was approved beside the intent.
    :param lifetime_seconds: at most :data:`MAX_LIFETIME_SECONDS`.
    :raises NotWhatWasApproved: the intent is not the one that was approved.
    :raises NotActivatable: the approval is for another action, claims no eIDAS level, rests on evidence of the future
        or on a proof that has expired, or the lifetime is out of bounds.
    """
    # 1. What was approved was a signature, and this one.
    if approval.action not in {ACTION, SIGN_IN_BAND}:
        raise NotActivatable("the approval is not for a signature")
    check_approved(approval, client_id=approval.client_id, intent=intent, detail=detail)
    # 2. The module's floor is an eIDAS level; without one nothing could be compared with it.
    if approval.loa not in {"low", "substantial", "high"}:
        raise NotActivatable("the level that was reached claims no eIDAS level")
    # 3. It lives for a moment only, and does not begin before what it rests on.
    if not 0 < lifetime_seconds <= MAX_LIFETIME_SECONDS:
        raise NotActivatable(f"a lifetime is 1 to {MAX_LIFETIME_SECONDS} seconds")
    iat = epoch(now)
    exp = _until(approval, iat + lifetime_seconds)
    if iat >= exp:
        raise NotActivatable("the proof of the signer's device has expired")
    if not approval.evidence or any(item.at > now for item in approval.evidence):
        raise NotActivatable("there is no evidence, or it is from the future")
    return Sad(
        iss=issuer,
        aud=audience,
        sub=approval.account_id,
        client_id=approval.client_id,
        txn=approval.txn,
        jti=jti,
        iat=iat,
        exp=exp,
        credential_id=intent.credential_id,
        hash_alg=intent.hash_alg,
        dtbsr=tuple(item.digest for item in intent.digests),
        hash_type=intent.hash_type,
        sign_count=len(intent.digests) or intent.sign_count,
        acr=approval.acr,
        loa=approval.loa,  # type: ignore[arg-type] # one of the three: step 2
        amr=approval.amr,
        auth_time=epoch(approval.auth_time),
        evidence=tuple(_claim(item, approval.txn) for item in approval.evidence),
        policy=PolicyClaim(approval.policy_name, approval.policy_sha256, approval.decision_id),
        cnf=confirmation,
        signer_proof=approval.signer_proof,
        in_band=approval.action == SIGN_IN_BAND,
    )


def successor_for(
    old: Sad,
    approval: Approval,
    intent: SignatureIntent,
    *,
    audience: str,
    jti: str,
    now: datetime,
    lifetime_seconds: int,
    transaction_seconds: int,
    extensions: int,
    detail: Mapping[str, Any] | None = None,
) -> Sad:
    """The content of the SAD that takes another one's place: the same approval, evidence and key, for longer.

    It is over all digests that were approved: which of them are spent only the module knows, and goes by.

    :param old: as this server minted it; its time has not come.
    :param transaction_seconds: how long after the first SAD's issue the last one may live.
    :param extensions: how often SADs of one transaction may be replaced.
    :raises NotWhatWasApproved: the intent is not the one that was approved.
    :raises NotActivatable: the SAD is of another approval, names no digests, was replaced as often as may be, or
        there is no time left; or as for the first one.
    """
    before = () if old.supersedes is None else old.supersedes.jtis
    if len(before) >= extensions:
        raise NotActivatable("the transaction was extended as often as it may be")
    left = old.since + transaction_seconds - epoch(now)
    made = sad_for(
        approval,
        intent,
        issuer=old.iss,
        audience=audience,
        jti=jti,
        now=now,
        lifetime_seconds=min(lifetime_seconds, left),
        confirmation=old.cnf,
        detail=detail,
    )
    if not old.dtbsr or replace(old, jti=jti, iat=made.iat, exp=made.exp, supersedes=None) != made:
        raise NotActivatable("the SAD is not one of this approval over digests")
    return replace(made, supersedes=Succession(old.since, (*before, old.jti)))


def _until(approval: Approval, exp: int) -> int:
    """No SAD outlives the proof in it: it would be refused, and its holder would not know why."""
    return exp if approval.signer_proof is None else min(exp, int(approval.signer_proof["exp"]))


def _claim(item: Evidence, txn: str) -> EvidenceClaim:
    return EvidenceClaim(
        factor=item.factor,
        category=item.category,
        at=epoch(item.at),
        authenticator_id=item.authenticator_id,
        phishing_resistant=item.has("phishing_resistant"),
        user_verified=item.has("user_verified"),
        restricted=item.has("restricted"),
        # Made for some transaction is not enough: for this one.
        transaction_bound=item.has("transaction_bound") and item.transaction == txn,
    )
