"""A key from elsewhere, on a real token and with the commands: brought, linked, used, ended; and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import create_engine, select

from foundation.settings import load
from signing.link.client import SamClient
from signing.sam import events
from signing.sam.algorithms import KEY_PROFILES
from signing.sam.ports import GeneratedKey, OperationNotPermitted, WrappedKeyRefused
from signing.sam_cli import PREFIX, device_settings
from signing.sam_settings import SamSettings
from signing.scdev.device import Pkcs11Device
from signing.storage.tables import audit
from tests.fakes.sam import ISSUER, REALM
from tests.integration.sam_site import Site, make_site
from tests.unit.signing_sam.test_imports import parameters

pytestmark = pytest.mark.hsm

WEB = """mode = "development"
public_url = "http://sign.localhost:1"
sam_socket = "{socket}"
[issuer]
url = "{issuer}"
client_id = "web"
client_secret_file = "none"
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An installation with a profile that takes keys from elsewhere."""
    made = make_site(tmp_path, f"sqlite:///{tmp_path / 'sam.sqlite'}")
    config = made.write_config()
    config.write_text(config.read_text() + '[profiles.brought]\nkey = "ec-p256"\naccepts_imports = true\n')
    made.init()
    (tmp_path / "web.toml").write_text(WEB.format(socket=made.socket(), issuer=ISSUER))
    return made


def opened(site: Site) -> Pkcs11Device:
    """The token, as another installation over the same KEK has it."""
    return Pkcs11Device(replace(device_settings(load(SamSettings, site.config(), prefix=PREFIX).device), workers=1))


def execute(site: Site, key: GeneratedKey, signers: int = 2) -> tuple[int, str]:
    operation = site.operation("credential.import", signers, **parameters(key))
    done = site.run("sam", "execute", "--config", str(site.config()), "--operation", str(operation), check=False)
    return done.returncode, done.stdout + done.stderr


def test_two_operators_bring_a_key_that_signs_with_the_commands_alone(site: Site) -> None:
    with opened(site) as device:
        key, other = device.generate(KEY_PROFILES["ec-p256"]), device.generate(KEY_PROFILES["ec-p256"])
        told = device.examine(key.wrapped)
        assert {"SENSITIVE=TRUE", "EXTRACTABLE=FALSE", "LOCAL=FALSE", "ALWAYS_SENSITIVE=FALSE"} <= set(told)
        for wrong, error in (
            (replace(key.wrapped, blob=key.wrapped.blob[:-1]), WrappedKeyRefused),
            (replace(key.wrapped, kek_id="00"), WrappedKeyRefused),
            (replace(key.wrapped, profile="ec-p384"), WrappedKeyRefused),
            (device.generate(KEY_PROFILES["ec-p256"], REALM).wrapped, OperationNotPermitted),
        ):
            with pytest.raises(error):
                device.examine(wrong)
    with site.serving(), SamClient(site.socket()) as client:
        code, said = execute(site, key, signers=1)
        assert (code, "operators" in said) == (1, True)
        assert execute(site, GeneratedKey(key.wrapped, other.public_key))[0] == 1
        code, said = execute(site, key)
        assert code == 0, said
        assert execute(site, key)[0] == 1
        pem = said[said.index("-----BEGIN CERTIFICATE REQUEST") :]
        request = x509.load_pem_x509_csr(pem.encode())
        credential_id = next(line.split(":")[0] for line in said.splitlines() if line.endswith(": pending"))
        leaf = x509.load_der_x509_certificate(site.authority.issue(request.public_bytes(Encoding.DER)))
        chain = site.directory / "chain.pem"
        chain.write_bytes(leaf.public_bytes(Encoding.PEM))
        web = ("--config", str(site.directory / "web.toml"), "--json")
        linked = site.run("credential", "link", credential_id, "--chain", str(chain), *web, check=False)
        assert linked.returncode == 0, linked.stderr
        (shown,) = json.loads(linked.stdout)
        assert (shown["status"], shown["origin"]) == ("active", "imported")
        view = client.credential(credential_id)
        assert len(client.sign(site.request(site.sad(view)))) == 1
    with create_engine(f"sqlite:///{site.directory / 'sam.sqlite'}").connect() as connection:
        wanted = select(audit.entries.c.fields).where(audit.entries.c.event == events.CREDENTIAL_IMPORTED)
        (fields,) = (json.loads(row.fields) for row in connection.execute(wanted))
    assert (fields["credential_id"], "SENSITIVE=TRUE" in fields["key_attributes"]) == (credential_id, True)
