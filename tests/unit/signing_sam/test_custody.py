"""A database writer can deny service, never obtain a signature: every column of a row is under its MAC."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from signing.sam.credential import Credential, mac_octets
from signing.sam.custody import opened, sealed
from signing.sam.errors import RowAltered
from signing.storage.rows import from_row, to_row
from signing.storage.tables import credentials
from tests.fakes.device import FakeDevice
from tests.fakes.sam import REALM, World

ALTERED: dict[str, Any] = {
    "issuer": "https://other.example.org",
    "owner": "mallory",
    "status": "suspended",
    "profile": "other",
    "policy": "decision-9",
    "scal": "1",
    "qualifier": None,
    "multisign": 7,
    "floor_loa": "low",
    "floor_categories": 1,
    "floor_sad_seconds": 3600,
    "floor_evidence_seconds": 9_999_999,
    "floor_phishing_resistant": 1,
    "floor_signatures_per_day": 7,
    "floor_signer_proof": 1,
    "subject": '{"common_name":"Mallory","given_name":null,"surname":null,"serial_number":null,"country":null}',
    "public_key": b"other",
    "request": b"other",
    "certificates": "[]",
    "wrapped_key": b"other",
    "kek_id": "other",
    "key_profile": "rsa-3072-pss",
    "key_mechanism": "aes-kw",
    "proof_keys": '["AAAA"]',
    "version": 9,
    "created": 1,
    "origin": "imported",
    "not_before": 1,
    "mac": b"\0" * 32,
}


def test_every_column_is_tried_below() -> None:
    assert set(ALTERED) == set(credentials.c.keys()) - {"id", "realm"}


@pytest.mark.parametrize("column", ALTERED)
def test_KEY_03_a_row_with_one_column_altered_is_refused(world: World, credential: Credential, column: str) -> None:
    with world.engine.begin() as connection:
        connection.execute(update(credentials).values({column: ALTERED[column]}))
    with pytest.raises(RowAltered):
        world.lifecycle().credential(credential.id)


@pytest.mark.parametrize("columns", [("wrapped_key",), ("certificates",), ("wrapped_key", "public_key"), ("mac",)])
def test_KEY_01_02_columns_swapped_between_two_rows_are_refused(
    world: World, credential: Credential, columns: tuple[str, ...]
) -> None:
    other = world.credential("bob")
    with world.engine.begin() as connection:
        rows = {row["id"]: row for row in connection.execute(select(credentials)).mappings()}
        for mine, theirs in ((credential.id, other.id), (other.id, credential.id)):
            values = {column: rows[theirs][column] for column in columns}
            connection.execute(update(credentials).where(credentials.c.id == mine).values(**values))
    for item in (credential, other):
        with pytest.raises(RowAltered):
            world.lifecycle().credential(item.id)


def test_KEY_03_a_whole_row_under_another_id_is_refused(world: World, credential: Credential) -> None:
    with world.engine.begin() as connection:
        connection.execute(update(credentials).values(id="mine-now"))
    with pytest.raises(RowAltered):
        world.lifecycle().credential("mine-now")


def test_KEY_05_a_row_of_another_realm_under_the_same_key_is_refused(credential: Credential, world: World) -> None:
    foreign = sealed(replace(credential, realm="test-realm"), world.device)
    with pytest.raises(RowAltered, match="realm"):
        opened(foreign, REALM, world.device)
    with pytest.raises(RowAltered, match="MAC"):
        opened(replace(foreign, credential=credential), REALM, world.device)


@pytest.mark.parametrize(
    ("column", "text"), [("subject", "{}"), ("subject", "no JSON"), ("certificates", '["*"]'), ("proof_keys", "7")]
)
def test_a_row_that_cannot_be_read_is_refused(world: World, credential: Credential, column: str, text: str) -> None:
    with world.engine.begin() as connection:
        connection.execute(update(credentials).values({column: text}))
    with pytest.raises(RowAltered):
        world.lifecycle().credential(credential.id)


def test_a_row_comes_back_as_it_went_in(credential: Credential) -> None:
    device = FakeDevice()
    for item in (credential, replace(credential, key=None, proof_keys=(b"a", b"b"), qualifier=None)):
        row = sealed(item, device)
        assert from_row(to_row(row)) == row  # type: ignore[arg-type] # a dict reads like a row


def test_two_different_rows_never_have_the_same_mac_octets(credential: Credential) -> None:
    variants = [
        credential,
        replace(credential, owner=credential.owner + "x"),
        replace(credential, id=credential.id + credential.owner, owner=""),
        replace(credential, certificates=(b"",)),
        replace(credential, certificates=()),
        replace(credential, proof_keys=credential.certificates, certificates=()),
        replace(credential, qualifier=None),
        replace(credential, qualifier="None"),
        replace(credential, key=None),
    ]
    assert len({mac_octets(item) for item in variants}) == len(variants)


def test_nothing_secret_is_in_a_credentials_repr(credential: Credential) -> None:
    assert credential.key is not None
    assert repr(credential.key.blob) not in repr(credential)
