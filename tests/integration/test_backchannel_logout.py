"""OpenID Connect Back-Channel Logout 1.0, over HTTP on the loopback address; on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from sqlalchemy import select, update
from werkzeug.wrappers import Response

from foundation.clock import epoch
from foundation.egress import Egress
from foundation.files import write_secret
from foundation.jose import decode_base64url, verify_compact
from idp.authn.password import KEY, Passwords
from idp.cli.administration import main
from idp.desk import Desk, disable_factors, end_all_sessions
from idp.logout_delivery import MOST_REFUSED, LogoutDeliverer, start
from idp.settings import PasswordSettings
from idp.storage import accounts, authenticators, clients, grants, logouts, seal, sessions
from idp.storage.clients import oidc_clients
from idp.storage.grants import oidc_grants
from idp.storage.logouts import KEPT_SECONDS, LIFE_SECONDS, logout_notices
from idp.storage.models import sessions as session_rows
from idp.web import oidc_tokens
from idp.web.services import Services
from tests.integration.logout_receiver import Receiver, receiving, verified
from tests.integration.oidc_world import (
    ACCOUNT,
    ISSUER,
    POLICY,
    RESOURCE,
    SAM,
    Seed,
    World,
    error_of,
    seed,
)
from tests.integration.oidc_world import start as start_world
from tests.integration.test_session_races import await_a_waiting_transaction

PATIENCE = 20
PARTY = "example-contracts"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def seeded_here(tmp_path: Path, database_url: str) -> Seed:
    return seed(tmp_path, database_url)


@pytest.fixture
def world(seeded_here: Seed, tmp_path: Path, database_url: str, receiver: Receiver) -> Iterator[World]:
    made = start_world(seeded_here, tmp_path, database_url)
    register(made, PARTY, receiver.uri)
    yield made
    made.engine.dispose()


def register(world: World, client_id: str, uri: str | None) -> None:
    """Change a registration in the database, which nothing in the product does."""
    with world.engine.begin() as connection:
        client = clients.find(connection, client_id)
        assert client is not None
        registration = replace(client.registration, backchannel_logout_uri=uri)
        connection.execute(
            update(oidc_clients)
            .where(oidc_clients.c.client_id == client_id)
            .values(registration=asdict(registration))
        )


def services_of(world: World) -> Services:
    found = world.app.extensions["privyseal"]
    assert isinstance(found, Services)
    return found


def deliverer(world: World, receiver: Receiver, seconds: float = 5) -> LogoutDeliverer:
    return LogoutDeliverer(services_of(world), Egress(receiver.allowed), seconds)


def deliver(world: World, receiver: Receiver, seconds: float = 5) -> bool:
    return deliverer(world, receiver, seconds).deliver()


def waiting(world: World) -> int:
    with world.engine.connect() as connection:
        return logouts.backlog(connection, epoch(world.clock.now())).waiting


def claims_of(world: World, token: str, client_id: str = PARTY) -> dict[str, Any]:
    keys = world.app.test_client().get("/oauth2/jwks", base_url=ISSUER).get_json()
    return verified(token, keys, issuer=ISSUER, client_id=client_id, now=epoch(world.clock.now()))


def id_token(world: World, tokens: dict[str, Any]) -> dict[str, Any]:
    keys = [key.verification_key() for key in (services_of(world).keys.token_key(),)]
    return dict(verify_compact(tokens["id_token"], keys, {"JWT"}))


def desk(world: World) -> Desk:
    made = services_of(world)
    return Desk(made.seals, made.audit, made.outbox, made.keys.secret, secrets.token_bytes, made.clock.now())


# From end to end


def test_SES_03_a_relying_party_is_told_of_a_sign_out_in_a_token_that_it_can_verify(
    world: World, receiver: Receiver
) -> None:
    browser = world.browser()
    given = id_token(world, world.rp().tokens(browser))
    browser.submit(browser.get("/oauth2/logout"), "sign-out")
    assert (receiver.tokens, waiting(world)) == ([], 1), "committed with the end, and not sent yet"
    assert deliver(world, receiver)
    [token] = receiver.tokens
    assert receiver.requests == [("/backchannel-logout", "application/x-www-form-urlencoded")]
    claims = claims_of(world, token)
    assert (claims["sub"], claims["sid"]) == (given["sub"], given["sid"])
    assert claims["exp"] - claims["iat"] == 120
    [event] = world.events("logout.told")
    assert (event["client_id"], event["account_id"], event["attempts"]) == (PARTY, ACCOUNT, 1)
    assert event["jti"] == claims["jti"]
    assert deliver(world, receiver)
    assert len(receiver.tokens) == 1, "told once"


def command(world: World, *arguments: str) -> None:
    """An administrator's command, in what would be a process of its own."""
    settings = services_of(world).settings
    config = settings.key_dir.parent / "idp.toml"
    config.write_text(
        f'mode = "development"\nissuer = "{ISSUER}"\ndatabase_url = "{settings.database_url}"\n'
        f'key_dir = "{settings.key_dir}"\npolicy_file = "{POLICY}"\n'
        f'[signing]\ncsc_base = "{RESOURCE}"\nsam_id = "{SAM}"\n'
    )
    assert main([*arguments, "--config", str(config), "--json"], clock=world.clock) == 0


def _logout_page(world: World, browser: Any) -> None:
    browser.submit(browser.get("/oauth2/logout"), "sign-out")


def _account_page(world: World, browser: Any) -> None:
    browser.submit(browser.get("/account/"), "sign-out")


def _from_another_browser(world: World, browser: Any) -> None:
    other = world.browser()
    page = other.get("/account/")
    page = other.sign_in(page)
    while re.search('data-form="revoke-session"', page.text):
        page = other.submit(page, "revoke-session")


def _locked(world: World, _browser: Any) -> None:
    command(world, "account", "disable", "--username", "alice")


def _other_password(world: World, _browser: Any) -> None:
    path = services_of(world).settings.key_dir.parent / "password"
    write_secret(path, b"another correct horse")
    command(world, "account", "set-password", "--username", "alice", "--password-file", str(path))


def _reset(world: World, _browser: Any) -> None:
    with world.engine.begin() as connection:
        owned = authenticators.of_account(connection, services_of(world).seals, ACCOUNT)
        disable_factors(connection, desk(world), ACCOUNT, owned, by="command_line")


ENDS = [_logout_page, _account_page, _from_another_browser, _locked, _other_password, _reset]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_SES_03_whatever_ends_a_session_its_relying_parties_are_told_and_its_codes_give_nothing(
    world: World, receiver: Receiver, end: Callable[[World, Any], None]
) -> None:
    browser, rp = world.browser(), world.rp()
    given = id_token(world, rp.tokens(browser))
    code = rp.code(browser)
    end(world, browser)
    assert error_of(rp.redeem(code)) == "invalid_grant"
    with world.engine.connect() as connection:
        query = select(oidc_grants.c.revoked_at).where(oidc_grants.c.client_id == PARTY)
        assert None not in connection.execute(query).scalars().all()
    assert deliver(world, receiver)
    assert [claims_of(world, token)["sid"] for token in receiver.tokens] == [given["sid"]]


def test_SES_07_another_person_in_the_same_browser_ends_the_first_ones_session_for_its_relying_parties(
    world: World, receiver: Receiver
) -> None:
    browser = world.browser()
    given = id_token(world, world.rp().tokens(browser))
    made = services_of(world)
    with world.engine.begin() as connection:
        accounts.create(
            connection, "account-of-bob", accounts.NewAccount("bob", "Bob", proofing="high"), world.clock.now()
        )
        authenticators.add(
            connection,
            made.seals,
            authenticator_id="password-of-bob",
            account_id="account-of-bob",
            kind="password",
            now=world.clock.now(),
            secret_hash=Passwords(PasswordSettings(), key=made.keys.secret(KEY)).hash("another long password"),
        )
    page = browser.get(world.rp().url(prompt="login"))
    browser.submit(page, "sign-in", username="bob", password="another long password")
    with world.engine.connect() as connection:
        query = select(oidc_grants.c.revoked_at).where(oidc_grants.c.subject == ACCOUNT)
        assert None not in connection.execute(query).scalars().all()
    assert deliver(world, receiver)
    assert [claims_of(world, token)["sid"] for token in receiver.tokens] == [given["sid"]]


# Who is told


def test_who_was_given_no_id_token_in_the_session_is_not_told(world: World, receiver: Receiver) -> None:
    for client_id in ("other", "keyed"):
        register(world, client_id, receiver.uri)
    browser = world.browser()
    world.rp().tokens(browser)
    world.rp("other").tokens(browser, scope="service", nonce=None)
    world.rp("keyed").code(browser)  # nobody redeems it
    elsewhere = world.browser()
    world.rp("other").tokens(elsewhere)
    _logout_page(world, browser)
    assert deliver(world, receiver)
    assert [claims_of(world, token)["aud"] for token in receiver.tokens] == [PARTY]


def test_each_relying_party_is_told_once_with_an_identifier_of_its_own(world: World, receiver: Receiver) -> None:
    register(world, "other", receiver.uri)
    register(world, "poster", None)
    browser = world.browser()
    sids = {
        client_id: id_token(world, world.rp(client_id).tokens(browser))["sid"]
        for client_id in (PARTY, PARTY, "other")
    }
    assert len(set(sids.values())) == 2, "two clients that compare what they have learn nothing"
    _logout_page(world, browser)
    assert deliver(world, receiver)
    keys = {PARTY: receiver.tokens[0], "other": receiver.tokens[1]} if len(receiver.tokens) == 2 else {}
    found = {}
    for token in keys.values():
        for client_id in sids:
            with suppress(Exception):
                found[client_id] = claims_of(world, token, client_id)["sid"]
    assert found == sids


def test_no_token_and_no_introspection_holds_the_sessions_own_identifier(world: World) -> None:
    rp = world.rp()
    tokens = rp.tokens()
    given = id_token(world, tokens)
    keys = [services_of(world).keys.token_key().verification_key()]
    access = verify_compact(tokens["access_token"], keys, {"at+jwt"})
    seen = world.rp("csc").introspect(tokens["access_token"])
    with world.engine.connect() as connection:
        ids = set(connection.execute(select(session_rows.c.id)).scalars())
    assert given["sid"] == access["sid"] == seen["sid"]
    assert given["sid"] not in ids


def test_a_relying_party_whose_access_was_taken_back_before_is_told_all_the_same(
    world: World, receiver: Receiver
) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    browser.submit(browser.get("/account/applications"), "disconnect")
    assert waiting(world) == 0, "the session goes on"
    _logout_page(world, browser)
    assert deliver(world, receiver)
    assert len(receiver.tokens) == 1


def test_a_session_that_was_altered_tells_nobody(world: World, receiver: Receiver) -> None:
    world.rp().tokens(world.browser())
    with world.engine.begin() as connection:
        connection.execute(update(session_rows).values(device="another"))
    with world.engine.begin() as connection:
        for session_id in connection.execute(select(session_rows.c.id)).scalars().all():
            services_of(world).outbox.session_ended(connection, session_id)
    assert waiting(world) == 0


def test_a_notice_that_was_altered_is_not_signed(world: World, receiver: Receiver) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)
    with world.engine.begin() as connection:
        connection.execute(update(logout_notices).values(account_id="account-of-mallory"))
    assert deliver(world, receiver)
    assert receiver.tokens == []
    world.clock.advance(LIFE_SECONDS + KEPT_SECONDS - 1)
    assert deliver(world, receiver)
    assert waiting(world) == 1, "for operators to see"
    world.clock.advance(60)
    assert deliver(world, receiver)
    assert waiting(world) == 0


def test_the_grants_of_a_session_that_lasts_are_kept_for_its_end(world: World, receiver: Receiver) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    world.rp("other").code(browser)  # nobody redeems it: of that nobody has to be told
    year = epoch(world.clock.now()) + 365 * 24 * 60 * 60
    with world.engine.begin() as connection:
        made = services_of(world)
        seal.change(
            connection, made.seals, session_rows, session_rows.c.account_id == ACCOUNT, lambda _: {"expires_at": year}
        )
    world.clock.advance(40 * 60 * 60)
    with world.engine.begin() as connection:
        grants.purge(connection, world.clock.now())
        assert connection.execute(select(oidc_grants.c.client_id)).scalars().all() == [PARTY]
        end_all_sessions(connection, services_of(world).outbox, ACCOUNT, world.clock.now())
    assert waiting(world) == 1
    with world.engine.begin() as connection:
        grants.purge(connection, world.clock.now())
        assert connection.execute(select(oidc_grants.c.client_id)).scalars().all() == []


# What ends at one time


def test_SES_03_two_who_end_a_session_at_one_time_tell_its_relying_parties_once(
    world: World, receiver: Receiver
) -> None:
    world.rp().tokens(world.browser())
    with world.engine.connect() as connection:
        query = select(session_rows.c.id).where(session_rows.c.account_id == ACCOUNT)
        [session_id] = connection.execute(query).scalars()
    barrier = Barrier(2)

    def end() -> None:
        barrier.wait(PATIENCE)
        with world.engine.begin() as connection:
            services_of(world).outbox.session_ended(connection, session_id)
            sessions.revoke(connection, session_id, world.clock.now())

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(end) for _ in range(2)]:
            each.result(PATIENCE)
    assert waiting(world) == 1


def test_SES_03_a_code_that_is_redeemed_while_the_session_ends_gives_no_id_token_behind_the_logout(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, rp = world.browser(), world.rp()
    code = rp.code(browser)
    issue = oidc_tokens._issue

    def late(services: Services, issued: Any) -> dict[str, Any]:
        # The grant was looked at and found alive; now the person signs out.
        _account_page(world, browser)
        return issue(services, issued)

    monkeypatch.setattr(oidc_tokens, "_issue", late)
    assert error_of(rp.redeem(code)) == "invalid_grant"
    assert waiting(world) == 0, "nothing was given out"


def test_SES_03_a_relying_party_that_is_given_its_id_token_while_the_session_ends_is_told_of_the_end(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, rp = world.browser(), world.rp()
    code = rp.code(browser)
    record = oidc_tokens._audit_token
    page = browser.get("/account/")

    with ThreadPoolExecutor(1) as pool:
        ends = []

        def slow(*given: Any) -> None:
            # What is given out is written, and not committed; now the person signs out.
            ends.append(pool.submit(browser.submit, page, "sign-out"))
            await_a_waiting_transaction(world.engine)
            record(*given)

        monkeypatch.setattr(oidc_tokens, "_audit_token", slow)
        given = id_token(world, rp.redeem(code).get_json())
        ends[0].result(PATIENCE)
    assert deliver(world, receiver)
    assert [claims_of(world, token)["sid"] for token in receiver.tokens] == [given["sid"]]


def test_two_nodes_that_deliver_at_one_time_send_a_notice_once(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)
    look, barrier = logouts.due, Barrier(2)

    def due(*given: Any) -> Any:
        found = look(*given)
        barrier.wait(PATIENCE)
        return found

    monkeypatch.setattr(logouts, "due", due)
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(LogoutDeliverer.deliver, [deliverer(world, receiver) for _ in range(2)]))
    assert (len(receiver.tokens), waiting(world)) == (1, 0)


def test_discovery_says_that_relying_parties_are_told(world: World) -> None:
    for name in ("openid-configuration", "oauth-authorization-server"):
        found = world.app.test_client().get(f"/.well-known/{name}", base_url=ISSUER).get_json()
        assert found["backchannel_logout_supported"] is True
        assert found["backchannel_logout_session_supported"] is True
        assert "sid" in found["claims_supported"]


def test_the_sign_out_page_says_who_is_told_and_who_may_not_be(world: World) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    page = browser.get("/oauth2/logout").text
    assert "Those that want to be told are told that you signed out." in page
    assert "Others may go on showing you as signed in" in page


# Receivers that do otherwise


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_relying_party_that_fails_is_told_later(world: World, receiver: Receiver, status: int) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)
    receiver.answer = lambda: Response("", status)
    # Within the lifetime of what has to be told, and of the keys that a receiver has.
    for attempt in range(1, 8):
        assert not deliver(world, receiver)
        assert deliver(world, receiver), "not due yet"
        assert len(receiver.tokens) == attempt
        world.clock.advance(logouts.wait_seconds(attempt))
    receiver.answer = lambda: Response("", 204)
    assert deliver(world, receiver)
    assert waiting(world) == 0
    identifiers = {claims_of_any(token)["jti"] for token in receiver.tokens}
    assert len(identifiers) == len(receiver.tokens), "each token is another one"
    assert [event["attempts"] for event in world.events("logout.told")] == [8]


def claims_of_any(token: str) -> dict[str, Any]:
    """Without a look at the signature."""
    found = json.loads(decode_base64url(token.split(".")[1].encode()))
    assert isinstance(found, dict)
    return found


def test_after_half_a_day_nobody_tries_any_more(world: World, receiver: Receiver) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)
    receiver.answer = lambda: Response("", 500)
    assert not deliver(world, receiver)
    world.clock.advance(LIFE_SECONDS)
    assert deliver(world, receiver)
    assert (len(receiver.tokens), waiting(world)) == (1, 0)
    [event] = world.events("logout.dropped")
    assert (event["cause"], event["client_id"]) == ("overdue", PARTY)


@pytest.mark.parametrize(("status", "cause"), [(400, "refused"), (404, "refused"), (302, "redirected")])
def test_PKI_01_who_refuses_or_redirects_is_asked_a_few_times_and_nothing_is_followed(
    world: World, receiver: Receiver, status: int, cause: str
) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)
    receiver.answer = lambda: Response("", status, {"Location": f"{receiver.origin}/elsewhere"})
    for attempt in range(1, MOST_REFUSED + 1):
        assert deliver(world, receiver)
        world.clock.advance(logouts.wait_seconds(attempt))
    assert deliver(world, receiver)
    assert [path for path, _ in receiver.requests] == ["/backchannel-logout"] * MOST_REFUSED
    assert [event["cause"] for event in world.events("logout.dropped")] == [cause]


def test_who_hangs_is_cut_off_and_holds_up_nobody_else(world: World, receiver: Receiver) -> None:
    register(world, "other", receiver.uri)
    done = Event()
    with receiving() as hanging:

        def hang() -> Response:
            done.wait(PATIENCE)
            return Response("", 200)

        hanging.answer = hang
        register(world, PARTY, hanging.uri)
        browsers = [world.browser() for _ in range(3)]
        for browser in browsers:
            world.rp().tokens(browser)
        world.rp("other").tokens(browsers[-1])
        for browser in browsers:
            _logout_page(world, browser)
        node = LogoutDeliverer(services_of(world), Egress((*receiver.allowed, *hanging.allowed)), seconds=3)
        assert not node.deliver()
        done.set()
        assert len(hanging.tokens) == 1, "whoever hangs has one attempt in a round"
    assert [claims_of(world, token, "other")["aud"] for token in receiver.tokens] == ["other"]
    assert node.deliver(), "and then is left alone for a while, with all that it has to be told"
    assert waiting(world) == 3


def test_who_answers_slowly_holds_up_nobody_else(world: World, receiver: Receiver) -> None:
    register(world, "other", receiver.uri)
    passed = [0.0]

    def slowly() -> Response:
        passed[0] += 4
        return Response("", 200)

    with receiving() as slow:
        slow.answer = slowly
        register(world, PARTY, slow.uri)
        browsers = [world.browser() for _ in range(3)]
        for browser in browsers:
            world.rp().tokens(browser)
        world.rp("other").tokens(browsers[-1])
        for browser in browsers:
            _logout_page(world, browser)
        egress = Egress((*receiver.allowed, *slow.allowed))
        node = LogoutDeliverer(services_of(world), egress, watch=lambda: passed[0])
        for told in (1, 2, 3):
            assert node.deliver()
            assert (len(slow.tokens), len(receiver.tokens)) == (told, 1)
    assert waiting(world) == 0


def test_who_has_a_lot_to_be_told_is_not_before_all_others(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idp.logout_delivery._BATCH", 2)
    register(world, "other", receiver.uri)
    browsers = [world.browser() for _ in range(3)]
    for browser in browsers:
        world.rp().tokens(browser)
    world.rp("other").tokens(browsers[-1])
    for browser in browsers:
        _logout_page(world, browser)
        world.clock.advance(1)
    assert deliver(world, receiver)
    assert {claims_of_any(token)["aud"] for token in receiver.tokens} == {PARTY, "other"}


def test_PKI_03_an_answer_without_an_end_is_not_read(world: World, receiver: Receiver) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)
    receiver.answer = lambda: Response(endless(), 200)
    assert deliver(world, receiver)
    assert waiting(world) == 0


def test_PKI_01_an_address_that_is_not_public_is_not_reached_unless_the_operator_allowed_it(
    world: World, receiver: Receiver
) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)
    assert not LogoutDeliverer(services_of(world)).deliver()
    assert receiver.requests == []
    with world.engine.connect() as connection:
        [standing] = logouts.standings(connection, epoch(world.clock.now()))
    assert (standing.waiting, standing.last_cause) == (1, "not_permitted")


@pytest.mark.parametrize("how", ["disabled", "unregistered"])
def test_who_is_not_to_be_told_any_more_is_not(world: World, receiver: Receiver, how: str) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)
    if how == "disabled":
        with world.engine.begin() as connection:
            clients.set_active(connection, PARTY, active=False)
    else:
        register(world, PARTY, None)
    assert deliver(world, receiver)
    assert (receiver.tokens, waiting(world)) == ([], 0)
    causes = {"disabled": "client_disabled", "unregistered": "not_registered"}
    assert [event["cause"] for event in world.events("logout.dropped")] == [causes[how]]


# What a crash leaves


def test_what_was_committed_is_told_after_a_restart(
    world: World, receiver: Receiver, seeded_here: Seed, tmp_path: Path, database_url: str
) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)
    world.engine.dispose()  # this process is no more
    again = start_world(seeded_here, tmp_path, database_url, egress_allow=receiver.allowed)
    try:
        told = Event()

        def tell() -> Response:
            told.set()
            return Response("", 200)

        receiver.answer = tell
        delivery = start(again.app)
        assert told.wait(PATIENCE)
        delivery.stop()
        assert [claims_of(again, token)["aud"] for token in receiver.tokens] == [PARTY]
        assert waiting(again) == 0
    finally:
        again.engine.dispose()


def test_an_end_that_is_rolled_back_tells_nobody(world: World, receiver: Receiver) -> None:
    world.rp().tokens(world.browser())
    connection = world.engine.connect()
    connection.begin()
    end_all_sessions(connection, services_of(world).outbox, ACCOUNT, world.clock.now())
    connection.close()
    assert waiting(world) == 0


def test_a_node_that_dies_between_answer_and_record_has_told_and_another_tells_again(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)

    class Killed(BaseException):
        pass

    def die(*_: object) -> bool:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(logouts, "end", die)
        with pytest.raises(Killed):
            deliver(world, receiver)
    assert deliver(world, receiver), "not while the first attempt may be under way"
    assert len(receiver.tokens) == 1
    world.clock.advance(logouts.wait_seconds(1))
    assert deliver(world, receiver)
    assert (len(receiver.tokens), waiting(world)) == (2, 0)


def test_production_tells_nobody_without_tls(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)
    made = services_of(world)
    policies = made.policies
    view = replace(made.view, settings=replace(made.settings, mode="production"))
    monkeypatch.setattr(type(policies), "current", property(lambda _: view))
    assert LogoutDeliverer(made, Egress(receiver.allowed)).deliver()
    assert receiver.requests == []
    assert [event["cause"] for event in world.events("logout.dropped")] == ["not_registered"]


# For operators


def test_the_command_says_who_was_told_and_who_was_not(
    world: World, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    register(world, "other", f"{receiver.origin}/none-there")
    browser = world.browser()
    world.rp().tokens(browser)
    world.rp("other").tokens(browser)
    _logout_page(world, browser)
    assert deliver(world, receiver)
    command(world, "client", "logouts")
    mine, other = json.loads(capsys.readouterr().out)["clients"]
    at = world.clock.now().isoformat()
    assert (mine["client_id"], mine["told"], mine["waiting"], mine["last_told_at"]) == (PARTY, 1, 0, at)
    assert (mine["last_dropped_at"], mine["last_cause"]) == ("-", "-")
    assert (other["client_id"], other["told"], other["waiting"], other["last_cause"]) == ("other", 0, 1, "refused")


def test_operators_see_who_was_told_last_and_for_a_week(world: World, receiver: Receiver) -> None:
    browser = world.browser()
    world.rp().tokens(browser)
    _logout_page(world, browser)
    health = world.app.test_client().get("/health/ready", base_url=ISSUER).get_json()
    assert health["logouts"] == {"waiting": 1, "oldest_seconds": 0}
    assert deliver(world, receiver)
    at = epoch(world.clock.now())
    with world.engine.connect() as connection:
        [standing] = logouts.standings(connection, at)
    assert (standing.client_id, standing.told, standing.waiting) == (PARTY, 1, 0)
    assert standing.last_told_at == world.clock.now()
    assert "logouts" not in world.app.test_client().get("/health/ready", base_url=ISSUER).get_json()
    world.clock.advance(KEPT_SECONDS)
    assert deliver(world, receiver)
    with world.engine.connect() as connection:
        assert logouts.standings(connection, at) == ()
