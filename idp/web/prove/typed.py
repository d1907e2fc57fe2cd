"""Codes that people read off something of theirs and type: judged, counted, used once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from sqlalchemy import Connection
from werkzeug.wrappers import Response

from foundation.clock import epoch
from idp.authn.codes import wrong_a_day
from idp.authn.methods import evidence_of
from idp.errors import OtpBehind, OtpLocked, OtpPaused, OtpRefused, OtpUsed, OtpWrong
from idp.policy.limits import failure_limit
from idp.storage import authenticators, wrong_codes
from idp.storage.authenticators import Authenticator
from idp.web import browser, pages, progress, proof
from idp.web.interaction import Interaction, load
from idp.web.progress import Assessment
from idp.web.services import services

Uses = Callable[[Connection, Authenticator], OtpRefused | None]
"""None: the code is this authenticator's, and was used up by this very call; else why it is not accepted."""
Chance = Callable[[Authenticator], Fraction]
"""That one guess at this authenticator's code is right; 0: it cannot be guessed."""
_TELLING = (OtpUsed, OtpBehind)
"""Refusals that help more than that the code is wrong."""


def answer(interaction_id: str, kind: str, uses: Uses, chance: Chance) -> Response:
    """What a browser gets that sent a code: the next page, or the same one with why it was not accepted."""
    interaction = load(interaction_id)
    try:
        verify(interaction, pages.assessed(interaction), kind, uses, chance)
    except OtpRefused as error:
        return pages.render(interaction, pages.notice_of(error), factor=kind)
    return progress.advance(load(interaction_id))


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One code that somebody typed, in its transaction."""

    connection: Connection
    interaction: Interaction
    found: Assessment
    now: datetime
    accept: proof.Accept

    def record(self, event: str, item: Authenticator, **more: str | int) -> None:
        fields = proof.fields(self.interaction, self.found, item)
        services().audit.record(self.connection, event, **fields, **more)


def verify(interaction: Interaction, found: Assessment, kind: str, uses: Uses, chance: Chance) -> None:
    """Judge a code that was typed on a page of ours: see :func:`judge`.

    :raises NoSuchFactor: the policy does not ask for this kind now.
    :raises OtpRefused: it was not accepted; the subclass tells why.
    """
    judge(interaction, found, kind, uses, chance, proof.accept)
    browser.reload()


def judge(  # noqa: PLR0917 - what, whose, of which kind, how it is judged, and what then
    interaction: Interaction, found: Assessment, kind: str, uses: Uses, chance: Chance, accept: proof.Accept
) -> None:
    """Judge a typed code against each of the person's authenticators of a kind; a right one becomes evidence.

    1. Their rows are locked, so that what is counted does not race (OTP-02) and a code is used once (OTP-04).  2. So
    many wrong codes of the kind within 24 hours, and none is tried: see :mod:`idp.authn.codes`.  3. After some in a
    row, a pause, longer each time.  4. A wrong code is one failure of each, since it may have been meant for any; after
    very many the authenticator is disabled (NIST SP 800-63B 5.2.2).  A success of another authenticator or another
    kind takes nothing back.  Other factors go on working (OTP-12).

    :raises NoSuchFactor: the policy does not ask for this kind now.
    :raises OtpRefused: it was not accepted; the subclass tells why.
    """
    refusal: OtpRefused | None = None
    with services().engine.begin() as connection:
        attempt = _Attempt(connection, interaction, found, services().clock.now(), accept)
        owned = sorted(proof.wanted(found, kind), key=lambda item: item.id)
        locked = [proof.fresh(item, authenticators.lock(connection, item.id)) for item in owned]
        tried = [item for item in locked if item.usable(attempt.now) and item.blocked_until <= attempt.now]
        if _spent(attempt, locked, chance):
            tried = []
        refused: list[OtpRefused] = []
        for item in tried:
            reason = uses(connection, item)
            if reason is None:
                _accept(attempt, item)
                break
            refused.append(reason)
        else:
            refusal = _wrong(attempt, tried, refused) if tried else _not_tried(attempt, locked, chance)
    if refusal is not None:
        raise refusal


def _spent(attempt: _Attempt, locked: list[Authenticator], chance: Chance) -> bool:
    """Whether there were as many wrong codes of the kind as there may be in a day."""
    limits = services().settings.otp
    usable = [item for item in locked if item.usable(attempt.now)]
    most = wrong_a_day(map(chance, usable), limits.max_failed_challenges_a_day * limits.max_wrong)
    account_id, kind = attempt.found.account.id, locked[0].kind
    return wrong_codes.count(attempt.connection, account_id, kind, attempt.now) >= most


def _accept(attempt: _Attempt, item: Authenticator) -> None:
    authenticators.succeeded(attempt.connection, item.id, attempt.now)
    evidence = evidence_of(item, attempt.now, attempt.interaction.txn, bound=attempt.interaction.binds_evidence)
    attempt.accept(attempt.connection, attempt.interaction, attempt.found, evidence)
    attempt.record("factor.accepted", item)


def _wrong(attempt: _Attempt, tried: list[Authenticator], refused: list[OtpRefused]) -> OtpRefused:
    """Count it, and choose what the person is told."""
    wrong_id = browser.new_id(services())
    wrong_codes.add(attempt.connection, wrong_id, attempt.found.account.id, tried[0].kind, attempt.now)
    for item in tried:
        most = failure_limit(services().settings.otp.max_wrong_ever, services().policy, item.kind)
        failures = authenticators.failed(attempt.connection, item.id, attempt.now, most=most, back_off=True)
        attempt.record("factor.refused", item, cause="wrong", failures=failures)
    return next((reason for reason in refused if isinstance(reason, _TELLING)), OtpWrong("the code was not accepted"))


def _not_tried(attempt: _Attempt, locked: list[Authenticator], chance: Chance) -> OtpRefused:
    for item in locked:
        attempt.record("factor.refused", item, cause="locked")
    until = [item.blocked_until for item in locked if item.usable(attempt.now)]
    if not until or _spent(attempt, locked, chance):
        return OtpLocked("too many wrong codes")
    return OtpPaused(max(1, epoch(min(until)) - epoch(attempt.now)))
