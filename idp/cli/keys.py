"""``privyseal idp init`` and ``privyseal idp keys``: tables and signing keys."""

from __future__ import annotations

import argparse
import json
import secrets
from pathlib import Path
from typing import Any

from foundation.jose import VerificationKey
from idp.cli.common import add, database, group
from idp.settings import IdpSettings


def add_init(commands: Any) -> None:
    """Add ``init``."""
    add(commands, "init", _init, "make tables, keys and the audit chain; harmless when they are there")


def add_commands(commands: Any) -> None:
    """Add ``keys ...``."""
    keys = group(commands, "keys", "signing keys")
    add(keys, "rotate", _rotate, "make the next token key current, and a new next one")
    export = add(keys, "export-activation", _export, "write the public key that the SAM's operator pins")
    export.add_argument("--out", type=Path, required=True, metavar="FILE")
    export.add_argument("--format", choices=("pem", "jwk"), default="pem")


# Commands


def _init(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.app import open_database
    from idp.policy.prepare import prepare
    from idp.storage.audit import DatabaseAudit
    from idp.storage.engine import create_tables
    from idp.storage.keys import create_keys
    from idp.storage.policy_files import PolicyFiles, read_policy_files

    # What a server would refuse is told before anything is made.
    files = PolicyFiles(settings.policy_file)
    content = read_policy_files(files)
    required = settings.production and settings.policy.cases_required
    policy = prepare(content.policy, str(files.policy), content.cases, str(files.cases), cases_required=required).policy
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


def _rotate(settings: IdpSettings, options: argparse.Namespace) -> dict[str, Any]:
    from idp.storage.audit import DatabaseAudit
    from idp.storage.keys import rotate_token_keys

    with database(settings) as engine:
        kid = rotate_token_keys(engine, settings.key_dir, now=options.clock.now())
        with engine.begin() as connection:
            DatabaseAudit(options.clock).record(connection, "keys.rotated", kid=kid)
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
