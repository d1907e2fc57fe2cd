"""What authorities say about the certificates that are signed with, and about those of time-stamps, for the API.

A certificate that was revoked or suspended signs no document: that is found before anything is spent (SIG-07).  The
module does not ask: it opens no connection.  What was found is also what a signature carries to be validated for long.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from connectors.ports.status import IssuerSource, StatusError, StatusSource, StatusUnavailable
from foundation.certificates.path import Path
from foundation.clock import Clock
from foundation.log import get
from signing.ades.errors import CertificateRevoked, ChainNotTrusted, EvidenceMissing
from signing.ades.validation_data import ValidationData, gather_along, path_of
from signing.csc import errors
from signing.settings import StatusSettings

_PATH_LIFE: Final = timedelta(minutes=5)
"""For which a path that was validated is not validated again."""
_MAX_PATHS: Final = 1000
_log = get(__name__)


class CertificateStatus:
    """A source of status with the operator's trust anchors.  Thread-safe; the memory is the process's."""

    def __init__(
        self,
        source: StatusSource,
        anchors: Sequence[x509.Certificate],
        clock: Clock,
        settings: StatusSettings,
        issuers: IssuerSource | None = None,
    ) -> None:
        """:param issuers: where certificates are fetched that a chain lacks; None: nowhere."""
        self._source = source
        self._anchors = tuple(anchors)
        self._clock = clock
        self._settings = settings
        self._issuers = issuers
        self._lock = threading.Lock()
        self._paths: OrderedDict[bytes, tuple[datetime, Path]] = OrderedDict()

    def check(self, chain: Sequence[bytes]) -> None:
        """Whether a signer's certificate, and its authorities', are good now.

        :param chain: DER, the signer's first.
        :raises errors.InvalidRequest: one is revoked, suspended, or has expired.
        :raises errors.TemporarilyUnavailable: nobody says, and the settings do not let it be.
        """
        try:
            gather_along(self._path(chain), self._source)
        except CertificateRevoked as error:
            words = errors.CERTIFICATE_SUSPENDED if error.status == "suspended" else errors.CERTIFICATE_REVOKED
            raise errors.InvalidRequest(words) from error
        except (ChainNotTrusted, StatusError) as error:
            if isinstance(error, ChainNotTrusted) and error.cause == "expired":
                raise errors.InvalidRequest(errors.CERTIFICATE_EXPIRED) from error
            _log.warning("a certificate's status cannot be told", extra={"fields": _fields(error)})
            if self._settings.unknown == "refuse":
                raise errors.TemporarilyUnavailable(errors.NO_STATUS) from error

    def of(self, certificates: Sequence[bytes], since: datetime | None) -> ValidationData:
        """The path of a certificate to a trust anchor, and what is said of each on it.

        :param certificates: DER, the end entity's first.
        :param since: aware; what is said of the end entity is not to be older, unless the settings take what is there;
            that it was revoked after that takes nothing away.
        :raises EvidenceMissing: it is not to be had now, or not freshly enough; or a certificate is revoked.
        """
        try:
            path = self._path(certificates)
            try:
                return gather_along(path, self._source, at_least=since, valid_at=since)
            except StatusUnavailable:
                if since is None or self._settings.freshness == "after_stamp":
                    raise
                return gather_along(path, self._source, valid_at=since)
        except (ChainNotTrusted, CertificateRevoked, StatusError) as error:
            _log.warning("a certificate cannot be validated", extra={"fields": _fields(error)})
            raise EvidenceMissing("what would validate a certificate is not to be had") from error

    def _path(self, chain: Sequence[bytes]) -> Path:
        now = self._clock.now()
        name = hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in chain)).digest()
        with self._lock:
            known = self._paths.get(name)
        if known is not None and now < known[0]:
            return known[1]
        path = path_of(chain, self._anchors, now, self._issuers)
        end = min([now + _PATH_LIFE, *(each.not_valid_after_utc for each in path.certificates)])
        with self._lock:
            self._paths[name] = (end, path)
            self._paths.move_to_end(name)
            while len(self._paths) > _MAX_PATHS:
                self._paths.popitem(last=False)
        return path


def _fields(error: ChainNotTrusted | CertificateRevoked | StatusError) -> dict[str, str]:
    return {"code": error.code, "cause": error.cause if isinstance(error, ChainNotTrusted) else str(error)}
