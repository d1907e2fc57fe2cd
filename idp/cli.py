"""``privyseal idp``: set up and administer the identity provider.

Exit codes: 0 done; 1 refused or failed; 2 wrong usage or settings; 3 an account or client of that name exists already.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from foundation.clock import Clock, SystemClock, epoch
from foundation.errors import PrivySealError, SettingsError, TokenMalformed
from foundation.files import read_secret, write_secret
from foundation.jose import VerificationKey, parse_json_object
from foundation.settings import load
from idp.authn.password import Passwords
from idp.errors import AlreadyExists, InputRefused, UnknownAccount, UnknownClient
from idp.policy.model import PROOFING
from idp.settings import ACCOUNT_CLIENT_ID, IdpSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_EXISTS: Final = 3

_EXIT_CODES: Final = """exit codes:
  0  done
  1  refused or failed
  2  wrong usage, or settings that cannot be used
  3  an account or client of that name exists already
"""
_ID_OCTETS: Final = 16
_WAIT_HOURS: Final = 72


def main(argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run ``privyseal idp <argv>``; returns the exit code."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        return EXIT_DONE if stop.code in {None, 0} else EXIT_USAGE
    options.clock = clock or SystemClock()
    try:
        settings = load(IdpSettings, options.config, prefix="IDP")
        result: dict[str, Any] = options.run(settings, options)
    except SettingsError as error:
        return _failed(error, EXIT_USAGE)
    except AlreadyExists as error:
        return _failed(error, EXIT_EXISTS)
    except PrivySealError as error:
        return _failed(error, EXIT_FAILED)
    if options.json:
        print(json.dumps(result, indent=2, sort_keys=True))
    else:
        for line in _lines(result):
            print(line)
    return EXIT_DONE


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    """For people: a line a value; of a list of things, a line each."""
    for name, value in result.items():
        if not isinstance(value, list):
            yield f"{name}: {value}"
        elif value and isinstance(value[0], dict):
            yield from ("\t".join(_word(item) for item in thing.values()) for thing in value)
        else:
            yield f"{name}: {_word(value)}"


def _word(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _failed(error: PrivySealError, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="privyseal idp",
        description="set up and administer the identity provider",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, "init", _init, "make tables, keys and the audit chain; harmless when they are there")
    account = commands.add_parser("account", help="people").add_subparsers(required=True, metavar="COMMAND")
    _account_options(_add(account, "create", _create_account, "add a person"))
    for name, status in (("disable", "disabled"), ("enable", "active")):
        command = _add(account, name, _set_status, f"{name} a person's account")
        command.add_argument("--username", required=True)
        command.set_defaults(status=status)
    secret = _add(account, "set-password", _set_password, "bind another password; ends the person's sessions")
    secret.add_argument("--username", required=True)
    secret.add_argument("--password-file", type=Path, required=True, metavar="FILE", help="owner-only file")
    address = _add(account, "set-address", _set_address, "bind another phone or mail address; ends the sessions")
    address.add_argument("--username", required=True)
    either = address.add_mutually_exclusive_group(required=True)
    either.add_argument("--phone", help="E.164 (+34...)")
    either.add_argument("--email")
    address.add_argument(
        "--wait-hours",
        type=int,
        choices=range(721),
        default=_WAIT_HOURS,
        metavar="HOURS",
        help="before the new address counts, so that whoever took the account over has to wait (default: %(default)s)",
    )
    client = commands.add_parser("client", help="relying parties").add_subparsers(required=True, metavar="COMMAND")
    _client_options(_add(client, "create", _create_client, "register a relying party"))
    _add(client, "list", _list_clients, "print all relying parties: id, status, method, name, redirect URIs")
    for name, active in (("disable", False), ("enable", True)):
        command = _add(client, name, _set_client_active, f"{name} a relying party")
        command.add_argument("--client-id", required=True)
        command.set_defaults(active=active)
    renew = _add(client, "renew-secret", _renew_secret, "make a new secret; the former one is refused from now on")
    renew.add_argument("--client-id", required=True)
    renew.add_argument("--secret-file", type=Path, required=True, metavar="FILE", help="new owner-only file")
    renew.add_argument(
        "--revoke", action="store_true", help="revoke all tokens of the client too: when the former secret leaked"
    )
    keys = commands.add_parser("keys", help="signing keys").add_subparsers(required=True, metavar="COMMAND")
    _add(keys, "rotate", _rotate, "make the next token key current, and a new next one")
    export = _add(keys, "export-activation", _export, "write the public key that the SAM's operator pins")
    export.add_argument("--out", type=Path, required=True, metavar="FILE")
    export.add_argument("--format", choices=("pem", "jwk"), default="pem")
    return parser


def _add(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="idp.toml")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=run)
    return command


def _account_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--username", required=True)
    command.add_argument("--name", required=True, help="as a certificate's common name is to read")
    command.add_argument("--given-name")
    command.add_argument("--surname")
    command.add_argument("--country", help="two capital letters (ISO 3166-1)")
    command.add_argument("--serial-number", help="identifier for the certificate (ETSI EN 319 412-1 5.1.3)")
    command.add_argument("--locale")
    command.add_argument("--phone", help="for codes by text message, E.164 (+34...)")
    command.add_argument("--email", help="for codes by e-mail")
    command.add_argument(
        "--proofing", choices=PROOFING, default="none", help="how well the person was identified (default: %(default)s)"
    )
    command.add_argument("--group", action="append", default=[], help="may be repeated")
    command.add_argument("--password-file", type=Path, required=True, metavar="FILE", help="owner-only file")


def _client_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--client-id", required=True)
    command.add_argument("--name", required=True, help="shown to the person whose signature is asked for")
    command.add_argument(
        "--auth-method",
        choices=("client_secret_basic", "client_secret_post", "private_key_jwt", "none"),
        default="client_secret_basic",
    )
    command.add_argument("--redirect-uri", action="append", default=[], metavar="URI", help="may be repeated")
    command.add_argument("--post-logout-redirect-uri", action="append", default=[], metavar="URI")
    command.add_argument("--scope", action="append", metavar="SCOPE", help="openid, service, credential; repeat")
    command.add_argument("--grant-type", action="append", metavar="GRANT")
    command.add_argument("--resource", action="append", default=[], metavar="URI", help="audiences besides the CSC API")
    command.add_argument("--introspects", action="append", default=[], metavar="AUDIENCE", help="a resource server's")
    command.add_argument("--jwks-file", type=Path, metavar="FILE", help="public keys for private_key_jwt")
    command.add_argument("--require-par", action="store_true", help="every request must be pushed (RFC 9126)")
    command.add_argument("--plain-intents", action="store_true", help="signatures may be asked for without PAR")
    command.add_argument("--without-digests", action="store_true", help="signatures over digests not stated (SCAL1)")
    command.add_argument("--secret-file", type=Path, metavar="FILE", help="new owner-only file for the client's secret")


# Commands


def _init(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.app import open_database
    from idp.policy.load import load_policy
    from idp.storage.audit import DatabaseAudit
    from idp.storage.engine import create_tables
    from idp.storage.keys import create_keys

    policy = load_policy(settings.policy_file)
    engine = open_database(settings)
    audit = DatabaseAudit(options.clock)
    create_tables(engine)
    now = options.clock.now()
    made = create_keys(engine, settings.key_dir, now=now, random=secrets.token_bytes(32))
    with engine.begin() as connection:
        audit.initialise(connection)
        if made:
            audit.record(connection, "keys.initialised", keys=list(made))
    engine.dispose()
    return {"keys": list(made) or ["none new"], "policy": policy.name, "policy_sha256": policy.sha256}


def _create_account(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.app import open_database
    from idp.storage import accounts, authenticators
    from idp.storage.audit import DatabaseAudit
    from idp.storage.engine import check_schema
    from idp.storage.keys import KeyStore
    from idp.storage.seal import Sealer

    encoded = Passwords(settings.password).hash(_text(options.password_file))
    new = accounts.NewAccount(
        username=options.username,
        name=options.name,
        given_name=options.given_name,
        surname=options.surname,
        country=options.country,
        serial_number=options.serial_number,
        locale=options.locale,
        proofing=options.proofing,
        groups=tuple(options.group),
    )
    engine = open_database(settings)
    check_schema(engine)
    seals = Sealer(KeyStore(engine, settings.key_dir).secret)
    now = options.clock.now()
    with engine.begin() as connection:
        account = accounts.create(connection, _new_id(), new, now)
        added = []
        for kind, address, secret in (
            ("password", None, encoded),
            ("sms_otp", options.phone, None),
            ("email_otp", options.email, None),
        ):
            if address is not None or secret is not None:
                authenticators.add(
                    connection,
                    seals,
                    authenticator_id=_new_id(),
                    account_id=account.id,
                    kind=kind,
                    now=now,
                    address=address,
                    secret_hash=secret,
                )
                added.append(kind)
        DatabaseAudit(options.clock).record(
            connection, "account.created", account_id=account.id, proofing=account.proofing, authenticators=added
        )
    engine.dispose()
    return {"account_id": account.id, "username": account.username, "authenticators": added}


def _set_password(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    encoded = Passwords(settings.password).hash(_text(options.password_file))
    return _replace(settings, options, "password", secret_hash=encoded)


def _set_address(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    kind = "sms_otp" if options.phone is not None else "email_otp"
    return _replace(settings, options, kind, address=options.phone or options.email, wait_hours=options.wait_hours)


def _replace(
    settings: IdpSettings,
    options: argparse.Namespace,
    kind: str,
    *,
    address: str | None = None,
    secret_hash: str | None = None,
    wait_hours: int = 0,
) -> dict[str, Any]:
    from idp.app import open_database
    from idp.storage import accounts, authenticators, sessions
    from idp.storage.audit import DatabaseAudit
    from idp.storage.engine import check_schema
    from idp.storage.keys import KeyStore
    from idp.storage.seal import Sealer

    engine = open_database(settings)
    check_schema(engine)
    seals = Sealer(KeyStore(engine, settings.key_dir).secret)
    now = options.clock.now()
    not_before = now + timedelta(hours=wait_hours)
    authenticator_id = _new_id()
    with engine.begin() as connection:
        account = accounts.find_by_username(connection, options.username)
        if account is None:
            raise UnknownAccount("there is no account of that user name")
        authenticators.replace(
            connection,
            seals,
            authenticator_id=authenticator_id,
            account_id=account.id,
            kind=kind,
            now=now,
            address=address,
            secret_hash=secret_hash,
            not_before=not_before,
        )
        ended = sessions.revoke_all(connection, account.id, now)
        DatabaseAudit(options.clock).record(
            connection,
            "authenticator.replaced",
            account_id=account.id,
            factor=kind,
            authenticator_id=authenticator_id,
            not_before=epoch(not_before),
            sessions_ended=ended,
        )
    engine.dispose()
    return {"account_id": account.id, "factor": kind, "not_before": not_before.isoformat(), "sessions_ended": ended}


def _set_status(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.app import open_database
    from idp.storage import accounts, sessions
    from idp.storage.audit import DatabaseAudit
    from idp.storage.engine import check_schema

    engine = open_database(settings)
    check_schema(engine)
    with engine.begin() as connection:
        account = accounts.find_by_username(connection, options.username)
        if account is None:
            raise UnknownAccount("there is no account of that user name")
        disabled = options.status == "disabled"
        ended = sessions.revoke_all(connection, account.id, options.clock.now()) if disabled else 0
        accounts.set_status(connection, account.id, options.status)
        DatabaseAudit(options.clock).record(
            connection, "account.status_changed", account_id=account.id, status=options.status, sessions_ended=ended
        )
    engine.dispose()
    return {"account_id": account.id, "status": options.status}


def _create_client(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.app import open_database
    from idp.oidc.client import Registration
    from idp.storage import clients
    from idp.storage.audit import DatabaseAudit
    from idp.storage.engine import check_schema

    registration = Registration(
        client_id=options.client_id,
        name=options.name,
        auth_method=options.auth_method,
        redirect_uris=tuple(options.redirect_uri),
        post_logout_redirect_uris=tuple(options.post_logout_redirect_uri),
        scopes=tuple(options.scope or ("openid", "service")),
        grant_types=tuple(options.grant_type or ("authorization_code", "refresh_token")),
        resources=tuple(options.resource),
        jwks=_keys(options.jwks_file),
        introspects=tuple(options.introspects),
        require_par=options.require_par,
        plain_intents=options.plain_intents,
        without_digests=options.without_digests,
    )
    if settings.production and registration.plain_uris:
        raise InputRefused("mode is production: redirect URIs must be https, or a code would travel in clear")
    if options.client_id == ACCOUNT_CLIENT_ID:
        raise InputRefused(f"{ACCOUNT_CLIENT_ID} names the account pages")
    needs_secret = options.auth_method in {"client_secret_basic", "client_secret_post"}
    if needs_secret != (options.secret_file is not None):
        raise InputRefused("--secret-file goes with client_secret_basic and client_secret_post, and only with them")
    engine = open_database(settings)
    check_schema(engine)
    with engine.begin() as connection:
        client, secret = clients.create(connection, registration, options.clock.now(), secrets.token_bytes)
        if secret is not None:
            # Within the transaction: without the file, there is no client either.
            write_secret(options.secret_file, secret.encode())
        DatabaseAudit(options.clock).record(
            connection,
            "client.created",
            client_id=client.client_id,
            auth_method=options.auth_method,
            scopes=list(registration.scopes),
            grant_types=list(registration.grant_types),
            redirect_uris=list(registration.redirect_uris),
            introspects=list(registration.introspects),
        )
    engine.dispose()
    return {"client_id": client.client_id, "secret_file": str(options.secret_file or "")}


def _list_clients(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.app import open_database
    from idp.storage import clients
    from idp.storage.engine import check_schema, reading

    engine = open_database(settings)
    check_schema(engine)
    with reading(engine) as connection:
        known = clients.everyone(connection)
    engine.dispose()
    return {
        "clients": [
            {
                "client_id": client.client_id,
                "status": "active" if client.active else "disabled",
                "auth_method": client.registration.auth_method,
                "name": client.name,
                "redirect_uris": list(client.registration.redirect_uris),
            }
            for client in known
        ]
    }


def _set_client_active(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import clients

    def change(connection: Connection) -> None:
        if not clients.set_active(connection, options.client_id, active=options.active):
            raise UnknownClient("there is no client of that id")

    # What was given out before does not come back to life when the client does.
    name = "enabled" if options.active else "disabled"
    return _change_client(settings, options, name, change, revoke=not options.active)


def _renew_secret(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import clients

    def change(connection: Connection) -> None:
        secret = clients.renew_secret(connection, options.client_id, secrets.token_bytes)
        if secret is None:
            raise UnknownClient("there is no client of that id with a secret")
        # Within the transaction: without the file, the former secret stays good.
        write_secret(options.secret_file, secret.encode())

    made = _change_client(settings, options, "secret_renewed", change, revoke=options.revoke)
    return {**made, "secret_file": str(options.secret_file)}


def _change_client(
    settings: IdpSettings,
    options: argparse.Namespace,
    name: str,
    change: Callable[[Connection], None],
    *,
    revoke: bool,
) -> dict[str, Any]:
    from idp.app import open_database
    from idp.storage import grants
    from idp.storage.audit import DatabaseAudit
    from idp.storage.engine import check_schema

    engine = open_database(settings)
    check_schema(engine)
    with engine.begin() as connection:
        change(connection)
        revoked = grants.revoke_client(connection, options.client_id, options.clock.now()) if revoke else 0
        DatabaseAudit(options.clock).record(
            connection, "client.changed", client_id=options.client_id, change=name, grants_revoked=revoked
        )
    engine.dispose()
    return {"client_id": options.client_id, "change": name, "grants_revoked": revoked}


def _rotate(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.app import open_database
    from idp.storage.audit import DatabaseAudit
    from idp.storage.engine import check_schema
    from idp.storage.keys import rotate_token_keys

    engine = open_database(settings)
    check_schema(engine)
    kid = rotate_token_keys(engine, settings.key_dir, now=options.clock.now())
    with engine.begin() as connection:
        DatabaseAudit(options.clock).record(connection, "keys.rotated", kid=kid)
    engine.dispose()
    return {"kid": kid}


def _export(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.app import open_database
    from idp.storage.keys import KeyStore

    engine = open_database(settings)
    key = KeyStore(engine, settings.key_dir).activation_key().verification_key()
    engine.dispose()
    options.out.write_bytes(_public(key, options.format))
    return {"kid": key.kid, "algorithm": key.algorithm, "out": str(options.out)}


def _public(key: VerificationKey, form: str) -> bytes:
    if form == "jwk":
        return (json.dumps(key.as_jwk(), indent=2, sort_keys=True) + "\n").encode()
    return key.key.as_pem(private=False)


def _keys(path: Path | None) -> tuple[dict[str, Any], ...]:
    if path is None:
        return ()
    try:
        value = parse_json_object(path.read_bytes())
        return tuple(dict(key) for key in value.get("keys", [value]))
    except (OSError, TokenMalformed, ValueError, TypeError) as error:
        raise InputRefused(f"{path}: not a JWK or a set of them") from error


def _text(path: Path) -> str:
    try:
        return read_secret(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputRefused(f"{path}: not UTF-8") from error


def _new_id() -> str:
    return secrets.token_hex(_ID_OCTETS)
