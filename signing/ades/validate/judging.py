"""Validation of signatures and time-stamps with everything that proves when they were made (EN 319 102-1 clause 5.6.3).

1. Is it valid now?
2. If not since something ended, expired or was revoked: was it valid at a time for which a time-stamp proves that it
   existed?  (past validation, 5.6.2.4)
3. If only since nothing fresh is known of a certificate's status, and no certificate has expired: was it valid when its
   status was told, after the proven time?  Who was not revoked then was not revoked when it was signed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from asn1crypto import cms
from pyhanko.sign.ades.report import AdESIndeterminate, AdESPassed

from signing.ades.validate.blocks import Imprint, Judged, certificates_of, in_the_past, signature_at, spec, timestamp_at
from signing.ades.validate.knowledge import Knowledge
from signing.ades.validate.policy import ValidationPolicy
from signing.ades.validate.statuses import last_said, statuses

_ENDED: Final = frozenset(
    {
        AdESIndeterminate.REVOKED_NO_POE,
        AdESIndeterminate.REVOKED_CA_NO_POE,
        AdESIndeterminate.OUT_OF_BOUNDS_NO_POE,
        AdESIndeterminate.OUT_OF_BOUNDS_NOT_REVOKED,
        AdESIndeterminate.CRYPTO_CONSTRAINTS_FAILURE_NO_POE,
        AdESIndeterminate.REVOCATION_OUT_OF_BOUNDS_NO_POE,
        AdESIndeterminate.TRY_LATER,
    }
)
_UNTOLD: Final = frozenset({AdESIndeterminate.TRY_LATER, AdESIndeterminate.CERTIFICATE_CHAIN_GENERAL_FAILURE})
"""How it sounds when a status is stale."""
_MAX_TRIES: Final = 4
_TOLERANCE: Final = timedelta(seconds=1)
At = Callable[[datetime], Awaitable[Judged]]
"""Validates for one time."""


async def judge_timestamp(
    signed: cms.SignedData, imprint: Imprint, policy: ValidationPolicy, knowledge: Knowledge
) -> Judged:
    """A time-stamp, with the proofs that are known so far."""
    knowledge = knowledge.beside(certificates_of(signed, policy))
    how = spec(policy, knowledge)

    async def for_time(at: datetime) -> Judged:
        return await timestamp_at(signed, imprint, how, knowledge, at)

    now = _as_ended(await for_time(knowledge.at), knowledge.at)
    if now.outcome in _ENDED:
        now = await in_the_past(signed, now, how, knowledge, stamps=True)
    # Nobody can put a later status into the file that it stamps: what was fresh then is enough.
    now = await _with_status_of_its_time(now, for_time, knowledge, generation_time(signed), after=False)
    return _by_last_said(now, policy, knowledge, knowledge.since(signed["signer_infos"][0]["signature"].native))


async def judge_signature(
    signed: cms.SignedData, digest: bytes, policy: ValidationPolicy, knowledge: Knowledge, proven: datetime | None
) -> Judged:
    """A signature.

    :param proven: the earliest time for which a valid time-stamp proves that it existed.
    """
    knowledge = knowledge.beside(certificates_of(signed, policy))
    how = spec(policy, knowledge)

    async def for_time(at: datetime) -> Judged:
        return await signature_at(signed, digest, how, knowledge, at)

    now = _as_ended(await for_time(knowledge.at), knowledge.at)
    if proven is None:
        return _by_last_said(now, policy, knowledge, knowledge.at)
    if now.outcome is AdESIndeterminate.REVOKED_NO_POE and proven < now.status.revocation_details.revocation_date:
        # 5.5.4: revoked, but after it was signed.  What comes after the status was not looked at yet.
        aside = spec(replace(policy, revocation="none"), knowledge)
        rest = await signature_at(signed, digest, aside, knowledge, knowledge.at)
        return now.now(AdESPassed.OK) if rest.passed else rest
    if now.outcome in _ENDED:
        now = await in_the_past(signed, now, how, knowledge, stamps=False)
    now = await _with_status_of_its_time(now, for_time, knowledge, proven, after=True)
    return _by_last_said(now, policy, knowledge, proven)


def generation_time(signed: cms.SignedData) -> datetime:
    """Of a time-stamp token (RFC 3161 2.4.2)."""
    made: datetime = signed["encap_content_info"]["content"].parsed["gen_time"].native
    return made


def _by_last_said(now: Judged, policy: ValidationPolicy, knowledge: Knowledge, used: datetime) -> Judged:
    """pyHanko asks for no list where an answer says that all is well, though the list be younger.

    :param used: when the certificate was, as far as is proven.
    """
    if not now.passed or policy.revocation == "none":
        return now
    for place, (certificate, issuer) in enumerate(pairwise(now.chain)):
        last = last_said(certificate, issuer, knowledge.document | knowledge.outside)
        if last is not None and last.revoked_at is not None and last.revoked_at <= used:
            return now.now(AdESIndeterminate.REVOKED_NO_POE if place == 0 else AdESIndeterminate.REVOKED_CA_NO_POE)
    return now


async def _with_status_of_its_time(
    now: Judged, for_time: At, knowledge: Knowledge, proven: datetime, *, after: bool
) -> Judged:
    chain = now.chain
    if now.outcome not in _UNTOLD or not chain or proven > knowledge.at or _ended(chain, knowledge.at):
        return now
    for moment in _moments(chain, knowledge, proven, after=after):
        then = await for_time(moment)
        if then.passed:
            return then
    return now


def _as_ended(now: Judged, at: datetime) -> Judged:
    """pyHanko has no word for an authority's certificate that has expired; the standard has (5.2.6, 5.3.4)."""
    if now.outcome is AdESIndeterminate.CERTIFICATE_CHAIN_GENERAL_FAILURE and _ended(now.chain, at):
        return now.now(AdESIndeterminate.OUT_OF_BOUNDS_NO_POE)
    return now


def _ended(chain: Iterable[Any], at: datetime) -> bool:
    return any(not each.not_valid_before <= at <= each.not_valid_after for each in chain)


def _moments(chain: tuple[Any, ...], knowledge: Knowledge, proven: datetime, *, after: bool) -> tuple[datetime, ...]:
    """When the end entity's status was told: after it signed, or (where that cannot be asked) when it did."""
    if len(chain) < 2:
        return ()
    told = {
        each.this_update
        for each in statuses(chain[0], chain[1], knowledge.document | knowledge.outside, "document")
        if proven - _TOLERANCE <= each.this_update <= knowledge.at
    }
    found = {max(proven, each) for each in told} | (set() if after else {proven})
    return tuple(sorted(found))[:_MAX_TRIES]
