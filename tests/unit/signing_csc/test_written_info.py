"""What is told of a credential is written once for the same facts; another fact is told with the next answer."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from contract import proof_key
from foundation.clock import epoch
from signing.csc import responses
from signing.csc.auth_options import OAUTH2CODE, AuthObject, AuthOptions
from signing.csc.dialect import dialects
from signing.csc.requests import Detail
from tests.unit.signing_csc.conftest import VIEW, Bench, certificate
from tests.vectors.proof.make import DEVICE, OTHER
from tests.vectors.proof_key.make import device

pytestmark = pytest.mark.loopback
EXPLICIT = AuthOptions("explicit", "PIN", (AuthObject("Password", "PIN"),))


@pytest.fixture(autouse=True)
def _forgetful() -> None:
    responses._written_info.cache_clear()


def told(bench: Bench, version: str = "v2", **asked: Any) -> dict[str, Any]:
    answer = bench.post("credentials/info", {"credentialID": "cred-alice", **asked}, bench.service_token(), version)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


def test_the_same_facts_are_written_once(bench: Bench) -> None:
    assert told(bench) == told(bench)
    found = responses._written_info.cache_info()
    assert (found.hits, found.misses, found.maxsize) == (1, 1, 512)


def test_a_credential_that_was_suspended_or_revoked_is_told_as_that_with_the_next_answer(bench: Bench) -> None:
    assert (told(bench)["key"]["status"], told(bench)["cert"]["status"]) == ("enabled", "valid")
    for status in ("suspended", "revoked"):
        bench.sam.views["cred-alice"] = replace(VIEW, status=status)
        found = told(bench)
        assert (found["key"]["status"], found["cert"]["status"]) == ("disabled", status)
    bench.sam.views["cred-alice"] = replace(VIEW, status="deleted")
    answer = bench.post("credentials/info", {"credentialID": "cred-alice"}, bench.service_token())
    assert answer.status_code == 400
    bench.sam.views["cred-alice"] = VIEW
    assert told(bench)["key"]["status"] == "enabled"


def test_a_certificate_that_has_expired_meanwhile_is_told_as_that(bench: Bench) -> None:
    """The module says the same as before: only the clock has gone on."""
    for days, status in ((0, "valid"), (364, "valid"), (2, "expired")):
        bench.clock.advance(days * 86_400)
        now = epoch(bench.clock.now())
        token = bench.service_token(iat=now, exp=now + 300)
        for _ in range(2):
            answer = bench.post("credentials/info", {"credentialID": "cred-alice"}, token)
            assert answer.get_json()["cert"]["status"] == status


def test_whoever_asks_in_another_way_is_told_otherwise(bench: Bench) -> None:
    for _ in range(2):
        assert "certificates" not in told(bench, certificates="none")["cert"]
        assert len(told(bench, certificates="chain")["cert"]["certificates"]) == 2
        assert "auth" not in told(bench)
        assert told(bench, authInfo=True)["auth"]["mode"] == "oauth2code"
        assert told(bench, version="v1")["authMode"] == "oauth2code"


def test_whatever_differs_between_two_answers_is_told() -> None:
    """All combinations, in an order in which each comes after another, and twice."""
    views = (
        VIEW,
        replace(VIEW, multisign=7),
        replace(VIEW, scal="1"),
        replace(VIEW, certificates=(certificate("Bob Example"),)),
        replace(VIEW, signature_qualifier=None),
        replace(VIEW, proof_required=True),
    )
    details = (Detail(), Detail("chain", cert_info=True, auth_info=True))
    facts = list(
        itertools.product(
            dialects(), views, details, (OAUTH2CODE, EXPLICIT), ("valid", "expired"), ((None, "en"), ("Für Post", "de"))
        )
    )
    for _ in range(2):
        for dialect, view, detail, options, status, about in facts:
            anew = responses.credential_info(dialect, view, detail, options, status=status, about=about)
            found = responses.written_info(dialect, view, detail, options, status=status, about=about)
            assert json.loads(found) == anew
    assert responses._written_info.cache_info().currsize == len(facts) <= 512


def test_SAD_09_the_signers_devices_are_told_and_others_once_they_are_others(bench: Bench) -> None:
    for keys in ((DEVICE,), (OTHER,), (DEVICE, OTHER), (DEVICE,)):
        # Each time as the link gives them: other objects of the same content.
        known = tuple(proof_key.from_json(proof_key.to_json(device(key))) for key in keys)
        bench.sam.views["cred-alice"] = replace(VIEW, proof_required=True, proof_keys=known)
        sole = told(bench)["soleControl"]
        assert sole == {"required": True, "keys": [proof_key.to_json(device(key)) for key in keys]}
    assert responses._written_info.cache_info().hits == 1


def test_DOS_01_what_is_long_is_written_each_time_and_not_kept() -> None:
    long = replace(VIEW, certificates=(VIEW.certificates[0], bytes(16 * 1024)))
    told = [
        responses.written_info(dialects()[0], view, Detail("chain"), OAUTH2CODE, status="valid", about=(None, "en"))
        for view in (VIEW, long, long)
    ]
    assert told[1] == told[2] != told[0]
    assert responses._written_info.cache_info().currsize == 1
