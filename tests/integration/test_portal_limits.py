"""Requests that cost something, by address: refused with a page that says when to come back, before they cost it."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from tests.integration.portal_world import PDF, Person, World, world

PROXY = "10.0.0.1"


@pytest.fixture
def few(tmp_path: Path, database_url: str) -> Iterator[World]:
    """Three requests at once, one more an hour."""
    with world(tmp_path, database_url, trusted_proxies=(PROXY,), address_burst=3, address_per_minute=1) as made:
        yield made


def from_address(made: World, address: str, *forwarded: str) -> Person:
    person = made.person("alice")
    person.http.environ_base["REMOTE_ADDR"] = address
    if forwarded:
        person.http.environ_base["HTTP_X_FORWARDED_FOR"] = ", ".join(forwarded)
    return person


def test_DOS_03_who_uploads_too_much_is_told_when_to_come_back_and_nothing_is_examined(few: World) -> None:
    alice = from_address(few, "192.0.2.1")
    alice.sign_in()
    for _ in range(2):
        alice.brought()
    before = few.server.asked[:]
    page = alice.bring(("lease.pdf", PDF))
    assert page.status_code == 429
    assert 50 <= int(page.headers["Retry-After"]) <= 60
    assert "Nothing was changed. Please try again in" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    for refused in (alice.post("/sign", document=["x"]), alice.post("/validate", file=(BytesIO(PDF), "a.pdf"))):
        assert refused.status_code == 429
    assert few.server.asked == before, "nobody else was asked for anything"
    # What costs little goes on: the list, a download, deleting, signing out.
    assert alice.get("/documents").status_code == 200
    assert alice.post("/sign-out").status_code == 303


def test_DOS_03_another_address_and_another_persons_proxy_have_their_own(few: World) -> None:
    def ask(person: Person) -> int:
        person.get("/")
        return person.post("/sign-in").status_code

    there = from_address(few, PROXY, "192.0.2.9")
    assert [ask(there) for _ in range(4)] == [303, 303, 303, 429]
    assert ask(from_address(few, PROXY, "192.0.2.10")) == 303
    assert ask(from_address(few, "192.0.2.11")) == 303
    # SES-10: what a stranger writes before the proxy's word changes nothing, nor what one writes without a proxy.
    assert ask(from_address(few, PROXY, "198.51.100.1", "192.0.2.9")) == 429
    assert [ask(from_address(few, "192.0.2.12", f"198.51.100.{each}")) for each in range(4)] == [303, 303, 303, 429]
    # A subscriber's IPv6 addresses are one.
    assert [ask(from_address(few, PROXY, f"2001:db8::{each}")) for each in range(1, 5)] == [303, 303, 303, 429]


def test_the_page_is_in_the_persons_language_and_a_body_without_a_form_token_is_not_looked_at(few: World) -> None:
    person = from_address(few, "192.0.2.1")
    for _ in range(3):
        assert person.http.post("/sign-in").status_code == 400
    page = person.http.post("/sign-in", data=b"x" * 100_000, headers={"Accept-Language": "de"})
    assert page.status_code == 429
    assert "Bitte versuchen Sie es in" in page.text
