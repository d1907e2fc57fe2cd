"""Puts the parts of the module together, as the settings say."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography import x509

from foundation.clock import Clock, SystemClock, epoch
from foundation.errors import JoseError, SettingsError
from foundation.files import read_secret
from foundation.jose import VerificationKey, import_verification_key, parse_json_object
from foundation.settings import Mode
from signing.sam.activate import Activator
from signing.sam.credential import Floor, Profile
from signing.sam.custody import Custody, Seen
from signing.sam.errors import StateRefused
from signing.sam.lifecycle import Lifecycle
from signing.sam.operators import Operators
from signing.sam.orphans import Orphans
from signing.sam.ports import SignatureDevice
from signing.sam.proof import ProofPolicy
from signing.sam.revoke import Revocations
from signing.sam.rewrap import Rewrapping
from signing.sam.rollback import RollbackAnchor
from signing.sam.verify import SamPolicy, first_second_after
from signing.sam_app.answers import Answers
from signing.sam_app.checkpoints import SamCheckpoints
from signing.sam_settings import ProfileSettings, SamSettings
from signing.storage.engine import open_engine
from signing.storage.store import SqlStore

_T = TypeVar("_T")
_LATE_SECONDS: Final = 30
"""How late a look at the anchor may at least be: a device that comes back takes a while."""


@dataclass(frozen=True, slots=True)
class Sam:
    """The parts, put together."""

    settings: SamSettings
    store: SqlStore
    device: SignatureDevice
    policy: SamPolicy
    activator: Activator
    lifecycle: Lifecycle
    revocations: Revocations
    operators: Operators
    rewrapping: Rewrapping
    orphans: Orphans
    anchor: RollbackAnchor
    checkpoints: SamCheckpoints
    clock: Clock
    device_available: Callable[[], bool]
    """Whether the device would answer, found out without asking it."""
    device_report: Callable[[], Mapping[str, Any]] = dict
    """What the operator sees of the device (JSON), found out the same way."""
    answers: Answers = field(init=False)
    """What was made and may not have arrived."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", Answers(self.clock))


def build(
    settings: SamSettings,
    device: SignatureDevice,
    *,
    device_available: Callable[[], bool],
    device_report: Callable[[], Mapping[str, Any]] = dict,
    clock: Clock | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Sam:
    """Put the parts together; the database has to be there.

    :raises SettingsError: a key or an anchor cannot be read.
    :raises StateRefused: the database is not this module's.
    """
    clock = clock or SystemClock()
    store = open_store(settings)
    store.check(settings.realm)
    if settings.mode == "production":
        store.check_durability()
    policy, anchors = _pinned(settings)
    policy = replace(policy, sads_not_before=sads_not_before(settings.mode, clock.now()))
    seen = Seen()
    anchor = RollbackAnchor(
        device,
        store,
        settings.realm,
        clock=clock,
        restored=seen.forget_versions,
        seen=seen.versions,
        longest_seconds=settings.anchor_every_seconds + max(_LATE_SECONDS, 2 * settings.anchor_every_seconds),
    )
    custody = Custody(device, store, settings.realm, clock=clock, anchor=anchor, seen=seen)
    lifecycle = Lifecycle(device, store, policy, custody=custody, anchors=anchors, clock=clock, random=random)
    revocations = Revocations(device, store, policy, clock=clock)
    operators = Operators(store, policy, custody=custody, lifecycle=lifecycle, clock=clock)
    return Sam(
        settings=settings,
        store=store,
        device=device,
        policy=policy,
        activator=Activator(
            device, store, policy, custody=custody, revocations=revocations, clock=clock, random=random
        ),
        lifecycle=lifecycle,
        operators=operators,
        rewrapping=Rewrapping(device, store, custody=custody, lifecycle=lifecycle, operators=operators, clock=clock),
        orphans=Orphans(
            device,
            store,
            settings.realm,
            custody=custody,
            clock=clock,
            grace_seconds=settings.reservation_deadline_seconds,
        ),
        anchor=anchor,
        checkpoints=SamCheckpoints(device, store, settings.realm, clock=clock),
        revocations=revocations,
        clock=clock,
        device_available=device_available,
        device_report=device_report,
    )


def sads_not_before(mode: Mode, start: datetime) -> int:
    """The first ``iat`` that a process takes which starts now.

    What was spent before, it could know from the ledger only, which somebody may have set back (SAD-12).  In production
    an issuer's clock may be ahead of ours, and nothing is taken that it may have issued before; in development
    everything goes by one machine's clock, and the second after the start will do.
    """
    return first_second_after(start) if mode == "production" else epoch(start) + 1


def open_store(settings: SamSettings) -> SqlStore:
    """The store on the database that the settings name; not yet looked at.

    :raises SecretFileError: the URL's file cannot be read.
    :raises StateRefused: the URL cannot be used, or is not PostgreSQL's in production.
    """
    url = settings.database_url
    if url is None:
        if settings.database_url_file is None:
            raise StateRefused("the settings name no database")
        url = read_secret(settings.database_url_file).decode()
    engine = open_engine(url)
    if settings.mode == "production" and engine.dialect.name != "postgresql":
        # The settings see a URL that they hold themselves; this one may come from the file that they name.
        raise StateRefused("production needs PostgreSQL: SQLite serves one machine and has no role of its own")
    return SqlStore(engine)


def _pinned(settings: SamSettings) -> tuple[SamPolicy, tuple[x509.Certificate, ...]]:
    faults: list[str] = []
    issuers: dict[str, tuple[VerificationKey, ...]] = {}
    for table in settings.issuers.values():
        keys = [_read(path, _verification_key, faults) for path in table.keys]
        issuers[table.issuer] = tuple(key for key in keys if key is not None)
    found = [_read(path, x509.load_pem_x509_certificate, faults) for path in settings.certificate_anchors]
    if faults:
        raise SettingsError(tuple(faults))
    policy = SamPolicy(
        realm=settings.realm,
        sam_id=settings.sam_id,
        issuers=issuers,
        profiles={name: _profile(name, table) for name, table in settings.profiles.items()},
        epoch_not_before=0,
        max_transaction_seconds=settings.max_transaction_seconds,
        dpop_htu=settings.dpop_htu,
        max_order_seconds=settings.max_order_seconds,
        max_operation_seconds=settings.max_operation_seconds,
        proof=None if settings.proof is None else ProofPolicy(settings.proof.rp_id, settings.proof.origins),
    )
    return policy, tuple(anchor for anchor in found if anchor is not None)


def _read(path: Path, parse: Callable[[bytes], _T], faults: list[str]) -> _T | None:
    try:
        return parse(path.read_bytes())
    except OSError as error:
        faults.append(f"{path}: cannot be read ({error.strerror})")
    except (ValueError, JoseError):
        faults.append(f"{path}: is not what it should be")
    return None


def _verification_key(data: bytes) -> VerificationKey:
    return import_verification_key(data if data.lstrip().startswith(b"-----") else parse_json_object(data))


def _profile(name: str, table: ProfileSettings) -> Profile:
    return Profile(
        name=name,
        key=table.key,
        scal=table.scal,
        qualifier=table.signature_qualifier,
        multisign=table.multisign,
        floor=Floor(
            loa=table.loa,
            min_categories=table.min_categories,
            max_sad_seconds=table.max_sad_seconds,
            max_evidence_age_seconds=table.max_evidence_age_seconds,
            phishing_resistant=table.phishing_resistant,
            max_signatures_per_day=table.max_signatures_per_day,
            signer_proof=table.signer_proof,
        ),
        custody=table.custody,
        accepts_imports=table.accepts_imports,
    )
