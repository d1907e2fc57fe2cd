"""``signatures/signHash`` and ``credentials/extendTransaction`` (CSC API 2.0.0.2 11.9, 11.10): what a SAD is for."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from contract.confirmation import Confirmation, confirmation_of
from contract.errors import ConfirmationInvalid
from contract.sad import Sad
from foundation import claims as read
from foundation.errors import JoseError, TokenMalformed
from foundation.jose import peek_claims
from signing.csc import errors, jobs, requests
from signing.csc.bearer import Bearer, sad_of
from signing.csc.binding import check_scheme
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.limits import Kind, Whose
from signing.csc.service_token import ServiceToken
from signing.link.messages import ExtendRequest, SignRequest

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Presented:
    """A SAD that is to be spent, and what the module is told of how it came."""

    sad: str = field(repr=False)
    client_id: str | None
    """The relying party that presented it; ``None`` where the SAD itself was its authentication."""
    dpop: str | None = field(repr=False)
    certificate: str | None
    """Thumbprint of the TLS certificate with which it came."""
    bound: Confirmation | None
    """To what it says that it is bound."""
    whose: tuple[Whose, ...] = ()
    """Whose limits it counts for, as it says; nobody has verified that yet."""


@dataclass(frozen=True, slots=True)
class Redeemer:
    """Whoever asks for signatures: with a service token, or with the SAD alone."""

    bearer: Bearer
    token: ServiceToken | None

    def present(self, rssp: Rssp, sad_parameter: str | None) -> Presented:
        """The one SAD of the request, of the token's own person.

        :param sad_parameter: the request's member ``SAD``.
        :raises errors.CscError: none or two, presented in another way than it was given, another person's, or given
            on less authentication than this service demands.
        """
        sad, token = sad_of(self.bearer, sad_parameter), self.token
        claims = _claims(sad)
        bound = _bound(claims)
        if token is None:
            check_scheme(bound, self.bearer.scheme)
        else:
            _check_same_person(token, claims)
        rssp.check_authorised_by(sad)
        return Presented(
            sad=sad,
            client_id=None if token is None else token.client_id,
            # A service token's own proof is for that token, and of no use to a SAD.
            dpop=None if token is not None and token.cnf is not None else self.bearer.shown.proof,
            certificate=self.bearer.shown.certificate,
            bound=bound,
            whose=_whose(claims, known=token is not None),
        )


def redeemer_of(rssp: Rssp, call: Call) -> Redeemer:
    """Who asks.

    :raises errors.CscError: the token is not good.
    """
    bearer = call.bearer
    return Redeemer(bearer, rssp.service_token(bearer) if bearer.kind == "service" else None)


def redeem(rssp: Rssp, presented: Presented, call: Callable[[T], R], argument: T) -> R:
    """Spend a SAD at the module.

    :raises errors.CscError: it refused, or does not answer.
    """
    rssp.limits.check(presented.whose)
    try:
        answer = rssp.ask(call, argument)
    except errors.InvalidRequest:
        if presented.client_id is None:
            # Whoever sent it may have made it up.
            rssp.limits.stranger()
        raise
    except errors.InvalidDpopProof as error:
        # The module has one refusal for both bindings; a proof would not help a SAD that is bound to a certificate.
        if presented.bound is not None and presented.bound.method == "jkt":
            raise
        raise (errors.InvalidToken() if presented.client_id is None else errors.invalid("SAD")) from error
    rssp.limits.charge(presented.whose)
    return answer


def sign_hash(rssp: Rssp, call: Call) -> Answer:
    """``signatures/signHash`` (11.10).

    :raises errors.CscError: with the specification's words.
    """
    redeemer = redeemer_of(rssp, call)
    request = requests.parse_sign_hash(call.body)
    presented = redeemer.present(rssp, request.sad)
    asked = SignRequest(
        sad=presented.sad,
        client_id=presented.client_id,
        credential_id=request.credential_id,
        hash_alg=request.hash_algorithm,
        digests=request.digests,
        sign_algo=request.sign_algorithm,
        sign_algo_params=request.sign_algorithm_parameters,
        dpop=presented.dpop,
        certificate=presented.certificate,
    )
    if request.later is not None:
        jobs.check_offered(rssp, call.dialect)
        task = jobs.Task(asked.to_json(), request.credential_id, request.digests)
        return jobs.accept(rssp, verified(rssp, presented.sad, redeemer), task, request.later)
    values = redeem(rssp, presented, rssp.sam.sign, asked)
    return Answer({"signatures": [base64.b64encode(value).decode() for value in values]})


def extend_transaction(rssp: Rssp, call: Call) -> Answer:
    """``credentials/extendTransaction`` (11.9): a SAD in this one's place, which is worth nothing any more.

    The identity provider decides and mints; the module hears of the new SAD before anybody else does.

    :raises errors.CscError: with the specification's words.
    """
    redeemer = redeemer_of(rssp, call)
    request = requests.parse_extend_transaction(call.body)
    sad = sad_of(redeemer.bearer, request.sad)
    content = verified(rssp, sad, redeemer)
    if content.credential_id != request.credential_id:
        raise errors.invalid("credentialID")
    other_hash = request.hash_algorithm not in {None, content.hash_alg}
    if other_hash or Counter(request.digests) - Counter(content.dtbsr):
        raise errors.InvalidRequest(errors.NOT_AUTHORIZED)
    rssp.check_authorised_by(sad)
    successor, seconds = rssp.issuer.extend(sad)
    rssp.ask(rssp.sam.extend, ExtendRequest(successor, content.client_id))
    return Answer({"SAD": successor, "expiresIn": seconds})


def verified(rssp: Rssp, sad: str, redeemer: Redeemer) -> Sad:
    """The SAD, of the person and client that ask, by whoever shows the key to which it is bound.

    :raises errors.CscError: it is not good, or not shown so.
    """
    bearer, token = redeemer.bearer, redeemer.token
    if token is None:
        return rssp.sad_bearer(bearer)
    try:
        content = rssp.issuer.sad(sad)
    except errors.ExpiredToken as error:
        raise errors.InvalidRequest(errors.SAD_EXPIRED) from error
    except errors.InvalidToken as error:
        raise errors.invalid("SAD") from error
    if content.client_id != token.client_id or (token.user_specific and content.sub != token.subject):
        raise errors.invalid("SAD")
    if content.cnf is not None and content.cnf.method == "x5t#S256":
        # A connection has its certificate for every token that came over it.
        rssp.check_shown(content.cnf, Bearer("sad", sad, "bearer", bearer.shown))
    elif content.cnf is not None:
        # The one proof of the request is the service token's own, or this SAD's.
        if token.cnf is not None:
            raise errors.InvalidDpopProof
        rssp.check_shown(content.cnf, Bearer("sad", sad, "dpop", bearer.shown))
    return content


def _claims(sad: str) -> Mapping[str, Any]:
    """What a SAD says, read unverified: one that lies about it fails in the module."""
    try:
        return peek_claims(sad)
    except TokenMalformed as error:
        raise errors.invalid("SAD") from error


def _whose(claims: Mapping[str, Any], *, known: bool) -> tuple[Whose, ...]:
    """:param known: client and person are, by a service token, and have been counted."""
    named: tuple[tuple[Kind, object], ...] = (("credential", claims.get("credential_id")),)
    if not known:
        named += (("client", claims.get("client_id")), ("user", claims.get("sub")))
    return tuple((kind, key) for kind, key in named if isinstance(key, str))


def _bound(claims: Mapping[str, Any]) -> Confirmation | None:
    try:
        return confirmation_of(read.mapping(claims, "cnf")) if "cnf" in claims else None
    except (JoseError, ConfirmationInvalid) as error:
        raise errors.invalid("SAD") from error


def _check_same_person(token: ServiceToken, claims: Mapping[str, Any]) -> None:
    """A service token must not carry somebody else's SAD.

    The module would catch another *client*; that the two tokens name one *person* can only be seen here, where both
    are.
    """
    if token.user_specific and claims.get("sub") != token.subject:
        raise errors.invalid("SAD")
