"""A wrapped key that is looked at before it is imported: what a token may make of it, and what ends it."""

from __future__ import annotations

import pytest

from signing.sam.algorithms import KEY_PROFILES
from signing.scdev.refused import Refused
from signing.scdev.userkeys import Blob
from tests.unit.signing_scdev.test_worker import Key, Wrapping, user_keys

BLOB = Blob(KEY_PROFILES["ec-p256"], "aa", "aes-kwp", b"blob")
UNWRAPPED = {"WRAP_WITH_TRUSTED": True, "LOCAL": False, "ALWAYS_SENSITIVE": False, "NEVER_EXTRACTABLE": False}


def test_a_key_that_is_as_it_has_to_be_is_told_of_and_goes() -> None:
    key = Key(**UNWRAPPED)
    (told,) = user_keys(Wrapping([], key)).examine(BLOB)
    assert {b"SENSITIVE=TRUE", b"EXTRACTABLE=FALSE", b"LOCAL=FALSE", b"WRAP_WITH_TRUSTED=TRUE"} <= set(told.split())
    assert key.destroyed == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"SENSITIVE": False},
        {"EXTRACTABLE": True},
        {"DECRYPT": True},
        {"DERIVE": True},
        {"TOKEN": True},
        {"WRAP_WITH_TRUSTED": False},
        {"LOCAL": True},
        {"ALWAYS_SENSITIVE": True},
        {"NEVER_EXTRACTABLE": True},
    ],
)
def test_KEY_07_a_key_with_other_attributes_is_refused_and_goes(changed: dict[str, bool]) -> None:
    key = Key(**{**UNWRAPPED, **changed})
    with pytest.raises(Refused, match=next(iter(changed))) as refused:
        user_keys(Wrapping([], key)).examine(BLOB)
    assert refused.value.kind == "operation_not_permitted"
    assert key.destroyed == 1
