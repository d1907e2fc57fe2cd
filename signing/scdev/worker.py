"""The process in which PKCS#11 lives: ``python -m signing.scdev.worker <descriptor>``.

One thread, one login, one session, one operation at a time, over the line whose descriptor is the only argument.  A
call that hangs cannot be cancelled, so everything here may be killed at any moment: nothing but the server's own
keys, and users' keys that stay on the token, outlive the process; all others are session objects, a few of which are
kept for a while.

Requests and answers (fields of a frame, see :mod:`signing.scdev.frames`)::

    open      settings (JSON), digest        -> ready, canary's EC point, canary signature, KEK id, token (JSON)
    sign      profile, scheme, hash, KEK id, mechanism, blob, digest...  -> ok, value...
    generate  profile                        -> ok, blob, KEK id, mechanism, attributes, public part...
    rewrap    profile, KEK id, mechanism, blob                -> ok, blob, KEK id, mechanism
    examine   profile, KEK id, mechanism, blob                -> ok, attributes
    keks                                     -> ok, (KEK id, trusted, for new keys)...
    generate-kept  profile, realm, CKA_ID    -> ok, attributes, public part...
    kept      realm                          -> ok, CKA_ID...
    destroy-kept  realm, CKA_ID              -> ok
    mac       message                        -> ok, tag
    read-data, add-data, remove-data         label[, value] -> ok[, value...]
    canary    digest                         -> ok, signature
    checkpoint-key                           -> ok, the checkpoint key's EC point
    checkpoint  text                         -> ok, signature
    any                                      -> error, kind, text, return code (decimal; 0: none)

``ok-last`` instead of ``ok``: the answer is good, the worker is not; it ends.
"""

from __future__ import annotations

import hashlib
import json
import select
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pkcs11 import Attribute, Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error, UserAlreadyLoggedIn

from auditlog.chain import ORIGIN
from foundation.errors import SecretFileError
from foundation.files import read_secret
from signing.sam.algorithms import KEY_PROFILES
from signing.scdev import data
from signing.scdev.errors import CryptokiError, FrameBroken
from signing.scdev.fitting import ecdsa_der
from signing.scdev.frames import pack, receive
from signing.scdev.hardening import harden_process
from signing.scdev.locking import LockingLibrary, open_library
from signing.scdev.objects import CANARY_LABEL, CHECKPOINT_LABEL, MAC_LABEL
from signing.scdev.refused import Refused, expect, refusal
from signing.scdev.returncodes import ends_worker
from signing.scdev.userkeys import Blob, UserKeys
from signing.scdev.wrapping import KEPT, Keks, candidates, offered_by


class Device:
    """The logged-in token and the handles of the server's keys."""

    def __init__(self, settings: Mapping[str, Any], wanted: Callable[[], None] = lambda: None) -> None:
        """:param wanted: called before the PIN is presented; raises where it need not be.
        :raises Refused: whatever keeps the token from being used.
        """
        self._usable = True
        # Held on to: the library finalises its module when nobody knows it any longer.
        self._library, self._session = _login(settings, wanted)
        try:
            keks = Keks(self._session, require_trusted=bool(settings["require_trusted_kek"]))
            self.kek_id = keks.chosen(settings["kek_id"])
            self._mac_key = self._only(MAC_LABEL, ObjectClass.SECRET_KEY)
            expect(self._mac_key, MAC_LABEL, {**KEPT, Attribute.SIGN: True})
            self._canary_key = self._only(CANARY_LABEL, ObjectClass.PRIVATE_KEY)
            expect(self._canary_key, CANARY_LABEL, {**KEPT, Attribute.SIGN: True})
            self.canary_point = bytes(self._only(CANARY_LABEL, ObjectClass.PUBLIC_KEY)[Attribute.EC_POINT])
            self._checkpoint_key = self._only(CHECKPOINT_LABEL, ObjectClass.PRIVATE_KEY)
            expect(self._checkpoint_key, CHECKPOINT_LABEL, {**KEPT, Attribute.SIGN: True})
            self.checkpoint_point = bytes(self._only(CHECKPOINT_LABEL, ObjectClass.PUBLIC_KEY)[Attribute.EC_POINT])
            self.keys = UserKeys(
                self._session,
                keks,
                self.kek_id,
                (settings["key_cache"], settings["key_cache_seconds"]),
                works=self._works,
                give_up=self.give_up,
            )
            offered = offered_by(self._session.token.slot)
            self.keys.begin(KEY_PROFILES["ec-p256"], candidates(settings["key_wrap"], offered))
        except PKCS11Error as error:
            raise refusal(error, "the server's keys cannot be used", sent=False) from error

    def _only(self, label: str, kind: ObjectClass) -> Any:
        found = list(self._session.get_objects({Attribute.LABEL: label, Attribute.CLASS: kind}))
        if len(found) != 1:
            raise Refused("operation_not_permitted", f"the token holds {len(found)} objects labelled {label}, not one")
        return found[0]

    def token(self) -> dict[str, Any]:
        """Which one it is, for the operator."""
        token = self._session.token
        return {
            "slot": token.slot.slot_id,
            "serial": bytes(token.serial).decode("ascii", "replace").strip(),
            "model": str(token.model).strip(),
        }

    def usable(self) -> bool:
        """Whether another operation may be tried in this process."""
        return self._usable

    def give_up(self) -> None:
        """After this the process ends; its session objects end with it."""
        self._usable = False

    # Operations

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA-256 with the row key."""
        try:
            return bytes(self._mac_key.sign(message, mechanism=Mechanism.SHA256_HMAC))
        except PKCS11Error as error:
            raise refusal(error, "the row MAC", sent=False) from error

    def canary(self, digest: bytes) -> bytes:
        """DER signature of the canary key."""
        try:
            return ecdsa_der(self._canary_key.sign(digest, mechanism=Mechanism.ECDSA))
        except PKCS11Error as error:
            raise refusal(error, "the canary", sent=False) from error

    def checkpoint(self, text: bytes) -> bytes:
        """DER signature over a checkpoint of the audit chain, and over nothing that does not begin as one."""
        digest = hashlib.sha256(ORIGIN.encode() + text).digest()
        try:
            return ecdsa_der(self._checkpoint_key.sign(digest, mechanism=Mechanism.ECDSA))
        except PKCS11Error as error:
            raise refusal(error, "a checkpoint", sent=False) from error

    def data(self, operation: bytes, label: str, values: Sequence[bytes]) -> list[bytes]:
        """Read, add or remove data objects."""
        try:
            if operation == b"read-data":
                return data.read(self._session, label)
            (data.add if operation == b"add-data" else data.remove)(self._session, label, *values)
        except PKCS11Error as error:
            raise refusal(error, "a data object", sent=False) from error
        return []

    # Inside

    def _works(self) -> bool:
        """Tokens answer CKR_GENERAL_ERROR to an altered blob: the canary tells it from a lost device."""
        try:
            self.canary(bytes(32))
        except Refused:
            return False
        return True


def _login(settings: Mapping[str, Any], wanted: Callable[[], None]) -> tuple[LockingLibrary, Any]:
    """Load the module, open the session that stays, log in, once."""
    try:
        pin = read_secret(Path(settings["pin_file"])).decode("utf-8")
    except SecretFileError as error:
        raise Refused("device_unavailable", f"the PIN's file: {error}") from error
    except UnicodeDecodeError:
        # Not chained: that exception carries the octets.
        raise Refused("device_unavailable", "the PIN's file is not text in UTF-8") from None
    try:
        library = open_library(settings["module"], settings.get("parameters"))
        token = library.get_token(token_label=settings["token_label"])
        wanted()
        try:
            return library, token.open(rw=True, user_pin=pin)
        except UserAlreadyLoggedIn:
            # By a module that keeps one login for all of its users.
            return library, token.open(rw=True)
    except CryptokiError as error:
        raise Refused("device_unavailable", str(error), error.rv) from error
    except PKCS11Error as error:
        raise refusal(error, "the token cannot be opened", sent=False) from error


def _answer(device: Device, request: list[bytes]) -> list[bytes]:
    operation, *fields = request
    if operation == b"sign":
        profile, scheme, hash_alg, kek_id, mechanism, octets, *digests = fields
        blob = Blob(KEY_PROFILES[profile.decode()], kek_id.decode(), mechanism.decode(), octets)
        return device.keys.sign(blob, scheme.decode(), hash_alg.decode(), digests)
    if operation == b"generate":
        return device.keys.generate(KEY_PROFILES[fields[0].decode()])
    if operation in {b"rewrap", b"examine", b"keks", b"generate-kept", b"kept", b"destroy-kept"}:
        return _custody(device, operation, fields)
    if operation == b"mac":
        return [device.mac(fields[0])]
    if operation in {b"read-data", b"add-data", b"remove-data"}:
        return device.data(operation, fields[0].decode(), fields[1:])
    if operation == b"checkpoint":
        return [device.checkpoint(fields[0])]
    if operation == b"checkpoint-key":
        return [device.checkpoint_point]
    if operation == b"canary":
        return [device.canary(fields[0])]
    raise Refused("operation_not_permitted", "no such operation")


def _custody(device: Device, operation: bytes, fields: list[bytes]) -> list[bytes]:
    """What is done with keys beside making and using them."""
    if operation in {b"rewrap", b"examine"}:
        profile, kek_id, mechanism, octets = fields
        blob = Blob(KEY_PROFILES[profile.decode()], kek_id.decode(), mechanism.decode(), octets)
        return device.keys.rewrap(blob) if operation == b"rewrap" else device.keys.examine(blob)
    if operation == b"keks":
        return device.keys.keks()
    if operation == b"generate-kept":
        profile, realm, identifier = fields
        return device.keys.generate_kept(KEY_PROFILES[profile.decode()], realm.decode(), identifier)
    if operation == b"kept":
        return device.keys.kept(fields[0].decode())
    device.keys.destroy_kept(fields[0].decode(), fields[1])
    return []


def _error(refused: Refused) -> bytes:
    return pack([b"error", refused.kind.encode(), str(refused).encode(), str(refused.rv).encode()])


def serve(line: socket.socket) -> None:
    """Open the token as the first frame says, then answer until the line is closed or the device is lost."""
    _, settings, digest = receive(line)
    try:
        device = Device(json.loads(settings), lambda: _look_whether_open(line))
        token = json.dumps(device.token()).encode()
        line.sendall(pack([b"ready", device.canary_point, device.canary(digest), device.kek_id.encode(), token]))
    except Refused as refused:
        line.sendall(_error(refused))
        return
    while device.usable():
        _wait(line, device)
        if not device.usable():
            return
        request = receive(line)
        line.sendall(_answer_or_error(device, request))


def _look_whether_open(line: socket.socket) -> None:
    """Whoever took too long to get here was told to end, and another one presents the PIN: once is enough.

    :raises FrameBroken: the line was closed.
    """
    readable, _, _ = select.select([line], [], [], 0)
    if readable and not line.recv(1, socket.MSG_PEEK):
        raise FrameBroken("the line was closed")


def _answer_or_error(device: Device, request: list[bytes]) -> bytes:
    try:
        answer = _answer(device, request)
    except Refused as refused:
        error = refused
    except PKCS11Error as failure:
        # Where nobody looked for one: for all that is known, C_Sign may have been sent.
        error = refusal(failure, "somewhere", sent=request[0] == b"sign")
    else:
        return pack([b"ok" if device.usable() else b"ok-last", *answer])
    if ends_worker(error.kind):
        device.give_up()
    return _error(error)


def _wait(line: socket.socket, device: Device) -> None:
    """Until there is a request; meanwhile keys that nobody asks for are destroyed in their time."""
    while device.usable():
        seconds = device.keys.expire()
        readable, _, _ = select.select([line], [], [], seconds)
        if readable:
            return


def main(arguments: list[str]) -> int:
    """Serve the line until it ends."""
    harden_process()
    try:
        with socket.socket(fileno=int(arguments[1])) as line:
            serve(line)
    except (FrameBroken, ConnectionError):
        # The supervisor has closed the line: that is how a worker is told to end.
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
