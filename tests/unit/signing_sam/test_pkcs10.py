"""The ordered subject: what cannot stand in a certificate, or would not be seen there, costs neither order nor key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contract.errors import OrderInvalid
from contract.order import CreateParameters, SubjectClaim, encode
from signing.sam import errors
from signing.sam.pkcs10 import subject_name
from tests.fakes.sam import ALICE, World

REFUSED: list[tuple[str, SubjectClaim]] = [
    ("a serial number that is not printable", replace(ALICE, serial_number="PNOBE-\u00c9")),
    ("a serial number with an underscore", replace(ALICE, serial_number="PNOBE_1")),
    ("a country that is not printable", replace(ALICE, country="B_")),
    ("a country of another length", replace(ALICE, country="BEL")),
    ("nul", replace(ALICE, common_name="Alice\x00Mallory")),
    ("a newline", replace(ALICE, given_name="Alice\nMallory")),
    ("a direction's override", replace(ALICE, common_name="Alice \u202eelpmaxE")),
    ("a direction's isolate", replace(ALICE, surname="Example\u2066")),
    ("a space without width", replace(ALICE, common_name="Ali\u200bce")),
    ("a line's end", replace(ALICE, common_name="Alice\u2028Example")),
    ("a tag", replace(ALICE, common_name="Alice\U000e0041")),
    ("half a pair", replace(ALICE, common_name="Alice\ud800")),
    ("no character", replace(ALICE, common_name="Alice\uffff")),
    ("private use", replace(ALICE, common_name="Alice\ue000")),
]


@pytest.mark.parametrize(("reason", "subject"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_subject_that_cannot_be_read_as_it_is_stands_in_no_name(reason: str, subject: SubjectClaim) -> None:
    with pytest.raises(errors.OrderRefused):
        subject_name(subject)
    assert reason


@pytest.mark.parametrize(
    "name", ["Zo\u00eb \u0141uczak", "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "O'Brien-\u738b"]
)
def test_names_of_every_language_stand_in_one(name: str) -> None:
    subject = replace(ALICE, common_name=name)
    assert name in {item.value for item in subject_name(subject)}
    assert name.encode() in subject_name(subject).public_bytes()


@pytest.mark.parametrize(
    "subject", [case[1] for case in REFUSED if "half" not in case[0] and "country" not in case[0]]
)
def test_KEY_10_such_a_subject_is_refused_before_the_order_is_spent_and_a_key_is_made(
    world: World, subject: SubjectClaim
) -> None:
    order = world.order(parameters=CreateParameters("standard", subject))
    with pytest.raises((errors.OrderRefused, OrderInvalid)):
        world.lifecycle().create(encode(order, world.idp_key))
    assert world.fake.calls["generate"] == 0
    assert world.store.order(order.iss, order.jti) is None
