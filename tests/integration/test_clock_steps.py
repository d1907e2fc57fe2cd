"""OPS-08: the clock of real processes steps an hour, either way, while they run."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from contract.sad import Sad
from foundation.clock import SystemClock, epoch
from foundation.dpop import make_proof
from foundation.jose import SigningKey, generate_signing_key, peek_claims, sign_compact
from idp.cli.administration import main
from idp.oidc.client import ASSERTION_TYPE
from launcher.toml import dumps
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkRefused
from signing.link.messages import CredentialView
from signing.storage.engine import open_engine
from tests.architecture.source import ROOT
from tests.fakes.sam import digest, evidence
from tests.integration.granian import granian
from tests.integration.oracle import Oracle
from tests.integration.sam_site import Site
from tests.integration.test_sam_kills import shimmed_site, signs, until
from tests.shim import Shim
from tests.sockets import free_port
from tests.steps import SteppedClock

HOUR = 3600
CLIENT = "machine"


def told(client: SamClient, site: Site, sad: Sad, oracle: Oracle) -> str:
    """What a client gets for a SAD."""
    request = site.request(sad)
    try:
        oracle.release(request.digests, client.sign(request))
    except LinkRefused as refused:
        return refused.refusal
    return "signed"


def sad_at(site: Site, view: CredentialView, number: int, ahead: int = 0) -> Sad:
    """A SAD of this moment, or of one by a clock that is ahead of ours."""
    now = epoch(SystemClock().now()) + ahead
    shown = (evidence("password", "knowledge", now - 60), evidence("sms_otp", "possession", now))
    times = {"iat": now, "exp": now + 300, "auth_time": now - 60, "evidence": shown}
    return site.sad(view, (digest(number),), **times)


@pytest.mark.hsm
def test_OPS_08_a_module_whose_clock_steps_signs_nothing_expired_and_nothing_twice(shim: Shim, tmp_path: Path) -> None:
    clock = SteppedClock(tmp_path / "clock")
    url = f"sqlite:///{tmp_path / 'sam.sqlite'}"
    site, engine = shimmed_site(tmp_path, url, shim), open_engine(url)
    site.preloaded = clock.environment
    oracle = Oracle(shim, engine)
    with site.serving(), SamClient(site.socket()) as client:
        until(lambda: signs(client))
        view = site.credential(client)
        # An approval counts from the second after the credential was made.
        until(lambda: epoch(SystemClock().now()) > view.created_at)
        oracle.begin()
        spent, kept = sad_at(site, view, 1), sad_at(site, view, 2)
        assert told(client, site, spent, oracle) == "signed"
        clock.step(HOUR)
        assert {told(client, site, each, oracle) for each in (spent, kept)} == {codes.EXPIRED_SAD}
        ahead = sad_at(site, view, 3, ahead=HOUR)
        assert told(client, site, ahead, oracle) == "signed"
        clock.step(0)
        # What had expired is good for what is left of its time, once; what is from the other clock's future is not.
        assert told(client, site, kept, oracle) == "signed"
        assert [told(client, site, each, oracle) for each in (kept, spent)] == [codes.SAD_USED] * 2
        assert told(client, site, sad_at(site, view, 4, ahead=HOUR), oracle) == codes.INVALID_SAD
        assert told(client, site, ahead, oracle) == codes.INVALID_SAD
        clock.step(-HOUR)
        assert {told(client, site, each, oracle) for each in (spent, kept, ahead)} == {codes.INVALID_SAD}
        assert signs(client)
    # Restarted while the clock is behind, and right again later: what was spent before stays spent.
    with site.serving(), SamClient(site.socket()) as client:
        until(lambda: signs(client))
        clock.step(0)
        assert {told(client, site, each, oracle) for each in (spent, kept)} == {codes.SAD_USED}
        assert told(client, site, sad_at(site, view, 5), oracle) == "signed"
    oracle.verify()
    assert oracle.signed().total() == 4
    engine.dispose()


@contextmanager
def provider(directory: Path, clock: SteppedClock, key: SigningKey) -> Iterator[str]:
    """A real identity provider with a client that authenticates by assertions; its issuer identifier."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    (directory / "policy.yaml").write_text((ROOT / "policies" / "default.yaml").read_text())
    (directory / "client.jwk").write_text(json.dumps(key.verification_key().as_jwk()))
    settings: dict[str, Any] = {
        "mode": "development",
        "issuer": issuer,
        "database_url": f"sqlite:///{directory / 'idp.sqlite'}",
        "key_dir": "keys",
        "policy_file": "policy.yaml",
        "signing": {"csc_base": "http://sign.localhost:8402/csc/v2", "sam_id": "urn:sam"},
    }
    (directory / "idp.toml").write_text(dumps(settings))
    config = ("--config", str(directory / "idp.toml"))
    assert main(("init", *config)) == 0
    method = ("--auth-method", "private_key_jwt", "--jwks-file", str(directory / "client.jwk"))
    machine = ("--client-id", CLIENT, "--name", "A machine", "--scope", "service", "--grant-type", "client_credentials")
    assert main(("client", "create", *machine, *method, *config)) == 0
    given = clock.environment
    with granian("idp", port, directory / "idp.toml", log=directory / "idp.log", environment=given):
        yield issuer


def test_OPS_08_a_provider_whose_clock_steps_takes_nothing_twice_that_is_good_once(tmp_path: Path) -> None:
    clock, key = SteppedClock(tmp_path / "clock"), generate_signing_key()
    with provider(tmp_path, clock, key) as issuer:

        def assertion(ahead: int = 0) -> str:
            now = epoch(SystemClock().now()) + ahead
            claims = {"iss": CLIENT, "sub": CLIENT, "aud": issuer, "jti": secrets.token_hex(8), "iat": now}
            return sign_compact({**claims, "exp": now + 290}, key, "JWT")

        def proof() -> str:
            return make_proof(
                key, method="POST", uri=f"{issuer}/oauth2/token", jti=secrets.token_hex(8), now=SystemClock().now()
            )

        def token(made: str, dpop: str | None = None) -> requests.Response:
            form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
            headers = {} if dpop is None else {"DPoP": dpop}
            return requests.post(
                f"{issuer}/oauth2/token", {**form, "client_assertion": made}, headers=headers, timeout=20
            )

        used, shown = assertion(), proof()
        assert token(used, shown).status_code == 200
        assert token(used).status_code == 401
        clock.step(HOUR)
        assert token(used).status_code == 401
        # So often that what has ended is forgotten, by the clock of now.
        for _ in range(80):
            given = token(assertion(HOUR))
            assert given.status_code == 200, given.text
        claims = peek_claims(given.json()["access_token"])
        assert claims["exp"] - claims["iat"] <= 600
        assert abs(claims["iat"] - epoch(SystemClock().now()) - HOUR) < 60
        clock.step(0)
        # The clock is right again, and both would be good by their times.
        assert token(used).status_code == 401
        assert token(assertion(), shown).json()["error"] == "invalid_dpop_proof"
        assert token(assertion(), proof()).status_code == 200
        clock.step(-HOUR)
        assert token(assertion()).status_code == 401
        assert token(assertion(-HOUR)).status_code == 200
    url = f"sqlite:///{tmp_path / 'idp.sqlite'}"
    # Numbered and linked as ever, whatever the time said.
    assert verified(url)


def verified(url: str) -> bool:
    from auditlog.chain import verify
    from auditlog.sql import read_entries
    from idp.storage import audit
    from idp.storage.engine import open_engine as open_idp

    engine = open_idp(url)
    with engine.connect() as connection:
        entries = list(read_entries(connection, audit.TABLES.entries))
    engine.dispose()
    verify(entries)
    return len(entries) > 80
