"""Clients: what may be registered, and how they present themselves."""

from __future__ import annotations

import base64

import pytest

from idp.oidc.client import (
    ASSERTION_TYPE,
    EXPLICIT_GRANT,
    LOGIN_GRANT,
    PresentedAssertion,
    PresentedNothing,
    PresentedSecret,
    check_secret,
    hash_secret,
    make_secret,
    read_credentials,
)
from idp.oidc.errors import ClientAuthenticationFailed, RequestInvalid
from tests.unit.idp_oidc.samples import KEY, REDIRECT_URI, SECRET, client, key_client


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_the_samples_have_no_faults() -> None:
    assert list(client().registration.faults()) == []
    assert list(key_client().registration.faults()) == []


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_id": "a b"}, "client_id"),
        ({"client_id": "a" * 129}, "client_id"),
        ({"name": ""}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"auth_method": "tls_client_auth"}, "auth_method"),
        ({"scopes": ("openid", "email")}, "scopes"),
        ({"grant_types": ("password",)}, "grant_types"),
        ({"grant_types": ("implicit",)}, "grant_types"),
        ({"redirect_uris": ()}, "redirect_uris"),
        ({"redirect_uris": ("javascript:alert(1)",)}, "redirect_uris"),
        ({"redirect_uris": ("https://rp.example.org/#fragment",)}, "redirect_uris"),
        ({"redirect_uris": ("https://rp.example.org@evil.example.org/",)}, "redirect_uris"),
        ({"redirect_uris": ("https://rp.example.org\\@evil.example.org/",)}, "redirect_uris"),
        ({"redirect_uris": ("https://rp.example.org:0x50/",)}, "redirect_uris"),
        ({"redirect_uris": ("https:///callback",)}, "redirect_uris"),
        ({"redirect_uris": ("/callback",)}, "redirect_uris"),
        ({"redirect_uris": ("https://rp.example.org/a b",)}, "redirect_uris"),
        ({"post_logout_redirect_uris": ("//evil.example.org",)}, "redirect_uris"),
        ({"auth_method": "private_key_jwt"}, "jwks"),
        ({"jwks": (KEY.verification_key().as_jwk(),)}, "jwks"),
        ({"auth_method": "private_key_jwt", "jwks": ({"kty": "oct", "k": "AAAA"},)}, "jwks"),
        ({"auth_method": "private_key_jwt", "jwks": (KEY.key.as_dict(private=True),)}, "jwks"),
        ({"auth_method": "none", "grant_types": ("client_credentials",)}, "client_credentials"),
        ({"auth_method": "none", "grant_types": ("authorization_code",)}, "credential"),
        ({"auth_method": "none", "require_par": True}, "require_par"),
        ({"default_acr_values": ("urn:example:low urn:example:high",)}, "default_acr_values"),
        ({"default_acr_values": ("",)}, "default_acr_values"),
        ({"default_acr_values": ("urn:example:" + "x" * 244,)}, "default_acr_values"),
        ({"default_acr_values": tuple(f"urn:example:{number}" for number in range(11))}, "default_acr_values"),
        ({"auth_method": "none", "tls_client_certificate_bound_access_tokens": True}, "tls_client_certificate"),
        (
            {"dpop_bound_access_tokens": True, "tls_client_certificate_bound_access_tokens": True},
            "dpop_bound_access_tokens",
        ),
        ({"grant_types": (EXPLICIT_GRANT,)}, "what comes in band"),
        ({"grant_types": (LOGIN_GRANT,)}, "what comes in band"),
        ({"in_band_signatures": True, "scopes": ("openid", "service")}, "in_band_signatures"),
        ({"in_band_login": True, "auth_method": "none"}, "in_band_login"),
        ({"in_band_login": True, "scopes": ("openid",)}, "in_band_login"),
        ({"in_band_login": True, "dpop_bound_access_tokens": True}, "in_band_login"),
        ({"backchannel_logout_uri": "http://rp.example.org/logout"}, "backchannel_logout_uri"),
        ({"backchannel_logout_uri": "https://rp.example.org/logout", "scopes": ("service",)}, "the scope openid"),
        ({"backchannel_logout_session_required": True}, "backchannel_logout_session_required"),
        ({"auth_method": "none", "introspects": ("https://sign.example.org/csc/v2",)}, "introspects"),
    ],
)
def test_a_registration_with_a_fault_says_which(changes: dict[str, object], about: str) -> None:
    assert any(about in fault for fault in client(**changes).registration.faults())


@pytest.mark.parametrize(
    "uri",
    [
        REDIRECT_URI + "/",
        REDIRECT_URI + "/more",
        REDIRECT_URI + "?query=1",
        REDIRECT_URI + "#fragment",
        REDIRECT_URI.replace("org/", "org:443/"),
        REDIRECT_URI.replace("https", "http"),
        REDIRECT_URI.upper(),
        REDIRECT_URI.replace("rp.", "RP."),
        REDIRECT_URI.replace("://", "://user@"),
        REDIRECT_URI.replace("/callback", "/%63allback"),
        REDIRECT_URI.replace("/callback", "/./callback"),
        REDIRECT_URI.replace("/callback", "//callback"),
        REDIRECT_URI.replace("rp.example.org", "localhost"),
        REDIRECT_URI.replace("rp.example.org", "rp.example.org.evil.example.org"),
        " " + REDIRECT_URI,
        REDIRECT_URI + "\n",
    ],
)
def test_OAU_01_a_redirect_uri_that_differs_by_one_character_is_another(uri: str) -> None:
    assert not client().may_redirect_to(uri)
    assert client().may_redirect_to(REDIRECT_URI)


def test_a_redirect_uri_without_tls_is_found_for_production_to_refuse() -> None:
    assert client().registration.plain_uris == ()
    plain = ("http://rp.localhost:8405/callback", "HTTP://rp.example.org/callback", "hTTp://rp.example.org/")
    assert list(client(redirect_uris=plain).registration.faults()) == []
    assert client(redirect_uris=(REDIRECT_URI, *plain)).registration.plain_uris == plain


def test_a_redirect_uri_on_a_loopback_address_needs_no_tls() -> None:
    loopback = ("http://127.0.0.1:8407/callback", "http://[::1]:8407/callback")
    assert client(redirect_uris=loopback).registration.plain_uris == ()
    others = (
        "http://localhost:8407/callback", "http://127.0.0.1.example.org:8407/callback", "http://127.0.0.1/callback",
        "http://127.0.0.2:80/", "http://127.0.0.1:8407.example.org/", "HTTP://127.0.0.1:8407/callback",
    )  # fmt: skip
    assert client(redirect_uris=others).registration.plain_uris == others


def test_a_secret_is_recognised_by_its_hash_and_no_other_is() -> None:
    stored = hash_secret(SECRET, b"0123456789abcdef")
    assert SECRET not in stored
    assert check_secret(SECRET, stored)
    assert not check_secret(SECRET + "A", stored)
    assert not check_secret("", stored)
    assert not check_secret("", None), "the hash that is compared when there is none opens nothing"
    assert not check_secret(SECRET, "argon2$something")


def test_a_secret_has_256_bits_and_no_fewer() -> None:
    assert make_secret(bytes(range(32))) == SECRET
    with pytest.raises(ValueError, match="32 random octets"):
        make_secret(bytes(16))


def test_a_client_does_not_show_its_secret() -> None:
    stored = client()
    assert stored.secret_hash is not None
    assert stored.secret_hash not in repr(stored)
    assert SECRET not in repr(PresentedSecret("example-contracts", "client_secret_post", SECRET))
    assert "an.assertion" not in repr(PresentedAssertion(None, "an.assertion"))


def test_basic_credentials_are_form_decoded_first() -> None:
    presented = read_credentials(_basic("example%2Dcontracts:a%3Ab+c"), {})
    assert presented == PresentedSecret("example-contracts", "client_secret_basic", "a:b c")


def test_credentials_in_the_form_are_read() -> None:
    form = {"client_id": "example-contracts", "client_secret": SECRET}
    assert read_credentials(None, form) == PresentedSecret("example-contracts", "client_secret_post", SECRET)
    assert read_credentials(None, {"client_id": "app"}) == PresentedNothing("app")
    form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": "a.b.c"}
    assert read_credentials(None, form) == PresentedAssertion(None, "a.b.c")


@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        (_basic("example-contracts:x"), {"client_secret": "x"}),
        (_basic("example-contracts:x"), {"client_assertion": "a.b.c"}),
        (_basic("example-contracts:x"), {"client_assertion_type": ASSERTION_TYPE}),
        (None, {"client_id": "a", "client_secret": "x", "client_assertion": "a.b.c"}),
    ],
)
def test_two_ways_of_authenticating_at_once_are_refused(authorization: str | None, form: dict[str, str]) -> None:
    with pytest.raises(RequestInvalid):
        read_credentials(authorization, form)


@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        ("Bearer abc", {}),
        ("Basic", {}),
        ("Basic !!!", {}),
        ("Basic " + base64.b64encode(b"\xff\xfe:x").decode(), {}),
        (_basic("nocolon"), {}),
        (_basic(":secret"), {}),
        (_basic("example-contracts:x"), {"client_id": "another"}),
        (None, {"client_assertion": "a.b.c"}),
        (None, {"client_assertion_type": ASSERTION_TYPE}),
        (None, {"client_assertion_type": "urn:something", "client_assertion": "a.b.c"}),
    ],
)
def test_credentials_in_no_known_form_are_refused(authorization: str | None, form: dict[str, str]) -> None:
    with pytest.raises(ClientAuthenticationFailed) as caught:
        read_credentials(authorization, form)
    assert caught.value.description == "Client authorization required"


@pytest.mark.parametrize("form", [{}, {"client_secret": "x"}])
def test_whoever_says_no_name_is_told_that_it_is_missing(form: dict[str, str]) -> None:
    with pytest.raises(RequestInvalid) as caught:
        read_credentials(None, form)
    assert caught.value.description == "Missing parameter client_id"
