"""A fresh SoftHSM2 token in a directory of the test's own."""

from __future__ import annotations

import secrets
from pathlib import Path

from foundation.files import write_secret
from signing.scdev.settings import DeviceSettings
from signing.scdev.token import create_server_keys, init_token

SOFTHSM2_MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")


def make_token(dir: Path, *, rewraps: bool = True) -> DeviceSettings:  # noqa: A002 - the name others call it by
    """Token directory, configuration, PIN files (``so.pin``, ``user.pin``), initialised token, server keys."""
    environment = empty_token_directory(dir)
    so_pin, user_pin = (secrets.token_hex(16).encode() for _ in range(2))
    write_secret(dir / "so.pin", so_pin)
    write_secret(dir / "user.pin", user_pin)
    init_token(SOFTHSM2_MODULE, "test", so_pin, user_pin, environment=environment)
    create_server_keys(SOFTHSM2_MODULE, "test", so_pin, user_pin, environment, rewraps=rewraps)
    return DeviceSettings(
        module=SOFTHSM2_MODULE,
        token_label="test",
        pin_file=dir / "user.pin",
        environment=environment,
    )


def empty_token_directory(dir: Path) -> dict[str, str]:  # noqa: A002 - as above
    """A SoftHSM2 with no token yet; gives the environment that makes the module use it."""
    tokens = dir / "tokens"
    tokens.mkdir(parents=True, mode=0o700)
    configuration = dir / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {tokens}\n"
        "objectstore.backend = file\n"
        "log.level = ERROR\n"
        "slots.removable = false\n",
        encoding="utf-8",
    )
    return {"SOFTHSM2_CONF": str(configuration)}
