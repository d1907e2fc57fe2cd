"""``info``, ``credentials/list`` and ``credentials/info``: who may see what, in which shape."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, Literal

import pytest

from contract.sad import EvidenceClaim, PolicyClaim, Sad, encode
from foundation.clock import epoch
from foundation.jose import generate_signing_key
from tests.unit.signing_csc.conftest import NOW, SAD_KEY, VIEW, Bench, certificate

pytestmark = pytest.mark.loopback


def whole_sad(bench: Bench, **changes: Any) -> Sad:
    now = epoch(NOW)
    evidence = EvidenceClaim(
        "sms_otp", "possession", now, "a1", phishing_resistant=False, user_verified=False, restricted=True,
        transaction_bound=True,
    )  # fmt: skip
    sad = Sad(
        iss=bench.issuer, aud="urn:example:sam", sub="alice", client_id="example-contracts", txn="t", jti="j", iat=now,
        exp=now + 300, credential_id="cred-alice", hash_alg="2.16.840.1.101.3.4.2.1", dtbsr=(b"x" * 32,),
        hash_type="dtbsr", sign_count=1, acr="urn:x", loa="substantial", amr=("pwd", "sms"), auth_time=now,
        evidence=(evidence,), policy=PolicyClaim("default", "0" * 64, "d1"),
    )  # fmt: skip
    return replace(sad, **changes)


def test_info_says_what_there_is_in_each_dialect(bench: Bench) -> None:
    new = bench.post("info", {}).get_json()
    assert (new["specs"], new["oauth2Issuer"]) == ("2.0.0.2", bench.issuer)
    assert "oauth2" not in new
    about_credentials = ["credentials/list", "credentials/info", "credentials/extendTransaction"]
    assert new["methods"] == ["info", *about_credentials, "signatures/signHash", "signatures/signDoc"]
    assert new["asynchronousOperationMode"] is False
    assert "1.2.840.10045.4.3.2" in new["signAlgorithms"]["algos"]
    old = bench.post("info", {"lang": "en"}, version="v1").get_json()
    assert (old["specs"], old["oauth2"]) == ("1.0.4.0", f"{bench.issuer}/")
    for member in ("name", "logo", "region", "lang", "authType", "methods", "description"):
        assert old[member]


def test_the_logo_that_info_names_is_served(bench: Bench) -> None:
    logo = bench.post("info", {}).get_json()["logo"].removeprefix("http://sign.localhost:8402")
    answer = bench.client.get(logo)
    assert answer.status_code == 200
    image = answer.data
    answer.close()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = int.from_bytes(image[16:20]), int.from_bytes(image[20:24])
    assert max(width, height) <= 256


def test_a_person_sees_their_own_credentials_only(bench: Bench) -> None:
    assert bench.post("credentials/list", {}, bench.service_token()).get_json() == {"credentialIDs": ["cred-alice"]}
    assert bench.post("credentials/list", {}, bench.service_token(sub="carol")).get_json() == {"credentialIDs": []}


def test_OAU_17_a_person_may_not_name_another(bench: Bench) -> None:
    answer = bench.post("credentials/list", {"userID": "bob"}, bench.service_token())
    assert answer.get_json()["error_description"] == "userID parameter MUST be null"
    for user_id in (7, "", "x" * 256):
        answer = bench.post("credentials/list", {"userID": user_id}, bench.service_token())
        assert answer.get_json()["error_description"] == "Invalid parameter userID"


def test_a_clients_own_token_may_name_a_user_only_where_the_operator_says_so(bench: Bench) -> None:
    stranger = bench.service_token(sub="example-contracts")
    answer = bench.post("credentials/list", {"userID": "bob"}, stranger)
    assert (answer.status_code, answer.get_json()["error"]) == (403, "unauthorized_client")
    operator = bench.service_token(sub="operator", client_id="operator")
    assert bench.post("credentials/list", {"userID": "bob"}, operator).get_json()["credentialIDs"] == ["cred-bob"]
    assert bench.post("credentials/list", {}, operator).get_json()["error_description"] == "Invalid parameter userID"


def test_pending_and_deleted_credentials_are_not_listed_and_only_valid_leaves_out_what_cannot_sign(
    bench: Bench,
) -> None:
    others: dict[str, dict[str, Any]] = {
        "p": {"status": "pending", "certificates": ()},
        "d": {"status": "deleted"},
        "s": {"status": "suspended"},
        "e": {"certificates": (certificate(expired=True),)},
    }
    for name, changes in others.items():
        bench.sam.views[name] = replace(VIEW, credential_id=name, **changes)
    listed = bench.post("credentials/list", {}, bench.service_token()).get_json()
    assert listed["credentialIDs"] == ["cred-alice", "s", "e"]
    valid = bench.post("credentials/list", {"onlyValid": True}, bench.service_token()).get_json()
    assert valid == {"credentialIDs": ["cred-alice"], "onlyValid": True}


def test_credential_infos_come_with_the_list_when_asked_for(bench: Bench) -> None:
    body = {"credentialInfo": True, "certificates": "chain", "certInfo": True, "authInfo": True}
    answer = bench.post("credentials/list", body, bench.service_token()).get_json()
    (info,) = answer["credentialInfos"]
    assert info["credentialID"] == "cred-alice"
    assert info["key"] == {
        "status": "enabled",
        "algo": ["1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4"],
        "len": 256,
        "curve": "1.2.840.10045.3.1.7",
    }
    assert [base64.b64decode(item) for item in info["cert"]["certificates"]] == list(VIEW.certificates)
    assert info["cert"]["subjectDN"] == "CN=Alice Example,O=Example,C=BE"
    assert (info["cert"]["serialNumber"], info["cert"]["validTo"]) == ("ABCDEF", "20270301120000Z")
    assert info["auth"] == {"mode": "oauth2code", "expression": None, "objects": None}
    assert (info["SCAL"], info["multisign"], info["signatureQualifier"]) == ("2", 100, "eu_eidas_aes")


def test_how_much_of_the_certificate_is_told_is_the_callers_choice(bench: Bench) -> None:
    for choice, count in (("none", 0), ("single", 1), ("chain", 2), (None, 1)):
        body = {"credentialID": "cred-alice", "certificates": choice}
        cert = bench.post("credentials/info", body, bench.service_token()).get_json()["cert"]
        assert len(cert.get("certificates", [])) == count
        assert cert["status"] == "valid"
    for name, value in (("certificates", "all"), ("certInfo", "true")):
        body = {"credentialID": "cred-alice", name: value}
        answer = bench.post("credentials/info", body, bench.service_token())
        assert answer.get_json()["error_description"] == f"Invalid parameter {name}"


def test_OAU_17_anothers_credential_and_none_at_all_are_refused_in_the_same_words(bench: Bench) -> None:
    answers = [
        bench.post("credentials/info", {"credentialID": name}, bench.service_token()) for name in ("cred-bob", "none")
    ]
    assert answers[0].data == answers[1].data
    assert answers[0].status_code == answers[1].status_code == 400
    assert answers[0].get_json()["error_description"] == "Invalid parameter credentialID"


def test_v1_answers_have_v1_members(bench: Bench) -> None:
    answer = bench.post("credentials/info", {"credentialID": "cred-alice"}, bench.service_token(), "v1").get_json()
    assert answer["authMode"] == "oauth2code"
    assert "auth" not in answer
    assert "signatureQualifier" not in answer


def test_a_sad_as_bearer_reads_its_own_credential_and_no_other(bench: Bench) -> None:
    sad = encode(whole_sad(bench), SAD_KEY)
    assert bench.post("credentials/info", {"credentialID": "cred-alice"}, sad).status_code == 200
    answer = bench.post("credentials/info", {"credentialID": "cred-bob"}, sad)
    assert answer.get_json()["error_description"] == "Invalid parameter credentialID"
    stolen = encode(whole_sad(bench, credential_id="cred-bob"), SAD_KEY)
    assert bench.post("credentials/info", {"credentialID": "cred-bob"}, stolen).status_code == 400


def test_OAU_11_a_sad_is_no_service_token(bench: Bench) -> None:
    answer = bench.post("credentials/list", {}, encode(whole_sad(bench), SAD_KEY))
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_token")


def test_a_forged_foreign_or_expired_sad_reads_nothing(bench: Bench) -> None:
    forged = encode(whole_sad(bench), generate_signing_key())
    foreign = encode(whole_sad(bench, iss="http://other.localhost"), SAD_KEY)
    expired = encode(whole_sad(bench, iat=epoch(NOW) - 300, exp=epoch(NOW), auth_time=epoch(NOW) - 300, evidence=(
        replace(whole_sad(bench).evidence[0], at=epoch(NOW) - 300),)), SAD_KEY)  # fmt: skip
    for sad, error in ((forged, "invalid_token"), (foreign, "invalid_token"), (expired, "expired_token")):
        answer = bench.post("credentials/info", {"credentialID": "cred-alice"}, sad)
        assert (answer.status_code, answer.get_json()["error"]) == (401, error)


@pytest.mark.parametrize(
    ("schemes", "bits", "algorithms"),
    [
        (("ecdsa",), 384, ["1.2.840.10045.4.3.3", "1.2.840.10045.4.3.2", "1.2.840.10045.4.3.4"]),
        (("rsa-pss",), 3072, ["1.2.840.113549.1.1.10"]),
        (
            ("rsa-pkcs1-v1_5",),
            3072,
            ["1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13", "1.2.840.113549.1.1.1"],
        ),
    ],
)
def test_a_key_names_the_algorithms_it_serves_the_specific_ones_first(
    bench: Bench, schemes: tuple[str, ...], bits: int, algorithms: list[str]
) -> None:
    bench.sam.views["cred-alice"] = replace(VIEW, schemes=schemes, key_bits=bits, curve=None)
    answer = bench.post("credentials/info", {"credentialID": "cred-alice"}, bench.service_token()).get_json()
    assert answer["key"]["algo"] == algorithms
    assert "curve" not in answer["key"]


@pytest.mark.parametrize("scal", ["1", "2"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_credential_says_at_which_level_it_is(bench: Bench, version: str, scal: Literal["1", "2"]) -> None:
    bench.sam.views["cred-alice"] = replace(VIEW, scal=scal)
    body = {"credentialID": "cred-alice"}
    answer = bench.post("credentials/info", body, bench.service_token(), version)
    assert answer.get_json()["SCAL"] == scal
    listed = bench.post("credentials/list", {"credentialInfo": True}, bench.service_token(), version)
    assert [info["SCAL"] for info in listed.get_json()["credentialInfos"]] == [scal]


@pytest.mark.parametrize("credential_id", ["\ud800", "a\x00b", "a b", "x" * 129])
def test_DOS_08_an_identifier_that_no_credential_has_is_refused_before_the_module_is_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, credential_id: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(bench.sam, "credential", asked.append)
    answer = bench.post("credentials/info", {"credentialID": credential_id}, bench.service_token())
    assert (answer.status_code, answer.get_json()["error"], asked) == (400, "invalid_request", [])
