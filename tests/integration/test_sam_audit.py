"""The module's chain on real databases and a real token: complete, in step with the HSM, and nobody's lever."""

from __future__ import annotations

import io
import json
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from anchoring import standalone
from anchoring.bundle import asked
from anchoring.errors import PartMissing
from auditlog.chain import Entry, verify
from auditlog.sql import read_entries
from contract.errors import SadInvalid
from foundation import log
from signing.link import codes
from signing.link.client import SamClient
from signing.link.errors import LinkRefused
from signing.sam import errors, events
from signing.sam.refusals import RefusalBudget
from signing.storage.tables import audit
from tests.fakes.sam import digest, make_world
from tests.integration.sam_site import Site, make_site
from tests.shim import Shim, of_digest


def entries_of(url: str) -> list[Entry]:
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return list(read_entries(connection, audit.entries))
    finally:
        engine.dispose()


def fields_of(entries: list[Entry], *names: str) -> list[dict[str, Any]]:
    return [json.loads(entry.fields) for entry in entries if entry.event in names]


@pytest.fixture
def site(tmp_path: Path, postgres_url: str, shim: Shim) -> Site:
    """On PostgreSQL, with a module in front of SoftHSM2 that counts."""
    site = make_site(tmp_path, postgres_url)
    site.module, site.environment = shim.library, {**site.environment, **shim.environment}
    site.write_config(reservation_deadline_seconds=60, reconcile_every_seconds=0.2)
    return site


@pytest.mark.hsm
@pytest.mark.postgres
def test_AUD_06_each_signature_of_the_hsm_has_one_intent_and_one_outcome(
    site: Site, shim: Shim, postgres_url: str
) -> None:
    site.init()
    number = iter(range(1, 10_000))
    with site.serving(), SamClient(site.socket()) as client:
        view = site.credential(client)
        birth = len(shim.signatures())  # of the PKCS#10 request

        def asked(count: int) -> tuple[bytes, ...]:
            return tuple(digest(next(number)) for _ in range(count))

        for count in (1, 7, 1, 100):
            assert len(client.sign(site.request(site.sad(view, asked(count))))) == count
        # Refused, replayed, and lost after it was signed: none of these makes a signature without its records.
        request = site.request(site.sad(view, asked(2)))
        client.sign(request)
        with pytest.raises(LinkRefused):
            client.sign(request)
        with pytest.raises(LinkRefused):
            client.sign(site.request(site.sad(view, asked(1), sub="bob")))
        shim.fault("C_Sign/users", "after", 0x30, times=1)
        with pytest.raises(LinkRefused) as lost:
            client.sign(site.request(site.sad(view, asked(1))))
        assert lost.value.refusal == codes.INDETERMINATE
        shim.heal()
    # What nobody concluded is closed once its deadline has passed: here, now, by the operator.
    engine = create_engine(postgres_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("UPDATE redemptions SET reserved_at = reserved_at - 3600"))
    engine.dispose()
    site.run("sam", "reconcile", "--config", str(site.config()))

    found = entries_of(postgres_url)
    verify(found)
    intents = fields_of(found, events.SIGNATURE_INTENT)
    outcomes = Counter(
        fields["redemption"]
        for fields in fields_of(
            found, events.SIGNATURE_CONSUMED, events.SIGNATURE_RELEASED, events.SIGNATURE_INDETERMINATE
        )
    )
    made = Counter(each.data for each in shim.signatures()[birth:])
    intended = Counter(of_digest(bytes.fromhex(each)) for fields in intents for each in fields["digests"])
    assert made == intended
    assert set(made.values()) == {1}
    assert outcomes == Counter(fields["redemption"] for fields in intents)
    assert set(outcomes.values()) == {1}
    assert len(fields_of(found, events.SIGNATURE_INDETERMINATE)) == 1


@pytest.mark.hsm
@pytest.mark.postgres
def test_AUD_07_where_the_chain_cannot_be_written_nothing_is_signed_and_it_goes_on_by_itself(
    site: Site, shim: Shim, postgres_url: str
) -> None:
    site.init()
    engine = create_engine(postgres_url, poolclass=NullPool)
    with site.serving(), SamClient(site.socket()) as client:
        view = site.credential(client)
        before = len(shim.signatures())
        for broken, mended in (
            ("ALTER TABLE audit_entries RENAME TO away", "ALTER TABLE away RENAME TO audit_entries"),
            ("ALTER TABLE audit_head RENAME TO away", "ALTER TABLE away RENAME TO audit_head"),
        ):
            with engine.begin() as connection:
                connection.execute(text(broken))
            with pytest.raises(LinkRefused) as refused:
                client.sign(site.request(site.sad(view)))
            # Certain also where the statement went out together with the commit: the server's error says so.
            assert refused.value.refusal == codes.AUDIT_UNAVAILABLE
            assert len(shim.signatures()) == before
            with engine.begin() as connection:
                connection.execute(text(mended))
        client.sign(site.request(site.sad(view)))
        assert len(shim.signatures()) == before + 1
    engine.dispose()


@pytest.mark.hsm
@pytest.mark.postgres
def test_AUD_10_the_modules_part_of_a_signatures_evidence_from_its_command(site: Site, postgres_url: str) -> None:
    site.init()
    config = str(site.config())
    with site.serving(), SamClient(site.socket()) as client:
        view = site.credential(client)
        sad = site.sad(view, (digest(1), digest(2)))
        client.sign(site.request(sad))
        client.sign(site.request(site.sad(view, (digest(3),))))
        part = asked("sam", sad.txn, site.config(), None)
        with pytest.raises(PartMissing, match="no record of that transaction"):
            asked("sam", "none", site.config(), None)
        with pytest.raises(PartMissing):
            asked("sam", sad.txn, site.directory / "none.toml", None)
    note = standalone.read_note(part["checkpoint"])
    for record in part["records"]:
        leaf = standalone.record_leaf(record["sequence"], record)
        path = [bytes.fromhex(each) for each in record["path"]]
        assert standalone.included(leaf, record["sequence"] - 1, note["size"], path, note["root"])
    shown = [record["event"] for record in part["records"]]
    assert shown.count("signature.intent") == shown.count("signature.consumed") == 1
    born = next(json.loads(each["fields"]) for each in part["records"] if each["event"] == "credential.created")
    assert {"ALWAYS_SENSITIVE=TRUE", "SENSITIVE=TRUE", "SIGN=TRUE", "DECRYPT=FALSE"} <= set(born["key_attributes"])
    # The module has ended: a checkpoint that it signed and the anchor process kept serves as well.
    stopped = site.run("sam", "evidence", "--config", config, sad.txn, check=False)
    assert (stopped.returncode, "is it running" in stopped.stderr) == (1, True)
    members = {"sequence": note["size"], "hash": note["hash"], "at": 1}
    line = json.dumps({**members, "note": part["checkpoint"], "token": ""})
    (site.directory / "anchors.jsonl").write_text(line + "\n")
    anchored = ("--anchors", str(site.directory / "anchors.jsonl"))
    again = json.loads(site.run("sam", "evidence", "--config", config, *anchored, sad.txn).stdout)
    assert (again["records"], again["anchor"]["note"]) == (part["records"], part["checkpoint"])


def test_floods_of_refusals_never_stop_signing_and_the_chain_grows_by_the_budget(database_url: str) -> None:
    """Fail closed, and no lever: by counts, with a clock that stands."""
    world = make_world(database_url)
    credential = world.credential()
    budget = 50
    activator = world.activator(refusals=RefusalBudget(burst=budget, per_second=1))
    before = len(entries_of(world.url))
    good = world.request(world.sad(credential))
    stranger = replace(good, sad=good.sad[:-8] + "AAAAAAAA")
    for _ in range(2_000):
        with pytest.raises(SadInvalid):
            activator.sign(stranger)
    assert len(entries_of(world.url)) == before
    anothers = world.request(world.sad(credential, sub="bob"))
    for _ in range(500):
        with pytest.raises(errors.WrongOwner):
            activator.sign(anothers)
    assert len(entries_of(world.url)) == before + budget
    assert len(activator.sign(good)) == 1
    found = entries_of(world.url)
    assert [entry.event for entry in found[before + budget :]] == [events.SIGNATURE_INTENT, events.SIGNATURE_CONSUMED]
    verify(found)
    world.engine.dispose()


@pytest.mark.hsm
def test_AUD_11_a_flood_over_the_socket_leaves_nothing_in_the_chain_and_a_line_each_in_the_log(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sam.sqlite'}"
    site = make_site(tmp_path, url)
    site.write_config()
    site.init()
    with site.serving(), SamClient(site.socket()) as client, SamClient(site.socket()) as flooding:
        view = site.credential(client)
        before = len(entries_of(url))
        good = site.request(site.sad(view))
        bad = replace(good, sad=good.sad[:-8] + "AAAAAAAA")
        for _ in range(300):
            with pytest.raises(LinkRefused) as refused:
                flooding.sign(bad)
            assert refused.value.refusal == codes.INVALID_SAD
        assert len(entries_of(url)) == before
        assert len(client.sign(good)) == 1
        assert len(entries_of(url)) == before + 2
        with pytest.raises(LinkRefused):
            client.sign(replace(good, client_id='x\n{"message":"forged"}'))
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(site.socket()))
            link.sendall(b'\n{"message":"forged"}\n')
    written = [json.loads(line) for line in site.log().read_text().splitlines()]
    assert written, "the refusals are there"
    assert "forged" not in {line["message"] for line in written}


def test_AUD_09_a_clock_set_forward_and_back_is_recorded_and_the_sequence_goes_on(database_url: str) -> None:
    world = make_world(database_url)
    credential = world.credential()
    points = world.checkpoints()
    sizes = []
    for seconds in (0, 7_200, -7_000, 60):
        world.clock.advance(seconds)
        assert len(world.activator().sign(world.request(world.sad(credential)))) == 1
        made = points.make()
        assert made is not None
        sizes.append(made.point.size)
    found = entries_of(world.url)
    assert verify(found).sequence == len(found)
    assert [entry.sequence for entry in found] == list(range(1, len(found) + 1))
    times = [entry.at for entry in found]
    assert times != sorted(times), "the clock that went back shows"
    assert sizes == sorted(sizes)
    world.engine.dispose()


def test_AUD_11_what_a_requester_chose_forges_neither_a_record_nor_a_line_of_the_log(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(database_url)
    credential = world.credential()
    forged = '\n{"at":"2026-03-01T12:00:00.000+00:00","message":"forged"}\r\n\u2028{"message":"forged"}\x85'
    before = len(entries_of(world.url))
    stream = io.StringIO()
    formatter = log.JsonFormatter("sam", world.clock)
    for name, value in (("credential_id", f"x{forged}"), ("client_id", f"y{forged}")):
        request = world.request(world.sad(credential), **{name: value})
        with caplog.at_level("WARNING"), pytest.raises(errors.SamError):
            world.activator().sign(request)
    stream.writelines(formatter.format(each) + "\n" for each in caplog.records)
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(caplog.records) == 2
    assert {json.loads(line)["message"] for line in lines} == {"signature refused"}
    found = entries_of(world.url)
    assert [entry.event for entry in found[before:]] == [events.SIGNATURE_REFUSED] * 2
    verify(found)
    exported = [json.dumps({"fields": entry.fields}) for entry in found]
    assert all(len(line.splitlines()) == 1 for line in exported)
    assert json.loads(found[-1].fields)["client_id"] == f"y{forged}"
    world.engine.dispose()
