"""All ports are tried before anything is started, and a taken one is named with the setting that moves it."""

from __future__ import annotations

import socket

import pytest

from launcher.errors import PortTakenError
from launcher.ports import OFFSETS, Ports

pytestmark = pytest.mark.loopback


def base_of(port: int, service: str) -> Ports:
    return Ports(port - OFFSETS[service][0])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_taken_port_is_refused_with_its_number_its_service_and_the_setting(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError) as refused:
            base_of(port, "idp").check()
    assert f"port {port} (identity provider)" in str(refused.value)
    assert "--base-port" in str(refused.value)
    assert refused.value.exit_code == 4


def test_web_applications_have_host_names_of_their_own() -> None:
    ports = Ports(9000)
    assert ports.url("idp") == "http://idp.localhost:9001"
    assert ports.url("web") == "http://sign.localhost:9002"
    assert ports.url("rp") == "http://rp.localhost:9005"
    assert ports.url("trust") == "http://127.0.0.1:9003"


def test_no_two_services_share_a_port() -> None:
    assert len({offset for offset, _ in OFFSETS.values()}) == len(OFFSETS)
