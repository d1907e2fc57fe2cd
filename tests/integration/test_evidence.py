"""One signature's evidence: real parts of both sides, signed, and verified offline by the stand-alone script alone."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from anchoring import evidence_cli, standalone
from anchoring.bundle import bundle
from auditlog.errors import ChainBroken, EvidenceMissing
from auditlog.evidence import FORMAT
from idp.storage.checkpoints import Checkpoints
from idp.storage.evidence import evidence as evidence_of_idp
from signing.sam_app.checkpoints import SamCheckpoints
from signing.sam_app.evidence import evidence as evidence_of_sam
from signing.scdev.device import Pkcs11Device
from signing.storage.engine import open_engine
from signing.storage.store import SqlStore
from tests.fakes.softhsm import make_token
from tests.integration.oidc_world import ISSUER
from tests.integration.whole_world import Whole, sign_hash, whole

pytestmark = pytest.mark.hsm


@dataclass(frozen=True)
class Signed:
    """A transaction of Alice's, with another person's signatures before and after it."""

    whole: Whole
    txn: str
    sad: str
    document: dict[str, Any]
    directory: Path
    """Keys of the checkpoints and of the issuer, and a copy of the script."""

    def keys(self) -> tuple[str, ...]:
        return ("--idp-key", str(self.directory / "idp.pem"), "--sam-key", str(self.directory / "sam.pem"))

    def verify(self, document: dict[str, Any], *more: str) -> tuple[int, str]:
        """The auditor: Python, isolated, one file; exit code and what it says."""
        path = self.directory / "evidence.json"
        path.write_text(json.dumps(document))
        done = subprocess.run(
            [sys.executable, "-I", "-S", self.directory / "verify.py", "--evidence", path, *self.keys(), *more],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr


def pem(der: bytes) -> bytes:
    return load_der_public_key(der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    directory = tmp_path_factory.mktemp("evidence")
    with Pkcs11Device(make_token(tmp_path_factory.mktemp("token"))) as device, whole(directory, device) as world:
        for username, documents in (("bob", (b"b",)), ("alice", (b"one", b"two")), ("bob", (b"c",))):
            sad = world.sad(username, *documents)
            body = sign_hash(world.people[username].credential_id, *documents, SAD=sad)
            answered = world.call("signatures/signHash", body, world.service_token(username))
            assert answered.status_code == 200, answered.get_json()
            if username == "alice":
                mine = sad
        claims = json.loads(standalone.base64url(mine.split(".")[1]))
        store = SqlStore(open_engine(f"sqlite:///{directory / 'sam.sqlite'}"))
        services = world.idp.app.extensions["privyseal"]
        sam_points = SamCheckpoints(device, store, "test", clock=services.clock)
        idp_points = Checkpoints(services.engine, services.keys, ISSUER, services.clock)

        def note() -> str:
            made = sam_points.make()
            assert made is not None
            return made.note

        (directory / "idp.pem").write_bytes(pem(idp_points.checkpoint_key()))
        (directory / "sam.pem").write_bytes(pem(sam_points.public_key()))
        (directory / "issuer.pem").write_bytes(
            services.keys.activation_key().verification_key().key.as_pem(private=False)
        )
        shutil.copy(standalone.__file__, directory / "verify.py")
        policy = services.settings.policy_file
        document = bundle(
            claims["txn"],
            evidence_of_idp(services.engine, idp_points, claims["txn"], None, policy),
            evidence_of_sam(store, claims["txn"], None, note),
        )
        with pytest.raises(EvidenceMissing):
            evidence_of_sam(store, "another", None, note)
        with pytest.raises(EvidenceMissing):
            evidence_of_idp(services.engine, idp_points, "another", None, policy)
        store.engine.dispose()
        yield Signed(world, claims["txn"], mine, document, directory)


def test_AUD_10_a_signatures_evidence_is_verified_by_one_file_that_imports_nothing_of_ours(signed: Signed) -> None:
    code, told = signed.verify(signed.document)
    assert code == 0, told
    assert f"transaction {signed.txn}: 1 of 1 uses ended with released signatures" in told
    assert "SENSITIVE=TRUE" in told
    assert "factor password (knowledge)" in told
    assert told.count("digest ") == 2
    assert signed.document["idp"]["attachments"]["policies"], "the policy file that decided is there"
    # The SAD is not: it opened a key until it expired.
    assert signed.sad.rpartition(".")[2] not in json.dumps(signed.document)
    assert "bob" not in json.dumps(signed.document), "nothing of anybody else"


def test_a_sad_that_somebody_kept_is_verified_with_it(signed: Signed, tmp_path: Path) -> None:
    issuer = ("--issuer-key", str(signed.directory / "issuer.pem"))
    (tmp_path / "sad").write_text(signed.sad + "\n")
    code, told = signed.verify(signed.document, "--sad", str(tmp_path / "sad"), *issuer)
    assert (code, told[:3]) == (0, "ok\n")
    other = ("--issuer-key", str(signed.directory / "sam.pem"))
    said = "broken: the SAD's signature is not by the issuer's key\n"
    assert signed.verify(signed.document, "--sad", str(tmp_path / "sad"), *other) == (1, said)
    (tmp_path / "sad").write_text(signed.sad[:-4] + "AAAA")
    said = "broken: the SAD is not the one that was used\n"
    assert signed.verify(signed.document, "--sad", str(tmp_path / "sad"), *issuer) == (1, said)


Harm = Callable[[dict[str, Any]], object]


def record(document: dict[str, Any], side: str, event: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in document[side]["records"] if each["event"] == event)
    return found


def without(document: dict[str, Any], side: str, event: str) -> None:
    document[side]["records"] = [each for each in document[side]["records"] if each["event"] != event]


def changed(document: dict[str, Any], side: str, event: str, name: str, value: Any) -> None:
    found = record(document, side, event)
    found["fields"] = json.dumps({**json.loads(found["fields"]), name: value}, sort_keys=True, separators=(",", ":"))


def credential(document: dict[str, Any]) -> dict[str, Any]:
    (shown,) = document["sam"]["attachments"]["credentials"].values()
    return dict(shown) if not isinstance(shown, dict) else shown


def decision(document: dict[str, Any]) -> dict[str, Any]:
    (made,) = document["idp"]["attachments"]["decisions"].values()
    return dict(made) if not isinstance(made, dict) else made


def bits(text: str, at: int = 40) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


HARM: dict[str, tuple[Harm, str]] = {
    "authentication evidence": (
        lambda d: changed(d, "idp", "transaction.approved", "amr", ["hwk"]),
        "idp: record [0-9]+ is not the one under the signed checkpoint",
    ),
    "a login": (
        lambda d: record(d, "idp", "login.succeeded").update(at=1),
        "idp: record [0-9]+ is not the one under the signed checkpoint",
    ),
    "policy decision": (
        lambda d: decision(d)["decision"].update(acr="urn:other"),
        "idp: the decision is not the one of its record",
    ),
    "policy hash": (
        lambda d: changed(d, "sam", "signature.intent", "policy_sha256", "0" * 64),
        "sam: record [0-9]+ is not the one under the signed checkpoint",
    ),
    "policy file": (
        lambda d: d["idp"]["attachments"]["policies"].update(
            {name: bits(text) for name, text in d["idp"]["attachments"]["policies"].items()}
        ),
        "idp: the policy file is not the one that decided",
    ),
    "SAD": (
        lambda d: without(d, "idp", "sad.issued"),
        "idp: the SAD that was used is none that its chain knows",
    ),
    "ledger": (
        lambda d: changed(d, "sam", "signature.intent", "positions", ["0", "0"]),
        "sam: record [0-9]+ is not the one under the signed checkpoint",
    ),
    "digests": (
        lambda d: changed(d, "sam", "signature.intent", "digests", ["0" * 64] * 2),
        "sam: record [0-9]+ is not the one under the signed checkpoint",
    ),
    "outcome": (lambda d: without(d, "sam", "signature.consumed"), "sam: a use of the approval has no outcome"),
    "intent": (lambda d: without(d, "sam", "signature.intent"), "sam: nothing was signed under this transaction"),
    "approval": (
        lambda d: without(d, "idp", "transaction.approved"),
        "idp: the transaction was not approved, or more than once",
    ),
    "key attributes": (
        lambda d: changed(d, "sam", "credential.created", "key_attributes", ["SENSITIVE=FALSE"]),
        "sam: record [0-9]+ is not the one under the signed checkpoint",
    ),
    "key": (
        lambda d: credential(d).update(public_key=bits(credential(d)["public_key"])),
        "sam: the key of credential .* is not the one of its record",
    ),
    "birth": (
        lambda d: without(d, "sam", "credential.created"),
        "sam: the key of credential .* is not the one of its record",
    ),
    "certificate": (
        lambda d: credential(d).update(certificates=[bits(credential(d)["certificates"][0])]),
        "sam: the certificate of credential .* is not the one of its record",
    ),
    "checkpoint": (
        lambda d: d["sam"].update(checkpoint=d["sam"]["checkpoint"].replace("\nat ", "\nat 1")),
        "sam: the signed checkpoint at record [0-9]+ is signed by none of the keys",
    ),
    "the other side's checkpoint": (
        lambda d: d["sam"].update(checkpoint=d["idp"]["checkpoint"]),
        "sam: the checkpoint is of another chain",
    ),
    "the other side's part": (lambda d: d.update(sam=d["idp"]), "sam: this is no part of this evidence"),
    "transaction": (lambda d: d.update(txn="other"), "sam: this is no part of this evidence"),
    "order of records": (lambda d: d["sam"]["records"].reverse(), "sam: record [0-9]+ is out of order"),
    "format": (lambda d: d.update(format="other"), "this is no evidence in a form that is known"),
}


@pytest.mark.parametrize("harm", sorted(HARM))
def test_each_part_that_was_tampered_with_is_named(signed: Signed, harm: str) -> None:
    change, said = HARM[harm]
    document = copy.deepcopy(signed.document)
    change(document)
    path = signed.directory / "changed.json"
    path.write_text(json.dumps(document))
    options = standalone.parser().parse_args(["--evidence", str(path), *signed.keys()])
    with pytest.raises(standalone.Broken, match=f"^{said}$"):
        standalone.verify_evidence(options)


def test_evidence_under_keys_that_came_with_it_is_worth_nothing(signed: Signed, tmp_path: Path) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "sam.pem").write_bytes(stranger.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    code, told = signed.verify(signed.document, "--sam-key", str(tmp_path / "sam.pem"))
    assert code == 1
    assert told.startswith("broken: sam: the signed checkpoint")
    code, told = signed.verify(signed.document, "--tsa-roots", str(tmp_path / "sam.pem"))
    assert (code, told) == (1, "broken: sam: the checkpoint has no time-stamp\n")


def test_the_command_verifies_before_it_gives_anything_out(
    signed: Signed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("idp", "sam"):
        (tmp_path / f"{side}.json").write_text(json.dumps(signed.document[side]))
    parts = ("--idp-part", str(tmp_path / "idp.json"), "--sam-part", str(tmp_path / "sam.json"))
    out = tmp_path / "evidence.json"

    def show(*more: str) -> int:
        return evidence_cli.main(["show", *parts, *signed.keys(), *more, "--", signed.txn])

    assert show("--output", str(out)) == 0
    assert capsys.readouterr().out.startswith("ok\ntransaction ")
    assert (json.loads(out.read_text()), out.stat().st_mode & 0o777) == (signed.document, 0o600)
    assert evidence_cli.main(["verify", str(out), *signed.keys()]) == 0
    capsys.readouterr()
    assert show("--json") == 0
    assert json.loads(capsys.readouterr().out) == signed.document
    assert show("--output", str(out)) == evidence_cli.UNUSABLE
    out.unlink()
    broken = copy.deepcopy(signed.document["sam"])
    broken["records"][0]["at"] += 1
    (tmp_path / "sam.json").write_text(json.dumps(broken))
    assert show("--output", str(out)) == 1
    assert not out.exists()
    for content in ("[]", "x"):
        (tmp_path / "sam.json").write_text(content)
        assert show() == evidence_cli.UNUSABLE
    assert signed.document["sam"]["format"] == FORMAT


def test_evidence_says_nothing_of_what_the_session_did_afterwards(signed: Signed) -> None:
    services = signed.whole.idp.app.extensions["privyseal"]
    points = Checkpoints(services.engine, services.keys, ISSUER, services.clock)
    shown = signed.document["idp"]["records"]
    (approved,) = (json.loads(each["fields"]) for each in shown if each["event"] == "transaction.approved")
    fields = {name: approved[name] for name in ("account_id", "session_id")}
    with services.engine.begin() as connection:
        services.audit.record(
            connection,
            "login.succeeded",
            **fields,
            factor="password",
            authenticator_id="x",
            txn="another",
            client_id="another-party",
            action="sign_in",
        )
    again = evidence_of_idp(services.engine, points, signed.txn, None, services.settings.policy_file)
    assert [each["sequence"] for each in again["records"]] == [each["sequence"] for each in shown]


def test_no_evidence_is_made_of_a_chain_that_is_not_whole(signed: Signed) -> None:
    from sqlalchemy import text

    services = signed.whole.idp.app.extensions["privyseal"]
    points = Checkpoints(services.engine, services.keys, ISSUER, services.clock)
    with services.engine.connect() as connection, connection.begin() as change:
        connection.execute(text("UPDATE audit_entries SET fields = '{}' WHERE sequence = 1"))
        change.commit()
    with pytest.raises(ChainBroken, match="record 1"):
        evidence_of_idp(services.engine, points, signed.txn, None, services.settings.policy_file)
