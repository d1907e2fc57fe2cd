"""SAML's comparisons over levels that are partly ordered, and of several frameworks."""

from __future__ import annotations

import pytest

from idp.policy.comparison import (
    COMPARISONS,
    Candidate,
    Comparison,
    Matched,
    NoAuthnContext,
    RequestedContext,
    eidas_comparison,
    match,
)
from idp.policy.errors import RequestedContextInvalid
from idp.policy.load import parse_policy
from idp.policy.model import Policy

LOW, SUBSTANTIAL, HIGH = (f"http://eidas.europa.eu/NotNotified/LoA/{name}" for name in ("low", "substantial", "high"))
MFA, AAL2 = "https://refeds.org/profile/mfa", "urn:example:aal2"
UNKNOWN = "urn:oasis:names:tc:SAML:2.0:ac:classes:Kerberos"

POLICY = f"""\
policy: 1
name: federation
implies:
  - {{from: nist-800-63b:r4/aal2, to: eidas-2015-1502/substantial}}
levels:
  - name: low
    claims: {{eidas-2015-1502: low}}
    saml: [{LOW}, urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport]
    proofing: low
    any_of: [{{all_of: [{{factor: password}}]}}]
  - name: substantial
    claims: {{eidas-2015-1502: substantial}}
    saml: [{SUBSTANTIAL}]
    implies: low
    proofing: substantial
    any_of: [{{all_of: [{{factor: password}}, {{factor: totp}}], different_categories: 2}}]
  - name: aal2
    claims: {{nist-800-63b:r4: aal2}}
    saml: [{AAL2}]
    proofing: substantial
    any_of: [{{all_of: [{{factor: passkey, flags: user_verified}}], different_categories: 2}}]
  - name: mfa
    saml: [{MFA}]
    any_of: [{{all_of: [{{factor: password}}, {{factor: sms_otp}}]}}]
  - name: high
    claims: {{eidas-2015-1502: high}}
    saml: [{HIGH}]
    implies: substantial
    proofing: high
    any_of: [{{all_of: [{{factor: certificate, flags: user_verified}}], different_categories: 2}}]
  - name: mute
    implies: high
    proofing: high
    any_of: [{{all_of: [{{factor: hotp}}]}}]
rules:
  - {{id: sign-in, action: sign_in, require: low}}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    return parse_policy(POLICY.encode(), "federation.yaml")


def asked(comparison: Comparison, *refs: str) -> RequestedContext:
    return RequestedContext(refs, comparison)


def names(result: Matched | NoAuthnContext) -> list[str]:
    return [item.level for item in result.candidates]


def test_a_request_without_a_comparison_is_exact(policy: Policy) -> None:
    assert RequestedContext((LOW,)).comparison == "exact"
    found = match(policy, RequestedContext((SUBSTANTIAL, LOW)))
    assert isinstance(found, Matched)
    assert found.candidates == (Candidate("substantial", SUBSTANTIAL), Candidate("low", LOW))
    assert found.chosen == Candidate("substantial", SUBSTANTIAL), "the first is the most preferred"


def test_exact_echoes_the_very_reference_that_was_asked_for(policy: Policy) -> None:
    alias = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
    found = match(policy, asked("exact", alias))
    assert isinstance(found, Matched)
    assert found.candidates == (Candidate("low", alias),)


def test_minimum_takes_the_level_itself_then_the_weakest_above_it(policy: Policy) -> None:
    assert names(match(policy, asked("minimum", LOW))) == ["low", "substantial", "aal2", "high"]
    assert names(match(policy, asked("minimum", HIGH))) == ["high"]


def test_better_leaves_the_level_itself_out(policy: Policy) -> None:
    assert names(match(policy, asked("better", SUBSTANTIAL))) == ["aal2", "high"]
    found = match(policy, asked("better", HIGH))
    assert isinstance(found, NoAuthnContext)
    assert found.cause == "nothing_compares", "the level above it has no reference by which it could be told"


def test_better_than_one_of_several_is_enough(policy: Policy) -> None:
    assert names(match(policy, asked("better", SUBSTANTIAL, LOW))) == ["aal2", "high", "substantial"]


def test_maximum_takes_the_strongest_that_does_not_exceed_one(policy: Policy) -> None:
    assert names(match(policy, asked("maximum", SUBSTANTIAL))) == ["substantial", "low"]
    assert names(match(policy, asked("maximum", LOW, MFA))) == ["low", "mfa"]
    found = match(policy, asked("maximum", HIGH), reachable=lambda level: level in {"low", "substantial"})
    assert isinstance(found, Matched)
    assert found.chosen.level == "substantial", "as strong as possible"


def test_what_is_unordered_is_never_compared(policy: Policy) -> None:
    for comparison in COMPARISONS:
        expected = [] if comparison == "better" else ["mfa"]
        assert names(match(policy, asked(comparison, MFA))) == expected
        assert "mfa" not in names(match(policy, asked(comparison, LOW)))


def test_an_edge_between_frameworks_answers_a_minimum_with_the_levels_own_reference(policy: Policy) -> None:
    found = match(policy, asked("minimum", SUBSTANTIAL), reachable=lambda level: level == "aal2")
    assert isinstance(found, Matched)
    assert found.chosen == Candidate("aal2", AAL2), "what was reached, not what was asked for"
    assert names(match(policy, asked("minimum", AAL2))) == ["aal2"], "an edge has one direction"
    assert not policy.implies("aal2", "substantial"), "to the floors it is nothing"


def test_an_edge_counts_for_nothing_with_less_identity_proofing() -> None:
    weaker = POLICY.replace(f"saml: [{AAL2}]\n    proofing: substantial", f"saml: [{AAL2}]\n    proofing: low")
    policy = parse_policy(weaker.encode(), "federation.yaml")
    # eIDAS low is still met: the framework's own order leads there, and its proofing is no less
    assert names(match(policy, asked("minimum", SUBSTANTIAL))) == ["substantial", "high"]
    assert set(names(match(policy, asked("minimum", LOW)))) == {"low", "aal2", "substantial", "high"}


def test_an_edge_never_turns_round_what_the_levels_imply() -> None:
    wrong = POLICY.replace("{from: nist-800-63b:r4/aal2, to: eidas-2015-1502/substantial}",
                           "{from: eidas-2015-1502/low, to: nist-800-63b:r4/aal2}")  # fmt: skip
    wrong = wrong.replace("implies: low\n    proofing: substantial", "implies: [low, aal2]\n    proofing: substantial")
    was, becomes = "proofing: substantial", "proofing: low\n    implies: low"
    wrong = wrong.replace(f"saml: [{AAL2}]\n    {was}", f"saml: [{AAL2}]\n    {becomes}")
    policy = parse_policy(wrong.encode(), "federation.yaml")
    assert set(policy.by_name["aal2"].claims) <= policy.claims_of("low"), "so the file says of the frameworks"
    assert names(match(policy, asked("minimum", AAL2))) == ["aal2", "substantial", "high"]


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_OAU_12_a_class_reference_that_is_not_in_the_policy_is_answered_by_nothing(
    policy: Policy, comparison: Comparison
) -> None:
    found = match(policy, asked(comparison, UNKNOWN))
    assert found == NoAuthnContext("unknown_reference", (), comparison, (UNKNOWN,))
    beside = match(policy, asked(comparison, UNKNOWN, SUBSTANTIAL, UNKNOWN))
    assert beside.unknown == (UNKNOWN,)
    assert beside.candidates == match(policy, asked(comparison, SUBSTANTIAL)).candidates


def test_what_nobody_can_be_brought_to_is_no_context(policy: Policy) -> None:
    found = match(policy, asked("minimum", SUBSTANTIAL), reachable=lambda level: level == "low")
    assert isinstance(found, NoAuthnContext)
    assert found.cause == "unreachable"
    assert names(found) == ["substantial", "aal2", "high"], "for the record"


def test_an_operator_sets_the_comparison_for_a_relying_party(policy: Policy) -> None:
    found = match(policy, asked("exact", LOW), override="minimum")
    assert found.comparison == "minimum"
    assert names(found) == names(match(policy, asked("minimum", LOW)))


def test_a_requested_context_has_a_reference_and_a_comparison_that_there_is() -> None:
    with pytest.raises(RequestedContextInvalid):
        RequestedContext(())
    with pytest.raises(RequestedContextInvalid):
        RequestedContext((LOW,), "at-least")  # type: ignore[arg-type] # what a message may say


def test_the_eidas_network_asks_minimum_of_notified_levels_and_exact_of_others(policy: Policy) -> None:
    notified = "http://eidas.europa.eu/LoA/substantial"
    assert eidas_comparison((notified,)) == "minimum"
    assert eidas_comparison((SUBSTANTIAL, HIGH)) == "exact"
    assert eidas_comparison((notified, SUBSTANTIAL)) == "exact"
    # ours is not notified: a request for a notified level finds nothing, whatever its comparison
    for comparison in COMPARISONS:
        assert isinstance(match(policy, asked(comparison, notified)), NoAuthnContext)
    # and a level that is not notified is answered by itself alone
    refs = (SUBSTANTIAL, HIGH)
    assert names(match(policy, asked(eidas_comparison(refs), *refs))) == ["substantial", "high"]
    statement = "notified: true\n    statement: 'OJ C 1, 1.1.2026, p. 1'\n    saml"
    notifying = POLICY.replace("NotNotified/LoA/", "LoA/").replace("saml: [http://eidas", f"{statement}: [http://eidas")
    network = parse_policy(notifying.encode(), "notified.yaml")
    found = match(network, asked(eidas_comparison((notified,)), notified), reachable=lambda level: level == "high")
    assert isinstance(found, Matched)
    assert found.chosen == Candidate("high", "http://eidas.europa.eu/LoA/high")
