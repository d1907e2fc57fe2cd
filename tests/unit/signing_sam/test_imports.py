"""Keys that were made elsewhere: on two operators' word, wrapped, once, and marked for it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from sqlalchemy import delete, update

from contract.errors import OperationUnderSigned
from contract.order import SubjectClaim
from foundation.jose import encode_base64url
from signing.sam import errors, events
from signing.sam.algorithms import KEY_PROFILES
from signing.sam.credential import Credential
from signing.sam.ports import DeviceUnavailable, GeneratedKey, WrappedKey
from signing.sam_app.handlers import view
from signing.storage.store import SqlStore
from signing.storage.tables import credentials
from tests.fakes.copies import copy_tables, put_back
from tests.fakes.sam import ALICE, ISSUER, REALM, World
from tests.unit.signing_sam.anchors import restarted
from tests.unit.signing_sam.test_operators import recorded, thumbprints

SUBJECT = {name: value for name in SubjectClaim.__slots__ if (value := getattr(ALICE, name)) is not None}


def elsewhere(world: World, profile: str = "ec-p256") -> GeneratedKey:
    """A key under this token's KEK that no credential has: as another installation over the same KEK has them."""
    return world.fake.generate(KEY_PROFILES[profile])


def parameters(key: GeneratedKey, **changes: Any) -> dict[str, Any]:
    wrapped = key.wrapped
    return {
        "issuer": ISSUER,
        "owner": "alice",
        "profile": "brought",
        "subject": SUBJECT,
        "public_key": encode_base64url(key.public_key),
        "wrapped_key": {
            "blob": encode_base64url(wrapped.blob),
            "kek_id": wrapped.kek_id,
            "mechanism": wrapped.mechanism,
        },
        **changes,
    }


def brought(world: World, key: GeneratedKey, **changes: Any) -> Credential:
    done = world.operators().execute(world.operation("credential.import", **parameters(key, **changes)))
    assert done.credential is not None
    return done.credential


def refused(world: World, key: GeneratedKey, match: str, **changes: Any) -> None:
    """Refused before any key is used, or at least before anything is written but the refusal."""
    with pytest.raises(errors.OperationRefused, match=match):
        brought(world, key, **changes)
    assert recorded(world, events.CREDENTIAL_IMPORTED) == []
    assert world.lifecycle().credentials("alice") == ()


@pytest.mark.parametrize(("profile", "kind"), [("brought", "ec-p256"), ("brought-rsa", "rsa-3072-pss")])
def test_two_operators_bring_a_key_that_then_signs_and_stays_marked(world: World, profile: str, kind: str) -> None:
    key = elsewhere(world, kind)
    pending = brought(world, key, profile=profile)
    assert (pending.status, pending.origin, pending.version) == ("pending", "imported", 1)
    assert (pending.owner, pending.issuer, pending.subject) == ("alice", ISSUER, ALICE)
    assert pending.wrapped_key() == key.wrapped
    request = x509.load_der_x509_csr(pending.request)
    assert request.is_signature_valid
    assert request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == key.public_key
    (fields,) = recorded(world, events.CREDENTIAL_IMPORTED)
    assert fields["decision"].split() == thumbprints(world)
    assert "SENSITIVE=TRUE" in fields["key_attributes"]
    assert "LOCAL=FALSE" in fields["key_attributes"]
    active = world.lifecycle().link(pending.id, [world.authority.issue(pending.request)])
    assert active.origin == view(active).origin == "imported"
    if kind == "ec-p256":
        assert len(world.activator().sign(world.request(world.sad(active)))) == 1


def test_ADM_01_one_operator_brings_no_key(world: World) -> None:
    key = elsewhere(world)
    with pytest.raises(OperationUnderSigned):
        world.operators().execute(world.operation("credential.import", 1, **parameters(key)))
    assert world.fake.signatures == 0


def test_ADM_02_an_import_is_carried_out_once_whatever_the_database_says(world: World) -> None:
    key, other = elsewhere(world), elsewhere(world)
    operation = world.operation("credential.import", **parameters(key))
    world.operators().execute(operation)
    signatures = world.fake.signatures
    with pytest.raises(errors.OperationUsed):
        world.operators().execute(operation)
    assert world.fake.signatures == signatures
    brought(world, other)


def test_a_key_that_is_or_was_a_credentials_is_nobody_elses(world: World) -> None:
    theirs = world.credential(owner="bob")
    stolen = GeneratedKey(theirs.wrapped_key(), theirs.public_key)
    refused(world, stolen, "has, or had")
    world.lifecycle().execute(world.order_token("credential.delete", sub="bob", credential_id=theirs.id))
    refused(world, stolen, "has, or had")


@pytest.mark.parametrize("hide", [{"public_key": b"another"}, {"id": "another"}, {"certificates": "none"}, None])
def test_KEY_01_a_row_that_was_altered_or_hidden_lets_nobody_import_its_key(world: World, hide: Any) -> None:
    theirs = world.credential(owner="bob")
    copy = copy_tables(world.engine)

    class Hiding(SqlStore):
        """Somebody takes the row away, once database and anchor were compared."""

        def has_key(self, public_key: bytes) -> bool:
            with world.engine.begin() as connection:
                connection.execute(delete(credentials) if hide is None else update(credentials).values(**hide))
            return super().has_key(public_key)

    world.store = Hiding(world.engine)
    before, stolen = world.fake.signatures, GeneratedKey(theirs.wrapped_key(), theirs.public_key)
    with pytest.raises((errors.RowAltered, errors.ChangedMeanwhile, errors.OperationRefused)):
        brought(world, stolen)
    assert world.fake.signatures == before
    put_back(world.engine, copy, {"credentials"})
    assert world.lifecycle().credentials("alice") == ()


def test_a_key_is_imported_once_and_its_tombstone_keeps_it_out(world: World) -> None:
    key = elsewhere(world)
    first = brought(world, key)
    for owner in ("alice", "bob"):
        with pytest.raises(errors.OperationRefused, match="has, or had"):
            brought(world, key, owner=owner)
    world.lifecycle().execute(world.order_token("credential.delete", credential_id=first.id))
    with pytest.raises(errors.OperationRefused, match="has, or had"):
        brought(world, key)
    assert len(recorded(world, events.CREDENTIAL_IMPORTED)) == 1


def test_of_two_imports_of_one_key_at_one_time_the_database_takes_the_first(world: World) -> None:
    key = elsewhere(world)

    class Blind(SqlStore):
        """Looked before the other one had written."""

        def has_key(self, public_key: bytes) -> bool:
            return False

    brought(world, key)
    with pytest.raises(errors.OperationRefused, match="has, or had"):
        world.operators(store=Blind(world.engine)).execute(
            world.operation("credential.import", **parameters(key, owner="bob"))
        )
    assert world.lifecycle().credentials("bob") == ()


def test_KEY_04_a_database_from_before_an_import_is_behind_the_token(world: World) -> None:
    copy = copy_tables(world.engine)
    brought(world, elsewhere(world))
    put_back(world.engine, copy)
    node = restarted(world)
    with pytest.raises(errors.LedgerBehind):
        node.operators().execute(node.operation("credential.import", **parameters(elsewhere(node))))


def test_a_profile_takes_none_unless_it_says_so_and_only_wrapped_ones(world: World) -> None:
    key = elsewhere(world)
    for profile in ("standard", "none"):
        refused(world, key, "takes no keys", profile=profile)
    kept = world.fake.generate(KEY_PROFILES["ec-p256"], REALM)
    refused(world, kept, "parameters")  # no KEK
    refused(world, GeneratedKey(replace(kept.wrapped, kek_id="00"), kept.public_key), "only wrapped")
    policy = replace(
        world.policy, profiles={"kept": replace(world.policy.profiles["kept"], accepts_imports=True)}
    )
    with pytest.raises(errors.OperationRefused, match="only wrapped"):
        brought(replace(world, policy=policy), key, profile="kept")
    assert world.fake.signatures == 0


def spki(key: Any) -> bytes:
    encoded: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def test_what_does_not_fit_its_public_key_or_does_not_unwrap_is_refused(world: World) -> None:
    key, other = elsewhere(world), elsewhere(world)
    refused(world, GeneratedKey(key.wrapped, other.public_key), "not that of the public key")
    short = replace(key.wrapped, blob=key.wrapped.blob[:-8])
    refused(world, GeneratedKey(short, key.public_key), "wrapped_key_refused")
    refused(world, GeneratedKey(replace(key.wrapped, mechanism="aes-cbc"), key.public_key), "wrapped_key_refused")
    foreign = aes_key_wrap_with_padding(secrets.token_bytes(32), b"k" * 100)
    refused(world, GeneratedKey(replace(key.wrapped, blob=foreign), key.public_key), "wrapped_key_refused")
    refused(world, GeneratedKey(replace(key.wrapped, kek_id="ff" * 16), key.public_key), "wrapped_key_refused")
    larger = elsewhere(world, "ec-p384")
    refused(world, GeneratedKey(larger.wrapped, key.public_key), "wrapped_key_refused")


@pytest.mark.parametrize(
    "public",
    [
        b"\x30\x00",
        spki(ed25519.Ed25519PrivateKey.generate()),
        spki(ec.generate_private_key(ec.SECP384R1())),
        spki(ec.generate_private_key(ec.SECP256K1())),
        spki(rsa.generate_private_key(65537, 2048)),
        load_der_public_key(spki(ec.generate_private_key(ec.SECP256R1()))).public_bytes(
            Encoding.X962, PublicFormat.CompressedPoint
        ),
    ],
    ids=["nothing", "ed25519", "p384", "k1", "rsa", "a point"],
)
def test_a_public_key_of_another_kind_asks_nothing_of_the_device(world: World, public: bytes) -> None:
    refused(world, GeneratedKey(elsewhere(world).wrapped, public), "public key")
    assert world.fake.calls["examine"] == world.fake.signatures == 0


def test_one_key_has_one_way_to_be_written(world: World) -> None:
    """Else a key that is a credential's comes back as another."""
    theirs = world.credential(owner="bob")
    curve = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    point = load_der_public_key(theirs.public_key)
    assert isinstance(point, ec.EllipticCurvePublicKey)
    compressed = b"\x03\x22\x00" + point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    encoded = b"\x30" + bytes([len(curve) + len(compressed)]) + curve + compressed
    refused(world, GeneratedKey(theirs.wrapped_key(), encoded), "DER")


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://another.example"},
        {"owner": ""},
        {"subject": {}},
        {"public_key": "!"},
        {"wrapped_key": {"blob": "AA", "kek_id": "00"}},
        {"wrapped_key": {"blob": "AA==", "kek_id": "00", "mechanism": "aes-kwp"}},
        {"private_key": "AA"},
        {"proof_key": {"kty": "EC"}},
    ],
)
def test_parameters_are_read_strictly(world: World, change: dict[str, Any]) -> None:
    refused(world, elsewhere(world), "the parameters|no such issuer", **change)
    assert world.fake.calls["examine"] == world.fake.signatures == 0


def test_a_subject_that_no_certificate_can_name_is_refused(world: World) -> None:
    with pytest.raises(errors.OrderRefused):
        brought(world, elsewhere(world), subject={"common_name": "a\u202eb"})
    assert world.fake.signatures == 0


@pytest.mark.parametrize("failing", ["examine", "sign"])
def test_a_device_that_is_away_spends_nothing(world: World, failing: Any) -> None:
    operation = world.operation("credential.import", **parameters(elsewhere(world)))
    world.fake.fail_next(failing, DeviceUnavailable("away"))
    with pytest.raises(errors.ScdevUnavailable):
        world.operators().execute(operation)
    assert world.operators().execute(operation).credential is not None


def test_the_largest_keys_fit_an_operation(world: World) -> None:
    """16 KiB: an RSA key of 4096 bits, wrapped, with its public key and three signatures."""
    wrapped = WrappedKey(bytes(2400), "ab" * 16, "", "aes-kwp")
    bundle = world.operation("credential.import", **parameters(GeneratedKey(wrapped, bytes(550))))
    assert len(bundle) < 8 * 1024
