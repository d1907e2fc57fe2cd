"""The command `privyseal sign`; installed by itself, `privyseal-sign`."""

from __future__ import annotations

import argparse
import getpass
import sys
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..algorithms import scheme_for
from ..credential import AuthObject
from ..errors import (
    AuthorizationRefusedError,
    ClientError,
    NotUsableError,
    ServiceRefusedError,
    SignatureWrongError,
    TimedOutError,
    UnreachableError,
    UsageError,
)
from ..keys import ClientAuthentication, ClientSecret, DpopKey, PrivateKeyJwt, read_key, read_private
from ..oauth import CREDENTIAL, Approve, Pending
from ..receiver import LoopbackReceiver
from ..signer import Elsewhere, Item, Signer
from ..transport import Transport
from .plan import Job, plan, prepare, write
from .report import Report, plain

REDIRECT_URI: Final = "http://127.0.0.1:8407/callback"
PARTLY: Final = 9
INTERRUPTED: Final = 130
EXIT_CODES: Final = """exit codes:
  0    every file is signed, and every result is on the disk
  2    an option or a file cannot be used, or there is no credential that can sign; nobody was asked to approve
  3    the person or the policy did not approve
  4    nobody came back in time
  5    the service refused, or an answer breaks the protocol
  7    a service does not answer
  8    a value that came back is not the signature that was asked for
  9    some files are signed and some are not; repeat with --skip-existing
  130  interrupted
results:
  NAME.pdf becomes NAME-signed.pdf (PAdES B-B); any other file gets FILE.p7s beside it, a detached CMS signature:
    openssl cms -verify -binary -inform DER -in FILE.p7s -content FILE -CAfile ROOTS -purpose any
  --form raw: FILE.sig, the bare value over the file's digest, and FILE.sig.pem, the certificates.
what the client is registered with (an operator does that): the scopes service and credential, and --redirect-uri."""
_CODES: Final[tuple[tuple[type[ClientError], int], ...]] = (
    (UsageError, 2),
    (NotUsableError, 2),
    (AuthorizationRefusedError, 3),
    (TimedOutError, 4),
    (UnreachableError, 7),
    (SignatureWrongError, 8),
    (ServiceRefusedError, 5),
    (ClientError, 5),
)


def parser() -> argparse.ArgumentParser:
    """The command line.  Secrets are given as paths of owner-only files, never as values."""
    made = argparse.ArgumentParser(
        prog="privyseal sign",
        description="Signs files with your key at a remote signing service: one approval for all of them.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("files", nargs="+", type=Path, metavar="FILE")
    add("--url", required=True, help="the signing service: https://HOST, or with /csc/v1 or /csc/v2")
    add("--client-id", required=True, help="as which this program is registered at the identity provider")
    add("--client-secret-file", type=Path, metavar="PATH", help="its secret, in a file that only you can read")
    add("--client-key-file", type=Path, metavar="PATH", help="its private key (PEM), for private_key_jwt")
    add("--client-key-id", metavar="KID", help="the key's identifier, if it was registered with one")
    add("--redirect-uri", default=REDIRECT_URI, help="as registered; this program listens there (%(default)s)")
    add("--credential", metavar="ID", help="which credential; the first that can sign if not given")
    add("--out", type=Path, metavar="FOLDER", help="where results go; beside each file if not given")
    add("--form", choices=("auto", "cms", "raw"), default="auto", help="what is made; see below (%(default)s)")
    add("--overwrite", action="store_true", help="replace results that are there")
    add("--skip-existing", action="store_true", help="leave out files whose results are there")
    add("--login", metavar="NAME", help="approve elsewhere, signed in as NAME there; nothing is opened here (CIBA)")
    add("--no-browser", action="store_true", help="print the address to visit, and open nothing")
    add("--dpop", action="store_true", help="bind tokens to a key that only this run has (RFC 9449)")
    add("--timeout", type=float, default=300.0, metavar="SECONDS", help="to wait for a person (%(default).0f)")
    add("--ca-file", type=Path, metavar="PATH", help="PEM file of the authorities to trust for TLS")
    add("--json", action="store_true", help="print one JSON object")
    add("--quiet", action="store_true", help="no progress")
    return made


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(argv)
    return run(options, _opener(options), _ask_person)


def run(
    options: argparse.Namespace,
    open_browser: Callable[[str], object],
    ask: Callable[[AuthObject], str],
) -> int:
    """The command with its two ways to a person given.

    :param open_browser: told where the person has to go.
    :param ask: asks for one answer, for credentials in explicit mode.
    """
    report = Report(options.json, options.quiet)
    failure: ClientError | None = None
    try:
        _sign(options, report, open_browser, ask)
    except ClientError as e:
        failure = e
    except KeyboardInterrupt:
        report.finish(INTERRUPTED, {"code": "interrupted", "message": "interrupted"})
        return INTERRUPTED
    code = 0 if failure is None else _exit_code(failure)
    if failure is not None and report.signed:
        code = PARTLY
    report.finish(code, None if failure is None else _described(failure))
    return code


def _sign(
    options: argparse.Namespace,
    report: Report,
    open_browser: Callable[[str], object],
    ask: Callable[[AuthObject], str],
) -> None:
    jobs, skipped = plan(
        options.files,
        folder=options.out,
        form=options.form,
        overwrite=options.overwrite,
        skip_existing=options.skip_existing,
    )
    report.skipped = [str(job.source) for job in skipped]
    report.left = [str(job.source) for job in jobs]
    if not jobs:
        return
    client = _client(options)
    if options.ca_file is not None and not options.ca_file.is_file():
        raise UsageError(f"{options.ca_file} cannot be read")

    def send(url: str) -> None:
        report.say(f"visit {url}")
        open_browser(url)

    def connect(approve: Approve, elsewhere: Elsewhere | None) -> Signer:
        return Signer.connect(
            options.url,
            client,
            approve,
            redirect_uri=options.redirect_uri,
            transport=Transport(trusted=options.ca_file),
            dpop=DpopKey.generate() if options.dpop else None,
            progress=report.progress,
            answer=lambda objects, challenge: _answers(objects, challenge, ask, report),
            elsewhere=elsewhere,
        )

    if options.login is not None:
        elsewhere = Elsewhere(options.login, lambda scope, code: report.say(_told(scope, code)), options.timeout)
        _sign_jobs(connect(_nowhere, elsewhere), jobs, options, report)
        return
    with LoopbackReceiver(options.redirect_uri, open_browser=send, seconds=options.timeout) as receiver:
        _sign_jobs(connect(receiver, None), jobs, options, report)


def _told(scope: str, code: str) -> str:
    what = "the signature" if scope == CREDENTIAL else "the sign-in"
    return f"approve {what} on your page of approvals at the identity provider; it shows: Code {code}"


def _nowhere(_pending: Pending) -> Mapping[str, str]:
    raise UsageError("there is no browser to send anybody to")


def _sign_jobs(signer: Signer, jobs: list[Job], options: argparse.Namespace, report: Report) -> None:
    credential = signer.choose(options.credential)
    report.met(signer.service.info, credential)
    scheme = scheme_for(credential.certificates[0], credential.algorithms)
    prepared = [prepare(job, credential.certificates, scheme) for job in jobs]
    items = [Item(made.digest, job.label) for job, made in zip(jobs, prepared, strict=True)]
    approvals = -(-len(items) // credential.multisign)
    if approvals > 1:
        report.say(f"the credential signs {credential.multisign} at once: {approvals} approvals are needed")
    trouble: UsageError | None = None
    for number, value in signer.signing(credential, items, scheme):
        job = jobs[number]
        try:
            write(job, prepared[number].finish(value), overwrite=options.overwrite)
        except UsageError as e:
            # The other files' values are still to come: what was approved is not given up for one.
            report.say(str(e))
            trouble = e
            continue
        report.left.remove(str(job.source))
        report.wrote(job.source, job.results)
    if trouble is not None:
        raise trouble


def _client(options: argparse.Namespace) -> ClientAuthentication:
    if (options.client_secret_file is None) == (options.client_key_file is None):
        raise UsageError("give --client-secret-file or --client-key-file")
    if options.client_key_file is not None:
        return PrivateKeyJwt(options.client_id, read_key(options.client_key_file), options.client_key_id)
    return ClientSecret(options.client_id, read_private(options.client_secret_file))


def _answers(
    objects: Sequence[AuthObject],
    challenge: Callable[[AuthObject], str | None],
    ask: Callable[[AuthObject], str],
    report: Report,
) -> Mapping[str, str]:
    """One answer after the other; an empty one leaves an object out, where not all of them are needed."""
    found = {}
    for each in objects:
        if each.sent:
            shown = challenge(each)
            report.say(f"{each.label}: {shown}" if shown else f"{each.label}: sent to you")
        if value := ask(each):
            found[each.id] = value
    return found


def _opener(options: argparse.Namespace) -> Callable[[str], object]:
    return (lambda _url: None) if options.no_browser else webbrowser.open


def _ask_person(wanted: AuthObject) -> str:
    try:
        return getpass.getpass(plain(f"{wanted.label}: "))
    except EOFError as e:
        raise UsageError("nobody is there to answer") from e


def _exit_code(failure: ClientError) -> int:
    return next(code for kind, code in _CODES if isinstance(failure, kind))


def _described(failure: ClientError) -> dict[str, Any]:
    described: dict[str, Any] = {"code": failure.code, "message": str(failure)}
    if isinstance(failure, ServiceRefusedError | AuthorizationRefusedError):
        described |= {"error": failure.error, "error_description": failure.description}
    return described


def standalone() -> int:
    """The entry point where this package is installed by itself."""
    return main(sys.argv[1:])
