"""What each version is told: the service, languages, pages, certificates of 2.2, and ways to authorise."""

from __future__ import annotations

import base64
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from signing.csc import languages
from signing.csc.algorithms import all_algorithms, hash_algorithm_of
from signing.csc.auth_options import OAUTH2CODE, AuthObject, AuthOptions, AuthOptionsInvalid
from signing.csc.dialect import V1, V2, V2_2, dialects
from signing.link.errors import LinkUnavailable
from signing.link.messages import OfferedKey
from signing.sam.algorithms import SHA256, SHA384, SHA512, pss_parameters
from signing.settings import IssuerSettings, ServiceSettings, ServiceTexts, WebSettings
from tests.unit.signing_csc.conftest import NOW, VIEW, Bench

pytestmark = pytest.mark.loopback
VERSIONS = ("v1", "v2", "v2_2")


def refused(answer: Any, description: str) -> None:
    assert (answer.status_code, answer.get_json()) == (
        400,
        {"error": "invalid_request", "error_description": description},
    )


# The service


def test_info_of_2_2_says_what_that_version_demands(bench: Bench) -> None:
    told = bench.post("info", {}, version="v2_2").get_json()
    assert (told["specs"], told["oauth2"]) == ("2.2.0.0", bench.issuer)
    assert not {"oauth2Issuer", "oauth2Servers"} & set(told)
    assert (told["supportsRar"], told["supportedHashTypes"], told["documentTypes"]) == (True, ["dtbsr", "sdr"], [])
    assert told["signature_formats"] == {
        "formats": ["C", "P"],
        "envelope_properties": [["Attached", "Detached"], ["Certification", "Revision"]],
        "allowMix": True,
    }
    for version in ("v1", "v2"):
        assert not {"supportsRar", "supportedHashTypes", "documentTypes"} & set(
            bench.post("info", {}, version=version).get_json()
        )


@pytest.mark.parametrize("bench", [{"csc_2_2_path": "/eudi/csc/v2"}], indirect=True)
def test_the_base_of_2_2_is_where_the_operator_wants_it(bench: Bench) -> None:
    assert bench.client.post("/eudi/csc/v2/info", json={}).get_json()["specs"] == "2.2.0.0"
    assert bench.post("info", {}, version="v2_2").status_code == 404


def test_there_need_be_no_base_of_2_2_and_its_path_has_a_form() -> None:
    assert [dialect.name for dialect in dialects("")] == ["v1", "v2"]
    for path in ("/csc/v2", "/x/csc/v1", "x/csc/v2", "/x/csc/v2/", "/a b/csc/v2"):
        settings = WebSettings("development", "http://sign", IssuerSettings("http://idp", "csc"), csc_2_2_path=path)
        assert [fault for fault in settings.faults() if "csc_2_2_path" in fault], path


def test_info_names_the_algorithms_of_the_modules_profiles_and_no_others(bench: Bench) -> None:
    bench.sam.keys = (OfferedKey(384, ("ecdsa",)), OfferedKey(256, ("ecdsa",)))
    told = bench.post("info", {}).get_json()["signAlgorithms"]
    assert told == {"algos": ["1.2.840.10045.4.3.3", "1.2.840.10045.4.3.2", "1.2.840.10045.4.3.4"]}
    bench.sam.keys = (OfferedKey(3072, ("rsa-pss",)),)
    assert bench.post("info", {}).get_json()["signAlgorithms"] == told  # for a minute
    bench.clock.advance(60)
    assert bench.post("info", {}).get_json()["signAlgorithms"] == {
        "algos": ["1.2.840.113549.1.1.10"],
        "algoParams": [base64.b64encode(pss_parameters(each)).decode() for each in (SHA256, SHA384, SHA512)],
    }


def test_info_says_nothing_of_algorithms_that_it_does_not_know(bench: Bench) -> None:
    bench.sam.refusal = LinkUnavailable("gone")
    assert bench.post("info", {}).status_code == 503
    bench.sam.refusal = None
    assert bench.post("info", {}).status_code == 200
    bench.sam.refusal = LinkUnavailable("gone")
    bench.clock.advance(600)
    assert bench.post("info", {}).status_code == 200  # as it last was


def test_every_key_names_specific_algorithms_before_general_ones() -> None:
    found = all_algorithms([OfferedKey(256, ("ecdsa",)), OfferedKey(3072, ("rsa-pkcs1-v1_5",))])
    assert found == [
        "1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4",
        "1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13", "1.2.840.113549.1.1.1",
    ]  # fmt: skip


@pytest.mark.parametrize(("octets", "expected"), [((32, 32), SHA256), ((48,), SHA384), ((64,), SHA512)])
def test_a_hash_function_is_inferred_from_the_length_of_digests(octets: tuple[int, ...], expected: str) -> None:
    assert hash_algorithm_of(bytes(length) for length in octets) == expected


@pytest.mark.parametrize("octets", [(), (20,), (32, 48), (0,)])
def test_no_hash_function_is_inferred_from_digests_of_none_or_of_several(octets: tuple[int, ...]) -> None:
    assert hash_algorithm_of(bytes(length) for length in octets) is None


# Languages

LANGUAGES = {"de": ServiceTexts("Siegel", "Signaturen"), "fr": ServiceTexts("Sceau")}
SERVICE = ServiceSettings(name="Sign", description="Signatures", languages=LANGUAGES)
DESCRIPTIONS = {"personal": {"en": "Personal", "de": "Persönlich"}}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bench", [{"service": SERVICE}], indirect=True)
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (None, ("Sign", "Signatures", "en")),
        ("de", ("Siegel", "Signaturen", "de")),
        ("de-AT-1996", ("Siegel", "Signaturen", "de")),
        ("DE", ("Siegel", "Signaturen", "de")),
        ("es", ("Sign", "Signatures", "en")),
        ("fr", ("Sceau", "Signatures", "en")),
    ],
)
def test_info_speaks_the_language_that_is_asked_for_and_says_which_it_is(
    bench: Bench, version: str, asked: str | None, told: tuple[str, str, str]
) -> None:
    answer = bench.post("info", {"lang": asked}, version=version).get_json()
    assert (answer["name"], answer["description"], answer["lang"]) == told


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bench", [{"descriptions": DESCRIPTIONS}], indirect=True)
@pytest.mark.parametrize(
    ("asked", "told"), [(None, ("Personal", "en")), ("de-DE", ("Persönlich", "de")), ("fr", ("Personal", "en"))]
)
def test_a_credential_is_described_in_the_language_that_is_asked_for(
    bench: Bench, version: str, asked: str | None, told: tuple[str, str]
) -> None:
    body = {"credentialID": "cred-alice", "lang": asked}
    answer = bench.post("credentials/info", body, bench.service_token(), version).get_json()
    assert (answer["description"], answer["lang"]) == told
    listed = bench.post("credentials/list", {"credentialInfo": True, "lang": asked}, bench.service_token(), version)
    assert listed.get_json()["credentialInfos"][0]["description"] == told[0]


def test_no_description_is_told_where_there_is_none(bench: Bench) -> None:
    answer = bench.post("credentials/info", {"credentialID": "cred-alice", "lang": "de"}, bench.service_token())
    assert "description" not in answer.get_json()
    assert answer.get_json()["lang"] == "en"


def test_a_tag_is_cut_back_until_there_is_something() -> None:
    assert languages.lookup("zh-Hant-x-private-TW", ("zh-Hant",), "en") == "zh-Hant"
    assert languages.lookup("zh-x-hant", ("zh-x",), "en") == "en"
    assert languages.text("es", {"de": "a", "fr": "b"}, "en") == ("a", "de")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("value", [7, "", "e n", "x" * 65, "englishen", ["en"], "en\n"])
def test_what_is_no_language_tag_is_refused(bench: Bench, version: str, value: object) -> None:
    refused(bench.post("info", {"lang": value}, version=version), "Invalid parameter lang")


@pytest.mark.parametrize("version", VERSIONS)
def test_client_data_is_logged_and_bounded_and_changes_nothing(
    bench: Bench, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"credentialID": "cred-alice"}
    plain = bench.post("credentials/info", body, bench.service_token(), version)
    with caplog.at_level(logging.INFO, "signing.csc.views"):
        marked = bench.post("credentials/info", {**body, "clientData": "job 7"}, bench.service_token(), version)
    assert plain.data == marked.data
    (record,) = [record for record in caplog.records if record.name == "signing.csc.views"]
    assert record.__dict__["fields"] == {"method": "credentials/info", "dialect": version, "client_data": "job 7"}
    values: tuple[object, ...] = ("x" * 1025, 7, {})
    for value in values:
        answer = bench.post("credentials/info", {**body, "clientData": value}, bench.service_token(), version)
        refused(answer, "Invalid parameter clientData")


# Pages


def many(bench: Bench) -> list[str]:
    names = [f"c{number}" for number in range(5)]
    bench.sam.views = {name: replace(VIEW, credential_id=name) for name in names}
    bench.sam.views["c1"] = replace(VIEW, credential_id="c1", status="suspended")
    return names


def test_a_list_of_version_1_comes_in_pages(bench: Bench) -> None:
    names, token, found = many(bench), bench.service_token(), []
    body: dict[str, Any] = {"maxResults": 2, "credentialInfo": True}
    for expected in (2, 2, 1):
        answer = bench.post("credentials/list", body, token, "v1").get_json()
        assert len(answer["credentialIDs"]) == len(answer["credentialInfos"]) == expected
        found += answer["credentialIDs"]
        body["pageToken"] = answer.get("nextPageToken")
    assert (found, body["pageToken"]) == (names, None)
    assert bench.post("credentials/list", {"maxResults": 5}, token, "v1").get_json() == {"credentialIDs": names}
    for version in ("v2", "v2_2"):  # they have no pages
        assert bench.post("credentials/list", {"maxResults": 2}, token, version).get_json() == {"credentialIDs": names}


def test_OAU_17_a_page_token_is_good_for_the_same_list_only(bench: Bench) -> None:
    many(bench)
    bench.sam.views |= {f"b{number}": replace(VIEW, credential_id=f"b{number}", owner="bob") for number in range(3)}
    first = bench.post("credentials/list", {"maxResults": 1}, bench.service_token(), "v1").get_json()
    token = first["nextPageToken"]
    assert "c0" not in token
    other: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
        ({}, {"sub": "bob"}),
        ({}, {"client_id": "other"}),
        ({"onlyValid": True}, {}),
        ({"pageToken": token[:-1]}, {}),
        ({"pageToken": "c0"}, {}),
    )
    for changes, claims in other:
        body = {"maxResults": 1, "pageToken": token, **changes}
        refused(
            bench.post("credentials/list", body, bench.service_token(**claims), "v1"), "Invalid parameter pageToken"
        )
    del bench.sam.views["c0"]  # what it stood behind has gone
    refused(
        bench.post("credentials/list", {"pageToken": token}, bench.service_token(), "v1"), "Invalid parameter pageToken"
    )


@pytest.mark.parametrize("value", [0, -1, "2", 1.5, True, 1001])
def test_what_is_no_number_of_results_is_refused(bench: Bench, value: object) -> None:
    answer = bench.post("credentials/list", {"maxResults": value}, bench.service_token(), "v1")
    refused(answer, "Invalid parameter maxResults")


# Certificates of 2.2


def qualified() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Alice Example")])
    # SEQUENCE { SEQUENCE { esi4-qcStatement-1 }, SEQUENCE { esi4-qcStatement-6, SEQUENCE { OBJECT IDENTIFIER } } }
    statements = bytes.fromhex("301d3008060604008e4601013011060604008e4601063007060504008e4601")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.3"), statements), False)
        .add_extension(
            x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("0.4.0.194112.1.2"), None)]), False
        )
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def test_2_2_tells_of_statements_and_policies(bench: Bench) -> None:
    bench.sam.views["cred-alice"] = replace(VIEW, certificates=(qualified(),))
    body = {"credentialID": "cred-alice", "certInfo": True, "authInfo": True}
    answer = bench.post("credentials/info", body, bench.service_token(), "v2_2").get_json()
    assert answer["cert"]["qcStatements"] == ["0.4.0.1862.1.1", "0.4.0.1862.1.6"]
    assert answer["cert"]["policy"] == ["0.4.0.194112.1.2"]
    assert answer["auth"] == {"mode": "oauth2code", "expression": None, "objects": None}
    for version in ("v1", "v2"):
        cert = bench.post("credentials/info", body, bench.service_token(), version).get_json()["cert"]
        assert not {"qcStatements", "policy"} & set(cert)


def test_2_2_names_issuer_and_subject_unasked_and_has_empty_lists_where_there_is_nothing(bench: Bench) -> None:
    body: dict[str, Any] = {"credentialID": "cred-alice", "certificates": "none"}
    cert = bench.post("credentials/info", body, bench.service_token(), "v2_2").get_json()["cert"]
    assert cert == {
        "status": "valid",
        "issuerDN": "CN=Alice Example,O=Example,C=BE",
        "subjectDN": "CN=Alice Example,O=Example,C=BE",
    }
    cert = bench.post("credentials/info", {**body, "certInfo": True}, bench.service_token(), "v2_2").get_json()["cert"]
    assert (cert["qcStatements"], cert["policy"]) == ([], [])


def test_dialects_are_told_apart_by_features_only() -> None:
    assert [each.nested_auth for each in (V1, V2, V2_2)] == [False, True, True]
    assert [each.names_always for each in (V1, V2, V2_2)] == [False, False, True]
    assert [each.pages for each in (V1, V2, V2_2)] == [True, False, False]


# Ways to authorise

PIN = AuthObject("Password", "PIN", format="N", label="PIN")
TOTP = AuthObject("Password", "TOTP", format="N", generator="totp")
SMS = AuthObject("PasswordOOB", "SMS", label="SMS")


def test_without_explicit_authorisation_there_is_one_way() -> None:
    assert OAUTH2CODE.to_v1() == {"authMode": "oauth2code"}
    assert OAUTH2CODE.to_v2() == {"mode": "oauth2code", "expression": None, "objects": None}


def test_what_is_decided_elsewhere_is_an_object_of_version_2_and_no_otp_of_version_1() -> None:
    elsewhere = AuthObject("ChallengeResponseOOB", "approval", label="Approvals")
    alone = AuthOptions("explicit", "approval", (elsewhere,))
    assert alone.to_v1() == {"authMode": "implicit"}
    shown = [{"type": "ChallengeResponseOOB", "id": "approval", "label": "Approvals"}]
    assert alone.to_v2() == {"mode": "explicit", "expression": "approval", "objects": shown}
    beside = AuthOptions("explicit", "PIN OR approval", (PIN, elsewhere)).to_v1()
    assert (beside["PIN"]["presence"], beside["OTP"]) == ("true", {"presence": "false"})


def test_explicit_authorisation_is_said_in_each_versions_words() -> None:
    options = AuthOptions("explicit", "PIN AND (TOTP OR SMS)", (PIN, TOTP, SMS))
    assert options.to_v2() == {
        "mode": "explicit",
        "expression": "PIN AND (TOTP OR SMS)",
        "objects": [
            {"type": "Password", "id": "PIN", "format": "N", "label": "PIN"},
            {"type": "Password", "id": "TOTP", "format": "N", "generator": "totp"},
            {"type": "PasswordOOB", "id": "SMS", "label": "SMS"},
        ],
    }
    assert options.to_v1() == {
        "authMode": "explicit",
        "PIN": {"presence": "true", "format": "N", "label": "PIN"},
        "OTP": {"presence": "true", "type": "offline", "ID": "TOTP", "format": "N"},
    }


@pytest.mark.parametrize(
    ("expression", "objects", "pin", "otp"),
    [
        (None, (PIN,), "true", "false"),
        (None, (PIN, SMS), "true", "true"),
        ("PIN OR SMS", (PIN, SMS), "optional", "optional"),
        ("PIN XOR SMS", (PIN, SMS), "optional", "optional"),
        ("PIN OR (PIN AND SMS)", (PIN, SMS), "true", "false"),
        ("SMS", (PIN, SMS), "false", "true"),
        (None, (SMS,), "false", "true"),
    ],
)
def test_presence_in_version_1_follows_from_the_expression(
    expression: str | None, objects: tuple[AuthObject, ...], pin: str, otp: str
) -> None:
    told = AuthOptions("explicit", expression, objects).to_v1()
    assert (told["PIN"]["presence"], told["OTP"]["presence"]) == (pin, otp)


def test_and_binds_more_than_xor_and_xor_more_than_or() -> None:
    options = AuthOptions("explicit", "PIN OR TOTP XOR SMS AND PIN", (PIN, TOTP, SMS))
    assert options.satisfied_by(frozenset({"PIN"}))
    assert options.satisfied_by(frozenset({"TOTP"}))
    assert not options.satisfied_by(frozenset({"SMS"}))


@pytest.mark.parametrize(
    "expression", ["PIN AND", "AND PIN", "(PIN", "PIN)", "PIN PIN", "OTHER", "PIN & SMS", "", "()"]
)
def test_an_expression_that_cannot_be_read_is_no_expression(expression: str) -> None:
    with pytest.raises(AuthOptionsInvalid):
        AuthOptions("explicit", expression, (PIN, SMS))


def test_objects_have_names_of_their_own_and_are_few() -> None:
    with pytest.raises(AuthOptionsInvalid):
        AuthOptions("explicit", None, (PIN, PIN))
    with pytest.raises(AuthOptionsInvalid):
        AuthOptions("explicit", None, tuple(AuthObject("Password", f"p{number}") for number in range(9)))
