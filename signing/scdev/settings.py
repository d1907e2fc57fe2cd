"""Settings and state of the device: plain values, no PKCS#11."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """Which token, and how the processes that use it are kept."""

    module: Path
    """The PKCS#11 module (a shared library)."""
    token_label: str
    pin_file: Path
    """Owner-only file with the user PIN; opened by the workers, never by the process that starts them."""
    workers: int = 2
    deadline_seconds: float = 10.0
    """For one call, from when it was handed to a worker; and as much for waiting until one is free."""
    recycle_after: int = 20_000
    """Operations after which a worker is replaced: modules leak (SoftHSM2 about 250 octets an unwrap)."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the workers get as their environment beside PATH and LANG, such as SOFTHSM2_CONF; nothing else."""
    kek_id: str | None = None
    """CKA_ID (hexadecimal) of the KEK for new keys; needed only if the token holds more than one."""
    key_wrap: str = "auto"
    """Mechanism for new keys: "auto" takes what the token offers, CKM_AES_KEY_WRAP_PAD ("aes-kwp", RFC 5649) before
    CKM_AES_KEY_WRAP ("aes-kw", RFC 3394); "vendor:0x8…" is one of the token's vendor."""
    key_cache: int = 64
    """Unwrapped keys that a worker keeps for the next request, least recently used out first; 0: none."""
    key_cache_seconds: float = 60.0
    """How long after it was unwrapped a key is kept, used or not."""
    parameters: str | None = None
    """A text for C_Initialize, for modules that want one (NSS softokn)."""
    require_trusted_kek: bool = True
    """Refuse a KEK that is not CKA_TRUSTED; false only for tokens on which none can be made."""


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """A process that serves."""

    process: int
    slot: str
    serial: str
    """Of the token that it uses."""
    operations: int
    busy: bool
    proved_seconds_ago: float
    """Since it last answered rightly."""


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """What the supervisor knows, without asking the device."""

    available: bool
    """A worker serves, and one has answered rightly in the last four seconds."""
    workers_ready: int
    workers: int
    pin_refused: bool
    """The token refused the PIN: nobody logs in again before the process is restarted by its operator."""
    restarts: int
    """Workers replaced after a failure (not those recycled in time)."""
    losses: int
    """How often the device was lost for all of them."""
    canary_age_seconds: float | None
    """Since a canary signature was verified."""
    failure: str | None
    """Why no worker serves, or why the last one could not be started."""
    return_codes: Mapping[str, int]
    """How often the token answered each code but CKR_OK, since the start."""
    processes: tuple[WorkerHealth, ...]


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """CKA_IDs (hexadecimal) of the keys that belong to the server itself."""

    kek_id: str
    mac_key_id: str
    canary_id: str
    checkpoint_id: str
