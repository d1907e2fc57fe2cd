"""The peer of ``benchmarks.csc``: certomancer's dummy CSC server, as its package has it, with keys made for the run.

It says itself what it leaves out: it asks nobody who they are, spends no permission, keeps no record and no key secret.
What it checks is that the digests are those of the SAD, by an HMAC.  One process, one thread (aiohttp).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from csc_dummy.csc_dummy_server import CSCAuthorization, DummyServiceParams
from csc_dummy.runner import run_from_file

KEYS: Final = ("ec-p256", "rsa-2048", "rsa-3072")
_PATH: Final = "/csc/v1"


def credential(key: str) -> str:
    """The toy's identifier of a key's credential."""
    return f"toy/{key}"


def sad(key: str, digests: Sequence[bytes]) -> str:
    """A permission as the toy gives it to whoever asks."""
    granted = CSCAuthorization(credential(key), len(digests), list(digests))
    return str(granted.derive_sad(DummyServiceParams().sad_secret))


def write(directory: Path) -> Path:
    """Make keys and the configuration."""
    made: Mapping[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = {
        "root": ec.generate_private_key(ec.SECP256R1()),
        "ec-p256": ec.generate_private_key(ec.SECP256R1()),
        "rsa-2048": rsa.generate_private_key(65537, 2048),
        "rsa-3072": rsa.generate_private_key(65537, 3072),
    }
    for name, key in made.items():
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = directory / f"toy-{name}.key"
        path.touch(0o600)
        path.write_bytes(pem)
    path = directory / "toy.yml"
    path.write_text(yaml.safe_dump(_configuration(directory)), encoding="utf-8")
    return path


def _configuration(directory: Path) -> dict[str, Any]:
    validity = {"valid-from": "2020-01-01T00:00:00+0000", "valid-to": "2100-01-01T00:00:00+0000"}
    names = ("root", *KEYS)
    certificates = {
        name: {
            "subject": name, "subject-key": name, "issuer": "root", "authority-key": "root", "validity": validity,
        }
        for name in names
    }  # fmt: skip
    return {
        "external-url-prefix": "http://127.0.0.1",
        "keysets": {
            "toy": {"path-prefix": str(directory), "keys": {name: {"path": f"toy-{name}.key"} for name in names}}
        },
        "pki-architectures": {
            "toy": {
                "keyset": "toy",
                "entities": {name: {"common-name": name} for name in names},
                "certs": certificates,
            }
        },
    }


def main(arguments: Sequence[str]) -> int:
    """``CONFIG PORT``: serve; without the log of every request that its own command writes."""
    run_from_file(arguments[0], int(arguments[1]), require_hash_pinning=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
