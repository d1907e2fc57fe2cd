"""``privyseal policy approve``: an operator approves a policy with a key of their own.

Runs wherever the operator is, which need not be the server.  What is signed is the hash of the policy, the hash of its
cases and whose policy it is; the server takes the file that comes out only beside those very files.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from contract.errors import OperationInvalid
from contract.operation import Operation, add_signature, check_time, operator_key, peek, sign
from foundation.clock import epoch, from_epoch
from foundation.errors import JoseError, SecretFileError
from foundation.files import read_secret
from foundation.jose import SigningKey, import_signing_key
from idp.cli.policy.common import EXIT_DENY, EXIT_FOUND, EXIT_OK, EXIT_UNUSABLE, Usage, add, faults_json, replace_file
from idp.policy.approval import MAX_DAYS, approval_beside, operation, same_approval
from idp.policy.cases import cases_beside
from idp.policy.errors import PolicyLoadError, PolicyRejected
from idp.policy.load import read_file
from idp.policy.prepare import Prepared, prepare

_DAY: Final = 24 * 60 * 60
_DEFAULT_DAYS: Final = 7
_READABLE: Final = 0o644


def add_command(commands: Any) -> None:
    """Add ``approve``."""
    command = add(
        commands,
        "approve",
        "approve a policy with an operator's key",
        description="Check a policy as a server would, show what it is, and sign it. If another operator approved "
        "these very files, the signature is added to theirs. Only servers whose settings ask for approval look at it.",
    )
    command.add_argument("file", type=Path, metavar="FILE", help="the policy")
    command.add_argument("--issuer", required=True, metavar="URL", help="whose policy it is: issuer of idp.toml")
    command.add_argument("--key", type=Path, required=True, metavar="FILE", help="the operator's private key")
    command.add_argument("--passphrase-file", type=Path, metavar="FILE", help="owner-only file with its passphrase")
    command.add_argument("--cases", type=Path, metavar="FILE", help="the cases (default: NAME.test.yaml beside it)")
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="the approval (default: NAME.approval.json beside it)"
    )
    command.add_argument(
        "--days",
        type=int,
        default=_DEFAULT_DAYS,
        choices=range(1, MAX_DAYS + 1),
        metavar="N",
        help=f"within which it has to be put in force, 1 to {MAX_DAYS} (default: %(default)s)",
    )
    command.add_argument(
        "--again", action="store_true", help="begin a new approval although there is one, to go back to a former policy"
    )
    command.add_argument("--yes", action="store_true", help="sign without asking")
    command.set_defaults(run=_approve)


def _approve(options: argparse.Namespace) -> int:
    try:
        prepared = _prepare(options)
    except PolicyRejected as error:
        if options.json:
            print(json.dumps({"cause": error.cause, "faults": faults_json(error)}, indent=2))
        else:
            print(error, file=sys.stderr)
        return EXIT_UNUSABLE if error.cause in {"faults", "unreadable"} else EXIT_FOUND
    key = _key(options)
    out: Path = options.out or approval_beside(options.file)
    wanted = operation(
        issuer=options.issuer,
        name=prepared.policy.name,
        sha256=prepared.policy.sha256,
        cases_sha256=prepared.cases_sha256,
        jti=secrets.token_urlsafe(18),
        now=epoch(options.clock.now()),
        seconds=options.days * _DAY,
    )
    former = None if options.again else _former(out, wanted, options)
    found = wanted if former is None else peek(former)
    print("\n".join(_words(prepared, found)), file=sys.stderr)
    if not options.yes and not _confirmed():
        print("nothing was signed", file=sys.stderr)
        return EXIT_DENY
    try:
        made = sign(wanted, key) if former is None else add_signature(former, key)
    except OperationInvalid as error:
        raise Usage(f"{out}: {error}") from error
    replace_file(out, f"{made}\n".encode("ascii"), _READABLE)
    _print(peek(made), out, as_json=options.json)
    return EXIT_OK


def _prepare(options: argparse.Namespace) -> Prepared:
    cases: Path = options.cases or cases_beside(options.file)
    try:
        data = read_file(options.file)
        given = read_file(cases) if options.cases is not None or cases.exists() else None
    except PolicyLoadError as error:
        raise PolicyRejected("unreadable", error.faults) from error
    return prepare(data, str(options.file), given, str(cases))


def _former(out: Path, wanted: Operation, options: argparse.Namespace) -> str | None:
    """The approval that is there, if it is of the same files and still good; any other one is replaced."""
    try:
        bundle = out.read_text(encoding="utf-8")
        found = peek(bundle)
        check_time(found, options.clock.now(), MAX_DAYS * _DAY)
    except (OSError, UnicodeDecodeError, OperationInvalid):
        return None
    return bundle if same_approval(found, wanted) else None


def _words(prepared: Prepared, found: Operation) -> Iterator[str]:
    policy, report = prepared.policy, prepared.report
    yield f"policy:  {policy.name} ({policy.file})"
    yield f"content: sha256 {policy.sha256}"
    yield f"cases:   {'none' if report is None else f'{len(report.results)} passed, sha256 {prepared.cases_sha256}'}"
    for finding in prepared.findings:
        yield f"warning: {finding.where.file}:{finding.where.line}: {finding.rule}: {finding.message}"
    # ASCII with escapes: a terminal does nothing that a file tells it to.
    yield f"for:     {json.dumps(found.aud)}"
    yield f"until:   {from_epoch(found.exp).isoformat()}"
    for signer in found.signers:
        yield f"signer:  {json.dumps(signer)} (by its own word)"


def _key(options: argparse.Namespace) -> SigningKey:
    try:
        data = read_secret(options.key)
        passphrase = None if options.passphrase_file is None else read_secret(options.passphrase_file)
    except SecretFileError as error:
        raise Usage(str(error)) from error
    try:
        private = load_pem_private_key(data, passphrase)
        key = import_signing_key(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        operator_key(key.verification_key().as_jwk())
    except (ValueError, TypeError, JoseError, OperationInvalid):
        # Not chained: what the library says may come from the key.
        raise Usage(f"{options.key}: no operator's key, or the passphrase does not open it") from None
    return key


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise Usage("nobody can be asked here: say --yes")
    print("Approve this? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _print(found: Operation, out: Path, *, as_json: bool) -> None:
    if not as_json:
        print(f"approved by {len(found.signers)}: {', '.join(found.signers)}\nwritten to {out}")
        return
    value = {**found.parameters, "issuer": found.aud, "signers": list(found.signers), "expires": found.exp}
    print(json.dumps({**value, "out": str(out)}, indent=2))
