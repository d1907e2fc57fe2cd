"""What a worker's token holds while it works: run as a program, answers with JSON.

    python -m tests.integration.scdev_keys SETTINGS_JSON [attributes]

A program of its own because PKCS#11 is initialised once a process, with the configuration of one token.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from pkcs11 import Attribute, ObjectClass

from signing.sam.algorithms import KEY_PROFILES, SHA256
from signing.scdev import tokenkeys
from signing.scdev.userkeys import Blob, UserKeys
from signing.scdev.worker import Device
from tests.integration.scdev_rogue import flags

P256 = KEY_PROFILES["ec-p256"]
DIGEST = bytes(32)


class Bench:
    """A worker without its line."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.device = Device(settings)
        self.unwrapped = 0
        real = UserKeys._unwrap

        def counting(keys: UserKeys, blob: Blob) -> Any:
            self.unwrapped += 1
            return real(keys, blob)

        vars(self.device.keys)["_unwrap"] = lambda blob: counting(self.device.keys, blob)

    def new(self) -> Blob:
        octets, kek_id, mechanism, *_ = self.device.keys.generate(P256)
        return Blob(P256, kek_id.decode(), mechanism.decode(), octets)

    def sign(self, blob: Blob) -> None:
        self.device.keys.sign(blob, "ecdsa", SHA256, [DIGEST])

    def held(self) -> int:
        """Users' keys that the token holds for this process, by the token's own word."""
        wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.TOKEN: False}
        return len(list(self.device._session.get_objects(wanted)))

    def after(self, *blobs: Blob) -> tuple[int, int]:
        """How often it was unwrapped for signing with these, and how many keys are held then."""
        before = self.unwrapped
        for blob in blobs:
            self.sign(blob)
        return self.unwrapped - before, self.held()


def main(settings: Mapping[str, Any]) -> dict[str, object]:
    bench = Bench(settings)
    one, two, three, four = (bench.new() for _ in range(4))
    found: dict[str, object] = {
        "at_first": bench.held(),
        "one_thrice": bench.after(one, one, one),
        "two_more": bench.after(two, three),
        "those_again": bench.after(one, two, three),
        "a_fourth": bench.after(four),
        "the_one_used_longest_ago": bench.after(one),
    }
    time.sleep(settings["key_cache_seconds"])
    bench.device.keys.expire()
    found["too_old"] = bench.held()
    found["anew"] = bench.after(one)
    return found


def attributes(settings: Mapping[str, Any]) -> dict[str, dict[str, bool]]:
    """What keys of every profile may, by the token's own word."""
    keys = Device(settings).keys
    found = {}
    for number, profile in enumerate(KEY_PROFILES.values()):
        octets, kek_id, mechanism, *_ = keys.generate(profile)
        blob = Blob(profile, kek_id.decode(), mechanism.decode(), octets)
        identifier = bytes([number]) * 16
        keys.generate_kept(profile, "realm", identifier)
        found[f"{profile.name} unwrapped"] = flags(keys._unwrap(blob))
        found[f"{profile.name} unwrapped to be wrapped anew"] = flags(keys._unwrap(blob, {Attribute.EXTRACTABLE: True}))
        found[f"{profile.name} kept"] = flags(tokenkeys.find(keys._session, profile, identifier))
    return found


if __name__ == "__main__":
    print(json.dumps((attributes if sys.argv[2:] else main)(json.loads(sys.argv[1]))))  # noqa: T201 - answer
