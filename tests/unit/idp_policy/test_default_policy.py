"""The shipped default: what a person at the demonstration meets."""

from __future__ import annotations

from pathlib import Path

import pytest

import policies
from idp.authn.roles import MATRIX
from idp.policy.evaluate import evaluate
from idp.policy.keys import SIGN_IN_BAND
from idp.policy.load import ACTIONS, load_policy
from tests.unit.idp_policy.support import MAIL, PHONE, TXN, WORD, facts, used

PATH = Path(policies.__file__).parent / "default.yaml"
DEFAULT = load_policy(PATH)
THREE = {"enrolled": (WORD, PHONE, MAIL), "proofing": "substantial"}


def test_it_is_about_every_action_of_the_product() -> None:
    assert not [action for action in ACTIONS - {SIGN_IN_BAND} if not list(DEFAULT.rules_about(action))]


def test_a_password_signs_in_at_low() -> None:
    decision = evaluate(DEFAULT, facts("sign_in", used("password"), **THREE))
    assert (decision.outcome, decision.loa) == ("allow", "low")
    assert decision.acr == "http://eidas.europa.eu/NotNotified/LoA/low"
    assert (decision.session_limit, decision.idle_limit) == (43200, 3600)


def test_no_notified_level_is_claimed() -> None:
    assert all(uri.startswith("http://eidas.europa.eu/NotNotified/LoA/") for uri in DEFAULT.by_acr)


def test_L1_no_level_with_an_email_code_claims_one_of_nist() -> None:
    assert {claim.framework for level in DEFAULT.levels for claim in level.claims} == {"eidas-2015-1502"}


def test_a_signature_offers_both_codes_and_asks_for_the_password_only_once() -> None:
    decision = evaluate(DEFAULT, facts("signature.activate", used("password", 300), **THREE))
    assert decision.outcome == "step_up"
    assert {option.missing for option in decision.options} == {("email_otp",), ("sms_otp",)}


@pytest.mark.parametrize("factor", ["sms_otp", "email_otp"])
def test_either_code_made_for_this_signature_allows_it(factor: str) -> None:
    code = used(factor, 30, "transaction_bound", transaction=TXN)
    decision = evaluate(DEFAULT, facts("signature.activate", used("password", 300), code, **THREE))
    assert (decision.outcome, decision.loa) == ("allow", "substantial")
    assert decision.acr == "http://eidas.europa.eu/NotNotified/LoA/substantial"
    assert decision.relied_on == (used("password", 300), code)
    assert (decision.session_limit, decision.idle_limit) == (43200, 1800)


def test_L21_a_code_for_another_signature_does_not_serve() -> None:
    for other in ("txn-2", None):
        code = used("sms_otp", 30, transaction=other)
        decision = evaluate(DEFAULT, facts("signature.activate", used("password", 300), code, **THREE))
        assert decision.outcome == "step_up"


@pytest.mark.parametrize("action", sorted(action for action in ACTIONS if action.startswith("credential.")))
def test_L21_a_session_that_stepped_up_once_orders_and_deletes_no_key(action: str) -> None:
    for other in ("txn-2", None):
        decision = evaluate(
            DEFAULT, facts(action, used("password", 300), used("sms_otp", 30, transaction=other), **THREE)
        )
        assert decision.outcome == "step_up"
        assert {option.missing for option in decision.options} == {("email_otp",), ("sms_otp",)}
    code = used("sms_otp", 30, "transaction_bound", transaction=TXN)
    assert evaluate(DEFAULT, facts(action, used("password", 300), code, **THREE)).outcome == "allow"


def test_a_code_without_the_password_does_not_sign() -> None:
    code = used("sms_otp", 30, "transaction_bound", transaction=TXN)
    decision = evaluate(DEFAULT, facts("signature.activate", code, **THREE))
    assert [option.missing for option in decision.options] == [("password",)]


@pytest.mark.parametrize("action", sorted(ACTIONS - {"sign_in", SIGN_IN_BAND}))
def test_a_password_alone_does_nothing_but_sign_in(action: str) -> None:
    assert evaluate(DEFAULT, facts(action, used("password"), **THREE)).outcome == "step_up"


def test_a_weakly_proofed_person_cannot_sign() -> None:
    code = used("sms_otp", 30, transaction=TXN)
    decision = evaluate(DEFAULT, facts("signature.activate", used("password"), code, **{**THREE, "proofing": "low"}))
    assert (decision.outcome, decision.refusal) == ("deny", "proofing")


def test_administration_asks_for_the_second_factor_again_after_an_hour() -> None:
    word = used("password", 4000)
    fresh, old = used("sms_otp", 3600), used("sms_otp", 3601)
    assert evaluate(DEFAULT, facts("admin.view", word, fresh, **THREE)).outcome == "allow"
    decision = evaluate(DEFAULT, facts("admin.view", word, old, **THREE))
    assert [option.missing for option in decision.options] == [("email_otp",), ("sms_otp",)]


@pytest.mark.parametrize("action", sorted(access.action for access in MATRIX.values() if access.changes))
def test_a_session_that_stepped_up_changes_nothing_of_the_administration(action: str) -> None:
    word = used("password")
    assert evaluate(DEFAULT, facts(action, word, used("sms_otp", 30), **THREE)).outcome == "step_up"
    made_for_it = used("sms_otp", 30, transaction=TXN)
    assert evaluate(DEFAULT, facts(action, word, made_for_it, **THREE)).outcome == "allow"
