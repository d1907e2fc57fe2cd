"""The parts that the checks stand on: conditions, offers, categories, and rules of signatures that meet."""

from __future__ import annotations

from dataclasses import replace
from datetime import time
from ipaddress import ip_network

import pytest

from idp.policy.errors import Fault, PolicyLoadError
from idp.policy.evidence import FACTOR_CATEGORIES
from idp.policy.lint import RULES, findings_of, lint
from idp.policy.lint.actions import MAX_FOUND
from idp.policy.lint.assignment import assignable
from idp.policy.lint.documents import DOCUMENTS, document_of, uri_of
from idp.policy.lint.offers import OWN
from idp.policy.lint.scope import MAX_CASES, always, cases
from idp.policy.model import DAYS, Condition, CredentialCondition, TimeCondition
from tests.unit.idp_policy.support import policy

ANY = Condition()
OFFICE = TimeCondition(days=frozenset(DAYS[:5]), start=time(8), end=time(18))


def names(*values: str) -> frozenset[str]:
    return frozenset(values)


SURE = [
    (ANY, ANY),
    (ANY, Condition(clients=names("c"))),
    (Condition(clients=names("c", "d")), Condition(clients=names("c"))),
    (Condition(groups=names("g", "h")), Condition(groups=names("g", "h"))),
    (
        Condition(credential=CredentialCondition(scal=names("1", "2"))),
        Condition(credential=CredentialCondition(scal=names("2"), qualifiers=names("q"))),
    ),
    (
        Condition(attributes={"department": names("legal", "board")}),
        Condition(attributes={"department": names("legal"), "site": names("x")}),
    ),
    (Condition(networks=(ip_network("192.0.2.0/24"),)), Condition(networks=(ip_network("192.0.2.128/25"),))),
    (Condition(networks=(ip_network("2001:db8::/32"),)), Condition(networks=(ip_network("2001:db8:1::/48"),))),
    (
        Condition(networks=(ip_network("192.0.2.0/24"), ip_network("198.51.100.0/24"))),
        Condition(networks=(ip_network("198.51.100.0/25"), ip_network("192.0.2.0/25"))),
    ),
    (Condition(time=OFFICE), Condition(time=OFFICE)),
    (Condition(time=TimeCondition()), ANY),
    (Condition(time=TimeCondition(start=time(8), end=time(8))), ANY),
]

NOT_SURE = [
    (Condition(clients=names("c")), ANY),
    (Condition(clients=names("c")), Condition(clients=names("c", "d"))),
    (Condition(groups=names("g")), Condition(clients=names("g"))),
    (Condition(credential=CredentialCondition(scal=names("2"))), ANY),
    (Condition(credential=CredentialCondition(ids=names("k"))), Condition(credential=CredentialCondition())),
    (
        Condition(credential=CredentialCondition(qualifiers=names("q"))),
        Condition(credential=CredentialCondition(qualifiers=names("r"))),
    ),
    (Condition(attributes={"department": names("legal")}), Condition(attributes={"site": names("legal")})),
    (Condition(networks=(ip_network("192.0.2.0/24"),)), ANY),
    (Condition(networks=(ip_network("192.0.2.0/24"),)), Condition(networks=(ip_network("192.0.0.0/16"),))),
    (
        Condition(networks=(ip_network("192.0.2.0/24"),)),
        Condition(networks=(ip_network("192.0.2.0/25"), ip_network("198.51.100.0/25"))),
    ),
    (Condition(networks=(ip_network("2001:db8::/32"),)), Condition(networks=(ip_network("192.0.2.0/24"),))),
    (Condition(networks=(ip_network("0.0.0.0/0"),)), Condition(networks=(ip_network("2001:db8::/32"),))),
    (Condition(time=OFFICE), ANY),
    (Condition(time=OFFICE), Condition(time=replace(OFFICE, end=time(17)))),
    (Condition(time=TimeCondition(days=frozenset(DAYS[:6]))), ANY),
]


@pytest.mark.parametrize(("when", "given"), SURE)
def test_a_condition_that_is_sure_to_hold(when: Condition, given: Condition) -> None:
    assert always(when, given)


@pytest.mark.parametrize(("when", "given"), NOT_SURE)
def test_a_condition_that_is_not_sure_to_hold(when: Condition, given: Condition) -> None:
    assert not always(when, given)


def test_a_condition_is_taken_apart_into_what_one_request_can_be() -> None:
    credential = CredentialCondition(scal=names("2"), qualifiers=names("p", "q"))
    found = list(cases(Condition(clients=names("c", "d"), groups=names("g"), credential=credential)))
    assert len(found) == 4
    assert all(len(case.clients) == len(case.groups) == 1 for case in found)
    assert {case.credential for case in found} == {
        replace(credential, qualifiers=names("p")),
        replace(credential, qualifiers=names("q")),
    }
    assert list(cases(ANY)) == [ANY]


def test_a_condition_of_very_many_parts_stays_whole() -> None:
    clients, groups = (names(*(f"n{index}" for index in range(count))) for count in (MAX_CASES, 2))
    assert len(list(cases(Condition(clients=clients)))) == MAX_CASES
    whole = Condition(clients=clients, groups=groups)
    assert list(cases(whole)) == [whole]


def test_every_factor_of_our_own_is_offered_once() -> None:
    assert {offer.factor: offer.category for offer in OWN} == FACTOR_CATEGORIES
    assert len(OWN) == len(FACTOR_CATEGORIES)
    for offer in OWN:
        assert offer.always <= offer.possible


def test_every_clause_is_of_a_known_document() -> None:
    assert [clause for rule in RULES for clause in rule.clauses if document_of(clause) is None] == []
    assert uri_of("NIST SP 800-63B-4, 2.2.1") == DOCUMENTS["NIST SP 800-63B-4"]
    assert uri_of("policy language 1, Rules") is None
    assert uri_of("hearsay") is None


def test_every_rule_that_a_fault_may_name_is_in_the_table() -> None:
    rules = [rule.id for rule in RULES if rule.check is None]
    error = PolicyLoadError(tuple(Fault("f", line, 1, "m", rule=name) for line, name in enumerate(rules, 1)))
    assert [item.rule for item in findings_of(error)] == ["L12", "L15", "L16", "L19", "L20"]


SIGN = """\
policy: 1
name: sign
levels:
  - {name: one, any_of: [{all_of: [{factor: password}]}]}
  - {name: two, any_of: [{all_of: [{factor: password}, {factor: totp}]}]}
rules:
"""
FULL = "require: two, evidence: [{category: possession, per_transaction: true}]"


def signing(*rules: str) -> list[tuple[str, int]]:
    """Findings by the number of the rule."""
    text = SIGN + "".join(
        f"  - {{id: r{index}, action: signature.activate, {rule}}}\n" for index, rule in enumerate(rules)
    )
    return [(item.rule, item.where.line - 7) for item in lint(policy(text))]


def test_L21_a_rule_that_always_applies_as_well_is_enough() -> None:
    assert signing(FULL, "when: {group: legal}, require: one") == []
    assert signing("when: {group: legal}, require: two", f"when: {{credential: {{scal: '2'}}}}, {FULL}") == []


def test_L21_rules_for_each_case_of_a_condition_are_enough() -> None:
    rules = (f"when: {{client: c}}, {FULL}", f"when: {{client: d}}, {FULL}")
    assert signing(*rules, "when: {client: [c, d]}, require: two") == []
    assert signing(*rules, "when: {client: [c, d, e]}, require: two") == [("L21", 2)]


def test_L21_a_narrower_rule_is_not_named_beside_the_wider_one() -> None:
    assert signing("when: {group: legal}, require: two", "require: two") == [("L21", 1)]
    assert signing("require: two", "require: two") == [("L21", 0)]


def test_L21_very_many_rules_are_named_one_by_one() -> None:
    assert signing(*["require: two"] * MAX_FOUND) == [("L21", 0)]
    assert len(signing(*["require: two"] * (MAX_FOUND + 1))) == MAX_FOUND + 1


def test_L21_what_is_asked_for_at_some_time_of_day_only_is_not_enough() -> None:
    night = "time: {from: '18:00', to: '08:00'}"
    assert signing("require: two", f"when: {{{night}}}, {FULL}") == [("L21", 0)]


def test_L21_and_L29_say_nothing_of_keys_at_scal1() -> None:
    assert signing("when: {credential: {scal: '1'}}, require: one") == []


def test_L29_two_rules_together_may_ask_for_two_categories() -> None:
    held = "evidence: [{factor: totp, per_transaction: true}]"
    assert signing(f"require: one, {held}") == []
    assert signing("require: one, evidence: [{factor: password, per_transaction: true}]") == [("L29", 0)]
    verified = "evidence: [{factor: passkey, flags: user_verified, per_transaction: true}]"
    assert signing(f"require: one, {verified}") == []


def test_L10_says_nothing_of_passwords_that_are_not_used() -> None:
    text = """\
policy: 1
name: short
factors: {password: {min_length: 6}}
levels:
  - name: aal1
    claims: {nist-800-63b:r4: aal1}
    session_limit: 30d
    any_of: [{all_of: [{factor: totp}]}]
  - name: other
    any_of: [{all_of: [{factor: password}]}]
rules:
  - {id: sign-in, action: sign_in, require: aal1}
"""
    assert lint(policy(text)) == ()


def test_L22_is_silent_where_L3_has_said_it() -> None:
    text = """\
policy: 1
name: known
levels:
  - name: aal2
    claims: {nist-800-63b:r3: aal2}
    session_limit: 12h
    idle_limit: 30m
    any_of: [{all_of: [{factor: password}]}]
rules:
  - {id: sign-in, action: sign_in, require: aal2}
"""
    assert [item.rule for item in lint(policy(text))] == ["L3"]


def test_L17_three_categories_take_one_of_each() -> None:
    text = """\
policy: 1
name: three
upstream:
  - issuer: https://idp.example.org
    cap: all
    max_age: 10m
    mappings:
      - when: {amr: face}
        evidence: [{category: inherence}]
levels:
  - name: all
    any_of:
      - all_of:
          - factor: password
          - factor: totp
          - {category: inherence, issuer: https://idp.example.org}
        different_categories: 3
rules:
  - {id: sign-in, action: sign_in, require: all}
"""
    assert lint(policy(text)) == ()
    without = policy(
        text.replace("factor: totp", "factor: [totp, password]").replace("- factor: password\n", "- factor: hotp\n")
    )
    assert lint(without) == ()
    never = policy(text.replace("category: inherence, issuer", "category: knowledge, issuer"))
    assert [item.rule for item in lint(never)] == ["L14", "L17"]


@pytest.mark.parametrize(
    ("options", "possible"),
    [
        ([], True),
        ([{1}], True),
        ([set()], False),
        ([{1}, {1}], False),
        ([{1, 2}, {1}], True),
        ([{1, 2}, {1, 3}, {1}], True),
        ([{1, 2}, {2, 3}, {3, 1}, {1, 2, 3}], False),
        ([{1, 2}, {1, 2}, {2, 3}, {1}], False),
        ([{1, 2}, {2, 3}, {3, 4}, {1}, {2}], False),
        ([{1, 2}, {2, 3}, {3, 4}, {1}], True),
    ],
)
def test_everybody_has_something_of_their_own_or_not(options: list[set[int]], possible: bool) -> None:
    assert assignable(options) == possible
    assert assignable([*reversed(options)]) == possible


CAPPED = """\
policy: 1
name: capped
upstream:
  - issuer: https://idp.example.org
    cap: basic
    max_age: 10m
    mappings:
      - when: {amr: email}
        evidence: [{category: possession, factor: email_otp}]
levels:
  - name: basic
    any_of:
      - all_of: [{category: possession, issuer: https://idp.example.org}]
  - name: aal2
    claims: {nist-800-63b:r3: aal2}
    session_limit: 12h
    idle_limit: 30m
    any_of:
      - all_of:
          - factor: password
          - {category: possession, without: restricted, flags: phishing_resistant}
      - all_of:
          - factor: password
          - {category: possession, issuer: [https://idp.example.org, https://other.example.org]}
rules:
  - {id: sign-in, action: sign_in, require: aal2}
"""


def test_evidence_that_a_cap_keeps_from_counting_is_no_evidence() -> None:
    """Where the cap is this level, the code that was sent elsewhere by e-mail counts."""
    assert lint(policy(CAPPED)) == ()
    raised = CAPPED.replace("cap: basic", "cap: aal2")
    assert {item.rule for item in lint(policy(raised))} == {"L1", "L17"}


def test_an_alternative_longer_than_any_policys_is_not_counted_in_categories() -> None:
    issuers = [f"https://idp{index}.example.org" for index in range(17)]
    needs = "".join(f"          - {{category: knowledge, issuer: {issuer}}}\n" for issuer in issuers)
    text = f"""\
policy: 1
name: long
levels:
  - name: it
    any_of:
      - all_of:
{needs}        different_categories: 2
rules:
  - {{id: sign-in, action: sign_in, require: it}}
"""
    assert lint(policy(text)) == ()
