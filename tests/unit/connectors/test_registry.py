"""Connectors: installed is not enabled, and unknown is refused with the known ones listed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import pytest

from connectors import registry
from connectors.errors import ConnectorMisconfigured, ConnectorNotAllowed, UnknownConnector


class Gateway:
    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.number = settings["number"]


class UnsafeGateway(Gateway):
    unsafe_in_production = True


class Entry:
    def __init__(self, name: str, factory: object) -> None:
        self.name = name
        self._factory = factory

    def load(self) -> object:
        return self._factory


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [Entry("good", Gateway), Entry("unsafe", UnsafeGateway), Entry("twice", Gateway), Entry("twice", Gateway)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries if group.endswith("messaging") else [])


def test_a_connector_is_built_with_its_own_settings() -> None:
    assert registry.load("messaging", "good", {"number": 7}, production=True).number == 7


def test_an_unknown_name_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(UnknownConnector, match="known: good, twice, twice, unsafe"):
        registry.load("messaging", "god", {}, production=False)
    with pytest.raises(UnknownConnector, match="known: none"):
        registry.load("pki", "good", {}, production=False)


def test_a_name_installed_twice_is_refused() -> None:
    with pytest.raises(UnknownConnector, match="twice"):
        registry.load("messaging", "twice", {}, production=False)


def test_SUP_05_a_stand_in_is_refused_in_production() -> None:
    assert registry.load("messaging", "unsafe", {"number": 1}, production=False).number == 1
    with pytest.raises(ConnectorNotAllowed):
        registry.load("messaging", "unsafe", {"number": 1}, production=True)


def test_settings_that_a_connector_refuses_are_an_error_that_names_it() -> None:
    with pytest.raises(ConnectorMisconfigured, match="'good'"):
        registry.load("messaging", "good", {}, production=False)
