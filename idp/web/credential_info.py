"""Reads a credential from the signing service for the consent page, over its public CSC API.

The answer is the web tier's word and is used to show a person what they are about to use, and as facts for the policy.
What may be signed with the credential is decided elsewhere, by its own floor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import requests

from contract import proof_key
from contract.errors import ProofInvalid
from contract.proof_key import MAX_KEYS
from foundation import log
from foundation.egress import Egress, read_limited
from foundation.errors import PrivySealError, TokenMalformed
from foundation.jose import parse_json_object
from idp.errors import CredentialUnavailable, CredentialUnusable
from idp.web.services import CredentialView

TokenFor = Callable[[str, str], str]
"""Account id and client id to a service access token."""

HOLD_SECONDS: Final = 30
"""How long a token is used again: it lives longer (:data:`idp.web.oidc_tokens.SELF_SERVICE_SECONDS`)."""
_MAX_ANSWER: Final = 256 * 1024
_MAX_TEXT: Final = 512
_CLIENT_FAULTS: Final = range(400, 500)
_logger = log.get(__name__)


class CscCredentialReader:
    """``credentials/info`` and ``credentials/list`` of the CSC API (2.0.0.2 clauses 11.5 and 11.4)."""

    def __init__(self, egress: Egress, base: str, timeout_seconds: float, token_for: TokenFor) -> None:
        self._session = egress.session(timeout_seconds)
        self._base = base
        self._tokens = _Tokens(token_for)

    def read(self, account_id: str, client_id: str, credential_id: str) -> CredentialView:
        """The credential, read with a token for its owner.

        :raises CredentialUnavailable: the service does not answer, or not in the form of its standard.
        :raises CredentialUnusable: the service refuses: unknown, or not this account's.
        """
        body = {"credentialID": credential_id, "certificates": "single", "certInfo": True, "authInfo": False}
        status, data = self._asked(account_id, client_id, "credentials/info", body)
        if status in _CLIENT_FAULTS and status not in {401, 403, 429}:
            raise CredentialUnusable("the signing service does not know the credential as this person's")
        return _view(credential_id, _answer(status, data))

    def of_account(self, account_id: str, client_id: str) -> tuple[CredentialView, ...]:
        """All of an account's credentials, read with a token for their owner.

        :raises CredentialUnavailable: the service does not answer, or not in the form of its standard.
        """
        body = {"credentialInfo": True, "certificates": "single", "certInfo": True, "authInfo": False}
        status, data = self._asked(account_id, client_id, "credentials/list", body)
        answer = _answer(status, data)
        try:
            return tuple(_view(_text(item, "credentialID"), item) for item in answer["credentialInfos"])
        except (ValueError, KeyError, TypeError) as error:
            raise CredentialUnavailable("the signing service's answer cannot be read") from error

    def _asked(self, account_id: str, client_id: str, method: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        token, held = self._tokens.take(account_id, client_id)
        status, data = self._ask(token, method, body)
        if status == requests.codes.unauthorized and held:
            # What it rests on may have ended since it was made; what is said of a new one is an answer.
            self._tokens.forget(account_id, client_id)
            token, _ = self._tokens.take(account_id, client_id)
            status, data = self._ask(token, method, body)
        if status == requests.codes.unauthorized:
            self._tokens.forget(account_id, client_id)
        return status, data

    def _ask(self, token: str, method: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        try:
            response = self._session.post(
                f"{self._base}/{method}", json=body, headers={"Authorization": f"Bearer {token}"}, stream=True
            )
            with response:
                return response.status_code, read_limited(response, _MAX_ANSWER)
        except (requests.RequestException, PrivySealError) as error:
            _logger.warning("the signing service cannot be read", extra={"fields": {"cause": type(error).__name__}})
            raise CredentialUnavailable("the signing service does not answer") from None


class _Tokens:
    """Tokens at hand: a page that is loaded again and again makes neither tokens nor records of them.

    By the monotonic clock, which nobody sets.
    """

    def __init__(self, token_for: TokenFor) -> None:
        self._token_for = token_for
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], tuple[str, float]] = {}

    def take(self, account_id: str, client_id: str) -> tuple[str, bool]:
        """A token, and whether it had been made before."""
        now = time.monotonic()
        with self._lock:
            found = self._held.get((account_id, client_id))
        if found is not None and found[1] > now:
            return found[0], True
        token = self._token_for(account_id, client_id)
        with self._lock:
            self._held = {key: value for key, value in self._held.items() if value[1] > now}
            self._held[account_id, client_id] = (token, now + HOLD_SECONDS)
        return token, False

    def forget(self, account_id: str, client_id: str) -> None:
        """It is not taken any more."""
        with self._lock:
            self._held.pop((account_id, client_id), None)


def _answer(status: int, data: bytes) -> Mapping[str, Any]:
    if status != requests.codes.ok:
        _logger.warning("the signing service refused", extra={"fields": {"status": status}})
        raise CredentialUnavailable(f"the signing service answered {status}")
    try:
        return parse_json_object(data)
    except (TokenMalformed, ValueError) as error:
        raise CredentialUnavailable("the signing service's answer cannot be read") from error


def _view(credential_id: str, answer: Mapping[str, Any]) -> CredentialView:
    try:
        key, cert, sole = answer["key"], answer["cert"], answer.get("soleControl", {})
        return CredentialView(
            credential_id=credential_id,
            subject=_text(cert, "subjectDN"),
            issuer=_text(cert, "issuerDN"),
            valid_from=_text(cert, "validFrom", optional=True),
            valid_to=_text(cert, "validTo", optional=True),
            scal=_text(answer, "SCAL", optional=True) or "1",
            qualifier=_text(answer, "signatureQualifier", optional=True) or None,
            status=_status(_text(key, "status"), _text(cert, "status", optional=True)),
            proof_required=sole.get("required") is True,
            proof_keys=_proof_keys(sole),
        )
    except (ValueError, KeyError, TypeError, AttributeError, ProofInvalid) as error:
        raise CredentialUnavailable("the signing service's answer cannot be read") from error


def _proof_keys(sole: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    found = sole.get("keys", [])
    if not isinstance(found, list) or len(found) > MAX_KEYS:
        raise ValueError("keys")
    return tuple(proof_key.to_json(proof_key.from_json(item)) for item in found)


def _text(value: Any, name: str, *, optional: bool = False) -> str:
    found = value.get(name) if optional else value[name]
    if found is None and optional:
        return ""
    if not isinstance(found, str) or len(found) > _MAX_TEXT or not found.isprintable():
        raise ValueError(name)
    return found


def _status(key: str, certificate: str) -> str:
    """``enabled``, if both key and certificate may be used; ``revoked`` is for good, ``disabled`` may pass."""
    if certificate == "revoked":
        return certificate
    return "enabled" if key == "enabled" and certificate in {"", "valid"} else "disabled"
