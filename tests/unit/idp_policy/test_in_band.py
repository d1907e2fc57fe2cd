"""Signatures in band are permitted by rules that name them only; what is asked of signatures is asked of them too."""

from __future__ import annotations

import pytest

from idp.policy.evaluate import evaluate
from idp.policy.facts import CredentialFacts, Decision
from idp.policy.keys import SIGN, SIGN_IN_BAND
from idp.policy.load import parse_policy
from tests.unit.idp_policy.support import TXN, enrolled, facts, used

HEAD = """\
policy: 1
name: in-band
levels:
  - name: low
    any_of:
      - all_of:
          - factor: password
  - name: substantial
    implies: low
    any_of:
      - all_of:
          - factor: password
          - factor: [sms_otp, totp]
rules:
  - id: sign
    action: signature.activate
    require: substantial
    evidence:
      - category: possession
        per_transaction: true
"""
WORD, PHONE = enrolled("password"), enrolled("sms_otp")
CODE = used("sms_otp", 5, transaction=TXN)


def decide(rules: str, *evidence: object, action: str = SIGN_IN_BAND, scal: str = "1") -> Decision:
    policy = parse_policy((HEAD + rules).encode(), "in-band.yaml")
    credential = CredentialFacts("key-1", scal)  # type: ignore[arg-type] # one of the two
    return evaluate(policy, facts(action, *evidence, enrolled=(WORD, PHONE), credential=credential, proofing="high"))  # type: ignore[arg-type] # of mixed types


@pytest.mark.parametrize(
    "rules",
    [
        "",
        "  - {id: all, action: signature.*, require: low}\n",
        "  - {id: other, action: signature.activate_in_band, require: low, when: {client: somebody-else}}\n",
        '  - {id: scal2, action: signature.activate_in_band, require: low, when: {credential: {scal: "2"}}}\n',
    ],
    ids=["none", "by-prefix", "another-client", "another-level"],
)
def test_SAD_08_what_no_rule_permits_by_name_is_denied_in_band(rules: str) -> None:
    everything = (used("password", 5), CODE)
    assert decide(rules, *everything, action=SIGN).outcome == "allow"
    decision = decide(rules, *everything)
    assert (decision.outcome, decision.refusal) == ("deny", "no_rule")


def test_SAD_08_a_rule_that_permits_it_takes_nothing_away_of_what_is_asked_of_signatures() -> None:
    permitted = "  - {id: here, action: signature.activate_in_band, require: low}\n"
    assert decide(permitted, used("password", 5)).outcome == "step_up"
    assert decide(permitted, used("password", 5), used("sms_otp", 5, transaction="another")).outcome == "step_up"
    decision = decide(permitted, used("password", 5), CODE)
    assert decision.outcome == "allow"
    assert {"here", "sign"} <= {reason.rule for reason in decision.reasons}
    assert [option.missing for option in decide(permitted).options] == [("password", "sms_otp")]


def test_a_rule_about_both_counts_once() -> None:
    both = "  - {id: both, action: [signature.activate, signature.activate_in_band], require: low}\n"
    reasons = [reason for reason in decide(both, used("password", 5), CODE).reasons if reason.rule == "both"]
    assert len(reasons) == 1
