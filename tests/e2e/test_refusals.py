"""What the running product refuses: the attacks that need three processes, over public protocols only.

One person, one relying party, one approval a test; everything else is what an attacker would try with what they hold.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from examples import csc_client, oauth_client
from examples.errors import ExampleError
from examples.options import Setting, parser, setting
from examples.person import Person
from examples.walkthrough import arrive
from foundation.jose import generate_signing_key, peek_claims, sign_compact
from tests.e2e.conftest import ROOT, Product

SHA256 = "2.16.840.1.101.3.4.2.1"
ECDSA_SHA256 = "1.2.840.10045.4.3.2"
Act = Callable[[str, dict[str, Any], str | None], tuple[int, dict[str, Any]]]


def options(product: Product, *more: str) -> list[str]:
    ports = product.ports
    return [
        "--issuer", ports.url("idp"), "--csc", product.csc_base, "--inbox", ports.url("inbox"),
        "--client-secret-file", str(product.client_secret_file), "--redirect-uri", f"{ports.url('rp')}/callback",
        "--password-file", str(product.password_file), "--root", str(product.root_certificate), *more,
    ]  # fmt: skip


@pytest.fixture
def given(product: Product, tmp_path: Path) -> Setting:
    """A relying party and a person who have not met yet."""
    arguments = parser("test", "", "").parse_args(options(product, "--out", str(tmp_path), "--channel", "email"))
    return setting(arguments)


@pytest.fixture
def act(given: Setting) -> Act:
    """Call the signing service: method, body, bearer; the status and the answer."""

    def call(method: str, body: dict[str, Any], bearer: str | None) -> tuple[int, dict[str, Any]]:
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        answer = given.http.post(f"{given.csc}/{method}", json=body, headers=headers, timeout=30)
        return answer.status_code, answer.json()

    return call


def signed_in(given: Setting) -> str:
    """A service token of the person's."""
    metadata = oauth_client.discover(given.http, given.issuer)
    pending, url = oauth_client.begin_sign_in(metadata, given.client)
    return oauth_client.finish(given.http, metadata, given.client, pending, arrive(given.person, url)).access_token


def authorised(given: Setting, credential_id: str, digests: list[bytes]) -> str:
    """A SAD over digests, approved by the person."""
    metadata = oauth_client.discover(given.http, given.issuer)
    labelled = [(base64.b64encode(digest).decode(), f"document {n}") for n, digest in enumerate(digests)]
    details = oauth_client.credential_details(credential_id, labelled, SHA256, given.csc)
    pending, url = oauth_client.begin_signing(metadata, given.client, details)
    parameters = arrive(given.person, url, [digest.hex() for digest in digests])
    return oauth_client.finish(given.http, metadata, given.client, pending, parameters).access_token


def request(credential_id: str, digests: list[bytes], **changes: Any) -> dict[str, Any]:
    return {
        "credentialID": credential_id,
        "hashes": [base64.b64encode(digest).decode() for digest in digests],
        "hashAlgorithmOID": SHA256,
        "signAlgo": ECDSA_SHA256,
        **changes,
    }


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@pytest.fixture
def credential(given: Setting) -> tuple[str, str]:
    """A service token, and the person's credential."""
    token = signed_in(given)
    return token, csc_client.list_credentials(given.http, given.csc, token)[0]


def test_SAD_01_SAD_04_SAD_10_a_sad_signs_what_was_approved_once_and_nothing_else(
    given: Setting, credential: tuple[str, str], act: Act
) -> None:
    token, credential_id = credential
    first, second, third = digest("first"), digest("second"), digest("third")
    flipped = bytes([first[0] ^ 1]) + first[1:]
    sad = authorised(given, credential_id, [first, second, first])
    method = "signatures/signHash"
    not_authorised = "Hash is not authorized by the SAD"
    # other digests, one bit, one more, and one too often: refused, and nothing is spent by that
    for wanted in ([third], [flipped], [first, second, third], [second, second], [first, first, first]):
        status, answer = act(method, request(credential_id, wanted), sad)
        assert (status, answer["error_description"]) == (400, not_authorised), answer
    # another hash function, another padding
    assert act(method, request(credential_id, [first], signAlgo="1.2.840.10045.4.3.3"), sad)[0] == 400
    assert act(method, request(credential_id, [first], signAlgo="1.2.840.113549.1.1.11"), sad)[0] == 400
    # what was approved, in slices and in the request's own order
    status, answer = act(method, request(credential_id, [second, first]), sad)
    assert status == 200, answer
    assert len(answer["signatures"]) == 2
    # 2 + 2 of 3
    status, answer = act(method, request(credential_id, [first, second]), sad)
    assert (status, answer["error_description"]) == (400, "Invalid parameter SAD")
    status, answer = act(method, request(credential_id, [first]), sad)
    assert status == 200, answer
    status, answer = act(method, request(credential_id, [first]), sad)
    assert (status, answer["error_description"]) == (400, "Invalid parameter SAD")
    # and beside a service token it is as spent as before
    status, answer = act(method, request(credential_id, [first], SAD=sad), token)
    assert (status, answer["error_description"]) == (400, "Invalid parameter SAD")


def test_SAD_02_sixteen_redemptions_at_one_time_give_one_signature(
    given: Setting, credential: tuple[str, str], act: Act
) -> None:
    _token, credential_id = credential
    sad = authorised(given, credential_id, [digest("race")])
    with ThreadPoolExecutor(16) as pool:
        calls = [
            pool.submit(act, "signatures/signHash", request(credential_id, [digest("race")]), sad) for _ in range(16)
        ]
        statuses = sorted(call.result()[0] for call in calls)
    assert statuses == [200] + [400] * 15


def test_SAD_07_SAD_13_what_is_not_a_sad_of_the_pinned_issuer_signs_nothing(
    given: Setting, credential: tuple[str, str], act: Act
) -> None:
    token, credential_id = credential
    sad = authorised(given, credential_id, [digest("forged")])
    forged = sign_compact(peek_claims(sad), generate_signing_key(), "sad+jwt")
    renamed = sign_compact(peek_claims(sad), generate_signing_key(), "at+jwt")
    wanted = request(credential_id, [digest("forged")])
    method = "signatures/signHash"
    assert act(method, wanted, None)[0] == 401
    assert act(method, wanted, forged) == (
        400,
        {"error": "invalid_request", "error_description": "Invalid parameter SAD"},
    )
    assert act(method, wanted, renamed)[0] == 401
    # a service token in the SAD's place, and one alone
    assert act(method, {**wanted, "SAD": token}, token)[0] == 400
    assert act(method, wanted, token)[0] == 400
    # the genuine one still works: nothing of the above spent it
    assert act(method, wanted, sad)[0] == 200


def test_OAU_11_OAU_17_a_sad_lists_nothing_and_reads_only_its_own_credential(
    given: Setting, credential: tuple[str, str], act: Act
) -> None:
    token, credential_id = credential
    sad = authorised(given, credential_id, [digest("scope")])
    assert act("credentials/list", {}, sad)[0] == 401
    assert act("credentials/info", {"credentialID": credential_id}, sad)[0] == 200
    for other in ("0" * 32, credential_id[:-1] + ("0" if credential_id[-1] != "0" else "1")):
        status, answer = act("credentials/info", {"credentialID": other}, token)
        assert (status, answer["error_description"]) == (400, "Invalid parameter credentialID")
        assert act("credentials/info", {"credentialID": other}, sad)[0] == 400
        assert act("signatures/signHash", request(other, [digest("scope")]), sad)[0] == 400
    assert act("credentials/list", {"userID": "somebody"}, token)[0] == 400


def test_OAU_02_a_code_is_used_once_and_what_it_gave_is_revoked(given: Setting, act: Act) -> None:
    metadata = oauth_client.discover(given.http, given.issuer)
    pending, url = oauth_client.begin_sign_in(metadata, given.client)
    parameters = arrive(given.person, url)
    tokens = oauth_client.finish(given.http, metadata, given.client, pending, parameters)
    assert act("credentials/list", {}, tokens.access_token)[0] == 200
    with pytest.raises(ExampleError, match="invalid_grant"):
        oauth_client.finish(given.http, metadata, given.client, pending, parameters)
    assert tokens.refresh_token is not None
    with pytest.raises(ExampleError, match="invalid_grant"):
        oauth_client.refresh(metadata, given.client, tokens.refresh_token)


def test_a_person_who_declines_leaves_nothing_to_redeem(given: Setting, credential: tuple[str, str]) -> None:
    _token, credential_id = credential
    metadata = oauth_client.discover(given.http, given.issuer)
    details = oauth_client.credential_details(
        credential_id, [(base64.b64encode(digest("no")).decode(), "no.pdf")], SHA256, given.csc
    )
    pending, url = oauth_client.begin_signing(metadata, given.client, details)
    person: Person = given.person
    arrival = person.walk(url, approve=False)
    parameters = oauth_client.response_parameters(getattr(arrival, "url", ""))
    assert parameters["error"] == "access_denied"
    assert "code" not in parameters
    with pytest.raises(ExampleError, match="access_denied"):
        oauth_client.finish(given.http, metadata, given.client, pending, parameters)


def test_pyhankos_own_client_signs_at_scal2_through_v1(product: Product, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.csc_pyhanko", *options(product, "--out", str(tmp_path))]
    command += ["--csc-v1", f"{product.ports.url('web')}/csc/v1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "signed with pyHanko's CSC client" in done.stdout
    assert "VALID" in done.stdout
    assert len(list(tmp_path.glob("*.pdf"))) == 1


def test_the_audit_chains_of_both_sides_verify_and_hold_the_signature(product: Product) -> None:
    for owner, database in (("sam", "sam/sam.sqlite"), ("idp", "idp/idp.sqlite")):
        command = [sys.executable, "-m", "launcher", "audit", "verify"]
        command += ["--database-url", f"sqlite:///{product.state / database}", "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (owner, done.stdout, done.stderr)
