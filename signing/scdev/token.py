"""Preparing a token: initialise it, set the PINs, create the server's own keys.

Each call runs in a child process of its own (:mod:`signing.scdev.ceremony`); PINs go down a socket pair and are in
neither its arguments nor its environment.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from signing.scdev.children import start
from signing.scdev.errors import (
    CeremonyFailed,
    FrameBroken,
    TokenError,
    TokenExists,
    TokenKeysExist,
    TokenMissing,
    TokenPinRefused,
)
from signing.scdev.frames import pack, receive
from signing.scdev.settings import ServerKeys

_SECONDS: Final = 60.0
_NO_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({})
_ERRORS: Final[dict[str, type[TokenError]]] = {
    kind.__name__: kind for kind in (TokenExists, TokenMissing, TokenKeysExist, TokenPinRefused, CeremonyFailed)
}


def init_token(
    module: Path,
    label: str,
    so_pin: bytes,
    user_pin: bytes,
    slot: int | None = None,
    *,
    environment: Mapping[str, str] = _NO_ENVIRONMENT,
) -> None:
    """C_InitToken, then C_InitPIN as security officer.

    :param slot: its id; None takes the first whose token is not initialised.
    :param environment: what the module reads, such as SOFTHSM2_CONF.
    :raises TokenExists: a token of that label is there; it is left alone.
    :raises TokenMissing: no such slot, or none that is free.
    :raises TokenPinRefused: a PIN is too short, too long, or not that of the token.
    :raises CeremonyFailed: anything else the token answered.
    """
    _check_label(label)
    _run("init", module, {"label": label, "slot": slot}, (so_pin, user_pin), environment)


def create_server_keys(
    module: Path,
    label: str,
    so_pin: bytes,
    user_pin: bytes,
    environment: Mapping[str, str] = _NO_ENVIRONMENT,
    *,
    trusted: bool = True,
    rewraps: bool = True,
) -> ServerKeys:
    """Create the KEK (AES-256), the key of the row MACs (HMAC-SHA-256) and the canary key (P-256).

    :param trusted: have the security officer mark the KEK CKA_TRUSTED, so that user keys can be wrapped by nothing
        else.  False only for a token whose officer cannot; the device must then be told to accept it.
    :param rewraps: whether what the KEK has wrapped can be wrapped again by another trusted one.
    :raises TokenMissing: no token of that label.
    :raises TokenKeysExist: there are such keys already; nothing was made.
    :raises TokenPinRefused: tried once.
    :raises CeremonyFailed: anything else the token answered, among it that it does not obey a template.
    """
    options = {"label": label, "trusted": trusted, "rewraps": rewraps}
    made = _run("keys", module, options, (so_pin, user_pin), environment)
    return ServerKeys(made["kek_id"], made["mac_key_id"], made["canary_id"], made["checkpoint_id"])


def create_kek(
    module: Path,
    label: str,
    so_pin: bytes,
    user_pin: bytes,
    environment: Mapping[str, str] = _NO_ENVIRONMENT,
    *,
    trusted: bool = True,
    rewraps: bool = True,
) -> str:
    """Create one more KEK beside those that are there; gives its CKA_ID in hexadecimal.

    :raises TokenMissing: no token of that label, or no server keys on it.
    :raises TokenPinRefused: tried once.
    :raises CeremonyFailed: anything else the token answered.
    """
    options = {"label": label, "trusted": trusted, "rewraps": rewraps}
    return str(_run("kek", module, options, (so_pin, user_pin), environment)["kek_id"])


def token_exists(module: Path, label: str, environment: Mapping[str, str] = _NO_ENVIRONMENT) -> bool:
    """Whether a token of that label is there.

    :raises CeremonyFailed: the module cannot be loaded or does not answer.
    """
    return bool(_run("exists", module, {"label": label}, (b"", b""), environment))


def _check_label(label: str) -> None:
    if not label.strip() or label != label.strip() or len(label.encode()) > 32:
        raise CeremonyFailed("a token's label has 1 to 32 octets and no blanks around it")


def _run(
    operation: str,
    module: Path,
    options: Mapping[str, object],
    pins: tuple[bytes, bytes],
    environment: Mapping[str, str],
) -> Any:
    try:
        process, line = start("signing.scdev.ceremony", environment)
    except OSError as error:
        raise CeremonyFailed("the ceremony's process cannot be started") from error
    request = (operation.encode(), json.dumps({**options, "module": str(module)}).encode(), *pins)
    try:
        with line:
            line.settimeout(_SECONDS)
            line.sendall(pack(request))
            answer = receive(line, _SECONDS)
        process.wait(_SECONDS)
    except (FrameBroken, OSError, subprocess.TimeoutExpired):
        # Not chained: the frames of this function hold PINs, which a traceback with locals would show.
        raise CeremonyFailed("the ceremony's process ended without an answer, or not in time") from None
    finally:
        process.kill()
        process.wait()
    if answer[0] == b"ok":
        return json.loads(answer[1])
    raise _ERRORS.get(answer[1].decode(), CeremonyFailed)(answer[2].decode())
