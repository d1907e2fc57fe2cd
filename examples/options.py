"""Options that the command lines of the examples share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import requests

from examples.errors import PdfNotAcceptableError, UsageError
from examples.http_local import local_session
from examples.oauth_client import Client, read_secret
from examples.pdf_signing import Verdict, load_certificates, make_sample_pdf
from examples.person import Browser, Identity, Inbox, Person
from examples.ways import DEFAULT_LEVEL, LEVELS, WAYS

MAX_PDF_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Setting:
    """A relying party and a person, ready to go."""

    http: requests.Session
    issuer: str
    csc: str
    client: Client
    person: Person
    channel: str
    pdf_name: str
    pdf: bytes = field(repr=False)
    out: Path
    roots: tuple[bytes, ...] = field(repr=False)
    hard_fail: bool
    way: str = WAYS[0]
    level: str = DEFAULT_LEVEL


def parser(prog: str, description: str, exit_codes: str) -> argparse.ArgumentParser:
    """The options of both walkthroughs. Secrets are given as paths of owner-only files, never as values."""
    made = argparse.ArgumentParser(
        prog=prog, description=description, epilog=exit_codes, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--issuer", default="http://idp.localhost:8401", help="the identity provider's issuer")
    add("--csc", default="http://sign.localhost:8402/csc/v2", help="base URL of the signing service, CSC v2")
    add("--inbox", default="http://127.0.0.1:8404", help="the development inbox")
    add("--client-id", default="example-contracts")
    add("--client-secret-file", type=Path, help="the relying party's secret (needed to sign)")
    add("--redirect-uri", default="http://rp.localhost:8405/callback")
    add("--username", default="alice")
    add("--password-file", type=Path, required=True, help="the person's password")
    add("--phone", default="+15550100", help="where the person receives SMS")
    add("--email", default="alice@example.org", help="where the person receives e-mail")
    add("--channel", choices=("sms", "email"), default="sms", help="where to send the one-time code")
    add("--pdf", type=Path, help="what to sign; a sample contract if not given")
    add("--out", type=Path, default=Path(), help="folder for the signed PDF")
    add("--root", type=Path, help="PEM file of the root certificates that the verdict trusts (needed to sign)")
    add("--no-revocation", action="store_true", help="do not insist on OCSP or CRL answers in the verdict")
    add("--json", action="store_true", help="print one JSON object in place of the steps")
    return made


def add_ways(made: argparse.ArgumentParser) -> None:
    """How a document is signed, where a command knows more than one way."""
    made.add_argument(
        "--way", choices=WAYS, default=WAYS[0], help="whether the service gets the PDF, or only a digest (PAdES B-B)"
    )
    made.add_argument(
        "--level", choices=LEVELS, default=DEFAULT_LEVEL, help="what the service shall make of a PDF that it gets"
    )


def setting(options: argparse.Namespace) -> Setting:
    """Read the files that the options name.

    :raises UsageError: one of them cannot be used.
    """
    if options.client_secret_file is None or options.root is None:
        message = "--client-secret-file and --root are needed to sign"
        raise UsageError(message)
    try:
        roots = tuple(load_certificates(options.root.read_bytes()))
        options.out.mkdir(parents=True, exist_ok=True)
        pdf = make_sample_pdf() if options.pdf is None else _read_pdf(options.pdf)
    except (OSError, ValueError) as e:
        raise UsageError(str(e)) from e
    return Setting(
        http=local_session(),
        issuer=options.issuer,
        csc=options.csc.rstrip("/"),
        client=Client(options.client_id, read_secret(options.client_secret_file), options.redirect_uri),
        person=person(options),
        channel=options.channel,
        pdf_name="contract.pdf" if options.pdf is None else options.pdf.name,
        pdf=pdf,
        out=options.out,
        roots=roots,
        hard_fail=not options.no_revocation,
        way=getattr(options, "way", WAYS[0]),
        level=getattr(options, "level", DEFAULT_LEVEL),
    )


def person(options: argparse.Namespace) -> Person:
    """The person that the options describe, at a fresh browser."""
    identity = Identity(
        username=options.username,
        password=read_secret(options.password_file),
        phone=options.phone,
        email=options.email,
        channel=options.channel,
    )
    return Person(identity, Browser(options.redirect_uri), Inbox(options.inbox))


def signed_name(name: str) -> str:
    """`contract.pdf` becomes `contract-signed.pdf`."""
    return f"{PurePath(name).stem}-signed.pdf"


def describe(verdict: Verdict) -> list[str]:
    """The verdict in lines for a person."""
    coverage = verdict.coverage.lower().replace("_", " ")
    revocation = "checked" if verdict.revocation_checked else "not asked"
    lines = [
        f"signer       {verdict.signer} (certificate {verdict.serial_number} by {verdict.issuer})",
        f"integrity    {'intact' if verdict.intact else 'BROKEN'}, {coverage} covered",
        f"value        {'valid' if verdict.valid else 'WRONG'} ({verdict.mechanism}, {verdict.digest_algorithm})",
        f"certificate  {'trusted' if verdict.trusted else 'NOT TRUSTED'}; revocation {revocation}",
        f"format       PAdES {verdict.level} ({verdict.subfilter})",
        *([f"time-stamp   {verdict.stamped_at.isoformat()}"] if verdict.stamped_at else []),
        f"bottom line  {'VALID' if verdict.bottom_line else 'NOT VALID'}",
    ]
    return [*lines, f"problem      {verdict.problem}"] if verdict.problem else lines


def _read_pdf(path: Path) -> bytes:
    if path.stat().st_size > MAX_PDF_BYTES:
        message = f"{path} is larger than 20 MB"
        raise PdfNotAcceptableError(message)
    return path.read_bytes()
