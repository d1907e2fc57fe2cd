"""OAU-17: every identifier that a request can name, with everybody's authority but its owner's.

The lists of what is tried come from the running code: the methods of the API and the members that each reads, the
routes of the identity provider and the form fields that it reads.  A method, member, route or field that is in none of
the tables here fails the first tests, so that whoever adds one has to say what stands behind it.
"""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

import idp
from contract import sad as sads
from contract.event import EVENT_TYPE
from foundation.files import write_secret
from foundation.jose import generate_signing_key, peek_claims, sign_compact
from signing.app import start_jobs
from signing.csc import methods, views
from signing.csc.dialect import V1, V2, V2_2, Dialect, to_v2_names
from signing.scdev.device import Pkcs11Device
from signing.settings import JobsSettings
from tests.fakes.softhsm import make_token
from tests.integration.oidc_world import ISSUER, Browser, World, answer
from tests.integration.whole_world import Whole, sign_hash, whole

pytestmark = pytest.mark.hsm

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


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    directory = tmp_path_factory.mktemp("bola")
    write_secret(directory / "jobs.key", b"k" * 32)
    jobs = JobsSettings(directory / "jobs.key", f"sqlite:///{directory / 'jobs.sqlite'}")
    with (
        Pkcs11Device(make_token(directory / "token")) as device,
        whole(directory, device, approval=True, explicit=True, login_client="typed", jobs=jobs) as running,
    ):
        yield running


class Reading(dict[str, Any]):
    """A request's members, which remembers those that somebody asked for."""

    seen: set[str]

    def __getitem__(self, name: str) -> Any:
        self.seen.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.seen.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.seen.add(str(name))
        return super().__contains__(name)


def readable(everything: Whole, username: str = "bob", *documents: bytes) -> dict[str, dict[str, Any]]:
    """For each method a request that this person may make, without the SAD."""
    own = everything.people[username].credential_id
    return {
        "info": {},
        "credentials/list": {},
        "credentials/info": {"credentialID": own},
        "credentials/extendTransaction": {"credentialID": own},
        "credentials/create": {},
        "credentials/delete": {"credentialID": own},
        "credentials/authorize": {**asked_for(own, *documents), "description": "Order 4711"},
        "credentials/authorizeCheck": {"handle": "A" * 43},
        "credentials/getChallenge": {"credentialID": own, "authObjectID": "sms_otp"},
        "credentials/sendOTP": {"credentialID": own},
        "auth/login": {"refresh_token": "nobodys"},
        "auth/revoke": {"token": "nobodys"},
        "signatures/signHash": sign_hash(own, *(documents or (b"a document",))),
        "signatures/signDoc": sign_doc(own, *(documents or (b"a document",))),
        "signatures/signPolling": {"requestID": NO_JOB},
    }


def asked_for(credential_id: str, *documents: bytes) -> dict[str, Any]:
    """The body of ``credentials/authorize``."""
    signing = sign_hash(credential_id, *(documents or (b"a document",)))
    del signing["signAlgo"]
    return {**signing, "numSignatures": len(documents) or 1}


def sign_doc(credential_id: str, *documents: bytes) -> dict[str, Any]:
    """The body of ``signatures/signDoc`` over documents that the client keeps."""
    hashed = sign_hash(credential_id, *documents)
    digests = {"hashes": hashed["hashes"], "signature_format": "C", "signAlgo": hashed["signAlgo"]}
    return {"credentialID": credential_id, "documentDigests": [digests]}


def sad_for(everything: Whole, method: str, username: str, document: bytes) -> str:
    """Of the kind that the method spends."""
    approve = everything.document_sad if method == "signatures/signDoc" else everything.sad
    return approve(username, document)


def to_dialect(dialect: Dialect, body: dict[str, Any]) -> dict[str, Any]:
    names = {"hashes": dialect.hashes, "hashAlgorithmOID": dialect.hash_algorithm}
    return {names.get(name, name): value for name, value in body.items()}


# What there is


def test_OAU_17_every_method_of_the_api_is_in_the_table(everything: Whole) -> None:
    assert set(IDENTIFIERS) == {method.name for method in methods.METHODS}
    served = {
        rule.rule.removeprefix(f"{dialect.path}/")
        for dialect in DIALECTS.values()
        for rule in everything.web.url_map.iter_rules()
        if rule.rule.startswith(dialect.path) and rule.rule not in DOCUMENTS
    }
    for method in served - set(IDENTIFIERS):
        assert everything.call(method, {}).status_code == 501, f"{method} is served and in no table"
    bases = tuple(f"{dialect.path}/" for dialect in DIALECTS.values())
    others = {rule.rule for rule in everything.web.url_map.iter_rules() if not rule.rule.startswith(bases)}
    assert others == OTHER_ROUTES


@pytest.mark.parametrize("version", DIALECTS)
def test_OAU_17_every_member_that_a_method_reads_is_in_a_table(
    everything: Whole, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    seen: set[str] = set()

    def watched(body: Any, names: Mapping[str, str]) -> Reading:
        reading = Reading(to_v2_names(body, names))
        reading.seen = seen
        return reading

    monkeypatch.setattr(views, "to_v2_names", watched)
    bodies, token = readable(everything), everything.service_token("bob")
    for spends in ("credentials/extendTransaction", "signatures/signHash", "signatures/signDoc"):
        bodies[spends]["SAD"] = everything.sad("bob", b"another document")
    answered: Any = None
    for method, body in bodies.items():
        if version not in METHODS[method].dialects:
            continue
        seen.clear()
        # What is created is deleted: he has one credential before and after.
        named = {"credentialID": answered["credentialID"]} if method == "credentials/delete" else {}
        bearer = everything.order_token("bob", ORDERS[method], **named) if method in ORDERS else token
        response = everything.call(method, to_dialect(DIALECTS[version], {**body, **named}), bearer, version)
        answered = response.get_json(silent=True)
        assert seen & IDENTIFIERS[method] == IDENTIFIERS[method], f"{method} does not read what the table says"
        assert seen <= IDENTIFIERS[method] | VALUES, f"{method} reads {seen - VALUES}; say whose that is"


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


def test_OAU_17_every_identifier_in_an_address_of_the_identity_provider_is_in_the_table(everything: Whole) -> None:
    for rule in everything.idp.app.url_map.iter_rules():
        blueprint = rule.endpoint.partition(".")[0]
        if blueprint in ADMINISTRATION or not rule.arguments:
            continue
        if rule.arguments == ROUTES["interaction"]:
            continue  # one of those that are all tried below
        listed = ROUTES.get(rule.endpoint, ROUTES.get(blueprint, frozenset()))
        assert rule.arguments == listed, f"{rule.rule}: say whose {set(rule.arguments)} must be"


def test_OAU_17_every_parameter_of_the_identity_provider_is_in_the_table() -> None:
    folder = Path(idp.__path__[0])
    folders = ("web", "web/account", "web/approval", "web/shown", "oidc")
    for path in sorted(path for name in folders for path in folder.glob(f"{name}/*.py")):
        module = path.relative_to(folder).as_posix()
        read = set(_parameters_read(ast.parse(path.read_text(encoding="utf-8"))))
        listed = set(FIELDS.get(module, {}))
        assert read <= listed, f"{module} reads {read - listed}; say whose that is"
        assert listed <= read, f"{module} does not read {listed - read}"


def _parameters_read(tree: ast.AST) -> Iterator[str]:
    """Names in ``request.form.get("...")``, ``parameters["..."]``, ``"..." in parameters`` and the like."""
    for node in ast.walk(tree):
        source: ast.expr | None = None
        name: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("get"):
            source, name = node.func.value, node.args[0] if node.args else None
        elif isinstance(node, ast.Subscript):
            source, name = node.value, node.slice
        elif isinstance(node, ast.Compare):
            source, name = node.comparators[0], node.left
        held = source.attr if isinstance(source, ast.Attribute) else source.id if isinstance(source, ast.Name) else ""
        if held in {"form", "args", "values", "parameters"} and isinstance(name, ast.Constant):
            yield str(name.value)


# The API


def unknown_credential() -> str:
    """In the form of one, and nobody's."""
    return "0" * 32


def shape(response: TestResponse) -> tuple[int, str, dict[str, str]]:
    """All that a caller can see of an answer, but the time."""
    headers = {name: value for name, value in response.headers.items() if name != "Date"}
    return response.status_code, response.get_data(as_text=True), headers


@pytest.mark.parametrize(
    ("method", "version"),
    [
        (method, version)
        for method, names in IDENTIFIERS.items()
        for version in DIALECTS
        if "credentialID" in names and method not in {*ORDERS, *IN_BAND} and version in METHODS[method].dialects
    ],
)
def test_OAU_17_nobodys_token_opens_another_persons_credential(everything: Whole, method: str, version: str) -> None:
    victim = everything.people["alice"].credential_id
    document = f"{method} {version}".encode()
    sad = sad_for(everything, method, "bob", document)
    own = everything.idp.rp().token(grant_type="client_credentials").get_json()["access_token"]
    body = to_dialect(DIALECTS[version], readable(everything, "bob", document)[method])
    extra = {"SAD": sad} if "SAD" in IDENTIFIERS[method] else {}
    for bearer, more in ((everything.service_token("bob"), extra), (own, extra), (sad, {}), (None, extra)):
        answers = [
            shape(everything.call(method, {**body, **more, "credentialID": named}, bearer, version))
            for named in (victim, unknown_credential())
        ]
        assert answers[0] == answers[1], "another's credential and nobody's are told apart"
        assert answers[0][0] in {400, 401}
    # nothing but the identifier was wrong with it, and nothing of the above spent what he had approved
    bearer = everything.service_token("bob", "caller") if method in ASKING else sad
    assert everything.call(method, body, bearer, version).status_code in {200, 202}


@pytest.mark.parametrize("version", DIALECTS)
def test_OAU_17_nobodys_token_carries_another_persons_sad(everything: Whole, version: str) -> None:
    document = f"the sad of alice {version}".encode()
    sad, token = everything.sad("alice", document), everything.service_token("bob")
    nobodys = sign_compact(peek_claims(sad), generate_signing_key(), sads.SAD_TYPE)
    for person in ("bob", "alice"):
        body = sign_hash(everything.people[person].credential_id, document)
        answers = [
            shape(
                everything.call(
                    "signatures/signHash", to_dialect(DIALECTS[version], {**body, "SAD": each}), token, version
                )
            )
            for each in (sad, nobodys)
        ]
        assert answers[0] == answers[1]
        assert answers[0][0] == 400
    hers = to_dialect(DIALECTS[version], sign_hash(everything.people["alice"].credential_id, document))
    his = {**hers, "credentialID": everything.people["bob"].credential_id}
    assert everything.call("signatures/signHash", his, sad, version).status_code == 400
    assert everything.call("signatures/signHash", hers, sad, version).status_code == 200


def test_OAU_17_nobodys_token_fetches_what_another_person_signs_later(everything: Whole) -> None:
    background = start_jobs(everything.web)
    assert background is not None
    document = b"signed later"
    body = {**sign_hash(everything.people["alice"].credential_id, document), "operationMode": "A"}
    sad, hers = everything.sad("alice", document), everything.service_token("alice")
    job = everything.call("signatures/signHash", {**body, "SAD": sad}, hers).get_json()["responseID"]
    own = everything.idp.rp().token(grant_type="client_credentials").get_json()["access_token"]
    his = everything.service_token("bob")
    for bearer, more in (
        (his, {}),
        (his, {"userID": everything.people["alice"].account_id}),
        (everything.sad("bob", b"another"), {}),
        (own, {"userID": everything.people["bob"].account_id}),
        (None, {}),
    ):
        answers = [
            shape(everything.call("signatures/signPolling", {"requestID": named, **more}, bearer))
            for named in (job, NO_JOB)
        ]
        assert answers[0] == answers[1], "another's request and nobody's are told apart"
        assert answers[0][0] in {400, 401}
    for _time in range(200):
        answer = everything.call("signatures/signPolling", {"requestID": job}, hers)
        if answer.status_code != 202:
            break
        time.sleep(0.1)
    assert answer.status_code == 200
    assert len(answer.get_json()["signatures"]) == 1
    assert everything.call("signatures/signPolling", {"requestID": job}, hers).status_code == 400
    # The SAD was spent by it.
    assert everything.call("signatures/signHash", {**body, "operationMode": "S", "SAD": sad}, hers).status_code == 400
    background.stop()


@pytest.mark.parametrize("version", DIALECTS)
def test_OAU_17_nobodys_token_lists_another_person(everything: Whole, version: str) -> None:
    victim, nobody = everything.people["alice"].account_id, "account-of-nobody"
    own = everything.idp.rp().token(grant_type="client_credentials").get_json()["access_token"]
    token = everything.service_token("bob")
    for bearer in (token, own, everything.sad("bob", b"list"), None):
        for more in ({}, {"credentialInfo": True, "certInfo": True, "certificates": "chain"}, {"onlyValid": True}):
            answers = [
                shape(everything.call("credentials/list", {"userID": named, **more}, bearer, version))
                for named in (victim, nobody)
            ]
            assert answers[0] == answers[1]
            assert answers[0][0] in {400, 401, 403}
    listed = everything.call("credentials/list", {"credentialInfo": True}, token, version).get_json()
    assert listed["credentialIDs"] == [everything.people["bob"].credential_id]


def test_OAU_17_nobodys_token_passes_for_an_event_about_another_person(everything: Whole) -> None:
    document = b"revoked by nobody"
    sad, service = everything.sad("alice", document), everything.service_token("bob")
    key = generate_signing_key()
    about = {"iss": ISSUER, "sub": everything.people["alice"].account_id, "txn": peek_claims(sad)["txn"]}
    for token in (service, everything.sad("bob", b"x"), sad, sign_compact(about, key, EVENT_TYPE)):
        response = everything.web.test_client().post("/events", data=token, content_type=f"application/{EVENT_TYPE}")
        assert response.status_code == 400
    body = sign_hash(everything.people["alice"].credential_id, document)
    assert everything.call("signatures/signHash", body, sad).status_code == 200


# The identity provider


def signed_in(everything: Whole, username: str) -> Browser:
    """A browser with a session of this person's."""
    browser = everything.idp.browser()
    everything.sign_in(browser, browser.get("/account/"), username)
    return browser


def seen(response: TestResponse) -> tuple[int, str]:
    """A page without what differs by chance: identifiers of the request, form tokens."""
    text = re.sub(r'nonce="[^"]*"|name="csrf_token" value="[^"]*"', "", response.get_data(as_text=True))
    return response.status_code, re.sub(r"/interaction/[A-Za-z0-9_-]+", "/interaction/", text)


def token_of(browser: Browser) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/account/").text)
    assert found is not None
    return found[1]


def interaction_routes(world: World) -> list[tuple[str, str]]:
    """Every address that has an interaction's identifier, with every method that it takes."""
    return sorted(
        (rule.rule, method)
        for rule in world.app.url_map.iter_rules()
        if "interaction_id" in rule.arguments
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


def test_OAU_17_nobody_sees_or_moves_another_persons_interaction(everything: Whole) -> None:
    hers, his = signed_in(everything, "alice"), signed_in(everything, "bob")
    asked = everything.idp.rp().signing(credentialID=everything.people["alice"].credential_id)
    page = hers.get(everything.idp.rp().pushed_url(asked))
    assert 'data-form="choose"' in page.text
    victim = page.request.path.removeprefix("/interaction/")
    fields = {
        "csrf_token": token_of(his), "username": "bob", "password": "x", "factor": "sms_otp", "code": "000000",
        "decision": "approve", "binding": "x",
    }  # fmt: skip
    routes = interaction_routes(everything.idp)
    assert len(routes) >= 7
    for browser, data in ((his, fields), (everything.idp.browser(), fields)):
        for rule, method in routes:
            answers = []
            for named in (victim, "A" * len(victim)):
                path = re.sub(r"<int:[a-z]+>", "1", rule.replace("<interaction_id>", named))
                response = browser.http.open(
                    path, method=method, data=data if method == "POST" else None, base_url=ISSUER
                )
                answers.append(seen(response))
            assert answers[0] == answers[1], f"{method} {rule} tells another's interaction from nobody's"
            assert answers[0][0] in {400, 403}, f"{method} {rule}"
    texts = len(everything.idp.phone.texts)
    assert answer(hers.approve(hers.step_up(hers.get(page.request.path))))["code"], "it is as it was"
    assert len(everything.idp.phone.texts) == texts + 1


def test_OAU_17_nobody_ends_another_persons_session(everything: Whole) -> None:
    hers, his = signed_in(everything, "alice"), signed_in(everything, "bob")
    pattern = r"/account/sessions/([^/\"]+)/revoke"
    victims, data = set(re.findall(pattern, hers.get("/account/").text)), {"csrf_token": token_of(his)}
    assert victims
    for named in victims:
        answers = [seen(his.post(f"/account/sessions/{each}/revoke", data)) for each in (named, "A" * len(named))]
        assert answers[0] == answers[1]
    assert victims == set(re.findall(pattern, hers.get("/account/").text))
    assert not victims & set(re.findall(pattern, his.get("/account/").text))


def test_OAU_17_nobody_orders_anything_about_another_persons_credential(everything: Whole) -> None:
    for operation in ("suspend", "resume", "delete"):
        answers = []
        for named in (everything.people["alice"].credential_id, unknown_credential()):
            # A browser each: the pages remind people of what they began before.
            his = signed_in(everything, "bob")
            page = his.get("/account/credentials")
            answers.append(seen(his.submit(page, "operate-credential", operation=operation, credential_id=named)))
        assert answers[0] == answers[1]
        assert "consent" not in answers[0][1]
    own = his.submit(
        his.get("/account/credentials"),
        "operate-credential",
        operation="suspend",
        credential_id=everything.people["bob"].credential_id,
    )
    assert 'data-form="choose"' in own.text, "his own is asked about"


@pytest.mark.parametrize("form", ["authorization_details", "query"])
def test_OAU_17_nobody_is_asked_to_sign_with_another_persons_credential(everything: Whole, form: str) -> None:
    rp = everything.idp.rp("other")

    def asked(credential_id: str) -> dict[str, str]:
        if form == "authorization_details":
            return rp.signing(credentialID=credential_id)
        return rp.parameters(
            scope="credential",
            nonce=None,
            credentialID=credential_id,
            numSignatures="1",
            hashes="A" * 43,
            hashAlgorithmOID="2.16.840.1.101.3.4.2.1",
        )

    victim, texts = everything.people["alice"].credential_id, len(everything.idp.phone.texts)
    # A browser each: the pages remind people of what they began before.
    answers = [
        seen(signed_in(everything, "bob").get(rp.pushed_url(asked(named)))) for named in (victim, unknown_credential())
    ]
    assert answers[0] == answers[1]
    assert 'data-form="choose"' not in answers[0][1]
    assert len(everything.idp.phone.texts) == texts
    his = signed_in(everything, "bob")
    silent = [
        answer(his.get(rp.pushed_url({**asked(named), "prompt": "none"}))) for named in (victim, unknown_credential())
    ]
    assert silent[0] == silent[1]
    assert silent[0]["error"] == "interaction_required"
    own = his.get(rp.pushed_url(asked(everything.people["bob"].credential_id)))
    assert 'data-form="choose"' in own.text, "his own is asked about"
