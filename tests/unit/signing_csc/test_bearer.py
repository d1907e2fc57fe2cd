"""What kind of token a request carries is remembered by the token's first segment, and by nothing else of it."""

from __future__ import annotations

import pytest

from foundation.jose import encode_base64url
from signing.csc import bearer, errors
from signing.csc.bearer import parse_authorization


@pytest.fixture(autouse=True)
def _forgetful() -> None:
    bearer._kind.cache_clear()


def head(text: str) -> str:
    return encode_base64url(text.encode())


def kept() -> int:
    return bearer._kind.cache_info().currsize


@pytest.mark.parametrize(
    ("typ", "kind"), [("sad+jwt", "sad"), ("application/SAD+JWT", "sad"), ("at+jwt", "service"), ("", "service")]
)
def test_the_kind_is_what_the_type_says(typ: str, kind: str) -> None:
    token = head(f'{{"typ":"{typ}"}}')
    for rest in ("a.b", "c.d"):
        found = parse_authorization(f"Bearer {token}.{rest}")
        assert (found.kind, found.token) == (kind, f"{token}.{rest}")
    assert kept() == 1


def test_two_types_are_two_kinds() -> None:
    service, sad = (head(f'{{"typ":"{typ}"}}') for typ in ("at+jwt", "sad+jwt"))
    kinds = [parse_authorization(f"Bearer {token}.a.b").kind for token in (service, sad, service, sad)]
    assert kinds == ["service", "sad", "service", "sad"]


@pytest.mark.parametrize("text", ["{}", '{"typ":1}', '{"typ":"sad+jwt","typ":"at+jwt"}', "nothing", "[]"])
def test_what_has_no_type_is_refused_each_time(text: str) -> None:
    for _ in range(2):
        with pytest.raises(errors.InvalidToken):
            parse_authorization(f"Bearer {head(text)}.a.b")
    assert kept() == 0


def test_what_strangers_send_fills_no_memory() -> None:
    """DOS-01."""
    long = head(f'{{"typ":"sad+jwt","x":"{"x" * 1000}"}}')
    assert parse_authorization(f"Bearer {long}.a.b").kind == "sad"
    assert kept() == 0
    for number in range(300):
        found = head(f'{{"typ":"at+jwt","kid":"{number}"}}')
        parse_authorization(f"Bearer {found}.a.b")
    assert kept() == 256
