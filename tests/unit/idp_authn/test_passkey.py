"""Passkeys against a software authenticator that tells one lie at a time."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from webauthn.helpers import encode_cbor

from foundation.jose import encode_base64url
from idp.authn.passkey import answer, assertion, attestation, challenge, options, registration
from idp.authn.passkey.attestation import Trust, parse_trust
from idp.authn.passkey.options import Preference, RelyingParty
from idp.authn.passkey.record import Passkey
from idp.authn.passkey.registration import Made
from idp.errors import PasskeyRefused, TrustRefused
from tests.fakes.authenticator import AAGUID, Authenticator, Maker, make_key

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
KEY = b"k" * 32
PARTY = RelyingParty("idp.localhost", "http://idp.localhost:8400", "Privy Seal")
HANDLE = challenge.user_handle(KEY, "account-alice")
TICKET = challenge.issue(b"n" * 32, NOW)
REGISTER = challenge.Occasion("register", "session-1", "enrolment-1")
MAKER = Maker()
PROVE = challenge.Occasion("prove", "session-1", "interaction-1", "c" * 64)


def creation(occasion: challenge.Occasion = REGISTER, *, attestation: bool = False) -> dict[str, Any]:
    return options.creation_options(
        PARTY,
        challenge=challenge.derive(KEY, TICKET, occasion),
        user_handle=HANDLE,
        username="alice",
        display_name="Alice Example",
        registered=(),
        user_verification="preferred",
        resident_key="preferred",
        attestation=attestation,
    )


def request(occasion: challenge.Occasion = PROVE, preference: Preference = "preferred") -> dict[str, Any]:
    return options.request_options(
        PARTY, challenge=challenge.derive(KEY, TICKET, occasion), allowed=(), user_verification=preference
    )


def register(
    device: Authenticator, *, require_uv: bool = False, trust: Trust | None = None, now: datetime = NOW, **lies: Any
) -> Made:
    return registration.verify(
        PARTY,
        answer.read_registration(device.create(creation(), **lies)),
        challenge=challenge.derive(KEY, TICKET, REGISTER),
        user_handle=HANDLE,
        require_uv=require_uv,
        trust=trust or Trust(),
        now=now,
    )


def use(
    device: Authenticator,
    passkey: Passkey,
    *,
    counter: int = 1,
    require_uv: bool = False,
    require_handle: bool = False,
    occasion: challenge.Occasion = PROVE,
    **lies: Any,
) -> assertion.Use:
    return assertion.verify(
        PARTY,
        answer.read_assertion(device.get(request(), **lies)),
        passkey,
        challenge=challenge.derive(KEY, TICKET, occasion),
        counter=counter,
        require_uv=require_uv,
        require_handle=require_handle,
    )


def cause(info: pytest.ExceptionInfo[PasskeyRefused]) -> str:
    return info.value.cause


# What is asked for


def test_the_options_ask_for_what_webauthn_recommends_and_name_nobody() -> None:
    asked = creation(attestation=True)
    assert asked["rp"] == {"id": "idp.localhost", "name": "Privy Seal"}
    assert [item["alg"] for item in asked["pubKeyCredParams"]] == [-8, -7, -257]
    assert (asked["attestation"], creation()["attestation"]) == ("direct", "none")
    assert asked["authenticatorSelection"]["residentKey"] == "preferred"
    assert asked["timeout"] == 300_000
    assert "account-alice" not in json.dumps(asked)
    assert len(HANDLE) == 32
    assert challenge.user_handle(KEY, "account-bob") != HANDLE
    asked = request(preference="required")
    assert (asked["rpId"], asked["userVerification"], asked["allowCredentials"]) == ("idp.localhost", "required", [])


@pytest.mark.parametrize(
    ("issuer", "identifier", "origin"),
    [
        ("https://id.example.org", "id.example.org", "https://id.example.org"),
        ("https://id.example.org:443", "id.example.org", "https://id.example.org"),
        ("http://idp.localhost:8400", "idp.localhost", "http://idp.localhost:8400"),
    ],
)
def test_the_relying_party_is_the_issuers_host(issuer: str, identifier: str, origin: str) -> None:
    assert options.relying_party(issuer, "x") == RelyingParty(identifier, origin, "x")


@pytest.mark.parametrize("issuer", ["https://192.0.2.1", "https://[2001:db8::1]:8443"])
def test_an_address_has_no_passkeys(issuer: str) -> None:
    assert options.relying_party(issuer, "x") is None


# Challenges


def test_a_challenge_is_of_one_session_purpose_subject_content_and_ticket() -> None:
    one = challenge.derive(KEY, TICKET, PROVE)
    assert len(one) == 32
    others = [
        challenge.derive(KEY, TICKET, other)
        for other in (
            replace(PROVE, session_id="session-2"),
            replace(PROVE, purpose="sign_in"),
            replace(PROVE, subject="interaction-2"),
            replace(PROVE, content="d" * 64),
        )
    ]
    others += [
        challenge.derive(b"o" * 32, TICKET, PROVE),
        challenge.derive(KEY, challenge.issue(b"m" * 32, NOW), PROVE),
        challenge.derive(KEY, replace(TICKET, expires_at=TICKET.expires_at + timedelta(seconds=1)), PROVE),
    ]
    assert len({one, *others}) == 8


def test_a_ticket_is_over_after_five_minutes() -> None:
    assert challenge.read(str(TICKET), NOW) == TICKET
    assert challenge.read(str(TICKET), NOW + timedelta(seconds=299)) == TICKET
    with pytest.raises(PasskeyRefused) as info:
        challenge.read(str(TICKET), NOW + timedelta(seconds=300))
    assert cause(info) == "expired"


@pytest.mark.parametrize(
    "text", ["", "x", f"{TICKET.nonce}.", f"{TICKET.nonce}.1.2", f"{TICKET.nonce[:-1]}.1772445900", "é" * 60]
)
def test_what_is_no_ticket_is_refused(text: str) -> None:
    with pytest.raises(PasskeyRefused) as info:
        challenge.read(text, NOW)
    assert cause(info) == "malformed"


# Registration


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
@pytest.mark.parametrize("form", ["none", "self"])
def test_a_passkey_is_registered_and_used(algorithm: str, form: Any) -> None:
    device = Authenticator(algorithm=algorithm, attestation=form, transports=("internal", "hybrid", "telepathy"))
    made = register(device)
    assert made.counter == 1
    assert made.passkey.transports == ("hybrid", "internal")
    assert (made.passkey.user_verified, made.passkey.backup_eligible, made.passkey.attested) == (True, False, False)
    assert made.passkey.attestation is None
    assert Passkey.from_json(json.loads(json.dumps(made.passkey.to_json()))) == made.passkey
    assert use(device, made.passkey, require_uv=True, require_handle=True) == assertion.Use(
        2, frozenset({"user_verified"}), backed_up=False
    )


LIES_OF_CREATION: list[tuple[str, dict[str, Any]]] = [
    ("type", {"type": "webauthn.get"}),
    ("challenge", {"challenge": encode_base64url(b"another challenge, 32 octets....")}),
    ("challenge", {"challenge": encode_base64url(challenge.derive(KEY, TICKET, replace(REGISTER, session_id="s2")))}),
    ("challenge", {"challenge": encode_base64url(challenge.derive(KEY, TICKET, REGISTER)) + "="}),
    ("challenge", {"challenge": 5}),
    ("origin", {"origin": "http://idp.localhost:8401"}),
    ("origin", {"origin": "https://idp.localhost:8400"}),
    ("origin", {"origin": "http://idp.localhost:8400/"}),
    ("origin", {"origin": "http://evil.idp.localhost:8400"}),
    ("origin", {"crossOrigin": True}),
    ("origin", {"topOrigin": "http://idp.localhost:8400"}),
    ("algorithm", {"key": make_key("ES384"), "algorithm": -35}),
    ("algorithm", {"algorithm": -65535}),
    ("key", {"algorithm": -8}),
    ("key", {"key": make_key("RS256", 1024), "algorithm": -257}),
    ("key", {"key": make_key("ES384"), "algorithm": -7}),
    ("key", {"public_key": encode_cbor({1: 1, 3: -8, -1: 6, -2: b"\x01" + bytes(31)})}),
    ("key", {"public_key": encode_cbor({1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)})}),
    ("key", {"public_key": encode_cbor({1: 2})}),
    ("key", {"public_key": encode_cbor([1, 2])}),
    ("malformed", {"public_key": b""}),
    ("malformed", {"public_key": encode_cbor({1: 2}) + b"\x00"}),
    ("malformed", {"public_key": b"\xc0\x61a"}),
    ("malformed", {"auth_data": b"short"}),
    ("malformed", {"attestation_object": b"\xa3"}),
    ("malformed", {"attestation_object": b"\x81" * 4000}),
    ("malformed", {"attestation_object": b"\xbf\xff"}),
    ("malformed", {"attestation_object": encode_cbor({"fmt": "none"})}),
    ("malformed", {"attestation_object": encode_cbor("none")}),
    ("attestation", {"form": "android-safetynet"}),
    ("attestation", {"form": "compound"}),
    ("attestation", {"statement": {"sig": b"x"}}),
    ("attestation", {"form": "packed"}),
    ("attestation", {"form": "packed", "statement": {"alg": -7, "sig": b"x"}}),
    ("attestation", {"form": "tpm", "statement": {"ver": "2.0", "alg": -7, "sig": b"x", "x5c": [b"x"]}}),
    ("attestation", {"form": "fido-u2f", "statement": {"sig": b"x", "x5c": [b"x"]}}),
    ("attestation", {"form": "apple", "statement": {"x5c": [b"x"]}}),
    ("attestation", {"form": "android-key", "statement": {"alg": -7, "sig": b"x", "x5c": [b"x"]}}),
    ("too_large", {"credential_id": b"x" * 1024}),
]


@pytest.mark.parametrize(("expected", "lies"), LIES_OF_CREATION)
def test_a_registration_that_lies_is_refused(expected: str, lies: dict[str, Any]) -> None:
    with pytest.raises(PasskeyRefused) as info:
        register(Authenticator(), **lies)
    assert cause(info) == expected


@pytest.mark.parametrize(
    ("expected", "traits"),
    [
        ("rp_id", {"rp_id": "localhost"}),
        ("rp_id", {"rp_id": "evil.example"}),
        ("presence", {"user_present": False}),
        ("user_verification", {"user_verified": False}),
        ("backup_flags", {"backed_up": True}),
    ],
)
def test_an_authenticator_that_is_not_ours_is_refused_at_both_ends(expected: str, traits: dict[str, Any]) -> None:
    with pytest.raises(PasskeyRefused) as info:
        register(Authenticator(**traits), require_uv=True)
    assert cause(info) == expected
    device = Authenticator()
    passkey = register(device).passkey
    for name, value in traits.items():
        setattr(device, name, value)
    with pytest.raises(PasskeyRefused) as info:
        use(device, passkey, require_uv=True)
    assert cause(info) == expected


def test_the_browser_and_the_authenticator_name_the_same_passkey() -> None:
    device = Authenticator()
    told = json.loads(device.create(creation()))
    told["id"] = told["rawId"] = encode_base64url(b"another")
    with pytest.raises(PasskeyRefused) as info:
        registration.verify(
            PARTY, answer.read_registration(json.dumps(told)), challenge=challenge.derive(KEY, TICKET, REGISTER),
            user_handle=HANDLE, require_uv=False, trust=Trust(), now=NOW,
        )  # fmt: skip
    assert cause(info) == "malformed"


# Reading


def changed(name: str, value: Any) -> str:
    told = json.loads(Authenticator(credentials=[]).create(creation()))
    place = told if name in told else told["response"]
    place[name] = value
    return json.dumps(told)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("too_large", "x" * (answer.MAX_ANSWER + 1)),
        ("malformed", ""),
        ("malformed", "[]"),
        ("malformed", "{" * 5000),
        ("malformed", '{"type": "public-key", "type": "public-key"}'),
        ("malformed", changed("type", "password")),
        ("malformed", changed("id", "AAAA")),
        ("malformed", changed("rawId", None)),
        ("malformed", changed("response", "x")),
        ("malformed", changed("clientDataJSON", 1)),
        ("malformed", changed("clientDataJSON", "e30=")),
        ("malformed", changed("clientDataJSON", "e3 0")),
        ("malformed", changed("clientDataJSON", "e31")),
        ("malformed", changed("clientDataJSON", "\ud800")),
        ("malformed", changed("attestationObject", "+/+/")),
        ("too_large", changed("clientDataJSON", "A" * 6000)),
        ("too_large", changed("attestationObject", "A" * 40000)),
    ],
)
def test_an_answer_of_another_form_is_refused_before_it_is_parsed(expected: str, text: str) -> None:
    """DOS-06"""
    with pytest.raises(PasskeyRefused) as info:
        answer.read_registration(text)
    assert cause(info) == expected


def test_client_data_is_read_strictly() -> None:
    for data in (b"", b"\xff", b"[]", b'{"type":"webauthn.get","type":"webauthn.get"}'):
        with pytest.raises(PasskeyRefused) as info:
            answer.check_client_data(data, "webauthn.get", b"c" * 32, PARTY)
        assert cause(info) == "malformed"


# Attestation


def attested(maker: Maker, **traits: Any) -> Authenticator:
    return Authenticator(attestation="packed", maker=maker, aaguid=maker.aaguid, **traits)


def test_a_model_that_the_operator_trusts_is_attested_by_its_aaguid() -> None:
    maker = Maker()
    trust = parse_trust(maker.metadata())
    assert trust.asks
    device = attested(maker)
    made = register(device, trust=trust)
    assert made.passkey.attested
    assert "attested" in use(device, made.passkey).flags
    assert made.passkey.attestation == AAGUID
    assert trust.describe(AAGUID) == "Example Key 5"
    # Without roots for it, or without a chain, nothing is proved, and nothing refused.
    for believed, device in (
        (Trust(), attested(maker)),
        (trust, Authenticator(aaguid=AAGUID)),
        (trust, Authenticator(aaguid=AAGUID, attestation="self")),
        (parse_trust(maker.metadata(status="ATTESTATION_KEY_COMPROMISE")), attested(maker)),
    ):
        made = register(device, trust=believed)
        assert not made.passkey.attested
        assert made.passkey.attestation is None


@pytest.mark.parametrize(
    ("expected", "maker", "lies"),
    [
        ("attestation_untrusted", Maker(), {}),
        ("attestation_untrusted", Maker(name="Another Maker"), {}),
        ("attestation", MAKER, {"x5c": [MAKER.leaf(aaguid="11111111-1111-1111-1111-111111111111")]}),
    ],
)
def test_a_counterfeit_of_a_trusted_model_is_refused(expected: str, maker: Maker, lies: dict[str, Any]) -> None:
    with pytest.raises(PasskeyRefused) as info:
        register(attested(maker), trust=parse_trust(MAKER.metadata()), **lies)
    assert cause(info) == expected


@pytest.mark.parametrize(
    ("expected", "lies"),
    [
        ("attestation", {"x5c": [MAKER.leaf(unit="Something else")]}),
        ("attestation", {"x5c": [MAKER.leaf(authority=True)]}),
        ("attestation", {"x5c": [b"no certificate"]}),
        ("attestation", {"x5c": [MAKER.leaf()] * 6}),
        ("attestation", {"statement": {"alg": -7, "sig": b"forged", "x5c": [MAKER.leaf()]}}),
        ("attestation", {"statement": {"alg": -257, "sig": b"forged", "x5c": [MAKER.leaf()]}}),
    ],
)
def test_an_attestation_certificate_is_of_the_form_and_signed_it(expected: str, lies: dict[str, Any]) -> None:
    with pytest.raises(PasskeyRefused) as info:
        register(attested(MAKER), trust=parse_trust(MAKER.metadata()), **lies)
    assert cause(info) == expected


def test_an_attestation_is_judged_at_the_time_that_is_given() -> None:
    with pytest.raises(PasskeyRefused) as info:
        register(attested(MAKER), trust=parse_trust(MAKER.metadata()), now=datetime(2036, 1, 1, tzinfo=UTC))
    assert cause(info) == "attestation_untrusted"


def test_a_certificate_that_is_no_authoritys_cannot_vouch_for_another() -> None:
    # the leaf's key "issues" a certificate for an attacker's key
    forger = Maker(key=MAKER.leaf_key)
    forged = forger.leaf()
    with pytest.raises(PasskeyRefused) as info:
        register(attested(forger), trust=parse_trust(MAKER.metadata()), x5c=[forged, MAKER.leaf()])
    assert cause(info) == "attestation_untrusted"


def test_a_certificate_that_is_listed_itself_is_trusted_while_it_is_valid() -> None:
    # the metadata service lists some attestation certificates in the place of roots
    leaf = MAKER.leaf()
    listed = json.loads(MAKER.metadata())
    listed["entries"][0]["metadataStatement"]["attestationRootCertificates"] = [base64.b64encode(leaf).decode()]
    trust = parse_trust(json.dumps(listed).encode())
    assert register(attested(MAKER), trust=trust, x5c=[leaf]).passkey.attested
    with pytest.raises(PasskeyRefused) as info:
        register(attested(MAKER), trust=trust, x5c=[leaf], now=datetime(2036, 1, 1, tzinfo=UTC))
    assert cause(info) == "attestation_untrusted"


def test_an_old_security_key_is_attested_where_its_root_is_trusted() -> None:
    maker = Maker(aaguid="00000000-0000-0000-0000-000000000000")
    device = Authenticator(attestation="fido-u2f", maker=maker, user_verified=False)
    assert register(device, trust=parse_trust(maker.metadata())).passkey.attested


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"entries": 5}',
        b'{"entries": [{"aaguid": "x"}]}',
        b'{"entries": [{"aaguid": "6e96969e-a5cf-4aad-9b56-305fe6c82795"}]}',
        json.dumps({"entries": [json.loads(MAKER.metadata())["entries"][0]] * 2}).encode(),
        MAKER.metadata().replace(b"MII", b"!II"),
    ],
)
def test_a_file_of_models_that_is_not_of_the_form_is_refused(data: bytes) -> None:
    with pytest.raises(TrustRefused):
        attestation.parse_trust(data)


def test_the_metadata_services_other_authenticators_are_passed_over() -> None:
    assert parse_trust(b'{"entries": [{"attestationCertificateKeyIdentifiers": ["00"]}]}') == Trust()


# Use


LIES_OF_USE: list[tuple[str, dict[str, Any]]] = [
    ("type", {"type": "webauthn.create"}),
    ("challenge", {"challenge": encode_base64url(b"another challenge, 32 octets....")}),
    ("challenge", {"occasion": replace(PROVE, session_id="session-2")}),
    ("challenge", {"occasion": replace(PROVE, subject="interaction-2")}),
    ("challenge", {"occasion": replace(PROVE, content="d" * 64)}),
    ("challenge", {"occasion": replace(PROVE, purpose="sign_in")}),
    ("origin", {"origin": "http://idp.localhost:8401"}),
    ("origin", {"crossOrigin": True}),
    ("origin", {"crossOrigin": "false"}),
    ("unknown", {"credential_id": b"another"}),
    ("user_handle", {"user_handle": b"somebody else"}),
    ("user_handle", {"user_handle": None, "require_handle": True}),
    ("counter", {"counter": 1}),
    ("signature", {"signature": b"forged"}),
    ("signature", {"sign_with": make_key("ES256")}),
    ("malformed", {"auth_data": b"short"}),
]


@pytest.mark.parametrize(("expected", "lies"), LIES_OF_USE)
def test_an_answer_that_lies_is_refused(expected: str, lies: dict[str, Any]) -> None:
    """SES-06, OTP-05: another session's, another transaction's"""
    device = Authenticator()
    passkey = register(device).passkey
    if "counter" in lies:
        lies = {"auth_data": device._data(lies["counter"])}
    with pytest.raises(PasskeyRefused) as info:
        use(device, passkey, **lies)
    assert cause(info) == expected


def test_a_counter_that_stands_at_zero_stays_there_and_may_not_fall_back_to_it() -> None:
    device = Authenticator(counts=False)
    passkey = register(device).passkey
    for _ in range(2):
        assert use(device, passkey, counter=0).counter == 0
    with pytest.raises(PasskeyRefused) as info:
        use(device, passkey, counter=7)
    assert cause(info) == "counter"


@pytest.mark.parametrize("eligible", [True, False])
def test_whether_a_passkey_can_be_copied_never_changes(eligible: bool) -> None:
    device = Authenticator(backup_eligible=eligible)
    passkey = register(device).passkey
    assert ("backup_eligible" in use(device, passkey).flags) is eligible
    device.backup_eligible = not eligible
    with pytest.raises(PasskeyRefused) as info:
        use(device, passkey, counter=2)
    assert cause(info) == "backup_changed"


def test_whether_a_passkey_had_been_copied_is_what_this_use_said() -> None:
    device = Authenticator(backup_eligible=True)
    passkey = register(device).passkey
    assert use(device, passkey).flags == {"user_verified", "backup_eligible"}
    device.backed_up = True
    assert use(device, passkey, counter=2).flags == {"user_verified", "backup_eligible", "backed_up"}
    device.backed_up = False
    assert use(device, passkey, counter=3).flags == {"user_verified", "backup_eligible"}


def test_what_is_proved_is_what_this_use_showed() -> None:
    device = Authenticator()
    passkey = register(device).passkey
    device.user_verified = False
    assert use(device, passkey).flags == frozenset()
    # Verified later, but never when it was made: by whom, nobody knows (WebAuthn 4, uvInitialized).
    late = Authenticator(user_verified=False)
    passkey = register(late).passkey
    late.user_verified = True
    assert use(late, passkey).flags == frozenset()


def test_an_assertion_registers_nothing() -> None:
    device = Authenticator()
    passkey = register(device).passkey
    held = bytes(16) + (1).to_bytes(2, "big") + b"x" + encode_cbor({1: 2})
    with pytest.raises(PasskeyRefused) as info:
        use(device, passkey, auth_data=device._data(2, held))
    assert cause(info) == "malformed"


def test_a_stored_passkey_of_another_form_is_none() -> None:
    for data in ({}, {"credential_id": 5}, {**register(Authenticator()).passkey.to_json(), "public_key": "=="}):
        with pytest.raises(PasskeyRefused) as info:
            Passkey.from_json(data)
        assert cause(info) == "unknown"
