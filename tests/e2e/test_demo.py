"""The demo: a person signs a PDF with a key in the HSM after the step-up that a policy demanded."""

from __future__ import annotations

import json
import os
import pwd
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from launcher.ports import Ports
from tests.e2e.conftest import AS_ROOT, ROOT, START_SECONDS, Product, children, free_ports, start

SECRET_FILES = (
    "sam/user-pin", "sam/so-pin", "dev/person-password", "dev/admin-password", "dev/rp-secret", "dev/ca-token",
    "dev/sign-secret", "dev/twilio-token", "web/csc-client.pem", "web/jobs.key",
)  # fmt: skip


def secrets_of(state: Path) -> dict[str, bytes]:
    return {name: (state / name).read_bytes().strip() for name in SECRET_FILES}


def test_the_walkthrough_signs_a_pdf_and_says_what_the_policy_decided(product: Product) -> None:
    shown = product.output.read_text(encoding="utf-8")
    assert "done: the PDF is signed and verified" in shown
    assert re.search(r"policy, before: .*default\.yaml:\d+", shown), shown
    asked = r"Signed in\n(?: {6}.*\n)*? {6}policy, before: .*\(rule sign-in, default\.yaml:\d+\)"
    assert re.search(asked, shown), shown
    signed = list((product.state / "signed").glob("*.pdf"))
    assert len(signed) == 1
    pdfsig = subprocess.run(["pdfsig", str(signed[0])], capture_output=True, text=True, check=False)
    assert "Signature is Valid." in pdfsig.stdout, pdfsig.stdout + pdfsig.stderr
    # The level by which the file lasts, as the walkthrough says it and as the product's own validation finds it.
    assert "format       PAdES B-LT" in shown
    command = ["validate", "--json", "--trust", str(product.root_certificate), str(signed[0])]
    told = subprocess.run(
        [sys.executable, "-m", "launcher", *command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    (signature,) = json.loads(told.stdout)["signatures"]
    assert signature["level"] == "B-LT"


def test_the_signing_service_says_what_the_signature_is_worth(product: Product) -> None:
    (signed,) = (product.state / "signed").glob("*.pdf")
    url = f"http://127.0.0.1:{product.ports.of('web')}/validate"
    request = Request(url, signed.read_bytes(), {"Content-Type": "application/pdf"})
    with urlopen(request, timeout=120) as answer:
        report = json.load(answer)
    assert report["verdict"] == {"indication": "TOTAL_PASSED"}, report
    assert report["signatures"][0]["level"] == "B-LT"


def test_each_trust_domain_runs_as_its_own_user(product: Product) -> None:
    owners: dict[str, set[str]] = {}
    for pid in children(product.process.pid):
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
        owner = pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name
        for mark, name in (("wsgi:idp", "idp"), ("wsgi:signing", "web"), (" sam serve", "sam"), ("devservices", "dev")):
            if mark in line:
                owners.setdefault(name, set()).add(owner)
    expected = {
        role: {f"privyseal-{role}"} if AS_ROOT else {pwd.getpwuid(os.geteuid()).pw_name}
        for role in ("idp", "web", "sam", "dev")
    }
    assert owners == expected


def test_the_hsm_library_is_loaded_in_the_modules_workers_and_nowhere_else(product: Product) -> None:
    # what the kernel says is mapped, whatever was imported how and when
    users: set[str] = set()
    for pid in children(product.process.pid):
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
        mapped = Path(f"/proc/{pid}/maps").read_text()
        if "wsgi:" in line or "devservices" in line or "examples" in line or " sam serve" in line:
            assert "softhsm" not in mapped, line
            assert "pkcs11/_pkcs11" not in mapped, line
        if " sam serve" in line:
            assert not re.search(r"site-packages/(lxml|xmlsec|granian|aiohttp)", mapped), line
        if "libsofthsm2" in mapped:
            users.add(str(parent_command(pid)))
    assert len(users) == 1
    assert " sam serve" in users.pop()


def parent_command(pid: int) -> str:
    """The command line of a process's parent."""
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    return Path(f"/proc/{parent}/cmdline").read_bytes().decode().replace("\0", " ")


@pytest.mark.parametrize(
    ("reader", "path"),
    [
        ("web", "sam/user-pin"),
        ("web", "sam/sam.sqlite"),
        ("web", "idp/keys"),
        ("web", "run/admin"),
        ("idp", "sam/user-pin"),
        ("idp", "run/link"),
        ("idp", "run/admin"),
        ("idp", "web/csc-client.pem"),
        ("idp", "web/jobs.key"),
        ("idp", "web/jobs.sqlite"),
        ("sam", "idp/keys"),
        ("sam", "web/csc-client.pem"),
        ("sam", "web/jobs.key"),
        ("dev", "run/link"),
        ("dev", "idp/idp.sqlite"),
    ],
)
@pytest.mark.skipif(not AS_ROOT, reason="needs the separate users that only root can make")
def test_no_trust_domain_can_read_anothers_files(product: Product, reader: str, path: str) -> None:
    account = pwd.getpwnam(f"privyseal-{reader}")
    assert (product.state / path).exists()
    done = subprocess.run(
        ["cat" if (product.state / path).is_file() else "ls", str(product.state / path)],
        user=account.pw_uid, group=account.pw_gid, extra_groups=[], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Permission denied" in done.stderr


def test_KEY_08_AUD_08_no_secret_is_in_a_command_line_an_environment_a_log_or_a_database(product: Product) -> None:
    secrets = secrets_of(product.state)
    assert all(len(value) >= 6 for value in secrets.values())
    places: dict[str, bytes] = {"the demo's own output": product.output.read_bytes()}
    for pid in (product.process.pid, *children(product.process.pid)):
        for kind in ("cmdline", "environ"):
            places[f"{kind} of {pid}"] = Path(f"/proc/{pid}/{kind}").read_bytes()
    for path in product.state.rglob("*"):
        name = str(path.relative_to(product.state))
        if path.is_file() and not path.is_socket() and name not in (*SECRET_FILES, "idp/twilio-token", "web/ca-token"):
            places[name] = path.read_bytes()
    assert any(name.endswith(".sqlite") for name in places)
    assert any(name.startswith("log/") for name in places)
    leaks = [(where, name) for where, text in places.items() for name, value in secrets.items() if value in text]
    assert leaks == []


def test_AUD_08_no_token_or_document_is_in_a_log(product: Product) -> None:
    logs = {path.name: path.read_text(errors="replace") for path in (product.state / "log").iterdir()}
    assert logs
    jws = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.")
    assert [name for name, text in logs.items() if jws.search(text)] == []
    assert [name for name, text in logs.items() if "%PDF-" in text or "code_verifier=" in text] == []


def test_OTP_06_AUD_08_no_one_time_code_that_was_sent_is_in_a_log_or_a_database(product: Product) -> None:
    with urlopen(f"{product.ports.url('inbox')}/messages.json", timeout=10) as answer:
        bodies = [message["body"] for message in json.load(answer)["messages"]]
    codes = {found.group() for body in bodies if (found := re.search(r"(?<!\d)\d{6}(?!\d)", body))}
    assert codes
    stores = [path for path in product.state.rglob("*") if path.suffix in {".log", ".sqlite", ".sqlite-wal"}]
    assert {path.suffix for path in stores} >= {".log", ".sqlite"}
    # as a word of its own: six digits within an identifier are no code
    word = re.compile(rb"(?<![0-9A-Za-z])(?:" + "|".join(sorted(codes)).encode() + rb")(?![0-9A-Za-z])")
    assert [str(path.relative_to(product.state)) for path in stores if word.search(path.read_bytes())] == []


def test_secret_files_are_for_their_owners_only(product: Product) -> None:
    for name in SECRET_FILES:
        assert (product.state / name).stat().st_mode & 0o777 == 0o600, name


def test_a_second_supervisor_on_the_same_state_is_refused(product: Product, place: Path) -> None:
    output = place / "second"
    assert start(product.state, product.ports, output, "--once").wait(120) == 2
    assert "another privyseal dev is running" in output.read_text()


def test_a_taken_port_is_named_with_the_setting(product: Product, place: Path) -> None:
    output = place / "taken"
    assert start(place / "never-made", product.ports, output, "--once").wait(120) == 4
    assert f"port {product.ports.of('idp')} (identity provider) is taken" in output.read_text()
    assert "--base-port" in output.read_text()
    assert not (place / "never-made").exists()


def _processor_seconds() -> float:
    """Of the children that were waited for, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.timeout(900)
def test_the_second_run_on_a_state_is_quick_and_ends_by_itself(product: Product, place: Path) -> None:
    # a copy of a stopped installation would do, but a state belongs to its ports: so a new one is run twice
    ports, state = free_ports(), place / "twice"
    first, second = place / "first-run", place / "second-run"
    before = _processor_seconds()
    assert start(state, ports, first, "--once").wait(START_SECONDS) == 0, first.read_text()
    prepared = _processor_seconds() - before
    before = _processor_seconds()
    assert start(state, ports, second, "--once").wait(START_SECONDS) == 0, second.read_text()
    # Of itself and of all that it started and waited for: other work on the machine takes time, not this.
    used = _processor_seconds() - before
    assert "preparing" not in second.read_text()
    # Against the first run, because a slow processor needs more for both.
    assert used < 0.5 * prepared, f"{used:.1f} s of processor time, {prepared:.1f} s with all preparations"
    assert children_of_state(state) == []
    refused = place / "other-ports"
    assert start(state, Ports(ports.base + 1), refused, "--once").wait(120) == 2
    assert "--reset" in refused.read_text()
    assert start(state, ports, first, "--once", "--reset").wait(START_SECONDS) == 0, first.read_text()
    assert "preparing" in first.read_text()
    shutil.rmtree(state)


@pytest.mark.timeout(600)
def test_a_service_that_dies_ends_all_and_its_log_is_shown(place: Path) -> None:
    ports, state, output = free_ports(), place / "dying", place / "dying-output"
    process = start(state, ports, output)
    try:
        until = time.monotonic() + START_SECONDS
        while "Try it by hand" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < until, output.read_text()
            time.sleep(0.1)
        module = next(
            pid for pid in children(process.pid) if b"sam\0serve" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(module, signal.SIGKILL)
        assert process.wait(60) == 5
    finally:
        process.kill()
        process.wait()
    assert "signature activation module ended (signal SIGKILL); the end of" in output.read_text()
    assert children_of_state(state) == []
    shutil.rmtree(state)


def children_of_state(state: Path) -> list[str]:
    """Command lines that still name a state directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if f"{state}/" in line:
                found.append(line)
    return found
