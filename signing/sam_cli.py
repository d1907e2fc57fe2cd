"""`privyseal sam`: prepare, run and look into the signature activation module."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from auditlog import cli as audit
from auditlog.errors import AuditError
from contract.errors import OperationInvalid
from contract.operation import MAX_OPERATION_OCTETS, operator_key_from, peek
from foundation import log
from foundation.clock import SystemClock
from foundation.files import read_secret, write_secret
from foundation.jose import VerificationKey, decode_base64url
from foundation.settings import load
from foundation.termination import Termination
from signing import sam_kek
from signing.link.client import SamClient
from signing.link.errors import LinkError, LinkRefused
from signing.sam.anchor import MAX_OPERATORS
from signing.sam.errors import SamError, StateRefused
from signing.sam.operators import LEFT, RESTORE
from signing.sam.reconcile import reconcile
from signing.sam.rollback import OK, RollbackAnchor
from signing.sam_app.evidence import evidence
from signing.sam_app.parts import build, open_store
from signing.sam_app.process import SamProcess
from signing.sam_app.standby import StandbyDevice
from signing.sam_settings import DeviceTable, SamSettings
from signing.scdev.device import Pkcs11Device
from signing.scdev.errors import TokenKeysExist
from signing.scdev.settings import DeviceSettings
from signing.scdev.token import create_server_keys, init_token, token_exists

PREFIX: Final = "SAM"
_PIN_OCTETS: Final = 16
"""128 bits: the PIN is read from a file by a process, never typed."""


def main(argv: Sequence[str]) -> int:
    """Run `privyseal sam ARGV`; 0 = done, 1 = not, 2 = wrong usage."""
    arguments = _parser().parse_args(argv)
    # What the module writes is nobody else's business; the sockets' modes are set apart.
    os.umask(0o077)
    # Absolute, since the device's processes have a working directory of their own.
    settings = load(SamSettings, arguments.config.absolute(), prefix=PREFIX)
    done: int = arguments.run(settings, arguments)
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="privyseal sam", description="the signature activation module")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("init", _init, "initialise token, server keys and tables; does nothing twice"),
        ("serve", _serve, "run the module"),
        ("status", _status, "what the running module says of itself"),
        ("credentials", _credentials, "everybody's credentials, with the integrity of their rows"),
        ("reconcile", _reconcile, "close overdue reservations as indeterminate, now"),
        ("checkpoint", _checkpoint, "verify the audit chain, then print where it ends; keep it outside the database"),
        ("checkpoint-key", _checkpoint_key, "the public key that signed checkpoints are verified with, PEM"),
        ("evidence", _evidence, "the module's part of a signature's evidence, as JSON"),
        ("execute", _execute, "carry out an operation that operators signed"),
        ("restore", _restore, "carry out ledger.restore, signed by two operators: all issued until now is refused"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        _with_config(command)
        if run in {_status, _credentials, _execute, _restore}:
            command.add_argument("--json", action="store_true", help="print JSON")
        if run in {_execute, _restore}:
            command.add_argument(
                "--operation", type=Path, required=True, metavar="FILE", help="from `privyseal operator sign`, `cosign`"
            )
        if run is _evidence:
            command.add_argument("txn", metavar="TXN", help="the approval's transaction")
            command.add_argument("--anchors", type=Path, metavar="FILE", help="of the anchor process, for a time-stamp")
        if run is _checkpoint:
            command.add_argument("--signed", action="store_true", help="have the running module sign where it ends")
        if run is _init:
            command.add_argument(
                "--operator", type=Path, action="append", default=[], metavar="FILE",
                help="an operator's public key, JWK or PEM; twice or more in production",
            )  # fmt: skip
        command.set_defaults(run=run)
    sam_kek.add_commands(commands, _with_config)
    return parser


def _with_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="sam.toml")


def _init(settings: SamSettings, arguments: argparse.Namespace) -> int:
    table, operators = settings.device, _operators(arguments.operator)
    if settings.mode == "production" and len(operators) < LEFT:
        raise StateRefused(f"production needs --operator {LEFT} times or more: what weakens something takes two")
    for path in (table.so_pin(), table.pin_file):
        if not path.exists():
            write_secret(path, secrets.token_hex(_PIN_OCTETS).encode())
    so_pin, pin = read_secret(table.so_pin()), read_secret(table.pin_file)
    if token_exists(table.module, table.token_label, environment=table.environment):
        print(f"token {table.token_label!r}: there")
    else:
        init_token(table.module, table.token_label, so_pin, pin, environment=table.environment)
        print(f"token {table.token_label!r}: initialised")
    try:
        keys = create_server_keys(
            table.module,
            table.token_label,
            so_pin,
            pin,
            table.environment,
            trusted=table.require_trusted_kek,
            rewraps=table.kek_rewraps,
        )
        print(f"server keys: created, with KEK {keys.kek_id}")
    except TokenKeysExist:
        print("server keys: there")
    store, clock = open_store(settings), SystemClock()
    store.initialise(settings.realm, clock.now())
    print("database: ready")
    with Pkcs11Device(device_settings(table)) as device:
        made = RollbackAnchor(device, store, settings.realm, clock=clock).establish(operators)
    print(f"anchor: written, with {len(operators)} operators" if made else "anchor: there; --operator changes nothing")
    return 0


def _operators(paths: Sequence[Path]) -> tuple[VerificationKey, ...]:
    """:raises StateRefused: a file holds no operator's public key, or two hold the same."""
    found: dict[str, VerificationKey] = {}
    for path in paths:
        try:
            key = operator_key_from(path.read_bytes())
        except (OSError, OperationInvalid) as error:
            raise StateRefused(f"{path}: not an operator's public key") from error
        if key.kid in found:
            raise StateRefused(f"{path}: the same key as another operator's")
        found[key.kid] = key
    if len(found) > MAX_OPERATORS:
        raise StateRefused(f"there are {MAX_OPERATORS} operators at most")
    return tuple(found.values())


def _serve(settings: SamSettings, _arguments: argparse.Namespace) -> int:
    log.configure("sam", settings.log_level)
    stop, table = Termination(), device_settings(settings.device)
    device = StandbyDevice(lambda closing: Pkcs11Device(table, lambda: closing() or stop.is_set()))
    try:
        if stop.is_set():
            # Its start into the chain would be of a module that serves nobody.
            return 0
        process = SamProcess(build(settings, device, device_available=device.available, device_report=device.report))
        process.start()
        try:
            print(f"ready {settings.socket}", flush=True)
            stop.wait()
        finally:
            # Also where nobody reads what it says: its threads would serve on, and hold up the process's end for ever.
            process.stop()
    finally:
        device.close()
    return 0


def device_settings(table: DeviceTable) -> DeviceSettings:
    """The device's table as the device wants it."""
    return DeviceSettings(
        module=table.module,
        token_label=table.token_label,
        pin_file=table.pin_file,
        workers=table.workers,
        deadline_seconds=table.deadline_seconds,
        environment=dict(table.environment),
        kek_id=table.kek_id,
        key_wrap=table.key_wrap,
        key_cache=table.key_cache,
        key_cache_seconds=table.key_cache_seconds,
        require_trusted_kek=table.require_trusted_kek,
    )


def _status(settings: SamSettings, arguments: argparse.Namespace) -> int:
    with SamClient(settings.admin_socket) as client:
        try:
            status = client.call("status", {})
        except LinkError as error:
            return _failed(error)
    if arguments.json:
        print(json.dumps(status, sort_keys=True))
    for name, value in [] if arguments.json else _lines(status):
        print(f"{name}: {value}")
    signs = status["device_available"] and status["anchor"] == OK and status["reconciler_running"]
    return 0 if signs else 1


def _lines(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Members of an object by dotted names; a worker a line."""
    for name, value in sorted(table.items()):
        if isinstance(value, dict) and value:
            yield from _lines(value, f"{prefix}{name}.")
        elif name == "processes":
            for each in value:
                yield f"{prefix}worker", " ".join(f"{key}={item}" for key, item in sorted(each.items()))
        else:
            yield f"{prefix}{name}", "none" if value in (None, {}) else value


def _credentials(settings: SamSettings, arguments: argparse.Namespace) -> int:
    with SamClient(settings.admin_socket, timeout_seconds=60) as client:
        try:
            rows = list(client.pages("inspect_credentials", {}))
        except LinkError as error:
            return _failed(error)
    if arguments.json:
        print(json.dumps(rows, sort_keys=True))
    for row in [] if arguments.json else rows:
        print(*(row[name] or "-" for name in ("credential_id", "owner", "status", "profile", "integrity")), sep="\t")
    return 0 if all(row["integrity"] == "ok" for row in rows) else 1


def _reconcile(settings: SamSettings, _arguments: argparse.Namespace) -> int:
    closed = reconcile(open_store(settings), SystemClock(), settings.reservation_deadline_seconds)
    print(f"closed as indeterminate: {closed}")
    return 0


def _checkpoint(settings: SamSettings, arguments: argparse.Namespace) -> int:
    if arguments.signed:
        return _asked(settings, "checkpoint", "note")
    # A checkpoint of a chain that does not verify would vouch for whatever was done to it.
    if settings.database_url_file is not None:
        return audit.main(["checkpoint", "--database-url-file", str(settings.database_url_file)])
    return audit.main(["checkpoint", "--database-url", settings.database_url or ""])


def _evidence(settings: SamSettings, arguments: argparse.Namespace) -> int:
    def checkpoint() -> str | None:
        with SamClient(settings.admin_socket, timeout_seconds=60) as client:
            note: str | None = client.call("checkpoint", {})["note"]
            return note

    try:
        made = evidence(open_store(settings), arguments.txn, arguments.anchors, checkpoint)
    except LinkError as error:
        return _failed(error)
    except (SamError, AuditError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(made, sort_keys=True))
    return 0


def _checkpoint_key(settings: SamSettings, _arguments: argparse.Namespace) -> int:
    return _asked(settings, "checkpoint_key", "pem")


def _asked(settings: SamSettings, operation: str, member: str) -> int:
    """Print a text that the running module gives."""
    with SamClient(settings.admin_socket, timeout_seconds=60) as client:
        try:
            sys.stdout.write(client.call(operation, {})[member] or "")
        except LinkError as error:
            return _failed(error)
    return 0


def _execute(settings: SamSettings, arguments: argparse.Namespace) -> int:
    with arguments.operation.open("rb") as handle:
        bundle = handle.read(MAX_OPERATION_OCTETS + 1).decode("ascii", "replace").strip()
    with SamClient(settings.admin_socket, timeout_seconds=60) as client:
        try:
            done = client.call("execute_operation", {"operation": bundle})
        except LinkError as error:
            return _failed(error)
    if arguments.json:
        print(json.dumps(done, sort_keys=True))
        return 0
    print(f"done: {done['operation']}, signed by {', '.join(done['signers'])}")
    if done["credential"] is not None:
        print(f"{done['credential']['credential_id']}: {done['credential']['status']}")
    if done["pkcs10"] is not None:
        request = x509.load_der_x509_csr(decode_base64url(done["pkcs10"].encode()))
        print(request.public_bytes(Encoding.PEM).decode(), end="")
    if done["epoch"] is not None:
        print(f"epoch {done['epoch']}: SADs and orders issued until now are refused")
    return 0


def _restore(settings: SamSettings, arguments: argparse.Namespace) -> int:
    with arguments.operation.open("rb") as handle:
        found = peek(handle.read(MAX_OPERATION_OCTETS + 1).decode("ascii", "replace").strip())
    if found.operation != RESTORE:
        print(f"error: the operation is {found.operation}, not {RESTORE}", file=sys.stderr)
        return 1
    return _execute(settings, arguments)


def _failed(error: LinkError) -> int:
    text = error.detail if isinstance(error, LinkRefused) else "the module does not answer; is it running?"
    print(f"error: {text}", file=sys.stderr)
    return 1
