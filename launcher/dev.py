"""`privyseal dev`: the whole product on one machine, with development stand-ins for everything outside it.

Exit codes: 0 the walkthrough succeeded (or serving was ended), 2 the state cannot be used, 4 a port is taken, 5 a
service died or was not ready, 6 a step of the preparation failed; with --once, else the walkthrough's own.
"""

from __future__ import annotations

import argparse
import os
import pwd
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from launcher import preparation
from launcher.accounts import Accounts, Role, resolve
from launcher.configuration import RP_CLIENT, SIGN_CLIENT, TWILIO_ACCOUNT, Installation
from launcher.errors import LauncherError, StateRefusedError
from launcher.ports import DEFAULT_BASE, SETTING, Ports
from launcher.process import run_to_end
from launcher.relocation import for_account
from launcher.state import Stamp, State
from launcher.supervisor import Service, Supervisor, accepts_unix, answers_http

BASES = range(1024, 65535 - 25)
WATCH_SECONDS = 0.25
INTERRUPTED = 130
IDP_THREADS = 8
PORTAL_THREADS = 8
SIGNING_THREADS = 16
"""Requests that wait at the same time share their commits: the more there may be, the less each costs."""
HEAD_MILLISECONDS = 10_000
"""For which a client may take to send a request's head, or nothing on an idle connection."""


def say(text: str) -> None:
    """A line of progress."""
    print(f"==> {text}", flush=True)


def options(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    made = argparse.ArgumentParser(prog="privyseal dev", description=__doc__.partition("\n")[0])
    made.add_argument("--state", type=Path, help="where everything is kept (default: var/demo in the checkout, or one "
                      "below /opt/privyseal-demo where the service users cannot enter the checkout)")  # fmt: skip
    made.add_argument("--once", action="store_true", help="stop after the walkthrough, with its exit code")
    made.add_argument("--reset", action="store_true", help="remove the state first and start anew, with a new copy of "
                      "the code where one is needed")  # fmt: skip
    made.add_argument(
        SETTING, type=int, default=DEFAULT_BASE, metavar="N", help="services listen on ports from N+1 (default 8400)"
    )
    return made.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run `privyseal dev ARGV`; returns the exit code."""
    chosen = options(argv)
    if chosen.base_port not in BASES:
        print(f"error: {SETTING} is a number from {BASES.start} to {BASES.stop - 1}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(chosen)
    except LauncherError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _run(chosen: argparse.Namespace) -> int:
    accounts = resolve()
    _tell_users(accounts)
    code = for_account(accounts.of("idp"), say, anew=chosen.reset)
    state = State((chosen.state or code.default_state).absolute(), accounts)
    here = Installation(code, state, Ports(chosen.base_port))
    with state.locked():
        if chosen.reset:
            state.remove()
        wanted = Stamp(chosen.base_port, accounts.separate, prepared=False)
        prepared = _check_stamp(state, wanted)
        here.ports.check()
        if not prepared:
            _prepare(here, wanted)
        return _serve(here, wanted, prepared=prepared, once=chosen.once)


def _tell_users(accounts: Accounts) -> None:
    if accounts.separate:
        names = ", ".join(sorted({account.name for account in accounts.by_role.values()}))
        say(f"each trust domain runs as a user of its own: {names}")
    else:
        name = pwd.getpwuid(os.geteuid()).pw_name
        say(f"not root: all processes run as {name}, so the operating system does not separate the trust domains here")


def _check_stamp(state: State, wanted: Stamp) -> bool:
    """Whether the state is complete; what a preparation that did not finish has left is removed."""
    stamp = state.stamp()
    if stamp is None:
        return False
    if not stamp.prepared:
        say("the last preparation did not finish: starting anew")
        state.remove()
        return False
    if stamp != replace(wanted, prepared=True):
        raise StateRefusedError(
            f"{state.root} was made with {SETTING} {stamp.base_port}, "
            f"{'as root' if stamp.separate_users else 'not as root'}: use it so, or add --reset to start anew"
        )
    return True


def _prepare(here: Installation, stamp: Stamp) -> None:
    say(f"preparing {here.state.root}")
    here.state.make_folders()
    here.state.mark(stamp)
    preparation.write_files(here)
    preparation.run(here, preparation.before_start(here), say, lambda: None)


def services(here: Installation) -> tuple[tuple[Service, ...], ...]:
    """What is started, in groups: within one, none needs another to start."""
    return (
        (_stand_in(here, "trust", "devservices.ca_http", "--token-file", str(here.file("dev", "ca-token")),
                   "--public-url", here.ports.url("trust"), state="ca"),),
        (
            _stand_in(here, "tsa", "devservices.tsa", "--ca-state", str(here.file("dev", "ca"))),
            _stand_in(here, "inbox", "devservices.inbox", "--smtp-port", str(here.ports.of("smtp")),
                      "--account-sid", TWILIO_ACCOUNT, "--token-file", str(here.file("dev", "twilio-token")),
                      "--ca-state", str(here.file("dev", "ca"))),
            _sam(here),
        ),
        (
            _granian(here, "web", "signing web tier", "sign.localhost", "signing", threads=SIGNING_THREADS),
            _granian(here, "idp", "identity provider", "idp.localhost", "idp", threads=IDP_THREADS),
            _granian(here, "portal", "portal", "portal.localhost", "portal", threads=PORTAL_THREADS),
            _stand_in(here, "rp", "examples.relying_party", "--client-id", RP_CLIENT,
                      "--client-secret-file", str(here.file("dev", "rp-secret")), "--issuer", here.ports.url("idp"),
                      "--csc", here.csc_base, "--root", str(here.root_certificate), "--show-documents", path="/"),
        ),
    )  # fmt: skip


TITLES = {
    "trust": "certification authority, OCSP and CRL",
    "tsa": "time-stamping authority",
    "inbox": "inbox for mail and text messages",
    "rp": "demo relying party",
}


def _stand_in(
    here: Installation, name: str, module: str, *arguments: str, state: str | None = None, path: str = "/healthz"
) -> Service:
    port = here.ports.of(name)
    command = preparation.command(
        here, "dev", module, "--port", str(port), "--state", str(here.file("dev", state or name)), *arguments
    )
    return Service(name, TITLES[name], command, answers_http("127.0.0.1", port, path))


def _sam(here: Installation) -> Service:
    settings = str(here.file("sam", "sam.toml"))
    command = preparation.command(here, "sam", "launcher", "sam", "serve", "--config", settings)
    return Service("sam", "signature activation module", command, accepts_unix(here.state.link_socket))


def _granian(here: Installation, role: Role, title: str, host: str, factory: str, *, threads: int) -> Service:
    port = here.ports.of(role)
    variable = {f"PRIVYSEAL_{role.upper()}_CONFIG": str(here.file(role, f"{role}.toml"))}
    command = preparation.command(
        here, role, "granian", "--interface", "wsgi", "--factory", "--workers-kill-timeout", "10",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--blocking-threads", str(threads),
        "--http1-header-read-timeout", str(HEAD_MILLISECONDS), "--no-ws", "--log-level", "warning",
        f"wsgi:{factory}", **variable,
    )  # fmt: skip
    return Service(role, title, command, answers_http(host, port, "/health/ready"))


def _serve(here: Installation, stamp: Stamp, *, prepared: bool, once: bool) -> int:
    supervisor = Supervisor(here.state.log, say)
    try:
        for group in services(here):
            supervisor.start(*group)
        if not prepared:
            preparation.run(here, preparation.after_start(here), say, supervisor.check)
            here.state.mark(replace(stamp, prepared=True))
        code = _walkthrough(here, supervisor.check)
        if once:
            return code
        _invite(here, code)
        while True:
            supervisor.check()
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        say("stopping")
        return INTERRUPTED if once or not prepared else 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # once is enough: an orderly end is under way
        supervisor.stop()


def _walkthrough(here: Installation, watch: Callable[[], None]) -> int:
    say("the main job, from outside, over HTTP only")
    command = preparation.command(
        here, "dev", "examples.walkthrough", *preparation.person_options(here), "--client-id", RP_CLIENT,
        "--client-secret-file", str(here.file("dev", "rp-secret")), "--root", str(here.root_certificate),
        "--out", str(here.state.signed),
    )  # fmt: skip
    code = run_to_end(command, None, watch)
    say("done: the PDF is signed and verified" if code == 0 else f"the walkthrough failed with exit code {code}")
    return code


def _invite(here: Installation, code: int) -> None:
    administrators = f"{preparation.ADMINISTRATOR} or {preparation.SECOND_OPERATOR}"
    print(
        f"""
Try it by hand{"" if code == 0 else " (the walkthrough failed, the services run)"}; Ctrl-C stops everything.

  sign a PDF       {here.ports.url("rp")}/
  your documents   {here.ports.url("portal")}/  (upload PDFs, sign many with one approval)
  sign files       privyseal sign FILE... --url {here.csc_base} --client-id {SIGN_CLIENT}
                   --client-secret-file {here.file("dev", "sign-secret")}
                   --redirect-uri {here.ports.url("sign")}/callback
  account pages    {here.ports.url("idp")}/account/  (add an authenticator app, a passkey or recovery codes)
  administration   {here.ports.url("idp")}/admin/
  messages         {here.ports.url("inbox")}/
  sign in as       {preparation.PERSON}, password in {here.file("dev", preparation.PASSWORD)}
  administer as    {administrators}, password in {here.file("dev", preparation.ADMIN_PASSWORD)}
  signed PDFs      {here.state.signed}
  logs             {here.state.logs}
""",
        flush=True,
    )
