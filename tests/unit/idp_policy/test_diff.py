"""How two policies differ, in words that a person acts on."""

from __future__ import annotations

import pytest

from idp.policy.diff import differences
from tests.unit.idp_policy.support import POLICY, policy

WIDE = POLICY.replace(
    "levels:\n",
    """\
implies:
  - {from: nist-800-63b:r4/aal2, to: eidas-2015-1502/substantial}
factors:
  password: {min_length: 15}
  sms_otp: {lifetime: 5m, restricted_notice: true}
upstream:
  - issuer: https://login.example.org
    cap: federated
    max_age: 10m
    mappings:
      - evidence: [{category: knowledge}]
levels:
""",
    1,
).replace(
    "when: {client: example-contracts}\n    require: substantial",
    "when: {client: example-contracts, network: 192.0.2.0/24, attribute: {site: bonn}, "
    'time: {days: [mon, fri], from: "08:00", to: "18:00", zone: Europe/Berlin}}\n    require: substantial',
    1,
)


def told(old: str, new: str, count: int = 1) -> list[str]:
    assert old in WIDE
    before, after = policy(WIDE), policy(WIDE.replace(old, new, count))
    return [str(item) for item in differences(before, after)]


def test_a_policy_does_not_differ_from_itself() -> None:
    assert differences(policy(WIDE), policy(WIDE)) == ()


def test_comments_layout_and_the_order_of_requirements_are_no_difference() -> None:
    new = "# why\n" + WIDE.replace(
        "          - factor: password\n          - factor: [sms_otp, email_otp, totp]",
        "          - factor: [totp, email_otp, sms_otp]\n\n          - {factor: password}",
    )
    assert differences(policy(WIDE), policy(new)) == ()


@pytest.mark.parametrize(
    ("old", "new", "texts"),
    [
        ("name: sample", "name: other", ["the policy: name 'sample' → 'other'"]),
        (
            "levels: [bronze, silver, gold]",
            "levels: [bronze, gold]",
            ["framework 'acme:2026': bronze, silver, gold → bronze, gold"],
        ),
        (
            "actions: [document.read, document.write]",
            "actions: [document.read, document.print]",
            [
                "the policy now also declares the action document.print",
                "the policy no longer declares the action document.write",
            ],
        ),
        (
            "r4/aal2, to: eidas-2015-1502/substantial",
            "r4/aal3, to: eidas-2015-1502/substantial",
            [
                "the policy no longer says that nist-800-63b:r4/aal2 implies eidas-2015-1502/substantial",
                "the policy now says that nist-800-63b:r4/aal3 implies eidas-2015-1502/substantial",
            ],
        ),
        ("freshness: 1h", "freshness: 8h", ["level 'substantial': freshness 1 h → 8 h"]),
        ("    idle_limit: 30m\n", "", ["level 'substantial': idle_limit 30 min → none"]),
        ("proofing: low", "proofing: substantial", ["level 'substantial': proofing low → substantial"]),
        ("title: two factors", "title: two", ["level 'substantial': title two factors → two"]),
        (
            "[urn:example:low, urn:example:low:alias]",
            "urn:example:low",
            ["level 'low': acr urn:example:low, urn:example:low:alias → urn:example:low"],
        ),
        (
            "acme:2026: bronze",
            "acme:2026: silver",
            ["level 'low' now also claims acme:2026/silver", "level 'low' no longer claims acme:2026/bronze"],
        ),
        (
            "      - all_of: [{factor: password}]\n",
            "      - all_of: [{factor: password}]\n      - all_of: [{factor: totp, max_age: 5m}]\n",
            ["level 'low' is now also reached by authenticator app code not older than 5 min"],
        ),
        (
            "      - all_of: [{factor: hotp}]",
            "      - all_of: [{factor: totp}]",
            [
                "level 'unnamed' is now also reached by authenticator app code",
                "level 'unnamed' is no longer reached by hardware token code",
            ],
        ),
        (
            "  - name: unnamed\n",
            "  - name: more\n    any_of: [{all_of: [{factor: passkey}]}]\n  - name: unnamed\n",
            ["level 'more' is new: reached by passkey"],
        ),
        (
            "  - id: sign\n    action: signature.activate\n    require: substantial\n",
            "  - id: sign\n    action: [signature.activate, document.write]\n    require: [substantial, high]\n",
            ["rule 'sign' now also is about document.write", "rule 'sign' now also needs level 'high'"],
        ),
        ("require: [substantial, low]", "require: low", ["rule 'lawyers' no longer needs level 'substantial'"]),
        (
            "      - category: possession\n        per_transaction: true\n        max_age: 10m",
            "      - category: possession\n        per_transaction: true",
            [
                "rule 'sign' now also needs something held made for this transaction",
                "rule 'sign' no longer needs something held made for this transaction not older than 10 min",
            ],
        ),
        (
            "client: example-contracts, network: 192.0.2.0/24",
            "network: [192.0.2.0/24, 198.51.100.0/24]",
            [
                "rule 'partner' applies whatever the client, no longer only when client is example-contracts",
                "rule 'partner' applies when network is 192.0.2.0/24 or 198.51.100.0/24, formerly is 192.0.2.0/24",
            ],
        ),
        (
            ', attribute: {site: bonn}, time: {days: [mon, fri], from: "08:00", to: "18:00", zone: Europe/Berlin}',
            ', time: {from: "08:00", to: "12:00"}',
            [
                "rule 'partner' applies whatever the attribute, no longer only when attribute 'site' is bonn",
                "rule 'partner' applies when time is every day 08:00 to 12:00 UTC, "
                "formerly is mon, fri 08:00 to 18:00 Europe/Berlin",
            ],
        ),
        (
            "  - id: deleting\n    action: credential.delete\n",
            "  - id: deleting\n    action: credential.delete\n    when: {group: staff}\n",
            ["rule 'deleting' now applies only when group is staff"],
        ),
        (
            'scal: "2", qualifier: eu_eidas_qes',
            'scal: "2"',
            ["rule 'qualified' applies when credential scal is 2, formerly scal is 2 and qualifier is eu_eidas_qes"],
        ),
        (
            "    because: They see privileged papers.\n",
            "",
            ["rule 'lawyers': because They see privileged papers. → none"],
        ),
        (
            "  - id: reading\n    action: document.read\n    require: federated\n",
            "",
            ["rule 'reading' is gone: document.read needs level 'federated'"],
        ),
        (
            "rules:\n",
            "rules:\n  - {id: new, action: sign_in, when: {group: a, client: b}, require: low, "
            "evidence: [{factor: totp}]}\n",
            ["rule 'new' is new: sign_in needs level 'low', with authenticator app code, when client is b; group is a"],
        ),
        ("min_length: 15", "min_length: 8", ["limits of 'password': min_length 15 → 8"]),
        (
            "  sms_otp: {lifetime: 5m, restricted_notice: true}\n",
            "",
            ["limits of 'sms_otp' is gone: lifetime 5 min, restricted_notice true"],
        ),
        ("lifetime: 5m", "lifetime: 10m", ["limits of 'sms_otp': lifetime 5 min → 10 min"]),
        (", restricted_notice: true", "", ["limits of 'sms_otp': restricted_notice true → false"]),
        ("max_age: 10m\n    mappings", "mappings", ["upstream 'https://login.example.org': max_age 10 min → none"]),
        ("cap: federated", "cap: low", ["upstream 'https://login.example.org': cap federated → low"]),
        (
            "evidence: [{category: knowledge}]",
            "evidence: [{category: possession}]",
            ["upstream 'https://login.example.org': what its logins count as is written otherwise (1 mappings → 1)"],
        ),
        (
            "  - issuer: https://login.example.org\n    cap",
            "  - issuer: https://other.example.org\n    cap",
            [
                "upstream 'https://login.example.org' is gone: its logins count up to level 'federated'",
                "upstream 'https://other.example.org' is new: its logins count up to level 'federated'",
            ],
        ),
    ],
)
def test_each_difference_is_said_in_words(old: str, new: str, texts: list[str]) -> None:
    assert told(old, new) == texts


def test_the_order_of_levels_is_a_difference() -> None:
    parts = WIDE.partition("  - name: unnamed\n    any_of:\n      - all_of: [{factor: hotp}]\n")
    moved = parts[0].replace("levels:\n  - name: low", f"levels:\n{parts[1]}  - name: low") + parts[2]
    assert [str(item) for item in differences(policy(WIDE), policy(moved))] == [
        "levels: order low, substantial, high, federated, unnamed → unnamed, low, substantial, high, federated"
    ]


def test_a_difference_has_its_places_in_both_files() -> None:
    (item,) = differences(policy(POLICY), policy("\n" + POLICY.replace("freshness: 1h", "freshness: 8h")))
    assert item.before is not None
    assert item.after is not None
    assert item.after.line == item.before.line + 1
