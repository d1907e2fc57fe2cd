"""``privyseal idp client``: relying parties."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.clock import epoch
from foundation.errors import TokenMalformed
from foundation.files import write_secret
from foundation.jose import parse_json_object
from idp.cli.common import add, database, group, transaction
from idp.errors import InputRefused, UnknownClient
from idp.settings import ACCOUNT_CLIENT_ID, ADMIN_CLIENT_ID, IdpSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection


def add_commands(commands: Any) -> None:
    """Add ``client ...``."""
    client = group(commands, "client", "relying parties")
    _client_options(add(client, "create", _create_client, "register a relying party"))
    add(client, "list", _list_clients, "print all relying parties: id, status, method, name, URIs")
    add(client, "logouts", _logouts, "print which relying parties were told of ended sessions, and which were not")
    for name, active in (("disable", False), ("enable", True)):
        command = add(client, name, _set_client_active, f"{name} a relying party")
        command.add_argument("--client-id", required=True)
        command.set_defaults(active=active)
    renew = add(client, "renew-secret", _renew_secret, "make a new secret; the former one is refused from now on")
    renew.add_argument("--client-id", required=True)
    renew.add_argument("--secret-file", type=Path, required=True, metavar="FILE", help="new owner-only file")
    renew.add_argument(
        "--revoke", action="store_true", help="revoke all tokens of the client too: when the former secret leaked"
    )


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
    command.add_argument("--backchannel-logout-uri", metavar="URI", help="told there that sessions have ended")
    command.add_argument("--backchannel-logout-session-required", action="store_true", help="it wants sid in that")
    command.add_argument("--scope", action="append", metavar="SCOPE", help="openid, service, credential, ...; repeat")
    command.add_argument("--grant-type", action="append", metavar="GRANT")
    command.add_argument("--resource", action="append", default=[], metavar="URI", help="audiences besides the CSC API")
    command.add_argument("--introspects", action="append", default=[], metavar="AUDIENCE", help="a resource server's")
    command.add_argument("--jwks-file", type=Path, metavar="FILE", help="public keys for private_key_jwt")
    command.add_argument("--require-par", action="store_true", help="every request must be pushed (RFC 9126)")
    command.add_argument("--plain-intents", action="store_true", help="signatures may be asked for without PAR")
    command.add_argument("--without-digests", action="store_true", help="signatures over digests not stated (SCAL1)")
    command.add_argument(
        "--document-location", action="append", default=[], metavar="URI", help="folder of documents to show; repeat"
    )
    command.add_argument("--documents-shown", action="store_true", help="nothing is approved without being shown")
    command.add_argument("--sad-token-type", action="store_true", help="SADs have token_type SAD (CSC API 1.0.4)")
    command.add_argument("--in-band-signatures", action="store_true", help="codes typed into it authorise (SCAL1)")
    command.add_argument("--in-band-login", action="store_true", help="auth/login signs in to it")
    command.add_argument("--dpop-bound", action="store_true", help="no token without a DPoP proof (RFC 9449 5.2)")
    command.add_argument(
        "--certificate-bound", action="store_true", help="no token without a client certificate (RFC 8705 3.4)"
    )
    command.add_argument(
        "--default-acr", action="append", default=[], metavar="URI", help="asked for where a request names none; repeat"
    )
    command.add_argument("--secret-file", type=Path, metavar="FILE", help="new owner-only file for the client's secret")


# Commands


def _create_client(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.oidc.client import Registration
    from idp.storage import clients
    from idp.storage.audit import DatabaseAudit

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
        document_locations=tuple(options.document_location),
        documents_shown=options.documents_shown,
        default_acr_values=tuple(options.default_acr),
        dpop_bound_access_tokens=options.dpop_bound,
        sad_token_type=options.sad_token_type,
        tls_client_certificate_bound_access_tokens=options.certificate_bound,
        in_band_signatures=options.in_band_signatures,
        in_band_login=options.in_band_login,
        backchannel_logout_uri=options.backchannel_logout_uri,
        backchannel_logout_session_required=options.backchannel_logout_session_required,
    )
    if options.certificate_bound and settings.mutual_tls is None:
        raise InputRefused("mutual_tls is missing in the settings: such a client could obtain no token")
    if settings.production and registration.plain_uris:
        raise InputRefused("mode is production: redirect URIs must be https, or a code would travel in clear")
    if settings.production and registration.plain_documents:
        raise InputRefused("mode is production: document locations must be https")
    if settings.production and registration.plain_logout:
        raise InputRefused("mode is production: backchannel_logout_uri must be https")
    if options.client_id in {ACCOUNT_CLIENT_ID, ADMIN_CLIENT_ID}:
        raise InputRefused(f"{options.client_id} names pages of this server")
    needs_secret = options.auth_method in {"client_secret_basic", "client_secret_post"}
    if needs_secret != (options.secret_file is not None):
        raise InputRefused("--secret-file goes with client_secret_basic and client_secret_post, and only with them")
    logout_uri = registration.backchannel_logout_uri
    with transaction(settings) as (connection, _seals):
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
            **({"backchannel_logout_uri": logout_uri} if logout_uri is not None else {}),
        )
    return {"client_id": client.client_id, "secret_file": str(options.secret_file or "")}


def _list_clients(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import clients
    from idp.storage.engine import reading

    with database(settings) as engine, reading(engine) as connection:
        known = clients.everyone(connection)
    return {
        "clients": [
            {
                "client_id": client.client_id,
                "status": "active" if client.active else "disabled",
                "auth_method": client.registration.auth_method,
                "name": client.name,
                "redirect_uris": list(client.registration.redirect_uris),
                "backchannel_logout_uri": client.registration.backchannel_logout_uri or "-",
            }
            for client in known
        ]
    }


def _logouts(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage import logouts
    from idp.storage.engine import reading

    with database(settings) as engine, reading(engine) as connection:
        found = logouts.standings(connection, epoch(options.clock.now()))
    return {"clients": [{name: _shown(value) for name, value in asdict(each).items()} for each in found]}


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return "-" if value in {None, ""} else value


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
    from idp.storage import grants
    from idp.storage.audit import DatabaseAudit
    from idp.storage.outbox import Outbox

    with transaction(settings) as (connection, seals):
        change(connection)
        revoked = 0
        if revoke:
            Outbox(seals, options.clock, secrets.token_bytes).client_disabled(connection, options.client_id)
            revoked = grants.revoke_client(connection, options.client_id, options.clock.now())
        DatabaseAudit(options.clock).record(
            connection, "client.changed", client_id=options.client_id, change=name, grants_revoked=revoked
        )
    return {"client_id": options.client_id, "change": name, "grants_revoked": revoked}


def _keys(path: Path | None) -> tuple[dict[str, Any], ...]:
    if path is None:
        return ()
    try:
        value = parse_json_object(path.read_bytes())
        return tuple(dict(key) for key in value.get("keys", [value]))
    except (OSError, TokenMalformed, ValueError, TypeError) as error:
        raise InputRefused(f"{path}: not a JWK or a set of them") from error
