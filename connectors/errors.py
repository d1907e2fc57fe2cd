"""Why a connector could not be loaded."""

from __future__ import annotations

from foundation.errors import PrivySealError


class ConnectorError(PrivySealError):
    """Base of the registry's errors; never raised itself."""

    code = "connector"


class UnknownConnector(ConnectorError):
    """No connector of that kind and name is installed."""


class ConnectorNotAllowed(ConnectorError):
    """A development stand-in was asked for in production mode."""


class ConnectorMisconfigured(ConnectorError):
    """The connector refused its settings."""
