"""Where something listens."""

from __future__ import annotations

import pytest

from foundation.addresses import split_address
from foundation.errors import AddressInvalid


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1:7443", "192.0.2.1", 7443),
        ("sam.example.org:1", "sam.example.org", 1),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
    ],
)
def test_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert split_address(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", ":", "host", "host:", ":1", "host:0", "host:65536", "host:+1", "host:1 ", " host:1",
             "2001:db8::1:7443", "[]:1", "host:١", "host:" + "9" * 5000]
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(AddressInvalid):
        split_address(text)
