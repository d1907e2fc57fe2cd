"""The connectors that come with the product are found under their names."""

from __future__ import annotations

from connectors import registry


def test_the_products_connectors_are_installed() -> None:
    assert registry.known("messaging") == ("http_sms", "smpp", "smtp", "twilio")
    assert registry.known("pki") == ("devca",)
    assert registry.known("status") == ("http",)
