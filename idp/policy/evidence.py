"""Evidence: one authenticator, used once, by the person the session belongs to.

Levels, ``acr`` and ``amr`` are functions of evidence, policy and proofing; nothing else may state a level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from foundation.clock import epoch, from_epoch
from idp.policy.errors import EvidenceInvalid

Category = Literal["knowledge", "possession", "inherence"]
"""What is proved: something known, had or been ((EU) 2015/1502, annex, 1(2))."""

CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)

FACTOR_CATEGORIES: Final[Mapping[str, Category]] = {
    "password": "knowledge",
    "sms_otp": "possession",
    "email_otp": "possession",
    "totp": "possession",
    "hotp": "possession",
    "recovery_code": "possession",
    "certificate": "possession",
    "passkey": "possession",
    "mobile_id": "possession",
}
"""The category in which an authenticator of our own yields evidence."""

FACTORS: Final = frozenset({*FACTOR_CATEGORIES, "upstream"})
"""Every factor kind that a policy may name.  ``upstream`` is a login at another identity provider; its category is
that of the evidence derived from it."""

PASSWORD: Final = "password"

KEY_FACTORS: Final = frozenset({"certificate", "passkey", "mobile_id"})
"""Factors that prove possession of a private key."""

FLAGS: Final = frozenset(
    {
        "user_verified", "backup_eligible", "backed_up", "attested", "restricted", "phishing_resistant",
        "transaction_bound",
    }
)  # fmt: skip
"""``user_verified``: the authenticator itself asked for a PIN or a biometric.  ``backup_eligible``: its key may be
copied to other devices.  ``backed_up``: it had been when it was used (WebAuthn 6.1.3), and may be any moment after.
``attested``: its make is proved.  ``restricted``: NIST SP 800-63B 3.2.9 (SMS, voice).
``transaction_bound``: made for one transaction, and says nothing about any other."""

SELF: Final = "self"
"""The issuer of evidence that this identity provider verified itself."""

MIN_LENGTH_ALONE: Final = 15
"""Characters of a password that is the only factor (NIST SP 800-63B r4 3.1.1.2)."""

_JSON_KEYS: Final = frozenset(
    {"factor", "authenticator_id", "category", "at", "issuer", "flags", "channel", "attestation", "transaction"}
)
_LEFT_OUT: Final = frozenset({"idle", "transports", "min_length"})
"""Keys that are there only where there is something to say."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One successful use of one authenticator.

    :raises EvidenceInvalid: an unknown factor, category or flag, an empty id, or a time without a zone.
    """

    factor: str
    authenticator_id: str
    """The authenticator's record at its issuer; never a phone number, an address or a secret."""
    category: Category
    at: datetime
    """When it was verified: aware, whole seconds (fractions are dropped, as in every token)."""
    issuer: str = SELF
    """``self``, or the upstream identity provider that vouches."""
    flags: frozenset[str] = frozenset()
    channel: str | None = None
    """How a secret travelled, for example ``sms`` or ``email``."""
    transaction: str | None = None
    """The transaction during which it was asked for."""
    attestation: str | None = None
    """The authenticator's make or model where it is proved, for example a passkey's AAGUID."""
    idle: int = 0
    """Seconds: the longest time since then in which nobody used the session."""
    transports: tuple[str, ...] = ()
    """How the authenticator may be reached, as the browser said when it was registered (WebAuthn 5.8.4).  Nobody signs
    that: it is on record, and no requirement can ask for it."""
    min_length: int | None = None
    """Of a password, what it was found to reach when it was verified: :data:`MIN_LENGTH_ALONE` code points in NFC, or 0
    where it is shorter.  None: nobody looked, which is worth no more than 0.  How long it is, is said nowhere."""

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise EvidenceInvalid(f"unknown factor {self.factor!r}")
        if self.category not in CATEGORIES:
            raise EvidenceInvalid(f"unknown category {self.category!r}")
        unknown = self.flags - FLAGS
        if unknown:
            raise EvidenceInvalid(f"unknown flags {sorted(unknown)}")
        if not self.authenticator_id or not self.issuer:
            raise EvidenceInvalid("authenticator_id and issuer may not be empty")
        if self.idle < 0:
            raise EvidenceInvalid("'idle' is not negative")
        if self.min_length is not None and (self.factor != PASSWORD or self.min_length < 0):
            raise EvidenceInvalid("'min_length' is of a password, and not negative")
        if self.at.tzinfo is None or self.at.utcoffset() != timedelta(0):
            raise EvidenceInvalid("the time of evidence is aware and in UTC")
        object.__setattr__(self, "at", self.at.replace(microsecond=0))

    def has(self, flag: str) -> bool:
        """Whether the flag is set."""
        return flag in self.flags

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values; ``at`` is a NumericDate, ``flags`` is sorted.

        An ``idle`` of 0 is left out, and so are ``transports`` and ``min_length`` where there are none.
        """
        said: dict[str, Any] = {"idle": self.idle} if self.idle else {}
        if self.transports:
            said["transports"] = list(self.transports)
        if self.min_length is not None:
            said["min_length"] = self.min_length
        return {
            **said,
            "factor": self.factor,
            "authenticator_id": self.authenticator_id,
            "category": self.category,
            "at": epoch(self.at),
            "issuer": self.issuer,
            "flags": sorted(self.flags),
            "channel": self.channel,
            "attestation": self.attestation,
            "transaction": self.transaction,
        }

    @classmethod
    def from_json(cls, value: object) -> Evidence:
        """Read what :meth:`to_json` wrote; every key that it never leaves out is required and none may be unknown.

        :raises EvidenceInvalid: anything else.
        """
        if not isinstance(value, Mapping) or set(value) - _LEFT_OUT != _JSON_KEYS:
            raise EvidenceInvalid(f"an evidence record is an object with exactly the keys {sorted(_JSON_KEYS)}")
        texts = {key: _text(value, key) for key in ("factor", "authenticator_id", "category", "issuer")}
        at = value["at"]
        if not isinstance(at, int) or isinstance(at, bool):
            raise EvidenceInvalid("'at' is a whole number of seconds")
        idle = value.get("idle", 0)
        if not isinstance(idle, int) or isinstance(idle, bool):
            raise EvidenceInvalid("'idle' is a whole number of seconds")
        least = value.get("min_length")
        if "min_length" in value and (not isinstance(least, int) or isinstance(least, bool)):
            raise EvidenceInvalid("'min_length' is a whole number")
        try:
            time = from_epoch(at)
        except (ValueError, OverflowError, OSError) as error:
            raise EvidenceInvalid("'at' is out of range") from error
        return cls(
            factor=texts["factor"],
            authenticator_id=texts["authenticator_id"],
            category=_category(texts["category"]),
            at=time,
            issuer=texts["issuer"],
            flags=frozenset(_texts(value["flags"], "flags")),
            channel=_optional_text(value, "channel"),
            transaction=_optional_text(value, "transaction"),
            attestation=_optional_text(value, "attestation"),
            idle=idle,
            transports=_texts(value.get("transports", []), "transports"),
            min_length=least,
        )


def assumed_length(factor: str, stated: int | None = None) -> int | None:
    """What evidence that somebody assumes says of a password's length: unless stated, it is as long as a new one."""
    return MIN_LENGTH_ALONE if factor == PASSWORD and stated is None else stated


def _texts(value: object, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise EvidenceInvalid(f"{key!r} is a list of strings")
    return tuple(value)


def _text(value: Mapping[str, object], key: str) -> str:
    item = value[key]
    if not isinstance(item, str):
        raise EvidenceInvalid(f"{key!r} is a string")
    return item


def _optional_text(value: Mapping[str, object], key: str) -> str | None:
    return None if value[key] is None else _text(value, key)


def _category(text: str) -> Category:
    for category in CATEGORIES:
        if category == text:
            return category
    raise EvidenceInvalid(f"unknown category {text!r}")
