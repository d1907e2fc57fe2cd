"""Where devices approve: settings that would not keep a login from carrying a proof."""

from __future__ import annotations

from typing import Any

import pytest

from idp.approval_settings import DeviceApprovalSettings

BESIDE: dict[str, Any] = {"issuer": "https://idp.example.org", "profiles": ("default",), "certificate_origin": None}


@pytest.mark.parametrize(
    ("settings", "beside", "fault"),
    [
        ({"origin": "https://approve.example.org/"}, {}, "without a path"),
        ({"origin": "ftp://approve.example.org"}, {}, "origin is an origin"),
        ({"origin": "https://Approve.example.org"}, {}, "as browsers do"),
        ({"origin": "https://approve.example.org:443"}, {}, "as browsers do"),
        ({"origin": "https://approve.example.org."}, {}, "as browsers do"),
        ({"rp_id": "other.example.org"}, {}, "the origin's host"),
        ({"seconds": 541}, {}, "60 to 540"),
        ({"rp_id": "example.org"}, {}, "a login could carry a proof"),
        ({}, {"issuer": "https://approve.example.org"}, "a login could carry a proof"),
        ({}, {"issuer": "https://login.approve.example.org"}, "a login could carry a proof"),
        ({}, {"certificate_origin": "https://approve.example.org"}, "certificates are presented"),
        ({"profiles": ("sole",)}, {}, "none of signing.profiles"),
        ({"origin": "http://approve.example.org"}, {}, "must be https"),
    ],
)
def test_settings_that_would_not_keep_a_login_from_carrying_a_proof(
    settings: dict[str, Any], beside: dict[str, Any], fault: str
) -> None:
    made = DeviceApprovalSettings(**{"origin": "https://approve.example.org", **settings})
    found = [*made.faults(), *made.faults_beside(**{**BESIDE, **beside}, production=True)]
    assert any(fault in text for text in found)
    right = DeviceApprovalSettings("https://approve.example.org:8443")
    assert [*right.faults(), *right.faults_beside(**BESIDE, production=True)] == []
