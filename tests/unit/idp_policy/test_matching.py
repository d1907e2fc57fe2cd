"""How evidence came, what it was made with, and what is measured against each requirement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from idp.policy.body import Standing, standing
from idp.policy.errors import PolicyLoadError
from idp.policy.evaluate import evaluate
from idp.policy.evidence import Evidence
from idp.policy.index import quest
from idp.policy.matching import authenticator, categories, misfit
from idp.policy.model import Decision
from idp.policy.selecting import MAX_TRIES
from tests.unit.idp_policy.support import enrolled, facts, faults, policy, used
from tests.unit.idp_policy.test_load import SMALL, changed

PARTICULAR = policy(
    changed(
        "factor: password",
        "{factor: [sms_otp, passkey], channel: [sms, voice]}\n"
        "      - all_of: [{factor: passkey, attestation: [maker-1, maker-2]}]",
    )
)


def decide(item: Evidence, **changes: Any) -> Decision:
    return evaluate(PARTICULAR, facts("sign_in", item, enrolled=(), **changes))


@pytest.mark.parametrize(
    ("factor", "channel", "attestation", "outcome"),
    [
        ("sms_otp", "sms", None, "allow"),
        ("sms_otp", "voice", None, "allow"),
        ("sms_otp", "messenger", None, "deny"),
        ("sms_otp", None, None, "deny"),
        ("sms_otp", None, "maker-1", "deny"),
        ("passkey", None, "maker-1", "allow"),
        ("passkey", None, "maker-2", "allow"),
        ("passkey", None, "maker-3", "deny"),
        ("passkey", None, None, "deny"),
        ("passkey", "sms", None, "allow"),
    ],
)
def test_evidence_came_the_way_and_is_of_the_make_that_is_asked_for(
    factor: str, channel: str | None, attestation: str | None, outcome: str
) -> None:
    assert decide(replace(used(factor), channel=channel, attestation=attestation)).outcome == outcome


def test_what_falls_short_is_told_in_words() -> None:
    texts = " ".join(reason.text for reason in decide(replace(used("passkey"), channel="usb")).reasons)
    assert "SMS code or passkey by way of sms or voice (missing" in texts
    assert "passkey of make maker-1 or maker-2 (missing" in texts
    assert "the passkey of 2026-03-02 10:00:00Z came another way" in texts
    assert "the passkey of 2026-03-02 10:00:00Z is not proved to be of such a make" in texts


def test_a_factor_is_offered_with_the_way_it_takes_and_its_make() -> None:
    phone, key = enrolled("sms_otp"), enrolled("passkey")
    none = evaluate(PARTICULAR, facts("sign_in", enrolled=(phone, key)))
    assert none.outcome == "deny"
    offered = (replace(phone, channel="sms"), replace(key, attestation="maker-2"))
    found = evaluate(PARTICULAR, facts("sign_in", enrolled=offered))
    assert [option.missing for option in found.options] == [("sms_otp",), ("passkey",)]


def test_a_set_of_no_policy_can_be_asked_about() -> None:
    needed = PARTICULAR.levels[0].any_of[1]
    good, other = (replace(used("passkey"), attestation=name) for name in ("maker-1", "maker-3"))
    asked = facts("sign_in", other, good)
    assert standing(PARTICULAR, asked).meets(quest(needed)) == (good,)
    assert misfit(needed.all_of[0], other, asked, None) == "attestation"


def test_two_rules_of_one_zone_read_its_clock_once() -> None:
    office = "    when: {time: {days: mon, zone: Europe/Berlin}}\n"
    more = "  - {id: later, action: sign_in, require: low, when: {time: {days: tue, zone: Europe/Berlin}}}\n"
    read = policy(SMALL + office + more)
    found = evaluate(read, facts("sign_in", used("password")))
    assert [reason.rule for reason in found.reasons] == ["sign-in", "level:low"]


def test_limits_of_no_factor_are_refused() -> None:
    assert faults(changed("levels:\n", "factors: {}\nlevels:\n")) == ["3:10: factors names no factor"]


def test_a_rule_may_ask_for_several_pieces_of_evidence_each_of_another_authenticator() -> None:
    two = policy(SMALL + "    evidence: [{factor: [totp, sms_otp]}, {category: possession}]\n")
    word, code, phone = used("password", 9), used("totp", 5), used("sms_otp", 3)

    assert evaluate(two, facts("sign_in", word, code, enrolled=())).outcome == "deny"
    found = evaluate(two, facts("sign_in", word, code, phone, enrolled=()))
    assert (found.outcome, found.relied_on) == ("allow", (word, code, phone))
    asked = evaluate(two, facts("sign_in", word, code, enrolled=(enrolled("sms_otp"), enrolled("hotp"))))
    assert [option.missing for option in asked.options] == [("sms_otp",), ("hotp",)]


# Files made to be slow

OWN = ("passkey", "totp", "hotp", "certificate", "mobile_id", "sms_otp", "email_otp", "recovery_code", "password")
ISSUERS = tuple(f"https://idp{number}.example.org" for number in range(14))


def slow(*needs: str, categories: int = 1) -> Any:
    listed = "".join(f"\n          - {need}" for need in needs)
    return policy(
        f"""\
policy: 1
name: slow
levels:
  - name: low
    any_of:
      - all_of:{listed}
        different_categories: {categories}
rules:
  - {{id: sign-in, action: sign_in, require: low}}
"""
    )


class Counted:
    """Calls of a function."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.calls = 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self._function(*arguments)


def test_DOS_06_what_is_alike_is_not_tried_in_every_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine factors in nine places can be put in 362,880 orders, of which none is of three categories."""
    counted = Counted(categories)
    monkeypatch.setattr("idp.policy.selecting.categories", counted)
    asked = slow(*["{category: [knowledge, possession]}"] * len(OWN), categories=3)
    assert evaluate(asked, facts("sign_in", *(used(name) for name in OWN), enrolled=())).outcome == "deny"
    assert 0 < counted.calls < 1000


def test_DOS_06_a_set_that_takes_too_long_to_select_for_counts_as_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    logins = [used("upstream", category="knowledge", issuer=issuer) for issuer in ISSUERS]
    anyone = f"{{category: knowledge, issuer: [{', '.join(ISSUERS)}]}}"
    asked = facts("sign_in", *logins, enrolled=())
    assert evaluate(slow(*[anyone] * 7), asked).outcome == "allow"
    assert evaluate(slow(*[anyone] * 7, categories=2), asked).outcome == "deny"
    counted = Counted(authenticator)
    monkeypatch.setattr("idp.policy.selecting.authenticator", counted)
    assert evaluate(slow(*[anyone] * 13, categories=2), asked).outcome == "deny"
    assert counted.calls < 100 * MAX_TRIES


def test_DOS_06_of_very_many_factors_one_way_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """All sets of fourteen logins are 16,383."""
    counted = Counted(Standing)
    monkeypatch.setattr("idp.policy.options.Standing", counted)
    asked = slow(*(f"{{factor: upstream, issuer: {issuer}}}" for issuer in ISSUERS[:12]))
    people = tuple(enrolled("upstream", category="knowledge", issuer=issuer) for issuer in ISSUERS)
    found = evaluate(asked, facts("sign_in", enrolled=people))
    assert (found.outcome, [option.missing for option in found.options]) == ("step_up", [("upstream",) * 12])
    assert counted.calls < 100


def test_DOS_06_a_set_has_no_more_requirements_than_anybody_means() -> None:
    with pytest.raises(PolicyLoadError, match="all_of has more than 32 items"):
        slow(*["{factor: password}"] * 33)
