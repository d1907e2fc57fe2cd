"""The native authenticators: what the evidence of each says.  None of them says a level; a policy does.

Category and flags of a factor (NIST SP 800-63B 3.1, (EU) 2015/1502 annex 1(2)) come from its kind and from what is
known of the single authenticator; what only one use can tell (whether a passkey verified its user) comes from that use.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final, Protocol

from idp.policy.evidence import FACTOR_CATEGORIES, Evidence
from idp.policy.facts import EnrolledFactor

NATIVE: Final = ("password", "passkey", "certificate", "totp", "hotp", "sms_otp", "email_otp", "recovery_code")
"""Kinds in the order in which people are shown them."""
MESSAGES: Final[Mapping[str, str]] = {"sms_otp": "sms", "email_otp": "email"}
"""Kinds whose code travels, with the channel."""
SINGLE: Final = frozenset({"password", "sms_otp", "email_otp", "recovery_code"})
"""Kinds of which an account has one: another one replaces it."""
IDENTIFYING: Final = frozenset({"password", "passkey", "certificate"})
"""Kinds by which somebody can be recognised who has proved nothing yet."""

_FLAGS: Final[Mapping[str, frozenset[str]]] = {
    # The public telephone network: restricted (NIST SP 800-63B 5.1.3.3).
    "sms_otp": frozenset({"restricted"}),
    "passkey": frozenset({"phishing_resistant"}),
    "certificate": frozenset({"phishing_resistant"}),
}
_FOR_SESSIONS: Final = frozenset({"password"})
"""Kinds that are proved for a session, whatever they were asked for; evidence of any other that was asked for in a
transaction is kept with it, and says nothing about another one."""
_TYPICAL: Final[Mapping[str, frozenset[str]]] = {"passkey": frozenset({"user_verified"})}
"""Flags of an authenticator of the kind that nobody has yet, for what a policy could offer."""
_STORED: Final = ("user_verified", "backup_eligible", "attested")
"""Flags that an authenticator's ``data`` states under ``flags``: what its uses are expected to carry."""
_COPIED: Final = "backed_up"
"""The flag that ``data`` states by itself, since every use may say otherwise."""


class Owned(Protocol):
    """As much of an authenticator as matters here."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def data(self) -> Mapping[str, object]: ...


def available(*, sms: object | None, mail: object | None, certificates: bool = False) -> frozenset[str]:
    """Kinds that anybody can have here.

    :param sms: the gateway for text messages; None: there is none, nor that factor.
    :param mail: the same for e-mail.
    :param certificates: somebody checks certificates in front.
    """
    there = {"sms_otp": sms is not None, "email_otp": mail is not None, "certificate": certificates}
    return frozenset(kind for kind in NATIVE if there.get(kind, True))


def flags_of(kind: str, data: Mapping[str, object], *, bound: bool) -> frozenset[str]:
    """The flags that a use of such an authenticator is expected to carry.

    :param bound: it would be asked for in one transaction, and count for no other.
    """
    stated = data.get("flags", ())
    own = {flag for flag in _STORED if isinstance(stated, (list, tuple)) and flag in stated}
    if data.get(_COPIED) is True:
        own.add(_COPIED)
    binding = {"transaction_bound"} if bound and kind not in _FOR_SESSIONS else set()
    return frozenset(_FLAGS.get(kind, frozenset()) | own | binding)


def enrolled_factor(item: Owned, *, bound: bool, proved: Iterable[Evidence] = ()) -> EnrolledFactor:
    """What the person could be asked for with this authenticator.

    :param proved: what they proved before; a password that was too short then is as short when it is typed again.
    """
    attestation = item.data.get("attestation")
    return EnrolledFactor(
        item.kind,
        FACTOR_CATEGORIES[item.kind],
        flags_of(item.kind, item.data, bound=bound),
        channel=MESSAGES.get(item.kind),
        attestation=attestation if isinstance(attestation, str) else None,
        min_length=known_length(item.id, proved),
    )


def known_length(authenticator_id: str, proved: Iterable[Evidence]) -> int | None:
    """What the latest evidence of a password that says so says of its length; see :attr:`Evidence.min_length`."""
    known = [item for item in proved if item.authenticator_id == authenticator_id and item.min_length is not None]
    return max(known, key=lambda item: item.at).min_length if known else None


def enrolled(
    owned: Iterable[Owned], kinds: Collection[str], *, bound: bool, proved: Collection[Evidence] = ()
) -> tuple[EnrolledFactor, ...]:
    """What a person could be asked for, where these kinds are enabled, in the order in which they are asked.

    :param owned: the authenticators that are usable now.
    :param proved: what they proved before, in this session or for this transaction.
    """
    found = [enrolled_factor(item, bound=bound, proved=proved) for item in owned if item.kind in kinds]
    return tuple(dict.fromkeys(sorted(found, key=lambda item: NATIVE.index(item.factor))))


def anybodys(kinds: Collection[str], *, bound: bool) -> tuple[EnrolledFactor, ...]:
    """What people in general can be asked for where these kinds are enabled."""
    return tuple(
        EnrolledFactor(
            kind,
            FACTOR_CATEGORIES[kind],
            flags_of(kind, {}, bound=bound) | _TYPICAL.get(kind, frozenset()),
            channel=MESSAGES.get(kind),
        )
        for kind in NATIVE
        if kind in kinds
    )


def evidence_of(
    item: Owned,
    at: datetime,
    txn: str,
    *,
    bound: bool,
    flags: frozenset[str] | None = None,
    attestation: str | None = None,
    min_length: int | None = None,
) -> Evidence:
    """The evidence that one successful use yields.

    :param bound: it was asked for in one transaction, and counts for no other (SES-06).
    :param flags: what this very use showed, where a use can show more or less than was expected of the authenticator.
    :param min_length: of a password, what :func:`idp.authn.password.length_met` says.
    """
    found = flags_of(item.kind, item.data, bound=bound)
    if flags is not None:
        found = (found - {*_STORED, _COPIED}) | flags
    transports = item.data.get("transports", ())
    return Evidence(
        factor=item.kind,
        authenticator_id=item.id,
        category=FACTOR_CATEGORIES[item.kind],
        at=at,
        flags=found,
        channel=MESSAGES.get(item.kind),
        transaction=txn,
        attestation=attestation,
        transports=tuple(map(str, transports)) if isinstance(transports, (list, tuple)) else (),
        min_length=min_length,
    )
