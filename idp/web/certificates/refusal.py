"""Recording that a certificate was refused: in the chain where it concerns somebody, else in the log alone.

Anybody may begin to sign in, and send what they like to where certificates are presented, as often as they like.  Of
that the chain keeps what a signed-in person's browser sent and what came with a certificate that is somebody's, as it
keeps wrong passwords of accounts that exist and no others: strangers cannot fill it (DOS-04).
"""

from __future__ import annotations

from typing import Final

from flask import request
from sqlalchemy import Connection

from foundation import log
from idp.authn.certificate.errors import CertificateRefused, NotChecked
from idp.storage import authenticators, sessions
from idp.web.certificates.transport import Ignored
from idp.web.services import services

_NAMES_ACCOUNTS: Final = frozenset({"ambiguous", "not_yours"})
"""Causes that no certificate has which names nobody here."""
_logger = log.get(__name__)


def record(
    error: CertificateRefused, *, session_id: str, purpose: str, identity: str | None = None, **fields: str
) -> None:
    """Record a refusal.

    :param session_id: the browser's session that the certificate was asked for.
    :param identity: of the certificate, where one was presented and could be read.
    :param fields: more for the record.
    """
    with services().engine.begin() as connection:
        account_id = _whose(connection, session_id, identity)
        if account_id is None and error.cause not in _NAMES_ACCOUNTS:
            said = {"cause": error.cause, "purpose": purpose}
            _logger.warning("a certificate was refused to somebody unknown", extra={"fields": said})
        elif isinstance(error, Ignored):
            services().audit.record(
                connection,
                "certificate.header_ignored",
                session_id=session_id,
                peer=request.remote_addr or "",
                cause=error.reason,
            )
        else:
            known = {} if account_id is None else {"account_id": account_id}
            detail = {"detail": error.detail} if isinstance(error, NotChecked) else {}
            seen = {} if identity is None else {"certificate": identity}
            services().audit.record(
                connection,
                "certificate.refused",
                session_id=session_id,
                purpose=purpose,
                cause=error.cause,
                **known,
                **detail,
                **seen,
                **fields,
            )


def _whose(connection: Connection, session_id: str, identity: str | None) -> str | None:
    """Whoever is signed in in that session, else whose certificate it is."""
    with_services = services()
    session = sessions.find_by_id(
        connection, with_services.seals, session_id, with_services.clock.now(), with_services.settings.session
    )
    if session is not None and session.account_id is not None:
        return session.account_id
    owned = None if identity is None else authenticators.find_by_lookup(connection, with_services.seals, identity)
    return None if owned is None else owned.account_id
