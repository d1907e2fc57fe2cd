"""Signs checkpoints of the audit chain every so often, in a thread of the serving process."""

from __future__ import annotations

from typing import Final

from flask import Flask

from auditlog.errors import AuditError
from foundation import log
from idp.delivery import Delivery
from idp.storage.checkpoints import Checkpoints
from idp.web import services as composition

EVERY_SECONDS: Final = 300.0
_log = log.get(__name__)


class Rounds:
    """One checkpoint a round, where anything was added."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    def deliver(self) -> bool:
        """Sign where the chain stands; a chain that is not whole is an alarm in the log, and gets none."""
        try:
            self._checkpoints.make()
        except AuditError as error:
            _log.critical("the audit chain is not whole", extra={"fields": {"cause": error.code, "text": str(error)}})
            return False
        return True


def start(app: Flask) -> Delivery:
    """Begin."""
    services = composition.of(app)
    checkpoints = Checkpoints(services.engine, services.keys, services.settings.issuer, services.clock)
    thread = Delivery(Rounds(checkpoints), EVERY_SECONDS, name="checkpoints")
    thread.start()
    return thread
