"""PKCE: S256 for everybody."""

from __future__ import annotations

import pytest

from idp.oidc.errors import GrantInvalid, RequestInvalid
from idp.oidc.pkce import check_challenge, check_verifier
from tests.unit.idp_oidc.samples import CHALLENGE, VERIFIER


def test_the_vector_of_rfc_7636_appendix_b_fits() -> None:
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert check_challenge(challenge, "S256") == challenge
    check_verifier("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", challenge)


@pytest.mark.parametrize(
    ("challenge", "method"),
    [
        (None, "S256"),
        (None, None),
        (CHALLENGE, None),
        (CHALLENGE, "plain"),
        (CHALLENGE, "s256"),
        (CHALLENGE[:-1], "S256"),
        (CHALLENGE + "A", "S256"),
        (CHALLENGE + "=", "S256"),
        (CHALLENGE + "\n", "S256"),
        ("+" + CHALLENGE[1:], "S256"),
    ],
)
def test_OAU_04_a_challenge_that_is_missing_plain_or_malformed_is_refused(
    challenge: str | None, method: str | None
) -> None:
    with pytest.raises(RequestInvalid):
        check_challenge(challenge, method)


@pytest.mark.parametrize("verifier", [None, "", "a" * 42, "a" * 129, VERIFIER + "\n", VERIFIER + "ä", VERIFIER + " "])
def test_OAU_04_a_verifier_that_is_missing_short_long_or_malformed_is_refused(verifier: str | None) -> None:
    with pytest.raises(RequestInvalid):
        check_verifier(verifier, CHALLENGE)


@pytest.mark.parametrize("verifier", ["a" * 43, "a" * 128, CHALLENGE])
def test_OAU_04_another_verifier_is_refused_even_the_challenge_itself(verifier: str) -> None:
    with pytest.raises(GrantInvalid):
        check_verifier(verifier, CHALLENGE)
