"""``privyseal credential``: make credentials, show them, change and end them on orders."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from connectors.errors import ConnectorError
from connectors.ports.pki import PkiError
from contract.order import ORDER_TYPE
from foundation.clock import from_epoch
from foundation.errors import PrivySealError, SettingsError
from foundation.names import distinguished_name
from foundation.settings import load
from signing.enrolment.authority import authority_of
from signing.enrolment.enrol import enrol
from signing.enrolment.errors import StillInUse
from signing.enrolment.retire import revoke_certificate
from signing.link.client import SamClient
from signing.link.endpoint import open_client
from signing.link.errors import LinkError, LinkRefused
from signing.link.messages import CredentialView
from signing.settings import PkiSettings, WebSettings

EXIT_OK: Final = 0
EXIT_USAGE: Final = 2
EXIT_REFUSED: Final = 3
EXIT_UNAVAILABLE: Final = 4
_MAX_ORDER: Final = 24 * 1024

_EPILOG: Final = """exit codes:
  0  done
  2  the command line, the settings or the order's file cannot be used
  3  the activation module or the authority refused
  4  the activation module or the authority does not answer
"""


def main(argv: Sequence[str]) -> int:
    """Run the command; see ``--help`` for the exit codes."""
    arguments = _parser().parse_args(argv)
    try:
        settings = load(WebSettings, arguments.config, prefix="WEB")
        with open_client(settings) as sam:
            return _run(arguments, settings, sam)
    except (SettingsError, ConnectorError, OSError) as error:
        return _fail(EXIT_USAGE, str(error))
    except LinkRefused as error:
        return _fail(EXIT_REFUSED, f"the activation module refused: {error}")
    except LinkError as error:
        return _fail(EXIT_UNAVAILABLE, f"the activation module does not answer: {error}")
    except PkiError as error:
        status = EXIT_UNAVAILABLE if error.code == "pki_unavailable" else EXIT_REFUSED
        return _fail(status, f"the certification authority: {error}")
    except StillInUse as error:
        return _fail(EXIT_REFUSED, str(error))
    except PrivySealError as error:
        return _fail(EXIT_USAGE, str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="privyseal credential",
        description="Credentials: a signing key in the HSM with its certificate and its owner.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "create": "carry out an order: key, certificate request, certificate, link",
        "suspend": "carry out an order that suspends a credential",
        "resume": "carry out an order that resumes a suspended credential",
        "revoke": "carry out an order that ends a credential for good, and have its certificate revoked",
        "delete": "carry out an order that deletes a credential and its key, and have its certificate revoked",
        "proof-key": "carry out an order that binds, replaces or removes a key of the signer's device",
    }
    for name, text in helps.items():
        command = _common(commands.add_parser(name, help=text, description=text))
        command.add_argument("--order", type=Path, required=True, help="file with the order, as the idp issued it")
    again = _common(
        commands.add_parser(
            "revoke-certificate",
            help="have the certificate revoked of a credential that has been revoked or deleted",
            description="For what operators revoked or deleted, and where the authority did not answer before.",
        )
    )
    again.add_argument("credential_id")
    linking = _common(
        commands.add_parser(
            "link",
            help="give a pending credential its certificate",
            description="For a key that operators imported: its certificate is there, or was issued by other means.",
        )
    )
    linking.add_argument("credential_id")
    linking.add_argument(
        "--chain", type=Path, required=True, help="PEM: the signer's certificate first, each issued by the next"
    )
    listing = _common(commands.add_parser("list", help="list a person's credentials"))
    listing.add_argument("--owner", required=True, help="account id; `privyseal sam credentials` lists everybody's")
    show = _common(commands.add_parser("show", help="show one credential"))
    show.add_argument("credential_id")
    return parser


def _common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--config", type=Path, required=True, help="settings file of the signing web tier (TOML)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _run(arguments: argparse.Namespace, settings: WebSettings, sam: SamClient) -> int:
    if arguments.command == "list":
        _print([_as_json(view) for view in sam.list_credentials(arguments.owner)], as_json=arguments.json)
        return EXIT_OK
    if arguments.command == "show":
        _print([_as_json(sam.credential(arguments.credential_id))], as_json=arguments.json)
        return EXIT_OK
    if arguments.command == "revoke-certificate":
        view = sam.credential(arguments.credential_id)
        revoke_certificate(view, authority=authority_of(_pki(settings), settings))
        _print([_as_json(view)], as_json=arguments.json)
        return EXIT_OK
    if arguments.command == "link":
        view = sam.link_certificate(arguments.credential_id, _read_chain(arguments.chain))
        _print([_as_json(view)], as_json=arguments.json)
        return EXIT_OK
    order = _read_order(arguments.order)
    view = _carried_out(arguments.command, order, settings, sam)
    _print([_as_json(view)], as_json=arguments.json)
    return EXIT_OK


def _carried_out(command: str, order: str, settings: WebSettings, sam: SamClient) -> CredentialView:
    if command == "create":
        pki = _pki(settings)
        return enrol(order, sam=sam, authority=authority_of(pki, settings), profile=pki.profile)
    if command not in {"revoke", "delete"}:
        return sam.execute_order(order)
    # Before the order, which serves once: without an authority to tell nothing is ended here.
    authority = authority_of(_pki(settings), settings)
    view = sam.execute_order(order)
    try:
        revoke_certificate(view, authority=authority)
    except PkiError:
        print(
            f"the credential is {view.status}; its certificate is not revoked yet:"
            f" `privyseal credential revoke-certificate {view.credential_id}` tries again",
            file=sys.stderr,
        )
        raise
    return view


def _pki(settings: WebSettings) -> PkiSettings:
    if settings.pki is None:
        raise SettingsError(("pki is missing: no certification authority to ask",))
    return settings.pki


def _read_order(path: Path) -> str:
    if path.stat().st_size > _MAX_ORDER:
        raise SettingsError((f"{path}: too large for an order ({ORDER_TYPE})",))
    try:
        return path.read_text("ascii").strip()
    except UnicodeDecodeError as error:
        raise SettingsError((f"{path}: not an order ({ORDER_TYPE})",)) from error


def _read_chain(path: Path) -> tuple[bytes, ...]:
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as error:
        raise SettingsError((f"{path}: not certificates in PEM",)) from error
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)


def _as_json(view: CredentialView) -> dict[str, Any]:
    value: dict[str, Any] = {name: getattr(view, name) for name in CredentialView.__slots__}
    value["schemes"] = list(view.schemes)
    value["created_at"] = from_epoch(view.created_at).isoformat()
    value["certificates"] = len(view.certificates)
    value["proof_keys"] = [key.kid for key in view.proof_keys]
    if view.certificates:
        certificate = x509.load_der_x509_certificate(view.certificates[0])
        value["subject"] = distinguished_name(certificate.subject)
        value["issuer"] = distinguished_name(certificate.issuer)
        value["serial_number"] = f"{certificate.serial_number:X}"
        value["valid_to"] = certificate.not_valid_after_utc.isoformat()
    return value


def _print(credentials: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(credentials, indent=2))
        return
    for credential in credentials:
        print(f"{credential['credential_id']}  {credential['status']}")
        for name, value in credential.items():
            if name not in {"credential_id", "status"} and value is not None:
                print(f"    {name}: {', '.join(value) if isinstance(value, list) else value}")


def _fail(status: int, text: str) -> int:
    print(f"privyseal credential: {text}", file=sys.stderr)
    return status
