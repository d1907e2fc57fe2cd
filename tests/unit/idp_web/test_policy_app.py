"""A server and its policy file: settings, health, one policy a request."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from foundation.errors import SettingsError
from foundation.jose import export_signing_key, generate_signing_key
from foundation.settings import from_table
from idp.app import create_app
from idp.policy.errors import PolicyRejected
from idp.settings import ApprovalSettings, IdpSettings, PolicySettings
from idp.storage.models import decisions
from idp.web import services as composition
from idp.web.interaction import BeginInteraction
from idp.web.services import services
from tests.fakes.idp import POLICY, Idp, make_idp
from tests.unit.idp_web.test_app import PRODUCTION


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    write(tmp_path / "policy.yaml", POLICY)
    made = make_idp(tmp_path, policy=None, policy_file=tmp_path / "policy.yaml")
    yield made
    made.engine.dispose()


def write(path: Path, data: bytes) -> None:
    """As if it had been there for ever."""
    path.write_bytes(data)
    os.utime(path, (0, 0))


def edit(idp: Idp, data: bytes) -> None:
    """Another policy; some time passes."""
    write(idp.settings.policy_file, data)
    idp.clock.advance(10)


def test_the_policys_limits_follow_it_without_a_restart(idp: Idp) -> None:
    browser = idp.client()
    each = POLICY.replace(b"    proofing: ", b"    idle_limit: 5m\n    proofing: ")
    edit(idp, each)
    browser.get("/health/live")
    assert composition.of(idp.app).settings.session.idle_seconds == 300
    edit(idp, POLICY)
    browser.get("/health/live")
    assert composition.of(idp.app).settings.session.idle_seconds == idp.settings.session.idle_seconds


def test_health_warns_of_a_refused_file_by_its_code_and_tells_nothing_of_its_content(idp: Idp) -> None:
    browser = idp.client()
    assert browser.get("/health/ready").json == {"status": "ok"}
    edit(idp, POLICY.replace(b"require: low", b"require: secret-level"))
    answer = browser.get("/health/ready")
    assert (answer.status_code, answer.json) == (200, {"status": "degraded", "warnings": ["policy_faults"]})
    edit(idp, POLICY)
    assert browser.get("/health/ready").json == {"status": "ok"}


def test_a_request_ends_by_the_policy_with_which_it_began(idp: Idp) -> None:
    seen: list[Any] = []

    def change() -> str:
        before = services().policy, services().settings
        edit(idp, POLICY.replace(b"    session_limit: 1h\n", b"    idle_limit: 5m\n"))
        services().policies.refresh()
        seen.append((before, (services().policy, services().settings), services().policies.current.policy))
        return ""

    idp.app.add_url_rule("/test/change", "change", change)
    with idp.app.app_context():
        idp.client().get("/test/change")
        ((before, after, current),) = seen
        assert before == after
        assert current is not before[0]
        assert services().policy is current, "what comes after it has the new one"


def test_the_services_of_another_app_have_their_own_policy(idp: Idp, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_idp(tmp_path / "other", policy=POLICY.replace(b"name: tests", b"name: others"))
    seen: list[str] = []

    def ask() -> str:
        seen.extend((services().policy.name, composition.of(other.app).policy.name))
        return ""

    idp.app.add_url_rule("/test/ask", "ask", ask)
    idp.client().get("/test/ask")
    assert seen == ["tests", "others"]
    other.engine.dispose()


def test_a_request_within_a_request_leaves_nothing_behind_for_who_comes_after_both(idp: Idp, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_idp(tmp_path / "other", policy=POLICY.replace(b"name: tests", b"name: others"))
    seen: list[str] = []

    def ask() -> str:
        for within in (idp, other):
            assert within.client().get("/health/live").status_code == 200
            seen.append(services().policy.name)
        return ""

    idp.app.add_url_rule("/test/ask", "ask", ask)
    assert idp.client().get("/test/ask").status_code == 200
    assert seen == ["tests", "tests"]
    with other.app.app_context():
        assert services().policy.name == "others"
    other.engine.dispose()


@pytest.mark.parametrize("goes_on", ["with the code", "with the page"])
def test_a_step_up_that_was_begun_under_the_old_policy_ends_by_the_new_one(idp: Idp, goes_on: str) -> None:
    """The page said that a code is needed; the policy says so no more, and the decision names the one that decided."""
    browser = idp.client()
    old = composition.of(idp.app).policy.sha256
    path = idp.path(browser, BeginInteraction("test", "sign_in", "strict", {}))
    idp.sign_in(browser, path)
    assert idp.post(browser, path, "/factor", factor="sms_otp").status_code == 303
    token = idp.csrf(browser, path)
    edit(idp, POLICY.replace(b"client: strict", b"client: stricter"))
    if goes_on == "with the code":
        answer = browser.post(f"{path}/code", data={"csrf_token": token, "code": idp.inbox.code})
    else:
        assert 'data-form="continue"' in browser.get(path).text
        answer = browser.post(f"{path}/continue", data={"csrf_token": token})
    assert answer.location == "http://rp.localhost:8405/callback?ok"
    approval = idp.finished[-1].approval
    assert approval is not None
    assert approval.policy_sha256 == composition.of(idp.app).policy.sha256 != old
    with idp.engine.connect() as connection:
        recorded = connection.execute(select(decisions.c.policy_sha256)).scalars().all()
    assert recorded == [approval.policy_sha256]


def test_a_policy_that_became_stricter_in_the_middle_asks_for_what_is_missing(idp: Idp) -> None:
    browser = idp.client()
    path = idp.path(browser, BeginInteraction("test", "sign_in", "example", {}))
    edit(idp, POLICY.replace(b"client: strict", b"client: example"))
    assert idp.sign_in(browser, path).status_code == 303
    assert 'data-form="choose"' in browser.get(path).text
    assert idp.pass_otp(browser, path).location == "http://rp.localhost:8405/callback?ok"
    assert idp.finished[-1].approval is not None
    assert idp.finished[-1].approval.acr.endswith("substantial")


def test_a_server_does_not_start_without_a_policy_that_may_be_in_force(idp: Idp) -> None:
    write(idp.settings.policy_file, POLICY.replace(b"password", b"passwort"))
    with pytest.raises(PolicyRejected, match="passwort"):
        again(idp)


def again(idp: Idp, **policy: Any) -> Flask:
    """Another process."""
    settings = replace(idp.settings, policy=PolicySettings(**policy))
    return create_app(settings, clock=idp.clock, engine=idp.engine)


# Settings


def test_keys_of_operators_are_read_as_jwk_or_pem_and_all_that_is_wrong_is_named(idp: Idp, tmp_path: Path) -> None:
    anna, rsa = generate_signing_key(), generate_signing_key("PS256")
    jwk, pem, other, private, missing = (
        tmp_path / name for name in ("anna.jwk", "anna.pem", "rsa.jwk", "private", "no")
    )
    jwk.write_text(json.dumps(anna.verification_key().as_jwk()))
    pem.write_bytes(anna.verification_key().key.as_pem(private=False))
    other.write_text(json.dumps(rsa.verification_key().as_jwk()))
    private.write_bytes(export_signing_key(anna))
    for path in (jwk, pem):
        with pytest.raises(PolicyRejected) as refused:
            again(idp, approval=ApprovalSettings((path,)))
        assert refused.value.cause == "approval_missing", "the key was read"
    with pytest.raises(SettingsError) as wrong:
        again(idp, approval=ApprovalSettings((jwk, pem, other, private, missing)))
    said = "\n".join(wrong.value.faults)
    assert len(wrong.value.faults) == 4
    for words in ("the same key", "P-256 or Ed25519", "private one was given", "cannot be read"):
        assert words in said


@pytest.mark.parametrize(
    ("approval", "words"),
    [
        ({"operators": ["a", "b"], "needed": 3}, "needed is 1 or 2"),
        ({"operators": ["a", "b"], "needed": 0}, "needed is 1 or 2"),
        ({"operators": ["a"], "needed": 2}, "as many as are needed"),
        ({}, "as many as are needed"),
        ({"operators": ["a", "a"], "needed": 2}, "names a file twice"),
    ],
)
def test_ADM_01_settings_under_which_nobody_or_one_person_alone_could_approve_are_refused(
    approval: dict[str, Any], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        from_table(IdpSettings, {**PRODUCTION, "policy": {"approval": approval}}, base=Path("/etc/privyseal"))


def test_operators_files_are_the_settings_neighbours() -> None:
    table = {**PRODUCTION, "policy": {"approval": {"operators": ["a.jwk"]}, "shadow_file": "next.yaml"}}
    made = from_table(IdpSettings, table, base=Path("/etc/privyseal"))
    assert made.policy.shadow_file == Path("/etc/privyseal/next.yaml")
    assert made.policy.approval == ApprovalSettings((Path("/etc/privyseal/a.jwk"),), 1)
