"""Operations as they are called from the sockets, and the device that may come later."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import text, update

from auditlog.notes import key_from_pem, open_note
from contract.order import CreateParameters
from signing.link.errors import MessageInvalid
from signing.link.frames import MAX_FRAME_OCTETS
from signing.link.messages import CreatedCredential, CredentialView, OfferedKey, octets_to_json
from signing.link.server import Handler
from signing.sam import errors, events
from signing.sam.algorithms import KEY_PROFILES, SHA256, SignatureAlgorithm
from signing.sam.credential import Credential
from signing.sam.custody import sealed
from signing.sam.ports import DeviceUnavailable, PinRefused, WrappedKey
from signing.sam.store import Record
from signing.sam_app import standby
from signing.sam_app.handlers import UNREADABLE, admin_handlers, public_handlers, view
from signing.sam_app.parts import Sam
from signing.sam_app.standby import StandbyDevice
from signing.scdev.device import Pkcs11Device
from signing.storage.store import SqlStore
from signing.storage.tables import credentials
from tests.fakes.device import FakeDevice
from tests.fakes.sam import ALICE, NOW, World, digest


def test_the_web_tiers_operations(world: World, sam: Sam) -> None:
    call = public_handlers(sam)
    assert call["ping"]({}) == {}
    kinds = [OfferedKey.from_json(item) for item in call["offered_keys"]({})["keys"]]
    assert [(kind.key_bits, kind.schemes) for kind in kinds] == [
        (256, ("ecdsa",)), (384, ("ecdsa",)), (3072, ("rsa-pkcs1-v1_5",)), (3072, ("rsa-pss",)),
    ]  # fmt: skip
    created = CreatedCredential.from_json(call["create_credential"]({"order": world.order_token()}))
    assert created.subject == ALICE
    credential_id = created.credential.credential_id
    chain = [world.authority.issue(created.pkcs10)]
    linked = call["link_certificate"]({"credential_id": credential_id, "chain": octets_to_json(chain)})
    assert call["credential"]({"credential_id": credential_id}) == linked
    assert call["list_credentials"]({"owner": "alice"}) == {"credentials": [linked], "next": None}
    order = world.order_token("credential.suspend", credential_id=credential_id)
    assert CredentialView.from_json(call["execute_order"]({"order": order})).status == "suspended"
    with pytest.raises(errors.NotPermitted):
        call["list_credentials"]({"owner": ""})


def test_the_operators_operations_look_and_do_not_touch(world: World, sam: Sam, credential: Credential) -> None:
    call = admin_handlers(sam)
    shown = view(credential).to_json()
    assert call["list_credentials"]({"owner": "alice"}) == {"credentials": [shown], "next": None}
    assert call["inspect_credentials"]({}) == {"credentials": [{"integrity": "ok", **shown}], "next": None}
    assert call["status"]({})["device_available"] is True
    world.fake.fail_next("verify_mac", DeviceUnavailable("away"))
    assert call["inspect_credentials"]({})["credentials"][0]["integrity"] == "device_unavailable"
    assert set(call) == {
        "ping",
        "credential",
        "list_credentials",
        "inspect_credentials",
        "status",
        "wrapping_keys",
        "rewrap",
        "execute_operation",
        "checkpoint",
        "checkpoint_key",
    }
    key = key_from_pem(call["checkpoint_key"]({})["pem"].encode())
    assert open_note(call["checkpoint"]({})["note"], [key]).origin == "test/sam"


def test_operators_see_which_keks_are_needed_and_wrap_anew_by_the_current_one(
    world: World, sam: Sam, credential: Credential
) -> None:
    call, old = admin_handlers(sam), credential.wrapped_key().kek_id
    new = world.fake.new_kek()
    found = {kek["kek_id"]: kek for kek in call["wrapping_keys"]({})["keks"]}
    assert found[old] == {
        "kek_id": old, "on_token": True, "trusted": True, "current": False, "rows": {"aes-kwp": 1},
    }  # fmt: skip
    assert (found[new]["current"], found[new]["rows"]) == (True, {})
    body = {"operation": world.operation("kek.rewrap", 1, kek_id=new)}
    done = {"looked_at": 1, "rewrapped": 1, "failed": [], "stopped": None, "next": None}
    assert call["rewrap"](body) == done
    assert call["rewrap"]({**body, "after": credential.id}) == {**done, "looked_at": 0, "rewrapped": 0}
    with pytest.raises(MessageInvalid):
        call["rewrap"]({**body, "more": "members"})



def pages(handler: Handler, body: dict[str, Any]) -> list[dict[str, Any]]:
    """What the client does, without a socket; every page fits a frame."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = handler({**body, **cursor})
        assert len(json.dumps(answer)) < MAX_FRAME_OCTETS
        found += answer["credentials"]
        if answer["next"] is None:
            return found
        assert cursor != {"after": answer["next"]}, "the same page again"
        cursor = {"after": answer["next"]}


def many(world: World, credential: Credential, count: int) -> list[str]:
    """Rows with good MACs and large certificates, in the order of their creation."""
    found = [credential.id]
    assert isinstance(world.store, SqlStore)
    for number in range(count):
        each = replace(credential, id=f"{count - number:032x}", created=credential.created + 1 + number // 2)
        each = replace(each, certificates=(bytes(20_000),) * 4)
        assert world.store.add_credential(sealed(each, world.device), Record(events.EPOCH_RAISED, {"epoch": 1}, NOW))
        found.append(each.id)
    return found


def test_the_operator_and_the_owner_see_all_credentials_however_many_there_are(
    world: World, sam: Sam, credential: Credential
) -> None:
    ids = many(world, credential, 31)
    inspected = pages(admin_handlers(sam)["inspect_credentials"], {})
    assert [row["credential_id"] for row in inspected] == sorted(ids)
    assert {row["integrity"] for row in inspected} == {"ok"}
    listed = pages(public_handlers(sam)["list_credentials"], {"owner": "alice"})
    assert [(row["created_at"], row["credential_id"]) for row in listed] == sorted(
        (row["created_at"], row["credential_id"]) for row in inspected
    )


def test_KEY_03_everybodys_credentials_are_not_listed_without_their_integrity(
    sam: Sam, credential: Credential
) -> None:
    for handlers in (public_handlers(sam), admin_handlers(sam)):
        with pytest.raises(errors.NotPermitted):
            handlers["list_credentials"]({"owner": ""})


@pytest.mark.parametrize(
    ("change", "integrity", "shown"),
    [
        ({"owner": "mallory"}, "row_integrity", "mallory"),
        ({"status": "deleted"}, "row_integrity", "alice"),
        ({"certificates": "junk"}, UNREADABLE, None),
        ({"subject": "{}"}, UNREADABLE, None),
        ({"wrapped_key": None}, "row_integrity", "alice"),
        ({"multisign": "many"}, "row_integrity", "alice"),
    ],
)
def test_KEY_03_one_altered_row_is_shown_as_what_it_is_and_hides_no_other(
    world: World, sam: Sam, credential: Credential, change: dict[str, Any], integrity: str, shown: str | None
) -> None:
    bad = world.credential()
    with world.engine.begin() as connection:
        connection.execute(update(credentials).where(credentials.c.id == bad.id).values(**change))
    found = {row["credential_id"]: row for row in pages(admin_handlers(sam)["inspect_credentials"], {})}
    assert {name: row["integrity"] for name, row in found.items()} == {credential.id: "ok", bad.id: integrity}
    assert found[bad.id]["owner"] == shown
    assert found[bad.id].keys() == found[credential.id].keys()


def test_KEY_03_a_column_of_another_type_makes_a_row_unreadable_and_hides_no_other(
    world: World, sam: Sam, credential: Credential
) -> None:
    bad = world.credential()
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE credentials SET owner = X'00ff' WHERE id = :id"), {"id": bad.id})
    found = {row["credential_id"]: row for row in pages(admin_handlers(sam)["inspect_credentials"], {})}
    assert found[credential.id]["integrity"] == "ok"
    assert found[bad.id]["integrity"] in {UNREADABLE, "row_integrity"}


def test_ping_tells_that_no_worker_is_ready(sam: Sam) -> None:
    with pytest.raises(errors.ScdevUnavailable):
        public_handlers(replace(sam, device_available=lambda: False))["ping"]({})


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("ping", {"more": 1}),
        ("credential", {}),
        ("credential", {"credential_id": 1}),
        ("credential", {"credential_id": "a\x00b"}),
        ("credential", {"credential_id": "\ud800"}),
        ("credential", {"credential_id": "x" * 129}),
        ("credential", {"credential_id": "a b"}),
        ("list_credentials", {"owner": "alice", "after": ""}),
        ("list_credentials", {"owner": "alice", "after": 1}),
        ("list_credentials", {}),
        ("list_credentials", {"owner": "x" * 256}),
        ("sign", {}),
        ("create_credential", {"order": ""}),
        ("link_certificate", {"credential_id": "x"}),
        ("link_certificate", {"credential_id": "x", "chain": ["AQ"], "more": 1}),
        ("link_certificate", {"credential_id": "a\x00b", "chain": ["AQ"]}),
        ("execute_order", {"order": "x" * 24_577}),
    ],
)
def test_a_request_of_another_form_is_refused(sam: Sam, operation: str, body: dict[str, Any]) -> None:
    with pytest.raises(MessageInvalid):
        public_handlers(sam)[operation](body)


@pytest.mark.parametrize(("profile", "scal", "multisign"), [("standard", "2", 100), ("scal1", "1", 3)])
def test_a_view_says_at_which_level_the_credential_is(world: World, profile: str, scal: str, multisign: int) -> None:
    shown = view(world.credential(profile=profile))
    assert (shown.scal, shown.multisign) == (scal, multisign)


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

    def open_device(_closing: Callable[[], bool]) -> Pkcs11Device:
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


def test_a_chain_that_cannot_be_read_or_is_not_whole_gets_no_checkpoint_and_ends_nothing(
    world: World, sam: Sam, caplog: pytest.LogCaptureFixture
) -> None:
    world.credential()
    assert sam.checkpoints.make() is not None
    world.credential()
    for change in ("fields = '{}'", "previous = x'00'", "previous = 'none'"):
        with world.engine.begin() as connection:
            connection.execute(text(f"UPDATE audit_entries SET {change} WHERE sequence = 4"))
        with pytest.raises(errors.StoreUnavailable):
            sam.checkpoints.make()
    assert {record.levelname for record in caplog.records} == {"CRITICAL"}
