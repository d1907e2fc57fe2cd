"""What every signature device promises, asked of the in-memory one and of a real SoftHSM2 token."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from signing.sam.algorithms import KEY_PROFILES, SHA256, SHA384, SHA512, KeyProfile, SignatureAlgorithm
from signing.sam.ports import (
    DeviceError,
    GeneratedKey,
    MacInvalid,
    OperationNotPermitted,
    SignatureDevice,
    WrappedKeyRefused,
)
from signing.scdev.device import Pkcs11Device
from tests.fakes.device import FakeDevice
from tests.fakes.softhsm import make_token

HASHES = {SHA256: hashes.SHA256(), SHA384: hashes.SHA384(), SHA512: hashes.SHA512()}
NAMES = {SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}
P256 = KEY_PROFILES["ec-p256"]
ECDSA = SignatureAlgorithm("ecdsa", SHA256)


@pytest.fixture(scope="module", params=["fake", pytest.param("softhsm", marks=pytest.mark.hsm)])
def device(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignatureDevice]:
    if request.param == "fake":
        yield FakeDevice()
        return
    with Pkcs11Device(make_token(tmp_path_factory.mktemp("port"))) as real:
        yield real


@pytest.fixture(scope="module")
def keys(device: SignatureDevice) -> dict[str, GeneratedKey]:
    return {profile.name: device.generate(profile) for profile in KEY_PROFILES.values()}


def digest_of(hash_alg: str, text: bytes) -> bytes:
    return hashlib.new(NAMES[hash_alg], text).digest()


def algorithm_of(profile: KeyProfile, hash_alg: str) -> SignatureAlgorithm:
    scheme = profile.schemes[0]
    salt = len(digest_of(hash_alg, b"")) if scheme == "rsa-pss" else None
    return SignatureAlgorithm(scheme, hash_alg, salt)


def verify(public_key: bytes, algorithm: SignatureAlgorithm, digest: bytes, value: bytes) -> None:
    """By another implementation than the device's (OpenSSL)."""
    public = load_der_public_key(public_key)
    hashed = Prehashed(HASHES[algorithm.hash_alg])
    if isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(value, digest, ec.ECDSA(hashed))
        return
    assert isinstance(public, rsa.RSAPublicKey)
    if algorithm.scheme == "rsa-pss":
        pss = padding.PSS(padding.MGF1(HASHES[algorithm.hash_alg]), len(digest))
        public.verify(value, digest, pss, hashed)
    else:
        public.verify(value, digest, padding.PKCS1v15(), hashed)


@pytest.mark.parametrize("hash_alg", [SHA256, SHA384, SHA512])
@pytest.mark.parametrize("name", sorted(KEY_PROFILES))
def test_SIG_01_a_value_verifies_with_another_implementation(
    device: SignatureDevice, keys: dict[str, GeneratedKey], name: str, hash_alg: str
) -> None:
    algorithm = algorithm_of(KEY_PROFILES[name], hash_alg)
    digest = digest_of(hash_alg, b"data to be signed")
    (value,) = device.sign(keys[name].wrapped, algorithm, [digest])
    verify(keys[name].public_key, algorithm, digest, value)
    with pytest.raises(InvalidSignature):
        verify(keys[name].public_key, algorithm, digest_of(hash_alg, b"other data"), value)


def test_SIG_08_the_digest_info_is_wrapped_exactly_once(device: SignatureDevice, keys: dict[str, GeneratedKey]) -> None:
    algorithm = SignatureAlgorithm("rsa-pkcs1-v1_5", SHA256)
    digest = digest_of(SHA256, b"x")
    (value,) = device.sign(keys["rsa-3072-pkcs1"].wrapped, algorithm, [digest])
    public = load_der_public_key(keys["rsa-3072-pkcs1"].public_key)
    assert isinstance(public, rsa.RSAPublicKey)
    numbers = public.public_numbers()
    encoded = pow(int.from_bytes(value, "big"), numbers.e, numbers.n).to_bytes(384, "big")
    info = bytes.fromhex("3031300d060960864801650304020105000420") + digest
    assert encoded == b"\x00\x01" + b"\xff" * (384 - 3 - len(info)) + b"\x00" + info


def test_an_ecdsa_value_is_der_of_r_and_s_within_the_order(
    device: SignatureDevice, keys: dict[str, GeneratedKey]
) -> None:
    values = device.sign(keys["ec-p256"].wrapped, ECDSA, [digest_of(SHA256, bytes([n])) for n in range(40)])
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for value in values:
        r, s = decode_dss_signature(value)
        assert 0 < r < order
        assert 0 < s < order


def test_values_come_in_the_order_of_the_digests_with_repetitions(
    device: SignatureDevice, keys: dict[str, GeneratedKey]
) -> None:
    texts = [b"z", b"a", b"m", b"a", b"b"]
    digests = [digest_of(SHA256, text) for text in texts]
    values = device.sign(keys["ec-p256"].wrapped, ECDSA, digests)
    assert len(values) == len(digests)
    for digest, value in zip(digests, values, strict=True):
        verify(keys["ec-p256"].public_key, ECDSA, digest, value)


def test_a_key_that_was_used_can_be_used_again(device: SignatureDevice, keys: dict[str, GeneratedKey]) -> None:
    for n in range(5):
        digest = digest_of(SHA256, bytes([n]))
        (value,) = device.sign(keys["ec-p256"].wrapped, ECDSA, [digest])
        verify(keys["ec-p256"].public_key, ECDSA, digest, value)


def test_two_orders_give_two_keys(device: SignatureDevice) -> None:
    first, second = device.generate(P256), device.generate(P256)
    assert first.public_key != second.public_key
    assert first.wrapped.blob != second.wrapped.blob
    assert "blob" not in repr(first.wrapped)


@pytest.mark.parametrize("length", [0, 20, 31, 33, 48, 64])
def test_SIG_08_a_digest_of_another_length_than_the_hash_function_is_refused(
    device: SignatureDevice, keys: dict[str, GeneratedKey], length: int
) -> None:
    with pytest.raises(OperationNotPermitted):
        device.sign(keys["ec-p256"].wrapped, ECDSA, [bytes(32), bytes(length)])


@pytest.mark.parametrize("hash_alg", ["1.3.14.3.2.26", "1.2.840.113549.2.5", "2.16.840.1.101.3.4.2.4", ""])
def test_SIG_08_hash_functions_not_offered_are_refused(
    device: SignatureDevice, keys: dict[str, GeneratedKey], hash_alg: str
) -> None:
    with pytest.raises(OperationNotPermitted):
        device.sign(keys["ec-p256"].wrapped, SignatureAlgorithm("ecdsa", hash_alg), [bytes(20)])


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("ec-p256", SignatureAlgorithm("rsa-pss", SHA256, 32)),
        ("rsa-3072-pss", SignatureAlgorithm("rsa-pkcs1-v1_5", SHA256)),
        ("rsa-3072-pkcs1", SignatureAlgorithm("rsa-pss", SHA256, 32)),
        ("rsa-3072-pss", SignatureAlgorithm("rsa-pss", SHA256, 0)),
        ("rsa-3072-pss", SignatureAlgorithm("rsa-pss", SHA256, 20)),
        ("ec-p256", SignatureAlgorithm("ecdsa", SHA256, 32)),
    ],
)
def test_SAD_04_a_key_serves_one_scheme_and_padding_only(
    device: SignatureDevice, keys: dict[str, GeneratedKey], name: str, algorithm: SignatureAlgorithm
) -> None:
    with pytest.raises(OperationNotPermitted):
        device.sign(keys[name].wrapped, algorithm, [bytes(32)])


def test_no_digests_or_too_many_are_refused(device: SignatureDevice, keys: dict[str, GeneratedKey]) -> None:
    for digests in ([], [bytes(32)] * 1001):
        with pytest.raises(OperationNotPermitted):
            device.sign(keys["ec-p256"].wrapped, ECDSA, digests)


def test_KEY_06_a_blob_with_any_bit_flipped_does_not_unwrap(
    device: SignatureDevice, keys: dict[str, GeneratedKey]
) -> None:
    wrapped = keys["ec-p256"].wrapped
    for at in range(0, len(wrapped.blob), 3):
        blob = bytearray(wrapped.blob)
        blob[at] ^= 1 << (at % 8)
        with pytest.raises(WrappedKeyRefused):
            device.sign(replace(wrapped, blob=bytes(blob)), ECDSA, [bytes(32)])


def test_KEY_06_a_truncated_lengthened_or_empty_blob_does_not_unwrap(
    device: SignatureDevice, keys: dict[str, GeneratedKey]
) -> None:
    wrapped = keys["ec-p256"].wrapped
    blob = wrapped.blob
    for wrong in (b"", blob[:1], blob[:-1], blob[:-8], blob[8:], blob + b"\0", blob + bytes(8), bytes(9000)):
        with pytest.raises(WrappedKeyRefused):
            device.sign(replace(wrapped, blob=wrong), ECDSA, [bytes(32)])


def test_KEY_06_a_blob_that_names_another_kek_is_refused(
    device: SignatureDevice, keys: dict[str, GeneratedKey]
) -> None:
    for kek_id in ("00" * 16, "", "not hexadecimal"):
        with pytest.raises(WrappedKeyRefused):
            device.sign(replace(keys["ec-p256"].wrapped, kek_id=kek_id), ECDSA, [bytes(32)])


def test_KEY_06_a_blob_whose_row_says_another_kind_of_key_is_refused(
    device: SignatureDevice, keys: dict[str, GeneratedKey]
) -> None:
    ec_key, rsa_key = keys["ec-p256"].wrapped, keys["rsa-3072-pss"].wrapped
    with pytest.raises(WrappedKeyRefused):
        device.sign(replace(ec_key, profile="rsa-3072-pss"), SignatureAlgorithm("rsa-pss", SHA256), [bytes(32)])
    with pytest.raises(WrappedKeyRefused):
        device.sign(replace(rsa_key, profile="ec-p256"), ECDSA, [bytes(32)])
    with pytest.raises(OperationNotPermitted):
        device.sign(replace(ec_key, profile="ec-p999"), ECDSA, [bytes(32)])


def test_after_refusals_the_device_still_signs(device: SignatureDevice, keys: dict[str, GeneratedKey]) -> None:
    with pytest.raises(WrappedKeyRefused):
        device.sign(replace(keys["ec-p256"].wrapped, blob=bytes(80)), ECDSA, [bytes(32)])
    (value,) = device.sign(keys["ec-p256"].wrapped, ECDSA, [bytes(32)])
    verify(keys["ec-p256"].public_key, ECDSA, bytes(32), value)


@pytest.mark.parametrize("name", sorted(KEY_PROFILES))
def test_a_key_that_was_wrapped_anew_is_the_same_key(
    device: SignatureDevice, keys: dict[str, GeneratedKey], name: str
) -> None:
    anew = device.rewrap(keys[name].wrapped)
    assert anew.profile == name
    algorithm = algorithm_of(KEY_PROFILES[name], SHA256)
    (value,) = device.sign(anew, algorithm, [digest_of(SHA256, b"x")])
    verify(keys[name].public_key, algorithm, digest_of(SHA256, b"x"), value)


def test_KEY_06_what_does_not_unwrap_is_not_wrapped_anew(
    device: SignatureDevice, keys: dict[str, GeneratedKey]
) -> None:
    wrapped = keys["ec-p256"].wrapped
    flipped = wrapped.blob[:-1] + bytes([wrapped.blob[-1] ^ 1])
    for wrong in (
        replace(wrapped, blob=flipped),
        replace(wrapped, blob=b""),
        replace(wrapped, kek_id="00" * 16),
        replace(wrapped, profile="ec-p384"),
        replace(wrapped, mechanism="aes-cbc"),
    ):
        with pytest.raises(WrappedKeyRefused):
            device.rewrap(wrong)


def test_KEY_06_a_blob_whose_row_says_another_size_or_mechanism_is_refused(
    device: SignatureDevice, keys: dict[str, GeneratedKey]
) -> None:
    for wrong in (
        replace(keys["ec-p384"].wrapped, profile="ec-p256"),
        replace(keys["ec-p256"].wrapped, mechanism="token"),
        replace(keys["ec-p256"].wrapped, mechanism="aes-cbc"),
    ):
        with pytest.raises(WrappedKeyRefused):
            device.sign(wrong, ECDSA, [bytes(32)])
    # A mechanism that the token may not have: its own word.
    with pytest.raises((WrappedKeyRefused, OperationNotPermitted)):
        device.sign(replace(keys["ec-p256"].wrapped, mechanism="vendor:0x80000001"), ECDSA, [bytes(32)])


@pytest.mark.parametrize("name", ["ec-p256", "ec-p384", "rsa-3072-pss"])
def test_KEY_07_a_wrapped_key_tells_what_it_may_and_not_that_it_was_made_here(
    device: SignatureDevice, keys: dict[str, GeneratedKey], name: str
) -> None:
    told = device.examine(keys[name].wrapped)
    assert {"SENSITIVE=TRUE", "EXTRACTABLE=FALSE", "LOCAL=FALSE", "ALWAYS_SENSITIVE=FALSE"} <= set(told)


def test_KEY_06_what_does_not_unwrap_tells_nothing(device: SignatureDevice, keys: dict[str, GeneratedKey]) -> None:
    wrapped = keys["ec-p256"].wrapped
    for wrong in (
        replace(wrapped, blob=wrapped.blob[:-1] + bytes([wrapped.blob[-1] ^ 1])),
        replace(wrapped, blob=b""),
        replace(wrapped, kek_id="00" * 16),
        replace(wrapped, profile="ec-p384"),
        replace(wrapped, profile="rsa-3072-pss"),
        replace(wrapped, mechanism="aes-cbc"),
    ):
        with pytest.raises(WrappedKeyRefused):
            device.examine(wrong)
    with pytest.raises(OperationNotPermitted):
        device.examine(replace(wrapped, mechanism="token"))


def test_one_kek_is_the_one_that_new_keys_are_wrapped_by(
    device: SignatureDevice, keys: dict[str, GeneratedKey]
) -> None:
    (current,) = [kek for kek in device.wrapping_keys() if kek.current]
    assert current.trusted
    assert {key.wrapped.kek_id for key in keys.values()} == {current.kek_id}


# Keys that stay on the token


@pytest.mark.parametrize("name", sorted(KEY_PROFILES))
def test_a_key_that_stays_on_the_token_signs_until_it_is_destroyed(device: SignatureDevice, name: str) -> None:
    key, algorithm = device.generate(KEY_PROFILES[name], "realm"), algorithm_of(KEY_PROFILES[name], SHA256)
    assert (key.wrapped.mechanism, key.wrapped.kek_id) == ("token", "")
    digest = digest_of(SHA256, b"x")
    for value in device.sign(key.wrapped, algorithm, [digest, digest]):
        verify(key.public_key, algorithm, digest, value)
    assert device.kept("realm") == {key.wrapped.blob}
    device.destroy_kept("realm", key.wrapped.blob)
    assert device.kept("realm") == frozenset()


def test_KEY_11_a_key_that_was_destroyed_signs_nothing_and_can_be_destroyed_again(device: SignatureDevice) -> None:
    keys = [device.generate(P256, "realm") for _ in range(3)]
    assert device.kept("realm") == {key.wrapped.blob for key in keys}
    device.destroy_kept("realm", keys[0].wrapped.blob)
    device.destroy_kept("realm", keys[0].wrapped.blob)
    assert device.kept("realm") == {key.wrapped.blob for key in keys[1:]}
    with pytest.raises(WrappedKeyRefused):
        device.sign(keys[0].wrapped, ECDSA, [bytes(32)])
    verify(keys[1].public_key, ECDSA, bytes(32), device.sign(keys[1].wrapped, ECDSA, [bytes(32)])[0])
    for key in keys[1:]:
        device.destroy_kept("realm", key.wrapped.blob)


def test_KEY_11_a_key_that_is_at_hand_does_not_outlive_its_destruction(device: SignatureDevice) -> None:
    for _ in range(4):
        key = device.generate(P256, "realm").wrapped
        device.sign(key, ECDSA, [bytes(32)])
        device.destroy_kept("realm", key.blob)
        with pytest.raises(DeviceError) as refused:
            device.sign(key, ECDSA, [bytes(32)])
        assert refused.value.certainly_not_signed
        # A worker that had it may have been replaced.
        device.sign(device.generate(P256).wrapped, ECDSA, [bytes(32)])


def test_KEY_05_an_installation_sees_and_destroys_its_own_keys_only(device: SignatureDevice) -> None:
    mine, other = device.generate(P256, "realm"), device.generate(P256, "realm2")
    assert device.kept("realm") == {mine.wrapped.blob}
    assert device.kept("realm2") == {other.wrapped.blob}
    device.destroy_kept("realm", other.wrapped.blob)
    assert device.kept("realm2") == {other.wrapped.blob}
    for realm, key in (("realm", mine), ("realm2", other)):
        device.destroy_kept(realm, key.wrapped.blob)


def test_a_key_that_stays_on_the_token_is_not_what_another_row_says(device: SignatureDevice) -> None:
    key = device.generate(P256, "realm").wrapped
    for wrong in (
        replace(key, blob=bytes(16)),
        replace(key, blob=key.blob[:-1]),
        replace(key, profile="ec-p384"),
        replace(key, mechanism="aes-kwp"),
    ):
        with pytest.raises(WrappedKeyRefused):
            device.sign(wrong, ECDSA, [bytes(32)])
    with pytest.raises(OperationNotPermitted):
        device.rewrap(key)
    device.destroy_kept("realm", key.blob)


def test_KEY_03_a_tag_verifies_over_its_own_message_only(device: SignatureDevice) -> None:
    tag = device.mac(b"row 1")
    assert len(tag) == 32
    assert device.mac(b"row 1") == tag
    assert device.mac(b"row 2") != tag
    device.verify_mac(b"row 1", tag)
    device.verify_mac(b"", device.mac(b""))
    for message, wrong in (
        (b"row 2", tag),
        (b"row 1", tag[:-1] + bytes([tag[-1] ^ 1])),
        (b"row 1", tag[:16]),
        (b"row 1", b""),
    ):
        with pytest.raises(MacInvalid):
            device.verify_mac(message, wrong)


def test_data_objects_are_added_beside_what_is_there_and_removed_by_their_value(device: SignatureDevice) -> None:
    label = "privyseal-test/\u00e9"
    assert device.read_data(label) == ()
    device.add_data(label, b"first")
    device.add_data(label, bytes(8000))
    device.add_data(label + "2", b"other")
    assert set(device.read_data(label)) == {b"first", bytes(8000)}
    device.remove_data(label, b"never there")
    device.remove_data(label, b"first")
    assert device.read_data(label) == (bytes(8000),)
    assert device.read_data(label + "2") == (b"other",)
    device.remove_data(label, bytes(8000))
    device.remove_data(label, bytes(8000))
    assert device.read_data(label) == ()


def test_a_data_object_of_one_worker_is_seen_by_all(device: SignatureDevice) -> None:
    with ThreadPoolExecutor(4) as pool:
        for number in range(8):
            value = number.to_bytes(2, "big")
            device.add_data("privyseal-shared", value)
            assert set(pool.map(lambda _: device.read_data("privyseal-shared"), range(8))) == {(value,)}
            device.remove_data("privyseal-shared", value)


def test_data_objects_that_others_remove_meanwhile_cost_nobody_the_device(device: SignatureDevice) -> None:
    # A token's search and the look at what it found are two steps, and another process may come between.
    read: list[int] = []

    def churn(number: int) -> None:
        for turn in range(60):
            value = bytes([number, turn])
            device.add_data("privyseal-churn", value)
            read.append(len(device.read_data("privyseal-churn")))
            device.remove_data("privyseal-churn", value)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(churn, range(4)))
    # What another worker has just added may be shown late; so whoever relies on it has to know what to expect.
    assert len(read) == 240


@pytest.mark.parametrize("octets", [0, 16 * 1024 + 1])
def test_a_data_object_that_is_empty_or_too_long_is_refused(device: SignatureDevice, octets: int) -> None:
    with pytest.raises(OperationNotPermitted):
        device.add_data("privyseal-test", bytes(octets))
    assert device.read_data("privyseal-test") == ()


def test_the_canary_proves_the_device(device: SignatureDevice) -> None:
    for _ in range(3):
        device.canary()


def test_many_threads_sign_at_once_and_each_gets_its_own_value(
    device: SignatureDevice, keys: dict[str, GeneratedKey]
) -> None:
    def one(number: int) -> tuple[bytes, bytes]:
        digest = digest_of(SHA256, number.to_bytes(4, "big"))
        return digest, device.sign(keys["ec-p256"].wrapped, ECDSA, [digest])[0]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(200)))
    for digest, value in results:
        verify(keys["ec-p256"].public_key, ECDSA, digest, value)
    assert len({value for _, value in results}) == 200
