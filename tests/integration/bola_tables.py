"""OAU-17: what stands behind every identifier that a request can name, for ``test_bola``.

A method, member, route or form field that the running code has and none of these tables names fails a test there.
"""

from __future__ import annotations

from signing.csc import methods
from signing.csc.dialect import V1, V2, V2_2

IDENTIFIERS: dict[str, frozenset[str]] = {
    "info": frozenset(),
    "credentials/list": frozenset({"userID"}),
    "credentials/info": frozenset({"credentialID"}),
    "credentials/extendTransaction": frozenset({"credentialID", "SAD"}),
    "credentials/create": frozenset({"userID"}),
    "credentials/delete": frozenset({"credentialID"}),
    "credentials/authorize": frozenset({"credentialID"}),
    "credentials/authorizeCheck": frozenset({"handle"}),
    "credentials/getChallenge": frozenset({"credentialID"}),
    "credentials/sendOTP": frozenset({"credentialID"}),
    "auth/login": frozenset({"refresh_token"}),
    "auth/revoke": frozenset({"token"}),
    "signatures/signHash": frozenset({"credentialID", "SAD"}),
    "signatures/timestamp": frozenset(),
    "signatures/signDoc": frozenset({"credentialID", "SAD"}),
    "signatures/signPolling": frozenset({"requestID", "userID"}),
}
"""Which members of a request name something that is somebody's, by method.  A SAD is its person's, a handle its
client's and person's: tests/integration/test_csc_approval.py."""

VALUES = frozenset(
    {
        "credentialInfo", "onlyValid", "certificates", "certInfo", "authInfo",
        "hashes", "hashAlgorithmOID", "signAlgo", "signAlgoParams",
        "numSignatures", "description", "operationMode", "response_uri", "validity_period", "lang", "clientData",
        "documentDigests", "documents", "returnValidationInfo",
        "maxResults", "pageToken",
        # of an order: compared with the order in the token
        "credentialProfile", "signatureQualifier", "common_name", "given_name", "family_name", "serial_number",
        "country",
        "hash", "hashAlgo", "nonce",
        # secrets of the person behind the token, and what they answer
        "authData", "PIN", "OTP", "authObjectID", "rememberMe", "token_type_hint",
    }
)  # fmt: skip
"""Members that name nothing."""

ORDERS = {"credentials/create": "credential-creation", "credentials/delete": "credential-deletion"}
"""Methods whose token is of a scope of its own: tried in tests/integration/test_csc_creation.py."""
ASKING = frozenset({"credentials/authorize", "credentials/authorizeCheck"})
"""Methods that take the service token of a client that may ask people."""

IN_BAND = frozenset({"credentials/getChallenge", "credentials/sendOTP"})
"""Methods for what a person types, at SCAL1: tried in tests/integration/test_csc_explicit.py."""

OTHER_ROUTES = {"/static/<path:filename>", "/health/live", "/health/ready", "/events"}
"""What the web tier serves beside the API.  Events are their issuer's by its signature, tried below."""

DOCUMENTS = {f"{dialect.path}/{name}" for dialect in (V1, V2, V2_2) for name in ("openapi.json", "docs")}
"""What the API says of itself, to everybody."""

NO_JOB = "0" * 48
"""In the form of an asynchronous request's identifier, and nobody's."""

DIALECTS = {"v1": V1, "v2": V2, "v2_2": V2_2}
METHODS = {method.name: method for method in methods.METHODS}

ROUTES: dict[str, frozenset[str]] = {
    "interaction": frozenset({"interaction_id"}),
    "account.revoke": frozenset({"session_id"}),
    "account.way": frozenset({"authenticator_id"}),
    "account.rename": frozenset({"authenticator_id"}),
    "account.approval": frozenset({"request_id"}),
    "account.open_request": frozenset({"request_id"}),
    "account.refuse_request": frozenset({"request_id"}),
    "account.disconnect": frozenset({"client_id"}),
    "enrol.remove": frozenset({"authenticator_id"}),
    "enrol.show": frozenset({"enrolment_id"}),
    "enrol.confirm": frozenset({"enrolment_id"}),
    "enrol.send": frozenset({"enrolment_id"}),
    "shown.page": frozenset({"interaction_id", "position", "number"}),
    "shown.large": frozenset({"interaction_id", "position", "number"}),
    "shown.file": frozenset({"interaction_id", "position"}),
    "static": frozenset({"filename"}),
}
"""Variable parts of the identity provider's addresses, by endpoint or blueprint."""

TRIED, SECRET, VALUE, CLIENT = (
    "tried below",
    "a secret",
    "names nothing",
    "says who the client is",
)

FIELDS: dict[str, dict[str, str]] = {
    "web/account/credentials.py": {
        "profile": "one of the settings' profiles, the same for everybody",
        "operation": VALUE,
        "credential_id": TRIED,
    },
    "web/account/devices.py": {
        "credential_id": "looked up among the person's own",
        "device": "looked up among the credential's own",
    },
    "web/account/language.py": {"language": VALUE},
    "web/account/ways.py": {"label": VALUE},
    "web/approval/pages.py": {
        "answer": "an authenticator's signature over what its visit is about",
        "handle": "a secret of the visit's",
    },
    "web/approval/place.py": {"approved": "a secret of the visit's", "handle": "a secret of the visit's"},
    "web/activate.py": {
        "username": "who one claims to be: the code says whether",
        "code": SECRET,
        "factor": "a kind, looked up among those that may be added",
    },
    "web/pages.py": {
        "username": "who one claims to be: the password says whether",
        "password": SECRET,
        "factor": "a kind, looked up among the person's own",
        "code": "a secret, for one transaction of one session",
        "decision": VALUE,
        "binding": "the hash of what the page showed",
        "shown": "the hash of what the page said of the documents",
        "credential_id": "looked up among the person's own: tests/integration/test_oidc_choosing.py",
        "choose": VALUE,
        "then": "kinds, compared with the ways that the policy offers this person",
    },
    "web/shown/choice.py": {
        "document": "a place among the interaction's documents",
        "page": "of one of the interaction's documents",
    },
    "web/passkeys.py": {
        "answer": "an authenticator's signature over this session's challenge",
        "ticket": "sealed by this server, for one session and occasion",
    },
    "web/oidc.py": {"client_id": CLIENT, "request_uri": "a secret of one client's: OAU-08"},
    "web/oidc_explicit.py": {
        "approval": VALUE,
        "auth_data": "secrets, judged for the person behind subject_token",
        "auth_object": "a kind, looked up among the person's own",
        "authorization_details": "SAD-05: of the credential's owner, by the module",
        "credentialID": "SAD-05: of the credential's owner, by the module",
        "lang": VALUE,
        "scal": "SAD-08: the web tier's word, which the module does not believe",
        "scope": VALUE,
        "signatureQualifier": VALUE,
        "subject_token": "a secret of one client's: tests/integration/test_oidc_explicit.py",
        "subject_token_type": VALUE,
    },
    "web/oidc_login.py": {
        **dict.fromkeys(("password", "refresh_token"), SECRET),
        "relying_party": "one that is registered for it",
        **dict.fromkeys(("remember_me", "scope"), VALUE),
        "username": "who one claims to be: the password says whether",
    },
    "web/oidc_server.py": {
        "authorization_details": "what was approved, once more: OAU-10",
        "code_verifier": SECRET,
        "grant_type": VALUE,
        "refresh_token": "a secret of one client's: OAU-06",
        "sad": "a secret of one client's: OAU-03, tests/integration/test_oidc_extension.py",
        "scope": VALUE,
    },
    "web/oidc_account.py": {"account_token": "under its client's secret, and narrows who may sign in"},
    "web/oidc_inspection.py": {"token": "a secret of one client's: OAU-14"},
    "oidc/backchannel.py": {
        **dict.fromkeys(("binding_message", "requested_expiry"), VALUE),
        **dict.fromkeys(("request", "user_code", "redirect_uri"), "refused"),
    },
    "web/oidc_ciba.py": {
        "auth_req_id": "a secret of one client's: OAU-03, tests/integration/test_oidc_ciba.py",
        "subject_token": "a secret of one client's, and says who the person is: tests/integration/test_oidc_ciba.py",
        "subject_token_type": VALUE,
    },
    "oidc/client.py": {
        "client_id": CLIENT,
        **dict.fromkeys(("client_assertion", "client_assertion_type", "client_secret"), SECRET),
    },
    "oidc/logout.py": {
        "client_id": CLIENT,
        "id_token_hint": "whose it is, its signature says; the browser's own session is what ends",
        "post_logout_redirect_uri": "one of the client's",
        "state": VALUE,
    },
    "oidc/orders.py": {
        "authorization_details": "refused",
        "credentialID": "of whoever signs in and is asked: tests/integration/test_csc_creation.py",
        "credentialProfile": "one of the settings' profiles, the same for everybody",
        "signatureQualifier": "one of the settings', the same for everybody",
        "scope": VALUE,
    },
    "oidc/rar.py": dict.fromkeys(("description", "hash", "hashAlgorithmOID", "hashes", "numSignatures"), VALUE),
    "oidc/request.py": {
        **dict.fromkeys(
            (
                "code_challenge", "code_challenge_method", "dpop_jkt", "nonce", "response_mode", "response_type",
                "scope", "state",
            ),
            VALUE,
        ),
        **dict.fromkeys(("account_token", "registration", "request", "request_uri"), "refused"),
        "authorization_details": TRIED,
        "client_id": CLIENT,
        "id_token_hint": "narrows who may be signed in: OAU-13",
        "login_hint": "fills in a form",
        "redirect_uri": "one of the client's: OAU-01",
        "resource": "one of the client's",
    },
    "oidc/wishes.py": dict.fromkeys(("acr_values", "claims", "lang", "max_age", "prompt", "ui_locales"), VALUE),
}  # fmt: skip
"""Form fields and parameters by module, each with what stands behind it."""

ADMINISTRATION = frozenset({"admin"})
"""Blueprints whose people act on others by their office: ADM-02 is the test of who may do what there."""
