"""Signed checkpoints of the module's audit chain: every so often, at the end, and when an operator asks."""

from __future__ import annotations

from typing import Final

from auditlog.errors import AuditError
from auditlog.kept import Checkpointer, Made
from auditlog.notes import origin_of
from foundation import log
from foundation.clock import Clock
from signing.sam.errors import StoreUnavailable
from signing.sam.ports import SignatureDevice, device_errors
from signing.storage.store import SqlStore
from signing.storage.tables import audit
from signing.storage.transactions import Transactions

SIDE: Final = "sam"
_log = log.get(__name__)


class SamCheckpoints:
    """Makes checkpoints with the token's key for them.  Thread-safe."""

    def __init__(self, device: SignatureDevice, store: SqlStore, realm: str, *, clock: Clock) -> None:
        self._device = device
        self._store = store
        self._transactions = Transactions(store.engine)
        self._maker = Checkpointer(audit, origin_of(realm, SIDE), device, clock)
        self._epoch: int | None = None

    def make(self) -> Made | None:
        """Sign where the chain stands; None: it is empty.

        :raises StoreUnavailable: the database cannot be used, or the chain is not whole: an alarm in the log.
        :raises ScdevUnavailable: the device did not sign.
        """
        epoch = self._store.epoch().number
        if self._epoch not in {None, epoch}:
            self._maker.forget()  # operators restored a database that may be behind what was signed
        self._epoch = epoch
        try:
            with device_errors():
                return self._maker.make(self._transactions.snapshot, self._transactions.writing)
        except AuditError as error:
            _log.critical("the audit chain is not whole", extra={"fields": {"cause": error.code, "text": str(error)}})
            raise StoreUnavailable("the audit chain is not whole") from error
        except (TypeError, ValueError) as error:
            # SQLite keeps in a column what it is given, of whatever type: nothing that this program wrote.
            _log.critical("the audit chain cannot be read", extra={"fields": {"cause": type(error).__name__}})
            raise StoreUnavailable("the audit chain cannot be read") from error

    def public_key(self) -> bytes:
        """DER SubjectPublicKeyInfo of the key that signs them.

        :raises ScdevUnavailable: the device does not give it.
        """
        with device_errors():
            return self._device.checkpoint_key()
