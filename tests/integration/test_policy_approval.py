"""ADM-04: whoever can write the files and holds no operator's key puts nothing in force; on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete

from contract.operation import add_signature, peek, sign
from foundation.files import write_secret
from foundation.jose import export_signing_key, generate_signing_key
from idp.cli.policy import main
from idp.policy.errors import PolicyRejected
from idp.policy.prepare import sha256
from idp.settings import ApprovalSettings
from idp.storage import policies
from idp.storage.engine import reading
from idp.web.policies import Policies
from tests.fakes.policies import Site, approve, make_site, policy

CASES = b"""\
policy-test: 1
cases:
  - name: a password signs in
    action: sign_in
    evidence: [password]
    expect: {outcome: allow, reasons: [RULE, "level:low"]}
"""


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path, database_url, operators=3)
    made.write(policy("one"))
    yield made
    made.engine.dispose()


def begun(site: Site, needed: int = 1) -> Policies:
    """A server whose policy operators approved."""
    approval = replace(site.settings.policy.approval or ApprovalSettings(), needed=needed)
    site.settings = replace(site.settings, policy=replace(site.settings.policy, approval=approval))
    approve(site, *site.operators[:needed])
    return site.worker()


def rule(worker: Policies) -> str:
    return worker.current.policy.rules[0].id


def refused(site: Site) -> str:
    """Why a server does not start."""
    with pytest.raises(PolicyRejected) as found:
        site.worker()
    return found.value.cause


def test_an_approved_policy_is_put_in_force_and_the_record_says_by_whom(site: Site) -> None:
    worker = begun(site, needed=2)
    (approved,) = site.records("policy.approved")
    fields = json.loads(approved.fields)
    assert fields["policy_sha256"] == worker.current.policy.sha256
    assert fields["operators"] == [key.kid for key in site.operators[:2]]
    with reading(site.engine) as connection:
        (entry,) = policies.history(connection)
    assert entry.approval is not None
    assert entry.approval.operators == tuple(fields["operators"])


def test_ADM_04_an_edited_file_is_refused_recorded_and_the_approved_policy_stays(site: Site) -> None:
    worker = begun(site)
    site.write(policy("weaker"))
    site.look(worker)
    assert (rule(worker), worker.troubles) == ("one", ("policy_approval_for_other_content",))
    (record,) = site.records("policy.refused")
    assert json.loads(record.fields)["cause"] == "approval_for_other_content"
    assert refused(site) == "approval_for_other_content", "nor does a restart help"
    assert site.events("policy.refused") == ["policy.refused"], "it is the same refusal"
    site.write(policy("one"))
    site.look(worker)
    assert worker.troubles == ()


def test_ADM_04_a_file_without_an_approval_puts_nothing_in_force(local: Site) -> None:
    worker = begun(local)
    (local.directory / "policy.approval.json").unlink()
    local.write(policy("weaker"))
    local.look(worker)
    assert (rule(worker), worker.troubles) == ("one", ("policy_approval_missing",))


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Site]:
    """On SQLite: what an approval is has nothing to do with the database."""
    made = make_site(tmp_path, operators=3)
    made.write(policy("one"))
    yield made
    made.engine.dispose()


Forgery = Callable[[Site], object]


def _by_a_stranger(site: Site) -> object:
    return approve(site, generate_signing_key())


def _by_one_twice(site: Site) -> None:
    bundle = json.loads(approve(site, site.operators[0]))
    bundle["signatures"] *= 2
    site.write(json.dumps(bundle).encode(), name="policy.approval.json")


def _for_another_service(site: Site) -> object:
    return approve(site, *site.operators[:2], issuer="https://staging.example.org")


def _of_another_file(site: Site) -> object:
    return approve(site, *site.operators[:2], data=policy("harmless"))


def _with_another_name(site: Site) -> object:
    return approve(site, *site.operators[:2], name="harmless")


def _with_something_more(site: Site) -> object:
    return approve(site, *site.operators[:2], more="x")


def _with_a_number(site: Site) -> object:
    return approve(site, *site.operators[:2], sha256=1)


def _for_ever(site: Site) -> object:
    return approve(site, *site.operators[:2], seconds=31 * 86_400)


def _expired(site: Site) -> None:
    approve(site, *site.operators[:2], seconds=60)
    site.clock.advance(60)


def _from_the_future(site: Site) -> None:
    site.clock.advance(600)
    approve(site, *site.operators[:2])
    site.clock.advance(-600)


def _of_something_else(site: Site) -> None:
    found = peek(approve(site, site.operators[0]).decode())
    bundle = sign(replace(found, operation="credential.delete"), site.operators[0])
    site.write(add_signature(bundle, site.operators[1]).encode(), name="policy.approval.json")


@pytest.mark.parametrize(
    ("forge", "cause"),
    [
        (_by_a_stranger, "approval_invalid"),
        (_by_one_twice, "approval_invalid"),
        (lambda site: approve(site, site.operators[0]), "approval_under_signed"),
        (_for_another_service, "approval_invalid"),
        (_of_another_file, "approval_for_other_content"),
        (_with_another_name, "approval_for_other_content"),
        (_with_something_more, "approval_invalid"),
        (_with_a_number, "approval_invalid"),
        (_for_ever, "approval_invalid"),
        (_expired, "approval_expired"),
        (_from_the_future, "approval_invalid"),
        (_of_something_else, "approval_invalid"),
        (lambda site: site.write(b"{}", name="policy.approval.json"), "approval_invalid"),
        (lambda site: site.write(b"\xff" * 20_000, name="policy.approval.json"), "approval_invalid"),
    ],
)
def test_ADM_01_what_is_no_approval_by_two_operators_puts_nothing_in_force(
    local: Site, forge: Forgery, cause: str
) -> None:
    worker = begun(local, needed=2)
    local.clock.advance(100)
    local.write(policy("weaker"))
    forge(local)
    local.look(worker)
    local.look(worker)
    assert (rule(worker), worker.troubles) == ("one", (f"policy_{cause}",))


def test_an_approval_is_good_until_its_last_second(local: Site) -> None:
    begun(local)
    local.write(policy("two"))
    local.clock.advance(10)
    approve(local, local.operators[0], seconds=60)
    local.clock.advance(59)
    assert rule(local.worker()) == "two"


def test_ADM_04_the_cases_are_approved_with_the_policy(local: Site) -> None:
    local.write(CASES.replace(b"RULE", b"one"), name="policy.test.yaml")
    worker = begun(local)
    local.write(CASES.replace(b"RULE", b"one") + b"# and easier ones\n", name="policy.test.yaml")
    local.look(worker)
    assert worker.troubles == ("policy_approval_for_other_content",)
    (local.directory / "policy.test.yaml").unlink()
    local.look(worker)
    assert worker.troubles == ("policy_approval_for_other_content",)


def test_an_approved_policy_that_fails_its_own_cases_is_refused(local: Site) -> None:
    worker = begun(local)
    local.clock.advance(10)
    local.write(policy("two"))
    local.write(CASES.replace(b"RULE", b"one"), name="policy.test.yaml")
    approve(local, local.operators[0])
    local.look(worker)
    assert (rule(worker), worker.troubles) == ("one", ("policy_cases_failed",))


def test_ADM_04_a_policy_that_was_approved_earlier_does_not_come_back_with_its_approval(site: Site) -> None:
    worker = begun(site)
    first = (site.directory / "policy.approval.json").read_bytes()
    site.clock.advance(10)
    site.write(policy("two"))
    approve(site, site.operators[0])
    site.look(worker)
    assert rule(worker) == "two"
    site.write(policy("one"))
    site.write(first, name="policy.approval.json")
    site.look(worker)
    assert (rule(worker), worker.troubles) == ("two", ("policy_approval_superseded",))
    assert refused(site) == "approval_superseded"
    approve(site, site.operators[1])
    site.look(worker)
    assert (rule(worker), worker.troubles) == ("one", ())


def test_what_is_in_force_starts_again_after_its_approval_has_expired(site: Site) -> None:
    begun(site)
    site.clock.advance(86_400 * 365)
    assert rule(site.worker()) == "one"
    (site.directory / "policy.approval.json").unlink()
    assert rule(site.worker()) == "one"
    assert site.events() == ["policy.approved", "policy.in_force"]


def test_ADM_04_a_state_that_somebody_wrote_into_the_database_approves_nothing(site: Site) -> None:
    begun(site)
    site.clock.advance(86_400)
    site.write(policy("weaker"))
    with site.engine.begin() as connection:
        digest = policies.policy_states.update().values(sha256=policy_sha256("weaker"))
        connection.execute(digest)
    assert refused(site) == "approval_for_other_content"
    with site.engine.begin() as connection:
        connection.execute(delete(policies.policy_states))
    site.write(policy("one"))
    assert refused(site) == "approval_expired", "it is not known any more that it was in force"


def policy_sha256(rule_id: str) -> str:
    return sha256(policy(rule_id))


def test_another_worker_that_was_late_does_not_bring_back_what_was_in_force(site: Site) -> None:
    """Between its look at the state and its own turn to write, another policy was approved and put in force."""
    begun(site)
    site.clock.advance(86_400)
    late = site.worker()
    read = late._in_place

    def meanwhile(content: object) -> bool:
        found = read(content)  # type: ignore[arg-type] # the content, whatever it is
        site.write(policy("two"))
        approve(site, site.operators[0])
        site.worker()
        return found

    late._in_place = meanwhile  # type: ignore[method-assign] # what happens in between
    late._accepted.clear()
    site.write(policy("one"))
    site.look(late)
    assert (rule(late), late.troubles) == ("one", ("policy_approval_expired",))
    with reading(site.engine) as connection:
        happened = [entry.sha256 for entry in policies.history(connection) if entry.happening == "in_force"]
    assert happened == [policy_sha256("two"), policy_sha256("one")]


def test_what_the_command_signs_is_what_a_server_takes(local: Site) -> None:
    for number, key in enumerate(local.operators[:2]):
        write_secret(local.directory / f"{number}.pem", export_signing_key(key))
    local.write(CASES.replace(b"RULE", b"one"), name="policy.test.yaml")
    asked = replace(local.settings.policy, approval=ApprovalSettings((Path("a"), Path("b")), 2))
    local.settings = replace(local.settings, policy=asked)
    arguments = ("approve", str(local.file), "--issuer", local.settings.issuer, "--yes", "--key")
    assert main((*arguments, str(local.directory / "0.pem")), local.clock) == 0
    assert refused(local) == "approval_under_signed"
    assert main((*arguments, str(local.directory / "1.pem")), local.clock) == 0
    assert rule(local.worker()) == "one"


def test_when_approval_is_asked_for_the_first_time_the_policy_that_is_there_needs_one(
    database_url: str, tmp_path: Path
) -> None:
    open_site = make_site(tmp_path, database_url)
    open_site.write(policy("one"))
    open_site.worker()
    open_site.engine.dispose()
    site = make_site(tmp_path, database_url, operators=1)
    assert refused(site) == "approval_missing"
    approve(site, site.operators[0])
    assert rule(site.worker()) == "one"
    assert site.events("policy.approved") == ["policy.approved"]
    site.engine.dispose()
