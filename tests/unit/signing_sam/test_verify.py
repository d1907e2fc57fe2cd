"""A SAD that is right passes; break one thing, and the one reason for it comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from contract.sad import Sad
from signing.sam import errors
from signing.sam.algorithms import (
    PKCS1_HASHES,
    RSA_ENCRYPTION,
    RSASSA_PSS,
    SHA256,
    SHA384,
    SHA512,
    SignatureAlgorithm,
    pss_parameters,
)
from signing.sam.credential import Credential, Floor
from signing.sam.errors import SamError
from signing.sam.revocation import revocation_of
from signing.sam.verify import (
    CHECKS,
    CLAIM_CHECKS,
    SignatureRequest,
    check_certificate,
    first_second_after,
    verify_sad,
)
from tests.fakes.sam import CLIENT, ECDSA_SHA256, NOW, World, digest, evidence

D1, D2, D3, D4 = (digest(number) for number in range(1, 5))


def verify(world: World, sad: Sad, credential: Credential, **request: Any) -> SignatureAlgorithm:
    """Verify now, with a request for everything authorised until changed."""
    wanted = SignatureRequest(
        sad="not looked at here",
        client_id=CLIENT,
        credential_id=credential.id,
        hash_alg=sad.hash_alg,
        digests=sad.dtbsr,
        sign_algo=ECDSA_SHA256,
    )
    revocations = request.pop("revocations", ())
    return verify_sad(sad, replace(wanted, **request), credential, revocations, world.policy, world.clock.now())


def with_key(credential: Credential, profile: str) -> Credential:
    """As if the key were of another kind; verification looks at no more of it."""
    assert credential.key is not None
    return replace(credential, key=replace(credential.key, profile=profile))


def test_a_sad_that_is_right_passes(world: World, credential: Credential) -> None:
    algorithm = verify(world, world.sad(credential, (D1, D2)), credential)
    assert algorithm == SignatureAlgorithm("ecdsa", SHA256)


def test_SAD_11_among_revocations_only_those_of_the_sad_count(world: World, credential: Credential) -> None:
    sad = world.sad(credential)
    row = revocation_of(world.event("transaction-withdrawn", "another"), "test", world.now)
    about_others = (row, replace(row, issuer="other", subject=sad.txn), replace(row, scope="client", subject=sad.txn))
    verify(world, sad, credential, revocations=about_others)
    with pytest.raises(errors.SadRevoked):
        verify(world, sad, credential, revocations=(*about_others, replace(row, subject=sad.txn)))


def test_every_check_is_in_the_table_once() -> None:
    assert len([*CLAIM_CHECKS, *CHECKS]) == len({*CLAIM_CHECKS, *CHECKS}) == 28


SAD_REFUSED: list[tuple[str, Callable[[Sad], Sad], type[SamError]]] = [
    ("SAD-07 a foreign issuer", lambda s: replace(s, iss="https://other.example.org"), errors.SadRefused),
    ("SAD-07 for another module", lambda s: replace(s, aud="urn:other"), errors.SadRefused),
    ("SAD-06 exp is the first second refused", lambda s: replace(s, iat=s.iat - 300, exp=s.iat), errors.SadExpired),
    ("SAD-06 expired long ago", lambda s: replace(s, iat=s.iat - 900, exp=s.iat - 600), errors.SadExpired),
    ("SAD-06 not yet valid", lambda s: replace(s, iat=s.iat + 6, exp=s.iat + 300), errors.SadRefused),
    ("SAD-06 lives longer than the credential allows", lambda s: replace(s, exp=s.iat + 301), errors.SadRefused),
    (
        "SAD-06 issued before the credential's last change",
        lambda s: replace(s, iat=s.iat - 6, exp=s.iat + 200, evidence=s.evidence[:1] * 2),
        errors.SadRefused,
    ),
    ("SAD-05 of another credential", lambda s: replace(s, credential_id="other"), errors.WrongCredential),
    ("SAD-05 of another person", lambda s: replace(s, sub="bob"), errors.WrongOwner),
    ("SAD-14 given to another client", lambda s: replace(s, client_id="other"), errors.WrongClient),
    ("SAD-08 a level below the floor", lambda s: replace(s, loa="low"), errors.FloorNotMet),
    (
        "SAD-08 auth_time too old",
        lambda s: replace(s, auth_time=s.iat - 901),
        errors.FloorNotMet,
    ),
    (
        "SAD-08 evidence older than auth_time says",
        lambda s: replace(s, evidence=(replace(s.evidence[0], at=s.iat - 901), s.evidence[1])),
        errors.FloorNotMet,
    ),
    (
        "SAD-08 twice the same category",
        lambda s: replace(s, evidence=(s.evidence[0], replace(s.evidence[1], category="knowledge"))),
        errors.FloorNotMet,
    ),
    ("SAD-08 amr names nothing", lambda s: replace(s, amr=()), errors.FloorNotMet),
    (
        "SAD-08 nothing was made for this transaction",
        lambda s: replace(s, evidence=tuple(replace(item, transaction_bound=False) for item in s.evidence)),
        errors.FloorNotMet,
    ),
    ("SAD-08 typed into another's application", lambda s: replace(s, in_band=True), errors.FloorNotMet),
    ("digests of documents", lambda s: replace(s, hash_type="sdr"), errors.NotPermitted),
    (
        "SAD-04 only the credential named: any hash, any number of times",
        lambda s: replace(s, dtbsr=()),
        errors.DigestNotAuthorized,
    ),
    ("a signer proof that is none", lambda s: replace(s, signer_proof={"x": 1}), errors.ProofRefused),
]


@pytest.mark.parametrize(("reason", "change", "error"), SAD_REFUSED, ids=[case[0] for case in SAD_REFUSED])
def test_a_sad_with_one_thing_wrong_is_refused(
    world: World, credential: Credential, reason: str, change: Callable[[Sad], Sad], error: type[SamError]
) -> None:
    with pytest.raises(error) as refusal:
        verify(world, change(world.sad(credential)), credential, digests=(D1,))
    assert refusal.type is error, reason


def test_SAD_06_the_last_second_before_exp_is_accepted(world: World, credential: Credential) -> None:
    sad = world.sad(credential)
    world.clock.advance(299.9)
    verify(world, sad, credential)
    world.clock.advance(0.1)
    with pytest.raises(errors.SadExpired):
        verify(world, sad, credential)


def test_SAD_06_the_issuers_clock_may_be_five_seconds_ahead(world: World, credential: Credential) -> None:
    verify(world, world.sad(credential, iat=world.now + 5, exp=world.now + 305), credential)


def test_SAD_12_a_sad_from_before_the_epoch_is_refused(world: World, credential: Credential) -> None:
    world.policy = replace(world.policy, epoch_not_before=world.now + 1)
    with pytest.raises(errors.SadRefused, match="epoch"):
        verify(world, world.sad(credential), credential)
    world.policy = replace(world.policy, epoch_not_before=world.now)
    verify(world, world.sad(credential), credential)


def test_SAD_14_a_sad_that_is_its_own_authentication_has_no_other_client(world: World, credential: Credential) -> None:
    verify(world, world.sad(credential, client_id="whoever"), credential, client_id=None)


def test_SAD_05_a_request_for_another_credential_is_refused(world: World, credential: Credential) -> None:
    with pytest.raises(errors.WrongCredential):
        verify(world, world.sad(credential), credential, credential_id="other")


def test_SAD_05_the_row_of_another_credential_is_refused(world: World, credential: Credential) -> None:
    sad = world.sad(credential, credential_id="other")
    with pytest.raises(errors.WrongCredential):
        verify(world, sad, credential, credential_id="other")


def test_SAD_08_a_credential_that_demands_high_does_not_take_substantial(world: World) -> None:
    high = world.credential(profile="high")
    with pytest.raises(errors.FloorNotMet):
        verify(world, world.sad(high), high)
    verify(world, world.sad(high, loa="high"), high)


def test_SAD_08_scal2_needs_two_categories_whatever_the_floor_says(world: World, credential: Credential) -> None:
    lax = replace(credential, floor=Floor("low", 1, 300, 900))
    with pytest.raises(errors.FloorNotMet):
        verify(world, world.sad(lax, evidence=(evidence("password", "knowledge", world.now),)), lax)


def test_SAD_08_what_was_typed_in_band_serves_scal1_whatever_the_floor_says(
    world: World, credential: Credential
) -> None:
    strong = world.sad(credential, loa="high", in_band=True)
    with pytest.raises(errors.FloorNotMet, match="SCAL2"):
        verify(world, strong, replace(credential, floor=Floor("low", 1, 300, 900)))
    verify(world, strong, replace(credential, scal="1"))
    with pytest.raises(errors.FloorNotMet):
        verify(world, replace(strong, loa="low"), replace(credential, scal="1"))


def test_an_authenticator_that_verified_its_user_counts_for_two_categories(
    world: World, credential: Credential
) -> None:
    passkey = evidence("passkey", "possession", world.now, user_verified=True)
    verify(world, world.sad(credential, evidence=(passkey,), amr=("hwk", "user")), credential)
    with pytest.raises(errors.FloorNotMet):
        verify(
            world,
            world.sad(credential, evidence=(replace(passkey, user_verified=False),), amr=("hwk", "user")),
            credential,
        )


def test_SAD_08_a_floor_may_ask_for_what_no_look_alike_site_can_use(world: World, credential: Credential) -> None:
    floor = replace(credential.floor, phishing_resistant=True, max_evidence_age_seconds=43_200)
    strict = replace(credential, floor=floor)
    password = evidence("password", "knowledge", world.now)
    code = evidence("sms_otp", "possession", world.now)
    passkey = replace(evidence("passkey", "possession", world.now), phishing_resistant=True)
    verify(world, world.sad(strict, evidence=(password, passkey)), strict)
    verify(world, world.sad(strict, evidence=(password, code, passkey)), strict)
    earlier = replace(passkey, transaction_bound=False)
    long_ago = replace(passkey, at=world.now - 901)
    for found in ((password, code), (password, code, earlier), (password, code, long_ago)):
        with pytest.raises(errors.FloorNotMet, match="phishing-resistant"):
            verify(world, world.sad(strict, evidence=found), strict)
    scal1 = replace(strict, scal="1")
    verify(world, world.sad(scal1, evidence=(password, earlier)), scal1)


def test_SAD_08_at_scal2_evidence_is_for_this_transaction_and_recent_whatever_the_floor_says(
    world: World, credential: Credential
) -> None:
    lax = replace(credential, floor=Floor("low", 2, 300, 43_200))
    at = world.now - 900
    password = replace(evidence("password", "knowledge", world.now - 40_000), transaction_bound=False)
    verify(world, world.sad(lax, evidence=(password, evidence("sms_otp", "possession", at))), lax)
    with pytest.raises(errors.FloorNotMet, match="for this transaction"):
        verify(world, world.sad(lax, evidence=(password, evidence("sms_otp", "possession", at - 1))), lax)
    fresh = replace(evidence("sms_otp", "possession", world.now), transaction_bound=False)
    with pytest.raises(errors.FloorNotMet, match="for this transaction"):
        verify(world, world.sad(lax, evidence=(password, fresh)), lax)


def test_at_scal1_a_session_may_do(world: World) -> None:
    scal1 = world.credential(profile="scal1")
    session = replace(evidence("password", "knowledge", world.now - 60), transaction_bound=False)
    verify(world, world.sad(scal1, evidence=(session,)), scal1)


def test_categories_are_those_of_the_evidence_however_few_methods_amr_can_name(
    world: World, credential: Credential
) -> None:
    upstream = replace(evidence("upstream", "knowledge", world.now), transaction_bound=False)
    code = evidence("email_otp", "possession", world.now)
    verify(world, world.sad(credential, evidence=(upstream, code), amr=("otp",)), credential)


def test_SAD_05_the_same_subject_of_another_issuer_is_another_person(world: World, credential: Credential) -> None:
    other = "https://other.example.org"
    world.policy = replace(world.policy, issuers={**world.policy.issuers, other: ()})
    with pytest.raises(errors.WrongOwner):
        verify(world, world.sad(credential, iss=other), credential)


def test_SAD_12_a_sad_that_may_have_been_used_before_the_start_is_refused(world: World, credential: Credential) -> None:
    world.policy = replace(world.policy, sads_not_before=first_second_after(world.clock.now()))
    # Of an issuer whose clock is as far ahead as it may be; of one in step; of one that is behind.
    for iat in (world.now + 5, world.now, world.now - 60):
        with pytest.raises(errors.SadRefused, match="before this process started"):
            verify(world, world.sad(credential, iat=iat, exp=world.now + 200, auth_time=iat), credential)
    world.clock.advance(6)
    verify(world, world.sad(credential), credential)


REQUEST_REFUSED: list[tuple[str, dict[str, Any], type[SamError]]] = [
    ("SAD-04 one bit different", {"digests": (D1, D2[:-1] + bytes([D2[-1] ^ 1]))}, errors.DigestNotAuthorized),
    ("SAD-04 another digest", {"digests": (D3,)}, errors.DigestNotAuthorized),
    ("SAD-04 one more", {"digests": (D1, D2, D3)}, errors.DigestNotAuthorized),
    ("SAD-10 one of them twice", {"digests": (D1, D1)}, errors.DigestNotAuthorized),
    ("nothing to sign", {"digests": ()}, errors.DigestsMissing),
    ("SAD-04 shorter than its hash function", {"digests": (D1[:-1],)}, errors.DigestLengthInvalid),
    ("SAD-04 longer than its hash function", {"digests": (D1 + b"\0",)}, errors.DigestLengthInvalid),
    (
        "SAD-04 another hash function",
        {"hash_alg": SHA384, "sign_algo": "1.2.840.10045.4.3.3"},
        errors.DigestNotAuthorized,
    ),
    ("hash function and algorithm contradict", {"hash_alg": SHA512}, errors.AlgorithmNotAllowed),
    ("SIG-08 SHA-1", {"hash_alg": "1.3.14.3.2.26"}, errors.AlgorithmNotAllowed),
    ("SAD-04 another scheme than the key's", {"sign_algo": RSA_ENCRYPTION}, errors.AlgorithmNotAllowed),
    (
        "SAD-04 another padding than the key's",
        {"sign_algo": RSASSA_PSS, "sign_algo_params": pss_parameters(SHA256)},
        errors.AlgorithmNotAllowed,
    ),
    ("an algorithm nobody knows", {"sign_algo": "1.2.3"}, errors.AlgorithmNotAllowed),
    ("parameters where there are none", {"sign_algo_params": b"\x05\x00"}, errors.AlgorithmNotAllowed),
    ("SAD-14 by another client", {"client_id": "other"}, errors.WrongClient),
]


@pytest.mark.parametrize(("reason", "change", "error"), REQUEST_REFUSED, ids=[case[0] for case in REQUEST_REFUSED])
def test_a_request_with_one_thing_wrong_is_refused(
    world: World, credential: Credential, reason: str, change: dict[str, Any], error: type[SamError]
) -> None:
    with pytest.raises(error) as refusal:
        verify(world, world.sad(credential, (D1, D2)), credential, **change)
    assert refusal.type is error, reason


def test_SAD_04_fewer_digests_in_another_order_are_a_sub_multiset(world: World, credential: Credential) -> None:
    verify(world, world.sad(credential, (D1, D2, D3, D1)), credential, digests=(D1, D3, D1))


def test_SAD_10_a_sad_for_more_than_the_credential_allows_is_refused(world: World, credential: Credential) -> None:
    few = replace(credential, multisign=2)
    with pytest.raises(errors.TooManySignatures):
        verify(world, world.sad(few, (D1, D2, D3)), few)


def test_SAD_10_scal1_without_digests_counts(world: World) -> None:
    scal1 = world.credential(profile="scal1")
    sad = world.sad(scal1, (), sign_count=3)
    verify(world, sad, scal1, digests=(D1, D2, D3))
    with pytest.raises(errors.TooManySignatures):
        verify(world, sad, scal1, digests=(D1, D2, D3, D4))


def test_at_scal1_digests_that_are_named_still_bind(world: World) -> None:
    scal1 = world.credential(profile="scal1")
    with pytest.raises(errors.DigestNotAuthorized):
        verify(world, world.sad(scal1, (D1,)), scal1, digests=(D2,))


@pytest.mark.parametrize("status", ["pending", "suspended", "deleted"])
def test_SAD_06_a_credential_that_is_not_active_does_not_sign(
    world: World, credential: Credential, status: Any
) -> None:
    with pytest.raises(errors.CredentialDisabled):
        verify(world, world.sad(credential), replace(credential, status=status))


def test_a_credential_that_demands_a_proof_is_refused_without(world: World, credential: Credential) -> None:
    for demanding in (
        replace(credential, proof_keys=(b"key",)),
        replace(credential, floor=replace(credential.floor, signer_proof=True)),
    ):
        with pytest.raises(errors.ProofMissing):
            verify(world, world.sad(credential), demanding)


def test_a_key_of_no_kind_known_is_an_altered_row(world: World, credential: Credential) -> None:
    for altered in (with_key(credential, "dsa-1024"), replace(credential, key=None)):
        with pytest.raises(errors.RowAltered):
            verify(world, world.sad(credential), altered)


def test_a_certificate_is_valid_from_its_first_to_its_last_second(world: World) -> None:
    pending = world.lifecycle().create(world.order_token())
    first, last = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    chain = [world.authority.issue(pending.request, not_before=first, not_after=last)]
    credential = world.lifecycle().link(pending.id, chain)
    for at in (first, last, last + timedelta(microseconds=999_999)):
        check_certificate(credential, at)
    for at in (first - timedelta(seconds=1), last + timedelta(seconds=1)):
        with pytest.raises(errors.CertificateExpired):
            check_certificate(credential, at)


def test_KEY_02_a_certificate_for_another_key_is_refused_at_load(world: World, credential: Credential) -> None:
    other = world.credential("bob")
    for certificates in ((), (b"no certificate",), other.certificates):
        with pytest.raises(errors.RowAltered):
            check_certificate(replace(credential, certificates=certificates), world.clock.now())


@pytest.mark.parametrize(
    ("profile", "sign_algo", "params", "hash_alg", "expected"),
    [
        ("rsa-3072-pkcs1", RSA_ENCRYPTION, None, SHA256, SignatureAlgorithm("rsa-pkcs1-v1_5", SHA256)),
        ("rsa-3072-pkcs1", "1.2.840.113549.1.1.11", None, None, SignatureAlgorithm("rsa-pkcs1-v1_5", SHA256)),
        ("rsa-3072-pss", RSASSA_PSS, pss_parameters(SHA256), None, SignatureAlgorithm("rsa-pss", SHA256, 32)),
        ("ec-p384", ECDSA_SHA256, None, None, SignatureAlgorithm("ecdsa", SHA256)),
    ],
)
def test_each_kind_of_key_takes_its_own_algorithm(
    world: World,
    credential: Credential,
    profile: str,
    sign_algo: str,
    params: bytes | None,
    hash_alg: str | None,
    expected: SignatureAlgorithm,
) -> None:
    credential = with_key(credential, profile)
    request = {"sign_algo": sign_algo, "sign_algo_params": params, "hash_alg": hash_alg}
    assert verify(world, world.sad(credential), credential, **request) == expected


@pytest.mark.parametrize(
    ("profile", "sign_algo", "params", "hash_alg"),
    [
        ("rsa-3072-pkcs1", RSA_ENCRYPTION, None, None),
        ("rsa-3072-pkcs1", RSASSA_PSS, pss_parameters(SHA256), SHA256),
        ("rsa-3072-pss", RSASSA_PSS, None, SHA256),
        ("rsa-3072-pss", RSASSA_PSS, pss_parameters(SHA256)[:-1] + b"\x14", SHA256),
        ("rsa-3072-pss", RSASSA_PSS, pss_parameters(SHA256) + b"\0", SHA256),
        ("rsa-3072-pss", RSASSA_PSS, b"\x30\x00", SHA256),
        ("rsa-3072-pss", next(iter(PKCS1_HASHES)), None, SHA256),
        ("ec-p256", "1.2.840.113549.1.1.5", None, None),
    ],
)
def test_SAD_04_another_padding_or_salt_is_refused(
    world: World, credential: Credential, profile: str, sign_algo: str, params: bytes | None, hash_alg: str | None
) -> None:
    credential = with_key(credential, profile)
    request = {"sign_algo": sign_algo, "sign_algo_params": params, "hash_alg": hash_alg}
    with pytest.raises(errors.AlgorithmNotAllowed):
        verify(world, world.sad(credential), credential, **request)
