"""Settings of codes that people read off an app or a device: the table ``[codes]``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CodeSettings:
    """Codes that people read off an app or a device and type."""

    totp_step_seconds: int = 30
    """Of new apps; a policy's ``step`` may be shorter.  Many apps know 30 seconds only."""
    totp_drift: int = 1
    """Steps before and after the present one that are accepted (RFC 6238 5.2)."""
    totp_apps: int = 5
    """Of one account."""
    hotp_window: int = 10
    """Codes from the next one on that are accepted alone (RFC 4226 7.2)."""
    hotp_resync_window: int = 100
    """The same for two consecutive codes (RFC 4226 7.4)."""

    def faults(self) -> Iterable[str]:
        """NIST SP 800-63B 5.1.4.1 (two minutes a step); what can be guessed grows with each window."""
        if not 15 <= self.totp_step_seconds <= 120 or not 0 <= self.totp_drift <= 2:
            yield "totp_step_seconds is 15 to 120, totp_drift is 0 to 2"
        if not 1 <= self.totp_apps <= 10:
            yield "totp_apps is 1 to 10"
        if not 1 <= self.hotp_window <= 20 or not self.hotp_window <= self.hotp_resync_window <= 1000:
            yield "hotp_window is 1 to 20, hotp_resync_window is at least hotp_window and at most 1000"
