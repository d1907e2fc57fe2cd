"""SES-06, SES-07: two signatures in two tabs of one session; what is proved for the one never serves the other."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pyotp
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from foundation.certificates.reading import identity as identity_of
from idp.activation.binding import digest_of
from idp.storage import authenticators
from tests.fakes.idp import Idp
from tests.pki import Issued
from tests.unit.idp_web import test_certificate as cards
from tests.unit.idp_web.interactions import INTENT, last, signature
from tests.unit.idp_web.passkeys import Person, asked
from tests.unit.idp_web.typed import SEED, give, give_recovery_codes, type_code

KINDS = ("sms_otp", "email_otp", "totp", "hotp", "recovery_code", "certificate", "passkey")
SECRET = base64.b32encode(SEED).decode()
BRIEF = {"sms_otp", "passkey"}
"""Of which the pairs are tried each time: a code that is typed, and an answer to a challenge."""
APART = 25 * 60 * 60
"""Seconds between two pairs: what limits messages and codes has begun anew."""

Again = Callable[[str], TestResponse]
"""Sends to another tab what was sent to the first."""


@dataclass
class Holder:
    """Somebody who has all of it."""

    idp: Idp
    person: Person
    card: Issued
    codes: Iterator[str]
    presses: Iterator[int] = field(default_factory=count)

    def prove(self, browser: FlaskClient, path: str, kind: str) -> tuple[TestResponse, Again]:
        """Step up in a tab; the answer, and how the same is tried in another one."""
        if kind in {"sms_otp", "email_otp"}:
            assert self.idp.post(browser, path, "/factor", factor=kind).status_code == 303
            code = self.idp.inbox.code

            def again(tab: str) -> TestResponse:
                return self.idp.post(browser, tab, "/code", code=code)

        elif kind == "passkey":
            holder = replace(self.person, browser=browser)
            found = asked(browser, f"{path}?factor=passkey")
            answer = holder.device.get(found.options)

            def again(tab: str) -> TestResponse:
                return holder.send(tab, "/passkey", found, answer)

        elif kind == "certificate":
            ticket = cards.field(browser.get(f"{path}?factor=certificate").text, "certificate_ticket")
            handover = cards.field(cards.present(self.idp, ticket, self.card).text, "handover")

            def again(tab: str) -> TestResponse:
                return self.idp.post(browser, tab, "/certificate", handover=handover)

        else:
            typed = self._code(kind)

            def again(tab: str) -> TestResponse:
                return type_code(self.idp, browser, tab, kind, typed)

        return again(path), again

    def _code(self, kind: str) -> str:
        if kind == "totp":
            return pyotp.TOTP(SECRET).at(self.idp.clock.now())
        return pyotp.HOTP(SECRET).at(next(self.presses)) if kind == "hotp" else next(self.codes)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    idp = cards.make(tmp_path)
    card = cards.person()
    person = Person(idp, idp.client()).hold()
    for kind in ("totp", "hotp"):
        give(idp, kind)
    codes = iter(give_recovery_codes(idp))
    identity = identity_of(card.certificate)
    with idp.engine.begin() as connection:
        new = authenticators.NewAuthenticator("alice-card", idp.alice, "certificate", lookup=identity)
        authenticators.bind(connection, idp.seals, new, idp.clock.now())
    idp.clock.advance(APART)
    yield Holder(idp, person, card, codes)
    idp.engine.dispose()


@pytest.mark.parametrize(
    "first", [kind if kind in BRIEF else pytest.param(kind, marks=pytest.mark.full) for kind in KINDS]
)
def test_SES_06_SES_07_what_is_proved_in_one_tab_serves_that_tab_alone(holder: Holder, first: str) -> None:
    """Each way of stepping up in the one tab, beside each in the other."""
    idp = holder.idp
    for second in KINDS:
        browser, intents = idp.client(), [INTENT, replace(INTENT, digests=INTENT.digests[:1], sign_count=1)]
        one, two = (idp.path(browser, signature(intent=intent)) for intent in intents)
        idp.sign_in(browser, one)
        assert idp.post(browser, two, "/continue").location == two
        proved, again = holder.prove(browser, one, first)
        assert proved.status_code == 303, (first, second, proved.text)
        assert 'data-form="consent"' in browser.get(one).text
        # The other one is where it was, and takes neither the approval nor the same answer.
        assert 'data-form="consent"' not in browser.get(two).text
        binding = cards.field(browser.get(one).text, "binding")
        for value in (binding, "x"):
            assert idp.post(browser, two, "/consent", decision="approve", binding=value).status_code == 400
        assert again(two).status_code in {400, 403}, (first, second)
        assert 'data-form="consent"' not in browser.get(two).text
        idp.clock.advance(60)  # the next code of an app, and the next message
        assert holder.prove(browser, two, second)[0].status_code == 303, (first, second)
        for path, intent, kind in ((two, intents[1], second), (one, intents[0], first)):
            idp.approve(browser, path)
            approval = last(idp).approval
            assert approval is not None
            held = [item for item in approval.evidence if item.factor != "password"]
            assert {(item.factor, item.transaction) for item in held} == {(kind, approval.txn)}, (first, second)
            wanted = digest_of(
                action="signature.activate", client_id="example-contracts", txn=approval.txn, intent=intent
            )
            assert approval.binding == wanted
        idp.clock.advance(APART)
