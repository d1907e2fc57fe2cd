"""``signatures/signHash`` and ``credentials/extendTransaction`` (CSC API 2.0.0.2 11.9, 11.10): what a SAD is for."""

from __future__ import annotations

import base64
from collections import Counter

from contract.confirmation import Confirmation, confirmation_of
from contract.errors import ConfirmationInvalid
from contract.sad import Sad
from foundation import claims as read
from foundation.errors import JoseError, TokenMalformed
from foundation.jose import peek_claims
from signing.csc import errors, requests
from signing.csc.bearer import Bearer, sad_of
from signing.csc.binding import check_scheme
from signing.csc.call import Answer, Call
from signing.csc.core import Rssp
from signing.csc.service_token import ServiceToken
from signing.link.messages import ExtendRequest, SignRequest


def sign_hash(rssp: Rssp, call: Call) -> Answer:
    """``signatures/signHash`` (11.10).

    :raises errors.CscError: with the specification's words.
    """
    bearer = call.bearer
    token = rssp.service_token(bearer) if bearer.kind == "service" else None
    request = requests.parse_sign_hash(call.body)
    sad = sad_of(bearer, request.sad)
    bound = _bound(sad)
    if token is None:
        check_scheme(bound, bearer.scheme)
    if token is not None:
        _check_same_person(token, sad)
    rssp.check_authorised_by(sad)
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
        certificate=bearer.shown.certificate,
    )
    try:
        values = rssp.ask(rssp.sam.sign, asked)
    except errors.InvalidDpopProof as error:
        # The module has one refusal for both bindings; a proof would not help a SAD that is bound to a certificate.
        if bound is not None and bound.method == "jkt":
            raise
        raise (errors.InvalidToken() if token is None else errors.invalid("SAD")) from error
    return Answer({"signatures": [base64.b64encode(value).decode() for value in values]})


def extend_transaction(rssp: Rssp, call: Call) -> Answer:
    """``credentials/extendTransaction`` (11.9): a SAD in this one's place, which is worth nothing any more.

    The identity provider decides and mints; the module hears of the new SAD before anybody else does.

    :raises errors.CscError: with the specification's words.
    """
    bearer = call.bearer
    token = rssp.service_token(bearer) if bearer.kind == "service" else None
    request = requests.parse_extend_transaction(call.body)
    sad = sad_of(bearer, request.sad)
    content = _extendable(rssp, sad, bearer, token)
    if content.credential_id != request.credential_id:
        raise errors.invalid("credentialID")
    other_hash = request.hash_algorithm not in {None, content.hash_alg}
    if other_hash or Counter(request.digests) - Counter(content.dtbsr):
        raise errors.InvalidRequest(errors.NOT_AUTHORIZED)
    rssp.check_authorised_by(sad)
    successor, seconds = rssp.issuer.extend(sad)
    rssp.ask(rssp.sam.extend, ExtendRequest(successor, content.client_id))
    return Answer({"SAD": successor, "expiresIn": seconds})


def _extendable(rssp: Rssp, sad: str, bearer: Bearer, token: ServiceToken | None) -> Sad:
    """The SAD, of the person and client that ask, by whoever shows the key to which it is bound."""
    if token is None:
        content = rssp.issuer.sad(sad)
        rssp.check_shown(content.cnf, bearer)
        return content
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
