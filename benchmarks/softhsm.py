"""The peer of ``sign_hash``: how fast the token itself signs, with one key held and one thread.

A process of its own, because PKCS#11 is loaded nowhere else; ``SOFTHSM2_CONF`` comes with the environment.
Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.util.ec import encode_named_curve_parameters

from foundation.files import read_secret
from signing.scdev.locking import LockingLibrary


def main(argv: Sequence[str] | None = None) -> int:
    """Sign digests for so many seconds and print the rate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.softhsm", description=__doc__)
    parser.add_argument("--module", type=Path, required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--pin-file", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args(argv)
    library = LockingLibrary(str(options.module))
    token = library.get_token(token_label=options.label)
    with token.open(rw=True, user_pin=read_secret(options.pin_file).decode()) as session:
        curve = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
        )
        _public, private = curve.generate_keypair(store=False)
        key: Any = private  # what a key can do depends on its mechanisms, which the library's types do not know
        digests = [secrets.token_bytes(32) for _ in range(256)]
        count, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < options.seconds:
            for digest in digests:
                key.sign(digest, mechanism=Mechanism.ECDSA)
            count += len(digests)
    version = ".".join(map(str, library.library_version))
    print(json.dumps({"per_second": count / spent, "version": f"{library.library_description.strip()} {version}"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
