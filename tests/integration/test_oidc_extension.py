"""The extension grant: one SAD in another one's place, for the client whose it is, for a while, one at a time."""

from __future__ import annotations

import secrets
import threading
from typing import Any

from sqlalchemy import select, update

from foundation.clock import from_epoch
from foundation.dpop import make_proof
from foundation.jose import generate_signing_key, peek_claims
from idp.oidc.client import EXTENSION_GRANT
from idp.storage import authenticators, clients
from idp.storage.grants import oidc_access_tokens
from idp.storage.hashes import hash_token
from idp.storage.models import sessions
from idp.storage.outbox import event_outbox
from idp.web import services as composition
from tests.integration.oidc_world import ACCOUNT, ISSUER, REDIRECT_URI, RelyingParty, World, error_of

KEY = generate_signing_key()


def sad_of(world: World, dpop: str | None = None) -> str:
    """A SAD that was just given out."""
    rp = world.rp("extender")
    headers = dict(rp.basic) | ({} if dpop is None else {"DPoP": dpop})
    form = {"grant_type": "authorization_code", "code": rp.signing_code(), "redirect_uri": REDIRECT_URI}
    answer = rp.post("/oauth2/token", {**form, "code_verifier": rp.verifier}, **headers).get_json()
    return str(answer["access_token"])


def extend(rp: RelyingParty, sad: str, dpop: str | None = None, **form: str) -> Any:
    headers = dict(rp.basic) | ({} if dpop is None else {"DPoP": dpop})
    return rp.post("/oauth2/token", {"grant_type": EXTENSION_GRANT, "sad": sad, **form}, **headers)


def proof(world: World, key: Any = KEY) -> str:
    uri = f"{ISSUER}/oauth2/token"
    return make_proof(key, method="POST", uri=uri, jti=secrets.token_hex(8), now=world.clock.now())


def test_a_successor_is_the_same_approval_for_longer(world: World) -> None:
    rp, first = world.rp("extender"), sad_of(world)
    world.clock.advance(200)
    answer = extend(rp, first).get_json()
    before, after = peek_claims(first), peek_claims(answer["access_token"])
    assert after.pop("supersedes") == {"since": before["iat"], "jti": [before["jti"]]}
    assert after["iat"] == before["iat"] + 200
    assert after["exp"] == after["iat"] + 300
    assert after["jti"] != before["jti"]
    same = before.keys() - {"iat", "exp", "jti"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 300, "credential")
    assert answer["authorization_details"][0]["numSignatures"] == 1
    record = world.events("sad.issued")[-1]
    assert (record["jti"], record["supersedes"]) == (after["jti"], [before["jti"]])
    told = world.rp("csc")
    assert told.introspect(first) == {"active": False}
    assert told.introspect(answer["access_token"])["active"]


def test_a_sad_is_replaced_once_and_its_successor_names_both(world: World) -> None:
    rp, first = world.rp("extender"), sad_of(world)
    second = extend(rp, first).get_json()["access_token"]
    assert error_of(extend(rp, first)) == "invalid_grant"
    third = extend(rp, second).get_json()["access_token"]
    assert peek_claims(third)["supersedes"]["jti"] == [peek_claims(first)["jti"], peek_claims(second)["jti"]]
    assert [error_of(extend(rp, sad)) for sad in (first, second)] == ["invalid_grant"] * 2


def test_of_eight_requests_at_once_one_gets_a_successor(world: World) -> None:
    first, answers = sad_of(world), []
    barrier = threading.Barrier(8)

    def run() -> None:
        rp = RelyingParty(world, "extender", world.app.test_client())
        barrier.wait()
        answers.append(extend(rp, first).status_code)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [400] * 7


def test_OAU_03_another_clients_sad_is_not_extended(world: World) -> None:
    first = sad_of(world)
    assert error_of(extend(world.rp("bound"), first)) == "unauthorized_client"
    with world.engine.begin() as connection:
        registration = clients.find(connection, "extender")
        assert registration is not None
        changed = {"grant_types": [*registration.registration.grant_types]}
        table = clients.oidc_clients
        row = connection.execute(select(table).where(table.c.client_id == "other")).one()
        connection.execute(
            update(table).where(table.c.client_id == "other").values(registration={**row.registration, **changed})
        )
    assert error_of(extend(world.rp("other"), first)) == "invalid_grant"
    assert extend(world.rp("extender"), first).status_code == 200


def test_the_resource_server_extends_for_a_client_that_is_registered_for_it(world: World) -> None:
    assert extend(world.rp("csc"), sad_of(world)).status_code == 200
    rp = world.rp("other")
    unregistered = rp.redeem(rp.signing_code()).get_json()["access_token"]
    assert error_of(extend(world.rp("csc"), unregistered)) == "invalid_grant"
    assert error_of(extend(rp, unregistered)) == "unauthorized_client"


def test_what_is_no_sad_of_ours_is_not_extended(world: World) -> None:
    rp = world.rp("extender")
    service = rp.tokens(scope="service")["access_token"]
    for wrong in ("x", service, sad_of(world) + "x"):
        assert error_of(extend(rp, wrong)) == "invalid_grant"
    assert error_of(rp.token(grant_type=EXTENSION_GRANT)) == "invalid_request"
    assert error_of(extend(rp, sad_of(world), scope="service")) == "invalid_scope"


def test_a_text_that_the_database_calls_a_sad_is_not_one(world: World) -> None:
    """Whoever writes to the database knows no key of ours."""
    rp, first = world.rp("extender"), sad_of(world)
    forged = ".".join([*first.split(".")[:2], "AAAA"])
    with world.engine.begin() as connection:
        connection.execute(
            update(oidc_access_tokens)
            .where(oidc_access_tokens.c.token_hash == hash_token(first))
            .values(token_hash=hash_token(forged))
        )
    assert error_of(extend(rp, forged)) == "invalid_grant"


def test_a_transaction_is_extended_so_often_and_so_long(world: World) -> None:
    rp, sad = world.rp("extender"), sad_of(world)
    for _ in range(4):
        sad = extend(rp, sad).get_json()["access_token"]
    assert error_of(extend(rp, sad)) == "invalid_grant"

    first = sad = sad_of(world)
    for _ in range(3):
        world.clock.advance(250)
        sad = extend(rp, sad).get_json()["access_token"]
    claims = peek_claims(sad)
    assert claims["exp"] == peek_claims(first)["iat"] + 900
    world.clock.advance(149)
    sad = extend(rp, sad).get_json()["access_token"]
    assert peek_claims(sad)["exp"] == claims["exp"]
    world.clock.advance(1)
    assert error_of(extend(rp, sad)) == "invalid_grant"


def test_an_expired_sad_is_not_extended(world: World) -> None:
    rp, first = world.rp("extender"), sad_of(world)
    world.clock.advance(299)
    second = extend(rp, first).get_json()["access_token"]
    world.clock.advance(300)
    assert error_of(extend(rp, second)) == "invalid_grant"


def test_SAD_11_what_was_ended_is_not_extended(world: World) -> None:
    rp = world.rp("extender")

    def withdrawn(sad: str) -> None:
        rp.post("/oauth2/revoke", {"token": sad})

    def signed_out(_sad: str) -> None:
        with world.engine.begin() as connection:
            connection.execute(update(sessions).values(revoked_at=1))

    def locked_out(_sad: str) -> None:
        with world.engine.begin() as connection:
            clients.set_active(connection, "extender", active=False)

    for end in (withdrawn, signed_out, locked_out):
        sad = sad_of(world)
        end(sad)
        assert error_of(extend(rp, sad)) in {"invalid_grant", "invalid_client"}


def test_SAD_06_a_factor_that_was_removed_vouches_for_no_more_time(world: World) -> None:
    rp, first = world.rp("extender"), sad_of(world)
    with world.engine.begin() as connection:
        assert authenticators.remove(connection, "sms_otp-of-alice", from_epoch(peek_claims(first)["iat"]))
    assert error_of(extend(rp, first)) == "invalid_grant"
    assert len(world.events("sad.issued")) == 1


def test_SAD_06_a_change_of_another_factor_ends_extensions_too(world: World) -> None:
    """The module refuses SADs from before any change; a web tier that does not pass the event on gains no time."""
    rp, first = world.rp("extender"), sad_of(world)
    world.clock.advance(10)
    with world.engine.begin() as connection:
        authenticators.add(
            connection,
            composition.of(world.app).seals,
            authenticator_id="somebody's",
            account_id=ACCOUNT,
            kind="email_otp",
            now=world.clock.now(),
            address="somebody@example.net",
        )
    assert error_of(extend(rp, first)) == "invalid_grant"
    assert len(world.events("sad.issued")) == 1


def test_revoking_a_successor_withdraws_the_transaction(world: World) -> None:
    rp, first = world.rp("extender"), sad_of(world)
    world.clock.advance(250)
    second = extend(rp, first).get_json()["access_token"]
    world.clock.advance(250)
    rp.post("/oauth2/revoke", {"token": second})
    with world.engine.connect() as connection:
        told = connection.execute(select(event_outbox.c.event, event_outbox.c.subject)).all()
    assert ("transaction-withdrawn", peek_claims(first)["txn"]) in [tuple(row) for row in told]


def test_SAD_11_whoever_revokes_a_replaced_sad_ends_what_took_its_place(world: World) -> None:
    """Whoever got hold of a SAD can extend it: its client knows the first one only, and takes back that."""
    rp, first = world.rp("extender"), sad_of(world)
    second = extend(world.rp("csc"), first).get_json()["access_token"]
    rp.post("/oauth2/revoke", {"token": first}, **rp.basic)
    assert world.rp("csc").introspect(second) == {"active": False}
    # Later than the module takes a SAD to have been issued before the withdrawal.
    world.clock.advance(60)
    assert error_of(extend(world.rp("csc"), second)) == "invalid_grant"
    assert len(world.events("sad.issued")) == 2


def test_SAD_14_a_bound_sad_is_extended_by_whoever_shows_the_key(world: World) -> None:
    rp, first = world.rp("extender"), sad_of(world, proof(world))
    for dpop in (None, proof(world, generate_signing_key())):
        assert error_of(extend(rp, first, dpop)) == "invalid_dpop_proof"
    answer = extend(rp, first, proof(world)).get_json()
    assert answer["token_type"] == "DPoP"
    assert peek_claims(answer["access_token"])["cnf"] == {"jkt": KEY.kid}
    # The resource server cannot show it; what it gets is worth nothing without it.
    third = extend(world.rp("csc"), answer["access_token"]).get_json()
    assert peek_claims(third["access_token"])["cnf"] == {"jkt": KEY.kid}


def test_the_metadata_name_the_grant(world: World) -> None:
    document = world.rp().http.get("/.well-known/openid-configuration", base_url=ISSUER).get_json()
    assert EXTENSION_GRANT in document["grant_types_supported"]


def test_an_unbound_sad_does_not_become_a_bound_one(world: World) -> None:
    rp, first = world.rp("extender"), sad_of(world)
    answer = extend(rp, first, proof(world)).get_json()
    assert "cnf" not in peek_claims(answer["access_token"])
    assert answer["token_type"] == "Bearer"
