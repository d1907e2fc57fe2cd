"""Where documents are, as a client may say it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from idp.activation.intent import DocumentLocation, SignatureIntent
from idp.oidc.client import Registration
from idp.oidc.errors import AuthorizationDetailsInvalid
from idp.oidc.rar import TYPE_CSC_2_2, parse_details, to_details
from tests.unit.idp_oidc.samples import CONFIG
from tests.unit.idp_oidc.test_rar import HASH, details_2_2

FOLDER = "https://rp.example.org/documents/"
PLACE = f"{FOLDER}4711.pdf"
SDR = [{"hash": HASH, "label": "contract.pdf", "hashType": "SDR"}]


def parse(locations: Any, *, prefixes: tuple[str, ...] | None = (FOLDER,), **changes: Any) -> SignatureIntent:
    details = details_2_2(**{"documentDigests": SDR, "documentLocations": locations, **changes})
    return parse_details(json.dumps([details]), CONFIG.locations, documents=prefixes)


def place(uri: object = PLACE, method: object = None) -> list[dict[str, Any]]:
    return [{"uri": uri, "method": {"type": "OAuth_20"} if method is None else method}]


@pytest.mark.parametrize(
    ("method", "bearer"),
    [
        ({"type": "public"}, False),
        ({"type": "OAuth_20"}, True),
        ({"document_access_mode": "public", "oneTimePassword": None}, False),
        ({"document_access_mode": "OAuth_20"}, True),
    ],
)
def test_both_forms_of_a_method_are_read(method: dict[str, Any], *, bearer: bool) -> None:
    intent = parse(place(method=method))
    assert intent.documents == (DocumentLocation(PLACE, bearer),)
    assert SignatureIntent.from_json(json.loads(json.dumps(intent.to_json()))) == intent
    again = to_details(intent, TYPE_CSC_2_2)
    assert parse_details(json.dumps(again), CONFIG.locations, documents=None) == intent


@pytest.mark.parametrize(
    "method",
    [
        {}, "public", None, {"type": "OTP", "oneTimePassword": "1234"}, {"type": "public", "oneTimePassword": "1"},
        {"type": "Basic_Auth"}, {"type": "Digest_Auth"}, {"type": 1}, {"type": "public", "other": 1},
        {"type": "public", "document_access_mode": "public"},
    ],
)  # fmt: skip
def test_a_method_that_takes_a_secret_or_is_not_understood_is_refused(method: Any) -> None:
    with pytest.raises(AuthorizationDetailsInvalid):
        parse([{"uri": PLACE, "method": method}])


@pytest.mark.parametrize(
    "uri",
    [
        "", 1, None, FOLDER, "https://rp.example.org/documents", "https://rp.example.org/other/4711.pdf",
        "https://rp.example.org.evil.example/documents/x", "https://evil.example/documents/x",
        "http://rp.example.org/documents/x", "HTTPS://rp.example.org/documents/x", f"{FOLDER}../secret",
        f"{FOLDER}%2e%2E/secret", f"{FOLDER}a/./b", f"{FOLDER}..", f"{FOLDER}x#y", f"{FOLDER}x y", f"{FOLDER}\u00e9",
        f"{FOLDER}..;/x", f"{FOLDER}..%3Bv=1/x", f"{FOLDER}a%2f..%2F..%2fx", f"{FOLDER}a%5C..%5cx",
        f"{FOLDER}a\\..\\b", "https://rp.example.org@evil.example/documents/x", "https://rp.example.org:0/documents/x",
        f"{FOLDER}{'x' * 2048}", "file:///documents/x", "//rp.example.org/documents/x",
    ],
)  # fmt: skip
def test_a_place_that_is_not_below_a_registered_folder_is_refused(uri: Any) -> None:
    with pytest.raises(AuthorizationDetailsInvalid):
        parse([{"uri": uri, "method": {"type": "public"}}])


@pytest.mark.parametrize(
    "locations", [[], {}, "x", place() * 2, ["x"], [{**place()[0], "other": 1}], [{"uri": PLACE}]]
)
def test_anything_but_one_location_for_each_digest_is_refused(locations: Any) -> None:
    with pytest.raises(AuthorizationDetailsInvalid):
        parse(locations)


def test_a_client_without_folders_names_no_places() -> None:
    with pytest.raises(AuthorizationDetailsInvalid, match="not registered"):
        parse(place(), prefixes=())


def test_digests_of_signed_attributes_have_no_document() -> None:
    with pytest.raises(AuthorizationDetailsInvalid, match="sdr"):
        parse(place(), documentDigests=[{"hash": HASH, "label": "x", "hashType": "DTBSR"}])
    older = {"type": "credential", "documentDigests": [{"hash": HASH, "label": "x"}], "numSignatures": None}
    del older["numSignatures"]
    asked = {**details_2_2(documentLocations=place()), **older}
    del asked["numSignatures"]
    with pytest.raises(AuthorizationDetailsInvalid, match="sdr"):
        parse_details(json.dumps([asked]), CONFIG.locations, documents=(FOLDER,))


def faults(**changes: Any) -> list[str]:
    common = {"redirect_uris": ("https://rp.example.org/cb",), "scopes": ("openid", "service", "credential")}
    registration = Registration("rp", "A Party", "client_secret_basic", **{**common, **changes})
    return [fault.partition(":")[0] for fault in registration.faults()]


def test_folders_are_registered_with_their_slash() -> None:
    assert faults(document_locations=(FOLDER, "http://127.0.0.1:8406/documents/"), documents_shown=True) == []
    for wrong in ("https://rp.example.org/documents", "https://rp.example.org/?x=/", "ftp://rp.example.org/", "x", ""):
        assert faults(document_locations=(wrong,)) == ["document_locations"], wrong
    assert faults(document_locations=(FOLDER,) * 21) == ["document_locations"]


def test_what_is_demanded_of_a_client_can_be_done() -> None:
    assert faults(documents_shown=True) == ["documents_shown"]
    shown = {"document_locations": (FOLDER,), "documents_shown": True}
    assert faults(**shown, in_band_signatures=True) == ["documents_shown"]
    assert faults(**shown, scopes=("openid",)) == ["document_locations"]


def test_in_production_no_document_is_fetched_without_tls() -> None:
    from idp.oidc.client import Client

    plain = Registration(
        "rp", "A Party", "client_secret_basic", document_locations=(FOLDER, "http://127.0.0.1:8406/documents/")
    )
    assert Client(plain, None).without_plain_uris().registration.document_locations == (FOLDER,)
