"""What the API does, in one core for all dialects.

Nothing here decides whether a signature may be made: that is the activation module's, on the far side of the link.
The core decides who may *see* which credential, and turns refusals into the specification's words.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeVar

from contract.confirmation import Confirmation, confirmation_of
from contract.errors import ConfirmationInvalid
from contract.sad import Sad
from foundation import claims as read
from foundation.clock import Clock
from foundation.errors import JoseError, TokenMalformed
from foundation.jose import peek_claims
from foundation.log import get
from signing.csc import errors, requests, responses
from signing.csc.authentication import Authentication, authentication_of, check_authentication
from signing.csc.bearer import Bearer, sad_of
from signing.csc.binding import UsedProofs, check_scheme, check_shown
from signing.csc.dialect import Dialect
from signing.csc.issuer import Issuer
from signing.csc.service_token import ServiceToken
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkError, LinkRefused
from signing.link.messages import CredentialView, ExtendRequest, SignRequest
from signing.settings import AuthenticationDemand, WebSettings

_log = get(__name__)

T = TypeVar("T")
R = TypeVar("R")

_SAD_PARAMETER: Final = errors.invalid("SAD").description
_CREDENTIAL_PARAMETER: Final = errors.invalid("credentialID").description
_REFUSALS: Final[Mapping[str, str]] = {
    codes.INVALID_SAD: _SAD_PARAMETER,
    codes.SAD_USED: _SAD_PARAMETER,
    codes.SAD_REVOKED: _SAD_PARAMETER,
    codes.WRONG_CLIENT: _SAD_PARAMETER,
    codes.WRONG_OWNER: _SAD_PARAMETER,
    codes.FLOOR_NOT_MET: _SAD_PARAMETER,
    codes.PROOF_MISSING: _SAD_PARAMETER,
    codes.INVALID_PROOF: _SAD_PARAMETER,
    codes.PROOF_CLONED: _SAD_PARAMETER,
    codes.NOT_PERMITTED: _SAD_PARAMETER,
    codes.EXPIRED_SAD: errors.SAD_EXPIRED,
    codes.HASH_NOT_AUTHORIZED: errors.NOT_AUTHORIZED,
    codes.TOO_MANY_SIGNATURES: errors.NOT_AUTHORIZED,
    codes.DAY_EXHAUSTED: errors.NOT_AUTHORIZED,
    codes.INVALID_DIGEST_LENGTH: errors.INVALID_LENGTH,
    codes.INVALID_DIGEST: errors.INVALID_BASE64,
    # The same words whether the credential is another's or nobody's: an answer must not tell which exist.
    codes.UNKNOWN_CREDENTIAL: _CREDENTIAL_PARAMETER,
    codes.WRONG_CREDENTIAL: _CREDENTIAL_PARAMETER,
    codes.CREDENTIAL_DISABLED: errors.CREDENTIAL_DISABLED,
    codes.ALGORITHM_NOT_ALLOWED: errors.invalid("signAlgo").description,
    # The bounds here are the link's own; what still gets past them is in the request, and is no fault of the service.
    codes.BAD_REQUEST: errors.OUT_OF_BOUNDS,
}
_SHOWN: Final = frozenset({"active", "suspended", "revoked"})
"""What a person is told of: not one that waits for its certificate, nor one that was deleted."""
_UNAVAILABLE: Final[Mapping[str, str]] = {
    codes.DEVICE_UNAVAILABLE: "The signature creation device is not available",
    codes.AUDIT_UNAVAILABLE: "The audit record cannot be written",
    codes.LEDGER_SET_BACK: "The ledger has to be restored",
    codes.BUSY: "The service is busy",
    codes.INDETERMINATE: "The outcome is not known; the authorization is spent",
}


@dataclass(frozen=True, slots=True)
class Rssp:
    """The remote signing service provider's methods."""

    settings: WebSettings
    sam: SamClient
    issuer: Issuer
    clock: Clock
    used_proofs: UsedProofs = field(default_factory=UsedProofs)

    def info(self, dialect: Dialect) -> dict[str, Any]:
        """``info`` (11.1); needs no authorization."""
        return responses.service_info(dialect, self.settings, self.settings.service.lang)

    def credentials_list(self, dialect: Dialect, bearer: Bearer, body: Mapping[str, Any]) -> dict[str, Any]:
        """``credentials/list`` (11.4).

        :raises errors.CscError: with the specification's words.
        """
        token = self._reading_token(bearer)
        request = requests.parse_credentials_list(body)
        owner = self._owner_to_list(token, request.user_id)
        now = self.clock.now()
        views = [view for view in self._ask(self.sam.list_credentials, owner) if view.status in _SHOWN]
        if request.only_valid:
            views = [view for view in views if responses.usable(view, now)]
        answer: dict[str, Any] = {"credentialIDs": [view.credential_id for view in views]}
        if request.credential_info:
            answer["credentialInfos"] = [
                {"credentialID": view.credential_id, **self._render(dialect, view, request.detail)} for view in views
            ]
        if request.only_valid:
            answer["onlyValid"] = True
        return answer

    def credentials_info(self, dialect: Dialect, bearer: Bearer, body: Mapping[str, Any]) -> dict[str, Any]:
        """``credentials/info`` (11.5): for the owner's service token, or for a SAD of the very credential.

        :raises errors.CscError: with the specification's words.
        """
        owner, credential_id = self._reader(bearer)
        request = requests.parse_credentials_info(body)
        if credential_id is not None and credential_id != request.credential_id:
            raise errors.invalid("credentialID")
        view = self._ask(self.sam.credential, request.credential_id)
        if view.owner != owner or view.status not in _SHOWN:
            raise errors.invalid("credentialID")
        return self._render(dialect, view, request.detail)

    def sign_hash(self, bearer: Bearer, body: Mapping[str, Any]) -> dict[str, Any]:
        """``signatures/signHash`` (11.10).

        :raises errors.CscError: with the specification's words.
        """
        token = self._service_token(bearer) if bearer.kind == "service" else None
        request = requests.parse_sign_hash(body)
        sad = sad_of(bearer, request.sad)
        if token is None:
            check_scheme(_bound(sad), bearer.scheme)
        if token is not None:
            _check_same_person(token, sad)
        self._check_authorised_by(sad)
        asked = SignRequest(
            sad=sad,
            client_id=None if token is None else token.client_id,
            credential_id=request.credential_id,
            hash_alg=request.hash_algorithm,
            digests=request.digests,
            sign_algo=request.sign_algorithm,
            sign_algo_params=request.sign_algorithm_parameters,
            # A service token's own proof is for that token, and of no use to a SAD.
            dpop=None if token is not None and token.cnf is not None else bearer.shown.proof,
        )
        values = self._ask(self.sam.sign, asked)
        return {"signatures": [base64.b64encode(value).decode() for value in values]}

    def extend_transaction(self, bearer: Bearer, body: Mapping[str, Any]) -> dict[str, Any]:
        """``credentials/extendTransaction`` (11.9): a SAD in this one's place, which is worth nothing any more.

        The identity provider decides and mints; the module hears of the new SAD before anybody else does.

        :raises errors.CscError: with the specification's words.
        """
        token = self._service_token(bearer) if bearer.kind == "service" else None
        request = requests.parse_extend_transaction(body)
        sad = sad_of(bearer, request.sad)
        content = self._extendable(sad, bearer, token)
        if content.credential_id != request.credential_id:
            raise errors.invalid("credentialID")
        other_hash = request.hash_algorithm not in {None, content.hash_alg}
        if other_hash or Counter(request.digests) - Counter(content.dtbsr):
            raise errors.InvalidRequest(errors.NOT_AUTHORIZED)
        self._check_authorised_by(sad)
        successor, seconds = self.issuer.extend(sad)
        self._ask(self.sam.extend, ExtendRequest(successor, content.client_id))
        return {"SAD": successor, "expiresIn": seconds}

    def _extendable(self, sad: str, bearer: Bearer, token: ServiceToken | None) -> Sad:
        """The SAD, of the person and client that ask, by whoever shows the key to which it is bound."""
        if token is None:
            content = self.issuer.sad(sad)
            self._check_shown(content.cnf, bearer)
            return content
        try:
            content = self.issuer.sad(sad)
        except errors.ExpiredToken as error:
            raise errors.InvalidRequest(errors.SAD_EXPIRED) from error
        except errors.InvalidToken as error:
            raise errors.invalid("SAD") from error
        if content.client_id != token.client_id or (token.user_specific and content.sub != token.subject):
            raise errors.invalid("SAD")
        if content.cnf is not None:
            # The one proof of the request is the service token's own, or this SAD's.
            if token.cnf is not None:
                raise errors.InvalidDpopProof
            self._check_shown(content.cnf, Bearer("sad", sad, "dpop", bearer.shown))
        return content

    def _service_token(self, bearer: Bearer) -> ServiceToken:
        token = self.issuer.service_token(bearer.token)
        self._check_shown(token.cnf, bearer)
        return token

    def _check_shown(self, bound: Confirmation | None, bearer: Bearer) -> None:
        used, now = self.used_proofs, self.clock.now()
        check_shown(bound, bearer.token, bearer.shown, scheme=bearer.scheme, used=used, now=now)

    def _reading_token(self, bearer: Bearer) -> ServiceToken:
        """The service token with which somebody reads about credentials.

        The demand is made of people.  None stands behind a client's own token: the operator has said what it may list.
        Nor does it bind the identity provider, which reads for its own pages *before* the person steps up.
        """
        if bearer.kind != "service":
            raise errors.InvalidToken
        token = self._service_token(bearer)
        if token.user_specific and token.actor != self.settings.issuer.url:
            check_authentication(token.authentication, self.settings.authentication.credentials, self.clock.now())
        return token

    def _check_authorised_by(self, sad: str) -> None:
        """The demand on signatures.  It is read unverified: a SAD that lies about it fails in the module."""
        demand = self.settings.authentication.signatures
        if demand == AuthenticationDemand():
            return
        try:
            made = authentication_of(peek_claims(sad))
        except JoseError as error:
            raise errors.invalid("SAD") from error
        check_authentication(made, demand, self.clock.now())

    def _reader(self, bearer: Bearer) -> tuple[str, str | None]:
        """Whose credentials the bearer may read, and which one only."""
        if bearer.kind == "sad":
            sad = self.issuer.sad(bearer.token)
            self._check_shown(sad.cnf, bearer)
            made = Authentication(sad.acr, sad.auth_time)
            check_authentication(made, self.settings.authentication.credentials, self.clock.now())
            return sad.sub, sad.credential_id
        return self._reading_token(bearer).subject, None

    def _owner_to_list(self, token: ServiceToken, user_id: str | None) -> str:
        if token.user_specific:
            if user_id is not None:
                raise errors.InvalidRequest(errors.USER_ID_NOT_NULL)
            return token.subject
        if token.client_id not in self.settings.user_listing_clients:
            raise errors.UnauthorizedClient("The client is not authorized to name a user")
        if user_id is None:
            raise errors.invalid("userID")
        return user_id

    def _render(self, dialect: Dialect, view: CredentialView, detail: requests.Detail) -> dict[str, Any]:
        lang = self.settings.service.lang
        return responses.credential_info(dialect, view, detail, now=self.clock.now(), lang=lang)

    def _ask(self, call: Callable[[T], R], argument: T) -> R:
        try:
            return call(argument)
        except LinkRefused as error:
            self._refuse(error, argument)
        except LinkError as error:
            _log.error("the activation module does not answer", extra={"fields": {"cause": type(error).__name__}})
            raise errors.TemporarilyUnavailable("The signature activation module cannot be reached") from error

    def _refuse(self, error: LinkRefused, argument: object) -> NoReturn:
        _log.info("the activation module refused", extra={"fields": {"code": error.refusal}})
        if error.refusal == codes.CERTIFICATE_EXPIRED and isinstance(argument, SignRequest):
            raise errors.InvalidRequest(self._expired_text(argument.credential_id)) from error
        if error.refusal == codes.BINDING_REFUSED:
            raise errors.InvalidDpopProof from error
        if error.refusal in _REFUSALS:
            raise errors.InvalidRequest(_REFUSALS[error.refusal]) from error
        if error.refusal in _UNAVAILABLE:
            raise errors.TemporarilyUnavailable(_UNAVAILABLE[error.refusal]) from error
        _log.error("the activation module's refusal points to a fault", extra={"fields": {"code": error.refusal}})
        raise errors.ServerError from error

    def _expired_text(self, credential_id: str) -> str:
        try:
            return responses.expired_certificate_text(self.sam.credential(credential_id))
        except LinkError:
            return "Signing certificate is expired"


def _bound(sad: str) -> Confirmation | None:
    """To what a SAD says it is bound, read unverified: one that lies about it fails in the module."""
    try:
        claims = peek_claims(sad)
        return confirmation_of(read.mapping(claims, "cnf")) if "cnf" in claims else None
    except (JoseError, ConfirmationInvalid) as error:
        raise errors.invalid("SAD") from error


def _check_same_person(token: ServiceToken, sad: str) -> None:
    """A service token must not carry somebody else's SAD.

    The module would catch another *client*; that the two tokens name one *person* can only be seen here, where both
    are.  The SAD's claims are read unverified for that: one that lies about them fails in the module.
    """
    try:
        claims = peek_claims(sad)
    except TokenMalformed as error:
        raise errors.invalid("SAD") from error
    if token.user_specific and claims.get("sub") != token.subject:
        raise errors.invalid("SAD")
