"""Settings of the host where clients show certificates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from idp.certificate_settings import MutualTlsSettings
from tests.fakes.idp import make_idp

SECRET = Path("proxy.secret")


@pytest.mark.parametrize(
    "origin", ["mtls.idp.example", "https://mtls.idp.example/", "ftp://mtls.idp.example", "https://"]
)
def test_an_origin_is_an_origin(origin: str) -> None:
    assert list(MutualTlsSettings(origin, SECRET).faults())


def test_it_is_a_host_of_its_own_and_production_wants_tls(tmp_path: Path) -> None:
    settings = make_idp(tmp_path).settings
    own = MutualTlsSettings("http://mtls.idp.localhost", SECRET)
    assert list(own.faults()) == []
    assert not any("mutual_tls" in fault for fault in replace(settings, mutual_tls=own).faults())
    shared = replace(own, origin=settings.issuer)
    assert any("a host of its own" in fault for fault in replace(settings, mutual_tls=shared).faults())
    production = replace(settings, mode="production", mutual_tls=own)
    assert any("mutual_tls.origin must be https" in fault for fault in production.faults())
