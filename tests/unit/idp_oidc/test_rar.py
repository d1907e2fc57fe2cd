"""What may be asked to be signed, and what is refused because nobody here understands it."""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.activation.intent import DocumentDigest, SignatureIntent
from idp.oidc.errors import AuthorizationDetailsInvalid, RequestInvalid
from idp.oidc.rar import TYPE_CSC_2_2, details_type, parse_details, parse_query, to_details
from tests.unit.idp_oidc.samples import CONFIG, DIGEST, RESOURCE, SHA256, SHA512, details

HASH = base64.b64encode(DIGEST).decode()
# Its base64 has both characters in which the two alphabets differ.
TRICKY = bytes.fromhex("fb") * 16 + bytes.fromhex("ff") * 16


def parse(value: Any) -> SignatureIntent:
    """Parse details given as JSON values or text."""
    return parse_details(value if isinstance(value, str) else json.dumps(value), CONFIG.locations)


def details_2_2(**changes: Any) -> dict[str, Any]:
    """The same in the form of 2.2."""
    document = {"hash": HASH, "label": "contract.pdf", "hashType": "DTBSR"}
    return details(**{"type": TYPE_CSC_2_2, "documentDigests": [document], "numSignatures": 1, **changes})


def test_the_form_of_2_0_becomes_an_intent() -> None:
    intent = parse([details(locations=[RESOURCE])])
    expected = SignatureIntent(
        "a-credential", SHA256, (DocumentDigest(DIGEST, "contract.pdf"),), "dtbsr", 1, (RESOURCE,)
    )
    assert intent == expected
    assert SignatureIntent.from_json(json.loads(json.dumps(intent.to_json()))) == intent


@pytest.mark.parametrize("location", [RESOURCE, "https://sign.example.org/csc/v1", "https://sign.example.org"])
def test_a_location_names_the_signing_service(location: str) -> None:
    assert parse([details(locations=[location])]).locations == (location,)


@pytest.mark.parametrize("hash_type", ["DTBSR", "dtbsr", "SDR", "sdr"])
def test_the_form_of_2_2_becomes_an_intent(hash_type: str) -> None:
    document = {"hash": HASH, "label": "contract.pdf", "hashType": hash_type}
    intent = parse([details_2_2(documentDigests=[document, document], numSignatures=2)])
    assert intent.hash_type == hash_type.lower()
    assert (intent.sign_count, len(intent.digests)) == (2, 2)
    assert to_details(intent, TYPE_CSC_2_2)[0]["documentDigests"][0]["hashType"] == hash_type.lower()


def test_what_is_repeated_to_the_client_parses_to_what_was_approved() -> None:
    intent = parse([details_2_2(locations=[RESOURCE])])
    repeated = to_details(intent, TYPE_CSC_2_2)
    assert parse(repeated) == intent
    assert details_type(json.dumps(repeated)) == TYPE_CSC_2_2
    plain = to_details(parse([details()]))[0]
    assert plain["numSignatures"] == 1
    assert (plain["credentialID"], plain["hashAlgorithmOID"]) == ("a-credential", SHA256)
    assert plain["documentDigests"] == [{"hash": HASH, "label": "contract.pdf"}]


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(TRICKY).decode(),
        base64.urlsafe_b64encode(TRICKY).decode(),
        base64.urlsafe_b64encode(TRICKY).decode().rstrip("="),
    ],
)
def test_a_digest_in_base64_or_base64url_is_read(text: str) -> None:
    assert parse([details(documentDigests=[{"hash": text}])]).digests == (DocumentDigest(TRICKY, ""),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        base64.b64encode(TRICKY).decode().rstrip("="),
        base64.b64encode(TRICKY).decode() + "=",
        base64.b64encode(TRICKY).decode().replace("+", "-", 1),
        base64.b64encode(TRICKY).decode().replace("+", " "),
        base64.b64encode(TRICKY).decode() + "\n",
        HASH[:-2] + "J=" if HASH[-2] != "J" else HASH[:-2] + "K=",
        HASH[:10] + "=" + HASH[10:],
        HASH[:-4],
        base64.b64encode(DIGEST + b"x").decode(),
        base64.b64encode(hashlib.sha512(b"a").digest()).decode(),
        DIGEST.hex(),
        "ä" + HASH[1:],
        HASH + "." + HASH,
    ],
)
def test_SIG_08_a_digest_of_another_length_or_spelling_is_refused(text: str) -> None:
    with pytest.raises(AuthorizationDetailsInvalid):
        parse([details(documentDigests=[{"hash": text, "label": "x"}])])


@pytest.mark.parametrize(
    "value",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "[[]]",
        '["credential"]',
        "[" * 100_000,
        " " * (128 * 1024 + 1),
        '[{"type":"credential","type":"credential"}]',
        "[NaN]",
        details(),
        [details(), details()],
        [details(), {"type": "other"}],
        [details(type="payment_initiation")],
        [details(type="https://cloudsignatureconsortium.org/2025/qes")],
        [details(type=["credential"])],
        [details(type=None)],
        [details(unknown=1)],
        [details(numSignatures=1)],
        [details(hashType="sdr")],
        [details(credentialID=None)],
        [details(credentialID="")],
        [details(credentialID=7)],
        [details(credentialID="a b")],
        [details(credentialID="a" * 129)],
        [details(credentialID="a\u0000")],
        [details(hashAlgorithmOID=None)],
        [details(hashAlgorithmOID="1.3.14.3.2.26")],
        [details(hashAlgorithmOID=["2.16.840.1.101.3.4.2.1"])],
        [details(hashAlgorithmOID=SHA512)],
        [details(documentDigests=None)],
        [details(documentDigests=[])],
        [details(documentDigests={})],
        [details(documentDigests=["hash"])],
        [details(documentDigests=[{"label": "x"}])],
        [details(documentDigests=[{"hash": 1}])],
        [details(documentDigests=[{"hash": HASH, "hashType": "sdr"}])],
        [details(documentDigests=[{"hash": HASH, "href": "https://evil.example.org"}])],
        [details(documentDigests=[{"hash": HASH}] * 101)],
        [details(locations=["https://evil.example.org/csc/v2"])],
        [details(locations=RESOURCE)],
        [details(locations=[1])],
        [details(locations=[RESOURCE] * 4)],
        [details(locations=[RESOURCE + "/"])],
    ],
)
def test_OAU_10_details_that_are_not_understood_are_refused(value: Any) -> None:
    with pytest.raises(AuthorizationDetailsInvalid):
        parse(value)


@pytest.mark.parametrize(
    "changes",
    [
        {"numSignatures": 2},
        {"numSignatures": 0},
        {"numSignatures": "1"},
        {"numSignatures": True},
        {"numSignatures": 1.0},
        {"documentDigests": [{"hash": HASH, "hashType": "SODR"}]},
        {"documentDigests": [{"hash": HASH, "hashType": ""}]},
        {"documentDigests": [{"hash": HASH, "hashType": None}]},
        {"documentDigests": [{"hash": HASH, "circumstantialData": "AAAA"}]},
        {"documentDigests": [{"hash": HASH, "signed_props": []}]},
        {
            "documentDigests": [{"hash": HASH, "hashType": "sdr"}, {"hash": HASH, "hashType": "dtbsr"}],
            "numSignatures": 2,
        },
        {"circumstantialData": "AAAA"},
    ],
)
def test_OAU_10_details_of_2_2_that_are_not_understood_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(AuthorizationDetailsInvalid):
        parse([details_2_2(**changes)])


def test_a_qualifier_without_a_credential_is_refused_with_what_to_do() -> None:
    with pytest.raises(AuthorizationDetailsInvalid, match="name the credentialID") as caught:
        parse([details(credentialID=None, signatureQualifier="eu_eidas_qes")])
    assert caught.value.code == "invalid_authorization_details"
    with pytest.raises(AuthorizationDetailsInvalid, match="does not go with credentialID"):
        parse([details(signatureQualifier="eu_eidas_qes")])


@pytest.mark.parametrize(
    "label",
    [
        "a" * 255,
        "Контракт №7",
        "",
        "hôtel — 10 €.pdf",
        "\u06a9\u062a\u0627\u0628\u200c\u0647\u0627",
        "\u0915\u094d\u200d\u0937",
        "契約書.pdf",
        "\u05d1\u05b0\u05bc\u05e8\u05b5\u05d0\u05e9\u05c1\u05b4\u0596\u05d9\u05ea",
        "Tie\u0302\u0301ng Vie\u0302\u0323t",
        "\u2764\ufe0f.pdf",
        "a" + "\u0301" * 4,
    ],
)
def test_a_label_in_any_language_is_taken(label: str) -> None:
    assert parse([details(documentDigests=[{"hash": HASH, "label": label}])]).digests[0].label == label


@pytest.mark.parametrize(
    "label",
    [
        "a" * 256,
        "two\nlines",
        "nul\u0000",
        "gpj.\u202efdp",
        "a\u2066b",
        "\ud800",
        "line\u2028",
        None,
        1,
        ["x"],
        "Rental\u200b contract.pdf",
        "a\U000e0041\U000e0042.pdf",
        "invoice\u00ad.pdf",
        "\ufeffx",
        "\u2060",
        "\u3164",
        "\u2800.pdf",
        "a\U000e0100.pdf",
        "con\u200ctract",
        "con\u200dtract",
        "\u200c",
        "\u0628\u200d\u0628",
        " ",
        "\u3000\u00a0",
        "\u0301a",
        "x" + "\u0301" * 5,
        "x" + "\u0301\u20dd" * 3,
        "x" + "\u0301" * 200,
    ],
)
def test_SES_09_a_label_that_could_deceive_whoever_approves_is_refused(label: Any) -> None:
    with pytest.raises(AuthorizationDetailsInvalid):
        parse([details(documentDigests=[{"hash": HASH, "label": label}])])


def test_a_hundred_digests_with_repetitions_stay_in_order() -> None:
    digests = [hashlib.sha256(bytes([number // 2])).digest() for number in range(100)]
    documents = [{"hash": base64.b64encode(item).decode()} for item in digests]
    intent = parse([details(documentDigests=documents)])
    assert [item.digest for item in intent.digests] == digests
    assert intent.sign_count == 100


def query(**changes: str | None) -> dict[str, str]:
    """The query form of 2.0.0.2; None removes a parameter."""
    values = {
        "credentialID": "a-credential",
        "numSignatures": "2",
        "hashes": f"{base64.urlsafe_b64encode(DIGEST).decode().rstrip('=')},{HASH}",
        "hashAlgorithmOID": SHA256,
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


def test_the_query_form_becomes_the_same_intent() -> None:
    intent = parse_query(query(), without_digests=False)
    assert intent == SignatureIntent("a-credential", SHA256, (DocumentDigest(DIGEST, ""),) * 2, "dtbsr", 2)
    assert parse_query(query(numSignatures=None), without_digests=False) == intent


def test_the_description_of_the_query_form_is_shown_with_every_digest() -> None:
    intent = parse_query(query(description="d" * 500), without_digests=False)
    assert [item.label for item in intent.digests] == ["d" * 500] * 2
    for text in ("d" * 501, "two\nlines", "gpj.\u202efdp"):
        with pytest.raises(RequestInvalid):
            parse_query(query(description=text), without_digests=False)


@pytest.mark.parametrize(("length", "oid"), [(32, "1"), (48, "2"), (64, "3")])
def test_v1_names_no_algorithm_and_the_length_tells_which(length: int, oid: str) -> None:
    text = base64.urlsafe_b64encode(bytes(length)).decode().rstrip("=")
    intent = parse_query(query(hashes=None, hash=text, hashAlgorithmOID=None, numSignatures="1"), without_digests=False)
    assert intent.hash_alg == f"2.16.840.1.101.3.4.2.{oid}"


@pytest.mark.parametrize(
    "changes",
    [
        {"credentialID": None},
        {"credentialID": None, "signatureQualifier": "eu_eidas_qes"},
        {"signatureQualifier": "eu_eidas_qes"},
        {"numSignatures": "1"},
        {"numSignatures": "3"},
        {"numSignatures": "0"},
        {"numSignatures": "-2"},
        {"numSignatures": "2.0"},
        {"numSignatures": "٢"},
        {"numSignatures": "99999999"},
        {"hashes": None},
        {"hashes": f"{HASH},"},
        {"hashes": f"{HASH};{HASH}"},
        {"hashes": f"{HASH}, {HASH}"},
        {"hashes": ",".join([HASH] * 101), "numSignatures": "101"},
        {"hash": HASH},
        {"hashAlgorithmOID": None},
        {"hashAlgorithmOID": SHA512},
        {"hashAlgorithmOID": "1.2.840.113549.2.5"},
        {"hashes": None, "hash": f"{HASH},{base64.b64encode(bytes(48)).decode()}", "hashAlgorithmOID": None},
        {"hashes": None, "hash": base64.b64encode(bytes(20)).decode(), "hashAlgorithmOID": None},
    ],
)
def test_OAU_10_a_query_that_is_not_understood_is_refused(changes: dict[str, str | None]) -> None:
    with pytest.raises(RequestInvalid):
        parse_query(query(**changes), without_digests=False)


def test_only_a_client_that_may_leaves_the_digests_out() -> None:
    asked = query(hashes=None, numSignatures="5")
    with pytest.raises(RequestInvalid):
        parse_query(asked, without_digests=False)
    intent = parse_query(asked, without_digests=True)
    assert (intent.digests, intent.sign_count) == ((), 5)
    for changes in ({"numSignatures": None}, {"numSignatures": "101"}, {"hashAlgorithmOID": None}):
        with pytest.raises(RequestInvalid):
            parse_query(query(**{"hashes": None, "numSignatures": "5", **changes}), without_digests=True)


@given(
    st.text(max_size=200)
    | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps)
)
def test_DOS_06_any_text_is_parsed_or_refused_cleanly(text: str) -> None:
    with suppress(AuthorizationDetailsInvalid):
        assert parse_details(text, CONFIG.locations).digests
