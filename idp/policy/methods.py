"""Evidence to ``amr`` (RFC 8176).

The registry has nothing for e-mail; such evidence is ``otp`` with the additional value ``email``, which RFC 8176
section 1 leaves to the parties.  A login elsewhere has no value of its own either and adds none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from idp.policy.evidence import KEY_FACTORS, Evidence
from idp.policy.matching import categories

_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "password": ("pwd",),
    "sms_otp": ("otp", "sms"),
    "email_otp": ("otp", "email"),
    "totp": ("otp",),
    "hotp": ("otp",),
    "recovery_code": ("otp",),
    "certificate": ("pop",),
    "passkey": ("pop", "user"),
    "mobile_id": ("pop",),
    "upstream": (),
}


def methods(relied_on: Iterable[Evidence]) -> tuple[str, ...]:
    """The values for the evidence relied on, each once, in the order of use; ``mfa`` last if two categories are there.

    A key counts as kept in hardware (``hwk``) only if that is attested and the key cannot be copied.
    """
    items = tuple(relied_on)
    found: dict[str, None] = {}
    for item in items:
        found.update(dict.fromkeys(_VALUES[item.factor]))
        if item.factor in KEY_FACTORS:
            hardware = item.has("attested") and not item.has("backup_eligible")
            found["hwk" if hardware else "swk"] = None
    if categories(items) > 1:
        found["mfa"] = None
    return tuple(found)
