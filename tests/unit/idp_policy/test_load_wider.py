"""The loader on edges, limits, other identity providers, conditions and notified levels."""

from __future__ import annotations

from datetime import time
from time import thread_time

import pytest

from idp.policy.errors import PolicyLoadError
from idp.policy.keys import MAX_FRAMEWORK_LEVELS, MAX_LEVELS
from idp.policy.model import Claim, TimeCondition
from tests.unit.idp_policy.support import POLICY, faults, policy
from tests.unit.idp_policy.test_load import SMALL, changed

EVERYTHING = """\
policy: 1
name: everything
frameworks:
  - {id: acme:2026, levels: [bronze, gold]}
implies:
  - {from: nist-800-63b:r4/aal2, to: iso29115:2013/loa3}
  - {from: iso29115:2013/loa3, to: acme:2026/gold}
factors:
  password: {min_length: 15}
  sms_otp: {lifetime: 5m, max_failures: 100, restricted_notice: true, reset_on_resend: false}
  totp: {step: 30s, max_failures: 100}
  mobile_id: {transfer: number}
upstream:
  - issuer: [https://idp.example.org]
    cap: two
    max_age: 10m
    mappings:
      - when: {class: [urn:c], acr: [urn:a], amr: [mfa, pwd], attribute: {loa: [high]}}
        evidence:
          - {category: knowledge}
          - {category: possession, factor: totp, flags: [phishing_resistant]}
levels:
  - name: one
    any_of: [{all_of: [{factor: password}]}]
  - name: two
    claims: {nist-800-63b:r4: aal2, eidas-2015-1502: substantial}
    acr: [urn:a, urn:both]
    saml: [urn:oasis:names:tc:SAML:2.0:ac:classes:MobileTwoFactorContract, urn:both]
    notified: true
    statement: OJ C, 2026/1.
    implies: one
    any_of: [{all_of: [{factor: passkey, channel: [usb, nfc], attestation: [maker-1]}]}]
rules:
  - id: office
    action: sign_in
    when:
      attribute: {department: [legal, board]}
      network: [192.0.2.0/24, "2001:db8::/32", 198.51.100.7]
      time: {days: [mon, fri], from: "08:00", to: "18:00", zone: Europe/Berlin}
    require: two
"""


def test_every_key_of_the_language_is_read() -> None:
    read = policy(EVERYTHING)

    assert [(edge.stronger, edge.weaker, edge.where.line) for edge in read.edges] == [
        (Claim("nist-800-63b:r4", "aal2"), Claim("iso29115:2013", "loa3"), 6),
        (Claim("iso29115:2013", "loa3"), Claim("acme:2026", "gold"), 7),
    ]
    sms, word, phone = (read.factors[name] for name in ("sms_otp", "password", "mobile_id"))
    assert (sms.lifetime, sms.max_failures, sms.restricted_notice, sms.reset_on_resend) == (300, 100, True, False)
    assert (word.min_length, word.lifetime, phone.transfer, read.factors["totp"].step) == (15, None, "number", 30)
    (elsewhere,) = read.upstream
    assert elsewhere.issuers == {"https://idp.example.org"}
    assert (elsewhere.cap, elsewhere.max_age) == ("two", 600)
    (mapping,) = elsewhere.mappings
    assert [sorted(names) for names in (mapping.classes, mapping.acr, mapping.amr)] == [
        ["urn:c"], ["urn:a"], ["mfa", "pwd"],
    ]  # fmt: skip
    assert mapping.attributes == {"loa": {"high"}}
    assert [(item.factor, item.category, item.flags) for item in mapping.evidence] == [
        ("upstream", "knowledge", frozenset()), ("totp", "possession", frozenset({"phishing_resistant"})),
    ]  # fmt: skip
    _, two = read.levels
    assert (two.notified, two.statement, two.saml[1]) == (True, "OJ C, 2026/1.", "urn:both")
    (need,) = two.any_of[0].all_of
    assert need.channels == {"usb", "nfc"}
    assert need.attestations == {"maker-1"}
    when = read.rules[0].when
    assert when.attributes == {"department": {"legal", "board"}}
    assert [str(network) for network in when.networks] == ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"]
    assert when.time == TimeCondition(frozenset({"mon", "fri"}), time(8), time(18), "Europe/Berlin")
    assert (read.by_saml["urn:both"].name, read.by_issuer["https://idp.example.org"].cap) == ("two", "two")
    assert read.frameworks["acme:2026"] == ("bronze", "gold")


def test_claims_follow_from_the_order_of_a_framework_from_edges_and_from_implied_levels() -> None:
    read = policy(EVERYTHING)

    assert read.claims_of("one") == frozenset()
    assert sorted((claim.framework, claim.level) for claim in read.claims_of("two")) == [
        ("acme:2026", "bronze"), ("acme:2026", "gold"),
        ("eidas-2015-1502", "low"), ("eidas-2015-1502", "substantial"),
        ("iso29115:2013", "loa1"), ("iso29115:2013", "loa2"), ("iso29115:2013", "loa3"),
        ("nist-800-63b:r4", "aal1"), ("nist-800-63b:r4", "aal2"),
    ]  # fmt: skip
    over_an_edge = policy(
        changed("nist-800-63b:r4: aal2, eidas-2015-1502: substantial", "nist-800-63b:r4: aal3", EVERYTHING)
        .replace("to: iso29115:2013/loa3", "to: eidas-2015-1502/high")
    )  # fmt: skip
    assert [level.loa for level in over_an_edge.levels] == [None, "high"]
    implied = policy(changed("    implies: low\n    proofing: low", "    implies: [low]\n    proofing: low", POLICY))
    assert Claim("acme:2026", "bronze") in implied.claims_of("substantial")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # edges
        ("to: iso29115:2013/loa3", "to: iso29115:2013", [
            "6:38: to 'iso29115:2013' is not a framework and a level, such as x1254:2020/aal2",
        ]),
        ("to: iso29115:2013/loa3", "to: iso29115/loa3", [
            "6:38: L19 unknown framework 'iso29115'; say which edition: iso29115:2013",
        ]),
        ("to: iso29115:2013/loa3", "to: iso29115:2013/loa5", [
            "6:38: unknown level of iso29115:2013 'loa5'; known are loa1, loa2, loa3, loa4",
        ]),
        ("to: iso29115:2013/loa3", "to:", ["6:37: to is empty"]),
        (", to: iso29115:2013/loa3", "", ["6:5: an edge has no 'to'"]),
        ("nist-800-63b:r4/aal2, to: iso29115:2013/loa3", "acme:2026/bronze, to: acme:2026/gold", [
            "6:5: L16 an edge joins two frameworks; the order within 'acme:2026' is fixed",
        ]),
        ("{from: iso29115:2013/loa3, to: acme:2026/gold}", "{from: nist-800-63b:r4/aal2, to: iso29115:2013/loa3}", [
            "7:5: edge 'nist-800-63b:r4/aal2 to iso29115:2013/loa3' is given twice, first in line 6",
        ]),
        # aal2 > loa3 > gold, and gold > aal3 would make aal2 include aal3
        ("  - {from: iso29115:2013/loa3, to: acme:2026/gold}\n",
         "  - {from: iso29115:2013/loa3, to: acme:2026/gold}\n  - {from: acme:2026/gold, to: nist-800-63b:r4/aal3}\n", [
            "6:5: L16 'nist-800-63b:r4/aal2' may not include 'iso29115:2013/loa3', which includes "
            "'nist-800-63b:r4/aal2' already",
            "7:5: L16 'iso29115:2013/loa3' may not include 'acme:2026/gold', which includes "
            "'iso29115:2013/loa3' already",
            "8:5: L16 'acme:2026/gold' may not include 'nist-800-63b:r4/aal3', which includes 'acme:2026/gold' already",
        ]),
        # factors
        ("password: {min_length: 15}", "password: {}", ["9:13: password has no limit"]),
        ("password: {min_length: 15}", "password: {min_length: 0}", ["9:26: min_length is 1 to 1000"]),
        ("password: {min_length: 15}", "password: {lifetime: 5m}", [
            "9:14: unknown key 'lifetime' in limits of password; known are min_length, max_failures",
        ]),
        ("password: {min_length: 15}", "passkey: {max_failures: 3}", [
            "9:3: factor 'passkey' has no limits; those that do are password, sms_otp, email_otp, totp, hotp, "
            "recovery_code, mobile_id",
        ]),
        ("password: {min_length: 15}", "pasword: {min_length: 15}", [
            "9:3: unknown factor 'pasword'; known are password, sms_otp, email_otp, totp, hotp, recovery_code, "
            "mobile_id",
        ]),
        ("transfer: number", "transfer: shout", ["12:25: unknown transfer 'shout'; known are number, qr, none"]),
        # upstream
        ("issuer: [https://idp.example.org]", "issuer: [self]", [
            "14:14: issuer 'self' is this identity provider",
        ]),
        ("cap: two", "cap: three", ["15:10: unknown level 'three'; known are one, two"]),
        ("    cap: two\n", "", ["14:5: an upstream provider has no 'cap'"]),
        ("    cap: two\n", "    cap:\n", ["15:9: cap is empty"]),
        ("cap: two", "cap: [one, two]", ["15:10: cap is a single value"]),
        ("levels:\n", "  - {issuer: https://idp.example.org, cap: one}\nlevels:\n", [
            "22:14: issuer 'https://idp.example.org' is given twice, first in line 14",
        ]),
        ("when: {class: [urn:c], acr: [urn:a], amr: [mfa, pwd], attribute: {loa: [high]}}", "when: {}", [
            "18:15: when has no condition",
        ]),
        ("attribute: {loa: [high]}", "attribute: {}", ["18:74: attribute has no condition"]),
        ("{category: knowledge}", "{factor: upstream}", ["20:13: evidence has no 'category'"]),
        ("{category: knowledge}", "{category: luck}", [
            "20:24: unknown category 'luck'; known are knowledge, possession, inherence",
        ]),
        ("flags: [phishing_resistant]", "flags: [transaction_bound]", [
            "21:58: unknown flags 'transaction_bound'; known are attested, backed_up, backup_eligible, "
            "phishing_resistant, restricted, user_verified",
        ]),
        # levels
        ("    notified: true\n    statement: OJ C, 2026/1.\n", "    notified: true\n", [
            "29:15: L12 notified needs a statement: what the claim rests on",
        ]),
        ("notified: true", "notified: false", ["30:16: L12 statement is there for 'notified: true' only"]),
        (", eidas-2015-1502: substantial", "", [
            "29:15: L12 level 'two' claims no level of eidas-2015-1502 that could be notified",
        ]),
        ("urn:both]\n    saml", "http://eidas.europa.eu/LoA/medium, urn:both]\n    saml", [
            "27:18: L12 acr 'http://eidas.europa.eu/LoA/medium' names no level of eIDAS (low, substantial, high)",
        ]),
        ("[urn:oasis", "[http://eidas.europa.eu/LoA/high, urn:oasis", [
            "28:12: L12 'http://eidas.europa.eu/LoA/high' says more than level 'two' claims; claims needs "
            "eidas-2015-1502: high",
        ]),
        ("  - name: one\n", "  - name: one\n    saml: urn:both\n", [
            "28:18: L15 acr 'urn:both' is given twice, first in line 24; it expresses one level",
            "29:76: L15 saml 'urn:both' is given twice, first in line 24; it expresses one level",
        ]),
        ("attestation: [maker-1]", "attestation: []", ["32:76: attestation may not be empty"]),
        # conditions
        ("{department: [legal, board]}", "{}", ["37:18: attribute has no condition"]),
        ("{department: [legal, board]}", "{1st: x}", [
            "37:19: attribute '1st' is not a name of letters, digits, '_', '.', ':', '/' and '-' that begins with a "
            "letter",
        ]),
        ("{department: [legal, board]}", "{department: }", ["37:30: attribute department is empty"]),
        ("192.0.2.0/24", "192.0.2.1/24", [
            "38:17: network '192.0.2.1/24' has bits set beyond its length; it is 192.0.2.0/24",
        ]),
        ("192.0.2.0/24", "192.0.2.0/33", [
            "38:17: network '192.0.2.0/33' is no range of addresses, such as 192.0.2.0/24",
        ]),
        ("192.0.2.0/24", '"fe80::%1/64"', [
            "38:17: network 'fe80::%1/64' is no range of addresses, such as 192.0.2.0/24",
        ]),
        ("192.0.2.0/24", '"::ffff:192.0.2.0/120"', [
            "38:17: network '::ffff:192.0.2.0/120' is written as IPv4; addresses are compared as such",
        ]),
        ("zone: Europe/Berlin", "zone: Europe/Bonn", [
            "39:66: unknown zone 'Europe/Bonn'; a zone is a name such as Europe/Berlin or UTC",
        ]),
        ("zone: Europe/Berlin", "zone: ../../etc/passwd", [
            "39:66: unknown zone '../../etc/passwd'; a zone is a name such as Europe/Berlin or UTC",
        ]),
        ("zone: Europe/Berlin", "zone:", ["39:65: zone is empty"]),
        ('to: "18:00"', 'to: "24:00"', ["39:51: to '24:00' is not a time of day from 00:00 to 23:59"]),
        ("{days: [mon, fri], from: \"08:00\", to: \"18:00\", zone: Europe/Berlin}", "{zone: UTC}", [
            "39:13: time names neither days nor hours",
        ]),
        ("days: [mon, fri]", "days: [mon, friday]", [
            "39:26: unknown days 'friday'; known are fri, mon, sat, sun, thu, tue, wed",
        ]),
    ],
)  # fmt: skip
def test_a_fault_in_the_wider_language_is_named_with_its_place(old: str, new: str, expected: list[str]) -> None:
    assert ruled_faults(changed(old, new, EVERYTHING)) == expected


def ruled_faults(text: str) -> list[str]:
    """Faults with the lint rule they break, where it is not the grammar itself."""
    with pytest.raises(PolicyLoadError) as refusal:
        policy(text)
    return [
        f"{fault.line}:{fault.column}: {'' if fault.rule == 'L20' else fault.rule + ' '}{fault.message}"
        for fault in refusal.value.faults
    ]


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (changed("    any_of:\n", "    claims: {acme: aal1}\n    any_of:\n"), ["L19"]),
        (changed("    any_of:\n", "    claims: {acme:1: aal1}\n    any_of:\n"), ["L20"]),
        (changed("levels:\n", "frameworks:\n  - {id: acme, levels: [a]}\nlevels:\n"), ["L19"]),
        (changed("    any_of:\n", "    implies: low\n    any_of:\n"), ["L16"]),
        (changed("name: small", "name: &a small"), ["L20"]),
    ],
)
def test_a_fault_names_the_lint_rule_that_it_breaks(text: str, rules: list[str]) -> None:
    with pytest.raises(PolicyLoadError) as refusal:
        policy(text)
    assert [fault.rule for fault in refusal.value.faults] == rules


def test_a_file_of_endless_lists_is_refused_in_bounded_time() -> None:
    level = "  - {{name: n{0}, implies: n{1}, any_of: [{{all_of: [{{factor: totp}}]}}]}}\n"
    many = "".join(level.format(number, number - 1) for number in range(1, 3000))
    started = thread_time()
    found = faults(SMALL.replace("rules:\n", f"{many}rules:\n").replace("name: low", "name: n0"))
    assert f"4:3: levels has more than {MAX_LEVELS} items" in found
    assert thread_time() - started < 30


def test_a_framework_of_endless_levels_is_refused() -> None:
    names = ", ".join(f"l{number}" for number in range(MAX_FRAMEWORK_LEVELS + 1))
    text = changed("levels:\n", f"frameworks: [{{id: acme:1, levels: [{names}]}}]\nlevels:\n")
    assert faults(text) == [f"3:14: a framework has at most {MAX_FRAMEWORK_LEVELS} levels"]
