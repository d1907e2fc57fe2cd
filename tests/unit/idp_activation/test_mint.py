"""A SAD says what was approved, and nothing that was not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contract import order as orders
from contract import sad as sads
from contract.order import CreateParameters, CredentialParameters, SubjectClaim
from foundation.jose import generate_signing_key
from idp.activation.binding import digest_of
from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.activation.mint import sad_for
from idp.activation.orders import order_for
from idp.authn.approval import Approval
from idp.authn.methods import evidence_of
from idp.errors import NotActivatable, NotWhatWasApproved
from idp.policy.evidence import Evidence
from idp.storage.authenticators import NewAuthenticator

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
PASSWORD = Evidence("password", "p-1", "knowledge", NOW - timedelta(seconds=90), transaction="txn-1")
SMS = evidence_of(NewAuthenticator("s-1", "a", "sms_otp"), NOW - timedelta(seconds=20), "txn-1", bound=True)
INTENT = SignatureIntent(
    credential_id="cred-1",
    hash_alg="2.16.840.1.101.3.4.2.1",
    digests=(
        DocumentDigest(b"\x22" * 32, "b.pdf"),
        DocumentDigest(b"\x11" * 32, "a.pdf"),
        DocumentDigest(b"\x22" * 32, "b again.pdf"),
    ),
    hash_type="dtbsr",
    sign_count=3,
)
APPROVAL = Approval(
    txn="txn-1",
    account_id="account-1",
    session_id="session-1",
    client_id="example-contracts",
    action="signature.activate",
    binding=digest_of(action="signature.activate", client_id="example-contracts", txn="txn-1", intent=INTENT),
    decision_id="decision-1",
    policy_name="default",
    policy_sha256="ab" * 32,
    acr="http://eidas.europa.eu/NotNotified/LoA/substantial",
    loa="substantial",
    amr=("pwd", "otp", "sms", "mfa"),
    auth_time=PASSWORD.at,
    evidence=(PASSWORD, SMS),
    approved_at=NOW,
)


def approved(intent: SignatureIntent) -> Approval:
    """The approval of another intent."""
    binding = digest_of(action=APPROVAL.action, client_id=APPROVAL.client_id, txn=APPROVAL.txn, intent=intent)
    return replace(APPROVAL, binding=binding)


def mint(approval: Approval = APPROVAL, intent: SignatureIntent = INTENT, **values: Any) -> sads.Sad:
    given: dict[str, Any] = {
        "issuer": "https://idp.example.org",
        "audience": "urn:sam",
        "jti": "jti-1",
        "now": NOW,
        "lifetime_seconds": 300,
    }
    return sad_for(approval, intent, **{**given, **values})


def test_a_sad_holds_exactly_the_approved_digests_in_order_and_repetition() -> None:
    sad = mint()
    assert sad.dtbsr == (b"\x22" * 32, b"\x11" * 32, b"\x22" * 32)
    assert sad.sign_count == 3
    assert (sad.sub, sad.client_id, sad.txn, sad.credential_id) == (
        "account-1",
        "example-contracts",
        "txn-1",
        "cred-1",
    )
    assert (sad.exp - sad.iat, sad.auth_time) == (300, int(PASSWORD.at.timestamp()))
    assert sad.policy.decision_id == "decision-1"


def test_a_minted_sad_passes_the_contract_both_ways() -> None:
    key = generate_signing_key()
    assert sads.decode(sads.encode(mint(), key), [key.verification_key()]) == mint()


def test_only_evidence_of_this_transaction_is_called_bound() -> None:
    assert [item.transaction_bound for item in mint().evidence] == [False, True]
    elsewhere = evidence_of(NewAuthenticator("s-1", "a", "sms_otp"), NOW, "txn-2", bound=True)
    moved = replace(APPROVAL, evidence=(PASSWORD, elsewhere))
    assert [item.transaction_bound for item in mint(moved).evidence] == [False, False]
    assert [item.restricted for item in mint().evidence] == [False, True]


@pytest.mark.parametrize("action", ["sign_in", "credential.create", "signature.activate "])
def test_an_approval_of_another_action_activates_nothing(action: str) -> None:
    with pytest.raises(NotActivatable):
        mint(replace(APPROVAL, action=action))


@pytest.mark.parametrize("loa", [None, "", "HIGH"])
def test_without_an_eidas_level_there_is_no_sad(loa: str | None) -> None:
    with pytest.raises(NotActivatable):
        mint(replace(APPROVAL, loa=loa))


@pytest.mark.parametrize("seconds", [0, -1, 301])
def test_a_lifetime_out_of_bounds_is_refused(seconds: int) -> None:
    with pytest.raises(NotActivatable):
        mint(lifetime_seconds=seconds)


LATER = evidence_of(NewAuthenticator("s-1", "a", "sms_otp"), NOW + timedelta(seconds=1), "txn-1", bound=True)


@pytest.mark.parametrize("evidence", [(), (PASSWORD, LATER)])
def test_no_evidence_and_evidence_of_the_future_are_refused(evidence: tuple[Evidence, ...]) -> None:
    with pytest.raises(NotActivatable):
        mint(replace(APPROVAL, evidence=evidence))


def test_without_digests_the_count_is_the_one_asked_for() -> None:
    intent = replace(INTENT, digests=(), sign_count=7)
    assert mint(approved(intent), intent).sign_count == 7


@pytest.mark.parametrize(
    "changed",
    [
        replace(INTENT, credential_id="cred-2"),
        replace(INTENT, digests=(DocumentDigest(b"\x33" * 32, "b.pdf"), *INTENT.digests[1:])),
        replace(INTENT, digests=INTENT.digests[::-1]),
        replace(INTENT, digests=INTENT.digests[:2]),
        replace(INTENT, sign_count=4),
    ],
)
def test_OAU_10_an_intent_that_was_not_approved_activates_nothing(changed: SignatureIntent) -> None:
    with pytest.raises(NotWhatWasApproved):
        mint(intent=changed)


def test_OAU_10_what_one_client_was_approved_for_is_not_given_to_another() -> None:
    with pytest.raises(NotWhatWasApproved):
        mint(replace(APPROVAL, client_id="other"))
    with pytest.raises(NotWhatWasApproved):
        mint(replace(APPROVAL, txn="txn-2"))


CREATE = CreateParameters("default", SubjectClaim("Alice Example", "Alice", "Example", None, "ES"))


def order(action: str, parameters: Any, seconds: int = 600) -> orders.Order:
    return order_for(
        replace(APPROVAL, action=action),
        parameters,
        issuer="https://idp.example.org",
        audience="urn:sam",
        jti="jti-2",
        now=NOW,
        lifetime_seconds=seconds,
    )


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("credential.create", CREATE),
        ("credential.suspend", CredentialParameters("cred-1")),
        ("credential.resume", CredentialParameters("cred-1")),
        ("credential.delete", CredentialParameters("cred-1")),
    ],
)
def test_an_order_is_for_the_operation_that_was_approved(action: str, parameters: Any) -> None:
    key = generate_signing_key()
    made = order(action, parameters)
    assert (made.operation, made.sub, made.policy) == (action, "account-1", "decision-1")
    assert orders.decode(orders.encode(made, key), [key.verification_key()]) == made


@pytest.mark.parametrize(
    ("action", "parameters", "seconds"),
    [
        ("signature.activate", CREATE, 600),
        ("credential.delete", CREATE, 600),
        ("credential.create", CredentialParameters("cred-1"), 600),
        ("credential.create", CREATE, 0),
        ("credential.create", CREATE, 86401),
        # A name of the same family that is no operation.
        ("credential.renew", CredentialParameters("cred-1"), 600),
    ],
)
def test_an_order_for_anything_else_is_refused(action: str, parameters: Any, seconds: int) -> None:
    with pytest.raises(NotActivatable):
        order(action, parameters, seconds)


def binding(**values: Any) -> str:
    given: dict[str, Any] = {"action": "signature.activate", "client_id": "c", "txn": "t", "intent": INTENT}
    return digest_of(**{**given, **values})


@pytest.mark.parametrize(
    "change",
    [
        {"action": "sign_in"},
        {"client_id": "d"},
        {"txn": "u"},
        {"detail": {"profile": "x"}},
        {"intent": None},
        {"intent": replace(INTENT, credential_id="cred-2")},
        {"intent": replace(INTENT, hash_alg="2.16.840.1.101.3.4.2.8")},
        {"intent": replace(INTENT, hash_type="sdr")},
        {"intent": replace(INTENT, sign_count=4)},
        {"intent": replace(INTENT, digests=INTENT.digests[::-1])},
        {"intent": replace(INTENT, digests=INTENT.digests[:2])},
        {"intent": replace(INTENT, digests=(replace(INTENT.digests[0], label="c.pdf"), *INTENT.digests[1:]))},
    ],
)
def test_OAU_10_whatever_changes_changes_the_binding(change: dict[str, Any]) -> None:
    assert binding(**change) != binding()
    assert binding() == binding()
