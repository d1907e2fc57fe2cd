"""The order's codec: what comes back, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contract import order as orders
from contract import sad as sads
from contract.errors import OrderInvalid, SadInvalid
from contract.order import OPERATIONS, CreateParameters, CredentialParameters, Order, SubjectClaim
from foundation.jose import generate_signing_key, sign_compact
from tests.vectors.sad import make

KEY = make.KEY
KEYS = (KEY.verification_key(),)
SUBJECT = SubjectClaim("Alice Example", "Alice", "Example", "PNOBE-85073003328", "BE")
ORDER = Order(
    iss="https://idp.example.org",
    aud="urn:privyseal:sam:example",
    sub="account-1",
    jti="jti-1",
    iat=make.IAT,
    exp=make.IAT + 600,
    operation="credential.create",
    parameters=CreateParameters("standard", SUBJECT),
    policy="decision-1",
)
CLAIMS = orders._to_claims(ORDER)


def signed(**changes: Any) -> str:
    return sign_compact({**CLAIMS, **changes}, KEY, "order+jwt")


@pytest.mark.parametrize(
    "order",
    [
        ORDER,
        replace(ORDER, parameters=CreateParameters("standard", SubjectClaim("Alice", None, None, None, None))),
        *(
            replace(ORDER, operation=operation, parameters=CredentialParameters("credential-1"))
            for operation in OPERATIONS
            if operation != "credential.create" and not operation.endswith("_proof_key")
        ),
    ],
)
def test_an_order_comes_back_as_it_was_signed(order: Order) -> None:
    assert orders.decode(orders.encode(order, KEY), KEYS) == order


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_is_required(name: str) -> None:
    claims = {key: value for key, value in CLAIMS.items() if key != name}
    with pytest.raises(OrderInvalid):
        orders.decode(sign_compact(claims, KEY, "order+jwt"), KEYS)


def subject(**changes: Any) -> dict[str, Any]:
    claim = {**CLAIMS["parameters"]["subject"], **changes}
    return {"parameters": {"profile": "standard", "subject": {k: v for k, v in claim.items() if v is not ...}}}


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"exp": make.IAT},
        {"iat": "now"},
        {"operation": "credential.export"},
        {"operation": 1},
        {"operation": "credential.delete"},
        {"parameters": {"credential_id": "credential-1"}},
        {"parameters": {"profile": "standard"}},
        {"parameters": []},
        {"parameters": {**CLAIMS["parameters"], "key": "rsa"}},
        subject(common_name=...),
        subject(common_name=""),
        subject(common_name="x" * 65),
        subject(country="be"),
        subject(country="BEL"),
        subject(country="BE\n"),
        subject(surname=None),
        subject(organization="Example"),
    ],
)
def test_an_order_with_one_thing_wrong_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(OrderInvalid):
        orders.decode(signed(**change), KEYS)


def test_an_order_under_another_key_is_refused() -> None:
    with pytest.raises(OrderInvalid):
        orders.decode(orders.encode(ORDER, generate_signing_key()), KEYS)


def test_neither_serves_as_the_other() -> None:
    with pytest.raises(SadInvalid):
        sads.decode(orders.encode(ORDER, KEY), KEYS)
    with pytest.raises(OrderInvalid):
        orders.decode(sads.encode(make.SAD, KEY), KEYS)


@pytest.mark.parametrize("change", [{"exp": 0}, {"operation": "credential.delete"}, {"sub": ""}])
def test_what_a_decoder_would_refuse_is_not_encoded(change: dict[str, Any]) -> None:
    with pytest.raises(OrderInvalid):
        orders.encode(replace(ORDER, **change), KEY)
