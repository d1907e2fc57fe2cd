"""The settings files of a development installation: what the processes are told about one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import StateRefusedError
from launcher.ports import Ports
from launcher.relocation import Code
from launcher.state import State

SAM_ID = "urn:privyseal:sam:development"
TWILIO_ACCOUNT = "AC" + "0" * 31 + "1"
APPROVAL_HOST = "approve.localhost"
TOKEN_LABEL = "privy-seal-development"
MESSAGING_SENDER = "+15550199"
RP_CLIENT = "example-contracts"
SIGN_CLIENT = "privyseal-sign"
"""The command `privyseal sign`."""
PORTAL_CLIENT = "privyseal-portal"
"""The page for people."""
PORTAL_KEY = "portal-client.pem"
CSC_CLIENT = "csc"
CSC_KEY = "csc-client.pem"
JOBS_KEY = "jobs.key"
CSC_BASES = ("/csc/v1", "/csc/v2", "/2.2/csc/v2")
SOFTHSM_MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"),
)


@dataclass(frozen=True, slots=True)
class Installation:
    """One development installation: its code, state and ports."""

    code: Code
    state: State
    ports: Ports

    @property
    def csc_base(self) -> str:
        """Base URL of the CSC API, version 2."""
        return f"{self.ports.url('web')}/csc/v2"

    @property
    def approval_origin(self) -> str:
        """Where people's own devices approve: the identity provider under another name."""
        return f"http://{APPROVAL_HOST}:{self.ports.of('idp')}"

    @property
    def redirect_uri(self) -> str:
        """The demo relying party's redirect URI."""
        return f"{self.ports.url('rp')}/callback"

    @property
    def root_certificate(self) -> Path:
        """The development root, which all trust."""
        return self.state.public / "root.pem"

    @property
    def activation_key(self) -> Path:
        """The public key that the signature activation module pins."""
        return self.state.public / "activation.pem"

    @property
    def client_key(self) -> Path:
        """The public key of the web tier as the identity provider's client."""
        return self.state.public / "csc-client.jwk"

    @property
    def portal_client_key(self) -> Path:
        """The public key of the portal as the identity provider's client."""
        return self.state.public / "portal-client.jwk"

    def operator_key(self, number: int) -> Path:
        """A development operator's public key."""
        return self.state.public / f"operator-{number}.jwk"

    def file(self, role: str, name: str) -> Path:
        """A file in a role's own folder."""
        return self.state.root / role / name


def softhsm_module() -> Path:
    """Where SoftHSM2's library lies.

    :raises StateRefusedError: it is not installed.
    """
    for path in SOFTHSM_MODULES:
        if path.exists():
            return path
    raise StateRefusedError("SoftHSM2 is not installed: apt-get install --no-install-recommends -y softhsm2")


def token_directory(here: Installation) -> Path:
    """Where SoftHSM2 keeps its token; it must be there before the first."""
    return here.file("sam", "tokens")


def softhsm_conf(here: Installation) -> str:
    """SoftHSM2's own configuration file."""
    return f"directories.tokendir = {token_directory(here)}\nobjectstore.backend = file\nlog.level = ERROR\n"


def idp(here: Installation) -> Mapping[str, object]:
    """idp.toml."""
    ports = here.ports
    return {
        "mode": "development",
        "issuer": ports.url("idp"),
        "key_dir": here.file("idp", "keys"),
        "policy_file": here.code.root / "policies" / "default.yaml",
        "database_url": f"sqlite:///{here.file('idp', 'idp.sqlite')}",
        "egress_allow": [
            f"127.0.0.1:{ports.of('inbox')}",
            f"sign.localhost:{ports.of('web')}",
            f"portal.localhost:{ports.of('portal')}",
            f"rp.localhost:{ports.of('rp')}",
        ],
        "signing": {"csc_base": here.csc_base, "sam_id": SAM_ID, "profiles": ["default", "sole-control"]},
        "approval": {"origin": here.approval_origin, "profiles": ["sole-control"]},
        # Whoever tries it out asks for more codes than anybody should be sent.
        "otp": {"max_per_address": 100, "max_per_account": 100, "max_per_network": 200},
        "messaging": {
            "sms": {
                "connector": "twilio",
                "settings": {
                    "account_sid": TWILIO_ACCOUNT,
                    "auth_token_file": here.file("idp", "twilio-token"),
                    "sender": MESSAGING_SENDER,
                    "base_url": ports.url("inbox"),
                },
            },
            "mail": {
                "connector": "smtp",
                "settings": {
                    "host": "127.0.0.1",
                    "port": ports.of("smtp"),
                    "security": "starttls",
                    "ca_file": here.root_certificate,
                    "sender": "no-reply@example.org",
                },
            },
        },
    }


def web(here: Installation) -> Mapping[str, object]:
    """web.toml."""
    ports = here.ports
    return {
        "mode": "development",
        "public_url": ports.url("web"),
        "sam_socket": here.state.link_socket,
        "egress_allow": [f"idp.localhost:{ports.of('idp')}", f"127.0.0.1:{ports.of('trust')}"],
        "approval": True,
        "issuer": {
            "url": ports.url("idp"),
            "client_id": CSC_CLIENT,
            "client_key_file": here.file("web", CSC_KEY),
            "sad_keys": [here.activation_key],
        },
        "timestamp_authorities": [
            {
                "connector": "rfc3161",
                "settings": {
                    "url": f"{ports.url('tsa')}/tsa",
                    "trust_anchors": [str(here.root_certificate)],
                    "egress_allow": [ports.url("tsa").removeprefix("http://")],
                },
            }
        ],
        "status": {
            "connector": "http",
            "trust_anchors": [here.root_certificate],
            "settings": {"egress_allow": [ports.url("trust").removeprefix("http://")]},
        },
        "validation": {"trust_anchors": [here.root_certificate], "fetch": True},
        "jobs": {
            "database_url": f"sqlite:///{here.file('web', 'jobs.sqlite')}",
            "key_file": here.file("web", JOBS_KEY),
        },
        "pki": {
            "connector": "devca",
            "profile": "signer",
            "settings": {"base_url": ports.url("trust"), "token_file": here.file("web", "ca-token")},
        },
    }


def portal(here: Installation) -> Mapping[str, object]:
    """portal.toml."""
    return {
        "mode": "development",
        "public_url": here.ports.url("portal"),
        "issuer": here.ports.url("idp"),
        "csc_base": here.csc_base,
        "client_id": PORTAL_CLIENT,
        "validate_url": f"{here.ports.url('web')}/validate",
        "client_key_file": here.file("portal", PORTAL_KEY),
        "key_file": here.file("portal", "portal.key"),
        "database_url": f"sqlite:///{here.file('portal', 'portal.sqlite')}",
    }


def sam(here: Installation) -> Mapping[str, object]:
    """sam.toml."""
    return {
        "mode": "development",
        "database_url": f"sqlite:///{here.file('sam', 'sam.sqlite')}",
        "realm": "development",
        "sam_id": SAM_ID,
        "socket": here.state.link_socket,
        "admin_socket": here.state.admin_socket,
        "web_uid": here.state.accounts.of("web").uid,
        "certificate_anchors": [here.root_certificate],
        "issuers": {"idp": {"issuer": here.ports.url("idp"), "keys": [here.activation_key]}},
        "dpop_htu": [f"{here.ports.url('web')}{base}/signatures/signHash" for base in CSC_BASES],
        "device": {
            "module": softhsm_module(),
            "token_label": TOKEN_LABEL,
            "pin_file": here.file("sam", "user-pin"),
            "environment": {"SOFTHSM2_CONF": str(here.file("sam", "softhsm2.conf"))},
        },
        "proof": {"rp_id": APPROVAL_HOST, "origins": [here.approval_origin]},
        "profiles": {
            "default": {"key": "ec-p256", "scal": "2"},
            "sole-control": {"key": "ec-p256", "scal": "2", "signer_proof": True},
        },
    }
