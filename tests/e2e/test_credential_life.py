"""A credential's whole life in the running product: each step ordered by its owner and carried out by an operator."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509

from examples import csc_client
from examples.errors import ExampleError, PersonRefusedError
from examples.options import Setting, parser, person, setting
from examples.person import Download, Page, Person
from tests.e2e.conftest import AS_ROOT, Product, children, runs_from
from tests.e2e.test_refusals import authorised, digest, options, request, signed_in

DONE, REFUSED = 0, 3
SETTLING_SECONDS = 6
"""With clocks that differ, what is approved sooner cannot be told from what was approved before the resumption."""


class Owner(Person):
    """Somebody who goes to the account pages and orders something about a credential of theirs."""

    def order(self, issuer: str, operation: str, credential_id: str) -> bytes:
        """Fill in the form, prove who it is, approve, and keep what is downloaded."""
        shown = self._browser.open(f"{issuer}/account/credentials")
        assert isinstance(shown, Page)
        form = shown.form("operate-credential")
        assert form is not None
        self._before = self._inbox.messages(self._identity.address)
        self._digests = ()
        arrival = self._browser.submit(shown, form, {"credential_id": credential_id}, ("operation", operation))
        got = self._answer(arrival, approve=True)
        assert isinstance(got, Download)
        assert got.media_type == "application/jose"
        return got.content


@pytest.fixture
def given(product: Product, tmp_path: Path) -> Setting:
    """A relying party, and the person as it meets her."""
    arguments = parser("test", "", "").parse_args(options(product, "--out", str(tmp_path), "--channel", "email"))
    return setting(arguments)


@pytest.fixture
def owner(product: Product) -> Owner:
    """The person at a browser of her own, where no relying party looks on."""
    known = person(parser("test", "", "").parse_args(options(product, "--channel", "email")))
    return Owner(known._identity, known._browser, known._inbox)


Operate = Callable[[str, bytes], tuple[int, dict[str, Any]]]


@pytest.fixture
def operate(product: Product, place: Path) -> Operate:
    """`privyseal credential` as the signing web tier's operator: exit code, and the credential that it printed."""

    def tier() -> Path:
        """/proc of a process of the tier; its commands run from where it runs, with what it runs."""
        for pid in children(product.process.pid):
            found = Path(f"/proc/{pid}")
            if b"wsgi:signing" in (found / "cmdline").read_bytes():
                return found
        raise LookupError("the signing web tier does not run")

    def run(command: str, order: bytes) -> tuple[int, dict[str, Any]]:
        path = place / "an-order.jws"
        path.unlink(missing_ok=True)
        path.write_bytes(order)
        process = tier()
        account = pwd.getpwnam("privyseal-web") if AS_ROOT else pwd.getpwuid(os.geteuid())
        os.chown(path, account.pw_uid, account.pw_gid)
        path.chmod(0o600)
        python = (process / "cmdline").read_bytes().split(b"\0")[0].decode()
        argv = [python, "-m", "launcher", "credential", command, "--order", str(path)]
        argv += ["--config", str(product.state / "web" / "web.toml"), "--json"]
        identity: dict[str, Any] = (
            {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if AS_ROOT else {}
        )
        done = subprocess.run(
            argv, cwd=runs_from(process), capture_output=True, text=True, timeout=60, check=False, **identity
        )
        assert done.returncode in {DONE, REFUSED}, done.stderr
        return done.returncode, json.loads(done.stdout)[0] if done.stdout else {}

    return run


def revoked_serial_numbers(product: Product) -> set[int]:
    """As the authority's list has them."""
    found = requests.get(f"{product.ports.url('trust')}/crl/issuing.crl", timeout=10)
    return {item.serial_number for item in x509.load_der_x509_crl(found.content)}


def test_a_credential_is_made_suspended_resumed_revoked_and_deleted_by_its_owners_orders(
    product: Product, given: Setting, owner: Owner, operate: Operate
) -> None:
    issuer = product.ports.url("idp")
    token = signed_in(given)
    # made: beside the demo's own, which other tests use
    code, made = operate("create", owner.order_credential(issuer))
    assert (code, made["status"]) == (DONE, "active")
    credential_id = made["credential_id"]
    assert credential_id in csc_client.list_credentials(given.http, given.csc, token)
    wanted = request(credential_id, [digest("of her life")])

    def sign(sad: str) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {sad}"}
        answer = given.http.post(f"{given.csc}/signatures/signHash", json=wanted, headers=headers, timeout=30)
        return answer.status_code, answer.json().get("error_description", "signed")

    def approved() -> str:
        return authorised(given, credential_id, [digest("of her life")])

    assert sign(approved()) == (200, "signed")

    # suspended: neither an approval from before nor a new one signs
    before = approved()
    suspension = owner.order(issuer, "suspend", credential_id)
    code, view = operate("suspend", suspension)
    assert (code, view["status"]) == (DONE, "suspended")
    assert sign(before)[0] == 400
    with pytest.raises(PersonRefusedError, match="disabled"):
        approved()
    assert not csc_client.credential_info(given.http, given.csc, token, credential_id).usable
    # an order is for one operation, once
    assert operate("suspend", suspension)[0] == REFUSED

    # resumed: it signs again, with an approval from after that only
    code, view = operate("resume", owner.order(issuer, "resume", credential_id))
    assert (code, view["status"]) == (DONE, "active")
    assert operate("suspend", suspension)[0] == REFUSED
    assert sign(before)[0] == 400
    time.sleep(SETTLING_SECONDS)
    assert sign(approved()) == (200, "signed")

    # revoked: for good, and whoever asks the authority is told
    last = approved()
    revocation = owner.order(issuer, "revoke", credential_id)
    code, view = operate("revoke", revocation)
    assert (code, view["status"]) == (DONE, "revoked")
    assert sign(last)[0] == 400
    assert int(view["serial_number"], 16) in revoked_serial_numbers(product)
    assert operate("resume", owner.order(issuer, "resume", credential_id))[0] == REFUSED

    # deleted: as if there had never been one
    code, view = operate("delete", owner.order(issuer, "delete", credential_id))
    assert (code, view["status"]) == (DONE, "deleted")
    assert sign(last)[0] == 400
    assert credential_id not in csc_client.list_credentials(given.http, given.csc, token)
    with pytest.raises(ExampleError):
        csc_client.credential_info(given.http, given.csc, token, credential_id)
    with pytest.raises(PersonRefusedError):
        owner.order(issuer, "resume", credential_id)
