"""A credential created and deleted over the API in the running product, by a command and by a person in a browser."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from examples import csc_client, oauth_client
from examples.credential_life import base_of_2_2
from examples.options import Setting, parser, setting
from tests.e2e.conftest import ROOT, NewVisitor, Product
from tests.e2e.test_refusals import options, signed_in
from tests.e2e.visitor import SECONDS, Visitor

RETURNED = "**/callback?*"


@pytest.fixture
def given(product: Product, tmp_path: Path) -> Setting:
    """A relying party, and the person as it meets her."""
    arguments = parser("test", "", "").parse_args(options(product, "--out", str(tmp_path), "--channel", "email"))
    return setting(arguments)


def test_the_command_has_a_credential_made_and_ended(product: Product, given: Setting) -> None:
    more = options(product, "--channel", "email", "--delete", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "examples.credential_life", *more],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["deleted"] is True
    titles = [step["title"] for step in told["steps"]]
    assert titles == [
        "Stepped up and approved: credential-creation",
        "Token received",
        "credentials/create",
        "Stepped up and approved: credential-deletion",
        "Token received",
        "credentials/delete",
    ]
    assert any(reason["rule"] == "credential" for reason in told["steps"][0]["policy"])
    assert told["credentialID"] not in csc_client.list_credentials(given.http, given.csc, signed_in(given))


def test_a_person_sees_what_they_approve(given: Setting, visitor: NewVisitor) -> None:
    metadata = oauth_client.discover(given.http, given.issuer)
    person = visitor()

    def walk(scope: str, heading: str, picture: str, credential_id: str | None = None) -> str:
        pending, url = oauth_client.begin_order(metadata, given.client, scope, credential_id)
        person.page.goto(url)
        prove(person)
        person.at(heading)
        assert person.barriers() == []
        person.picture(picture, everywhere=True)
        return finish(given, metadata, person, pending)

    token = walk(
        "credential-creation", "Example Contracts asks for a signing credential in your name", "order-creation"
    )
    made = csc_client.create_credential(given.http, base_of_2_2(given.csc), token)
    info = csc_client.credential_info(given.http, given.csc, signed_in(given), made)
    assert info.usable
    token = walk("credential-deletion", "Example Contracts asks to delete this credential", "order-deletion", made)
    csc_client.delete_credential(given.http, base_of_2_2(given.csc), token, made)
    assert made not in csc_client.list_credentials(given.http, given.csc, signed_in(given))


def prove(person: Visitor) -> None:
    """Sign in where that is asked for, then a code by text message."""
    if person.form("sign-in").count():
        person.sign_in()
    person.ask_for_code("Text message")
    person.type_code(person.read_code())


def finish(
    given: Setting, metadata: oauth_client.ServerMetadata, person: Visitor, pending: oauth_client.Pending
) -> str:
    """Approve; the relying party's site meets the answer, which this test redeems."""
    with person.page.expect_request(RETURNED, timeout=SECONDS * 1000) as waiting:
        person.decide("approve")
    parameters = oauth_client.response_parameters(waiting.value.url)
    # The demo's site did not ask for this itself: it says so at the address to which the code came.
    person.page.wait_for_load_state("networkidle")
    person.seen.referrers[:] = [url for url in person.seen.referrers if "/callback?" not in url]
    return oauth_client.finish(given.http, metadata, given.client, pending, parameters).access_token
