"""Whose address a request has, behind proxies that are trusted and before strangers who write headers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from idp.settings import IdpSettings
from idp.web.address import address_behind, client_address
from tests.fakes.idp import make_idp

PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("::ffff:10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("2001:db8:1::1", ["2001:db8:2::7"], "2001:db8:2::7"),
        ("10.0.0.1", ["198.51.100.9, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", ["198.51.100.9", "192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
    ],
)
def test_the_nearest_address_that_is_no_proxy_counts(peer: str, forwarded: list[str], address: str) -> None:
    assert address_behind(peer, forwarded, PROXIES) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.7", ["10.0.0.5"], "192.0.2.7"),
        ("192.0.2.7", ["10.0.0.5, 10.0.0.1"], "192.0.2.7"),
        ("10.0.0.1", ["10.0.0.5, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", ["10.0.0.5", "192.0.2.7"], "192.0.2.7"),
    ],
)
def test_SES_10_a_stranger_cannot_write_where_it_comes_from(peer: str, forwarded: list[str], address: str) -> None:
    assert address_behind(peer, forwarded, PROXIES) == address


@pytest.mark.parametrize("hop", ["", "unknown", "office", "192.0.2.7:443", "192.0.2.7 ", "192.0.2.007", "1" * 300])
def test_what_a_proxy_wrote_and_cannot_be_read_is_not_the_proxys_own_address(hop: str) -> None:
    found = address_behind("10.0.0.1", [f"10.0.0.5, {hop}"], PROXIES)
    assert found == ("192.0.2.7" if hop.strip() == "192.0.2.7" else None)


def test_where_a_proxy_wrote_nothing_its_own_address_is_not_taken_for_the_clients() -> None:
    assert address_behind("10.0.0.1", [], PROXIES) is None
    assert address_behind("::ffff:10.0.0.1", [], PROXIES) is None
    assert address_behind("10.0.0.1", [], ()) == "10.0.0.1"


def test_an_unknown_peer_stays_unknown() -> None:
    assert address_behind(None, ["10.0.0.5"], PROXIES) is None
    assert address_behind("", ["10.0.0.5"], PROXIES) is None


def test_SES_10_no_header_is_believed_unless_the_operator_names_the_proxy(tmp_path: Path) -> None:
    made = make_idp(tmp_path)
    header = {"X-Forwarded-For": "10.0.0.5"}
    with made.app.test_request_context(headers=header, environ_base={"REMOTE_ADDR": "127.0.0.1"}):
        assert client_address() == "127.0.0.1"


@pytest.mark.parametrize("network", ["proxy.example.org", "10.0.0.1/8", "0.0.0.0/0", "::/0", ""])
def test_what_is_no_network_or_is_every_network_is_not_trusted(tmp_path: Path, network: str) -> None:
    settings = make_idp(tmp_path).settings
    faults = list(_with(settings, network).faults())
    assert [fault for fault in faults if "trusted_proxies" in fault]
    assert not list(_with(settings, "10.0.0.0/8").faults())


def _with(settings: IdpSettings, network: str) -> IdpSettings:
    return replace(settings, trusted_proxies=(network,))


def test_the_proxy_that_the_operator_names_is_believed(tmp_path: Path) -> None:
    made = make_idp(tmp_path, trusted_proxies=("127.0.0.0/8",))
    header = {"X-Forwarded-For": "10.0.0.5, 192.0.2.7"}
    for peer, expected in (("127.0.0.1", "192.0.2.7"), ("192.0.2.99", "192.0.2.99")):
        with made.app.test_request_context(headers=header, environ_base={"REMOTE_ADDR": peer}):
            assert client_address() == expected
