"""What all methods of the API have in common, in one core for all dialects.

Nothing here decides whether a signature may be made: that is the activation module's, on the far side of the link.
The core decides who may *see* which credential, and turns refusals into the specification's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from connectors.ports.pki import CertificateAuthority
from contract.confirmation import Confirmation
from contract.sad import Sad
from documents.examiner import Examiner
from foundation.clock import Clock
from foundation.errors import JoseError
from foundation.jose import peek_claims
from foundation.log import get
from foundation.proxied import Proxies
from signing.csc import errors, responses
from signing.csc.algorithms import OfferedKeys, all_algorithms
from signing.csc.authentication import authentication_of, check_authentication
from signing.csc.bearer import Bearer
from signing.csc.binding import UsedProofs, check_shown
from signing.csc.certificate_status import CertificateStatus
from signing.csc.facade import Facade
from signing.csc.intake import Intake
from signing.csc.issuer import Issuer
from signing.csc.limits import Limits
from signing.csc.remembered import Remembered
from signing.csc.service_token import SERVICE_SCOPE, ServiceToken
from signing.csc.stamper import Stamper
from signing.csc.unfinished import Unfinished
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkError, LinkRefused
from signing.link.messages import SignRequest
from signing.settings import AuthenticationDemand, WebSettings

if TYPE_CHECKING:
    from signing.jobs.queue import Jobs

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
    codes.INVALID_TEMPLATE: errors.invalid("documents").description,
    # The bounds here are the link's own; what still gets past them is in the request, and is no fault of the service.
    codes.BAD_REQUEST: errors.OUT_OF_BOUNDS,
}
_CHAIN_SECONDS: Final = 60.0
_CHAINS: Final = 1024
"""A chain of qualified certificates has 8 to 12 KiB."""
_ORDERS: Final = frozenset({codes.INVALID_ORDER, codes.ORDER_USED})
"""An order is in the access token of the request: it is that which is not good."""
_UNAVAILABLE: Final[Mapping[str, str]] = {
    codes.DEVICE_UNAVAILABLE: errors.DEVICE_UNAVAILABLE,
    codes.AUDIT_UNAVAILABLE: errors.AUDIT_UNAVAILABLE,
    codes.LEDGER_SET_BACK: errors.LEDGER_SET_BACK,
    codes.BUSY: errors.BUSY,
    codes.INDETERMINATE: errors.INDETERMINATE,
}


def _no_chains() -> Remembered[tuple[bytes, ...]]:
    return Remembered(seconds=_CHAIN_SECONDS, entries=_CHAINS)


@dataclass(frozen=True, slots=True)
class Rssp:
    """The remote signing service provider: what its methods stand on."""

    settings: WebSettings
    sam: SamClient
    issuer: Issuer
    facade: Facade
    clock: Clock
    keys: OfferedKeys
    used_proofs: UsedProofs = field(default_factory=UsedProofs)
    proxies: Proxies = field(default_factory=Proxies)
    """Who is believed about certificates of clients."""
    authority: CertificateAuthority | None = None
    """Who issues and revokes certificates; None: nothing is created or deleted here."""
    stamper: Stamper = field(default_factory=Stamper)
    evidence: CertificateStatus | None = None
    """What is said of certificates; None: nobody is asked, and no signature is made to last."""
    unfinished: Unfinished = field(default_factory=Unfinished)
    chains: Remembered[tuple[bytes, ...]] = field(default_factory=_no_chains)
    """Of credentials, by their ids: a credential has one for all its life."""
    jobs: Jobs | None = None
    """Asynchronous operation, where this deployment has it."""
    examiner: Examiner | None = None
    """Who looks at PDFs; None: one as the settings say."""
    limits: Limits = field(init=False)
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", Limits(self.settings.limits))
        object.__setattr__(self, "intake", Intake(self.settings.documents, self.examiner))

    def service_token(self, bearer: Bearer, scope: str = SERVICE_SCOPE) -> ServiceToken:
        """The service token of a request, or its token of another scope, shown by whom it is bound to.

        :raises errors.CscError: it is not good, or not shown so.
        """
        token = self.issuer.service_token(bearer.token, scope)
        self.check_shown(token.cnf, bearer)
        self.limits.take((("client", token.client_id),))
        if token.user_specific:
            self.limits.take((("user", token.subject),))
        return token

    def sad_bearer(self, bearer: Bearer) -> Sad:
        """The SAD of a request that spends nothing, verified here and shown by whom it is bound to.

        :raises errors.CscError: it is not good, or not shown so.
        """
        sad = self.issuer.sad(bearer.token)
        self.check_shown(sad.cnf, bearer)
        self.limits.take((("client", sad.client_id), ("user", sad.sub)))
        return sad

    def check_known(self, bearer: Bearer) -> None:
        """The bearer is a good token, whoever shows it: for what is decided before a request has been read.

        :raises errors.CscError: it is not.
        """
        if bearer.kind == "sad":
            self.issuer.sad(bearer.token)
        else:
            self.issuer.service_token(bearer.token)

    def check_shown(self, bound: Confirmation | None, bearer: Bearer) -> None:
        """The key to which a token is bound was shown in this request.

        :raises errors.CscError: it was not.
        """
        used, now = self.used_proofs, self.clock.now()
        check_shown(bound, bearer.token, bearer.shown, scheme=bearer.scheme, used=used, now=now)

    def reading_token(self, bearer: Bearer) -> ServiceToken:
        """The service token with which somebody reads about credentials.

        The demand is made of people.  None stands behind a client's own token: the operator has said what it may list.
        Nor does it bind the identity provider, which reads for its own pages *before* the person steps up.

        :raises errors.CscError: the token is not good for that.
        """
        if bearer.kind != "service":
            raise errors.InvalidToken
        token = self.service_token(bearer)
        if token.user_specific and token.actor != self.settings.issuer.url:
            check_authentication(token.authentication, self.settings.authentication.credentials, self.clock.now())
        return token

    def check_authorised_by(self, sad: str) -> None:
        """The demand on signatures.  It is read unverified: a SAD that lies about it fails in the module.

        :raises errors.CscError: not met.
        """
        demand = self.settings.authentication.signatures
        if demand == AuthenticationDemand():
            return
        try:
            made = authentication_of(peek_claims(sad))
        except JoseError as error:
            raise errors.invalid("SAD") from error
        check_authentication(made, demand, self.clock.now())

    def algorithms(self) -> list[str]:
        """OIDs of the signature algorithms with which the module signs.

        :raises errors.TemporarilyUnavailable: it has never said.
        """
        try:
            return all_algorithms(self.keys.get())
        except LinkError as error:
            raise errors.TemporarilyUnavailable(errors.MODULE_UNREACHABLE) from error

    def ask(self, call: Callable[[T], R], argument: T) -> R:
        """Ask the activation module, its refusals in the API's words.

        :raises errors.CscError: it refused, or does not answer.
        """
        try:
            return call(argument)
        except LinkRefused as error:
            self._refuse(error, argument)
        except LinkError as error:
            _log.error("the activation module does not answer", extra={"fields": {"cause": type(error).__name__}})
            raise errors.TemporarilyUnavailable(errors.MODULE_UNREACHABLE) from error

    def _refuse(self, error: LinkRefused, argument: object) -> NoReturn:
        _log.info("the activation module refused", extra={"fields": {"code": error.refusal}})
        if error.refusal == codes.CERTIFICATE_EXPIRED:
            raise self._expired(argument) from error
        if error.refusal == codes.BINDING_REFUSED:
            raise errors.InvalidDpopProof from error
        if error.refusal == codes.EXPIRED_ORDER:
            raise errors.ExpiredToken from error
        if error.refusal in _ORDERS:
            raise errors.InvalidToken from error
        if error.refusal in _REFUSALS:
            raise errors.InvalidRequest(_REFUSALS[error.refusal]) from error
        if error.refusal in _UNAVAILABLE:
            raise errors.TemporarilyUnavailable(_UNAVAILABLE[error.refusal]) from error
        _log.error("the activation module's refusal points to a fault", extra={"fields": {"code": error.refusal}})
        raise errors.ServerError from error

    def _expired(self, argument: object) -> errors.InvalidRequest:
        """It is named where digests are signed, and not where documents are: each method has its own words."""
        if isinstance(argument, SignRequest):
            try:
                return responses.expired_certificate(self.sam.credential(argument.credential_id))
            except LinkError:
                pass
        return errors.InvalidRequest(errors.CERTIFICATE_EXPIRED)
