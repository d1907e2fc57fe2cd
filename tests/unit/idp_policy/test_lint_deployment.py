"""What the linter says with a deployment at hand: enabled factors, people's factors, relying parties' values."""

from __future__ import annotations

from idp.policy.lint import Deployment, Finding, lint
from tests.unit.idp_policy.support import FILE, policy

TEXT = """\
policy: 1
name: office
upstream:
  - issuer: https://idp.example.org
    cap: partner
    max_age: 10m
    mappings:
      - when: {amr: mfa}
        evidence:
          - {category: possession}
levels:
  - name: low
    acr: urn:example:low
    any_of:
      - all_of:
          - factor: password
  - name: strong
    implies: low
    acr: urn:example:strong
    saml: urn:example:strong:saml
    any_of:
      - all_of:
          - factor: password
          - factor: [totp, sms_otp]
  - name: partner
    any_of:
      - all_of:
          - category: possession
            issuer: https://idp.example.org
rules:
  - id: everybody
    action: sign_in
    require: low
  - id: contracts
    action: sign_in
    when: {client: [contracts, archive]}
    require: strong
  - id: lawyers
    action: sign_in
    when: {group: legal}
    require: strong
  - id: sign
    action: signature.activate
    require: strong
    evidence:
      - category: possession
        per_transaction: true
"""
ALL = frozenset({"password", "totp", "sms_otp", "upstream"})


def found(deployment: Deployment, text: str = TEXT) -> list[tuple[str, int]]:
    findings = lint(policy(text), deployment)
    return [(item.rule, item.where.line) for item in findings]


def messages(deployment: Deployment, text: str = TEXT) -> str:
    return "\n".join(item.message for item in lint(policy(text), deployment))


def line(snippet: str, text: str = TEXT) -> int:
    assert text.count(snippet) == 1
    return text[: text.index(snippet)].count("\n") + 1


def test_what_is_not_known_is_not_judged() -> None:
    assert lint(policy(TEXT)) == ()
    assert lint(policy(TEXT), Deployment(enabled=ALL)) == ()


def test_L17_a_level_without_enabled_factors_is_named_with_those_that_are() -> None:
    deployment = Deployment(enabled=frozenset({"password", "upstream"}))
    assert found(deployment) == [("L17", line("- name: strong"))]
    assert "factors that are enabled (password and upstream)" in messages(deployment)


def test_L17_nothing_enabled_is_none() -> None:
    deployment = Deployment(enabled=frozenset())
    assert [rule for rule, _ in found(deployment)] == ["L17"] * 3
    assert "(none)" in messages(deployment)


def test_L17_a_login_elsewhere_is_enabled_as_such_whatever_factor_it_counts_as() -> None:
    text = TEXT.replace("- {category: possession}", "- {category: possession, factor: totp}")
    assert found(Deployment(enabled=ALL), text) == []
    assert found(Deployment(enabled=ALL - {"upstream"}), text) == [("L17", line("- name: partner"))]


def test_L17_a_level_that_nobody_can_reach_is_counted() -> None:
    deployment = Deployment(people=(frozenset({"password", "upstream"}), frozenset({"password"})))
    assert found(deployment) == [("L17", line("- name: strong"))]
    assert "(0 of 2)" in messages(deployment)


def test_L17_a_level_that_some_can_reach_is_nobodys_concern_unless_everybody_needs_it() -> None:
    deployment = Deployment(people=(ALL, frozenset({"password"})))
    assert found(deployment) == []


def test_L17_people_shut_out_of_the_sign_in_are_counted() -> None:
    deployment = Deployment(people=(ALL, ALL, frozenset({"passkey"})))
    assert found(deployment) == [("L17", line("- name: low"))]
    assert "rule 'everybody' asks of everybody at sign-in, cannot be reached by 1 of 3 people" in messages(deployment)


def test_L18_a_floor_that_a_relying_party_cannot_be_told() -> None:
    deployment = Deployment(clients={"contracts": frozenset({"urn:example:low"})})
    assert found(deployment) == [("L18", line("- id: contracts"))]
    assert "none of the values says that 'contracts' may be given" in messages(deployment)


def test_L18_a_rule_that_holds_for_some_people_raises_the_floor_for_them() -> None:
    deployment = Deployment(clients={"other": frozenset({"urn:example:low"})})
    assert found(deployment) == [("L18", line("- id: lawyers"))]


def test_L18_one_accepted_value_is_enough_and_a_saml_class_reference_is_one() -> None:
    for uri in ("urn:example:strong", "urn:example:strong:saml"):
        accepted = frozenset({uri, "urn:example:low"})
        assert found(Deployment(clients={"contracts": accepted, "other": accepted})) == []


def test_L18_the_floor_is_that_of_all_rules_together() -> None:
    """At 'contracts' the general rule's level never stands alone, but elsewhere it does."""
    strong = frozenset({"urn:example:strong"})
    assert found(Deployment(clients={"other": strong})) == [("L18", line("- id: everybody"))]
    assert found(Deployment(clients={"contracts": strong})) == []


def test_L18_a_relying_party_that_accepts_anything_accepts_this() -> None:
    assert found(Deployment(clients={"contracts": frozenset()})) == []


def test_L18_many_relying_parties_are_counted() -> None:
    clients = {f"c{number}": frozenset({"urn:example:none"}) for number in range(5)}
    deployment = Deployment(clients=clients)
    assert found(deployment) == [("L18", line("- id: everybody")), ("L18", line("- id: lawyers"))]
    assert "'c0', 'c1', 'c2' and 2 more" in messages(deployment)


NIST = """\
policy: 1
name: nist
factors:
  sms_otp: {restricted_notice: true}
levels:
  - name: aal2
    claims: {nist-800-63b:r4: aal2}
    session_limit: 24h
    idle_limit: 1h
    any_of:
      - all_of:
          - factor: password
          - factor: [sms_otp, totp]
      - all_of:
          - factor: passkey
            flags: user_verified
rules:
  - {id: sign-in, action: sign_in, require: aal2}
"""


def test_L2_an_alternative_that_is_not_enabled_is_none() -> None:
    sms = frozenset({"password", "sms_otp"})
    assert found(Deployment(enabled=sms | {"passkey"}), NIST) == []
    assert ("L2", line("- factor: [sms", NIST)) in found(Deployment(enabled=sms), NIST)


def test_L11_a_phishing_resistant_way_that_is_not_enabled_is_none() -> None:
    others = frozenset({"password", "sms_otp", "totp"})
    assert found(Deployment(enabled=others | {"passkey"}), NIST) == []
    assert found(Deployment(enabled=others), NIST) == [("L11", line("- name: aal2", NIST))]


def test_findings_are_in_the_order_of_the_file_and_each_is_there_once() -> None:
    findings: tuple[Finding, ...] = lint(policy(TEXT), Deployment(enabled=frozenset()))
    assert list(findings) == sorted(findings, key=lambda item: item.where.line)
    assert len(set(findings)) == len(findings)
    assert all(item.where.file == FILE for item in findings)
