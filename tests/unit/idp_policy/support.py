"""A policy that uses all of the language, and short ways to make facts for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from idp.policy.errors import Fault, PolicyLoadError
from idp.policy.evidence import FACTOR_CATEGORIES, Category, Evidence
from idp.policy.load import parse_policy
from idp.policy.model import EnrolledFactor, Facts, Policy

NOW = datetime(2026, 3, 2, 10, 0, 0, tzinfo=UTC)
FILE = "policy.yaml"
TXN = "txn-1"

POLICY = """\
policy: 1
name: sample
frameworks:
  - id: acme:2026
    levels: [bronze, silver, gold]
actions: [document.read, document.write]
levels:
  - name: low
    acr: [urn:example:low, urn:example:low:alias]
    claims: {eidas-2015-1502: low, acme:2026: bronze}
    session_limit: 12h
    any_of:
      - all_of: [{factor: password}]
  - name: substantial
    title: two factors
    acr: urn:example:substantial
    claims: {eidas-2015-1502: substantial}
    implies: low
    proofing: low
    freshness: 1h
    session_limit: 8h
    idle_limit: 30m
    any_of:
      - all_of:
          - factor: password
          - factor: [sms_otp, email_otp, totp]
        different_categories: 2
      - all_of:
          - factor: passkey
            flags: user_verified
        different_categories: 2
  - name: high
    acr: urn:example:high
    claims: {eidas-2015-1502: high}
    implies: substantial
    proofing: high
    freshness: 10m
    any_of:
      - all_of:
          - factor: certificate
            category: possession
            flags: [user_verified, attested]
            without: backup_eligible
  - name: federated
    any_of:
      - all_of:
          - factor: upstream
            issuer: https://login.example.org
            max_age: 5m
  - name: unnamed
    any_of:
      - all_of: [{factor: hotp}]
rules:
  - id: sign-in
    action: sign_in
    require: low
  - id: partner
    action: [sign_in, signature.activate]
    when: {client: example-contracts}
    require: substantial
  - id: lawyers
    action: sign_in
    when: {group: [legal, board]}
    require: [substantial, low]
    because: They see privileged papers.
  - id: sign
    action: signature.activate
    require: substantial
    evidence:
      - category: possession
        per_transaction: true
        max_age: 10m
  - id: qualified
    action: signature.activate
    when:
      credential: {scal: "2", qualifier: eu_eidas_qes}
    require: high
  - id: one-key
    action: signature.activate
    when:
      client: example-contracts
      credential: {id: key-9}
    require: high
  - id: administration
    action: [admin.*, admin.users]
    require: high
  - id: documents
    action: document.*
    require: low
  - id: reading
    action: document.read
    require: federated
  - id: deleting
    action: credential.delete
    require: unnamed
"""


def policy(text: str = POLICY) -> Policy:
    """The policy of a text."""
    return parse_policy(text.encode(), FILE)


def faults(text: str | bytes) -> list[str]:
    """What the loader says, without the file's name."""
    try:
        parse_policy(text if isinstance(text, bytes) else text.encode(), FILE)
    except PolicyLoadError as error:
        return [_short(fault) for fault in error.faults]
    return []


def _short(fault: Fault) -> str:
    return str(fault).removeprefix(f"{FILE}:")


def used(
    factor: str,
    ago: int = 0,
    *flags: str,
    transaction: str | None = None,
    category: Category | None = None,
    issuer: str = "self",
) -> Evidence:
    """Evidence of some seconds ago."""
    return Evidence(
        factor=factor,
        authenticator_id=f"{factor}-1",
        category=category or FACTOR_CATEGORIES[factor],
        at=NOW - timedelta(seconds=ago),
        issuer=issuer,
        flags=frozenset(flags),
        transaction=transaction,
    )


def enrolled(factor: str, *flags: str, category: Category | None = None, issuer: str = "self") -> EnrolledFactor:
    """A factor the person can be asked for."""
    return EnrolledFactor(factor, category or FACTOR_CATEGORIES[factor], frozenset(flags), issuer)


PHONE = enrolled("sms_otp", "restricted")
MAIL = enrolled("email_otp")
WORD = enrolled("password")
KEY = enrolled("passkey", "phishing_resistant", "user_verified")
CARD = enrolled("certificate", "phishing_resistant", "user_verified", "attested")
EVERYTHING = (WORD, PHONE, MAIL, KEY, CARD)


def facts(action: str, *evidence: Evidence, **changes: Any) -> Facts:
    """Facts about a well-identified person who has everything, unless changed."""
    values: dict[str, Any] = {
        "now": NOW,
        "proofing": "high",
        "transaction": TXN,
        "enrolled": EVERYTHING,
    }
    return Facts(action=action, evidence=evidence, **{**values, **changes})
