"""The web tier's client of the link, from its settings."""

from __future__ import annotations

from foundation.addresses import split_address
from foundation.errors import SettingsError
from signing.link.client import SamClient
from signing.link.tls import TlsEndpoint, TlsFiles
from signing.settings import WebSettings


def open_client(settings: WebSettings) -> SamClient:
    """A client of the module that the settings name.

    :raises SettingsError: the files of TLS cannot be used, or no module is named.
    """
    table = settings.sam_tls
    if table is not None:
        endpoint = TlsEndpoint(*split_address(table.address), TlsFiles(table.certificate, table.key, table.peers))
        return SamClient(endpoint, settings.sam_timeout_seconds)
    if settings.sam_socket is None:
        raise SettingsError(("one of sam_socket and sam_tls must be given",))
    return SamClient(settings.sam_socket, settings.sam_timeout_seconds)
