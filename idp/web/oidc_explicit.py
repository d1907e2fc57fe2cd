"""Explicit authorisation for the signing service's web tier: how a credential can be authorised, codes on their way,
and the grant that turns answers into a SAD (RFC 6749 4.5; CSC API 2.0.0.2 11.5, 11.6, 11.8).

All of it is off until the operator says so three times: in the settings, for the relying party, in the policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from flask import request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from foundation.errors import TokenMalformed
from foundation.jose import parse_json
from idp.activation.intent import SignatureIntent
from idp.activation.mint import sad_for
from idp.authn.methods import MESSAGES
from idp.errors import NotActivatable
from idp.oidc import rar
from idp.oidc.client import BACKCHANNEL_GRANT, EXPLICIT_GRANT, Client, read_credentials
from idp.oidc.config import OidcConfig
from idp.oidc.errors import AuthenticationDataInvalid, ClientNotPermitted, GrantInvalid, RequestInvalid, ScopeRefused
from idp.oidc.possession import bound_to, check_shown
from idp.oidc.request import AuthorizationRequest
from idp.policy.facts import CredentialFacts
from idp.storage import grant_tokens, grants
from idp.web import in_band, oidc_grants, oidc_tokens
from idp.web.in_band import Approved, InBand
from idp.web.language import gettext as _
from idp.web.language import prefer, remember
from idp.web.oidc_http import NO_STORE, form, json_answer
from idp.web.on_behalf import Principal, principal_of
from idp.web.services import Services, services

SUBJECT_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"
"""RFC 8693 3."""
MODE_ELSEWHERE: Final = "oauth2code"
APPROVAL: Final = "approval"
"""Identifier of the object for which nothing is typed: the person decides on their own pages."""
_COUNT_PARAMETERS: Final = ("credentialID", "numSignatures", "hashes", "hashAlgorithmOID", "description")
_MAX_ANSWERS: Final = 8
_MAX_ANSWER: Final = 1024
"""Characters; what is longer than a password may be is refused where it is verified."""
_MAX_QUALIFIER: Final = 64
_HEADERS: Final[list[tuple[str, str]]] = []


def caller() -> tuple[Client, dict[str, str]]:
    """The resource server that asks, authenticated, and what it asks."""
    client, parameters = _authenticated()
    if EXPLICIT_GRANT not in client.registration.grant_types:
        raise ClientNotPermitted("the client is not registered for this")
    return client, parameters


def _authenticated() -> tuple[Client, dict[str, str]]:
    from idp.web.oidc_server import authenticate

    parameters = form()
    credentials = read_credentials(request.headers.get("Authorization"), parameters)
    return authenticate(services(), credentials, public=False), parameters


def activation_options() -> Response:
    """How a credential can be authorised by the person behind a service token; nothing is sent, nothing changes."""
    client, parameters = _authenticated()
    with_approval = parameters.get("approval") == "true"
    if not with_approval and EXPLICIT_GRANT not in client.registration.grant_types:
        raise ClientNotPermitted("the client is not registered for this")
    ways, objects = _typed_ways(client, parameters)
    if with_approval and _is_asked_elsewhere(client, parameters, otherwise=bool(ways)):
        ways, objects = (*ways, (APPROVAL,)), [*objects, _approval_object()]
    if not ways:
        return json_answer({"mode": MODE_ELSEWHERE})
    several = len(ways) > 1
    parts = [" AND ".join(way) for way in ways]
    expression = " OR ".join(f"({part})" if several and " " in part else part for part in parts)
    return json_answer({"mode": "explicit", "expression": expression, "objects": objects})


def _typed_ways(
    client: Client, parameters: Mapping[str, str]
) -> tuple[tuple[tuple[str, ...], ...], list[dict[str, str]]]:
    """The ways with which something is typed, and the objects of all of them; none where in band is not permitted."""
    if EXPLICIT_GRANT not in client.registration.grant_types:
        return (), []
    try:
        asked = _asked(services(), client, parameters)
    except ClientNotPermitted:
        return (), []
    return asked.ways, [_object(asked, kind) for kind in asked.kinds]


def _is_asked_elsewhere(client: Client, parameters: Mapping[str, str], *, otherwise: bool) -> bool:
    """Whether the relying party is told that the person can be asked out of band.

    :param otherwise: there are other ways too.  A mode is one word: where there are none, a relying party that can
        send people to the authorization endpoint is told of that, which shows them more.
    :raises GrantInvalid: the token speaks for nobody.
    """
    try:
        registered = _principal(services(), client, parameters).client.registration
    except ClientNotPermitted:
        # This server's own reading for a page of its own: nobody is asked.
        return False
    bound = registered.dpop_bound_access_tokens or registered.tls_client_certificate_bound_access_tokens
    if bound and bound_to(parameters["subject_token"]) is None:
        return False
    if BACKCHANNEL_GRANT not in registered.grant_types or "credential" not in registered.scopes:
        return False
    return otherwise or "authorization_code" not in registered.grant_types


def activation_challenge() -> Response:
    """Send a code for a credential."""
    client, parameters = caller()
    in_band.send(_asked(services(), client, parameters), parameters.get("auth_object", ""))
    return Response(status=204, headers=NO_STORE)


def _asked(with_services: Services, client: Client, parameters: Mapping[str, str]) -> InBand:
    """Who is to authorise what.

    :raises ClientNotPermitted: not in band: it is off, or the credential is not SCAL1.
    :raises GrantInvalid: the token speaks for nobody.
    """
    if not with_services.settings.in_band.signatures:
        raise ClientNotPermitted("nothing is authorised in band here")
    principal = _principal(with_services, client, parameters)
    if not principal.client.registration.in_band_signatures:
        raise ClientNotPermitted("the relying party is not registered for this")
    # The web tier's word; if it is a lie, the SAD will be refused by who holds the credential.
    if parameters.get("scal") != "1":
        raise ClientNotPermitted("what is typed in band is enough for SCAL1 only")
    credential_id, qualifier = parameters.get("credentialID", ""), parameters.get("signatureQualifier", "")
    if not rar.is_credential_id(credential_id) or len(qualifier) > _MAX_QUALIFIER:
        raise RequestInvalid("Invalid parameter credentialID")
    asked = in_band.begun(with_services, principal, CredentialFacts(credential_id, "1", qualifier or None))
    # There is no browser that says it: a message is the person's, and in theirs where the application asks for none.
    remember(asked.account.locale)
    return asked


def _principal(with_services: Services, client: Client, parameters: Mapping[str, str]) -> Principal:
    """Whom the resource server speaks for, told in the language that is asked for.

    :raises GrantInvalid: the token speaks for nobody.
    """
    if parameters.get("subject_token_type") != SUBJECT_TOKEN_TYPE or "subject_token" not in parameters:
        raise RequestInvalid("Missing parameter subject_token or subject_token_type")
    principal = principal_of(with_services, parameters["subject_token"], client)
    if parameters.get("lang"):
        prefer((parameters["lang"],))
    return principal


def _approval_object() -> dict[str, str]:
    return {
        "type": "ChallengeResponseOOB",
        "id": APPROVAL,
        "label": _("Approvals"),
        "description": _("You decide on the page Approvals of your account"),
    }


def _object(asked: InBand, kind: str) -> dict[str, str]:
    """The authentication object of a kind (CSC API 2.0.0.2 8.3.1)."""
    usable = [item for item in asked.owned if item.kind == kind and item.usable(asked.services.clock.now())]
    address = usable[-1].masked_address if usable else ""
    if kind == "password":
        return {
            "type": "Password",
            "id": kind,
            "label": _("Password"),
            "description": _("The password with which you sign in"),
        }
    if kind not in MESSAGES:
        return {
            "type": "Password",
            "id": kind,
            "format": "N",
            "generator": kind,
            "label": _("Code"),
            "description": _("The code that your app or device shows"),
        }
    return {
        "type": "ChallengeResponse",
        "id": kind,
        "format": "N",
        "label": _("Code by text message") if kind == "sms_otp" else _("Code by e-mail"),
        "description": _("The code that was sent to %(address)s", address=address),
    }


class ExplicitGrant(ClientCredentialsGrant):
    """A SAD for answers; asked for by the signing service in the name of who typed them."""

    GRANT_TYPE = EXPLICIT_GRANT
    request: Any
    server: Any

    def validate_requested_scope(self) -> None:
        """:raises ScopeRefused: anything but the scope of SADs."""
        if self.request.form.get("scope", "credential") != "credential":
            raise ScopeRefused("a SAD has scope credential")

    def create_token_response(self) -> Any:
        """The SAD: the relying party's, which is named in it."""
        return 200, activate(self.server.services, self.request.client.client, self.request.form), _HEADERS


def activate(with_services: Services, client: Client, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The token response to answers.

    1. Whose they are, for whom and for which credential.  2. What is to be signed.  3. The answers, all of one way.
    4. The policy, with what was proved and nothing else.  5. The SAD, if all that it rests on still stands.

    :raises OidcError: not permitted, malformed, not proved, or not allowed.
    """
    asked = _asked(with_services, client, parameters)
    intent, details_type = _intent(asked, parameters)
    if intent.credential_id != asked.credential.id:
        raise RequestInvalid("Invalid parameter credentialID")
    if bound_to(parameters["subject_token"]) is None:
        check_shown(None, asked.principal.client, None)
    evidence = in_band.proved(asked, _answers(parameters["auth_data"]))
    agreed = in_band.approved(asked, intent, evidence)
    response = _mint(agreed, intent, details_type, parameters["subject_token"])
    agreed.compare()
    return response


def _intent(asked: InBand, parameters: Mapping[str, str]) -> tuple[SignatureIntent, str | None]:
    details = parameters.get("authorization_details")
    if details is not None:
        found = rar.parse_details(details, OidcConfig.of(asked.services.settings).locations)
        return found, rar.details_type(details)
    query = {name: parameters[name] for name in _COUNT_PARAMETERS if name in parameters}
    return rar.parse_query(query, without_digests=asked.principal.client.registration.without_digests), None


def _answers(text: str) -> dict[str, str]:
    """The array of authentication objects, each with its value (CSC API 2.0.0.2 8.3.1).

    :raises AuthenticationDataInvalid: it is none.  The text is quoted nowhere.
    """
    try:
        value = parse_json(text)
    except TokenMalformed:
        # Not chained: what could not be read is somebody's secret.
        raise AuthenticationDataInvalid("auth_data is not JSON in the strict form") from None
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_ANSWERS:
        raise AuthenticationDataInvalid("auth_data is not an array of answers")
    found: dict[str, str] = {}
    for item in value:
        if not isinstance(item, dict) or item.keys() != {"id", "value"} or not all(map(_is_text, item.values())):
            raise AuthenticationDataInvalid("auth_data has an item that is no answer")
        if item["id"] in found:
            raise AuthenticationDataInvalid("auth_data has two answers to one object")
        found[item["id"]] = item["value"]
    return found


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ANSWER


def _mint(agreed: Approved, intent: SignatureIntent, details_type: str | None, token: str) -> dict[str, Any]:
    with_services, principal, approval = agreed.asked.services, agreed.asked.principal, agreed.approval
    config, now = OidcConfig.of(with_services.settings), with_services.clock.now()
    asked = AuthorizationRequest(
        client_id=principal.client.client_id,
        redirect_uri="",
        scopes=("credential",),
        state=None,
        nonce=None,
        code_challenge="",
        resource=config.resource,
        intent=intent,
        details_type=details_type,
    )
    try:
        content = sad_for(
            approval,
            intent,
            issuer=config.issuer,
            audience=config.sad_audience,
            jti=oidc_tokens.new_id(with_services),
            now=now,
            lifetime_seconds=config.sad_seconds,
            # Whoever has to show a key for the service token has to show it for what was got with it.
            confirmation=bound_to(token),
        )
    except NotActivatable as error:
        raise GrantInvalid("the approval does not permit a signature") from error

    def record(connection: Connection) -> bool:
        # Once more: a password takes long to verify, and the token may have been given back meanwhile.
        held = grant_tokens.find_access(connection, with_services.seals, token)
        if held is None or held.revoked or not oidc_grants.is_alive(connection, with_services, held.grant):
            return False
        agreed.record(connection)
        return True

    with with_services.engine.begin() as connection:
        grant = grants.begin(
            connection,
            with_services.seals,
            oidc_tokens.new_id(with_services),
            client_id=principal.client.client_id,
            subject=approval.account_id,
            now=now,
            seconds=oidc_grants.life_of(config, asked, approval, now),
            request=asked,
            approval=approval,
        )
    oidc_grants.tidy_sometimes(with_services)
    return oidc_tokens.give_sad(with_services, grant, content, None, first=record)
