"""The loader: what it reads, and each fault with its line and column."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from idp.policy.document import MAX_DEPTH, MAX_FAULTS, MAX_OCTETS
from idp.policy.errors import Fault, PolicyLoadError
from idp.policy.load import load_policy
from idp.policy.model import Claim, Where
from tests.unit.idp_policy.support import FILE, POLICY, faults, policy

SMALL = """\
policy: 1
name: small
levels:
  - name: low
    any_of:
      - all_of:
          - factor: password
rules:
  - id: sign-in
    action: sign_in
    require: low
"""


def changed(old: str, new: str, text: str = SMALL) -> str:
    """The text with one thing changed."""
    assert text.count(old) == 1
    return text.replace(old, new)


def test_a_file_becomes_a_policy() -> None:
    sample = policy()

    assert (sample.name, sample.file) == ("sample", FILE)
    assert sample.sha256 == hashlib.sha256(POLICY.encode()).hexdigest()
    low, substantial, high, federated, _ = sample.levels
    assert low.where == Where(FILE, 8, 5)
    assert low.acr == ("urn:example:low", "urn:example:low:alias")
    assert low.claims == (Claim("eidas-2015-1502", "low"), Claim("acme:2026", "bronze"))
    assert (low.proofing, low.freshness, low.session_limit, low.idle_limit) == ("none", None, 43200, None)
    assert (substantial.title, substantial.implies, substantial.proofing) == ("two factors", ("low",), "low")
    assert (substantial.freshness, substantial.session_limit, substantial.idle_limit) == (3600, 28800, 1800)
    pair, passkey = substantial.any_of
    assert (pair.different_categories, passkey.different_categories) == (2, 2)
    assert pair.all_of[1].factors == {"sms_otp", "email_otp", "totp"}
    (card,) = high.any_of[0].all_of
    assert (card.categories, card.flags) == (frozenset({"possession"}), frozenset({"user_verified", "attested"}))
    assert card.without == {"backup_eligible"}
    (elsewhere,) = federated.any_of[0].all_of
    assert elsewhere.issuers == {"https://login.example.org"}
    assert (elsewhere.max_age, elsewhere.per_transaction) == (300, False)
    assert [level.loa for level in sample.levels] == ["low", "substantial", "high", None, None]


def test_rules_keep_their_conditions_and_places() -> None:
    rules = {rule.id: rule for rule in policy().rules}

    assert rules["sign-in"].where.line == POLICY[: POLICY.index("- id: sign-in")].count("\n") + 1
    assert rules["partner"].when.clients == {"example-contracts"}
    assert rules["lawyers"].when.groups == {"legal", "board"}
    assert rules["lawyers"].because == "They see privileged papers."
    assert rules["sign"].evidence[0].per_transaction
    assert rules["sign"].evidence_set is not None
    assert rules["sign-in"].evidence_set is None
    credential = rules["qualified"].when.credential
    assert credential is not None
    assert (credential.scal, credential.qualifiers, credential.ids) == (
        frozenset({"2"}), frozenset({"eu_eidas_qes"}), frozenset(),
    )  # fmt: skip


def test_rules_are_found_by_exact_name_and_by_prefix_each_once() -> None:
    sample = policy()

    assert [rule.id for rule in sample.rules_about("document.read")] == ["reading", "documents"]
    assert [rule.id for rule in sample.rules_about("document.write")] == ["documents"]
    assert [rule.id for rule in sample.rules_about("admin.users")] == ["administration"]
    assert [rule.id for rule in sample.rules_about("admin.policy.approve")] == ["administration"]
    assert [rule.id for rule in sample.rules_about("documents")] == []
    assert [rule.id for rule in sample.rules_about("admin.*")] == ["administration"]
    assert [rule.id for rule in sample.rules_about("credential.create")] == []


def test_levels_imply_over_several_edges() -> None:
    sample = policy()

    assert [level.name for level in sample.stronger["low"]] == ["low", "substantial", "high"]
    assert sample.implies("high", "low")
    assert sample.implies("low", "low")
    assert not sample.implies("low", "high")
    assert not sample.implies("federated", "low")


def test_two_ways_to_the_same_level_are_no_cycle() -> None:
    level = "  - {{name: {}, implies: [{}], any_of: [{{all_of: [{{factor: totp}}]}}]}}\n"
    above = level.format("left", "low") + level.format("right", "low") + level.format("top", "left, right")
    assert [item.name for item in policy(changed("rules:\n", above + "rules:\n")).stronger["low"]] == [
        "low", "left", "right", "top",
    ]  # fmt: skip


def test_the_small_policy_is_sound() -> None:
    assert faults(SMALL) == []


def test_text_stays_text_whatever_it_looks_like() -> None:
    assert policy(changed("name: small", "name: no")).name == "no"
    assert policy(changed("name: small", "name: 1e3")).name == "1e3"
    assert policy(changed("name: small", 'name: "2026-01-01"')).name == "2026-01-01"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # YAML
        ("", ["1:1: the file is empty"]),
        ("# only a comment\n", ["1:1: the file is empty"]),
        (b"policy: 1\nname: \xff\n", ["2:7: not UTF-8"]),
        ("policy: 1\nname: a\x00b\n", ["2:8: a character that YAML does not allow"]),
        ("policy: [1\n", ["2:1: not YAML: expected ',' or ']', but got '<stream end>'"]),
        ("policy: 'open\n", ["2:1: not YAML: found unexpected end of stream"]),
        ("policy: @1\n", ["1:9: not YAML: found character '@' that cannot start any token"]),
        (SMALL + "---\nmore: 1\n", ["13:1: a second document: a file is one policy"]),
        ("%YAML 1.1\n---\n" + SMALL, ["1:1: directives are not allowed"]),
        ("- policy\n", ["1:1: a policy is written as keys with values"]),
        (changed("name: small", "name: &a small"), ["2:7: anchor '&a': anchors are not allowed"]),
        (changed("name: small", "name: !!str small"), [
            "2:7: tag 'tag:yaml.org,2002:str': tags are not allowed, the schema gives each value its type",
        ]),
        (changed("name: small", "name: small\nname: again"), [
            "3:1: key 'name' is given twice, first in line 2",
        ]),
        (changed("name: small", "name: small\n[a]: b"), ["3:1: a key is a single word"]),
        # keys
        (changed("name: small", "nmae: small"), [
            "1:1: a policy has no 'name'",
            "2:1: unknown key 'nmae' in a policy; known are policy, name, levels, rules, description, frameworks, "
            "actions, implies, factors, upstream",
        ]),
        (changed("policy: 1", "policy: 2"), ["1:9: 'policy', the version of the language, is 1"]),
        (changed("policy: 1", 'policy: "1"'), ["1:9: 'policy', the version of the language, is a whole number"]),
        (changed("name: small", "name:"), ["2:6: name is empty"]),
        (changed("name: small", "name: Small one"), [
            "2:7: name 'Small one' is not a name of lower-case letters, digits, '-', '_' and '.'",
        ]),
        (changed("name: small", "name: [small]"), ["2:7: name is a single value"]),
        (changed("name: small", 'name: small\ndescription: "a\\e[31mb"'), [
            "3:14: description has a character that cannot be shown",
        ]),
        # frameworks and actions
        (changed("levels:\n", "frameworks: eidas\nlevels:\n"), ["3:13: frameworks is a list"]),
        (changed("levels:\n", "frameworks:\n  - {id: acme, levels: [a]}\nlevels:\n"), [
            "4:10: id 'acme' is not a framework with its edition, such as acme:2026",
        ]),
        (changed("levels:\n", "frameworks:\n  - {id: x1254:2020, levels: [a]}\nlevels:\n"), [
            "4:5: framework 'x1254:2020' is built in",
        ]),
        (changed("levels:\n", "frameworks: [{id: a:1, levels: [a]}, {id: a:1, levels: [b]}]\nlevels:\n"), [
            "3:38: framework 'a:1' is given twice, first in line 3",
        ]),
        (changed("levels:\n", "actions: [Read, sign_in, admin.x]\nlevels:\n"), [
            "3:11: action 'Read' is not words of a-z, 0-9 and '_' joined by '.'",
            "3:17: action 'sign_in' is built in",
            "3:26: action 'admin.x' is built in",
        ]),
        # levels
        (changed("    any_of:\n", "    claims: low\n    any_of:\n"), ["5:13: claims is written as keys with values"]),
        (changed("    any_of:\n", "    claims: {nist-800-63b: aal1}\n    any_of:\n"), [
            "5:14: unknown framework 'nist-800-63b'; say which edition: nist-800-63b:r3, nist-800-63b:r4",
        ]),
        (changed("    any_of:\n", "    claims: {acme: aal1}\n    any_of:\n"), [
            "5:14: unknown framework 'acme'; known are eidas-2015-1502, iso29115:2013, nist-800-63b:r3, "
            "nist-800-63b:r4, x1254:2012, x1254:2020",
        ]),
        (changed("    any_of:\n", "    claims: {x1254:2020: aal4}\n    any_of:\n"), [
            "5:26: unknown level of x1254:2020 'aal4'; known are aal1, aal2, aal3",
        ]),
        (changed("    any_of:\n", "    claims: {x1254:2020: }\n    any_of:\n"), ["5:25: level of x1254:2020 is empty"]),
        (changed("    any_of:\n", '    acr: ["a b", "0"]\n    any_of:\n'), [
            "5:11: acr 'a b' is not a URI or a registered name",
            "5:18: acr '0' is not a URI or a registered name",
        ]),
        (changed("    any_of:\n", "    acr: http://eidas.europa.eu/LoA/low\n    any_of:\n"), [
            "5:10: 'http://eidas.europa.eu/LoA/low' says more than level 'low' claims; claims needs "
            "eidas-2015-1502: low",
            "5:10: acr 'http://eidas.europa.eu/LoA/low' says that the scheme is notified under eIDAS; that needs "
            "'notified: true' and a statement, otherwise use http://eidas.europa.eu/NotNotified/LoA/...",
        ]),
        (changed("    any_of:\n", "    acr: [urn:a, urn:a]\n    any_of:\n"), ["5:18: 'urn:a' is given twice in acr"]),
        (changed("    any_of:\n", "    proofing: superb\n    any_of:\n"), [
            "5:15: unknown proofing 'superb'; known are none, low, substantial, high",
        ]),
        (changed("    any_of:\n", "    freshness: 30\n    any_of:\n"), [
            "5:16: freshness is a number and a unit (s, m, h, d), for example 30m",
        ]),
        (changed("    any_of:\n", "    idle_limit: [1h]\n    any_of:\n"), [
            "5:17: idle_limit is a number and a unit (s, m, h, d), for example 30m",
        ]),
        (changed("    any_of:\n", "    implies: medium\n    any_of:\n"), [
            "5:14: unknown level 'medium'; known are low",
        ]),
        (changed("    any_of:\n", "    implies: low\n    any_of:\n"), [
            "5:14: level 'low' implies itself by way of 'low'",
        ]),
        # evidence
        (changed("factor: password", "factor: pasword"), [
            "7:21: unknown factor 'pasword'; known are certificate, email_otp, hotp, mobile_id, passkey, password, "
            "recovery_code, sms_otp, totp, upstream",
        ]),
        (changed("factor: password", "factor: []"), ["7:21: factor may not be empty"]),
        (changed("factor: password", "factor:"), ["7:20: factor is empty"]),
        (changed("factor: password", "flags: attested"), ["7:13: a requirement names a factor or a category"]),
        (changed("factor: password", "category: luck"), [
            "7:23: unknown category 'luck'; known are inherence, knowledge, possession",
        ]),
        (changed("factor: password", "{factor: passkey, flags: attested, without: [attested]}"), [
            "7:13: 'attested' is both asked for and excluded",
        ]),
        (changed("factor: password", "{factor: passkey, flags: shiny}"), [
            "7:38: unknown flags 'shiny'; known are attested, backed_up, backup_eligible, phishing_resistant, "
            "restricted, transaction_bound, user_verified",
        ]),
        (changed("factor: password", "{factor: password, max_age: 0}"), [
            "7:41: max_age 0 is written as 'per_transaction: true'",
        ]),
        (changed("factor: password", "{factor: password, per_transaction: yes}"), [
            "7:49: per_transaction is true or false",
        ]),
        (changed("factor: password", '{factor: password, per_transaction: "true"}'), [
            "7:49: per_transaction is true or false",
        ]),
        (changed("      - all_of:\n", "      - different_categories: 4\n        all_of:\n"), [
            "6:31: different_categories is 1 to 3",
        ]),
        # rules
        (changed("action: sign_in", "action: sign_inn"), [
            "10:13: unknown action 'sign_inn'; known are account.enrol_factor, account.reset_factor, "
            "credential.create, credential.delete, credential.resume, credential.revoke, credential.suspend, sign_in, "
            "signature.activate, signature.activate_in_band, admin.<name>; declare others under 'actions'",
        ]),
        (changed("action: sign_in", "action: [admin.*, signature.*, sign_in, admin.x]"), []),
        (changed("require: low", "require: lowest"), ["11:14: unknown level 'lowest'; known are low"]),
        (changed("require: low", "require: low\n    when: {}"), ["12:11: when has no condition"]),
        (changed("require: low", "require: low\n    when: {credential: {}}"), ["12:24: credential has no condition"]),
        (changed("require: low", "require: low\n    when: {client: []}"), ["12:20: client may not be empty"]),
        (changed("require: low", 'require: low\n    when: {credential: {scal: "3"}}'), [
            "12:31: unknown scal '3'; known are 1, 2",
        ]),
        (changed("rules:\n", "rules: []\nrule:\n"), [
            "8:8: rules may not be empty",
            "9:1: unknown key 'rule' in a policy; known are policy, name, levels, rules, description, frameworks, "
            "actions, implies, factors, upstream",
        ]),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_place(text: str | bytes, expected: list[str]) -> None:
    assert faults(text) == expected


def test_an_unknown_action_with_a_wildcard_is_refused() -> None:
    (fault,) = faults(changed("action: sign_in", "action: documents.*"))
    assert fault.startswith("10:13: unknown action 'documents.*'")


def test_all_faults_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = (
        changed("name: small", "name: &x Small\ncolour: red").replace("password", "sword").replace("low\n", "lo w\n", 1)
    )

    lines = [fault.split(":")[0] for fault in faults(text)]

    assert lines == ["2", "2", "3", "5", "8", "12"]


def test_an_alias_is_refused_before_it_can_multiply() -> None:
    bomb = "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    found = faults(bomb)
    assert "2:8: alias '*a': aliases are not allowed, write the value out" in found
    assert "3:5: alias '*b': aliases are not allowed, write the value out" in found


def test_a_recursive_alias_is_refused() -> None:
    assert "1:8: alias '*a': aliases are not allowed, write the value out" in faults("a: &a [*a]\n")


def test_a_tree_deeper_than_any_policy_is_refused_without_recursion() -> None:
    (fault,) = faults("[" * 50_000)
    assert fault == f"1:{MAX_DEPTH + 1}: nested deeper than {MAX_DEPTH} levels"


def test_a_file_larger_than_any_policy_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (10 * 1024 * 1024))
    with pytest.raises(PolicyLoadError) as refusal:
        load_policy(path)
    assert refusal.value.faults == (Fault(str(path), 1, 1, f"larger than {MAX_OCTETS} octets"),)


def test_the_largest_allowed_file_is_read() -> None:
    padding = "#" * (MAX_OCTETS - len(SMALL.encode()) - 1) + "\n"
    assert len((SMALL + padding).encode()) == MAX_OCTETS
    assert faults(SMALL + padding) == []
    assert faults(SMALL + "#" + padding) == [f"1:1: larger than {MAX_OCTETS} octets"]


def test_the_number_of_faults_is_bounded() -> None:
    assert len(faults("".join(f"key{number}: x\n" for number in range(MAX_FAULTS * 2)))) == MAX_FAULTS


def test_a_file_is_read_with_the_path_as_given(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    loaded = load_policy(path)
    assert loaded.file == str(path)
    assert loaded.sha256 == hashlib.sha256(SMALL.encode()).hexdigest()


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(PolicyLoadError) as refusal:
        load_policy(tmp_path / "none.yaml")
    assert str(refusal.value) == f"{tmp_path / 'none.yaml'}:1:1: cannot be read: No such file or directory"
    assert refusal.value.code == "policy_unusable"


def test_a_fault_cannot_act_on_the_terminal() -> None:
    assert faults(SMALL + '"\\e[31m": x\n')[0].startswith("12:1: unknown key '\\u001b[31m' in a policy")


TWO = """\
policy: 1
name: two
levels:
  - name: weak
    proofing: low
    freshness: 1h
    any_of: [{all_of: [{factor: password}]}]
  - name: strong
    proofing: low
    freshness: 30m
    implies: weak
    any_of: [{all_of: [{factor: totp}]}]
rules: [{id: sign-in, action: sign_in, require: weak}]
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    proofing: low\n    freshness: 30m", "    proofing: none\n    freshness: 30m",
         "11:14: level 'strong' may not imply 'weak': it needs proofing 'none', 'weak' needs 'low'"),
        ("freshness: 30m", "freshness: 2h",
         "11:14: level 'strong' may not imply 'weak': its evidence may be older than the 3600 seconds of 'weak'"),
        ("    freshness: 30m\n", "",
         "10:14: level 'strong' may not imply 'weak': its evidence may be older than the 3600 seconds of 'weak'"),
        ("factor: password", "factor: password, per_transaction: true",
         "11:14: level 'strong' may not imply 'weak', which needs a factor for each transaction"),
    ],
)  # fmt: skip
def test_a_level_may_not_imply_one_that_asks_for_more(old: str, new: str, expected: str) -> None:
    assert faults(TWO) == []
    assert faults(changed(old, new, TWO)) == [expected]


def test_a_level_for_each_transaction_may_imply_another_such_level() -> None:
    assert faults(TWO.replace("factor: ", "per_transaction: true, factor: ")) == []


def test_a_level_cycle_is_refused() -> None:
    text = changed("    freshness: 1h", "    freshness: 30m\n    implies: strong", TWO)
    assert faults(text) == [
        "7:14: level 'weak' implies itself by way of 'strong'",
        "12:14: level 'strong' implies itself by way of 'weak'",
    ]


def test_names_are_given_once() -> None:
    text = changed("name: strong", "name: weak\n    acr: urn:a", TWO)
    text = changed("rules: [", "rules: [{id: sign-in, action: sign_in, require: weak}, ", text)
    text = changed("    freshness: 1h", "    freshness: 1h\n    acr: urn:a", text)
    assert [fault for fault in faults(text) if "twice" in fault] == [
        "9:5: level 'weak' is given twice, first in line 4",
        "10:10: acr 'urn:a' is given twice, first in line 7; it expresses one level",
        "15:56: rule 'sign-in' is given twice, first in line 15",
    ]
