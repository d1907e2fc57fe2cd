"""Signing in by way of the signing service, as the identity provider meets it: misuse."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from foundation.jose import peek_claims
from idp.cli.accounts import set_status
from idp.oidc.client import LOGIN_GRANT
from idp.storage import authenticators
from tests.integration.in_band_world import ON, Service
from tests.integration.oidc_world import ACCOUNT, PASSWORD, POLICY, Seed, World, error_of, seed_sqlite, start

STRICT = """
  - id: typed-wants-more
    action: sign_in
    when:
      client: typed
    require: substantial
"""
REVISION_4 = {
    "      eidas-2015-1502: low\n": "      eidas-2015-1502: low\n      nist-800-63b:r4: aal1\n",
    "    freshness: 12h\n    idle_limit: 30m\n": "    freshness: 12h\n    session_limit: 12h\n    idle_limit: 30m\n",
    "\nrules:\n": "\nfactors:\n  password: {min_length: 15}\n\nrules:\n",
}
"""What it takes for the weakest level to claim AAL1 of revision 4."""


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    return seed_sqlite(tmp_path_factory.mktemp("seed"))


def world_of(seeded: Seed, directory: Path, rule: str, changes: Mapping[str, str] = MappingProxyType({})) -> World:
    shutil.copytree(seeded.directory, directory, dirs_exist_ok=True)
    policy = directory / "policy.yaml"
    text = POLICY.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    policy.write_text(text + rule, encoding="utf-8")
    url = f"sqlite:///{directory / 'idp.sqlite'}"
    return start(seeded, directory, url, policy_file=policy, in_band=ON)


@pytest.fixture
def world(seeded: Seed, tmp_path: Path) -> Iterator[World]:
    found = world_of(seeded, tmp_path, "")
    yield found
    found.engine.dispose()


def login(world: World, username: str, password: str, **more: str) -> Any:
    return asked(world, username=username, password=password, **more)


def asked(world: World, **form: str) -> Any:
    return Service(world).post("/oauth2/token", {"grant_type": LOGIN_GRANT, "relying_party": "typed", **form})


def test_DOS_04_strangers_do_not_fill_the_audit_chain_through_the_signing_service(world: World) -> None:
    for count in range(3):
        assert error_of(login(world, f"stranger-{count}", "some password")) == "invalid_grant"
    assert world.events("token.refused") == world.events("login.refused") == []
    assert error_of(login(world, "alice", "some password")) == "invalid_grant"
    (wrong,) = world.events("login.refused")
    assert (wrong["account_id"], wrong["client_id"]) == (ACCOUNT, "typed")
    token = login(world, "alice", PASSWORD).get_json()["access_token"]
    assert peek_claims(token)["client_id"] == "typed"


def test_a_login_that_the_policy_refuses_is_recorded_and_told_like_a_wrong_password(
    seeded: Seed, tmp_path: Path
) -> None:
    world = world_of(seeded, tmp_path, STRICT)
    refused, wrong = login(world, "alice", PASSWORD), login(world, "alice", "some password")
    assert refused.get_json() == wrong.get_json()
    assert refused.status_code == wrong.status_code == 400
    (record,) = world.events("transaction.refused")
    assert (record["account_id"], record["client_id"], record["action"]) == (ACCOUNT, "typed", "sign_in")
    assert record["cause"] == "unreachable"
    assert world.events("token.issued") == []
    world.engine.dispose()


def test_OTP_11_where_revision_4_is_claimed_a_short_password_is_told_in_band_like_a_wrong_one(
    seeded: Seed, tmp_path: Path
) -> None:
    world = world_of(seeded, tmp_path, "", REVISION_4)
    assert login(world, "alice", PASSWORD).status_code == 200
    services, verifier = world.app.extensions["privyseal"], world.app.extensions["privyseal.passwords"].passwords
    with world.engine.begin() as connection:
        (owned,) = (
            item
            for item in authenticators.of_account(connection, services.seals, ACCOUNT)
            if item.kind == "password" and not item.disabled
        )
        authenticators.change_secret(connection, services.seals, owned.id, verifier._hashed("kxqw vzjt mfpb"))
    short, wrong = login(world, "alice", "kxqw vzjt mfpb"), login(world, "alice", "some password")
    assert short.get_json() == wrong.get_json()
    assert short.status_code == wrong.status_code == 400
    (record,) = world.events("transaction.refused")
    assert (record["account_id"], record["client_id"], record["cause"]) == (ACCOUNT, "typed", "unreachable")
    world.engine.dispose()


def test_SES_03_what_was_granted_in_no_session_does_not_come_back_when_an_account_is_unlocked(world: World) -> None:
    """Somebody else had the password: the operator locks the account, and unlocks it once there is another one."""
    found = login(world, "alice", PASSWORD, remember_me="true").get_json()
    settings = world.app.extensions["privyseal"].settings
    for status in ("disabled", "active"):
        set_status(settings, Namespace(username="alice", status=status, reason="taken over", clock=world.clock))
    assert world.rp("csc").introspect(found["access_token"]) == {"active": False}
    assert error_of(asked(world, refresh_token=found["refresh_token"])) == "invalid_grant"
    assert login(world, "alice", PASSWORD).status_code == 200, "whoever has the password begins anew"
