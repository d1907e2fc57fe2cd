"""The toy beside which the API's benchmark is measured takes what the benchmark sends; what is ahead counts as met."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

import pytest
import yaml
from asn1crypto import algos
from csc_dummy.csc_dummy_server import CSCAuthorization

from benchmarks import csc, nothing, toy
from benchmarks.measure import Figure, Peer, Sample


def figure(per_second: int, peer: float) -> Figure:
    samples = [Sample(0.1, 0.1, 1)] * per_second
    return Figure.of(
        name="a case", unit="signatures", connections=1, samples=samples, window=1.0,
        peer=Peer("toy", peer, "signatures/s", "how"), errors={}, cpu_seconds={}, others_cpu_share=None,
    )  # fmt: skip


def test_ahead_is_more_than_the_toys_rate() -> None:
    (ahead,), (behind,) = csc.requirements([figure(11, 10)]), csc.requirements([figure(10, 10)])
    assert (ahead.met, behind.met) == (True, False)
    assert "1.10 times" in ahead.text


@pytest.mark.parametrize("octets", [8, 112, 1_649])
def test_nothing_is_answered_in_as_many_octets_as_we_take(octets: int) -> None:
    client = nothing.nothing().test_client()
    found = client.post(nothing.path(octets), json={"credentialID": "c1"})
    assert (found.status_code, len(found.data), found.mimetype) == (200, octets, "application/json")
    assert list(json.loads(found.data)) == [""]


def test_nothing_reads_the_request_nevertheless() -> None:
    client = nothing.nothing().test_client()
    assert client.post(nothing.path(112), data=b"{", content_type="application/json").status_code == 400
    assert client.get("/health/ready").status_code == 200


def test_nothing_stands_beside_the_toy() -> None:
    found = csc.share_of_the_toy(Peer("nothing", 45.0, "answers/s", "a constant"), 30.0)
    assert found == "a constant; 1.50 times the toy's rate"


def test_the_toys_permission_is_for_the_digests_and_the_key() -> None:
    digests = [secrets.token_bytes(32) for _ in range(3)]
    made = toy.sad("rsa-3072", digests)
    read = CSCAuthorization.verify_sad(made, secret=b"secret", credential_id=toy.credential("rsa-3072"))
    assert (read.num_signatures, list(read.hashes or [])) == (3, digests)


def test_the_toy_has_a_key_of_its_own_for_each_case(tmp_path: Path) -> None:
    path = toy.write(tmp_path)
    named = yaml.safe_load(path.read_text())["keysets"]["toy"]["keys"]
    assert {case.key for case in (*csc.CASES, csc.RSA_2048)} <= set(named)
    assert all((tmp_path / each["path"]).stat().st_mode & 0o077 == 0 for each in named.values())


def test_pss_is_asked_for_with_a_salt_as_long_as_the_digest() -> None:
    asked = json.loads(json.dumps(csc._asked([bytes(32)], "rsa-3072")))
    parameters = algos.RSASSAPSSParams.load(base64.b64decode(asked["signAlgoParams"]))
    assert parameters.native["hash_algorithm"]["algorithm"] == "sha256"
    assert parameters.native["mask_gen_algorithm"]["parameters"]["algorithm"] == "sha256"
    assert parameters.native["salt_length"] == 32
    assert "signAlgoParams" not in csc._asked([bytes(32)], "ec-p256")
