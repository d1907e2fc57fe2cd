"""Logout Tokens, ``sid``, and where clients may be told."""

from __future__ import annotations

import pytest

from foundation.clock import epoch
from foundation.errors import JoseError
from foundation.jose import sign_compact, verify_compact
from idp.oidc.backchannel_logout import LOGOUT_TOKEN_TYPE, logout_token_claims, sid_of, uri_faults
from idp.oidc.errors import RequestInvalid
from idp.oidc.tokens import ACCESS_TOKEN_TYPE, ID_TOKEN_TYPE, read_id_token_hint
from tests.unit.idp_oidc.samples import ISSUER, KEY, NOW, client

CLAIMS = logout_token_claims(
    issuer=ISSUER, client_id="example-contracts", subject="alice", session_id="a-session", jti="j", now=NOW
)


def test_a_logout_token_has_the_members_of_the_specification_and_no_other() -> None:
    assert {
        "iss": ISSUER,
        "aud": "example-contracts",
        "iat": epoch(NOW),
        "exp": epoch(NOW) + 120,
        "jti": "j",
        "sub": "alice",
        "sid": sid_of("a-session", "example-contracts"),
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    } == CLAIMS


def test_OAU_11_a_logout_token_passes_for_no_other_token() -> None:
    token = sign_compact(CLAIMS, KEY, LOGOUT_TOKEN_TYPE)
    keys = [KEY.verification_key()]
    assert verify_compact(token, keys, {"logout+jwt"}) == CLAIMS
    for typ in (ID_TOKEN_TYPE, ACCESS_TOKEN_TYPE):
        with pytest.raises(JoseError):
            verify_compact(token, keys, {typ})
    with pytest.raises(RequestInvalid):
        read_id_token_hint(token, keys, issuer=ISSUER, client_id=None)


def test_a_sid_is_of_one_session_and_one_client() -> None:
    found = {
        sid_of(session, client_id)
        for session in ("session-a", "session-b")
        for client_id in ("client-a", "client-b", "client-bsession-")
    }
    assert len(found) == 6
    assert all(len(sid) == 22 and "session" not in sid for sid in found)
    assert sid_of("session-a", "client-a") == sid_of("session-a", "client-a")


@pytest.mark.parametrize(
    "uri",
    [
        "https://rp.example.org/logout",
        "https://rp.example.org:8443/logout?tenant=4711",
        "https://rp.example.org",
        "http://127.0.0.1:8405/logout",
        "http://[::1]:8405/logout",
        "http://localhost/logout",
        "http://rp.localhost:8405/logout",
    ],
)
def test_a_client_is_told_over_https_or_on_the_machine_itself(uri: str) -> None:
    assert list(uri_faults(uri, session_required=True, scopes=("openid",))) == []
    assert client(backchannel_logout_uri=uri).registration.plain_logout == uri.startswith("http:")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/logout",
        "//rp.example.org/logout",
        "http://rp.example.org/logout",
        "http://localhost.example.org/logout",
        "http://notlocalhost/logout",
        "http://127.0.0.2/logout",
        "http://10.0.0.1/logout",
        "ftp://rp.example.org/logout",
        "file:///etc/passwd",
        "https:///logout",
        "https://rp.example.org/logout#fragment",
        "https://rp.example.org/logout#",
        "https://user:password@rp.example.org/logout",
        "https://@rp.example.org/logout",
        "https://rp.example.org\\@evil.example.org/logout",
        "https://rp.example.org:0/logout",
        "https://rp.example.org:x/logout",
        "https://rp.example.org:99999/logout",
        "https://rp.example.org/log out",
        "https://rp.example.org/lögout",
        "https://rp.example.org/\n",
        "https://[::1/logout",
        "https://rp.example.org/" + "x" * 2048,
    ],
)
def test_PKI_01_a_uri_of_another_form_is_not_registered(uri: str) -> None:
    assert list(uri_faults(uri, session_required=False, scopes=("openid",)))


def test_production_knows_no_uri_without_tls() -> None:
    for uri, served in (
        ("HTTP://127.0.0.1:8405/logout", None),
        ("http://rp.localhost/logout", None),
        ("https://rp.example.org/logout", "https://rp.example.org/logout"),
    ):
        found = client(backchannel_logout_uri=uri).without_plain_uris().registration.backchannel_logout_uri
        assert found == served
