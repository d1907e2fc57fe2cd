"""Words for people."""

from __future__ import annotations

import pytest

from idp.policy import wording
from idp.policy.evidence import CATEGORIES, FACTORS, FLAGS
from idp.policy.model import EvidenceSet, Requirement, Where
from tests.unit.idp_policy.support import used

HERE = Where("p.yaml", 1, 1)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (90, "90 s"), (7200, "2 h"), (86400, "1 d"), (90000, "25 h")],
)
def test_durations_lose_nothing(seconds: int, words: str) -> None:
    assert wording.duration(seconds) == words


def test_one_thing_is_not_things() -> None:
    assert [wording.count(number, "rule not exercised") for number in (0, 1, 2)] == [
        "0 rules not exercised", "1 rule not exercised", "2 rules not exercised",
    ]  # fmt: skip


def test_lists_read_like_sentences() -> None:
    assert [wording.listed(items, "or") for items in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == [
        "", "a", "a or b", "a, b or c",
    ]  # fmt: skip


def test_every_factor_category_and_flag_has_words() -> None:
    assert set(wording.FACTOR_WORDS) == FACTORS
    need = Requirement(HERE, categories=frozenset(CATEGORIES), flags=FLAGS, without=FLAGS)
    assert wording.requirement(need) == (
        "something known, something held or a biometric trait with user verification, a copyable key, a copied key, "
        "attestation, a restricted channel, phishing resistance and a binding to its transaction without user "
        "verification, a copyable key, a copied key, attestation, a restricted channel, phishing resistance or a "
        "binding to its transaction"
    )


def test_a_requirement_says_all_that_it_asks() -> None:
    need = Requirement(
        HERE,
        factors=frozenset({"sms_otp", "upstream"}),
        categories=frozenset({"possession"}),
        issuers=frozenset({"self", "https://b.example.org"}),
        max_age=600,
        per_transaction=True,
    )
    assert wording.requirement(need) == (
        "SMS code or login at another identity provider as something held from https://b.example.org or self "
        "made for this transaction not older than 10 min"
    )
    assert wording.alternative(EvidenceSet(HERE, (need,), 2)).endswith(", of 2 different categories")


def test_evidence_of_another_issuer_names_it() -> None:
    item = used("upstream", 1, category="knowledge", issuer="https://b.example.org")
    assert wording.evidence(item) == (
        "login at https://b.example.org of 2026-03-02 09:59:59Z"
    )
