"""`privyseal idp`: what an operator types, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from auditlog.sql import read_entries
from foundation.clock import FixedClock
from foundation.jose import import_verification_key
from idp.authn.password import KEY, Passwords
from idp.cli.administration import main
from idp.cli.common import EXIT_DONE, EXIT_EXISTS, EXIT_FAILED, EXIT_USAGE
from idp.oidc.client import Client
from idp.settings import PasswordSettings
from idp.storage import accounts, authenticators, clients, grants
from idp.storage.audit import TABLES
from idp.storage.engine import open_engine, reading
from idp.storage.keys import KeyStore
from idp.storage.seal import Sealer
from tests.fakes.idp import NOW, PASSWORD, POLICY
from tests.fakes.seals import make_sealer

CONFIG = """\
mode = "development"
issuer = "http://idp.localhost:8401"
database_url = "sqlite:///{directory}/idp.sqlite"
key_dir = "keys"
policy_file = "policy.yaml"
[signing]
csc_base = "http://sign.localhost:8402/csc/v2"
sam_id = "urn:sam"
"""
CLIENT = ("client", "create", "--client-id", "example-contracts", "--name", "Example Contracts")
ACCOUNT = ("account", "create", "--username", "alice", "--name", "Alice Example")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "idp.toml").write_text(CONFIG.format(directory=tmp_path))
    (tmp_path / "policy.yaml").write_bytes(POLICY)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    return tmp_path


def sealer(state: Path) -> Sealer:
    """Of the installation's own keys."""
    return Sealer(KeyStore(open_engine("sqlite://"), state / "keys").secret)


def run(state: Path, *argv: str) -> int:
    return main((*argv, "--config", str(state / "idp.toml")))


@pytest.fixture
def ready(state: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(state, "init") == EXIT_DONE
    capsys.readouterr()
    return state


def test_init_may_be_run_again(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(state, "init", "--json") == EXIT_DONE
    assert json.loads(capsys.readouterr().out)["keys"] == [
        "master",
        "activation",
        "checkpoint",
        "token (current)",
        "token (next)",
    ]
    assert run(state, "init", "--json") == EXIT_DONE
    assert json.loads(capsys.readouterr().out)["keys"] == ["none new"]


def test_a_person_is_added_once_with_all_factors(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = (*ACCOUNT, "--phone", "+34 600 000 001", "--email", "alice@example.org", "--proofing", "substantial")
    password = ("--password-file", str(ready / "password"))
    assert run(ready, *argv, *password, "--json") == EXIT_DONE
    output = capsys.readouterr().out
    made = json.loads(output)
    assert made["authenticators"] == ["password", "sms_otp", "email_otp"]
    assert PASSWORD not in output
    assert run(ready, *argv, *password) == EXIT_EXISTS
    engine = open_engine(f"sqlite:///{ready / 'idp.sqlite'}")
    with reading(engine) as connection:
        account = accounts.find(connection, made["account_id"])
        phone = authenticators.of_kind(connection, sealer(ready), made["account_id"], "sms_otp")
    engine.dispose()
    assert account is not None
    assert account.proofing == "substantial"
    assert phone is not None
    assert phone.address == "+34600000001"
    assert "+346" not in repr(phone)


def test_when_one_factor_is_refused_nobody_is_added(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password = ("--password-file", str(ready / "password"))
    assert run(ready, *ACCOUNT, "--phone", "600", *password) == EXIT_FAILED
    assert "E.164" in capsys.readouterr().err
    assert run(ready, *ACCOUNT, *password) == EXIT_DONE


def test_a_password_file_that_others_can_read_is_refused(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ready / "password").chmod(0o644)
    assert run(ready, *ACCOUNT, "--password-file", str(ready / "password")) == EXIT_FAILED
    assert PASSWORD not in capsys.readouterr().err


def test_accounts_are_disabled_and_enabled(ready: Path) -> None:
    run(ready, *ACCOUNT, "--password-file", str(ready / "password"))
    assert run(ready, "account", "disable", "--username", "ALICE") == EXIT_DONE
    assert run(ready, "account", "enable", "--username", "alice") == EXIT_DONE
    assert run(ready, "account", "disable", "--username", "bob") == EXIT_FAILED


def test_OTP_07_an_operator_binds_no_number_that_no_messages_go_to(ready: Path) -> None:
    run(ready, *ACCOUNT, "--phone", "+34600000001", "--password-file", str(ready / "password"))
    satellite = ("account", "set-address", "--username", "alice", "--phone", "+8816123456789")
    assert run(ready, *satellite) == EXIT_FAILED
    with (ready / "idp.toml").open("a") as settings:
        settings.write('\n[otp]\nallowed_prefixes = ["43"]\ndenied_prefixes = ["43900"]\n')
    # Nor does a new person begin with one, who would find out at the first code.
    carol = ("account", "create", "--username", "carol", "--name", "Carol", "--phone")
    assert run(ready, *carol, "+43900123456") == EXIT_FAILED
    assert run(ready, *carol, "+43660123457") == EXIT_DONE
    for number, code in (("+34600000002", EXIT_FAILED), ("+43900123456", EXIT_FAILED), ("+43660123456", EXIT_DONE)):
        assert run(ready, *satellite[:4], "--phone", number) == code


def test_OTP_08_another_phone_counts_only_after_a_while_and_the_former_one_no_more(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    password = ("--password-file", str(ready / "password"))
    run(ready, *ACCOUNT, "--phone", "+34600000001", *password, "--json")
    account_id = json.loads(capsys.readouterr().out)["account_id"]
    clock = FixedClock(NOW)
    argv = ("account", "set-address", "--username", "alice", "--phone", "+34600000002")
    assert main((*argv, "--config", str(ready / "idp.toml")), clock) == EXIT_DONE
    engine = open_engine(f"sqlite:///{ready / 'idp.sqlite'}")
    with reading(engine) as connection:
        everything = authenticators.of_account(connection, sealer(ready), account_id)
    owned = [item for item in everything if item.kind == "sms_otp"]
    engine.dispose()
    assert {(item.address, item.disabled) for item in owned} == {("+34600000001", True), ("+34600000002", False)}
    (new,) = [item for item in owned if not item.disabled]
    assert new.not_before == NOW + timedelta(hours=72)
    assert run(ready, *argv[:-1], "nonsense") == EXIT_FAILED


def test_OTP_08_the_command_waits_as_long_as_the_pages_do(
    ready: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(ready, *ACCOUNT, "--password-file", str(ready / "password"))
    capsys.readouterr()
    monkeypatch.setenv("PRIVYSEAL_IDP_OTP__ADDRESS_WAIT_HOURS", "5")
    argv = ("account", "set-address", "--username", "alice", "--phone", "+34600000002", "--json")
    assert main((*argv, "--config", str(ready / "idp.toml")), FixedClock(NOW)) == EXIT_DONE
    assert json.loads(capsys.readouterr().out)["not_before"] == (NOW + timedelta(hours=5)).isoformat()


def test_another_password_takes_the_place_of_the_former_one(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password = ("--password-file", str(ready / "password"))
    run(ready, *ACCOUNT, *password, "--json")
    account_id = json.loads(capsys.readouterr().out)["account_id"]
    (ready / "password").write_text("another good password")
    assert run(ready, "account", "set-password", "--username", "alice", *password) == EXIT_DONE
    assert run(ready, "account", "set-password", "--username", "bob", *password) == EXIT_FAILED
    engine = open_engine(f"sqlite:///{ready / 'idp.sqlite'}")
    with reading(engine) as connection:
        found = authenticators.of_kind(connection, sealer(ready), account_id, "password")
    key = KeyStore(engine, ready / "keys").secret(KEY)
    engine.dispose()
    assert found is not None
    passwords = Passwords(PasswordSettings(), key=key)
    assert passwords.verify(found.secret_hash, "another good password")
    assert not passwords.verify(found.secret_hash, PASSWORD)


def test_a_clients_secret_goes_to_an_owner_only_file_and_nowhere_else(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = (*CLIENT, "--redirect-uri", "http://rp.localhost:8405/callback", "--secret-file", str(ready / "secret"))
    assert run(ready, *argv) == EXIT_DONE
    secret = (ready / "secret").read_text()
    assert stat.S_IMODE((ready / "secret").stat().st_mode) == 0o600
    assert len(secret) >= 43
    assert secret not in capsys.readouterr().out
    assert secret.encode() not in (ready / "idp.sqlite").read_bytes()
    (ready / "secret").unlink()
    assert run(ready, *argv) == EXIT_EXISTS
    assert not (ready / "secret").exists()


@pytest.fixture
def registered(ready: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A client with a secret, and something that was granted to it."""
    argv = (*CLIENT, "--redirect-uri", "http://rp.localhost:8405/callback", "--secret-file", str(ready / "secret"))
    assert run(ready, *argv) == EXIT_DONE
    capsys.readouterr()
    engine = open_engine(f"sqlite:///{ready / 'idp.sqlite'}")
    with engine.begin() as connection:
        seals = make_sealer()
        grants.begin(
            connection, seals, "a-grant", client_id="example-contracts", subject="alice", now=NOW, seconds=3600
        )
    engine.dispose()
    return ready


def stored(state: Path) -> tuple[Client, grants.Grant, list[dict[str, Any]]]:
    """The client, its grant, and what the audit chain says of changes."""
    engine = open_engine(f"sqlite:///{state / 'idp.sqlite'}")
    with reading(engine) as connection:
        client = clients.find(connection, "example-contracts")
        grant = grants.find(connection, make_sealer(), "a-grant")
        changes = [
            json.loads(entry.fields)
            for entry in read_entries(connection, TABLES.entries)
            if entry.event == "client.changed"
        ]
    engine.dispose()
    assert client is not None
    assert grant is not None
    return client, grant, changes


def test_clients_are_listed_without_anything_of_their_secrets(
    registered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(registered, "client", "list") == EXIT_DONE
    uri = "http://rp.localhost:8405/callback"
    fields = ("example-contracts", "active", "client_secret_basic", "Example Contracts", uri, "-")
    assert capsys.readouterr().out == "\t".join(fields) + "\n"
    assert run(registered, "client", "list", "--json") == EXIT_DONE
    (listed,) = json.loads(capsys.readouterr().out)["clients"]
    assert listed["redirect_uris"] == [uri]
    assert set(listed) == {"client_id", "status", "auth_method", "name", "redirect_uris", "backchannel_logout_uri"}


TOLD = "https://rp.example.org/logout"


def test_a_client_is_registered_to_be_told_of_ended_sessions(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = (*CLIENT, "--redirect-uri", "https://rp.example.org/callback", "--secret-file", str(ready / "secret"))
    for refused in ("http://rp.example.org/logout", "https://rp.example.org/logout#x"):
        assert run(ready, *argv, "--backchannel-logout-uri", refused) == EXIT_FAILED
        assert "backchannel_logout_uri" in capsys.readouterr().err
    assert run(ready, *argv, "--backchannel-logout-session-required") == EXIT_FAILED
    told = ("--backchannel-logout-uri", TOLD, "--backchannel-logout-session-required")
    assert run(ready, *argv, *told) == EXIT_DONE
    capsys.readouterr()
    engine = open_engine(f"sqlite:///{ready / 'idp.sqlite'}")
    with reading(engine) as connection:
        client = clients.find(connection, "example-contracts")
        entries = read_entries(connection, TABLES.entries)
        [created] = [json.loads(entry.fields) for entry in entries if entry.event == "client.created"]
    engine.dispose()
    assert client is not None
    assert client.registration.backchannel_logout_uri == created["backchannel_logout_uri"] == TOLD
    assert client.registration.backchannel_logout_session_required
    assert run(ready, "client", "list") == EXIT_DONE
    assert capsys.readouterr().out.endswith(f"\t{TOLD}\n")
    assert run(ready, "client", "logouts", "--json") == EXIT_DONE
    assert json.loads(capsys.readouterr().out) == {"clients": []}


def test_OAU_08_disabling_a_client_revokes_what_it_was_given_and_enabling_does_not_bring_it_back(
    registered: Path,
) -> None:
    argv = ("--client-id", "example-contracts")
    assert run(registered, "client", "disable", *argv) == EXIT_DONE
    client, grant, _ = stored(registered)
    assert (client.active, grant.revoked) == (False, True)
    assert run(registered, "client", "enable", *argv) == EXIT_DONE
    client, grant, changes = stored(registered)
    assert (client.active, grant.revoked) == (True, True)
    assert [(item["change"], item["grants_revoked"]) for item in changes] == [("disabled", 1), ("enabled", 0)]
    assert {item["client_id"] for item in changes} == {"example-contracts"}


def test_after_a_clients_secret_was_renewed_the_former_one_is_worth_nothing(
    registered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ("client", "renew-secret", "--client-id", "example-contracts", "--secret-file", str(registered / "new"))
    assert run(registered, *argv) == EXIT_DONE
    former, new = ((registered / name).read_text() for name in ("secret", "new"))
    assert stat.S_IMODE((registered / "new").stat().st_mode) == 0o600
    assert new not in capsys.readouterr().out
    client, grant, _ = stored(registered)
    assert client.has_secret(new)
    assert not client.has_secret(former)
    assert not grant.revoked
    assert run(registered, *argv[:-1], str(registered / "leaked"), "--revoke") == EXIT_DONE
    _, grant, changes = stored(registered)
    assert grant.revoked
    assert {item["change"] for item in changes} == {"secret_renewed"}
    assert [item["grants_revoked"] for item in changes] == [0, 1]


def test_when_the_new_secret_cannot_be_written_the_former_one_stays(registered: Path) -> None:
    argv = ("client", "renew-secret", "--client-id", "example-contracts", "--secret-file", str(registered / "secret"))
    assert run(registered, *argv) == EXIT_FAILED
    client, _, changes = stored(registered)
    assert client.has_secret((registered / "secret").read_text())
    assert changes == []


@pytest.mark.parametrize("command", [("disable",), ("enable",), ("renew-secret", "--secret-file", "{state}/none")])
def test_a_client_that_is_not_there_is_not_changed(ready: Path, command: tuple[str, ...]) -> None:
    argv = [item.format(state=ready) for item in command]
    assert run(ready, "client", *argv, "--client-id", "unknown") == EXIT_FAILED
    assert not (ready / "none").exists()


@pytest.mark.parametrize(
    "argv",
    [
        (*CLIENT, "--redirect-uri", "http://rp.localhost:8405/callback"),
        (*CLIENT, "--redirect-uri", "not a uri", "--secret-file", "{state}/secret"),
        (*CLIENT, "--auth-method", "private_key_jwt", "--redirect-uri", "https://rp.example.org/", "--jwks-file", "/"),
        ("client", "create", "--client-id", "privyseal-account", "--name", "x", "--secret-file", "{state}/secret"),
        ("client", "create", "--client-id", "privyseal-admin", "--name", "x", "--secret-file", "{state}/secret"),
        # No host where it could show one.
        (*CLIENT, "--redirect-uri", "https://rp.example/", "--secret-file", "{state}/secret", "--certificate-bound"),
    ],
)
def test_a_client_with_faults_is_not_registered(ready: Path, argv: tuple[str, ...]) -> None:
    assert run(ready, *(item.format(state=ready) for item in argv)) == EXIT_FAILED
    assert not (ready / "secret").exists()


def test_SUP_05_a_redirect_uri_over_http_is_refused_in_production(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = (ready / "idp.toml").read_text()
    (ready / "database").write_text(f"sqlite:///{ready}/idp.sqlite")
    (ready / "database").chmod(0o600)
    config = config.replace('"development"', '"production"').replace("http://", "https://")
    (ready / "idp.toml").write_text("".join(
        'database_url_file = "database"\n' if line.startswith("database_url") else line
        for line in config.splitlines(keepends=True)
    ))  # fmt: skip
    argv = (*CLIENT, "--redirect-uri", "http://rp.example.org/callback", "--secret-file", str(ready / "secret"))
    assert run(ready, *argv) == EXIT_FAILED
    assert "https" in capsys.readouterr().err
    secure = tuple(item.replace("http:", "https:") for item in argv)
    assert run(ready, *secure, "--backchannel-logout-uri", "http://rp.localhost:8405/logout") == EXIT_FAILED
    assert "backchannel_logout_uri must be https" in capsys.readouterr().err
    assert not (ready / "secret").exists()


def test_the_activation_key_is_exported_public_only(ready: Path) -> None:
    for form in ("pem", "jwk"):
        assert run(ready, "keys", "export-activation", "--format", form, "--out", str(ready / form)) == EXIT_DONE
    pem = import_verification_key((ready / "pem").read_bytes())
    jwk = json.loads((ready / "jwk").read_text())
    assert import_verification_key(jwk).kid == pem.kid
    assert "d" not in jwk


def test_keys_rotate(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kids = set()
    for _ in range(2):
        assert run(ready, "keys", "rotate", "--json") == EXIT_DONE
        kids.add(json.loads(capsys.readouterr().out)["kid"])
    assert len(kids) == 2


@pytest.mark.parametrize("argv", [(), ("nonsense",), ("account",), ("init", "--config", "/no/such/file.toml")])
def test_wrong_usage_has_its_own_exit_code(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == EXIT_USAGE
    assert capsys.readouterr().err


def test_before_init_nothing_works_and_the_text_says_what_to_do(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, *ACCOUNT, "--password-file", str(state / "password")) == EXIT_FAILED
    assert "privyseal idp init" in capsys.readouterr().err


def test_help_lists_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--help"]) == EXIT_DONE
    assert "exit codes:" in capsys.readouterr().out


def test_roles_are_granted_listed_and_revoked(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ready, *ACCOUNT, "--password-file", str(ready / "password"))
    role = ("--username", "Alice", "--role", "operators")
    assert run(ready, "role", "grant", *role) == EXIT_DONE
    assert run(ready, "role", "grant", *role) == EXIT_FAILED
    assert "holds the role operators already" in capsys.readouterr().err
    assert run(ready, "role", "list", "--json") == EXIT_DONE
    (found,) = json.loads(capsys.readouterr().out)["roles"]
    assert (found["username"], found["role"], found["granted_by"]) == ("alice", "operators", "command_line")
    assert run(ready, "role", "revoke", *role) == EXIT_DONE
    assert run(ready, "role", "revoke", *role) == EXIT_FAILED
    engine = open_engine(f"sqlite:///{ready / 'idp.sqlite'}")
    with reading(engine) as connection:
        events = [entry.event for entry in read_entries(connection, TABLES.entries)]
    engine.dispose()
    assert events[-2:] == ["role.granted", "role.revoked"]


def test_ADM_01_no_role_for_nobody_for_a_disabled_account_or_of_another_name(ready: Path) -> None:
    run(ready, *ACCOUNT, "--password-file", str(ready / "password"))
    assert run(ready, "role", "grant", "--username", "bob", "--role", "policy") == EXIT_FAILED
    assert run(ready, "role", "grant", "--username", "alice", "--role", "root") == EXIT_USAGE
    run(ready, "account", "disable", "--username", "alice")
    assert run(ready, "role", "grant", "--username", "alice", "--role", "policy") == EXIT_FAILED


def test_groups_and_attributes_are_set_for_the_policys_conditions(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--group", "staff", "--attribute", "department=legal", "--attribute", "department=board")
    run(ready, *ACCOUNT, *given, "--password-file", str(ready / "password"), "--json")
    account_id = json.loads(capsys.readouterr().out)["account_id"]

    def stored() -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
        engine = open_engine(f"sqlite:///{ready / 'idp.sqlite'}")
        with reading(engine) as connection:
            account = accounts.find(connection, account_id)
        engine.dispose()
        assert account is not None
        return account.groups, dict(account.attributes)

    assert stored() == (frozenset({"staff"}), {"department": ("legal", "board")})
    person = ("--username", "alice")
    assert run(ready, "account", "set-attributes", *person, "--attribute", "site=north=1") == EXIT_DONE
    assert stored() == (frozenset({"staff"}), {"site": ("north=1",)})
    assert run(ready, "account", "set-groups", *person, "--group", "b", "--group", "a") == EXIT_DONE
    assert run(ready, "account", "set-attributes", *person, "--none", "--json") == EXIT_DONE
    assert stored() == (frozenset({"a", "b"}), {})
    assert run(ready, "account", "set-groups", *person, "--none") == EXIT_DONE
    assert stored() == (frozenset(), {})
    assert run(ready, "account", "set-groups", "--username", "bob", "--none") == EXIT_FAILED
    engine = open_engine(f"sqlite:///{ready / 'idp.sqlite'}")
    with reading(engine) as connection:
        events = [entry for entry in read_entries(connection, TABLES.entries) if entry.event == "account.described"]
    engine.dispose()
    assert [json.loads(entry.fields)["attributes"] for entry in events] == [["site"], ["site"], [], []]
    assert "north" not in repr(events)


@pytest.mark.parametrize("given", ["department", "=x", "1st=x", "a b=x", "department=", "department= x", "a=\u202e"])
def test_an_attribute_that_no_policy_could_name_is_refused(
    ready: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    run(ready, *ACCOUNT, "--password-file", str(ready / "password"))
    assert run(ready, "account", "set-attributes", "--username", "alice", "--attribute", given) == EXIT_FAILED
    assert ("NAME=VALUE" if "=" not in given else "attribute is") in capsys.readouterr().err


def test_a_new_password_is_as_long_as_the_policy_asks(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limited = POLICY.replace(b"levels:", b"factors:\n  password: {min_length: 30}\nlevels:", 1)
    (ready / "policy.yaml").write_bytes(limited)
    assert run(ready, *ACCOUNT, "--password-file", str(ready / "password")) == EXIT_FAILED
    assert "a password has 30 to" in capsys.readouterr().err
    (ready / "policy.yaml").write_bytes(limited.replace(b"30", b"5"))
    (ready / "password").write_text("7 chars")
    assert run(ready, *ACCOUNT, "--password-file", str(ready / "password")) == EXIT_FAILED
    assert "a password has 8 to" in capsys.readouterr().err
