"""Evaluation: each branch of each step."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from idp.policy.errors import FactsInvalid
from idp.policy.evaluate import evaluate, join
from idp.policy.model import CredentialFacts, Decision, EnrolledFactor, Facts, Reason, StepUpOption
from tests.unit.idp_policy.support import (
    CARD,
    EVERYTHING,
    FILE,
    KEY,
    MAIL,
    NOW,
    PHONE,
    POLICY,
    TXN,
    WORD,
    enrolled,
    facts,
    policy,
    used,
)

SAMPLE = policy()
QUALIFIED = CredentialFacts("key-1", "2", "eu_eidas_qes")


def decide(action: str, *evidence: Any, **changes: Any) -> Decision:
    """The sample policy's decision."""
    return evaluate(SAMPLE, facts(action, *evidence, **changes))


def missing(decision: Decision) -> list[tuple[str, ...]]:
    """What each option asks for."""
    return [option.missing for option in decision.options]


def texts(decision: Decision, contributor: str) -> list[str]:
    """The reasons that a contributor brought in."""
    return [reason.text for reason in decision.reasons if reason.contributor == contributor]


def line_of(text: str) -> int:
    """The line of the sample policy that has the text."""
    assert POLICY.count(text) == 1
    return POLICY[: POLICY.index(text)].count("\n") + 1


# 1. Rules


def test_what_no_rule_is_about_is_refused() -> None:
    decision = decide("credential.create", *(used(item.factor) for item in EVERYTHING))

    assert (decision.outcome, decision.refusal, decision.required) == ("deny", "no_rule", ())
    assert decision.reasons == (
        Reason(
            "default",
            FILE,
            line_of("  - id: sign-in"),
            "No rule is about 'credential.create' under these circumstances; what no rule allows is refused.",
            "policy",
        ),
    )


def test_a_rule_whose_condition_fails_is_no_rule() -> None:
    text = POLICY.replace(
        "action: sign_in\n    require: low", "action: sign_in\n    when: {client: x}\n    require: low"
    )
    only_for_x = policy(text)
    assert evaluate(only_for_x, facts("sign_in", used("password"))).refusal == "no_rule"
    assert evaluate(only_for_x, facts("sign_in", used("password"), client_id="x")).outcome == "allow"


@pytest.mark.parametrize(
    ("changes", "required", "rules"),
    [
        ({}, ("low",), ["sign-in"]),
        ({"client_id": "someone-else"}, ("low",), ["sign-in"]),
        ({"client_id": "example-contracts"}, ("substantial",), ["sign-in", "partner"]),
        ({"groups": frozenset({"board", "chess"})}, ("substantial",), ["sign-in", "lawyers"]),
        ({"groups": frozenset({"chess"})}, ("low",), ["sign-in"]),
    ],
)
def test_the_floor_is_the_join_of_all_rules_that_apply(
    changes: dict[str, Any], required: tuple[str, ...], rules: list[str]
) -> None:
    decision = decide("sign_in", used("password"), **changes)

    assert decision.required == required
    assert [reason.rule for reason in decision.reasons if reason.rule in rules] == rules


@pytest.mark.parametrize(
    ("credential", "client", "required"),
    [
        (None, None, ("substantial",)),
        (QUALIFIED, None, ("high",)),
        (CredentialFacts("key-1", "1", "eu_eidas_qes"), None, ("substantial",)),
        (CredentialFacts("key-1", "2", "eu_eidas_aes"), None, ("substantial",)),
        (CredentialFacts("key-1", "2"), None, ("substantial",)),
        (CredentialFacts("key-9", "1"), "example-contracts", ("high",)),
        (CredentialFacts("key-9", "1"), None, ("substantial",)),
    ],
)
def test_a_credential_raises_the_floor(
    credential: CredentialFacts | None, client: str | None, required: tuple[str, ...]
) -> None:
    assert decide("signature.activate", credential=credential, client_id=client).required == required


def test_each_rule_says_who_brought_it_in() -> None:
    decision = decide(
        "signature.activate", credential=CredentialFacts("key-9", "2", "eu_eidas_qes"), client_id="example-contracts"
    )

    rules = [(reason.rule, reason.contributor) for reason in decision.reasons if reason.text.startswith("Rule ")]
    assert rules == [
        ("partner", "client"), ("sign", "policy"), ("qualified", "credential"), ("one-key", "client+credential"),
    ]  # fmt: skip


def test_a_rule_speaks_in_plain_words_and_names_its_line() -> None:
    decision = decide("sign_in", used("password"), groups=frozenset({"legal"}))

    assert decision.reasons[1] == Reason(
        "lawyers",
        FILE,
        line_of("  - id: lawyers"),
        "Rule 'lawyers' asks for level 'substantial' (two factors) and 'low'. They see privileged papers.",
        "group",
    )


# 2. and 4. Levels from evidence


def test_a_password_signs_in() -> None:
    decision = decide("sign_in", used("password", 60))

    assert decision == Decision(
        outcome="allow",
        required=("low",),
        reached=("low",),
        acr="urn:example:low",
        loa="low",
        amr=("pwd",),
        relied_on=(used("password", 60),),
        auth_time=NOW - timedelta(seconds=60),
        session_limit=43200,
        idle_limit=None,
        options=(),
        reasons=(
            Reason("sign-in", FILE, line_of("  - id: sign-in"), "Rule 'sign-in' asks for level 'low'.", "policy"),
            Reason(
                "level:low", FILE, line_of("- name: low"),
                "Level 'low' is reached: password of 2026-03-02 09:59:00Z.", "evidence",
            ),
        ),
    )  # fmt: skip


def test_the_strongest_level_reached_is_named_with_all_the_evidence_it_rests_on() -> None:
    decision = decide("sign_in", used("password", 600), used("totp", 60))

    assert decision.acr == "urn:example:substantial"
    assert decision.loa == "substantial"
    assert decision.amr == ("pwd", "otp", "mfa")
    assert decision.relied_on == (used("password", 600), used("totp", 60))
    assert decision.auth_time == NOW - timedelta(seconds=600)
    assert (decision.session_limit, decision.idle_limit) == (28800, 1800)


def test_a_stronger_level_counts_as_the_weaker_ones_it_implies() -> None:
    decision = decide("sign_in", used("passkey", 5, "user_verified"))

    assert decision.outcome == "allow"
    assert decision.reached == ("low", "substantial")
    assert (
        "Level 'low' is reached by way of level 'substantial' (two factors): passkey of 2026-03-02 09:59:55Z."
        in texts(decision, "evidence")
    )


def test_a_passkey_without_user_verification_is_not_two_factors() -> None:
    sure = policy(POLICY.replace("            flags: user_verified\n        different", "        different"))

    decision = evaluate(sure, facts("documents", enrolled=()))
    assert decision.outcome == "deny"
    assert evaluate(sure, facts("sign_in", used("passkey", 0), enrolled=())).outcome == "deny"
    assert evaluate(sure, facts("sign_in", used("passkey", 0, "user_verified"), enrolled=())).outcome == "allow"


def test_evidence_counts_up_to_its_freshness_and_no_longer() -> None:
    pair = used("totp", 10)
    assert "substantial" in decide("sign_in", used("password", 3600), pair).reached
    assert "substantial" not in decide("sign_in", used("password", 3601), pair).reached


def test_the_tighter_of_two_limits_holds() -> None:
    both = policy(
        POLICY.replace("            flags: user_verified\n        diff", "            max_age: 1m\n        diff")
        .replace("        different_categories: 2\n  - name: high", "  - name: high")
        .replace("            max_age: 1m\n        different_categories: 2\n", "            max_age: 1m\n")
    )
    assert "substantial" in evaluate(both, facts("sign_in", used("passkey", 60))).reached
    assert "substantial" not in evaluate(both, facts("sign_in", used("passkey", 61))).reached


def test_an_expired_level_lowers_the_session_and_does_not_end_it() -> None:
    decision = decide("sign_in", used("password", 7200), used("totp", 7200))
    assert (decision.outcome, decision.reached, decision.acr) == ("allow", ("low",), "urn:example:low")


def test_evidence_from_the_future_is_not_believed_beyond_the_skew_of_clocks() -> None:
    assert decide("sign_in", used("password", -5)).outcome == "allow"
    decision = decide("sign_in", used("password", -6))
    assert decision.outcome == "step_up"
    assert "The password of 2026-03-02 10:00:06Z does not count: its time lies in the future." in texts(
        decision, "evidence"
    )


def test_a_level_without_acr_is_not_named_and_claims_nothing() -> None:
    decision = decide("credential.delete", used("hotp"))
    assert (decision.outcome, decision.acr, decision.loa, decision.session_limit) == ("allow", "0", None, None)
    assert decision.relied_on == (used("hotp"),)


def test_evidence_of_another_issuer_counts_only_where_the_policy_names_it() -> None:
    stranger = used("upstream", 10, category="knowledge", issuer="https://other.example.org")
    partner = used("upstream", 10, category="knowledge", issuer="https://login.example.org")
    late = used("upstream", 301, category="knowledge", issuer="https://login.example.org")
    word = used("password")

    assert decide("document.read", word, partner).outcome == "allow"
    for other in (stranger, late):
        assert decide("document.read", word, other).outcome == "deny"
    assert decide("sign_in", used("password", issuer="https://login.example.org")).outcome == "step_up"


def test_a_linked_provider_is_offered_like_a_factor() -> None:
    link = enrolled("upstream", category="knowledge", issuer="https://login.example.org")
    assert missing(decide("document.read", used("password"), enrolled=(link,))) == [("upstream",)]


def test_flags_asked_for_and_flags_excluded() -> None:
    good = ("user_verified", "attested")
    assert "high" in decide("admin.users", used("certificate", 0, *good)).reached
    assert "high" not in decide("admin.users", used("certificate", 0, "attested")).reached
    assert "high" not in decide("admin.users", used("certificate", 0, *good, "backup_eligible")).reached
    assert "high" not in decide("admin.users", used("certificate", 0, *good, category="knowledge")).reached


def test_two_requirements_are_not_met_by_one_authenticator() -> None:
    text = POLICY.replace("[{factor: hotp}]", "[{category: possession}, {factor: [totp, hotp]}]")
    two = policy(text)
    assert "unnamed" not in evaluate(two, facts("credential.delete", used("totp"))).reached
    # The first requirement has to leave the code to the second one.
    assert "unnamed" in evaluate(two, facts("credential.delete", used("totp"), used("sms_otp", 5))).reached
    note = "(each is there, but not from enough different factors or categories)"
    assert any(note in text for text in texts(evaluate(two, facts("credential.delete", used("totp"))), "evidence"))


def test_a_second_category_is_asked_for_even_if_two_factors_are_there() -> None:
    text = POLICY.replace(
        "[{factor: hotp}]", "[{factor: hotp}, {factor: [totp, password]}]\n        different_categories: 2"
    )
    two = policy(text)
    assert "unnamed" not in evaluate(two, facts("credential.delete", used("hotp"), used("totp"))).reached
    assert "unnamed" in evaluate(two, facts("credential.delete", used("hotp"), used("totp"), used("password"))).reached


def test_a_level_needs_its_proofing() -> None:
    decision = decide("admin.users", used("certificate", 0, "user_verified", "attested"), proofing="substantial")

    assert (decision.outcome, decision.refusal) == ("deny", "proofing")
    assert texts(decision, "person") == [
        "Level 'high' needs a person whose identity was proofed at 'high'; this person's was at 'substantial'."
    ]
    assert not [text for text in texts(decision, "evidence") if "not reached" in text]


def test_proofing_and_evidence_may_both_be_missing() -> None:
    decision = decide("sign_in", used("password"), client_id="example-contracts", proofing="none")

    assert decision.refusal == "proofing"
    assert len(texts(decision, "person")) == 1
    assert any("is not reached by its evidence" in text for text in texts(decision, "evidence"))


# Evidence for one transaction


def test_a_signature_needs_evidence_of_this_very_transaction() -> None:
    word = used("password", 60)
    for other in (used("sms_otp", 5), used("sms_otp", 5, transaction="txn-2")):
        decision = decide("signature.activate", word, other)
        assert decision.outcome == "step_up"
        assert "substantial" in decision.reached
        assert ("sms_otp",) in missing(decision)
        assert any("was not made for this transaction" in text for text in texts(decision, "evidence"))
    decision = decide("signature.activate", word, used("sms_otp", 5, transaction=TXN))
    assert decision.outcome == "allow"
    assert decision.amr == ("pwd", "otp", "sms", "mfa")


def test_SES_06_an_approval_of_one_transaction_says_nothing_about_another() -> None:
    word = used("password", 60)
    approval = used("sms_otp", 5, "transaction_bound", transaction="txn-2")

    decision = decide("signature.activate", word, approval)

    assert decision.reached == ("low",)
    assert "The SMS code of 2026-03-02 09:59:55Z does not count: it was made for another transaction only." in texts(
        decision, "evidence"
    )
    assert "substantial" in decide("signature.activate", word, approval, transaction="txn-2").reached


def test_without_a_transaction_nothing_is_made_for_it() -> None:
    decision = decide("signature.activate", used("password"), used("sms_otp"), transaction=None)
    assert (decision.outcome, decision.refusal) == ("deny", "unreachable")


def test_evidence_of_this_transaction_ages_as_well() -> None:
    word = used("password", 60)
    assert decide("signature.activate", word, used("sms_otp", 600, transaction=TXN)).outcome == "allow"
    decision = decide("signature.activate", word, used("sms_otp", 601, transaction=TXN))
    assert decision.outcome == "step_up"
    assert any("the SMS code of 2026-03-02 09:49:59Z is too old" in text for text in texts(decision, "evidence"))


def test_a_factor_that_can_bind_is_offered_without_a_transaction_too() -> None:
    phone = enrolled("sms_otp", "transaction_bound")
    decision = decide("sign_in", used("password"), transaction=None, enrolled=(phone,), client_id="example-contracts")
    assert missing(decision) == [("sms_otp",)]


# 3. Request


def test_an_acr_value_raises_and_is_echoed() -> None:
    decision = decide("sign_in", used("password"), acr_values=("urn:example:substantial",))
    assert (decision.outcome, decision.required) == ("step_up", ("substantial",))

    decision = decide("sign_in", used("password"), used("totp"), acr_values=("urn:example:substantial",))
    assert (decision.outcome, decision.acr) == ("allow", "urn:example:substantial")
    assert texts(decision, "request") == [
        "The request asks for 'urn:example:substantial': level 'substantial' (two factors) is added to what the rules "
        "ask for."
    ]


def test_OAU_12_an_acr_value_never_lowers_the_floor() -> None:
    decision = decide("sign_in", used("password"), acr_values=("urn:example:low",), client_id="example-contracts")
    assert (decision.outcome, decision.required) == ("step_up", ("substantial",))
    assert texts(decision, "request") == [
        "The request asks for 'urn:example:low', level 'low', which is less than the rules ask for."
    ]


def test_an_acr_value_below_the_floor_is_passed_over_for_the_next_one() -> None:
    asked = ("urn:example:low", "urn:example:substantial")
    decision = decide("sign_in", used("password"), used("totp"), acr_values=asked, client_id="example-contracts")
    assert (decision.outcome, decision.acr) == ("allow", "urn:example:substantial")


def test_the_very_value_asked_for_is_echoed() -> None:
    asked = ("urn:example:low:alias", "urn:example:low")
    assert decide("sign_in", used("password"), used("totp"), acr_values=asked).acr == "urn:example:low:alias"


def test_the_first_value_that_can_be_had_wins() -> None:
    asked = ("urn:example:unknown", "urn:example:high", "urn:example:substantial")
    decision = decide("sign_in", used("password"), acr_values=asked, enrolled=(WORD, PHONE))
    assert decision.required == ("substantial",)
    assert texts(decision, "request")[:2] == [
        "The request asks for 'urn:example:unknown', which expresses no level of this policy.",
        "The request asks for 'urn:example:high', level 'high', which this person cannot reach.",
    ]
    assert decide("sign_in", used("password"), acr_values=asked).required == ("high",)


def test_a_voluntary_value_that_cannot_be_had_is_let_go() -> None:
    decision = decide("sign_in", used("password"), acr_values=("urn:example:high",), enrolled=(WORD,))
    assert (decision.outcome, decision.acr, decision.required) == ("allow", "urn:example:low", ("low",))


def test_more_evidence_does_not_bring_a_voluntary_value_within_reach_that_enrolment_alone_does_not() -> None:
    asked = {"acr_values": ("urn:example:substantial",), "enrolled": (PHONE,)}
    assert decide("credential.delete", used("hotp"), **asked).outcome == "allow"
    assert decide("credential.delete", used("hotp"), used("password"), **asked).outcome == "allow"


def test_a_value_beside_the_floor_is_joined_to_it() -> None:
    text = POLICY.replace("  - name: federated\n", "  - name: federated\n    acr: urn:example:federated\n")
    link = enrolled("upstream", category="knowledge", issuer="https://login.example.org")
    asked = {"acr_values": ("urn:example:federated",), "enrolled": (WORD, link)}

    decision = evaluate(policy(text), facts("sign_in", used("password"), **asked))
    assert decision.required == ("low", "federated")
    assert decision.options == (StepUpOption("low+federated", ("upstream",)),)

    login = used("upstream", 0, category="knowledge", issuer="https://login.example.org")
    decision = evaluate(policy(text), facts("sign_in", used("password"), login, **asked))
    assert (decision.outcome, decision.acr) == ("allow", "urn:example:federated")


def test_OAU_12_an_essential_value_that_cannot_be_had_is_an_error_not_a_lower_level() -> None:
    decision = decide("sign_in", used("password"), essential_acr=("urn:example:high",), enrolled=(WORD,))
    assert (decision.outcome, decision.refusal) == ("deny", "unmet_request")
    assert texts(decision, "request")[-1] == (
        "The request insists on an acr that cannot be given; nothing less may be given instead."
    )


def test_a_class_reference_that_the_policy_does_not_have_is_unmet() -> None:
    decision = decide("sign_in", used("password"), essential_acr=("urn:example:unknown",))
    assert (decision.outcome, decision.refusal) == ("deny", "unmet_request")


def test_an_essential_value_displaces_voluntary_ones() -> None:
    decision = decide(
        "sign_in", used("password"), essential_acr=("urn:example:substantial",), acr_values=("urn:example:high",)
    )
    assert decision.required == ("substantial",)


def test_an_essential_value_below_the_floor_is_echoed_once_the_floor_is_reached() -> None:
    asked = {"essential_acr": ("urn:example:low",), "client_id": "example-contracts"}
    assert decide("sign_in", used("password"), **asked).outcome == "step_up"
    decision = decide("sign_in", used("password"), used("totp"), **asked)
    assert (decision.outcome, decision.acr, decision.required) == ("allow", "urn:example:low", ("substantial",))


def test_an_unmet_floor_is_told_before_an_unmet_request() -> None:
    decision = decide("admin.users", essential_acr=("urn:example:unknown",), enrolled=(WORD,))
    assert decision.refusal == "unreachable"


def test_max_age_makes_old_evidence_count_for_nothing() -> None:
    assert decide("sign_in", used("password", 300), max_age=300).outcome == "allow"
    decision = decide("sign_in", used("password", 301), max_age=300)
    assert decision.outcome == "step_up"
    assert ("password",) in missing(decision)
    assert texts(decision, "request") == [
        "The password of 2026-03-02 09:54:59Z does not count: the request asks for something newer."
    ]


def test_max_age_holds_for_evidence_of_this_transaction_too() -> None:
    assert decide("sign_in", used("password", 31, transaction=TXN), max_age=30).outcome == "step_up"
    assert decide("sign_in", used("password", 30, transaction=TXN), max_age=30).outcome == "allow"


@pytest.mark.parametrize("request_", [{"force_reauthentication": True}, {"max_age": 0}])
def test_a_new_authentication_is_one_made_for_this_transaction(request_: dict[str, Any]) -> None:
    decision = decide("sign_in", used("password", 0), **request_)
    assert decision.outcome == "step_up"
    assert texts(decision, "request") == [
        "The password of 2026-03-02 10:00:00Z does not count: the request asks for a new authentication."
    ]
    assert decide("sign_in", used("password", 9, transaction=TXN), **request_).outcome == "allow"
    assert decide("sign_in", used("password", 9, transaction="txn-2"), **request_).outcome == "step_up"


def test_a_new_authentication_needs_a_transaction_to_be_made_for() -> None:
    for request_ in ({"force_reauthentication": True}, {"max_age": 0}):
        decision = decide("sign_in", transaction=None, **request_)
        assert (decision.outcome, decision.refusal) == ("deny", "unreachable")
        assert texts(decision, "person") == [
            "The request asks for a new authentication, but there is no transaction it could be made for."
        ]


# 5. Step-up


def test_the_cheapest_set_is_offered_first_then_phishing_resistant_then_unrestricted() -> None:
    decision = decide("sign_in", client_id="example-contracts")
    assert missing(decision) == [
        ("passkey",), ("certificate",), ("password", "email_otp"), ("password", "sms_otp"),
    ]  # fmt: skip
    assert {option.level for option in decision.options} == {"substantial"}


def test_only_enrolled_factors_are_offered() -> None:
    assert missing(decide("sign_in", client_id="example-contracts", enrolled=(WORD, MAIL))) == [
        ("password", "email_otp")
    ]


def test_nothing_enrolled_that_helps_is_a_refusal() -> None:
    decision = decide("sign_in", used("password"), client_id="example-contracts", enrolled=(WORD,))
    assert (decision.outcome, decision.refusal, decision.options) == ("deny", "unreachable", ())
    assert texts(decision, "person") == ["The factors that this person has enrolled cannot supply what is missing."]


def test_a_fresh_factor_is_not_asked_for_again() -> None:
    assert missing(decide("sign_in", used("password", 60), client_id="example-contracts", enrolled=(WORD, PHONE))) == [
        ("sms_otp",)
    ]


def test_a_factor_that_is_no_longer_fresh_is_asked_for_again() -> None:
    decision = decide(
        "sign_in", used("password", 4000), used("sms_otp", 60), client_id="example-contracts", enrolled=(WORD, PHONE)
    )
    assert missing(decision) == [("password",)]


def test_the_password_is_asked_for_before_a_message_is_sent() -> None:
    decision = decide("sign_in", client_id="example-contracts", enrolled=(PHONE, WORD))
    assert missing(decision) == [("password", "sms_otp")]


def test_one_step_serves_the_level_and_the_rule_at_once() -> None:
    decision = decide("signature.activate", used("password", 60), enrolled=(WORD, PHONE, MAIL))
    assert decision.options == (StepUpOption("substantial", ("email_otp",)), StepUpOption("substantial", ("sms_otp",)))


def test_evidence_for_the_rule_alone_is_offered_from_any_factor_that_fits() -> None:
    decision = decide("signature.activate", used("password"), used("totp"), enrolled=(WORD, enrolled("mobile_id")))
    assert missing(decision) == [("mobile_id",)]


def test_the_same_kind_twice_is_one_option() -> None:
    plain = EnrolledFactor("passkey", "possession")
    decision = decide("sign_in", client_id="example-contracts", enrolled=(plain, KEY, KEY))
    assert missing(decision) == [("passkey",)]


def test_high_is_offered_by_the_card() -> None:
    decision = decide("signature.activate", used("password"), credential=QUALIFIED)
    assert decision.options == (StepUpOption("high", ("certificate",)),)
    assert any(
        "'substantial'" not in text and "is not reached by its evidence" in text for text in texts(decision, "evidence")
    )


def test_a_level_that_others_imply_says_so_when_it_is_missed() -> None:
    decision = decide("sign_in")
    assert any(
        text.endswith("Nor is a level that implies it reached (substantial, high).")
        for text in texts(decision, "evidence")
    )


def test_a_refusal_or_a_step_up_sets_no_session_limits() -> None:
    for decision in (decide("sign_in"), decide("admin.users", used("password"), enrolled=())):
        assert (decision.session_limit, decision.idle_limit) == (None, None)


# Values


def test_join_keeps_what_nothing_else_implies() -> None:
    assert join(SAMPLE, ("low", "high", "substantial")) == ("high",)
    assert join(SAMPLE, ("federated", "low", "low")) == ("low", "federated")
    assert join(SAMPLE, ()) == ()


def test_facts_must_make_sense() -> None:
    for change in (
        {"now": datetime(2026, 1, 1)},  # noqa: DTZ001 - the misuse
        {"now": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))},
        {"max_age": -1},
    ):
        with pytest.raises(FactsInvalid):
            facts("sign_in", **change)
    with pytest.raises(FactsInvalid, match="unknown factor 'charm'"):
        EnrolledFactor("charm", "knowledge")
    with pytest.raises(FactsInvalid, match="unknown flags"):
        EnrolledFactor("totp", "possession", frozenset({"nice"}))


def test_facts_need_no_more_than_action_evidence_and_time() -> None:
    assert evaluate(SAMPLE, Facts("sign_in", (), NOW)).refusal == "unreachable"


def test_the_card_is_relied_on_for_high_and_everything_below() -> None:
    card = used("certificate", 5, *CARD.flags, transaction=TXN)
    decision = decide("signature.activate", card, credential=QUALIFIED)
    assert (decision.outcome, decision.reached, decision.loa) == ("allow", ("low", "substantial", "high"), "high")
    assert decision.amr == ("pop", "hwk", "mfa")
