"""Which levels of ``signDoc`` are offered, and how they are asked for."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from signing.csc import errors
from signing.csc.document_requests import ALL_LEVELS, parse_sign_doc
from signing.settings import StatusSettings, TimestampSettings
from tests import pki
from tests.documents import blank_pdf
from tests.unit.signing_csc.conftest import Bench, running

pytestmark = pytest.mark.loopback


def body(**changes: Any) -> dict[str, Any]:
    item = {
        "document": base64.b64encode(blank_pdf()).decode(),
        "signature_format": "P",
        "signAlgo": "1.2.840.10045.4.3.2",
    }
    return {"credentialID": "cred-alice", "documents": [item | changes]}


def told(bench: Bench) -> list[str]:
    levels: list[str] = bench.post("info", {}).get_json()["conformance_levels"]
    return levels


def test_info_tells_the_levels_that_this_deployment_reaches(tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.pem"
    anchor.write_bytes(pki.authority("Root").certificate.public_bytes(Encoding.PEM))
    table = {"url": "https://tsa.example", "trust_anchors": [str(anchor)]}
    stamps, status = (TimestampSettings("rfc3161", table),), StatusSettings("http", (anchor,))
    offered: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
        ({}, ALL_LEVELS[:1]),
        ({"status": status}, ALL_LEVELS[:1]),
        ({"timestamp_authorities": stamps}, ALL_LEVELS[:2]),
        ({"timestamp_authorities": stamps, "status": status}, ALL_LEVELS),
    )
    for number, (changes, levels) in enumerate(offered):
        (tmp_path / str(number)).mkdir()
        with running(tmp_path / str(number), **changes) as bench:
            assert told(bench) == list(levels)


@pytest.mark.parametrize(
    ("stated", "level"),
    [
        (None, "Ades-B-B"), ("AdES-B", "Ades-B-B"), ("ades-b-t", "Ades-B-T"), ("AdES-T", "Ades-B-T"),
        ("AdeS-B-LT", "Ades-B-LT"), ("Ades-LTA", "Ades-B-LTA"),
    ],
)  # fmt: skip
def test_levels_are_understood_however_they_are_spelt(stated: str | None, level: str) -> None:
    (wish,) = parse_sign_doc(body(conformance_level=stated), ALL_LEVELS).wishes
    assert (wish.level, wish.lower) == (level, False)


@pytest.mark.parametrize(
    ("form", "stated", "offered"),
    [
        ("C", "Ades-B-LT", 4), ("C", "Ades-B-LTA", 4), ("P", "Ades-B-LTA", 2), ("P", "Ades-B-T", 1),
        ("P", "Ades-B-X", 4), ("P", "B-LT", 4), ("P", "Ades-B-LTA-", 4), ("P", "Ades--B-LT", 4),
    ],
)  # fmt: skip
@pytest.mark.parametrize("lower", [False, True])
def test_a_level_that_is_not_offered_is_refused_though_a_lower_one_would_do(
    form: str, stated: str, offered: int, lower: bool
) -> None:
    asked = body(signature_format=form, conformance_level=stated, allow_lower_level=lower)
    with pytest.raises(errors.InvalidRequest, match="conformance_level"):
        parse_sign_doc(asked, ALL_LEVELS[:offered])
