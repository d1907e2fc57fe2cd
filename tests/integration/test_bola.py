"""OAU-17: every identifier that a request can name, with everybody's authority but its owner's.

The lists of what is tried come from the running code: the methods of the API and the members that each reads, the
routes of the identity provider and the form fields that it reads.  A method, member, route or field that is in none of
the tables (``bola_tables``) fails the first tests, so that whoever adds one has to say what stands behind it.
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
from signing.csc.dialect import to_v2_names
from signing.scdev.device import Pkcs11Device
from signing.settings import JobsSettings
from tests.fakes.softhsm import make_token
from tests.integration.bola_requests import readable, sad_for, shape, to_dialect, unknown_credential
from tests.integration.bola_tables import (
    ADMINISTRATION,
    ASKING,
    DIALECTS,
    DOCUMENTS,
    FIELDS,
    IDENTIFIERS,
    IN_BAND,
    METHODS,
    NO_JOB,
    ORDERS,
    OTHER_ROUTES,
    ROUTES,
    VALUES,
)
from tests.integration.oidc_world import ISSUER, Browser, World, answer
from tests.integration.whole_world import Whole, sign_hash, whole

pytestmark = pytest.mark.hsm


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
