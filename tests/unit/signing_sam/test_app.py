"""Operations as they are called from the sockets, and the device that may come later."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract.order import CreateParameters
from signing.link.errors import MessageInvalid
from signing.link.messages import CreatedCredential, CredentialView, octets_to_json
from signing.sam import errors
from signing.sam.algorithms import KEY_PROFILES, SHA256, SignatureAlgorithm
from signing.sam.credential import Credential
from signing.sam.ports import DeviceUnavailable, PinRefused, WrappedKey
from signing.sam_app import standby
from signing.sam_app.handlers import admin_handlers, public_handlers, view
from signing.sam_app.parts import Sam
from signing.sam_app.standby import StandbyDevice
from signing.sam_settings import DeviceTable, SamSettings
from signing.scdev.device import Pkcs11Device
from signing.storage.store import SqlStore
from tests.fakes.device import FakeDevice
from tests.fakes.sam import ALICE, World, digest


@pytest.fixture
def sam(world: World) -> Sam:
    assert isinstance(world.store, SqlStore)
    table = DeviceTable(Path("module"), "label", Path("pin"))
    settings = SamSettings("development", "test", "id", Path("s"), Path("a"), {}, table, {}, ())
    return Sam(
        settings=settings,
        store=world.store,
        device=world.device,
        policy=world.policy,
        activator=world.activator(),
        lifecycle=world.lifecycle(),
        clock=world.clock,
        device_available=lambda: True,
    )


def test_the_web_tiers_operations(world: World, sam: Sam) -> None:
    call = public_handlers(sam)
    assert call["ping"]({}) == {}
    created = CreatedCredential.from_json(call["create_credential"]({"order": world.order_token()}))
    assert created.subject == ALICE
    credential_id = created.credential.credential_id
    chain = [world.authority.issue(created.pkcs10)]
    linked = call["link_certificate"]({"credential_id": credential_id, "chain": octets_to_json(chain)})
    assert call["credential"]({"credential_id": credential_id}) == linked
    assert call["list_credentials"]({"owner": "alice"}) == {"credentials": [linked]}
    order = world.order_token("credential.suspend", credential_id=credential_id)
    assert CredentialView.from_json(call["execute_order"]({"order": order})).status == "suspended"
    with pytest.raises(errors.NotPermitted):
        call["list_credentials"]({"owner": ""})


def test_the_operators_operations_look_and_do_not_touch(world: World, sam: Sam, credential: Credential) -> None:
    call = admin_handlers(sam)
    shown = view(credential).to_json()
    assert call["list_credentials"]({"owner": ""}) == {"credentials": [shown]}
    assert call["list_credentials"]({"owner": "alice"}) == {"credentials": [shown]}
    assert call["inspect_credentials"]({}) == {"credentials": [{"integrity": "ok", **shown}]}
    assert call["status"]({})["device_available"] is True
    world.fake.fail_next("verify_mac", DeviceUnavailable("away"))
    assert call["inspect_credentials"]({})["credentials"][0]["integrity"] == "device_unavailable"
    assert set(call) == {"ping", "credential", "list_credentials", "inspect_credentials", "status"}


def test_ping_tells_that_no_worker_is_ready(sam: Sam) -> None:
    with pytest.raises(errors.ScdevUnavailable):
        public_handlers(replace(sam, device_available=lambda: False))["ping"]({})


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("ping", {"more": 1}),
        ("credential", {}),
        ("credential", {"credential_id": 1}),
        ("list_credentials", {}),
        ("list_credentials", {"owner": "x" * 256}),
        ("sign", {}),
        ("create_credential", {"order": ""}),
        ("link_certificate", {"credential_id": "x"}),
        ("link_certificate", {"credential_id": "x", "chain": ["AQ"], "more": 1}),
        ("execute_order", {"order": "x" * 24_577}),
    ],
)
def test_a_request_of_another_form_is_refused(sam: Sam, operation: str, body: dict[str, Any]) -> None:
    with pytest.raises(MessageInvalid):
        public_handlers(sam)[operation](body)


@pytest.mark.parametrize("profile", ["standard", "p384", "pss"])
def test_a_deleted_credential_is_shown_without_schemes(world: World, profile: str) -> None:
    pending = world.lifecycle().create(world.order_token(parameters=CreateParameters(profile, ALICE)))
    before, after = view(pending), view(replace(pending, key=None, status="deleted"))
    assert after == replace(before, status="deleted", schemes=())


def test_a_public_key_of_no_kind_known_is_an_altered_row(credential: Credential) -> None:
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    octets = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for public_key in (b"none", octets):
        with pytest.raises(errors.RowAltered):
            view(replace(credential, key=None, public_key=public_key))


# The device that may come later


class Opening(FakeDevice):
    """A device with the two things that a standby asks of one beside the port."""

    closed = False

    def health(self) -> Any:
        """Available."""
        return type("Health", (), {"available": True})

    def close(self) -> None:
        """Remembered."""
        self.closed = True


def standby_over(*answers: Any) -> tuple[StandbyDevice, list[Any]]:
    left = list(answers)

    def open_device() -> Pkcs11Device:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return] # a fake of it

    return StandbyDevice(open_device), left


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "_RETRY_SECONDS", (0.01, 0.02))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_device_that_comes_late_is_used_once_it_is_there() -> None:
    inner = Opening()
    device, left = standby_over(*[DeviceUnavailable("away")] * 4, inner)
    with pytest.raises(DeviceUnavailable):
        device.canary()
    until(device.available)
    assert left == []
    key = device.generate(KEY_PROFILES["ec-p256"])
    assert len(device.sign(key.wrapped, SignatureAlgorithm("ecdsa", SHA256), [digest(1)])) == 1
    device.verify_mac(b"x", device.mac(b"x"))
    device.canary()
    device.close()
    assert inner.closed


def test_KEY_09_a_refused_pin_is_not_tried_again() -> None:
    device, left = standby_over(PinRefused("no"), Opening())
    time.sleep(0.1)
    assert len(left) == 1
    assert not device.available()
    with pytest.raises(PinRefused):
        device.sign(WrappedKey(b"", "", ""), SignatureAlgorithm("ecdsa", SHA256), [])
    device.close()


def test_KEY_09_nor_when_it_is_refused_later() -> None:
    device, left = standby_over(DeviceUnavailable("away"), PinRefused("no"), Opening())
    time.sleep(0.2)
    assert len(left) == 1
    device.close()


def test_closing_ends_the_waiting() -> None:
    device, _left = standby_over(*[DeviceUnavailable("away")] * 1000)
    device.close()
    assert not device.available()
