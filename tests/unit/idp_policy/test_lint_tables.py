"""Rows of the rule books, written down a second time: what each edition asks for at which level, on both sides."""

from __future__ import annotations

import pytest

from idp.policy.lint import NOTHING_KNOWN, Finding, lint
from idp.policy.lint.subject import Subject
from tests.unit.idp_policy.support import policy

TEXT = """\
policy: 1
name: rows
factors:
  password: {min_length: 15}
levels:
  - name: it
    claims: {CLAIM}
SETTINGS    any_of:
ANY_OFrules:
  - {id: sign-in, action: sign_in, require: it}
"""

ONE = "{factor: password}"
PAIR = "{factor: password}, {factor: totp}"
KEY = "{factor: passkey, flags: user_verified}"
CARD = "{factor: passkey, flags: [user_verified, attested], without: backup_eligible}"


def found(claim: str, *alternatives: str, **settings: str) -> list[tuple[str, str]]:
    return [(item.rule, item.severity) for item in findings(claim, *alternatives, **settings)]


def findings(claim: str, *alternatives: str, **settings: str) -> tuple[Finding, ...]:
    lines = "".join(f"    {key}: {value}\n" for key, value in settings.items())
    any_of = "".join(f"      - all_of: [{needs}]\n" for needs in alternatives)
    return lint(policy(TEXT.replace("CLAIM", claim).replace("SETTINGS", lines).replace("ANY_OF", any_of)))


SESSIONS = [
    # claim, limit, seconds that are still right, above it, without any
    ("nist-800-63b:r3: aal1", "session_limit", 2_592_000 // 86400, "d", "warning", "warning"),
    ("nist-800-63b:r3: aal2", "session_limit", 43_200, "s", "error", "error"),
    ("nist-800-63b:r3: aal2", "idle_limit", 1_800, "s", "error", "error"),
    ("nist-800-63b:r3: aal3", "session_limit", 43_200, "s", "error", "error"),
    ("nist-800-63b:r3: aal3", "idle_limit", 900, "s", "error", "error"),
    ("nist-800-63b:r4: aal1", "session_limit", 2_592_000 // 86400, "d", "warning", "error"),
    ("nist-800-63b:r4: aal2", "session_limit", 86_400, "s", "warning", "error"),
    ("nist-800-63b:r4: aal2", "idle_limit", 3_600, "s", "warning", "warning"),
    ("nist-800-63b:r4: aal3", "session_limit", 43_200, "s", "error", "error"),
    ("nist-800-63b:r4: aal3", "idle_limit", 900, "s", "warning", "warning"),
]


@pytest.mark.parametrize(("claim", "what", "most", "unit", "above", "absent"), SESSIONS)
def test_L9_each_limit_of_each_revision(claim: str, what: str, most: int, unit: str, above: str, absent: str) -> None:
    others = {"session_limit": "1h", "idle_limit": "5m"}
    ways = {"1": (ONE,), "2": (PAIR, KEY), "3": (CARD,)}[claim[-1]]
    assert found(claim, *ways, **{**others, what: f"{most}{unit}"}) == []
    assert found(claim, *ways, **{**others, what: f"{most + 1}{unit}"}) == [("L9", above)]
    del others[what]
    assert found(claim, *ways, **others) == [("L9", absent)]


def test_L9_says_shall_and_should_as_the_revision_does() -> None:
    def said(claim: str, *ways: str, **settings: str) -> str:
        (finding,) = findings(claim, *ways, **settings)
        return finding.message

    assert said("nist-800-63b:r3: aal2", PAIR, session_limit="13h", idle_limit="5m") == (
        "level 'it' claims nist-800-63b:r3/aal2 and has session_limit 13 h; it shall be no more than 12 h"
    )
    assert said("nist-800-63b:r3: aal1", ONE).endswith("and has no session_limit; it should be no more than 30 d")
    assert said("nist-800-63b:r4: aal1", ONE).endswith(
        "and has no session_limit; there shall be one, and it should be no more than 30 d"
    )


def test_a_message_names_the_most_that_is_claimed() -> None:
    text = TEXT.replace("min_length: 15", "min_length: 7").replace(
        "SETTINGS", "    session_limit: 1h\n    idle_limit: 5m\n"
    )
    made = text.replace("CLAIM", "nist-800-63b:r3: aal2, nist-800-63b:r4: aal2")
    (finding,) = lint(policy(made.replace("ANY_OF", "      - all_of: [{factor: password}, {factor: passkey}]\n")))
    assert finding.message.startswith("level 'it' claims nist-800-63b:r3/aal2 and nist-800-63b:r4/aal2; 7 characters")


def test_L9_has_no_idle_limit_at_aal1() -> None:
    for revision in ("r3", "r4"):
        assert found(f"nist-800-63b:{revision}: aal1", ONE, session_limit="30d") == []
        assert found(f"nist-800-63b:{revision}: aal1", ONE, session_limit="30d", idle_limit="30d") == []


def test_L9_both_revisions_hold_where_both_are_claimed() -> None:
    claim = "nist-800-63b:r3: aal2, nist-800-63b:r4: aal2"
    assert found(claim, PAIR, KEY, session_limit="24h", idle_limit="30m") == [("L9", "error")]
    assert found(claim, PAIR, KEY, session_limit="25h", idle_limit="30m") == [("L9", "error"), ("L9", "warning")]


PROOFINGS = ("none", "low", "substantial", "high")
PROOFED = [
    ("eidas-2015-1502: low", "low", {"none": "error"}),
    ("eidas-2015-1502: substantial", "substantial", {"none": "error", "low": "error"}),
    ("eidas-2015-1502: high", "high", {"none": "error", "low": "error", "substantial": "error"}),
    ("iso29115:2013: loa1", "none", {}),
    ("iso29115:2013: loa2", "low", {"none": "error"}),
    ("iso29115:2013: loa3", "substantial", {"none": "error", "low": "warning"}),
    ("iso29115:2013: loa4", "high", {"none": "error", "low": "warning", "substantial": "warning"}),
    ("x1254:2012: loa1", "none", {}),
    ("x1254:2012: loa2", "low", {"none": "error"}),
    ("x1254:2012: loa3", "substantial", {"none": "error", "low": "warning"}),
    ("x1254:2012: loa4", "high", {"none": "error", "low": "warning", "substantial": "warning"}),
    ("x1254:2020: aal3", "none", {}),
]


@pytest.mark.parametrize(("claim", "minimum", "below"), PROOFED)
def test_L13_each_level_that_stands_for_an_identity(claim: str, minimum: str, below: dict[str, str]) -> None:
    for proofing in PROOFINGS:
        expected = [("L13", below[proofing])] if proofing in below else []
        assert found(claim, CARD, proofing=proofing) == expected
    assert set(below) == set(PROOFINGS[: PROOFINGS.index(minimum)])


def test_L13_names_the_minimum_and_what_is_there() -> None:
    (finding,) = findings("eidas-2015-1502: high", CARD, proofing="low")
    assert finding.message == "level 'it' claims eidas-2015-1502/high and asks for proofing 'low' only"
    assert finding.advice == "write 'proofing: high'"
    (finding,) = findings("iso29115:2013: loa4", CARD)
    assert finding.message == "level 'it' claims iso29115:2013/loa4 and asks for no proofing"


TWO_FACTORS = [
    ("nist-800-63b:r3: aal", 2),
    ("nist-800-63b:r4: aal", 2),
    ("x1254:2012: loa", 3),
    ("x1254:2020: aal", 2),
    ("iso29115:2013: loa", 3),
]
LIMITS = {"session_limit": "1h", "idle_limit": "5m", "proofing": "high"}


@pytest.mark.parametrize(("claim", "first"), TWO_FACTORS)
def test_L3_and_L4_begin_at_the_first_level_of_two_factors(claim: str, first: int) -> None:
    bare = "{factor: passkey, without: backup_eligible}"
    assert found(f"{claim}{first - 1}", ONE, **LIMITS) == []
    assert found(f"{claim}{first - 1}", bare, **LIMITS) == []
    assert ("L3", "error") in found(f"{claim}{first}", ONE, **LIMITS)
    assert found(f"{claim}{first}", bare, **LIMITS) == [("L4", "error")]


@pytest.mark.parametrize("claim", [*(f"{name}{first}" for name, first in TWO_FACTORS), "eidas-2015-1502: substantial"])
def test_L5_allows_copies_below_the_highest_level_and_not_there(claim: str) -> None:
    copied = "{factor: passkey, flags: [user_verified, attested]}"
    highest = {"x1254:2012: loa3": "x1254:2012: loa4", "iso29115:2013: loa3": "iso29115:2013: loa4"}
    above = highest.get(claim, claim.replace("aal2", "aal3").replace("substantial", "high"))
    assert found(claim, copied, **LIMITS) == []
    assert found(above, copied, **LIMITS) == [("L5", "error")]
    # That it had not been copied when it was used does not say that it cannot be.
    not_yet = "{factor: passkey, flags: [user_verified, attested], without: backed_up}"
    assert found(above, not_yet, **LIMITS) == [("L5", "error")]
    assert found(above, CARD, **LIMITS) == []


def test_L17_a_key_may_have_been_copied_and_nothing_else() -> None:
    claim = "nist-800-63b:r3: aal1"
    for factor, expected in (("passkey", []), ("certificate", []), ("totp", [("L17", "warning")])):
        assert found(claim, f"{{factor: {factor}, flags: backed_up}}", **LIMITS) == expected


HIGHEST = ["eidas-2015-1502: high", "x1254:2012: loa4", "x1254:2020: aal3", "iso29115:2013: loa4"]


@pytest.mark.parametrize("claim", HIGHEST)
@pytest.mark.parametrize(
    "needs",
    [
        "{factor: password}, {factor: sms_otp}",
        "{factor: password}, {factor: email_otp}",
        "{factor: password}, {category: possession, without: backup_eligible}",
        "{factor: password}, {factor: sms_otp}, {factor: email_otp}",
    ],
)
def test_OTP_08_L33_nothing_that_is_sent_is_all_that_is_held_at_the_highest_level(claim: str, needs: str) -> None:
    assert ("L33", "error") in found(claim, needs, **LIMITS)


@pytest.mark.parametrize("claim", HIGHEST)
@pytest.mark.parametrize("needs", [PAIR, f"{{factor: sms_otp}}, {CARD}", "{category: knowledge}, {factor: hotp}"])
def test_L33_says_nothing_where_something_else_is_held_and_nothing_below(claim: str, needs: str) -> None:
    assert "L33" not in {rule for rule, _severity in found(claim, needs, **LIMITS)}
    below = {"high": "substantial", "loa4": "loa3", "aal3": "aal2"}
    framework, _, level = claim.rpartition(" ")
    lower = f"{framework} {below[level]}"
    assert "L33" not in {rule for rule, _severity in found(lower, "{factor: password}, {factor: sms_otp}", **LIMITS)}


def test_L1_and_L2_say_nothing_at_aal1() -> None:
    for revision in ("r3", "r4"):
        claim = f"nist-800-63b:{revision}: aal1"
        assert found(claim, "{factor: [email_otp, sms_otp]}", session_limit="1h") == []


def test_messages_count_and_name_what_is_there() -> None:
    (one,) = findings("x1254:2020: aal2", ONE)
    assert one.message == "level 'it' claims x1254:2020/aal2, but here it asks for one factor"
    (two,) = findings("x1254:2020: aal2", "{factor: totp}, {factor: sms_otp}")
    assert two.message.endswith("but here it asks for 2 factors that may all be of one category")
    (unsaid,) = findings("nist-800-63b:r4: aal1", "{factor: mobile_id}", session_limit="1h")
    assert unsaid.message.endswith("and admits an approval on a phone, and does not say what is carried over")
    bare = TEXT.replace("password: {min_length: 15}", "mobile_id: {transfer: none}").replace(
        "SETTINGS", "    session_limit: 1h\n"
    )
    text = bare.replace("CLAIM", "nist-800-63b:r4: aal1").replace("ANY_OF", "      - all_of: [{factor: mobile_id}]\n")
    (bare_approval,) = lint(policy(text))
    assert bare_approval.message.endswith("with nothing carried over")


SAML = "urn:oasis:names:tc:SAML:2.0:ac:classes:"
PROMISES = [
    # value, claim, what keeps its promise, what does not
    ("https://refeds.org/profile/mfa", "acme:1: a", (PAIR, KEY), (ONE,)),
    (f"{SAML}MobileTwoFactorUnregistered", "acme:1: a", (PAIR,), ("{factor: sms_otp}",)),
    (f"{SAML}MobileTwoFactorContract", "acme:1: a", (PAIR,), ("{factor: passkey}",)),
    (f"{SAML}TimeSyncToken", "acme:1: a", ("{factor: totp}",), ("{factor: [totp, hotp]}",)),
    (f"{SAML}X509", "acme:1: a", ("{factor: certificate}",), ("{factor: [certificate, mobile_id]}",)),
    (f"{SAML}TLSClient", "acme:1: a", ("{factor: certificate}",), ("{factor: certificate}", PAIR)),
    (f"{SAML}SmartcardPKI", "acme:1: a", ("{factor: certificate, flags: user_verified}",), ("{factor: certificate}",)),
    (f"{SAML}SmartcardPKI", "acme:1: a", ("{factor: password}, {factor: certificate}",), (PAIR,)),
    ("http://bsi.bund.de/eID/LoA/normal", "eidas-2015-1502: low", (ONE,), None),
    ("http://bsi.bund.de/eID/LoA/substantiell", "eidas-2015-1502: substantial", (PAIR,), None),
    ("http://bsi.bund.de/eID/LoA/hoch", "eidas-2015-1502: high", (CARD,), None),
]


@pytest.mark.parametrize(("uri", "claim", "kept", "broken"), PROMISES)
def test_L26_each_well_known_value(uri: str, claim: str, kept: tuple[str, ...], broken: tuple[str, ...] | None) -> None:
    def rules(any_of: tuple[str, ...], claimed: str = claim) -> list[str]:
        text = "frameworks: [{id: acme:1, levels: [a]}]\nfactors:"
        alternatives = "".join(f"      - all_of: [{needs}]\n" for needs in any_of)
        made = TEXT.replace("factors:", text).replace("CLAIM", claimed).replace("ANY_OF", alternatives)
        settings = f"    acr: {uri}\n    proofing: high\n"
        return [item.rule for item in lint(policy(made.replace("SETTINGS", settings)))]

    assert rules(kept) == []
    assert rules(kept if broken is None else broken, "acme:1: a") == ["L26"]


UPSTREAM = """\
policy: 1
name: elsewhere
upstream:
  - issuer: https://idp.example.org
    cap: it
    max_age: 10m
    mappings:
      - WHENevidence: [EVIDENCE]
levels:
  - name: it
    any_of:
      - all_of:
          - {category: knowledge, issuer: https://idp.example.org}
          - {category: OTHER, issuer: https://idp.example.org}
rules:
  - {id: sign-in, action: sign_in, require: it}
"""


def elsewhere(evidence: str, other: str, when: str = "when: {acr: urn:x}\n        ") -> list[str]:
    text = UPSTREAM.replace("EVIDENCE", evidence).replace("OTHER", other).replace("WHEN", when)
    return [item.rule for item in lint(policy(text))]


def test_L14_two_factors_of_one_login_are_told_apart_by_their_categories() -> None:
    assert elsewhere("{category: knowledge}, {category: possession}", "possession") == []
    assert elsewhere("{category: knowledge}, {category: knowledge, flags: attested}", "knowledge") == ["L14", "L17"]


@pytest.mark.parametrize(
    "evidence",
    [
        "{category: knowledge}, {category: possession}",
        "{category: knowledge, factor: password}, {category: knowledge}",
        "{category: possession}",
        "{category: knowledge, flags: phishing_resistant}",
    ],
)
def test_L14_whatever_is_more_than_the_lowest_needs_a_reason(evidence: str) -> None:
    text = UPSTREAM.replace("EVIDENCE", evidence).replace("OTHER", "possession").replace("WHEN", "")
    said = [item.message for item in lint(policy(text))]
    assert "every login at this issuer counts as this, whatever it was" in said


def test_L14_the_lowest_needs_none() -> None:
    text = UPSTREAM.replace("EVIDENCE", "{category: knowledge}").replace("WHEN", "")
    one = text.replace("          - {category: OTHER, issuer: https://idp.example.org}\n", "")
    assert lint(policy(one)) == ()


@pytest.mark.parametrize("condition", ["class: urn:x", "acr: urn:x", "amr: mfa", "attribute: {loa: [high]}"])
def test_L14_and_L27_any_condition_is_one(condition: str) -> None:
    evidence = "{category: knowledge}, {category: possession}"
    assert elsewhere(evidence, "possession", when=f"when: {{{condition}}}\n        ") == []


def test_L17_only_something_held_that_verified_its_user_is_two_categories() -> None:
    text = UPSTREAM.replace("WHEN", "when: {acr: urn:x}\n        ").replace("OTHER", "possession")
    alone = text.replace(
        "          - {category: possession, issuer: https://idp.example.org}\n", "        different_categories: 2\n"
    )
    for category, expected in (("knowledge", ["L14", "L17"]), ("possession", [])):
        made = alone.replace("EVIDENCE", f"{{category: {category}, flags: user_verified}}")
        made = made.replace("{category: knowledge, issuer", f"{{category: {category}, issuer")
        assert [item.rule for item in lint(policy(made))] == expected


def test_L17_one_factor_of_our_own_meets_one_requirement() -> None:
    assert found("x1254:2020: aal1", "{factor: totp}, {category: possession}") == []
    assert found("x1254:2020: aal1", "{factor: totp}, {factor: totp, max_age: 5m}") == [("L17", "warning")]


def test_L6_each_requirement_is_named_unless_the_file_says_it_in_one_place() -> None:
    ways = ("{factor: mobile_id}", "{factor: mobile_id}, {factor: totp}")
    said = findings("nist-800-63b:r4: aal1", *ways, session_limit="1h")
    assert [item.where.line for item in said if item.rule == "L6"] == [10, 11]
    text = TEXT.replace("password: {min_length: 15}", "mobile_id: {lifetime: 5m}").replace(
        "SETTINGS", "    session_limit: 1h\n"
    )
    any_of = "".join(f"      - all_of: [{needs}]\n" for needs in ways)
    once = lint(policy(text.replace("CLAIM", "nist-800-63b:r4: aal1").replace("ANY_OF", any_of)))
    assert [item.where.line for item in once if item.rule == "L6"] == [4]


def test_evidence_counts_for_a_rule_only_up_to_every_level_that_it_requires() -> None:
    """L29: what is capped at one of the two levels shows nothing of the other."""
    text = """\
policy: 1
name: capped
upstream:
  - {issuer: https://idp.example.org, cap: one, max_age: 10m}
levels:
  - {name: one, any_of: [{all_of: [{factor: totp}]}]}
  - {name: other, any_of: [{all_of: [{factor: sms_otp}]}]}
rules:
  - id: sign
    action: signature.activate
    require: REQUIRE
    evidence:
      - {category: [knowledge, possession], issuer: [self, https://idp.example.org], per_transaction: true}
"""
    columns = []
    for required in ("one", "[one, other]"):
        made = policy(text.replace("REQUIRE", required))
        (column,) = Subject(made, NOTHING_KNOWN).columns(made.rule_quests["sign"])
        columns.append({item.offer.issuer for item in column})
    assert columns == [{"self", "https://idp.example.org"}, {"self"}]
