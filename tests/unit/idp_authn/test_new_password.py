"""What a new password must not be, and all that it may be."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from foundation.errors import SettingsError
from idp.authn import blocklist, new_password
from idp.errors import PasswordRefused
from idp.policy.limits import password_limits
from idp.policy.load import load_policy, parse_policy
from idp.settings import PasswordSettings
from tests.architecture.source import ROOT

LIMITS = PasswordSettings(blocked_words=("Example Bank", "Kreuzlingen"))
ABOUT = ("Privy Seal", "alice", "Alice Example", "alice.example@example.org")


def cause(password: str, limits: PasswordSettings = LIMITS) -> str | None:
    """Why it is refused, without being quoted; None: it is accepted."""
    try:
        new_password.check(unicodedata.normalize("NFC", password), limits, ABOUT)
    except PasswordRefused as error:
        return "quoted" if password in str(error) else error.cause
    return None


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "only small letters in a row",
        "7491052283",
        "ÄÖÜ und ein Bär im Café",
        "🦭🔏🖋️ ☕ 🌧️ 🚲 🥨",
        "the password of my childhood",
        "alice went to the bank",
        "xkvqwmtzpb",
        " leading and trailing ",
    ],
)
def test_there_are_no_rules_of_composition_and_a_word_inside_a_sentence_is_all_right(password: str) -> None:
    assert cause(password) is None


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "too_short"),
        ("x" * 257, "too_long"),
        ("with a\nline break", "control"),
        ("with a lone \ud800 surrogate", "control"),
        ("passw0rd", "common"),
        ("PassWord", "common"),
        ("Password1!", "common"),
        ("sunshine2024", "common"),
        ("pass-word 1", "common"),
        ("passwordpassword", "common"),
        ("1qaz2wsx", "common"),
        ("Alice Example", "about_you"),
        ("aliceexample1", "about_you"),
        ("privyseal2026", "about_you"),
        ("Privy-Seal!", "about_you"),
        ("examplebank", "about_you"),
        ("kreuzlingen99", "about_you"),
        ("alicealice", "about_you"),
        ("ababababababab", "pattern"),
        ("zzzzzzzzzzzzzzzz", "pattern"),
        ("34567890123", "pattern"),
        ("zyxwvutsrqponm", "pattern"),
        ("sdfghjklzxcv", "pattern"),
        ("mnbvcxzlkjhgf", "pattern"),
    ],
)
def test_a_refused_password_is_refused_for_its_own_reason(password: str, why: str) -> None:
    assert cause(password) == why


def test_the_operators_own_list_counts_in_any_form_of_unicode_and_case(tmp_path: Path) -> None:
    listed = tmp_path / "blocked.txt"
    listed.write_text("Schöne Grüße aus Wien\r\n\n", encoding="utf-8")
    limits = replace(LIMITS, blocklist_file=listed)
    assert cause("scho\u0308ne gru\u0308sse aus wien", limits) == "common"
    assert cause("schöne Grüße aus Graz", limits) is None


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_list_that_cannot_be_read_lets_no_password_pass(tmp_path: Path, content: bytes | None) -> None:
    listed = tmp_path / "blocked.txt"
    if content is not None:
        listed.write_bytes(content)
    with pytest.raises(SettingsError, match=r"password\.blocklist_file"):
        cause("a good long sentence", replace(LIMITS, blocklist_file=listed))


def test_the_list_that_is_shipped_is_there_and_folded() -> None:
    listed = blocklist.shipped()
    assert len(listed) == 20_000
    assert {"password", "iloveyou", "12345678"} <= listed
    assert all(blocklist.folded(word) == word and len(word) >= 6 for word in listed)


# How long


ALONE = """\
policy: 1
name: alone
levels:
  - name: one
    acr: urn:example:one
    claims: {{"{claim}": {level}}}
    any_of:
      - all_of: [{{factor: {factor}}}]
{limits}rules:
  - {{id: sign-in, action: sign_in, require: one}}
"""


@pytest.mark.parametrize(
    ("claim", "level", "factor", "limits", "expected"),
    [
        ("nist-800-63b:r4", "aal1", "password", "", 15),
        ("nist-800-63b:r4", "aal1", "password", "factors:\n  password: {min_length: 9}\n", 15),
        ("nist-800-63b:r4", "aal1", "password", "factors:\n  password: {min_length: 20}\n", 20),
        ("nist-800-63b:r4", "aal1", "totp", "", 8),
        ("nist-800-63b:r3", "aal1", "password", "", 8),
        ("nist-800-63b:r3", "aal1", "password", "factors:\n  password: {min_length: 9}\n", 9),
    ],
)
def test_a_password_that_is_the_only_factor_under_revision_4_has_15_characters_whatever_the_file_says(
    claim: str, level: str, factor: str, limits: str, expected: int
) -> None:
    text = ALONE.format(claim=claim, level=level, factor=factor, limits=limits)
    policy = parse_policy(text.encode(), "alone.yaml")
    assert password_limits(PasswordSettings(), policy).min_length == expected
    assert password_limits(PasswordSettings(min_length=30), policy).min_length == 30


def test_the_packs_ask_for_as_long_a_password_as_their_frameworks() -> None:
    lengths = {
        path.name: password_limits(PasswordSettings(), load_policy(path)).min_length
        for path in sorted((ROOT / "policies").glob("*.yaml"))
        if not path.name.endswith(".test.yaml")
    }
    assert lengths["nist-800-63b-r4.yaml"] == 15
    assert min(lengths.values()) >= 8
