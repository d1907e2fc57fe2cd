"""A password that stands alone under revision 4 of NIST SP 800-63B has to be long, also one that was chosen before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from idp.authn.need import lacks_length_only
from idp.policy.body import Body
from idp.policy.evaluate import evaluate
from idp.policy.evidence import MIN_LENGTH_ALONE, Evidence
from idp.policy.lint.limits import lone_password
from idp.policy.model import Decision, Facts, Policy
from idp.policy.records import facts_from_json, to_json, verdict_of
from idp.policy.replay import change
from tests.unit.idp_policy.support import KEY, PHONE, WORD, enrolled, facts, policy, used

TEXT = """\
policy: 1
name: lone
upstream:
  - {issuer: "https://a.example", cap: two}
levels:
  - name: one
    claims: {"nist-800-63b:r4": aal1}
    acr: urn:one
    any_of:
      - all_of: [{factor: [password, passkey], issuer: [self, "https://a.example"]}]
  - name: two
    claims: {"nist-800-63b:r4": aal2}
    acr: urn:two
    implies: one
    any_of:
      - all_of: [{factor: password}, {factor: sms_otp}]
        different_categories: 2
rules:
  - {id: sign-in, action: sign_in, require: one}
  - {id: sign, action: signature.activate, require: two}
  - {id: factors, action: account.enrol_factor, require: one}
"""
LONE = policy(TEXT)
OLDER = policy(TEXT.replace("nist-800-63b:r4", "nist-800-63b:r3"))
LONG = replace(used("password"), min_length=15)
SHORT = replace(used("password"), min_length=0)
UNKNOWN = used("password")
SHORT_WORD = replace(WORD, min_length=0)


def decide(*evidence: Evidence, of: Policy = LONE, action: str = "sign_in", **changes: Any) -> Decision:
    return evaluate(of, facts(action, *evidence, **changes))


def why(decision: Decision) -> str:
    return " ".join(reason.text for reason in decision.reasons)


@pytest.mark.parametrize(
    ("item", "enough"),
    [
        (LONG, True),
        (replace(LONG, min_length=16), True),
        (replace(LONG, min_length=14), False),
        (SHORT, False),
        (UNKNOWN, False),
        # Whoever vouches for it judges its length.
        (used("password", issuer="https://a.example"), True),
        (used("passkey"), True),
    ],
)
def test_only_a_password_that_was_seen_to_be_long_reaches_a_level_of_revision_4_by_itself(
    item: Evidence, enough: bool
) -> None:
    assert (decide(item).outcome == "allow") == enough
    assert decide(item, of=OLDER).outcome == "allow"


@pytest.mark.parametrize("item", [LONG, SHORT, UNKNOWN])
def test_beside_another_factor_any_password_counts(item: Evidence) -> None:
    both = decide(item, used("sms_otp", 0, "restricted"), action="signature.activate")
    assert (both.outcome, both.reached) == ("allow", ("one", "two"))


def test_a_password_that_is_known_to_be_short_is_not_asked_for_again_and_what_helps_is() -> None:
    decision = decide(SHORT, enrolled=(SHORT_WORD, PHONE, KEY))
    assert [option.missing for option in decision.options] == [("passkey",), ("sms_otp",)]
    nothing = decide(SHORT, enrolled=(SHORT_WORD,))
    assert (nothing.outcome, nothing.refusal) == ("deny", "unreachable")


def test_one_of_which_nobody_knows_is_asked_for_again_and_so_is_one_that_took_its_place() -> None:
    assert [option.missing for option in decide(UNKNOWN, enrolled=(WORD,)).options] == [("password",)]
    assert [option.missing for option in decide(SHORT, enrolled=(WORD,)).options] == [("password",)]


def test_the_reasons_tell_a_short_one_from_one_that_nobody_looked_at() -> None:
    assert "has fewer than 15 characters, and does not stand alone" in why(decide(SHORT))
    assert "was verified before it was looked whether it has 15 characters" in why(decide(UNKNOWN))
    assert "characters" not in why(decide(LONG))
    assert "characters" not in why(decide(SHORT, of=OLDER, action="signature.activate"))


def test_a_level_that_includes_the_claim_by_an_edge_or_a_stronger_level_asks_for_it_too() -> None:
    stronger = policy(TEXT.replace("aal1}", "aal2}").replace("different_categories: 2", "different_categories: 1"))
    assert evaluate(stronger, facts("sign_in", SHORT)).outcome != "allow"
    edge = policy(
        TEXT.replace("upstream:", 'implies: [{from: "x1254:2020/aal1", to: "nist-800-63b:r4/aal1"}]\nupstream:')
        .replace('{"nist-800-63b:r4": aal1}', '{"x1254:2020": aal1}')
        .replace('{"nist-800-63b:r4": aal2}', '{"x1254:2020": aal2}')
    )
    assert evaluate(edge, facts("sign_in", SHORT)).outcome != "allow"
    assert evaluate(edge, facts("sign_in", LONG)).outcome == "allow"


@pytest.mark.parametrize("of", [LONE, OLDER])
def test_what_is_asked_of_new_passwords_is_what_is_asked_at_the_sign_in(of: Policy) -> None:
    """L10 and the evaluation mean the same alternatives."""
    asked = any(quest.sort.alone for quests in of.level_quests.values() for quest in quests)
    assert asked == lone_password(of)


def test_all_at_once_is_as_one_by_one() -> None:
    items = (LONG, SHORT, UNKNOWN, used("sms_otp"), used("password", issuer="https://a.example"))
    body = Body(LONE, facts("sign_in", *items), items)
    for quest in (quest for quests in LONE.level_quests.values() for quest in quests):
        for need, bits in zip(quest.needed.all_of, body.fits(quest).bits, strict=True):
            fitting = [item for index, item in enumerate(body._items) if bits >> index & 1]
            assert fitting == [item for item in body._items if body.misfit(quest, need, item) is None]


# The change that mends it


def test_who_has_a_short_password_alone_may_replace_it_and_nothing_else() -> None:
    changing: dict[str, Any] = {"action": "account.enrol_factor", "enrolled": (SHORT_WORD,)}
    assert decide(SHORT, **changing, replaces="password").outcome == "allow"
    assert decide(SHORT, **changing).outcome == "deny"
    assert decide(SHORT, **changing, replaces="sms_otp").outcome == "deny"


def test_ENR_02_who_has_more_than_a_short_password_shows_it_before_they_replace_it() -> None:
    changing: dict[str, Any] = {"action": "account.enrol_factor", "enrolled": (SHORT_WORD, PHONE)}
    decision = decide(SHORT, **changing, replaces="password")
    assert (decision.outcome, [option.missing for option in decision.options]) == ("step_up", [("sms_otp",)])


# What is told


@pytest.mark.parametrize(
    ("evidence", "changes", "told"),
    [
        ((SHORT,), {"enrolled": (SHORT_WORD,)}, True),
        ((SHORT,), {"enrolled": (SHORT_WORD, PHONE)}, True),
        # Another one took its place, which nobody has typed yet.
        ((SHORT,), {"enrolled": (WORD,)}, False),
        ((UNKNOWN,), {"enrolled": (WORD,)}, False),
        ((LONG,), {"enrolled": (replace(WORD, min_length=15),), "max_age": 0}, False),
        # A longer one would not be enough either.
        ((SHORT,), {"enrolled": (SHORT_WORD, PHONE), "action": "signature.activate"}, False),
        ((SHORT, used("sms_otp")), {"enrolled": (SHORT_WORD, PHONE)}, False),
    ],
)
def test_a_person_is_told_of_the_length_exactly_where_it_is_all_that_lacks(
    evidence: tuple[Evidence, ...], changes: dict[str, Any], told: bool
) -> None:
    action = changes.pop("action", "sign_in")
    asked = facts(action, *evidence, **changes)
    assert lacks_length_only(LONE, asked, evaluate(LONE, asked)) == told
    assert not lacks_length_only(OLDER, asked, evaluate(OLDER, asked))


# What is kept


def again(asked: Facts, of: Policy = LONE) -> Facts:
    kept = to_json(decision_id="d", txn="t", account_id="a", policy=of, facts=asked, decision=evaluate(of, asked))
    return facts_from_json(kept["facts"])


def test_a_record_says_what_was_known_and_one_from_before_is_read_as_nothing_known() -> None:
    asked = facts("account.enrol_factor", SHORT, enrolled=(SHORT_WORD, PHONE), replaces="password")
    assert again(asked) == asked
    kept = to_json(decision_id="d", txn="t", account_id="a", policy=LONE, facts=facts("sign_in", UNKNOWN),
                   decision=decide(UNKNOWN))["facts"]  # fmt: skip
    assert "replaces" not in kept
    assert not any("min_length" in item for item in (*kept["evidence"], *kept["enrolled"]))


@pytest.mark.parametrize(("item", "kind"), [(LONG, None), (SHORT, "deny"), (UNKNOWN, "step_up")])
def test_a_replay_tells_whom_a_stricter_revision_would_stop(item: Evidence, kind: str | None) -> None:
    """Sign-ins under revision 3 say whether the password would stand alone under revision 4."""
    known = replace(WORD, min_length=item.min_length)
    asked = facts("sign_in", item, enrolled=(known,))
    before = verdict_of(evaluate(OLDER, asked))
    found = change(LONE, "d", again(asked, OLDER), before)
    assert (None if found is None else found.kind) == kind


def test_the_least_length_is_that_of_the_standard() -> None:
    """3.1.1.2: a minimum of 15 characters in length."""
    assert MIN_LENGTH_ALONE == 15
    assert enrolled("password").min_length is None
