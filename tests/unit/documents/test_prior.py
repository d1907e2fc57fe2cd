"""Signatures that a document has already: those of the product itself pass, at the highest level too."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from documents.errors import DocumentRefused
from documents.examine import examine
from documents.prior import _check_range
from foundation.clock import FixedClock, SystemClock
from signing.ades.long_term import with_document_timestamp, with_validation_data
from tests import hostile
from tests.documents import blank_pdf
from tests.trust import Trust, gathered, signed_pdf

DOCUMENT = b"before<0A>after"


def test_what_the_product_makes_may_be_signed_again(tmp_path: Path) -> None:
    trust = Trust(tmp_path, FixedClock(SystemClock().now() - timedelta(hours=1)))
    unit, key = trust.unit("unit"), ec.generate_private_key(ec.SECP256R1())
    chain = trust.signer(key)
    document, kinds = blank_pdf(), []
    for _ in range(2):
        trust.clock.advance(1)
        document = signed_pdf(document, key, chain, trust.clock.now(), unit)
        trust.clock.advance(1)
        document = with_validation_data(document, gathered(trust, chain, unit))
        document = with_document_timestamp(document, lambda digest: unit.stamp(digest, "sha256").der)
        found = examine(document)
        kinds += ["approval", "timestamp"]
        assert [each.kind for each in found.signatures] == kinds
        assert [each.whole_document for each in found.signatures] == [False] * (len(kinds) - 1) + [True]
        assert found.findings == ()


def test_SIG_02_permissions_that_are_none_are_looked_at_where_there_is_no_form() -> None:
    with pytest.raises(DocumentRefused) as refused:
        examine(hostile.written(hostile.objects(catalog=b"/Perms 5")))
    assert refused.value.reason == "signature_broken"


def test_a_document_timestamp_over_something_else_is_refused(tmp_path: Path) -> None:
    trust = Trust(tmp_path, FixedClock(SystemClock().now() - timedelta(hours=1)))
    unit, key = trust.unit("unit"), ec.generate_private_key(ec.SECP256R1())
    document = signed_pdf(blank_pdf(), key, trust.signer(key), trust.clock.now(), unit)
    other = with_document_timestamp(document, lambda _: unit.stamp(bytes(32), "sha256").der)
    with pytest.raises(DocumentRefused) as refused:
        examine(other)
    assert (refused.value.reason, refused.value.detail) == ("signature_broken", "time-stamp")


@pytest.mark.parametrize(
    "byte_range",
    [
        [0, 6, 10],
        [1, 6, 10, 5],
        [0, 0, 10, 5],
        [0, 6, 6, 9],
        [0, 10, 6, 5],
        [0, 6, 10, 6],
        [0, 6, 10, -1],
        [0, 5, 10, 5],
        [0, 6, 11, 4],
        [0, 7, 9, 6],
    ],
)
def test_SIG_02_a_byte_range_leaves_out_the_value_and_nothing_else(byte_range: list[int]) -> None:
    _check_range([0, 6, 10, 5], b"\n", DOCUMENT)
    with pytest.raises(DocumentRefused):
        _check_range(byte_range, b"\n", DOCUMENT)


def test_SIG_02_the_value_that_was_read_is_the_one_that_is_left_out() -> None:
    with pytest.raises(DocumentRefused):
        _check_range([0, 6, 10, 5], b"\x0b", DOCUMENT)
