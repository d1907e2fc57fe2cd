"""Logins at other identity providers: what they count as, and what they never can."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from idp.policy.errors import FactsInvalid
from idp.policy.evaluate import evaluate
from idp.policy.explain import explain
from idp.policy.model import Decision, EnrolledFactor
from idp.policy.upstream import UpstreamLogin, counted, evidence_of
from tests.unit.idp_policy.support import NOW, TXN, facts, policy, used

THERE = "https://idp.example.org"
POLICY = """\
policy: 1
name: broker
upstream:
  - issuer: https://idp.example.org
    cap: substantial
    max_age: 10m
    mappings:
      - when: {class: urn:mobile, attribute: {loa: [substantial, high]}}
        evidence:
          - category: knowledge
          - {category: possession, flags: phishing_resistant}
      - when: {acr: urn:phr, amr: [hwk, user]}
        evidence: [{factor: passkey, category: possession, flags: [user_verified, phishing_resistant]}]
  - issuer: https://top.example.org
    cap: high
    mappings:
      - evidence:
          - {category: knowledge}
          - {category: possession, flags: [user_verified, attested, phishing_resistant]}
  - issuer: https://careless.example.org
    cap: low
    mappings:
      - evidence:
          - {category: knowledge}
          - {category: possession, flags: [user_verified, attested, phishing_resistant]}
levels:
  - name: low
    any_of:
      - all_of: [{factor: password}]
      - all_of: [{factor: upstream, issuer: [https://idp.example.org, https://careless.example.org]}]
  - name: substantial
    implies: low
    any_of:
      - all_of:
          - {factor: upstream, category: knowledge, issuer: &i}
          - {factor: upstream, category: possession, issuer: &i}
        different_categories: 2
      - all_of: [{factor: passkey, flags: user_verified, issuer: &i}]
        different_categories: 2
  - name: high
    implies: substantial
    any_of:
      - all_of:
          - {factor: upstream, category: knowledge, issuer: &i}
          - {factor: upstream, category: possession, issuer: &i, flags: attested}
        different_categories: 2
rules:
  - {id: sign-in, action: sign_in, require: low}
  - {id: sign, action: signature.activate, require: substantial}
  - {id: admin, action: admin.*, require: high}
  - id: keys
    action: credential.create
    require: low
    evidence: [{category: possession, issuer: [https://idp.example.org, https://careless.example.org]}]
  - id: more-keys
    action: credential.delete
    require: substantial
    evidence: [{category: possession, issuer: [self, https://careless.example.org]}]
""".replace("&i", "[https://idp.example.org, https://top.example.org, https://careless.example.org]")
SAMPLE = policy(POLICY)
STRONG: dict[str, Any] = {"class_ref": "urn:mobile", "attributes": {"loa": ("high",)}}


def login(issuer: str = THERE, ago: int = 60, **said: Any) -> UpstreamLogin:
    return UpstreamLogin(issuer, "anna@example.org", NOW - timedelta(seconds=ago), **said)


def decide(action: str, *logins: UpstreamLogin, **changes: Any) -> Decision:
    items = (item for each in logins for item in evidence_of(SAMPLE, each, NOW))
    return evaluate(SAMPLE, facts(action, *items, enrolled=(), **changes))


def line_of(text: str) -> int:
    return POLICY[: POLICY.index(text)].count("\n") + 1


def test_the_first_mapping_that_holds_says_what_a_login_counts_as() -> None:
    known, held = evidence_of(SAMPLE, login(**STRONG), NOW)
    assert (known.factor, known.category, known.flags) == ("upstream", "knowledge", frozenset())
    assert (held.category, sorted(held.flags)) == ("possession", ["phishing_resistant"])
    assert {item.at for item in (known, held)} == {NOW - timedelta(seconds=60)}
    assert {item.issuer for item in (known, held)} == {THERE}
    (key,) = evidence_of(SAMPLE, login(acr="urn:phr", amr=frozenset({"hwk", "user", "pop"})), NOW)
    assert key.factor == "passkey"
    assert decide("signature.activate", login(**STRONG)).outcome == "allow"


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"class_ref": "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"},
        {"class_ref": "urn:mobile"},
        {"class_ref": "urn:mobile", "attributes": {"loa": ("low",)}},
        {"attributes": {"loa": ("high",)}},
        {"acr": "urn:mobile", "attributes": {"loa": ("high",)}},
        {"acr": "urn:phr", "amr": frozenset({"hwk"})},
        {"class_ref": "urn:phr", "amr": frozenset({"hwk", "user"})},
    ],
)
def test_SML_25_a_class_that_no_mapping_is_about_counts_as_the_least(said: dict[str, Any]) -> None:
    (item,) = evidence_of(SAMPLE, login(**said), NOW)
    assert (item.factor, item.category, item.flags, item.transaction) == ("upstream", "knowledge", frozenset(), None)
    assert decide("sign_in", login(**said)).reached == ("low",)
    assert decide("signature.activate", login(**said)).outcome == "deny"


def test_an_issuer_that_the_policy_does_not_know_counts_for_nothing() -> None:
    assert counted(SAMPLE, login("https://idp.example.org.evil.example"), NOW).reason is None
    assert evidence_of(SAMPLE, login("https://idp.example.org/"), NOW) == ()


def test_a_cap_holds_whatever_the_mapping_says() -> None:
    best = {"attested", "user_verified", "phishing_resistant"}
    for issuer, reached in (
        (THERE, ("low", "substantial")), ("https://top.example.org", ("low", "substantial", "high")),
        ("https://careless.example.org", ("low",)),
    ):  # fmt: skip
        evidence = (
            used("upstream", category="knowledge", issuer=issuer),
            used("upstream", 0, *best, category="possession", issuer=issuer),
            used("passkey", 0, *best, issuer=issuer),
        )
        assert evaluate(SAMPLE, facts("sign_in", *evidence)).reached == reached


def test_a_cap_holds_for_the_evidence_that_a_rule_asks_for_besides() -> None:
    held = used("upstream", 0, category="possession", issuer="https://careless.example.org")
    assert evaluate(SAMPLE, facts("credential.create", held, enrolled=())).outcome == "allow"
    both = evaluate(SAMPLE, facts("credential.delete", held, *evidence_of(SAMPLE, login(**STRONG), NOW), enrolled=()))
    assert both.outcome == "deny"
    assert "low" in both.reached
    assert any("is capped below it" in reason.text for reason in both.reasons)


def test_nobody_elsewhere_asserts_high_unless_mapped_and_capped_so() -> None:
    assert decide("admin.users", login(**STRONG)).outcome == "deny"
    assert decide("admin.users", login("https://careless.example.org")).outcome == "deny"
    assert decide("admin.users", login("https://top.example.org")).outcome == "allow"


def test_a_cap_that_bites_is_told_with_its_line() -> None:
    decision = decide("admin.users", login(**STRONG))
    told = [reason for reason in decision.reasons if reason.contributor == "upstream"]
    assert [(reason.rule, reason.line) for reason in told] == [("upstream", line_of("- issuer: https://idp"))] * 2
    assert told[0].text == (
        "The login at https://idp.example.org of 2026-03-02 09:59:00Z counts up to level "
        "'substantial' only: that is the cap of that identity provider."
    )
    assert not [reason for reason in decide("sign_in", login(**STRONG)).reasons if reason.contributor == "upstream"]


def test_a_level_that_others_vouched_for_says_so() -> None:
    (reached,) = [reason for reason in decide("sign_in", login()).reasons if reason.rule == "level:low"]
    assert reached.contributor == "evidence+upstream"
    mine = evaluate(SAMPLE, facts("sign_in", used("password"), enrolled=()))
    assert mine.reasons[-1].contributor == "evidence"
    assert "[evidence+upstream]" in explain(
        SAMPLE, facts("sign_in", *evidence_of(SAMPLE, login(), NOW)), decide("sign_in", login())
    )


def test_a_login_of_exactly_the_greatest_age_counts_and_an_older_one_does_not() -> None:
    assert len(evidence_of(SAMPLE, login(ago=600, **STRONG), NOW)) == 2
    late = counted(SAMPLE, login(ago=601, **STRONG), NOW)
    assert late.evidence == ()
    assert late.reason is not None
    assert late.reason.text.endswith("09:49:59Z does not count: it is older than 10 min.")
    assert len(evidence_of(SAMPLE, login("https://top.example.org", ago=10**7), NOW)) == 2


def test_what_was_taken_over_in_time_does_not_outlive_the_greatest_age() -> None:
    items = evidence_of(SAMPLE, login(ago=600), NOW)
    assert evaluate(SAMPLE, facts("sign_in", *items, enrolled=())).outcome == "allow"
    decision = evaluate(SAMPLE, facts("sign_in", *items, enrolled=(), now=NOW + timedelta(seconds=1)))
    assert decision.outcome == "deny"
    (told,) = [reason for reason in decision.reasons if reason.contributor == "upstream"]
    assert told.line == line_of("- issuer: https://idp")
    assert "it is older than the policy allows for that identity provider" in told.text


def test_a_login_from_the_future_counts_for_nothing() -> None:
    assert len(evidence_of(SAMPLE, login(ago=-5), NOW)) == 1
    late = counted(SAMPLE, login(ago=-6), NOW)
    assert (late.evidence, late.reason is not None and "lies in the future" in late.reason.text) == ((), True)


def test_the_mapping_that_held_is_named_with_its_line() -> None:
    strong, weak = counted(SAMPLE, login(**STRONG), NOW).reason, counted(SAMPLE, login(), NOW).reason
    assert strong is not None
    assert weak is not None
    assert (strong.line, weak.line) == (line_of("- when: {class"), line_of("- issuer: https://idp"))
    assert strong.text == (
        "The login at https://idp.example.org of 2026-03-02 09:59:00Z counts as something known and something held "
        "with phishing resistance."
    )
    assert weak.text.endswith("counts as one factor that is known: no mapping is about it.")
    key = counted(SAMPLE, login(acr="urn:phr", amr=frozenset({"hwk", "user"})), NOW).reason
    assert key is not None
    assert "counts as passkey as something held with user verification and phishing resistance." in key.text


def test_who_the_person_is_there_does_not_show_in_the_evidence() -> None:
    (item,) = evidence_of(SAMPLE, login(), NOW)
    assert "anna" not in repr(item)
    other = UpstreamLogin("https://top.example.org", "anna@example.org", NOW)
    assert evidence_of(SAMPLE, other, NOW)[0].authenticator_id != item.authenticator_id


def test_a_login_asked_for_anew_is_made_for_its_transaction() -> None:
    anew = login(transaction=TXN)
    assert decide("sign_in", anew, force_reauthentication=True).outcome == "allow"
    assert decide("sign_in", login(), force_reauthentication=True).outcome == "deny"


def test_one_login_elsewhere_is_one_step_however_much_it_counts_as() -> None:
    link = (
        EnrolledFactor("upstream", "knowledge", issuer=THERE),
        EnrolledFactor("upstream", "possession", frozenset({"phishing_resistant"}), THERE),
    )
    decision = evaluate(SAMPLE, facts("signature.activate", enrolled=link))
    assert [option.missing for option in decision.options] == [("upstream",)]


@pytest.mark.parametrize(
    "values",
    [
        {"issuer": ""},
        {"issuer": "self"},
        {"subject": ""},
        {"auth_time": datetime(2026, 1, 1)},  # noqa: DTZ001 - the misuse
        {"auth_time": datetime.fromisoformat("2026-01-01T00:00:00+01:00")},
    ],
)
def test_a_login_without_issuer_subject_or_time_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(FactsInvalid):
        UpstreamLogin(**{"issuer": THERE, "subject": "a", "auth_time": datetime(2026, 1, 1, tzinfo=UTC), **values})
