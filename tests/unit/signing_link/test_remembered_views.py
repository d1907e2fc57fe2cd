"""A credential's view is remembered by the answer's octets: what the module says now is what is believed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signing.link import client as link_client
from signing.link.client import SamClient
from signing.link.doors import SocketSettings
from signing.link.errors import LinkRefused, MessageInvalid
from signing.link.messages import CredentialView
from signing.link.server import LinkServer
from signing.sam.errors import UnknownCredential
from tests.unit.signing_link.test_messages import VIEW


class Module:
    """Says of a credential what the test has it say."""

    def __init__(self) -> None:
        self.says: Mapping[str, Any] | None = VIEW.to_json()
        self.asked = 0

    def credential(self, _body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked += 1
        if self.says is None:
            raise UnknownCredential("x")
        return self.says


@pytest.fixture
def module() -> Module:
    return Module()


@pytest.fixture
def sam(tmp_path: Path, module: Module) -> Iterator[SamClient]:
    link_client._parsed_view.cache_clear()
    settings = SocketSettings(tmp_path / "s", frozenset({os.geteuid()}), 0o600, 4)
    server = LinkServer(settings, {"credential": module.credential})
    server.start()
    with SamClient(settings.path, timeout_seconds=5, pool_size=4) as client:
        yield client
    server.stop(2)


def kept() -> int:
    return link_client._parsed_view.cache_info().currsize


def test_the_module_is_asked_each_time(sam: SamClient, module: Module) -> None:
    assert [sam.credential("x") for _ in range(3)] == [VIEW] * 3
    assert (module.asked, kept()) == (3, 1)


@pytest.mark.parametrize("status", ["suspended", "revoked", "deleted"])
def test_what_has_changed_holds_with_the_next_answer(sam: SamClient, module: Module, status: Any) -> None:
    """The stale case: everything but one member is as it was."""
    assert sam.credential("x").status == "active"
    module.says = replace(VIEW, status=status).to_json()
    assert sam.credential("x").status == status
    module.says = VIEW.to_json()
    assert sam.credential("x").status == "active"


def test_a_refusal_is_not_kept_and_does_not_give_what_was_kept(sam: SamClient, module: Module) -> None:
    assert sam.credential("x") == VIEW
    module.says = None
    for _ in range(2):
        with pytest.raises(LinkRefused):
            sam.credential("x")
    assert kept() == 1


def test_what_cannot_be_read_is_not_kept(sam: SamClient, module: Module) -> None:
    module.says = {**VIEW.to_json(), "status": "fine"}
    for _ in range(2):
        with pytest.raises(MessageInvalid):
            sam.credential("x")
    assert kept() == 0


def test_what_is_kept_is_bounded(sam: SamClient, module: Module) -> None:
    """DOS-01: in octets of each, and in number."""
    long: CredentialView = replace(VIEW, certificates=(bytes(12_000), bytes(12_000)))
    module.says = long.to_json()
    assert [sam.credential("x") for _ in range(2)] == [long] * 2
    assert kept() == 0
    assert link_client._parsed_view.cache_info().maxsize == 512
