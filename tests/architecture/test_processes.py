"""Each process loads nothing of the other side: looked at in a fresh interpreter, as imports may hide."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.source import ROOT

DEVELOPMENT = ("devservices", "examples", "benchmarks", "tests", "pytest", "aiosmtpd", "certomancer")
IMPLEMENTATIONS = ("connectors.messaging", "connectors.pki")
PARSERS_AND_CLIENTS = (
    "flask", "werkzeug", "granian", "authlib", "lxml", "xml.etree", "html.parser", "signxml", "saml2", "pyhanko",
    "asn1crypto", "requests", "urllib3", "httpx", "http.server", "http.client", "smtplib", "twilio",
)  # fmt: skip

SAM = (
    "signing.sam", "signing.scdev", "signing.storage", "signing.sam_app", "signing.sam_cli", "signing.sam_kek",
    "signing.sam_settings",
)  # fmt: skip
WEB_TIER = ("signing.app", "signing.csc", "signing.enrolment", "signing.settings")
NOT_SAM = ("idp", "connectors", "launcher", *WEB_TIER)
SIDES = ("idp", "signing", "contract", "auditlog", "connectors")
ENGINES = ("pkcs11", "flask", "sqlalchemy")

ROOTS = {
    "idp.app": ("signing", "pkcs11", "pyhanko", "launcher", *IMPLEMENTATIONS, *DEVELOPMENT),
    "idp.serving": ("signing", "pkcs11", "pyhanko", "launcher", *IMPLEMENTATIONS, *DEVELOPMENT),
    "idp.cli.administration": ("signing", "launcher", *ENGINES, *IMPLEMENTATIONS, *DEVELOPMENT),
    "idp.cli.policy": ("signing", "launcher", "connectors", *ENGINES, *DEVELOPMENT),
    "signing.app": ("idp", "auditlog", "launcher", "pkcs11", "sqlalchemy", *SAM, *IMPLEMENTATIONS, *DEVELOPMENT),
    "signing.enrolment.cli": ("idp", "launcher", "pkcs11", "sqlalchemy", *SAM, *IMPLEMENTATIONS, *DEVELOPMENT),
    "signing.sam_app.process": (*NOT_SAM, "pkcs11", *PARSERS_AND_CLIENTS, *DEVELOPMENT),
    "signing.sam_cli": (*NOT_SAM, "pkcs11", *PARSERS_AND_CLIENTS, *DEVELOPMENT),
    "portal.app": (*SIDES, "launcher", "pkcs11", "pyhanko", *DEVELOPMENT),
    "launcher.dev": (*SIDES, *ENGINES, *DEVELOPMENT),
    "launcher.cli": (*SIDES, "cryptography", *ENGINES, *DEVELOPMENT),
    "auditlog.cli": ("idp", "signing", "connectors", "pkcs11", "flask", *DEVELOPMENT),
    "wsgi": ("idp", "signing", "portal", *ENGINES, *DEVELOPMENT),
}
"""For each composition root what its process may not have loaded. (The SAM's own PKCS#11 lives in worker processes.)"""


def loaded_by(module: str) -> set[str]:
    """Names of all modules loaded after importing one, in an interpreter of its own."""
    probe = f"import sys; import {module}; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{module} cannot be imported on its own:\n{done.stderr}"
    return set(done.stdout.split())


@pytest.mark.parametrize("root", sorted(ROOTS))
def test_a_process_loads_nothing_of_the_other_side(root: str) -> None:
    loaded = loaded_by(root)
    assert root in loaded
    trespassers = {name for name in loaded for barred in ROOTS[root] if name == barred or name.startswith(f"{barred}.")}
    assert trespassers == set()


def test_the_probe_sees_what_is_loaded() -> None:
    assert {"http.server", "http.client"} <= loaded_by("http.server")
