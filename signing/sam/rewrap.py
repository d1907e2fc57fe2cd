"""Wrapping users' keys anew, while the module signs: credential after credential, each a change like any other.

A credential's key is wrapped by another KEK inside the device, which verifies that both blobs hold the same key; then
the row is replaced by its next version, with its audit record, under a new MAC, and anchored.  Whatever dies in between
leaves each credential with a blob that serves, by the old KEK or by the new one, since both are on the token until
somebody has seen that no row needs the old one.  So what was broken off is simply asked for again: nothing is done
twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from auditlog.chain import Fields
from contract.operation import Operation
from foundation.clock import Clock
from signing.sam import events
from signing.sam.credential import Credential
from signing.sam.custody import Custody
from signing.sam.errors import (
    CredentialDisabled,
    OperationRefused,
    RowAltered,
    ScdevUnavailable,
    UnknownCredential,
)
from signing.sam.lifecycle import Lifecycle
from signing.sam.operators import OPERATORS, REWRAP, Operators
from signing.sam.ports import (
    ON_TOKEN,
    DeviceError,
    OperationNotPermitted,
    SignatureDevice,
    WrappedKey,
    WrappedKeyRefused,
    device_errors,
)
from signing.sam.store import Record, Store

UNREADABLE: Final = "unreadable"
"""In the place of a code: the row has not even the form of one."""
_ROWS: Final = 200
"""Looked at in one step at most."""
_CHANGES: Final = 20
"""Made in one step at most: whoever asks for it waits for an answer, and shows how far it is."""
_ATTEMPTS: Final = 3
"""Where others change the same credential meanwhile."""


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a step."""

    looked_at: int
    """Rows."""
    rewrapped: int
    failed: tuple[tuple[str, str], ...]
    """Credentials whose key could not be wrapped anew, each with the code of why."""
    next: str | None
    """Where to go on; None at the end."""
    stopped: str | None = None
    """Why no key can be wrapped anew."""


class Rewrapping:
    """Carries :data:`signing.sam.operators.REWRAP` out, step by step.  Thread-safe."""

    def __init__(
        self,
        device: SignatureDevice,
        store: Store,
        *,
        custody: Custody,
        lifecycle: Lifecycle,
        operators: Operators,
        clock: Clock,
    ) -> None:
        """:param lifecycle: writes; shared with everything in the process that changes credentials."""
        self._device = device
        self._store = store
        self._custody = custody
        self._lifecycle = lifecycle
        self._operators = operators
        self._clock = clock

    def step(self, bundle: str, after: str = "") -> Step:
        """Wrap the next keys anew.

        :param bundle: an operation by one operator at least, whose ``kek_id`` is that of the KEK for new keys.
        :param after: where the step before ended; empty at the beginning.
        :raises OperationInvalid: form, signatures; also expired.
        :raises OperationRefused: not for this module, or for another KEK than new keys are wrapped by.
        :raises SamError: device or store failed; what was done is done.
        """
        operation = self._operators.permit(bundle, REWRAP, {"kek_id"})
        target = self._current()
        if operation.parameters["kek_id"] != target:
            # An operation from before the next KEK would bring a KEK back that is to go.
            raise OperationRefused("new keys are wrapped by another KEK than the operation names")
        self._custody.epoch(self._store.epoch())
        looked_at = rewrapped = 0
        failed: list[tuple[str, str]] = []
        rows = self._store.credential_rows(after, _ROWS)
        for credential_id, row in rows:
            after, looked_at = credential_id, looked_at + 1
            if row is not None and not _needed(row.credential.key, target):
                continue
            try:
                rewrapped += self._rewrapped(credential_id, target, operation)
            except OperationNotPermitted as error:
                return Step(looked_at, rewrapped, tuple(failed), after, str(error))
            except WrappedKeyRefused as error:
                failed.append((credential_id, error.code))
            except (RowAltered, CredentialDisabled, UnknownCredential) as error:
                failed.append((credential_id, UNREADABLE if row is None else error.code))
            if rewrapped == _CHANGES:
                break
        ended = looked_at == len(rows) < _ROWS
        return Step(looked_at, rewrapped, tuple(failed), None if ended else after)

    def _current(self) -> str:
        with device_errors():
            found = [kek.kek_id for kek in self._device.wrapping_keys() if kek.current]
        if len(found) != 1:
            raise ScdevUnavailable("the device does not say which KEK new keys are wrapped by")
        return found[0]

    def _rewrapped(self, credential_id: str, target: str, operation: Operation) -> bool:
        """Whether there was anything to do."""
        for attempt in range(_ATTEMPTS):
            credential = self._lifecycle.credential(credential_id)
            if not _needed(credential.key, target):
                return False
            anew = self._anew(credential.wrapped_key())
            try:
                self._write(credential, anew, operation)
            except CredentialDisabled:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return True
        return False

    def _anew(self, key: WrappedKey) -> WrappedKey:
        try:
            return self._device.rewrap(key)
        except (OperationNotPermitted, WrappedKeyRefused):
            raise
        except DeviceError as error:
            raise ScdevUnavailable("the device did not wrap a key anew") from error

    def _write(self, credential: Credential, anew: WrappedKey, operation: Operation) -> None:
        changed = replace(credential, key=anew, policy=operation.jti, version=credential.version + 1)
        fields: Fields = {
            "credential_id": changed.id,
            "owner": changed.owner,
            "version": changed.version,
            "issuer": OPERATORS,
            "order": operation.jti,
            "decision": " ".join(operation.signers),
            "kek": anew.kek_id,
            "kek_before": credential.wrapped_key().kek_id,
            "mechanism": anew.mechanism,
        }
        self._lifecycle.write(changed, Record(events.CREDENTIAL_REWRAPPED, fields, self._clock.now()), None)


def _needed(key: WrappedKey | None, target: str) -> bool:
    """Whether a row's key is wrapped by another KEK; a deleted credential has none, and some stay on the token."""
    return key is not None and key.mechanism != ON_TOKEN and key.kek_id != target
