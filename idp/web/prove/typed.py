"""Codes that people read off something of theirs and type: judged, counted, used once."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from idp.authn.methods import evidence_of
from idp.errors import OtpLocked, OtpRefused, OtpWrong
from idp.policy.limits import failure_limit
from idp.storage import authenticators
from idp.storage.authenticators import Authenticator
from idp.web import browser, proof
from idp.web.interaction import Interaction
from idp.web.progress import Assessment
from idp.web.services import services

Uses = Callable[[Connection, Authenticator], bool]
"""Whether the code is this authenticator's, and was used up by this very call."""


def verify(interaction: Interaction, found: Assessment, kind: str, uses: Uses) -> None:
    """Judge a typed code against each of the person's authenticators of a kind; a right one becomes evidence.

    Their rows are locked, so that what is counted does not race (OTP-02) and a code is used once (OTP-04).  A wrong
    code is one failure of each, since it may have been meant for any; after some, a pause, longer each time, and after
    very many the authenticator is disabled (NIST SP 800-63B 5.2.2).  Other factors go on working (OTP-12).

    :raises NoSuchFactor: the policy does not ask for this kind now.
    :raises OtpWrong: :raises OtpLocked: it was not accepted.
    """
    refusal: OtpRefused | None = None
    now = services().clock.now()
    with services().engine.begin() as connection:
        owned = sorted(proof.wanted(found, kind), key=lambda item: item.id)
        locked = [authenticators.lock(connection, item.id) for item in owned]
        tried = [item for item in locked if item.usable(now) and item.blocked_until <= now]
        right = next((item for item in tried if uses(connection, item)), None)
        if right is not None:
            authenticators.succeeded(connection, right.id, now)
            evidence = evidence_of(right, now, interaction.txn, bound=interaction.binds_evidence)
            proof.accept(connection, interaction, found, evidence)
            services().audit.record(connection, "factor.accepted", **proof.fields(interaction, found, right))
        elif tried:
            _count(connection, interaction, found, tried)
            refusal = OtpWrong("the code was not accepted")
        else:
            for item in locked:
                _refused(connection, interaction, found, item, "locked")
            refusal = OtpLocked("too many wrong codes")
    if refusal is not None:
        raise refusal
    browser.reload()


def _count(connection: Connection, interaction: Interaction, found: Assessment, tried: list[Authenticator]) -> None:
    limits, now = services().settings.otp, services().clock.now()
    for item in tried:
        most = failure_limit(limits.max_wrong_ever, services().policy, item.kind)
        failures = authenticators.failed(connection, item.id, now, most=most, back_off=True)
        _refused(connection, interaction, found, item, "wrong", failures=failures)


def _refused(
    connection: Connection, interaction: Interaction, found: Assessment, item: Authenticator, cause: str, **more: int
) -> None:
    fields = proof.fields(interaction, found, item)
    services().audit.record(connection, "factor.refused", **fields, cause=cause, **more)
