"""Evidence to ``amr`` and to categories."""

from __future__ import annotations

import pytest

from idp.policy.evidence import FACTOR_CATEGORIES, Evidence
from idp.policy.matching import categories
from idp.policy.methods import methods
from tests.unit.idp_policy.support import used

REGISTERED = frozenset(
    {
        "face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop", "pwd",
        "rba", "retina", "sc", "sms", "swk", "tel", "user", "vbm", "wia",
    }
)  # fmt: skip
"""RFC 8176 section 2, as registered with IANA."""


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ((), ()),
        ((used("password"),), ("pwd",)),
        ((used("password"), used("sms_otp")), ("pwd", "otp", "sms", "mfa")),
        ((used("password"), used("email_otp")), ("pwd", "otp", "email", "mfa")),
        ((used("totp"), used("recovery_code")), ("otp",)),
        ((used("hotp"), used("sms_otp")), ("otp", "sms")),
        ((used("passkey"),), ("pop", "user", "swk")),
        ((used("passkey", 0, "attested", "backup_eligible"),), ("pop", "user", "swk")),
        ((used("passkey", 0, "attested", "user_verified"),), ("pop", "user", "hwk", "mfa")),
        ((used("certificate", 0, "attested"),), ("pop", "hwk")),
        ((used("mobile_id"), used("password")), ("pop", "swk", "pwd", "mfa")),
        ((used("upstream", category="knowledge"),), ()),
    ],
)
def test_values_for_what_was_used(evidence: tuple[Evidence, ...], expected: tuple[str, ...]) -> None:
    assert methods(evidence) == expected


def test_nothing_but_registered_values_and_the_one_for_email() -> None:
    for factor in FACTOR_CATEGORIES:
        assert set(methods((used(factor, 0, "user_verified", "attested"),))) <= REGISTERED | {"email"}


@pytest.mark.parametrize(
    ("evidence", "count"),
    [
        ((), 0),
        ((used("totp"), used("sms_otp")), 1),
        ((used("password"), used("totp")), 2),
        ((used("passkey", 0, "user_verified"),), 2),
        # The PIN of the key may be a second secret, but it is not a third category.
        ((used("passkey", 0, "user_verified"), used("password")), 2),
        ((used("password", 0, "user_verified"),), 1),
        ((used("password"), used("totp"), used("upstream", category="inherence")), 3),
    ],
)
def test_categories_are_counted_only_where_they_are_sure(evidence: tuple[Evidence, ...], count: int) -> None:
    assert categories(evidence) == count
