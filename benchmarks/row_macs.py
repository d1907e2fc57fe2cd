"""The tags of many credentials' rows, made by the token: for ``credentials``, which needs a million of them.

A process of its own, because PKCS#11 is loaded nowhere else; ``SOFTHSM2_CONF`` comes with the environment.
Prints the tags, 32 octets each, one after another.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pkcs11 import Attribute, Mechanism, ObjectClass

from benchmarks.rows import octets_of
from foundation.files import read_secret
from signing.scdev.locking import LockingLibrary
from signing.scdev.objects import MAC_LABEL


def main(argv: Sequence[str] | None = None) -> int:
    """Make the tags of rows ``--first`` to before ``--after``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.row_macs", description=__doc__)
    parser.add_argument("--module", type=Path, required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--pin-file", type=Path, required=True)
    parser.add_argument("--template", type=Path, required=True, help="octets of the row that the others are like")
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--after", type=int, required=True)
    options = parser.parse_args(argv)
    template = options.template.read_bytes()
    token = LockingLibrary(str(options.module)).get_token(token_label=options.label)
    with token.open(user_pin=read_secret(options.pin_file).decode()) as session:
        wanted = {Attribute.LABEL: MAC_LABEL, Attribute.CLASS: ObjectClass.SECRET_KEY}
        (found,) = session.get_objects(wanted)
        key: Any = found  # what a key can do depends on its mechanisms, which the library's types do not know
        for number in range(options.first, options.after):
            sys.stdout.buffer.write(key.sign(octets_of(template, number), mechanism=Mechanism.SHA256_HMAC))
    return 0


if __name__ == "__main__":
    sys.exit(main())
