"""What explicit authorisation takes: a policy that permits it, settings, an app that makes codes, and the service's own
requests to the identity provider."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from werkzeug.test import TestResponse

from foundation.clock import epoch
from foundation.jose import encode_base64url, sign_compact
from idp.authn import totp
from idp.oidc.client import ASSERTION_TYPE
from idp.settings import InBandSettings
from idp.storage import authenticators, boxes
from idp.storage.authenticators import NewAuthenticator
from tests.integration.oidc_world import ACCOUNT, ISSUER, POLICY, World

SEED = b"a seed of twenty oct"
ON = InBandSettings(signatures=True, login=True)
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
RULE = """
  - id: in-band
    action: signature.activate_in_band
    when:
      client: [typed, bound-typed]
    require: substantial
"""


def policy_file(directory: Path, rule: str = RULE) -> Path:
    """The product's own policy, and one rule more."""
    path = directory / "in-band.yaml"
    path.write_text(POLICY.read_text(encoding="utf-8") + rule, encoding="utf-8")
    return path


def bind_app(world: World, account_id: str = ACCOUNT, seed: bytes = SEED) -> None:
    """Give somebody an app that makes codes."""
    services = world.app.extensions["privyseal"]
    item_id = f"totp-of-{account_id}"
    box = boxes.close(services.keys.secret, secrets.token_bytes, (item_id, account_id, "totp"), seed)
    new = NewAuthenticator(item_id, account_id, "totp", data={"step": 30}, secret_box=box, counter=totp.NO_STEP)
    with world.engine.begin() as connection:
        authenticators.bind(connection, services.seals, new, world.clock.now())


def app_code(world: World, seed: bytes = SEED) -> str:
    """What the app shows now."""
    return totp.code_at(seed, world.clock.now())


@dataclass
class Service:
    """The signing service's web tier, as the identity provider meets it."""

    world: World
    client_id: str = "rssp"
    secrets_sent: list[str] = field(default_factory=list)

    def post(self, path: str, form: Mapping[str, str]) -> TestResponse:
        """A request, authenticated with its key."""
        at = epoch(self.world.clock.now())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": ISSUER, "iat": at, "exp": at + 60}
        claims["jti"] = encode_base64url(secrets.token_bytes(16))
        authentication = {
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": sign_compact(claims, self.world.client_key, "client-authentication+jwt"),
        }
        return self.world.app.test_client().post(path, data={**form, **authentication}, base_url=ISSUER)

    def about(self, token: str, **changes: str) -> dict[str, str]:
        """Who asks about which credential."""
        return {
            "subject_token": token,
            "subject_token_type": ACCESS_TOKEN,
            "credentialID": "a-credential",
            "scal": "1",
            **changes,
        }

    def options(self, token: str, **changes: str) -> Any:
        """How the credential can be authorised."""
        response = self.post("/oauth2/activation-options", self.about(token, **changes))
        assert response.status_code == 200, response.text
        return response.get_json()

    def challenge(self, token: str, auth_object: str = "sms_otp", **changes: str) -> TestResponse:
        """Have a code sent."""
        return self.post("/oauth2/activation-challenge", {**self.about(token, **changes), "auth_object": auth_object})
