"""``privyseal operator``: an operator's key, and the operations that operators sign.

Runs wherever the operator is, which need not be the server: it opens no connection and reads no settings.  What comes
out is a file; who carries the operation out verifies it.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from contract.errors import OperationInvalid
from contract.operation import (
    MAX_OPERATION_OCTETS,
    Operation,
    add_signature,
    operator_key,
    operator_key_from,
    peek,
    sign,
    verify,
)
from foundation.clock import Clock, SystemClock, epoch, from_epoch
from foundation.errors import PrivySealError, TokenMalformed
from foundation.files import read_secret
from foundation.jose import SigningKey, VerificationKey, parse_json_object
from operators.errors import InputUnusable
from operators.keys import load_key, make_key

EXIT_OK: Final = 0
EXIT_NOT_VERIFIED: Final = 1
EXIT_USAGE: Final = 2
EXIT_DECLINED: Final = 3
DEFAULT_SECONDS: Final = 3600
MAX_SECONDS: Final = 86_400
"""A day: time enough for a second operator elsewhere; who carries it out may allow less."""

_EPILOG: Final = """exit codes:
  0  done
  1  `show --operator`: the operation is not signed by these operators
  2  the command line, a key or a file cannot be used
  3  not confirmed; nothing was signed
"""


def main(argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run the command; see ``--help`` for the exit codes."""
    arguments = _parser().parse_args(argv)
    try:
        done: int = arguments.run(arguments, clock or SystemClock())
        return done
    except (PrivySealError, OSError) as error:
        print(f"privyseal operator: {error}", file=sys.stderr)
        return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="privyseal operator",
        description="Operators' keys, and operations signed with them: by one, or by two where it weakens something.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    keygen = _command(commands, "keygen", _keygen, "make an operator's key; prints its public half and thumbprint")
    keygen.add_argument("--out", type=Path, required=True, metavar="FILE", help="new owner-only file for the key")
    keygen.add_argument("--public-out", type=Path, metavar="FILE", help="also write the public JWK here")
    keygen.add_argument("--algorithm", choices=("ES256", "Ed25519"), default="ES256")
    making = _command(commands, "sign", _sign, "make an operation and sign it first")
    making.add_argument("--audience", required=True, help="whom it is for: sam_id of the module, or another service")
    making.add_argument("--operation", required=True, help="its name, such as credential.suspend")
    making.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="a text; repeatable")
    making.add_argument("--parameters", type=Path, metavar="FILE", help="all parameters, as a JSON object")
    making.add_argument("--valid-seconds", type=int, default=DEFAULT_SECONDS, help="until it expires (default 3600)")
    cosigning = _command(commands, "cosign", _cosign, "sign an operation that another operator has signed")
    showing = _command(commands, "show", _show, "show an operation in words")
    showing.add_argument(
        "--operator", type=Path, action="append", default=[], metavar="FILE", help="public key to verify with"
    )
    for signing in (making, cosigning):
        signing.add_argument("--out", type=Path, required=True, metavar="FILE", help="new file for the operation")
        signing.add_argument("--key", type=Path, required=True, metavar="FILE", help="the operator's private key")
        signing.add_argument("--yes", action="store_true", help="sign without asking")
    for keyed in (keygen, making, cosigning):
        keyed.add_argument("--passphrase-file", type=Path, metavar="FILE", help="owner-only file with its passphrase")
    for reading in (cosigning, showing):
        reading.add_argument("file", type=Path, metavar="OPERATION", help="file with the operation")
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=run)
    return command


def _keygen(arguments: argparse.Namespace, _clock: Clock) -> int:
    if arguments.public_out is not None and arguments.public_out.exists():
        raise InputUnusable(f"{arguments.public_out}: exists")
    key = make_key(arguments.out, arguments.algorithm, _passphrase(arguments))
    jwk = operator_key(key.verification_key().as_jwk()).as_jwk()
    if arguments.public_out is not None:
        arguments.public_out.write_text(json.dumps(jwk) + "\n", encoding="ascii")
    if arguments.json:
        print(json.dumps({"thumbprint": key.kid, "jwk": jwk}))
    else:
        print(f"thumbprint: {key.kid}\npublic key: {json.dumps(jwk)}")
    return EXIT_OK


def _sign(arguments: argparse.Namespace, clock: Clock) -> int:
    if not 1 <= arguments.valid_seconds <= MAX_SECONDS:
        raise InputUnusable(f"--valid-seconds must be from 1 to {MAX_SECONDS}")
    now = epoch(clock.now())
    operation = Operation(
        aud=arguments.audience,
        operation=arguments.operation,
        parameters=_parameters(arguments),
        jti=secrets.token_urlsafe(18),
        iat=now,
        exp=now + arguments.valid_seconds,
    )
    key = load_key(arguments.key, _passphrase(arguments))
    return _signed(arguments, operation, key, None)


def _cosign(arguments: argparse.Namespace, _clock: Clock) -> int:
    bundle = _read(arguments.file)
    key = load_key(arguments.key, _passphrase(arguments))
    return _signed(arguments, peek(bundle), key, bundle)


def _signed(arguments: argparse.Namespace, operation: Operation, key: SigningKey, bundle: str | None) -> int:
    """Show what will be signed, ask, sign, write."""
    made = sign(operation, key) if bundle is None else add_signature(bundle, key)
    print("\n".join(describe(operation)), file=sys.stderr)
    if not arguments.yes and not _confirmed():
        print("nothing was signed", file=sys.stderr)
        return EXIT_DECLINED
    with arguments.out.open("x", encoding="ascii") as handle:
        handle.write(made + "\n")
    found = peek(made)
    _print(found, arguments, ("signed by: " + key.kid, f"written to: {arguments.out}"))
    return EXIT_OK


def _show(arguments: argparse.Namespace, _clock: Clock) -> int:
    bundle = _read(arguments.file)
    operation = peek(bundle)
    if not arguments.operator:
        _print(operation, arguments, (*describe(operation), "signatures: not verified; name the keys with --operator"))
        return EXIT_OK
    try:
        verify(bundle, [_public(path) for path in arguments.operator], 1)
    except OperationInvalid as error:
        print(f"privyseal operator: {error}", file=sys.stderr)
        return EXIT_NOT_VERIFIED
    _print(operation, arguments, (*describe(operation), "signatures: verified"), verified=True)
    return EXIT_OK


def describe(operation: Operation) -> tuple[str, ...]:
    """What an operator signs, in words; whatever a parameter holds, it stays on its line and is shown as it is."""
    shown = [f"    {_text(name)} = {_text(value)}" for name, value in operation.parameters.items()]
    return (
        f"operation:  {operation.operation}",
        f"for:        {_text(operation.aud)}",
        "parameters: " + ("none" if not shown else ""),
        *shown,
        *_thumbprint(operation),
        f"issued:     {from_epoch(operation.iat).isoformat()}",
        f"expires:    {from_epoch(operation.exp).isoformat()}",
        f"identifier: {_text(operation.jti)}",
        *(f"signer:     {_text(kid)} (by its own word)" for kid in operation.signers),
    )


def _thumbprint(operation: Operation) -> tuple[str, ...]:
    """Of a key among the parameters: what its holder was told, and can be asked for (ADM-01)."""
    jwk = operation.parameters.get("jwk")
    if not isinstance(jwk, dict):
        return ()
    try:
        return (f"thumbprint: {operator_key(jwk).kid}",)
    except OperationInvalid:
        return ("thumbprint: none, this is no operator's key",)


def _text(value: Any) -> str:
    # ASCII with escapes: a terminal does nothing that a parameter tells it to.
    return json.dumps(value)


def _print(
    operation: Operation, arguments: argparse.Namespace, words: Sequence[str], *, verified: bool | None = None
) -> None:
    if not arguments.json:
        print("\n".join(words))
        return
    names = ("aud", "operation", "parameters", "jti", "iat", "exp")
    value: dict[str, Any] = {name: getattr(operation, name) for name in names}
    value["signers"] = list(operation.signers)
    if verified is not None:
        value["verified"] = verified
    print(json.dumps(value))


def _parameters(arguments: argparse.Namespace) -> Mapping[str, Any]:
    if arguments.parameters is not None and arguments.parameter:
        raise InputUnusable("--parameter and --parameters exclude each other")
    if arguments.parameters is not None:
        return _json_object(arguments.parameters)
    found: dict[str, Any] = {}
    for item in arguments.parameter:
        name, equals, value = item.partition("=")
        if not name or not equals or name in found:
            raise InputUnusable("--parameter takes NAME=VALUE, each name once")
        found[name] = value
    return found


def _json_object(path: Path) -> Mapping[str, Any]:
    try:
        return parse_json_object(_read(path))
    except TokenMalformed as error:
        raise InputUnusable(f"{path}: {error}") from error


def _public(path: Path) -> VerificationKey:
    return operator_key_from(_read(path).encode())


def _read(path: Path) -> str:
    with path.open("rb") as handle:
        data = handle.read(MAX_OPERATION_OCTETS + 1)
    if len(data) > MAX_OPERATION_OCTETS:
        raise InputUnusable(f"{path}: too large")
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise InputUnusable(f"{path}: not ASCII") from error


def _passphrase(arguments: argparse.Namespace) -> bytes | None:
    path: Path | None = arguments.passphrase_file
    return None if path is None else read_secret(path)


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise InputUnusable("nobody can be asked here; look at it with `show`, then say --yes")
    print("Sign this? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
