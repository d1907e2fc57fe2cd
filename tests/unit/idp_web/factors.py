"""A policy that takes every native factor, and enrolment over the account's pages."""

from __future__ import annotations

import re

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.fakes.idp import Idp

POLICY = b"""\
policy: 1
name: factors
levels:
  - name: low
    claims: {eidas-2015-1502: low}
    acr: http://eidas.europa.eu/NotNotified/LoA/low
    proofing: low
    any_of:
      - all_of: [{factor: password}]
      - all_of: [{factor: passkey}]
      - all_of: [{factor: certificate}]
  - name: substantial
    claims: {eidas-2015-1502: substantial}
    acr: http://eidas.europa.eu/NotNotified/LoA/substantial
    implies: low
    proofing: substantial
    session_limit: 1h
    any_of:
      - all_of: [{factor: passkey, flags: [user_verified]}]
      - all_of: [{factor: password}, {factor: passkey}]
        different_categories: 2
      - all_of: [{factor: password}, {factor: certificate}]
        different_categories: 2
      - all_of: [{factor: password}, {factor: totp}]
        different_categories: 2
      - all_of: [{factor: password}, {factor: hotp}]
        different_categories: 2
      - all_of: [{factor: password}, {factor: sms_otp}]
        different_categories: 2
      - all_of: [{factor: password}, {factor: email_otp}]
        different_categories: 2
      - all_of: [{factor: password}, {factor: recovery_code}]
        different_categories: 2
rules:
  - {id: sign-in, action: sign_in, require: low}
  - id: sign
    action: signature.activate
    require: substantial
    evidence: [{category: possession, per_transaction: true, max_age: 10m}]
    because: Sign with what you hold.
  - {id: factors, action: [account.enrol_factor, account.reset_factor], require: substantial}
"""


ALONE = POLICY.replace(
    b"claims: {eidas-2015-1502: low}", b"claims: {eidas-2015-1502: low, nist-800-63b:r4: aal1}", 1
)
"""A password by itself reaches a level of revision 4, and the file says nothing of its length."""


def account_post(browser: FlaskClient, path: str, **fields: str) -> TestResponse:
    """Submit a form of the account page."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/account/").text)
    assert found is not None, "the account page has no form"
    return browser.post(path, data={"csrf_token": found.group(1), **fields})


def enrolment(idp: Idp, browser: FlaskClient, kind: str, *, by: str = "sms_otp") -> str:
    """Sign in, step up, approve; returns the path of the enrolment's page."""
    path = browser.get("/account/").location or ""
    if path.startswith("/interaction/"):
        idp.sign_in(browser, path)
    path = account_post(browser, "/account/factors/add", factor=kind).location
    if by in {"sms_otp", "email_otp"}:
        idp.pass_otp(browser, path, by)
    return approve(idp, browser, path).location


def approve(idp: Idp, browser: FlaskClient, path: str) -> TestResponse:
    """Approve what the interaction's page shows."""
    page = browser.get(path).text
    binding = re.search(r'name="binding" value="([^"]+)"', page)
    assert binding is not None, page
    return idp.post(browser, path, "/consent", decision="approve", binding=binding.group(1))
