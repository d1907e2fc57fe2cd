"""Gateways as the settings name them, and what operators see of messages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.failover import SmsFailover
from connectors.ports.messaging import Delivery
from foundation.clock import FixedClock
from foundation.errors import SettingsError
from foundation.files import write_secret
from foundation.settings import from_table
from idp.app import create_app
from idp.cli.administration import main
from idp.settings import ConnectorSettings, IdpSettings, MessagingSettings
from idp.storage import caps, challenges, messages
from idp.storage.challenges import Purpose
from tests.fakes.idp import NOW, make_idp

BASE: dict[str, Any] = {
    "mode": "production",
    "issuer": "https://idp.example.org",
    "key_dir": "keys",
    "policy_file": "policy.yaml",
    "database_url_file": "url",
    "signing": {"csc_base": "https://sign.example.org/csc/v2", "sam_id": "urn:sam"},
}
HTTP = {"url": "https://sms.example.org/send", "body": {"to": "{to}", "text": "{text}"}}


def test_gateways_are_asked_in_the_order_of_the_settings(tmp_path: Path) -> None:
    idp = make_idp(tmp_path)
    write_secret(tmp_path / "password", b"secret")
    smpp = {"host": "smsc.example.org", "system_id": "us", "sender": "Us", "password_file": str(tmp_path / "password")}
    messaging = MessagingSettings(
        sms=ConnectorSettings("http_sms", HTTP), sms_fallback=(ConnectorSettings("smpp", smpp),)
    )
    policy = idp.app.extensions["privyseal"].policy
    made = create_app(replace(idp.settings, messaging=messaging), engine=idp.engine, policy=policy)
    sms = made.extensions["privyseal"].messaging.sms
    assert isinstance(sms, SmsFailover)
    assert [name for name, _gateway in sms._gateways.all()] == ["1-http_sms", "2-smpp"]


@pytest.mark.parametrize(
    ("messaging", "fault"),
    [
        ({"sms_fallback": [{"connector": "twilio"}]}, "sms_fallback without sms"),
        ({"sms": {"connector": "a"}, "sms_fallback": [{"connector": "b"}] * 5}, "at most 4"),
        (
            {"sms": {"connector": "a"}, "sms_fallback": [{"connector": "b", "settings": {"host": "127.0.0.1"}}]},
            r"messaging\.sms \(2-b\) points at this machine",
        ),
        ({"mail": {"connector": "a"}, "mail_fallback": [{"connector": "b", "setting": {}}]}, "is not a setting"),
    ],
)
def test_fallbacks_that_are_refused(messaging: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        from_table(IdpSettings, {**BASE, "messaging": messaging}, base=Path("/etc"))


@pytest.mark.parametrize(
    ("otp", "fault"),
    [
        ({"cap_minutes": 0}, "cap_minutes"),
        ({"max_per_address": 0}, "max_per_address"),
        ({"max_per_network": 0}, "max_per_network"),
        ({"budget_an_hour": 100, "budget_a_day": 99}, "budget_a_day"),
        ({"max_per_prefix": 0}, "max_per_prefix"),
        ({"prefix_limits": {"34": 0}}, "prefix_limits"),
        ({"prefix_limits": {"+34": 10}}, "'\\+34' is no prefix"),
        ({"prefix_limits": {"34600000001": 10}}, "at most 7 digits"),
        ({"stop_seconds": 1}, "stop_seconds"),
        ({"conversion_percent": 101}, "conversion_percent"),
        ({"allowed_prefixes": ["+34"]}, "'\\+34' is no prefix"),
        ({"denied_prefixes": ["0900"]}, "'0900' is no prefix"),
    ],
)
def test_OTP_07_caps_that_are_none_are_refused(otp: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        from_table(IdpSettings, {**BASE, "otp": otp}, base=Path("/etc"))


def test_operators_see_what_became_of_messages_and_end_a_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    idp = make_idp(tmp_path)
    purpose = Purpose("alice-sms_otp", "session", "txn", "intent")
    with idp.engine.begin() as connection:
        challenges.open_or_resend(connection, purpose, new_id="challenge", now=NOW, limits=idp.settings.otp)
        messages.add(connection, "m1", "challenge", Delivery("reference-1", "1-smpp"), NOW)
        messages.add(connection, "m2", "challenge", None, NOW)
        assert caps.stop(connection, "hour", NOW, 600)
    (tmp_path / "idp.toml").write_text(
        'mode = "development"\nissuer = "http://idp.localhost:8401"\nkey_dir = "keys"\npolicy_file = "p.yaml"\n'
        f'database_url = "sqlite:///{tmp_path / "idp.sqlite"}"\n'
        '[signing]\ncsc_base = "http://sign.localhost:8402/csc/v2"\nsam_id = "urn:sam"\n'
    )

    def run(*arguments: str) -> dict[str, Any]:
        argv = ("messages", *arguments, "--config", str(tmp_path / "idp.toml"), "--json")
        assert main(argv, FixedClock(NOW)) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    seen = run("status", "--username", "alice")
    assert {(item["state"], item["gateway"], item["reference"]) for item in seen["messages"]} == {
        ("pending", "1-smpp", "reference-1"),
        (messages.UNKNOWN, "-", "-"),
    }
    assert seen["stopped"] == [{"name": "hour", "seconds": 600}]
    assert "+346" not in json.dumps(seen)
    assert run("resume") == {"stops": 1}
    assert run("status")["stopped"] == []
