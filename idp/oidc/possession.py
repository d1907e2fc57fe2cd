"""The key or certificate that a client shows with a request, to which tokens are bound (RFC 9449, RFC 8705)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from contract.confirmation import Confirmation, confirmation_of
from contract.errors import ConfirmationInvalid
from foundation.dpop import DpopProof, verify_proof
from foundation.errors import JoseError, TokenMalformed
from foundation.jose import peek_claims
from idp.oidc.client import Client
from idp.oidc.errors import ClientCertificateRequired, DpopProofInvalid, RequestInvalid


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown with a request: a key by a proof, or a certificate in the handshake; never both."""

    proof: DpopProof | None = None
    """Not yet known to be new: it is remembered in the transaction of what it obtains."""
    certificate: str | None = None
    """``x5t#S256`` (RFC 8705 3.1)."""

    @property
    def jkt(self) -> str | None:
        """The key's thumbprint (RFC 9449 6.1)."""
        return None if self.proof is None else self.proof.jkt

    @property
    def confirmation(self) -> Confirmation:
        """What tokens say of it."""
        if self.proof is not None:
            return Confirmation("jkt", self.proof.jkt)
        return Confirmation("x5t#S256", self.certificate or "")


def shown_by(client: Client, shown: Shown | None, certificate: str | None) -> Shown | None:
    """What tokens of a client will be bound to, by its registration.

    :param shown: the key of a proof that came with the request.
    :param certificate: thumbprint of the certificate of the connection.
    :raises RequestInvalid: its tokens are bound to its certificate, and there is a proof.
    :raises ClientCertificateRequired: or there is no certificate.
    """
    if not client.registration.tls_client_certificate_bound_access_tokens:
        return shown
    if shown is not None:
        raise RequestInvalid("tokens of this client are bound to its certificate, and take no DPoP proof")
    if certificate is None:
        raise ClientCertificateRequired("a client certificate is required, at the mtls_endpoint_aliases")
    return Shown(certificate=certificate)


def read_shown(
    headers: Sequence[str], *, uri: str, now: datetime, token: str | None = None, method: str = "POST"
) -> Shown | None:
    """The key of a request's ``DPoP`` header; None: there is no such header.

    :param headers: the values of all its lines.
    :param uri: of the endpoint.
    :param token: the access token that the request carries.
    :raises DpopProofInvalid: more than one, or not a proof for this request (RFC 9449 4.3).
    """
    if not headers:
        return None
    if len(headers) > 1:
        raise DpopProofInvalid("more than one DPoP proof")
    try:
        return Shown(verify_proof(headers[0], method=method, uris=[uri], now=now, token=token))
    except JoseError as error:
        raise DpopProofInvalid("the DPoP proof is not one for this request") from error


def check_shown(shown: Shown | None, client: Client, jkt: str | None) -> None:
    """What is demanded of this request: by the client's registration, and by what went before.

    :param jkt: thumbprint of the key that was named or used before; None where none was.
    :raises DpopProofInvalid: no proof, or another key's.
    :raises ClientCertificateRequired: no certificate.
    """
    registered = client.registration
    if registered.tls_client_certificate_bound_access_tokens and (shown is None or shown.certificate is None):
        raise ClientCertificateRequired("a client certificate is required")
    if shown is None or shown.proof is None:
        if jkt is not None or registered.dpop_bound_access_tokens:
            raise DpopProofInvalid("a DPoP proof is required")
    elif jkt is not None and shown.proof.jkt != jkt:
        raise DpopProofInvalid("the DPoP proof is of another key")


def read_jkt(stated: str | None, shown: Shown | None) -> str | None:
    """To which key the code will be bound: ``dpop_jkt``, or the proof that came with a pushed request (RFC 9449 10).

    :raises RequestInvalid: not a thumbprint, or another one than the proof's key has.
    """
    if stated is not None:
        try:
            confirmation_of({"jkt": stated})
        except ConfirmationInvalid as error:
            raise RequestInvalid("Invalid parameter dpop_jkt") from error
        if shown is not None and shown.jkt != stated:
            raise RequestInvalid("dpop_jkt is not the thumbprint of the proof's key")
        return stated
    return None if shown is None else shown.jkt


def bound_to(token: str) -> Confirmation | None:
    """To what a token of ours is bound; of any other text, nothing."""
    try:
        claim = peek_claims(token).get("cnf")
        return None if not isinstance(claim, dict) else confirmation_of(claim)
    except (TokenMalformed, ConfirmationInvalid):
        return None
